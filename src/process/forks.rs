//! Forks: how the code learns that it runs in a child, and what a child closes.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};

/// The number of forks between the process that loaded the library and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The descriptors that a child closes.
static CLOSED_IN_CHILD: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

/// The place of a descriptor. Places are used again, never freed.
struct Slot {
    /// -1: free.
    number: AtomicI32,
    next: *mut Slot,
}

/// The number of forks between the process that loaded the library and this one. It changes only in [`watch_forks`]'s
/// handler, before a child runs any code of the host.
#[inline]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Makes sure that a child of this process learns that it is one. A child of vfork(2) or posix_spawn(3) is not one.
pub fn watch_forks() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the handler is async-signal-safe, and goes when the library is unloaded.
    match unsafe { libc::pthread_atfork(None, None, Some(begin_child)) } {
        0 => Ok(()),
        error => {
            WATCHED.store(false, Ordering::Relaxed);
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

extern "C" fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for slot in slots() {
        let number = slot.number.swap(-1, Ordering::Relaxed);
        if number >= 0 {
            // SAFETY: the child inherited the descriptor and nobody uses it there.
            unsafe { libc::close(number) };
        }
    }
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    let mut next = CLOSED_IN_CHILD.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: NULL, or a slot that is never freed.
        let slot = unsafe { next.as_ref() }?;
        next = slot.next;
        Some(slot)
    })
}

/// A descriptor that children do not keep. Without that, a lock on its file would last as long as the last child.
#[derive(Debug)]
pub struct ClosedInChild {
    number: RawFd,
}

impl ClosedInChild {
    /// Notes an open descriptor. Drop it before the descriptor is closed.
    pub fn new(number: RawFd) -> Self {
        let take = |slot: &Slot| {
            slot.number.compare_exchange(-1, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if !slots().any(take) {
            let mut next = CLOSED_IN_CHILD.load(Ordering::Relaxed);
            let slot = Box::into_raw(Box::new(Slot { number: AtomicI32::new(number), next }));
            while let Err(other) =
                CLOSED_IN_CHILD.compare_exchange(next, slot, Ordering::Release, Ordering::Relaxed)
            {
                next = other;
                // SAFETY: nobody else has the slot yet.
                unsafe { (*slot).next = next };
            }
        }
        ClosedInChild { number }
    }
}

impl Drop for ClosedInChild {
    fn drop(&mut self) {
        let leave = |slot: &Slot| {
            slot.number.compare_exchange(self.number, -1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        // Not there in a child.
        let _ = slots().any(leave);
    }
}
