//! `gzip`: compresses the bodies with the compressor that the sink uses, on one thread.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::bodies::{make_bodies, megabytes};
use crate::lines::Lines;
use crate::result::{Failure, round};
use crate::stopwatch::Stopwatch;

pub fn run(lines: &Lines, events: u64, level: u32) -> Result<Value, Failure> {
    let bodies = make_bodies(lines, events)?;
    // Level 0 makes a body longer by a few bytes per 64 KiB. The buffer must not grow during the measurement.
    let longest = bodies.iter().map(Vec::len).max().unwrap_or(0);
    let mut compressed = vec![0; longest + longest / 100 + 1024];
    let mut compressed_bytes = 0;
    let stopwatch = Stopwatch::start();
    for body in &bodies {
        compressed.clear();
        let mut encoder = GzEncoder::new(compressed, Compression::new(level));
        encoder.write_all(body)?;
        compressed = encoder.finish()?;
        compressed_bytes += compressed.len();
    }
    let (cpu_s, plain_mb) = (stopwatch.cpu_s(), megabytes(&bodies));
    Ok(json!({
        "events": events,
        "cpu_us_per_event": round(cpu_s * 1e6 / events as f64),
        "mb_per_s": round(plain_mb / cpu_s),
        "ratio": round(compressed_bytes as f64 / 1e6 / plain_mb),
    }))
}
