//! Configurations: options, set by key and value.

use std::ffi::c_char;

use super::boundary::{catch_panic, ffi_call};
use super::error::FfiError;
use super::handle::{self, Handle, from_handle, into_handle};
use super::pointers;
use super::status::cwl_status;
use crate::config::Config;

/// A configuration: options, set by key and value, for `cwl_sink_open`. Opaque. Only one thread may use it at a
/// time.
pub struct cwl_config {
    _opaque: [u8; 0],
}

impl Handle for cwl_config {
    type Value = Config;
    const NAME: &'static str = "cwl_config";
    const MARK: u64 = u64::from_le_bytes(*b"cwlconfg");
}

/// Makes a configuration with every option at its default. Free it with `cwl_config_free`. Does not block. Any
/// thread.
///
/// Returns NULL only when the library has an internal error.
#[unsafe(no_mangle)]
pub extern "C" fn cwl_config_new() -> *mut cwl_config {
    catch_panic(|| into_handle(Config::default())).unwrap_or(std::ptr::null_mut())
}

/// Sets one option. `key` and `value` are text in UTF-8 that ends in NUL; the library copies both.
/// docs/CONFIGURATION.md lists all options with their bounds and defaults. Does not block.
///
/// Returns `CWL_ERR_CONFIG` when no option has this key, or when the option does not allow the value.
/// `cwl_last_error` then names the key, the value and what is allowed. The configuration stays as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_config_set(
    config: *mut cwl_config,
    key: *const c_char,
    value: *const c_char,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes a configuration and a text; both are checked.
        let (config, key) = unsafe { (handle::borrow_mut(config)?, pointers::text("key", key)?) };
        let key = key.ok_or_else(|| FfiError::argument("key is NULL"))?;
        // SAFETY: the host passes a text; it is checked.
        let value = unsafe { pointers::secret_text(&format!("the value for option {key:?}"), value)? };
        let value =
            value.ok_or_else(|| FfiError::argument(format!("the value for option {key:?} is NULL")))?;
        Ok(config.set(key, value)?)
    })
}

/// Frees a configuration. NULL is allowed. Sinks that were opened with it have a copy and go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_config_free(config: *mut cwl_config) {
    // SAFETY: the host passes a configuration or NULL, and does not use it any more.
    catch_panic(|| drop(unsafe { from_handle(config) }));
}
