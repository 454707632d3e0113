//! The file descriptor that tells a host's event loop that acks are there.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::outcome::AckSignal;

/// An eventfd: readable while its count is not zero. Clones share the descriptor.
#[derive(Clone, Debug)]
pub struct EventFd(Arc<OwnedFd>);

impl EventFd {
    /// Opens an eventfd whose count is zero.
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        Ok(EventFd(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Opens an eventfd under the number of one that this process inherited, which stays the parent's. If the process has
    /// closed that one, the number may be another file's by now: then the eventfd gets a number of its own.
    pub fn in_place_of_parents(number: RawFd) -> std::io::Result<Self> {
        let new = Self::new()?;
        if !is_eventfd(number) {
            return Ok(new);
        }
        // SAFETY: no pointers; both descriptors are open. What `number` referred to stays open in the parent.
        if unsafe { libc::dup3(new.number(), number, libc::O_CLOEXEC) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the parent's `EventFd` is not used in this process any more.
        Ok(EventFd(Arc::new(unsafe { OwnedFd::from_raw_fd(number) })))
    }

    /// The descriptor's number.
    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn is_eventfd(number: RawFd) -> bool {
    let file = std::fs::read_link(format!("/proc/self/fd/{number}"));
    file.is_ok_and(|file| file.as_os_str() == "anon_inode:[eventfd]")
}

impl AckSignal for EventFd {
    fn raise(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: an open descriptor and eight readable bytes. The write fails only when the count is full.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn lower(&self) {
        let mut count = [0u8; 8];
        // SAFETY: an open descriptor and room for eight bytes. A count that is zero already is no error here.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}
