//! Runs a `credential_process`: a helper program that prints credentials.
//!
//! tokio would install a handler for SIGCHLD in the host to learn that the helper ended. Here the helper is asked for by its
//! process id, so nothing of the host changes. The host may ignore SIGCHLD, or reap the helper itself: then the system
//! keeps no exit status, and the output alone decides.
//!
//! The helper has a process group of its own, an empty signal mask and no input. Dropping a [`Helper`] kills the whole
//! group and reaps the helper.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};

use super::asked::Asked;
use super::process_output::parse;

/// The most output of a helper. Credentials with a long session token have a few kilobytes.
const OUTPUT_MAX: usize = 64 * 1024;
/// The most that a pipe holds. Source: pipe(7).
const PIPE_CAPACITY: usize = 64 * 1024;
/// The part of the error output that is kept: its end.
const ERROR_OUTPUT_KEPT: usize = 1024;
/// The most characters of the error output that a message shows.
const ERROR_TEXT_MAX: usize = 200;
/// The bounds of the wait before a helper is looked at again. The wait is doubled each time.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(1);
const LOOK_INTERVAL_MAX: Duration = Duration::from_millis(50);
/// The longest wait for a killed helper. One that hangs in the kernel is left behind.
const REAP_MAX: Duration = Duration::from_millis(500);

/// Provides the credentials that a helper prints.
#[derive(Debug)]
pub(super) struct CredentialProcess {
    pub command: String,
    /// The helper in words.
    pub place: String,
    pub asked: Asked,
}

impl ProvideCredentials for CredentialProcess {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let before = self.asked.get();
            self.asked.set(&self.place);
            let ended = run(&self.command).await;
            self.asked.set(&before);
            let credentials = ended.and_then(|output| parse(&output));
            credentials.map_err(|why| CredentialsError::provider_error(format!("credential_process: {why}")))
        })
    }
}

/// Runs a command to its end and returns its output. The command is one for `sh`, as for AWS's own SDK: a program and
/// arguments as AWS documents them mean the same there.
async fn run(command: &str) -> Result<Vec<u8>, String> {
    let mut helper = Helper::start(command).map_err(|error| format!("it cannot be started: {error}"))?;
    let mut interval = LOOK_INTERVAL_MIN;
    loop {
        // The pipes are read after the end was seen, so nothing is missed.
        let end = helper.look();
        helper.read().map_err(|error| format!("its output cannot be read: {error}"))?;
        if helper.output.len() > OUTPUT_MAX {
            return Err(format!("its output is longer than {OUTPUT_MAX} bytes"));
        }
        match end {
            Some(End::Exited(status)) if !status.success() => {
                return Err(format!("{}{}", failure(status), shown(&helper.error_output)));
            }
            Some(End::Unknown) if helper.output.is_empty() => {
                return Err(format!("it printed nothing{}", shown(&helper.error_output)));
            }
            Some(_) => return Ok(std::mem::take(&mut helper.output)),
            None => tokio::time::sleep(interval).await,
        }
        interval = LOOK_INTERVAL_MAX.min(interval * 2);
    }
}

/// The end of a helper.
enum End {
    Exited(ExitStatus),
    /// The system or the host reaped the helper.
    Unknown,
}

/// A helper that runs, or that ended and is not reaped yet.
struct Helper {
    child: Child,
    is_reaped: bool,
    output: Vec<u8>,
    /// The end of the error output.
    error_output: Vec<u8>,
}

impl Helper {
    /// Starts the command. Without `pre_exec`, the standard library uses posix_spawn, which empties the signal mask and runs
    /// no handler of pthread_atfork.
    fn start(command: &str) -> io::Result<Self> {
        let mut sh = Command::new("sh");
        sh.args(["-c", command]).process_group(0);
        sh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let helper =
            Helper { child: sh.spawn()?, is_reaped: false, output: Vec::new(), error_output: Vec::new() };
        if let Some(pipe) = &helper.child.stdout {
            ioctl_fionbio(pipe.as_fd(), true)?;
        }
        if let Some(pipe) = &helper.child.stderr {
            ioctl_fionbio(pipe.as_fd(), true)?;
        }
        Ok(helper)
    }

