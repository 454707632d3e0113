//! `request`: sends single events with the plain SDK, to measure the cost of a request without regard to its content.

use std::iter::repeat_n;

use serde_json::{Value, json};

use crate::client::{Client, block_on};
use crate::result::{Failure, round};
use crate::stopwatch::Stopwatch;

const MESSAGE_BYTES: usize = 126;

pub fn run(endpoint: &str, count: u64) -> Result<Value, Failure> {
    let message = "x".repeat(MESSAGE_BYTES);
    let requests =
        |count: u64| repeat_n(vec![message.as_str()], usize::try_from(count).unwrap_or(usize::MAX));
    block_on(async {
        let client = Client::connect(endpoint).await?;
        client.send(requests(count / 10)).await?;
        let stopwatch = Stopwatch::start();
        let requests = client.send(requests(count)).await?;
        Ok(json!({
            "requests": requests,
            "cpu_us_per_request": round(stopwatch.cpu_s() * 1e6 / requests as f64),
        }))
    })
}
