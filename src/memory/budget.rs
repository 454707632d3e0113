//! Memory is bounded: every byte that events take is reserved here before it is used.
//!
//! Invariants:
//!
//! * what is reserved never passes `buffer_max_bytes`, and what one target holds never passes
//!   `target_buffer_max_bytes`;
//! * a part is kept out of the reach of pushes (the headroom), so that a batch of lines can be compressed while its
//!   plain form still exists, however full the buffer is; one for which that is too little goes out as it is;
//! * half of it is for targets that get through: one that fails, or was not heard of yet, is refused while half
//!   is taken. So failing targets, however many and however fast, never take the memory from the others;
//! * one that was not heard of yet may still take a little of the other half, so that it can be tried and
//!   show that it gets through: the less is left, the less, so that something is always left for the next;
//! * a reservation is given back exactly once, when its [`Charge`] is dropped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::buffers::{Buffers, NoRoom};
use crate::health::Health;

/// While less than this part of the memory is taken, there is plenty.
const PLENTY_PART: usize = 2;

/// A target that was not heard of yet gets at least this much beyond the first half, as long as there is any.
const FIRST_TRY_MIN: usize = 1024;

/// A target that was not heard of yet gets this part of what is left beyond the first half: after a thousand
/// such targets that all took theirs, a fiftieth is still left.
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
    /// Counts releases, so that a waiter sees one that came between its attempt and its wait.
    releases: AtomicU64,
    waiters: AtomicUsize,
    buffers: Arc<Buffers>,
    /// Guards nothing but the wait itself; nothing awaits while holding it.
    waiting: Mutex<()>,
    released: Condvar,
}

impl Budget {
    /// A budget of `limit` bytes over all targets and `target_limit` each, `headroom` of it out of the reach
    /// of pushes (a quarter at most), for all and for each.
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

    /// The buffers that are free.
    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Gives free buffers back where they and what is reserved are more than there may be.
    pub fn trim_buffers(&self) {
        self.buffers.shrink_to(self.limit.saturating_sub(self.used()));
    }

    /// Whether there is so much left that a batch may begin with as much as it may come to need.
    pub fn is_plentiful(&self) -> bool {
        self.used() < self.limit / PLENTY_PART
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Most bytes that were ever reserved at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// The largest charge that a target could ever hold: what is larger will never find room.
    pub fn charge_max(&self) -> usize {
        self.target_push_limit.min(self.push_limit)
    }

    /// Most bytes that one batch should take, so that a target's bound holds at least four of them.
    pub fn batch_charge_max(&self) -> usize {
        self.target_push_limit.min(self.push_limit / 2) / 4
    }

    /// A mark for [`Budget::wait_for_release`], taken before the attempt whose failure is then waited out.
    pub fn release_mark(&self) -> u64 {
        self.releases.load(Ordering::SeqCst)
    }

    /// Blocks the calling thread until memory was given back since `mark`, at most until `deadline`.
    /// False when nothing was.
    pub fn wait_for_release(&self, mark: u64, deadline: Instant) -> bool {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = self.releases.load(Ordering::SeqCst) != mark;
        while !seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            guard = self.released.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
            seen = self.releases.load(Ordering::SeqCst) != mark;
        }
        drop(guard);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        seen
    }

    /// Wakes everybody who waits for room, as a release does: for a sink that closes.
    pub fn wake_all(&self) {
        self.releases.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            let _guard = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            self.released.notify_all();
        }
    }

    /// Whether a target that stands so and holds `held` may take `more` while `used` is taken in all.
    pub fn admits(&self, health: Health, held: usize, more: usize, used: usize) -> bool {
        if held + more > self.target_push_limit {
            return false;
        }
        let half = self.push_limit / 2;
        let within = |limit: usize| more <= limit.saturating_sub(used);
        // The one event that a small buffer has room for may be larger than half of it.
        let within_half = || within(half) || (held == 0 && used < half && within(self.push_limit));
        let first_try = || {
            let most = self.push_limit / 8 * 7;
            let left = most.saturating_sub(used);
            within(most) && held + more <= (left / FIRST_TRY_PART).max(FIRST_TRY_MIN)
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

/// What one target holds of the budget.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held: AtomicUsize,
}

impl Account {
    /// An account that holds nothing yet.
    pub fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Account { budget, held: AtomicUsize::new(0) })
    }

    /// Bytes that the target holds now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The budget that the account draws on.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

