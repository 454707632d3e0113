//! The program as its users see it: port file, signals and exit codes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cwl-local");

/// A directory that is removed with its content.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cwl-local-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for the port file, which shows that the program listens, and returns the port.
fn wait_for_port(file: &Path, program: &mut Child) -> u16 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            let port = text.strip_suffix('\n').expect("the port ends with a newline");
            return port.parse().expect("the port is decimal");
        }
        assert!(program.try_wait().unwrap().is_none(), "the program ended before it listened");
        assert!(Instant::now() < deadline, "the program wrote no port file");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn run_refused(args: &[&str]) -> Output {
    let output = Command::new(PROGRAM).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    output
}

#[test]
fn it_listens_on_the_port_in_the_port_file_and_ends_cleanly_at_a_signal() {
    let scratch = Scratch::new("signal");
    let rules = scratch.file("rules.json", r#"[{"group": "/denied/*", "hang": true}]"#);
    for signal in ["TERM", "INT"] {
        let file = scratch.0.join(format!("port-{signal}"));
        let mut program = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--discard", "--faults", &rules, "--port-file"])
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", wait_for_port(&file, &mut program))).unwrap();
        stream.write_all(b"GET /_local/faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.contains("/denied/*"), "{response}");
        let kill = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(program.wait().unwrap().code(), Some(0), "the exit code after SIG{signal} is wrong");
    }
}

#[test]
fn the_certificate_is_written_before_the_port_file() {
    let scratch = Scratch::new("tls");
    let (certificate, port_file) = (scratch.0.join("certificate.pem"), scratch.0.join("port"));
    let mut program = Command::new(PROGRAM)
        .arg("--tls")
        .arg(&certificate)
        .arg("--port-file")
        .arg(&port_file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_port(&port_file, &mut program);
    let pem =
        std::fs::read_to_string(&certificate).expect("the certificate was not written before the port file");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("KEY"), "{pem}");
    assert!(pem.trim_end().ends_with("-----END CERTIFICATE-----"), "{pem}");
    assert!(Command::new("kill").arg(program.id().to_string()).status().unwrap().success());
    assert_eq!(program.wait().unwrap().code(), Some(0));
}

#[test]
fn a_certificate_that_cannot_be_written_ends_the_program_with_an_error() {
    let output = Command::new(PROGRAM).args(["--tls", "/nonexistent/certificate.pem"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot write --tls /nonexistent/certificate.pem: "), "{error}");
}

#[test]
fn wrong_arguments_and_rules_are_one_line_on_stderr() {
    let scratch = Scratch::new("wrong");
    let rules = scratch.file("rules.json", r#"[{"hang": true}, {"html": 3}]"#);
    for (args, expected) in [
        (&["--listen", "0.0.0.0:80"][..], "--listen is 0.0.0.0:80"),
        (&["--faults", &rules], "rule 2: html is 3; allowed is a status from 200 to 599"),
        (&["--tls"], "--tls"),
        (&["--frob"], "--frob"),
    ] {
        let error = String::from_utf8(run_refused(args).stderr).unwrap();
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn help_and_version_are_printed() {
    for (arg, expected) in [("--help", "--port-file"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = Command::new(PROGRAM).arg(arg).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
}
