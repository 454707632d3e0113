#!/usr/bin/env python3
"""Runs every test suite and sums up their results.

A suite is a command. Its output is passed on at once, and its results are read from its closing lines. A suite adds one
failure of its own when it fails without reporting a failure, is ended by a signal, exceeds its time or runs no test.

The last line is `N passed, N failed`; it is also written to target/test-result.txt. Arguments are names of suites; then
only these are run.
"""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time

from loopback import ROOT, CwlLocal, hermetic_environment

RESULT = ROOT / "target" / "test-result.txt"
VENV_PYTHON = sys.executable
CARGO = os.environ.get("CARGO", "cargo")
PYTEST = [VENV_PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-v"]
BOTO3_VIEW = ROOT / "local" / "tests" / "boto3_view.py"


def plain_counts(text):
    """Reads the last line `N passed, N failed`."""
    found = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.MULTILINE)
    return tuple(map(int, found[-1])) if found else (0, 0)


def cargo_counts(text):
    """Sums up the lines `test result: ok. N passed; N failed; ...` of all test programs."""
    found = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed;", text, re.MULTILINE)
    return sum(int(passed) for passed, _ in found), sum(int(failed) for _, failed in found)


def pytest_counts(text):
    """Reads the last line `== N failed, N passed, N error in 1.2s ==`. An error counts as a failure."""
    closing = re.findall(r"^=+ (.*\bin [\d.]+s.*) =+$", text, re.MULTILINE)
    numbers = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", closing[-1])} if closing else {}
    return numbers.get("passed", 0), sum(numbers.get(word, 0) for word in ("failed", "error", "errors"))


@dataclasses.dataclass(frozen=True)
class Suite:
    name: str
    command: list
    counts: object
    minutes: float
    needs_endpoint: bool = False  # the address of a cwl-local becomes the command's last argument


SUITES = [
    Suite("Rust", [CARGO, "test", "--workspace", "--locked", "--no-fail-fast"], cargo_counts, 45),
    Suite("C", [VENV_PYTHON, "scripts/run_c_tests.py"], plain_counts, 5),
    Suite("C, valgrind", [VENV_PYTHON, "scripts/run_c_tests.py", "--valgrind"], plain_counts, 15),
    Suite("exported symbols", [VENV_PYTHON, "scripts/check_symbols.py"], plain_counts, 1),
    Suite("cwl-ship", [*PYTEST, "tests/outside/test_cwl_ship.py"], pytest_counts, 10),
    Suite("follow", [*PYTEST, "tests/outside/test_follow.py"], pytest_counts, 10),
    Suite("kill test", [VENV_PYTHON, "tests/outside/kill_test.py"], plain_counts, 10),
    Suite("outside view", [*PYTEST, "tests/outside/test_outside_view.py"], pytest_counts, 10),
    Suite("credentials", [*PYTEST, "tests/outside/test_credentials.py"], pytest_counts, 10),
    Suite("credential_process", [*PYTEST, "tests/outside/test_credential_process.py"], pytest_counts, 5),
    Suite("proxy", [*PYTEST, "tests/outside/test_proxy.py"], pytest_counts, 1),
    Suite("README", [*PYTEST, "tests/outside/test_readme.py"], pytest_counts, 1),
    Suite("TLS", [*PYTEST, "tests/outside/test_tls.py"], pytest_counts, 5),
    Suite("end of the process", [*PYTEST, "tests/outside/test_exit.py"], pytest_counts, 5),
    Suite("installation", [*PYTEST, "tests/outside/test_install.py"], pytest_counts, 5),
    Suite("troubleshooting", [*PYTEST, "tests/outside/test_troubleshooting.py"], pytest_counts, 5),
    Suite("isolation figures", [*PYTEST, "tests/outside/test_isolation_figures.py"], pytest_counts, 1),
    Suite("isolation verdict", [*PYTEST, "tests/outside/test_isolation_verdict.py"], pytest_counts, 1),
    Suite("performance figures", [*PYTEST, "tests/outside/test_performance_figures.py"], pytest_counts, 1),
    Suite("boto3 view", [VENV_PYTHON, str(BOTO3_VIEW)], plain_counts, 5, needs_endpoint=True),
]


@dataclasses.dataclass
class Result:
    name: str
    passed: int
    failed: int
    seconds: float
    remark: str = ""


def run_command(command, minutes, environment=None):
    """Runs a command and passes its output on. Returns (output, exit code); the code is None after a time-out."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    timed_out = threading.Event()

    def kill():
        # The process group is the command and every process that it has started.
        timed_out.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(minutes * 60, kill)
    timer.start()
    output = []
    try:
        for line in process.stdout:
            output.append(line)
            print(line, end="", flush=True)
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return "".join(output), None if timed_out.is_set() else process.returncode


def run_suite(suite):
    print(f"\n==== {suite.name} ====", flush=True)
    started_at = time.monotonic()
    if suite.needs_endpoint:
        with CwlLocal() as local:
            output, code = run_command([*suite.command, local.endpoint], suite.minutes, hermetic_environment())
    else:
        output, code = run_command(suite.command, suite.minutes)
    passed, failed = suite.counts(output)
    remark = ""
    if code is None:
        remark = f"ended after {suite.minutes} minutes"
    elif code < 0:
        remark = f"ended by {signal.Signals(-code).name}"
    elif passed + failed == 0:
        remark = f"ran no test (exit code {code})"
    elif (code == 0) != (failed == 0):
        remark = f"exit code {code}"
    return Result(suite.name, passed, failed + bool(remark), time.monotonic() - started_at, remark)


def run_guarded(suite):
    """Runs a suite. One that cannot be started is a failure, and the other suites still run."""
    try:
        return run_suite(suite)
    except (OSError, RuntimeError) as error:
        return Result(suite.name, 0, 1, 0.0, f"could not run: {error}")


def select_suites(names):
    unknown = set(names) - {suite.name for suite in SUITES}
    if unknown:
        names = [suite.name for suite in SUITES]
        sys.exit(f"run_tests.py: there is no suite {sorted(unknown)}; the suites are {names}")
    selected = [suite for suite in SUITES if suite.name in names or not names]
    return [suite for suite in selected if suite.name != "boto3 view" or BOTO3_VIEW.exists()]


def main():
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.unlink(missing_ok=True)
    results = [run_guarded(suite) for suite in select_suites(sys.argv[1:])]
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    print(f"\n{'suite':<18} {'passed':>7} {'failed':>7} {'seconds':>8}")
    for r in results:
        print(f"{r.name:<18} {r.passed:>7} {r.failed:>7} {r.seconds:>8.1f}  {r.remark}".rstrip())
    closing = f"{passed} passed, {failed} failed"
    RESULT.write_text(closing + "\n")
    print(f"\n{closing}", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
