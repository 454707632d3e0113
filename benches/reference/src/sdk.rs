//! `sdk`: the lines in batches as large as the service takes them, by the plain SDK.

use serde_json::{Value, json};

use crate::client::{Client, block_on};
use crate::cpu::Clock;
use crate::lines::Lines;
use crate::{Failure, rounded};

pub fn run(endpoint: &str, lines: &Lines, events: u64) -> Result<Value, Failure> {
    block_on(async {
        let client = Client::connect(endpoint).await?;
        client.send(lines.batches(events / 10)).await?;
        let clock = Clock::start();
        let requests = client.send(lines.batches(events)).await?;
        let (cpu_s, wall_s) = (clock.cpu_s(), clock.wall_s());
        let payload_bytes: usize = lines.batches(events).flatten().map(str::len).sum();
        Ok(json!({
            "events": events,
            "requests": requests,
            "cpu_us_per_event": rounded(cpu_s * 1e6 / events as f64),
            "wall_s": rounded(wall_s),
            "cpu_s": rounded(cpu_s),
            "payload_mb_per_cpu_s": rounded(payload_bytes as f64 / 1e6 / cpu_s),
        }))
    })
}
