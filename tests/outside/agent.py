"""cwl-ship as a command: what starts it, what it said, what arrived."""

import pathlib
import re
import signal
import subprocess
import time

from loopback import RELEASE, logs_client, read_back

CWL_SHIP = str(RELEASE / "cwl-ship")
SECONDS = 60  # for any one run; all are done in a few

DELIVERED, NOT_DELIVERED, BAD_INPUT = 0, 1, 2

# Where a shell has started this in the background, SIGINT is ignored, and would be by every child.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def command(endpoint, group, *arguments):
    return [CWL_SHIP, "--group", group, "--stream", "s", "--endpoint", endpoint, *map(str, arguments)]


def run(argv, stdin=b"", **more):
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=SECONDS, check=False, **more)


def ship(endpoint, group, *arguments, stdin=b"", **more):
    return run(command(endpoint, group, *arguments), stdin, **more)


def messages(endpoint, group, stream="s"):
    return [message for _, message in read_back(logs_client(endpoint), group, stream)]


def summary(done):
    """The numbers of the summary, the last line on stderr."""
    last = done.stderr.decode(errors="replace").splitlines()[-1]
    assert last.startswith("cwl-ship: lines="), done.stderr
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", last)}


def wait_until(condition, what):
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, f"waited {SECONDS} s in vain: {what}"
        time.sleep(0.01)


class Following:
    """A cwl-ship --follow, as a context: whatever happens, it does not outlive the test."""

    def __init__(self, endpoint, group, *arguments, folder, interval_ms=50):
        self.endpoint, self.group = endpoint, group
        self._client = logs_client(endpoint)
        self._said = pathlib.Path(folder) / f"stderr-{time.monotonic_ns()}"
        argv = command(endpoint, group, "--set", f"flush_interval_ms={interval_ms}", "--follow", *arguments)
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def said(self):
        return self._said.read_bytes()

    def arrived(self):
        try:
            return [message for _, message in read_back(self._client, self.group, "s")]
        except self._client.exceptions.ResourceNotFoundException:
            return []

    def wait_for(self, *lines):
        """Returns when that many lines have arrived; they must be these, in this order."""

        def enough():
            assert self.process.poll() is None, f"it ended: {self.said()}"
            return len(self.arrived()) >= len(lines)

        wait_until(enough, f"{lines} arrive")
        assert self.arrived() == list(lines)

    def wait_said(self, text):
        wait_until(lambda: text in self.said(), f"{text} in {self.said()}")

    def suspended(self):
        """For as long as this context lasts it sees nothing: what happens meanwhile happens at once for it."""
        return _Suspended(self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(SECONDS)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, b"", self.said())


class _Suspended:
    def __init__(self, process):
        self.process = process

    def __enter__(self):
        self.process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "it stops")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
