//! The memory budget: every byte that events take is reserved here before it is used.
//!
//! Invariants:
//!
//! * Reservations never exceed `buffer_max_bytes` in all and `target_buffer_max_bytes` for each target.
//! * Pushes leave a part free: the headroom. So a batch can be compressed while its plain form still exists, however full
//!   the buffer is. A batch that is too large for the headroom goes out uncompressed.
//! * Half of the memory is for healthy targets: a push to a failing or unknown target is refused when it would take the
//!   used memory beyond half. What the target held before it failed, it keeps. The only event that a small buffer has room
//!   for may go beyond half.
//! * An unknown target may still take a little of the other half, so that it can be tried and become healthy. It gets less
//!   when less is left, so that something is always left for the next one.
//! * A push may take over the memory of older events that are dropped for it. That takes no more than is taken already, so it
//!   is always allowed, whatever the health of the target.
//! * A reservation is given back exactly once, when its [`Charge`] is dropped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::buffers::{Buffers, NoRoom};
use crate::health::Health;
use crate::sync::{lock, wait_while_until};

/// The least that an unknown target may take beyond the first half, in bytes, as long as there is any.
const FIRST_TRY_MIN: usize = 1024;

/// An unknown target may take one in this many bytes of the rest beyond the first half. After a thousand such targets, a
/// fiftieth of the rest is still left.
const FIRST_TRY_PART: usize = 256;

/// The memory of a sink.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    push_limit: usize,
    target_limit: usize,
    target_push_limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    /// Counts releases, so that a waiter notices a release between its attempt and its wait.
    releases: AtomicU64,
    waiters: AtomicUsize,
    buffers: Arc<Buffers>,
    /// Guards only the wait itself. Nothing awaits while holding it.
    waiting: Mutex<()>,
    released: Condvar,
}

impl Budget {
    /// A budget of `limit` bytes over all targets and `target_limit` bytes for each. Of both, pushes leave `headroom` bytes
    /// free, at most a quarter.
    pub fn new(limit: usize, target_limit: usize, headroom: usize) -> Self {
        Budget {
            limit,
            push_limit: limit - headroom.min(limit / 4),
            target_limit,
            target_push_limit: target_limit - headroom.min(target_limit / 4),
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            releases: AtomicU64::new(0),
            waiters: AtomicUsize::new(0),
            buffers: Buffers::new(limit),
            waiting: Mutex::new(()),
            released: Condvar::new(),
        }
    }

    /// The free buffers.
    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Gives free buffers back to the system until they and the reservations are within the bound.
    pub fn trim_buffers(&self) {
        self.buffers.shrink_to(self.limit.saturating_sub(self.used()));
    }

    /// The reserved bytes now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that were ever reserved at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// The largest charge that a target can ever hold, in bytes. A larger one never finds room.
    pub fn charge_max(&self) -> usize {
        self.target_push_limit.min(self.push_limit)
    }

    /// The most bytes that one batch should take, so that the bound of a target holds at least four batches.
    pub fn batch_charge_max(&self) -> usize {
        self.target_push_limit.min(self.push_limit / 2) / 4
    }

    /// The number of releases so far, for [`Budget::wait_for_release`]. Read it before the attempt whose failure is waited
    /// out.
    pub fn releases(&self) -> u64 {
        self.releases.load(Ordering::SeqCst)
    }

    /// Blocks the calling thread until memory was released after `releases` was read, until `deadline` at the latest.
    /// Returns whether memory was released.
    pub fn wait_for_release(&self, releases: u64, deadline: Instant) -> bool {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let unchanged = || self.releases.load(Ordering::SeqCst) == releases;
        let guard = wait_while_until(&self.released, lock(&self.waiting), Some(deadline), |()| unchanged());
        drop(guard);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        !unchanged()
    }

