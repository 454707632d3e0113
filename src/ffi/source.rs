//! Sources: the inputs that a host reads, and the offsets below which it need not read them again.

use std::ffi::c_char;
use std::sync::Arc;

use super::boundary::{catch_panic, ffi_call};
use super::error::FfiError;
use super::handle::{self, Handle, from_handle, into_handle};
use super::pointers;
use super::running::SharedSink;
use super::sink::cwl_sink;
use super::status::cwl_status;
use crate::process::PerProcess;
use crate::sources::Source;

/// A source of events, such as a file or a queue, whose offset the sink keeps. Opaque. Several threads may use it
/// at the same time, except in `cwl_source_free`.
pub struct cwl_source {
    _opaque: [u8; 0],
}

/// The value behind a `cwl_source`.
pub struct SourceValue {
    pub sink: Arc<SharedSink>,
    name: String,
    source: PerProcess<Arc<Source>>,
}

impl SourceValue {
    /// The source in this process.
    #[inline]
    pub fn source(&self) -> Result<&Arc<Source>, FfiError> {
        self.source.get_or_make(|| Ok(self.sink.running()?.sink.source(&self.name)?))
    }
}

impl Handle for cwl_source {
    type Value = SourceValue;
    const NAME: &'static str = "cwl_source";
    const MARK: u64 = u64::from_le_bytes(*b"cwlsourc");
}

/// Opens a source by its name and puts it into `*source`. The name is any text in UTF-8 that ends in NUL. Free the
/// source with `cwl_source_free`. A name that is open already gives another handle to the same source.
///
/// Events that are pushed with a source each cover a part of it: from `offset_begin` up to `offset_end`. The
/// offset of the source is the point below which every event is final: delivered, rejected or dropped. A host that
/// starts again reads on from there. Abandoned events hold the offset back, and so do gaps that no event covered.
///
/// - Let the range of an event begin where the range of the event before it ended.
/// - Ranges must not overlap: an event that is final makes its whole range final.
/// - Where the same part goes to several targets, use one source for each target.
///
/// With the option `state_dir` the sink keeps the offset in one small file. It writes the file at most once a
/// second and at the shutdown. This call reads the file.
///
/// Blocks on the disk. Returns `CWL_ERR_STATE` for a file that is torn, empty or of a newer version, and sets
/// `*source` to NULL. Such a file is never taken for offset 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_source_open(
    sink: *mut cwl_sink,
    name: *const c_char,
    source: *mut *mut cwl_source,
) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes pointers of these types; each is checked.
        let (place, sink, name) = unsafe {
            let place = pointers::out("source", source)?;
            *place = std::ptr::null_mut();
            (place, handle::borrow(sink)?, pointers::text("name", name)?)
        };
        let name = name.ok_or_else(|| FfiError::argument("the name of the source is NULL"))?;
        sink.check_state_dir()?;
        let value = SourceValue { sink: sink.clone(), name: name.to_owned(), source: PerProcess::default() };
        value.source()?;
        *place = into_handle(value);
        Ok(())
    })
}

/// Puts the offset of a source into `*offset`: every event below it is final. A host that starts again reads on
/// from there.
///
/// The offset is 0 for a source that has no state and no event yet. A source without state begins at the
/// `offset_begin` of its first event. Does not block. Any thread. Works after the shutdown too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_source_offset(source: *mut cwl_source, offset: *mut u64) -> cwl_status {
    ffi_call(|| {
        // SAFETY: the host passes room for the offset, and a source; both are checked.
        let (place, source) = unsafe { (pointers::out("offset", offset)?, handle::borrow(source)?) };
        *place = source.source()?.offset().unwrap_or(0);
        Ok(())
    })
}

/// Frees a source's handle. Its events go on, and the sink keeps its offset as they become final. NULL is allowed.
/// Call this before or after `cwl_sink_free`; inside a callback only before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cwl_source_free(source: *mut cwl_source) {
    // SAFETY: the host passes a source or NULL, and does not use it any more.
    catch_panic(|| drop(unsafe { from_handle(source) }));
}
