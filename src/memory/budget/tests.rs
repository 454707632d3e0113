use std::time::Duration;

use super::*;

#[test]
fn a_charge_is_given_back_once_when_dropped() {
    let budget = Arc::new(Budget::new(1000, 1000, 100));
    let account = Account::new(budget.clone());
    let mut charge = Charge::empty(&account);
    charge.grow_for_push(300, &mut None, Health::Healthy).expect("room");
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
    charge.grow_for_push(300, &mut None, Health::Healthy).expect("room");
    let part = charge.split_off(100);
    assert_eq!((charge.bytes(), part.bytes(), budget.used(), account.held()), (200, 100, 300, 300));
    drop(charge);
    assert_eq!((budget.used(), account.held()), (100, 100));
    drop(part);
    assert_eq!((budget.used(), account.held()), (0, 0));
    let refused = Charge::empty(&account).grow_for_push(1001, &mut None, Health::Healthy);
    assert_eq!((refused, account.held()), (Err(NoRoom), 0));
}

#[test]
fn pushes_leave_the_headroom_to_work() {
    let budget = Arc::new(Budget::new(1000, 1000, 100));
    let account = Account::new(budget.clone());
    let mut charge = Charge::empty(&account);
    charge.grow_for_push(900, &mut None, Health::Healthy).expect("all but the headroom");
    assert_eq!(charge.grow_for_push(1, &mut None, Health::Healthy), Err(NoRoom));
    charge.grow_for_work(100).expect("the headroom");
    assert_eq!(charge.grow_for_work(1), Err(NoRoom));
    assert_eq!(budget.used(), 1000);
}

fn fill(budget: &Arc<Budget>, health: Health, step: usize) -> Charge {
    let mut charge = Charge::empty(&Account::new(budget.clone()));
    while charge.grow_for_push(step, &mut None, health).is_ok() {}
    charge
}

#[test]
fn failing_targets_leave_half_to_healthy_ones() {
    let budget = Arc::new(Budget::new(1 << 20, 1 << 20, 0));
    let _hogs: Vec<_> = (0..1000).map(|_| fill(&budget, Health::Failing, 64)).collect();
    assert_eq!(budget.used(), 1 << 19);
    let healthy = fill(&budget, Health::Healthy, 64);
    assert_eq!(healthy.bytes(), 1 << 19);
}

#[test]
fn memory_that_was_taken_over_needs_no_further_room() {
    let budget = Arc::new(Budget::new(1000, 1000, 0));
    let account = Account::new(budget.clone());
    let mut old = fill(&budget, Health::Healthy, 10);
    assert_eq!((old.bytes(), budget.used()), (1000, 1000));
    let mut spare = Some(Charge::empty(&account));
    spare.as_mut().expect("it").take_over(old.split_off(300));
    assert_eq!((budget.used(), account.held(), old.bytes()), (1000, 300, 700));
    let mut new = Charge::empty(&account);
    new.grow_for_push(200, &mut spare, Health::Failing).expect("it replaces what was there");
    assert_eq!((new.bytes(), account.held(), budget.used()), (200, 300, 1000));
    assert_eq!(new.grow_for_push(101, &mut spare, Health::Failing), Err(NoRoom), "100 are left");
    assert_eq!(new.bytes(), 200);
    new.grow_for_push(100, &mut spare, Health::Failing).expect("the last");
    drop((new, spare));
    assert_eq!((budget.used(), account.held()), (700, 0));
}

#[test]
fn a_thousand_greedy_unknown_targets_leave_room_for_another_to_be_tried() {
    let budget = Arc::new(Budget::new(64 << 20, 64 << 20, 0));
    let _greedy: Vec<_> = (0..1000).map(|_| fill(&budget, Health::Unknown, 64)).collect();
    assert!(budget.used() < 56 << 20, "an eighth stays for healthy targets");
    let newcomer = fill(&budget, Health::Unknown, 64);
    assert!(newcomer.bytes() >= 1024 - 64, "{} bytes", newcomer.bytes());
}

#[test]
fn a_small_buffer_still_takes_one_event_larger_than_its_half() {
    let budget = Arc::new(Budget::new(1000, 1000, 0));
    let mut charge = Charge::empty(&Account::new(budget.clone()));
    charge.grow_for_push(900, &mut None, Health::Unknown).expect("nothing else is there");
    assert_eq!(charge.grow_for_push(50, &mut None, Health::Unknown), Err(NoRoom));
}

#[test]
fn a_waiter_is_woken_by_a_release_even_one_before_its_wait() {
    let budget = Arc::new(Budget::new(1000, 1000, 0));
    let releases = budget.releases();
    let mut charge = Charge::empty(&Account::new(budget.clone()));
    charge.grow_for_push(10, &mut None, Health::Healthy).expect("room");
    drop(charge);
    assert!(budget.wait_for_release(releases, Instant::now() + Duration::from_secs(60)));
    let releases = budget.releases();
    assert!(!budget.wait_for_release(releases, Instant::now()), "nothing was given back");
}