    /// Wakes all threads that wait for room, as a release does, for a sink that closes.
    pub fn wake_all(&self) {
        self.releases.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&self.waiting);
            self.released.notify_all();
        }
    }

    /// Returns whether a target with this health that holds `held` bytes may take `more` bytes while `used` bytes are taken
    /// in all.
    fn admits(&self, health: Health, held: usize, more: usize, used: usize) -> bool {
        if held + more > self.target_push_limit {
            return false;
        }
        let half = self.push_limit / 2;
        let within = |limit: usize| more <= limit.saturating_sub(used);
        // The only event that a small buffer has room for may be larger than half of the buffer.
        let within_half = || within(half) || (held == 0 && used < half && within(self.push_limit));
        let first_try = || {
            let max = self.push_limit / 8 * 7;
            let left = max.saturating_sub(used);
            within(max) && held + more <= (left / FIRST_TRY_PART).max(FIRST_TRY_MIN)
        };
        match health {
            Health::Healthy => within(self.push_limit),
            Health::Unknown => within_half() || first_try(),
            Health::Failing => within_half(),
        }
    }

    fn reserve_within(&self, bytes: usize, fits: impl Fn(usize) -> bool) -> Result<(), NoRoom> {
        let take = |used: usize| used.checked_add(bytes).filter(|_| fits(used));
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => Err(NoRoom),
        }
    }

    fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.wake_all();
        }
    }
}

/// The part of the budget that one target holds.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held: AtomicUsize,
}

impl Account {
    /// An empty account.
    pub fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Account { budget, held: AtomicUsize::new(0) })
    }

    /// The bytes that the target holds now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The budget that the account belongs to.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Returns whether the target, with this health, may take `more` bytes now.
    pub fn admits(&self, health: Health, more: usize) -> bool {
        more == 0 || self.budget.admits(health, self.held(), more, self.budget.used())
    }

    /// Returns whether the target may take over `more` bytes from another target.
    pub fn may_take_over(&self, more: usize) -> bool {
        self.held() + more <= self.budget.target_push_limit
    }
}

/// A reservation. It is given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// A charge of 0 bytes.
    pub fn empty(account: &Arc<Account>) -> Self {
        Charge { account: account.clone(), bytes: 0 }
    }

    /// The reserved bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves `more` bytes for an event that is being pushed. The bytes of `spare`, which the target holds already, come
    /// first.
    pub fn grow_for_push(
        &mut self,
        more: usize,
        spare: &mut Option<Charge>,
        health: Health,
    ) -> Result<(), NoRoom> {
        match spare {
            Some(spare) => self.grow_with(spare, more, health),
            None => self.grow(more, |budget, held, used| budget.admits(health, held, more, used)),
        }
    }

    // Rare. Not inlined, so that nothing of `spare` is read before it is known to be there.
    #[cold]
    #[inline(never)]
    fn grow_with(&mut self, spare: &mut Charge, more: usize, health: Health) -> Result<(), NoRoom> {
        let spared = spare.bytes.min(more);
        let rest = more - spared;
        if rest > 0 {
            self.grow(rest, |budget, held, used| budget.admits(health, held, rest, used))?;
        }
        spare.bytes -= spared;
        self.bytes += spared;
        Ok(())
    }

    /// Takes over the bytes of another charge, which may be that of another target.
    pub fn take_over(&mut self, mut other: Charge) {
        let bytes = std::mem::take(&mut other.bytes);
        other.account.held.fetch_sub(bytes, Ordering::Relaxed);
        self.account.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Reserves `more` bytes for work on accepted events. May use the headroom.
    pub fn grow_for_work(&mut self, more: usize) -> Result<(), NoRoom> {
        let fits = |budget: &Budget, held: usize, used: usize| {
            used + more <= budget.limit && held + more <= budget.target_limit
        };
        self.grow(more, fits)
    }

    /// Reserves `more` bytes if that fits the bounds of the target and of all targets.
    fn grow(&mut self, more: usize, fits: impl Fn(&Budget, usize, usize) -> bool) -> Result<(), NoRoom> {
        let Account { budget, held } = &*self.account;
        // Added first, so that two threads that ask for the same target do not exceed its bound together.
        let before = held.fetch_add(more, Ordering::Relaxed);
        match budget.reserve_within(more, |used| fits(budget, before, used)) {
            Ok(()) => self.bytes += more,
            Err(NoRoom) => {
                held.fetch_sub(more, Ordering::Relaxed);
                return Err(NoRoom);
            }
        }
        Ok(())
    }

    /// Splits off a charge of `bytes` bytes, or of all bytes if there are fewer.
    pub fn split_off(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge { account: self.account.clone(), bytes }
    }

    /// Gives back all bytes except `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.account.held.fetch_sub(surplus, Ordering::Relaxed);
        self.account.budget.release(surplus);
    }

    /// The budget that it is a part of.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.account.budget
    }

    /// The most bytes that the batch with this charge should take.
    pub fn batch_max(&self) -> usize {
        self.account.budget.batch_charge_max()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests;
