"""cwl-ship from the user's view: its options, messages, exit codes, and the events that arrive."""

import array
import ctypes
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from agent import (
    BAD_INPUT,
    CWL_SHIP,
    DELIVERED,
    NOT_DELIVERED,
    SECONDS,
    command,
    messages,
    run,
    ship,
    summary,
    wait_until,
)
from loopback import CwlLocal, logs_client

LINE_BYTES_MAX = 1_048_550

DENIED = {"operation": "PutLogEvents", "error": {"code": "AccessDeniedException", "status": 400, "message": "no"}}


# ---- sending ----


def test_every_line_of_a_file_arrives_in_order(cwl_local, group, tmp_path):
    lines = [f"line {n} " + "x" * (n % 300) for n in range(20_000)]
    file = tmp_path / "app.log"
    file.write_text("\n".join(lines) + "\n")
    done = ship(cwl_local, group, file)
    assert (done.returncode, done.stdout) == (DELIVERED, b"")
    assert messages(cwl_local, group) == lines
    numbers = summary(done)
    assert numbers["lines"] == numbers["pushed"] == numbers["delivered"] == len(lines)
    assert numbers["bytes"] == sum(map(len, lines))
    assert not any(numbers[name] for name in "rejected dropped abandoned refused unsent skipped_empty".split())


def test_bytes_of_a_line_survive(cwl_local, group):
    stdin = "\0 NUL\0\n carriage return\r\n\ttab \n\x1b[31mred\nÜnïcode 🚀\n".encode() + b"not \xff UTF-8\n"
    done = ship(cwl_local, group, stdin=stdin)
    assert done.returncode == DELIVERED, done.stderr
    assert messages(cwl_local, group) == stdin.decode(errors="replace").split("\n")[:-1]


@pytest.mark.parametrize("arguments", [[], ["-"], ["--", "-"]])
def test_standard_input_is_read(cwl_local, group, arguments):
    done = ship(cwl_local, group, *arguments, stdin=b"one\ntwo\n")
    assert done.returncode == DELIVERED, done.stderr
    assert messages(cwl_local, group) == ["one", "two"]


def test_files_and_standard_input_are_read_in_the_order_given(cwl_local, group, tmp_path):
    (tmp_path / "a").write_text("a1\na2")
    (tmp_path / "--b").write_text("b1\n")
    done = ship(cwl_local, group, "a", "-", "--", "--b", stdin=b"s1\n", cwd=tmp_path)
    assert done.returncode == DELIVERED, done.stderr
    assert messages(cwl_local, group) == ["a1", "a2", "s1", "b1"]


def test_a_last_line_without_a_newline_is_sent(cwl_local, group, tmp_path):
    file = tmp_path / "app.log"
    file.write_bytes(b"first\nlast, not ended")
    assert ship(cwl_local, group, file).returncode == DELIVERED
    assert messages(cwl_local, group) == ["first", "last, not ended"]


def test_nothing_to_send_is_a_success(cwl_local, group):
    done = ship(cwl_local, group, "/dev/null")
    assert done.returncode == DELIVERED
    assert summary(done)["lines"] == 0


def test_empty_lines_are_skipped_and_counted(cwl_local, group):
    done = ship(cwl_local, group, stdin=b"\n\none\n\n \n")
    assert done.returncode == DELIVERED
    assert messages(cwl_local, group) == ["one", " "]
    numbers = summary(done)
    assert (numbers["lines"], numbers["pushed"], numbers["skipped_empty"]) == (5, 2, 3)


def test_lines_of_a_megabyte_arrive(cwl_local, group):
    lines = ["m" * 1_000_000, "short", "x" * LINE_BYTES_MAX, "end"]
    done = ship(cwl_local, group, stdin="\n".join(lines).encode())
    assert done.returncode == DELIVERED, done.stderr
    assert messages(cwl_local, group) == lines


@pytest.mark.parametrize("length", [LINE_BYTES_MAX + 1, 40_000_000])
def test_a_line_that_is_too_long_is_named_and_the_others_arrive(cwl_local, group, tmp_path, length):
    file = tmp_path / "app.log"
    file.write_bytes(b"before\n" + b"x" * length + b"\nafter\n")
    done = ship(cwl_local, group, file)
    assert done.returncode == NOT_DELIVERED
    assert messages(cwl_local, group) == ["before", "after"]
    named = done.stderr.decode().splitlines()[0]
    assert named.startswith(f"cwl-ship: {file}:2: "), named
    assert f"{length}" in named.replace(",", ""), named
    assert summary(done)["refused"] == 1


