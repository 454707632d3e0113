//! `sha256`: the bodies through the hash that the SDK's signer uses, on one thread.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bodies::{bodies, megabytes};
use crate::cpu::Clock;
use crate::lines::Lines;
use crate::{Failure, rounded};

pub fn run(lines: &Lines, events: u64) -> Result<Value, Failure> {
    let bodies = bodies(lines, events)?;
    let clock = Clock::start();
    for body in &bodies {
        std::hint::black_box(Sha256::digest(body));
    }
    let cpu_s = clock.cpu_s();
    Ok(json!({
        "events": events,
        "cpu_us_per_event": rounded(cpu_s * 1e6 / events as f64),
        "mb_per_s": rounded(megabytes(&bodies) / cpu_s),
    }))
}
