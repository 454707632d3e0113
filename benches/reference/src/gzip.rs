//! `gzip`: the bodies through the compressor that the sink uses, on one thread.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::bodies::{bodies, megabytes};
use crate::cpu::Clock;
use crate::lines::Lines;
use crate::{Failure, rounded};

pub fn run(lines: &Lines, events: u64, level: u32) -> Result<Value, Failure> {
    let bodies = bodies(lines, events)?;
    // Level 0 makes a body longer by a few bytes in each 64 KiB; nothing may grow while the clock runs.
    let longest = bodies.iter().map(Vec::len).max().unwrap_or(0);
    let mut compressed = vec![0; longest + longest / 100 + 1024];
    let mut compressed_bytes = 0;
    let clock = Clock::start();
    for body in &bodies {
        compressed.clear();
        let mut encoder = GzEncoder::new(compressed, Compression::new(level));
        encoder.write_all(body)?;
        compressed = encoder.finish()?;
        compressed_bytes += compressed.len();
    }
    let (cpu_s, plain_mb) = (clock.cpu_s(), megabytes(&bodies));
    Ok(json!({
        "events": events,
        "cpu_us_per_event": rounded(cpu_s * 1e6 / events as f64),
        "mb_per_s": rounded(plain_mb / cpu_s),
        "ratio": rounded(compressed_bytes as f64 / 1e6 / plain_mb),
    }))
}
