//! The yardsticks of the performance bench: what a program costs that uses the SDK plainly, and what compression,
//! signature and request cost whoever sends.
//!
//! Each subcommand prints one line of JSON. Times of CPU are the whole process's, user and system, from after the
//! warm-up to the end; a megabyte is 10^6 bytes. Exit codes: 1 when it failed, 2 for wrong arguments; why is said on
//! stderr.
//!
//! - `sdk.rs` sends batches and `request.rs` single events, both by way of `client.rs`.
//! - `gzip.rs` and `sha256.rs` work on the request bodies that `bodies.rs` makes.
//! - `lines.rs` reads the lines and cuts them into batches; `cpu.rs` is the clock.
#![deny(unsafe_code)]

mod bodies;
mod client;
mod cpu;
mod gzip;
mod lines;
mod request;
mod sdk;
mod sha256;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use lines::Lines;
use serde_json::Value;

const USAGE: &str = "\
usage: cwl-bench-reference sdk ENDPOINT_URL LINES EVENTS
       cwl-bench-reference gzip LINES EVENTS LEVEL
       cwl-bench-reference sha256 LINES EVENTS
       cwl-bench-reference request ENDPOINT_URL COUNT
LINES is a file of log lines; EVENTS and COUNT are at least 1, LEVEL is 0 to 9.";

/// What went wrong, in words.
type Failure = Box<dyn Error + Send + Sync>;

/// What the command line asks for.
enum Asked<'a> {
    Sdk { endpoint: &'a str, lines: &'a Path, events: u64 },
    Gzip { lines: &'a Path, events: u64, level: u32 },
    Sha256 { lines: &'a Path, events: u64 },
    Request { endpoint: &'a str, count: u64 },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(asked) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&asked) {
        Ok(measured) => {
            println!("{measured}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cwl-bench-reference: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse<'a>(args: &[&'a str]) -> Option<Asked<'a>> {
    let positive = |text: &str| text.parse().ok().filter(|number| *number > 0);
    Some(match *args {
        ["sdk", endpoint, lines, events] => {
            Asked::Sdk { endpoint, lines: Path::new(lines), events: positive(events)? }
        }
        ["gzip", lines, events, level] => {
            let level = level.parse().ok().filter(|level| *level <= 9)?;
            Asked::Gzip { lines: Path::new(lines), events: positive(events)?, level }
        }
        ["sha256", lines, events] => Asked::Sha256 { lines: Path::new(lines), events: positive(events)? },
        ["request", endpoint, count] => Asked::Request { endpoint, count: positive(count)? },
        _ => return None,
    })
}

fn run(asked: &Asked) -> Result<Value, Failure> {
    match *asked {
        Asked::Sdk { endpoint, lines, events } => sdk::run(endpoint, &Lines::read(lines)?, events),
        Asked::Gzip { lines, events, level } => gzip::run(&Lines::read(lines)?, events, level),
        Asked::Sha256 { lines, events } => sha256::run(&Lines::read(lines)?, events),
        Asked::Request { endpoint, count } => request::run(endpoint, count),
    }
}

/// A figure as it is printed: nobody measures a millionth of it.
fn rounded(figure: f64) -> f64 {
    (figure * 10_000.0).round() / 10_000.0
}