    /// Returns how the helper ended; `None` while it runs.
    fn look(&mut self) -> Option<End> {
        let end = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => End::Exited(status),
            Err(_) => End::Unknown,
        };
        self.is_reaped = true;
        Some(end)
    }

    /// Reads what the pipes hold.
    fn read(&mut self) -> io::Result<()> {
        if let Some(pipe) = &mut self.child.stdout {
            read_available(pipe, &mut self.output)?;
        }
        if let Some(pipe) = &mut self.child.stderr {
            read_available(pipe, &mut self.error_output)?;
            let surplus = self.error_output.len().saturating_sub(ERROR_OUTPUT_KEPT);
            self.error_output.drain(..surplus);
        }
        Ok(())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if self.is_reaped || self.look().is_some() {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let mut waited = Duration::ZERO;
        while self.look().is_none() && waited < REAP_MAX {
            thread::sleep(LOOK_INTERVAL_MIN);
            waited += LOOK_INTERVAL_MIN;
        }
    }
}

/// Reads from a pipe until it is empty. Reads as much as a pipe can hold at most, so a helper that never stops to write does
/// not keep the caller.
fn read_available(pipe: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let mut left = PIPE_CAPACITY;
    while left > 0 {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                bytes.extend_from_slice(&chunk[..read]);
                left = left.saturating_sub(read);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failure(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it failed".to_owned(),
    }
}

/// The last line of the error output, as the end of a sentence. Words that may be keys or tokens are left out.
fn shown(error_output: &[u8]) -> String {
    let text = String::from_utf8_lossy(error_output);
    let Some(line) = text.lines().rev().map(str::trim).find(|line| !line.is_empty()) else {
        return String::new();
    };
    let words: Vec<&str> =
        line.split_whitespace().map(|word| if may_be_secret(word) { "(hidden)" } else { word }).collect();
    let text: String = words.join(" ").chars().filter(|c| !c.is_control()).take(ERROR_TEXT_MAX).collect();
    format!(" and this error output: {text}")
}

/// Returns whether a word may be a key or a token: it has 16 characters or more in a row as in base64, digits among them.
fn may_be_secret(word: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    word.split(|c| !is_base64(c)).any(|run| run.len() >= 16 && run.contains(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_helper_is_run_by_a_shell_and_its_output_is_read_to_the_end() {
        let output =
            run("printf '%s' \"a b\" 'c'; head -c 60000 /dev/zero; printf d").await.expect("it runs");
        assert_eq!((output.len(), &output[..4], output.last()), (60_005, &b"a bc"[..], Some(&b'd')));
    }

    #[tokio::test]
    async fn a_helper_that_fails_is_reported_with_its_last_words_and_without_secrets() {
        let error = run("echo first >&2; echo 'no key for abcdEFGH1234/678+x0' >&2; exit 3")
            .await
            .expect_err("it fails");
        assert_eq!(error, "it ended with exit code 3 and this error output: no key for (hidden)");
        let error = run("kill -9 $$").await.expect_err("it fails");
        assert_eq!(error, "it was ended by signal 9");
        let error = run("head -c 70000 /dev/zero").await.expect_err("too long");
        assert!(error.contains("longer than 65536"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_has_no_input_and_need_not_wait_for_what_it_left_behind() {
        let output = run("cat; sleep 100 & echo $!").await.expect("it ends");
        let left = String::from_utf8(output).expect("a number");
        let _ = Command::new("kill").arg(left.trim()).status();
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_killed_with_all_that_it_started() {
        let (mut helper, mut members) =
            (Helper::start("sleep 1000 & echo $!; wait").expect("sh"), String::new());
        while !members.ends_with('\n') {
            assert!(helper.look().is_none(), "it waits");
            helper.read().expect("a pipe");
            members = String::from_utf8(helper.output.clone()).expect("a number");
            tokio::task::yield_now().await;
        }
        let started = format!("/proc/{}", members.trim());
        let child = format!("/proc/{}", helper.child.id());
        drop(helper);
        let is_gone = |process: &str| {
            // A process that nobody reaped yet is a zombie.
            std::fs::read_to_string(format!("{process}/stat")).map_or(true, |stat| stat.contains(") Z "))
        };
        assert!(!std::path::Path::new(&child).exists(), "the helper is reaped");
        while !is_gone(&started) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_signal_mask_of_a_helper_is_empty() {
        let output = run("grep SigBlk /proc/self/status").await.expect("it runs");
        assert!(String::from_utf8_lossy(&output).trim().ends_with("0000000000000000"));
    }
}
