//! The promises of the engine, simulated: a seed determines a whole run, and many seeds are run.
//!
//! A run has a host ([`driver`]) that pushes events, and a service ([`service`], [`put`]) that takes or refuses them,
//! on a runtime of one thread whose time is simulated, so that days pass in a moment. The books of both
//! ([`books`]) and models of what may go out when ([`models`]) are compared with what the engine says and does:
//! at every step by the driver, at every request by the service, and at the end ([`end`]).
//!
//! `SEEDS` says how many seeds are run, `START` from which on, and `SEED` runs one; with `TRACE=1` it prints what happens.
//! `HASH=1` prints one number for all runs together: it is the same before and after a change that changes no behaviour.

mod books;
mod driver;
mod end;
mod faults;
mod models;
mod put;
mod scenario;
mod service;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use tokio::runtime::Builder;

use driver::Driver;
use scenario::Scenario;
use service::SimulatedPanic;

/// Seeds that are run unless `SEEDS` says otherwise.
const SEEDS: u64 = 2000;

/// What a run leaves behind.
struct Trace {
    hash: u64,
    met: Vec<bool>,
}

fn run(seed: u64) -> Result<Trace, String> {
    silence_simulated_panics();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let scenario = Scenario::of(seed, faults::all().len());
    let ended = runtime.block_on(async {
        let mut driver = Driver::start(&scenario)?;
        let ran = driver.run().await;
        Ok::<_, String>((driver, ran))
    });
    let (mut driver, ran) = ended?;
    driver.service.world().stopped = true;
    drop(runtime);
    // Attempts that were cut off have put back what they had, or ended it.
    driver.engine.stop();
    ran.and_then(|()| end::check(&mut driver)).map_err(|what| format!("{what}\n  in {scenario:?}"))?;
    let world = driver.service.world();
    let ends = world.books.events.iter().map(|event| event.ack.as_ref().map(|(reason, _)| *reason as u64));
    let hash = ends.fold(world.trace, |hash, end| hash.rotate_left(5) ^ end.unwrap_or(77));
    Ok(Trace { hash, met: world.met.clone() })
}

/// Runs a seed; a panic, of the engine or of the simulation, is a failure too.
fn run_caught(seed: u64) -> Result<Trace, String> {
    std::panic::catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|_| Err("it panicked".into()))
}

fn silence_simulated_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.payload().is::<SimulatedPanic>() {
                hook(panic);
            }
        }));
    });
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

#[test]
fn every_promise_holds_whatever_happens() {
    let (first, seeds) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (number("START").unwrap_or(0), number("SEEDS").unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    let met = Mutex::new(vec![false; faults::all().len()]);
    let combined = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || failed.lock().expect("no panic").len() >= 3 {
                return;
            }
            match run_caught(seed) {
                Err(what) => failed.lock().expect("no panic").push((seed, what)),
                Ok(trace) => {
                    // A sum, since the threads finish their runs in no fixed order.
                    let hash = (trace.hash ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    combined.fetch_add(hash, Ordering::Relaxed);
                    met.lock()
                        .expect("no panic")
                        .iter_mut()
                        .zip(trace.met)
                        .for_each(|(met, now)| *met |= now);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort();
    let message = |(seed, what): &(u64, String)| {
        format!("seed {seed}: {what}\n  replay: SEED={seed} cargo test --test simulation\n")
    };
    assert!(failed.is_empty(), "\n{}", failed.iter().map(message).collect::<String>());
    if std::env::var_os("HASH").is_some() {
        println!("hash of seeds {first} to {}: {:016x}", first + seeds - 1, combined.into_inner());
    }
    let met = met.into_inner().expect("no panic");
    let unmet: Vec<_> =
        faults::all().into_iter().zip(met).filter(|(_, met)| !met).map(|(fault, _)| fault).collect();
    assert!(seeds < SEEDS || unmet.is_empty(), "no run met these faults: {unmet:?}");
}

#[test]
fn a_seed_determines_a_run() {
    for seed in 0..100 {
        let [one, other] = [run_caught(seed), run_caught(seed)].map(|trace| trace.map(|trace| trace.hash));
        assert_eq!(one, other, "SEED={seed}");
    }
}
