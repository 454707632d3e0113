//! The command line of the program.
//!
//! An error is one line that names the argument, its value and the allowed values.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use cwl_local::{Options, parse_rules};
use lexopt::{Arg, ValueExt};

/// The text that `--help` prints.
pub(crate) const HELP: &str = "\
A CloudWatch Logs endpoint on loopback, with faults on demand.

Usage: cwl-local [OPTIONS]

Options:
      --listen ADDRESS:PORT  Loopback address to listen on; port 0 takes a free one [default: 127.0.0.1:0]
      --port-file FILE       Write the port to FILE when it listens
      --tls CERT_FILE        Serve HTTPS; write the certificate to trust to CERT_FILE, as PEM
      --faults FILE          Start with the fault rules in FILE, a JSON array
      --discard              Count events and requests, and keep neither
      --idle-close-ms N      Close a connection N ms after its last answer [default: never]
      --uplink-bytes-per-second N
                             Read request bodies at N bytes/s, over all connections together [default: no limit]
      --access-key KEY       The access key id that is accepted [default: test]
      --secret-key KEY       The secret access key [default: test]
  -h, --help                 Print this and exit
  -V, --version              Print the version and exit

It listens until SIGINT or SIGTERM. While it runs:
  GET, PUT, POST, DELETE /_local/faults   list, replace, add, remove the fault rules
  DELETE /_local/faults/ID                remove one fault rule
  GET /_local/stats                       counters by operation and by log group
";

/// The command of the command line.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Listen until a signal.
    Run {
        /// The settings of the endpoint.
        options: Box<Options>,
        /// The file for the port.
        port_file: Option<PathBuf>,
        /// The file for the certificate, with HTTPS.
        cert_file: Option<PathBuf>,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options::default();
    let mut port_file = None;
    let mut cert_file = None;
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Arg::Long("listen") => options.listen = listen_address(&value_of(&mut parser, "--listen")?)?,
            Arg::Long("port-file") => port_file = Some(PathBuf::from(value_of(&mut parser, "--port-file")?)),
            Arg::Long("tls") => {
                cert_file = Some(PathBuf::from(value_of(&mut parser, "--tls")?));
                options.tls = true;
            }
            Arg::Long("faults") => {
                let path = PathBuf::from(value_of(&mut parser, "--faults")?);
                options.faults = read_rules(&path)?;
            }
            Arg::Long("discard") => options.discard = true,
            Arg::Long("idle-close-ms") => {
                options.idle_close_ms = Some(positive_number(&mut parser, "--idle-close-ms")?);
            }
            Arg::Long("uplink-bytes-per-second") => {
                options.uplink_bytes_per_s = Some(positive_number(&mut parser, "--uplink-bytes-per-second")?);
            }
            Arg::Long("access-key") => options.access_key = value_of(&mut parser, "--access-key")?,
            Arg::Long("secret-key") => options.secret_key = value_of(&mut parser, "--secret-key")?,
            Arg::Short('h') | Arg::Long("help") => return Ok(Invocation::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Invocation::Version),
            other => return Err(format!("{}; --help lists the allowed arguments", other.unexpected())),
        }
    }
    Ok(Invocation::Run { options: Box::new(options), port_file, cert_file })
}

fn value_of(parser: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    let value = parser.value().and_then(|value| value.string());
    value.map_err(|error| format!("{name}: {error}")).and_then(|value| {
        if value.is_empty() { Err(format!("{name} is empty; allowed is any other value")) } else { Ok(value) }
    })
}

fn positive_number(parser: &mut lexopt::Parser, name: &str) -> Result<NonZeroU64, String> {
    let value = value_of(parser, name)?;
    value.parse().map_err(|_| format!("{name} is {value}; allowed is a whole number from 1"))
}

fn listen_address(value: &str) -> Result<SocketAddr, String> {
    let allowed = "allowed is ADDRESS:PORT of a loopback address, such as 127.0.0.1:0";
    match value.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_loopback() => Ok(addr),
        Ok(_) => Err(format!("--listen is {value}, which other machines can reach; {allowed}")),
        Err(_) => Err(format!("--listen is {value}; {allowed}")),
    }
}

fn read_rules(path: &Path) -> Result<Vec<cwl_local::Rule>, String> {
    let file = path.display();
    let json = std::fs::read_to_string(path).map_err(|error| format!("--faults {file}: {error}"))?;
    parse_rules(&json).map_err(|error| format!("--faults {file}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_args(args: &[&str]) -> Result<Invocation, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn every_option_is_read() {
        let args = [
            "--listen",
            "[::1]:7",
            "--port-file=p",
            "--tls=c",
            "--discard",
            "--idle-close-ms=6000",
            "--uplink-bytes-per-second",
            "1000000",
            "--access-key",
            "a",
            "--secret-key=s",
        ];
        let Ok(Invocation::Run { options, port_file, cert_file }) = parse_args(&args) else {
            panic!("the arguments were refused")
        };
        assert_eq!(options.listen.to_string(), "[::1]:7");
        assert_eq!(
            (options.access_key.as_str(), options.secret_key.as_str(), options.discard),
            ("a", "s", true)
        );
        assert_eq!(options.idle_close_ms, NonZeroU64::new(6000));
        assert_eq!(options.uplink_bytes_per_s, NonZeroU64::new(1_000_000));
        assert_eq!((port_file, cert_file), (Some(PathBuf::from("p")), Some(PathBuf::from("c"))));
        assert!(options.tls);
    }

    #[test]
    fn an_error_names_the_argument_its_value_and_the_allowed_values() {
        for (args, expected) in [
            (&["--listen", "nowhere"][..], "--listen is nowhere; allowed is ADDRESS:PORT"),
            (&["--listen", "0.0.0.0:0"], "--listen is 0.0.0.0:0, which other machines can reach"),
            (&["--listen"], "--listen"),
            (&["--faults", "/nonexistent/rules.json"], "--faults /nonexistent/rules.json"),
            (&["--tls"], "--tls"),
            (&["--tls="], "--tls is empty"),
            (&["--discard=yes"], "--discard"),
            (&["--idle-close-ms=0"], "--idle-close-ms is 0; allowed is a whole number from 1"),
            (&["--uplink-bytes-per-second=1k"], "--uplink-bytes-per-second is 1k; allowed"),
            (&["--what"], "--what"),
            (&["stray"], "stray"),
        ] {
            let error = parse_args(args).unwrap_err();
            assert!(error.contains(expected), "{args:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
