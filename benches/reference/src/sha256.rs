//! `sha256`: hashes the bodies with the hash function of the SDK's signer, on one thread.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bodies::{make_bodies, megabytes};
use crate::lines::Lines;
use crate::result::{Failure, round};
use crate::stopwatch::Stopwatch;

pub fn run(lines: &Lines, events: u64) -> Result<Value, Failure> {
    let bodies = make_bodies(lines, events)?;
    let stopwatch = Stopwatch::start();
    for body in &bodies {
        std::hint::black_box(Sha256::digest(body));
    }
    let cpu_s = stopwatch.cpu_s();
    Ok(json!({
        "events": events,
        "cpu_us_per_event": round(cpu_s * 1e6 / events as f64),
        "mb_per_s": round(megabytes(&bodies) / cpu_s),
    }))
}
