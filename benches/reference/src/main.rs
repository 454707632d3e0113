//! The reference values of the performance bench: the cost of a program that uses the plain SDK, and the costs of
//! compression, hashing and requests, which every sender has.
//!
//! Each subcommand prints one line of JSON. CPU times are those of the whole process, user and system, without the
//! warm-up. A megabyte is 10^6 bytes. The exit code is 1 for a failure and 2 for wrong arguments; stderr names the
//! cause.
//!
//! A file imports only from the files that are listed below it:
//!
//! - `main.rs`: the command line.
//! - `sdk.rs` sends batches and `request.rs` sends single events. `gzip.rs` and `sha256.rs` process request bodies.
//! - `client.rs`: the SDK's client. `bodies.rs`: makes the request bodies.
//! - `lines.rs`: reads the log lines and divides them into batches.
//! - `stopwatch.rs`: measures CPU time and wall time. `result.rs`: failures and figures.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its terminal")]
#![deny(unsafe_code)]

mod bodies;
mod client;
mod gzip;
mod lines;
mod request;
mod result;
mod sdk;
mod sha256;
mod stopwatch;

use std::path::Path;
use std::process::ExitCode;

use lines::Lines;
use result::Failure;
use serde_json::Value;

const USAGE: &str = "\
usage: cwl-bench-reference sdk ENDPOINT_URL LINES EVENTS
       cwl-bench-reference gzip LINES EVENTS LEVEL
       cwl-bench-reference sha256 LINES EVENTS
       cwl-bench-reference request ENDPOINT_URL COUNT
LINES is a file of log lines; EVENTS and COUNT are at least 1, LEVEL is 0 to 9.";

/// The subcommand and its arguments.
enum Subcommand<'a> {
    Sdk { endpoint: &'a str, lines: &'a Path, events: u64 },
    Gzip { lines: &'a Path, events: u64, level: u32 },
    Sha256 { lines: &'a Path, events: u64 },
    Request { endpoint: &'a str, count: u64 },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(subcommand) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&subcommand) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cwl-bench-reference: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse<'a>(args: &[&'a str]) -> Option<Subcommand<'a>> {
    let positive = |text: &str| text.parse().ok().filter(|number| *number > 0);
    Some(match *args {
        ["sdk", endpoint, lines, events] => {
            Subcommand::Sdk { endpoint, lines: Path::new(lines), events: positive(events)? }
        }
        ["gzip", lines, events, level] => {
            let level = level.parse().ok().filter(|level| *level <= 9)?;
            Subcommand::Gzip { lines: Path::new(lines), events: positive(events)?, level }
        }
        ["sha256", lines, events] => {
            Subcommand::Sha256 { lines: Path::new(lines), events: positive(events)? }
        }
        ["request", endpoint, count] => Subcommand::Request { endpoint, count: positive(count)? },
        _ => return None,
    })
}

fn run(subcommand: &Subcommand) -> Result<Value, Failure> {
    match *subcommand {
        Subcommand::Sdk { endpoint, lines, events } => sdk::run(endpoint, &Lines::read(lines)?, events),
        Subcommand::Gzip { lines, events, level } => gzip::run(&Lines::read(lines)?, events, level),
        Subcommand::Sha256 { lines, events } => sha256::run(&Lines::read(lines)?, events),
        Subcommand::Request { endpoint, count } => request::run(endpoint, count),
    }
}
