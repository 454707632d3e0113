//! A value of which each process has its own.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::forks::generation;

/// The value of [`PerProcess::maker`] when nobody makes a value.
const NOBODY: u64 = u64::MAX;
/// The time between two looks at a value that another thread makes.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A value of which each process has its own: after a fork, the child makes another when it first needs one. The value of the
/// parent is never touched in the child, and its memory is never freed there: threads of the parent may have been changing it.
pub struct PerProcess<T> {
    made: AtomicPtr<Made<T>>,
    /// The generation of the process in which a thread makes the value. What a parent left there is of an older generation.
    maker: AtomicU64,
    owned: PhantomData<Made<T>>,
}

struct Made<T> {
    generation: u32,
    value: T,
}

// SAFETY: shared references to the value are handed out, and it is dropped on any thread.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PerProcess").finish_non_exhaustive()
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T> PerProcess<T> {
    /// A value that no process has yet.
    pub const fn empty() -> Self {
        PerProcess {
            made: AtomicPtr::new(ptr::null_mut()),
            maker: AtomicU64::new(NOBODY),
            owned: PhantomData,
        }
    }

    /// A value that this process has.
    pub fn new(value: T) -> Self {
        let this = Self::default();
        this.set(value);
        this
    }

    /// The value of this process, if it has one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: NULL, or a value that is freed only when nobody borrows `self` any more.
        let made = unsafe { self.made.load(Ordering::Acquire).as_ref() }?;
        (made.generation == generation()).then_some(&made.value)
    }

    /// The value of this process. Makes it if there is none. When several threads ask at once, one makes it.
    #[inline]
    pub fn get_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        match self.get() {
            Some(value) => Ok(value),
            None => self.make(make),
        }
    }

    #[cold]
    fn make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        struct Maker<'a>(&'a AtomicU64);
        impl Drop for Maker<'_> {
            fn drop(&mut self) {
                self.0.store(NOBODY, Ordering::Release);
            }
        }
        let own = u64::from(generation());
        loop {
            let maker = self.maker.load(Ordering::Acquire);
            if maker == own {
                thread::sleep(LOOK_INTERVAL);
            } else if self.maker.compare_exchange(maker, own, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                break;
            }
        }
        let _maker = Maker(&self.maker);
        // Another thread may have made it meanwhile.
        if let Some(value) = self.get() {
            return Ok(value);
        }
        Ok(self.set(make()?))
    }

    /// Sets the value. What was there belongs to a parent, if to anybody.
    fn set(&self, value: T) -> &T {
        let made = Box::into_raw(Box::new(Made { generation: generation(), value }));
        self.made.store(made, Ordering::Release);
        // SAFETY: just made, and freed only when nobody borrows `self` any more.
        unsafe { &(*made).value }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: this process made the value, and nobody borrows it any more.
            drop(unsafe { Box::from_raw(*self.made.get_mut()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn one_thread_makes_the_value_and_all_get_it() {
        let cell = PerProcess::<usize>::default();
        let makes = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = || Ok::<_, ()>(makes.fetch_add(1, Ordering::Relaxed));
                    assert_eq!(cell.get_or_make(make), Ok(&0));
                });
            }
        });
        assert_eq!(makes.into_inner(), 1);
    }

    #[test]
    fn after_a_failure_the_next_call_tries_again() {
        let cell = PerProcess::default();
        assert_eq!(cell.get_or_make(|| Err("no memory")), Err("no memory"));
        assert_eq!(cell.get_or_make(|| Ok::<_, &str>(5)), Ok(&5));
    }
}