def test_only_the_first_refused_lines_are_named(cwl_local, group):
    done = ship(cwl_local, group, stdin=(b"x" * (LINE_BYTES_MAX + 1) + b"\n") * 15)
    assert done.returncode == NOT_DELIVERED
    assert len(re.findall(rb"^cwl-ship: stdin:\d+: not sent", done.stderr, re.MULTILINE)) == 10
    assert summary(done)["refused"] == 15


def test_a_named_pipe_is_waited_for(cwl_local, group, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(command(cwl_local, group, pipe), stderr=subprocess.PIPE)
    with pipe.open("w") as writer:
        writer.write("one\ntwo\n")
    process.communicate(timeout=SECONDS)
    assert process.returncode == DELIVERED
    assert messages(cwl_local, group) == ["one", "two"]


def test_small_buffers_slow_it_down_and_lose_nothing(cwl_local, group):
    lines = [f"{n} " + "y" * 500 for n in range(5_000)]
    options = ["--set", "buffer_max_bytes=4194304", "--set", "target_buffer_max_bytes=262144"]
    done = ship(cwl_local, group, *options, stdin="\n".join(lines).encode())
    assert done.returncode == DELIVERED, done.stderr
    assert messages(cwl_local, group) == lines


def test_without_blocking_a_full_buffer_refuses_lines(group):
    stdin = "\n".join(f"{n} " + "z" * 1000 for n in range(2_000)).encode()
    small = ["--set", "when_full=reject", "--set", "target_buffer_max_bytes=65536", "--timeout", "1"]
    with CwlLocal([DENIED]) as denying:
        done = ship(denying.endpoint, group, *small, stdin=stdin)
    assert done.returncode == NOT_DELIVERED
    numbers = summary(done)
    assert numbers["refused"] > 0
    assert numbers["pushed"] == numbers["abandoned"] > 0
    assert numbers["refused"] + numbers["pushed"] == numbers["lines"] == 2_000


def test_options_reach_the_library(cwl_local, group):
    done = ship(cwl_local, group, "--set", "retention_days=14", "--set=compression=none", stdin=b"one\n")
    assert done.returncode == DELIVERED, done.stderr
    [described] = logs_client(cwl_local).describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 14


def test_quiet_prints_nothing_when_all_events_are_delivered(cwl_local, group):
    done = ship(cwl_local, group, "--quiet", stdin=b"one\n")
    assert (done.returncode, done.stdout, done.stderr) == (DELIVERED, b"", b"")


def test_help_and_version_go_to_standard_output():
    for flag, start in [("--help", b"Send the lines"), ("--version", b"cwl-ship ")]:
        done = run([CWL_SHIP, flag])
        assert (done.returncode, done.stderr) == (DELIVERED, b"")
        assert done.stdout.startswith(start)


# ---- bad usage, bad input ----


def assert_bad_input(done, *must_name):
    """Expects one line on stderr for each mistake, in their order."""
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (BAD_INPUT, b""), done
    assert len(lines) == len(must_name), lines
    for line, part in zip(lines, must_name, strict=True):
        assert line.startswith("cwl-ship: "), line
        assert part in line, line


def test_a_missing_file_is_named_and_nothing_is_sent(cwl_local, group, tmp_path):
    (tmp_path / "good").write_text("one\n")
    assert_bad_input(ship(cwl_local, group, tmp_path / "good", tmp_path / "missing"), "missing: No such file")
    assert logs_client(cwl_local).describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []


def test_a_directory_is_named(cwl_local, group, tmp_path):
    assert_bad_input(ship(cwl_local, group, tmp_path), f"{tmp_path}: Is a directory")


PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # from the kernel's headers


def drop_root_capabilities():
    """Runs in the child. Removes the capabilities with which root can read every file."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if os.geteuid() == 0 and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def test_a_file_without_permission_is_named(cwl_local, group, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    secret.chmod(0)
    done = ship(cwl_local, group, secret, preexec_fn=drop_root_capabilities)
    assert_bad_input(done, f"{secret}: Permission denied")


def test_all_files_are_checked_before_anything_is_sent(cwl_local, group, tmp_path):
    (tmp_path / "good").write_text("one\n")
    done = ship(cwl_local, group, tmp_path / "good", tmp_path, tmp_path / "missing", tmp_path / "gone")
    assert_bad_input(done, "Is a directory", "missing: No such file", "gone: No such file")


@pytest.mark.parametrize(
    "arguments, must_name",
    [
        (["--stream", "s"], ["--group"]),
        (["--group", "g"], ["--stream"]),
        ([], ["--group", "--stream"]),
        (["--group"], ["--group needs a value", "--group", "--stream"]),
        (["--group", "no:colon", "--stream", "s"], ["no:colon"]),
        (["--group", "g", "--stream", "a:b"], ["a:b"]),
        (["--group", "g", "--stream", "s", "--folow"], ["--folow"]),
        (["--group", "g", "--stream", "s", "-x"], ["-x"]),
        (["--group", "g", "--stream", "s", "--quiet=yes"], ["--quiet"]),
        (["--group", "g", "--stream", "s", "--endpoint", "nowhere"], ["--endpoint"]),
        (["--group", "g", "--stream", "s", "--region", "Here!"], ["--region"]),
        (["--group", "g", "--stream", "s", "--set", "colour=red"], ["colour"]),
        (["--group", "g", "--stream", "s", "--set", "concurrency=0"], ["concurrency"]),
        (["--group", "g", "--stream", "s", "--set", "concurrency"], ["KEY=VALUE"]),
        (["--group", "g", "--stream", "s", "--set", "=x"], ["KEY=VALUE"]),
        (
            ["--group", "g", "--stream", "s", "--set", "retention_days=7", "--set", "create_log_group=false"],
            ["retention_days"],
        ),
        (["--group", "g", "--stream", "s", "--timeout", "soon"], ["--timeout"]),
        (["--group", "g", "--stream", "s", "--timeout", "-1"], ["--timeout"]),
        (["--group", "g", "--stream", "s", "--timeout", "nan"], ["--timeout"]),
        (["--group", "g", "--stream", "s", "--timeout", "1.2.3"], ["--timeout"]),
        (["--group", "g", "--stream", "s", "--timeout", ""], ["--timeout"]),
    ],
)
def test_bad_usage_is_one_line_for_each_mistake(arguments, must_name):
    assert_bad_input(run([CWL_SHIP, *arguments], b"one\n"), *must_name)


def test_a_secret_is_not_repeated():
    done = run([CWL_SHIP, "--group", "g", "--stream", "s", "--set", "secret_access_key=hunter2"], b"one\n")
    assert_bad_input(done, "access_key_id")
    assert b"hunter2" not in done.stderr


def test_closed_standard_input_is_named(cwl_local, group):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command(cwl_local, group)],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert_bad_input(done, "standard input: Bad file descriptor")


# ---- an endpoint that refuses ----


def test_a_denied_group_ends_within_the_timeout_and_the_summary_counts_unsent_events(group):
    with CwlLocal([DENIED]) as denying:
        started_at = time.monotonic()
        done = ship(denying.endpoint, group, "--timeout", "2", stdin=b"one\ntwo\nthree\n")
        seconds = time.monotonic() - started_at
    assert done.returncode == NOT_DELIVERED
    assert seconds < 2 + 0.5 + 1.5, f"{seconds} s"  # --timeout, the shutdown, and the slowness of the machine
    numbers = summary(done)
    assert (numbers["pushed"], numbers["delivered"], numbers["abandoned"]) == (3, 0, 3)
    warnings = [line for line in done.stderr.decode().splitlines() if line.startswith("cwl-ship: warning: ")]
    assert any("AccessDeniedException" in line for line in warnings), done.stderr


def test_temporary_errors_are_retried(group):
    temporary = {
        "error": {"code": "ServiceUnavailableException", "status": 503},
        "operation": "PutLogEvents",
        "count": 1,
    }
    with CwlLocal([temporary]) as local:
        done = ship(local.endpoint, group, stdin=b"one\ntwo\n")
        assert done.returncode == DELIVERED, done.stderr
        assert messages(local.endpoint, group) == ["one", "two"]


def test_events_that_the_service_rejects_count_as_not_delivered(group):
    with CwlLocal([{"reject": {"too_old": 2}}]) as local:
        done = ship(local.endpoint, group, stdin=b"1\n2\n3\n4\n5\n")
        assert messages(local.endpoint, group) == ["3", "4", "5"]
    assert done.returncode == NOT_DELIVERED
    numbers = summary(done)
    assert (numbers["pushed"], numbers["delivered"], numbers["rejected"]) == (5, 3, 2)


def test_quiet_still_prints_the_summary_when_events_are_not_delivered(group):
    with CwlLocal([DENIED]) as denying:
        done = ship(denying.endpoint, group, "--quiet", "--timeout", "0.2", stdin=b"one\n")
    assert done.returncode == NOT_DELIVERED
    assert summary(done)["abandoned"] == 1


# ---- signals ----


class Running:
    """Runs a cwl-ship whose standard input is a pipe that stays open."""

    def __init__(self, argv):
        self.read_end, self.write_end = os.pipe()
        self.process = subprocess.Popen(argv, stdin=self.read_end, stderr=subprocess.PIPE)
        self.stderr = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while part := os.read(self.process.stderr.fileno(), 65536):
            self.stderr += part

    def feed(self, data):
        """Writes to the pipe and waits until cwl-ship has read everything."""
        os.write(self.write_end, data)
        left = array.array("i", [1])

        def is_empty():
            fcntl.ioctl(self.read_end, termios.FIONREAD, left)
            return left[0] == 0

        wait_until(is_empty, "cwl-ship reads the pipe")

    def wait(self):
        """Waits for the end. Returns the exit code and stderr."""
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            self.process.stderr.close()
            os.close(self.read_end)
            os.close(self.write_end)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, b"", self.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_and_delivers_everything_that_was_read(cwl_local, group, number):
    running = Running(command(cwl_local, group, "--set", "flush_interval_ms=3600000"))
    lines = [f"line {n}" for n in range(3_000)]
    running.feed("\n".join(lines).encode())  # the last line has no newline and will not be read again
    running.process.send_signal(number)
    done = running.wait()
    assert done.returncode == DELIVERED, done.stderr
    assert messages(cwl_local, group) == lines
    assert f"by {number.name}".encode() in done.stderr


def test_a_signal_wakes_a_reader_that_waits_for_the_next_line(cwl_local, group):
    for _ in range(20):  # the signal arrives shortly before or after cwl-ship begins to wait
        running = Running(command(cwl_local, group))
        running.feed(b"\n")
        started_at = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait().returncode == DELIVERED
        assert time.monotonic() - started_at < 5


def test_a_signal_in_the_middle_of_a_file_sends_whole_lines_only(group, tmp_path):
    file = tmp_path / "large.log"
    with file.open("w") as writer:
        for n in range(400_000):
            print(f"line {n} " + "x" * 100, file=writer)
    # Slow answers and a small buffer: the file cannot be read faster than it is sent.
    slow = ["--set", "target_buffer_max_bytes=1048576"]
    with CwlLocal([{"delay_ms": 100, "operation": "PutLogEvents"}]) as local:
        running = Running(command(local.endpoint, group, *slow, file))
        client = logs_client(local.endpoint)
        wait_until(
            lambda: client.describe_log_groups(logGroupNamePrefix=group)["logGroups"], "cwl-ship has begun to send"
        )
        running.process.send_signal(signal.SIGTERM)
        done = running.wait()
        got = messages(local.endpoint, group)
    assert done.returncode == DELIVERED, done.stderr
    assert 0 < len(got) < 400_000
    assert got == [f"line {n} " + "x" * 100 for n in range(len(got))]
    assert f"stopped after line {len(got)} by SIGTERM".encode() in done.stderr


def test_a_second_signal_ends_it_at_once_and_the_summary_counts_abandoned_events(group):
    with CwlLocal([DENIED]) as denying:
        running = Running(command(denying.endpoint, group, "--timeout", "600"))
        running.feed(b"one\ntwo\n")
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: b"by SIGTERM" in running.stderr, "cwl-ship reports the first signal")
        started_at = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        done = running.wait()
        assert time.monotonic() - started_at < 3
    assert done.returncode == NOT_DELIVERED
    assert summary(done)["abandoned"] == 2


def test_a_signal_ends_a_push_that_waits_for_room(group, tmp_path):
    file = tmp_path / "app.log"  # read in one piece, and three times as large as the buffer
    file.write_bytes(b"".join(b"%d %s\n" % (n, b"z" * 1000) for n in range(200)))
    small = ["--set", "target_buffer_max_bytes=65536", "--timeout", "1"]
    with CwlLocal([DENIED]) as denying:
        running = Running(command(denying.endpoint, group, *small, file))
        wait_until(lambda: b"warning" in running.stderr, "cwl-ship reports the denial")
        running.process.send_signal(signal.SIGTERM)
        done = running.wait()
    assert done.returncode == NOT_DELIVERED
    numbers = summary(done)
    assert numbers["unsent"] > 0
    assert numbers["abandoned"] == numbers["pushed"] > 0
    assert numbers["unsent"] + numbers["pushed"] == numbers["lines"] == 200


# ---- progress ----


class Terminal:
    """Models what a terminal of a given width shows. Understands text, \\r and \\n, which is enough here."""

    def __init__(self, columns):
        self.columns = columns
        self.rows, self.column, self.frames = [""], 0, []

    def feed(self, text):
        for part in re.split(r"([\r\n])", text):
            if part == "\r":
                self.frames.append(self.rows[-1].rstrip())
                self.column = 0
            elif part == "\n":
                self.rows.append("")
            elif part:
                row = self.rows[-1].ljust(self.column)
                self.rows[-1] = row[: self.column] + part + row[self.column + len(part) :]
                self.column += len(part)


def ship_on_a_terminal(argv, columns, feed):
    """Runs cwl-ship with a terminal as its stderr. `feed(stdin, seen)` writes lines. Returns (exit code, text)."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    text = bytearray()

    def read():
        try:
            while part := os.read(controller, 65536):
                text.extend(part)
        except OSError:  # EIO, because the last writer has closed the terminal
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        feed(process.stdin, lambda: bytes(text))
        process.stdin.close()
        code = process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(controller)
    return code, text.decode().replace("\r\n", "\n")


def frames_of(text, columns):
    """Returns the terminal after the text, and each state of a rewritten row."""
    terminal = Terminal(columns)
    terminal.feed(text)
    return terminal, [frame for frame in terminal.frames if frame]


PROGRESS = re.compile(
    r"(flushing: )?\d+ lines, \d+\.\d MB: \d+ delivered, \d+ pending(, retrying \(\d+ requests failed\))?"
)


def test_progress_is_one_line_that_is_rewritten_and_leaves_no_remains(group):
    faults = [
        {"operation": "PutLogEvents", "error": {"code": "AccessDeniedException", "status": 400}, "count": 3},
        {"operation": "PutLogEvents", "delay_ms": 700},
    ]

    def feed(stdin, seen):
        for n in range(12):
            stdin.write(b"line %d\n" % n)
            stdin.flush()
            time.sleep(0.1)
        wait_until(lambda: b"retrying" in seen(), "the progress shows a retry")

    with CwlLocal(faults) as local:
        argv = command(local.endpoint, group, "--set", "flush_interval_ms=100")
        code, text = ship_on_a_terminal(argv, 120, feed)
        assert messages(local.endpoint, group) == [f"line {n}" for n in range(12)]
    assert code == DELIVERED
    terminal, frames = frames_of(text, 120)
    assert len(frames) >= 4
    for frame in frames:
        assert PROGRESS.fullmatch(frame) or frame.startswith("cwl-ship: "), repr(frame)
    assert any("retrying" in frame for frame in frames), frames
    assert any("flushing" in frame for frame in frames), frames
    # Only messages remain, each on a line of its own; the summary is the last one. No progress remains.
    assert terminal.rows[-1] == ""
    assert all(row.startswith("cwl-ship: ") for row in terminal.rows[:-1]), terminal.rows
    assert any(row.startswith("cwl-ship: warning: ") for row in terminal.rows[:-1]), terminal.rows
    assert "lines=12 pushed=12" in terminal.rows[-2]


def test_progress_never_wraps_a_narrow_terminal(cwl_local, group):
    def feed(stdin, seen):
        stdin.write(b"line\n")
        stdin.flush()
        wait_until(seen, "the progress is shown")

    code, text = ship_on_a_terminal(command(cwl_local, group), 20, feed)
    assert code == DELIVERED
    for part in re.split(r"[\r\n]", text):
        assert len(part) < 20 or part.startswith("cwl-ship: "), repr(part)


def test_progress_is_written_at_most_a_few_times_a_second(cwl_local, group):
    def feed(stdin, _seen):
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            stdin.write(b"line\n" * 1000)

    code, text = ship_on_a_terminal(command(cwl_local, group), 120, feed)
    _, frames = frames_of(text, 120)
    assert code == DELIVERED
    assert 3 <= len(set(frames)) <= 20, len(set(frames))


def test_there_is_no_progress_without_a_terminal_or_when_quiet(cwl_local, group):
    def feed(stdin, _seen):
        stdin.write(b"line\n")
        stdin.flush()
        time.sleep(0.5)

    assert b"\r" not in ship(cwl_local, group, stdin=b"line\n").stderr
    code, text = ship_on_a_terminal(command(cwl_local, group, "--quiet"), 80, feed)
    assert (code, text) == (DELIVERED, "")


def test_all_lines_are_sent_when_standard_error_is_closed_at_the_other_end(cwl_local, group):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        command(cwl_local, group),
        input=b"one\n" + b"x" * (LINE_BYTES_MAX + 1) + b"\ntwo\n",
        stderr=write_end,
        timeout=SECONDS,
        check=False,
    )
    os.close(write_end)
    assert done.returncode == NOT_DELIVERED
    assert messages(cwl_local, group) == ["one", "two"]
