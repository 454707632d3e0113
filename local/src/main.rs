//! The program: a [`cwl_local::Local`] that listens until SIGINT or SIGTERM.
//!
//! Exit codes: 0 after a signal, 1 when it cannot listen or write its files, 2 for wrong arguments or fault rules.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its terminal")]
#![deny(unsafe_code)]

mod args;

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

use args::Invocation;
use cwl_local::{Local, Options};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Help) => print!("{}", args::HELP),
        Ok(Invocation::Version) => println!("cwl-local {}", env!("CARGO_PKG_VERSION")),
        Ok(Invocation::Run { options, port_file, cert_file }) => {
            if let Err(error) = run(*options, port_file.as_deref(), cert_file.as_deref()) {
                eprintln!("cwl-local: {error}");
                return ExitCode::from(1);
            }
        }
        Err(error) => {
            eprintln!("cwl-local: {error}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn run(options: Options, port_file: Option<&Path>, cert_file: Option<&Path>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        // The handlers are installed before the port is known: a signal that is sent later must not end the program
        // with its default action.
        let handle = |kind| signal(kind).map_err(|error| format!("cannot handle signals: {error}"));
        let (mut interrupt, mut terminate) =
            (handle(SignalKind::interrupt())?, handle(SignalKind::terminate())?);
        let local = Local::start(options).map_err(|error| error.to_string())?;
        eprintln!("cwl-local: listening on {}", local.endpoint());
        // The certificate comes before the port file, so that a client that knows the port can read the certificate.
        if let (Some(path), Some(pem)) = (cert_file, local.certificate_pem()) {
            write_whole(path, pem)
                .map_err(|error| format!("cannot write --tls {}: {error}", path.display()))?;
        }
        if let Some(path) = port_file {
            write_whole(path, &format!("{}\n", local.addr().port()))
                .map_err(|error| format!("cannot write --port-file {}: {error}", path.display()))?;
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// Writes a temporary file and renames it, so that nobody sees a part of the text.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}