/// A reservation: it is given back when dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// A charge of nothing.
    pub fn empty(account: &Arc<Account>) -> Self {
        Charge { account: account.clone(), bytes: 0 }
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves `more` bytes for an event that is being pushed.
    pub fn grow_for_push(&mut self, more: usize, health: Health) -> Result<(), NoRoom> {
        self.grow(more, |budget, held, used| budget.admits(health, held, more, used))
    }

    /// Reserves `more` bytes for work on an event that is already in, out of the headroom if need be.
    pub fn grow_for_work(&mut self, more: usize) -> Result<(), NoRoom> {
        let fits = |budget: &Budget, held: usize, used: usize| {
            used + more <= budget.limit && held + more <= budget.target_limit
        };
        self.grow(more, fits)
    }

    /// Reserves `more` bytes if that fits what the target holds and what all do.
    fn grow(&mut self, more: usize, fits: impl Fn(&Budget, usize, usize) -> bool) -> Result<(), NoRoom> {
        let Account { budget, held } = &*self.account;
        // First, so that two who ask for the same target at once do not pass its bound together.
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

    /// A charge of its own for so many of its bytes, or for all if there are fewer.
    pub fn split_off(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge { account: self.account.clone(), bytes }
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.account.held.fetch_sub(surplus, Ordering::Relaxed);
        self.account.budget.release(surplus);
    }

    /// The memory that it is a part of.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.account.budget
    }

    /// Most bytes that the batch under this charge should take.
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
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back_once_when_dropped() {
        let budget = Arc::new(Budget::new(1000, 1000, 100));
        let account = Account::new(budget.clone());
        let mut charge = Charge::empty(&account);
        charge.grow_for_push(300, Health::Healthy).expect("room");
        charge.shrink_to(200);
        assert_eq!((budget.used(), account.held(), budget.peak()), (200, 200, 300));
        drop(charge);
        assert_eq!((budget.used(), account.held()), (0, 0));
    }

    #[test]
    fn a_charge_that_was_split_is_given_back_part_by_part() {
        let budget = Arc::new(Budget::new(1000, 1000, 0));
        let account = Account::new(budget.clone());
        let mut charge = Charge::empty(&account);
        charge.grow_for_push(300, Health::Healthy).expect("room");
        let part = charge.split_off(100);
        assert_eq!((charge.bytes(), part.bytes(), budget.used(), account.held()), (200, 100, 300, 300));
        drop(charge);
        assert_eq!((budget.used(), account.held()), (100, 100));
        drop(part);
        assert_eq!((budget.used(), account.held()), (0, 0));
        let refused = Charge::empty(&account).grow_for_push(1001, Health::Healthy);
        assert_eq!((refused, account.held()), (Err(NoRoom), 0));
    }

    #[test]
    fn pushes_leave_the_headroom_to_work() {
        let budget = Arc::new(Budget::new(1000, 1000, 100));
        let account = Account::new(budget.clone());
        let mut charge = Charge::empty(&account);
        charge.grow_for_push(900, Health::Healthy).expect("all but the headroom");
        assert_eq!(charge.grow_for_push(1, Health::Healthy), Err(NoRoom));
        charge.grow_for_work(100).expect("the headroom");
        assert_eq!(charge.grow_for_work(1), Err(NoRoom));
        assert_eq!(budget.used(), 1000);
    }

    fn fill(budget: &Arc<Budget>, health: Health, step: usize) -> Charge {
        let mut charge = Charge::empty(&Account::new(budget.clone()));
        while charge.grow_for_push(step, health).is_ok() {}
        charge
    }

    #[test]
    fn failing_targets_leave_half_to_those_that_get_through() {
        let budget = Arc::new(Budget::new(1 << 20, 1 << 20, 0));
        let _hogs: Vec<_> = (0..1000).map(|_| fill(&budget, Health::Failing, 64)).collect();
        assert_eq!(budget.used(), 1 << 19);
        let healthy = fill(&budget, Health::Healthy, 64);
        assert_eq!(healthy.bytes(), 1 << 19);
    }

    #[test]
    fn a_thousand_greedy_newcomers_leave_room_for_another_to_be_tried() {
        let budget = Arc::new(Budget::new(64 << 20, 64 << 20, 0));
        let _greedy: Vec<_> = (0..1000).map(|_| fill(&budget, Health::Unknown, 64)).collect();
        assert!(budget.used() < 56 << 20, "an eighth stays for those that get through");
        let newcomer = fill(&budget, Health::Unknown, 64);
        assert!(newcomer.bytes() >= 1024 - 64, "{} bytes", newcomer.bytes());
    }

    #[test]
    fn a_small_buffer_still_takes_one_event_larger_than_its_half() {
        let budget = Arc::new(Budget::new(1000, 1000, 0));
        let mut charge = Charge::empty(&Account::new(budget.clone()));
        charge.grow_for_push(900, Health::Unknown).expect("nothing else is there");
        assert_eq!(charge.grow_for_push(50, Health::Unknown), Err(NoRoom));
    }

    #[test]
    fn a_waiter_is_woken_by_a_release_even_one_before_its_wait() {
        let budget = Arc::new(Budget::new(1000, 1000, 0));
        let mark = budget.release_mark();
        let mut charge = Charge::empty(&Account::new(budget.clone()));
        charge.grow_for_push(10, Health::Healthy).expect("room");
        drop(charge);
        assert!(budget.wait_for_release(mark, Instant::now() + Duration::from_secs(60)));
        let mark = budget.release_mark();
        assert!(!budget.wait_for_release(mark, Instant::now()), "nothing was given back");
    }
}
