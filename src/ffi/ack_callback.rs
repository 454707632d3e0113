//! The ack callback that a host registered, and the acks that it is called with.

use std::ffi::c_void;
use std::sync::Mutex;

use super::ack_array::{AckArray, cwl_ack};
use super::error::FfiError;
use crate::outcome::Ack;
use crate::sink::{AckCallback, Sink};
use crate::sync::lock;

/// The most acks in one call of a callback.
const CALLBACK_ACKS_MAX: usize = 1024;

/// The callback that a host registered.
#[derive(Clone)]
pub struct AckHost {
    pub callback: unsafe extern "C" fn(acks: *const cwl_ack, count: usize, user: *mut c_void),
    pub user: *mut c_void,
}

// SAFETY: the host promises that its callback and `user` may be used from the library's thread.
unsafe impl Send for AckHost {}
// SAFETY: as above; the thread has a clone of its own.
unsafe impl Sync for AckHost {}

impl AckHost {
    /// Starts the thread that calls the host.
    pub fn start(self, sink: &Sink) -> Result<(), FfiError> {
        let callback = KeptAcks { host: self, acks: Mutex::default() };
        Ok(sink.set_ack_callback(CALLBACK_ACKS_MAX, callback)?)
    }
}

/// A callback and the acks for its next call.
struct KeptAcks {
    host: AckHost,
    /// Never held during a call of the host.
    acks: Mutex<Option<AckArray>>,
}

impl KeptAcks {
    /// The array for the host. It stays where it is until the host has returned.
    fn array(&self) -> (*const cwl_ack, usize) {
        let acks = lock(&self.acks);
        acks.as_ref().map_or((std::ptr::null(), 0), |acks| (acks.acks().as_ptr(), acks.acks().len()))
    }
}

impl AckCallback for KeptAcks {
    fn keep(&self, acks: &[Ack]) {
        *lock(&self.acks) = Some(AckArray::new(acks));
    }

    extern "C-unwind" fn call(&self) {
        let (acks, count) = self.array();
        // SAFETY: the host registered the callback for this; the two types differ only in what it may do to the thread.
        unsafe {
            let callback: unsafe extern "C-unwind" fn(*const cwl_ack, usize, *mut c_void) =
                std::mem::transmute(self.host.callback);
            callback(acks, count, self.host.user);
        }
    }

    fn drop_acks(&self) {
        *lock(&self.acks) = None;
    }
}
