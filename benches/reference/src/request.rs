//! `request`: requests of a single event by the plain SDK, which is what a request costs whatever is in it.

use std::iter::repeat_n;

use serde_json::{Value, json};

use crate::client::{Client, block_on};
use crate::cpu::Clock;
use crate::{Failure, rounded};

const MESSAGE_BYTES: usize = 126;

pub fn run(endpoint: &str, count: u64) -> Result<Value, Failure> {
    let message = "x".repeat(MESSAGE_BYTES);
    let requests =
        |count: u64| repeat_n(vec![message.as_str()], usize::try_from(count).unwrap_or(usize::MAX));
    block_on(async {
        let client = Client::connect(endpoint).await?;
        client.send(requests(count / 10)).await?;
        let clock = Clock::start();
        let requests = client.send(requests(count)).await?;
        Ok(json!({
            "requests": requests,
            "cpu_us_per_request": rounded(clock.cpu_s() * 1e6 / requests as f64),
        }))
    })
}
