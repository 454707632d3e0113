//! Sources: what a host reads from, and how far it need not read it again.

use std::ffi::c_char;
use std::sync::Arc;

use super::boundary::{catch_panic, ffi_call};
use super::error::FfiError;
use super::handle::{self, Handle, from_handle, into_handle};
use super::pointers;
use super::sink::cwl_sink;
use super::status::cwl_status;
use crate::sink::Sink;
use crate::sources::Source;

/// A source of events, such as a file or a queue, whose offsets the sink keeps. Opaque. May be used by several
/// threads at the same time, but for `cwl_source_free`.
pub struct cwl_source {
    _opaque: [u8; 0],
}

/// What stands behind a `cwl_source`.
pub struct SourceValue {
    pub sink: Arc<Sink>,
    pub source: Arc<Source>,
}

impl Handle for cwl_source {
    type Value = SourceValue;
    const NAME: &'static str = "cwl_source";
    const MARK: u64 = u64::from_le_bytes(*b"cwlsourc");
}

/// Opens a source by its name, any text in UTF-8, and puts it into `*source`. Free it with `cwl_source_free`. A name
/// that is open already gives another handle to the same source.
///
/// An event that is pushed with a source says which part of it the event covers, from `offset_begin` up to
/// `offset_end`. The offset of the source is where everything below is final: delivered, rejected or dropped. Events
/// abandoned at the shutdown hold it back, so that they are read again, and so does what no event covered: let the
/// range of an event begin where that of the one before it ended. Ranges must not overlap: what one event covered is
/// final with it. Where the same part goes to several targets, give it to each through a source of its own.
///
/// With the option `state_dir`, the offset is kept in one small file, at most once a second and at the shutdown, and
/// read back here. Blocks on the disk. Returns `CWL_ERR_STATE` for a file that is torn, empty, or of a newer version:
/// it is never taken for offset 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_source_open(
    sink: *mut cwl_sink,
    name: *const c_char,
    source: *mut *mut cwl_source,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the pointers are what the host says they are; each is checked.
        let (place, sink, name) = unsafe {
            let place = pointers::out("source", source)?;
            *place = std::ptr::null_mut();
            (place, handle::borrow(sink)?, pointers::text("name", name)?)
        };
        let name = name.ok_or_else(|| FfiError::argument("the name of the source is NULL"))?;
        let source = sink.sink.source(name)?;
        *place = into_handle(SourceValue { sink: sink.sink.clone(), source });
        Ok(())
    })
}

/// Puts the offset below which everything is final into `*offset`: where a host that starts again reads on. 0 for a
/// source that has no state and no event yet; one without a state begins at the `offset_begin` of its first event.
/// Does not block; any thread; also after the shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_source_offset(source: *mut cwl_source, offset: *mut u64) -> cwl_status {
    ffi_call(|| {
        // SAFETY: room for the offset and a live source, by the host's word; both are checked.
        let (place, source) = unsafe { (pointers::out("offset", offset)?, handle::borrow(source)?) };
        *place = source.source.offset().unwrap_or(0);
        Ok(())
    })
}

/// Frees a source's handle. Its events go on, and its offset is kept as they become final. NULL is allowed. May come
/// before or after `cwl_sink_free`, but inside a callback only before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_source_free(source: *mut cwl_source) {
    // SAFETY: a live source or NULL, by the host's word, and not used any more.
    catch_panic(|| drop(unsafe { from_handle(source) }));
}
