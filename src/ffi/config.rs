//! Configurations.

use std::ffi::c_char;

use super::boundary::{catch_panic, ffi_call};
use super::error::FfiError;
use super::handle::{self, Handle, from_handle, into_handle};
use super::pointers;
use super::status::cwl_status;
use crate::config::Config;

/// A configuration: options set by key and value, for `cwl_sink_open`. Opaque. Not to be used by two threads
/// at the same time.
pub struct cwl_config {
    _opaque: [u8; 0],
}

impl Handle for cwl_config {
    type Value = Config;
    const NAME: &'static str = "cwl_config";
    const MARK: u64 = u64::from_le_bytes(*b"cwlconfg");
}

/// A configuration with every option at its default. Free it with `cwl_config_free`. NULL only for a defect in
/// the library. Does not block; any thread.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_config_new() -> *mut cwl_config {
    catch_panic(|| into_handle(Config::default())).unwrap_or(std::ptr::null_mut())
}

/// Sets one option. Key and value are text in UTF-8 that ends in NUL; both are copied. The README lists the
/// options, their bounds and defaults.
///
/// Returns `CWL_ERR_CONFIG` for a key that does not exist and for a value that the option does not take;
/// `cwl_last_error` then names the key, the value and what is allowed, and the configuration is as it was.
/// Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_config_set(
    config: *mut cwl_config,
    key: *const c_char,
    value: *const c_char,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: config and key are what the host says they are; both are checked.
        let (config, key) = unsafe { (handle::borrow_mut(config)?, pointers::text("key", key)?) };
        let key = key.ok_or_else(|| FfiError::argument("key is NULL"))?;
        // SAFETY: the same of value.
        let value = unsafe { pointers::secret_text(&format!("the value for option {key:?}"), value)? };
        let value =
            value.ok_or_else(|| FfiError::argument(format!("the value for option {key:?} is NULL")))?;
        Ok(config.set(key, value)?)
    })
}

/// Frees a configuration. NULL is allowed. Sinks opened with it go on: they have a copy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_config_free(config: *mut cwl_config) {
    // SAFETY: a live configuration or NULL, by the host's word, and not used any more.
    catch_panic(|| drop(unsafe { from_handle(config) }));
}
