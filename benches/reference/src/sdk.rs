//! `sdk`: sends the log lines with the plain SDK, in batches as large as the service accepts.

use serde_json::{Value, json};

use crate::client::{Client, block_on};
use crate::lines::Lines;
use crate::result::{Failure, round};
use crate::stopwatch::Stopwatch;

pub fn run(endpoint: &str, lines: &Lines, events: u64) -> Result<Value, Failure> {
    block_on(async {
        let client = Client::connect(endpoint).await?;
        client.send(lines.batches(events / 10)).await?;
        let stopwatch = Stopwatch::start();
        let requests = client.send(lines.batches(events)).await?;
        let (cpu_s, wall_s) = (stopwatch.cpu_s(), stopwatch.wall_s());
        let payload_bytes: usize = lines.batches(events).flatten().map(str::len).sum();
        Ok(json!({
            "events": events,
            "requests": requests,
            "cpu_us_per_event": round(cpu_s * 1e6 / events as f64),
            "wall_s": round(wall_s),
            "cpu_s": round(cpu_s),
            "payload_mb_per_cpu_s": round(payload_bytes as f64 / 1e6 / cpu_s),
        }))
    })
}
