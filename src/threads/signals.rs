//! The signal mask of the sink's threads.

use std::mem::MaybeUninit;

/// The signals that a fault raises on the thread at fault. They are not blocked, so that the crash reporter of the host sees a
/// fault inside one of its callbacks.
const SIGNALS_OF_FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Runs `body` with every signal blocked that the sink's threads block, then restores the caller's mask: a thread inherits the
/// mask of the thread that starts it.
pub(super) fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: pthread_sigmask filled the set.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
        }
    }
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset and pthread_sigmask fill these sets, and none of the calls can fail with them.
    let _restore = unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in SIGNALS_OF_FAULTS {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), before.as_mut_ptr());
        Restore(before.assume_init())
    };
    body()
}
