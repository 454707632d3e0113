#!/usr/bin/env python3
"""Kills a `cwl-ship --follow --state-dir` again and again while its file grows and rotates, and counts the lines.

A writer appends numbered lines to a file at a steady rate and rotates it by renaming. The endpoint throttles, fails,
answers late, and resets connections before and after it has stored the data. The agent is killed with SIGKILL at random
moments and started again. At the end the faults are removed, the agent catches up and is ended with SIGTERM. Then:

  - every line has arrived as it was written;
  - the first arrivals of all lines are in the order of the file;
  - a line has arrived again at most once for each kill at which it was at or above the offset in the state on disk.
    Further repetitions come only from requests whose answers were lost, and there are no more of these than answers
    that the endpoint threw away;
  - the state makes progress: at many kills it is further than at the kill before;
  - the last run ends with exit code 0, and one more run finds nothing to send.

The seed of the random numbers is printed. `--seed` repeats the same lines, rotations, faults and delays; their relative
timing depends on the machine. The last line is `N passed, N failed`.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

from loopback import RELEASE, CwlLocal, hermetic_environment, logs_client, read_back

GROUP, STREAM = "/kill-test", "s"
LINES_PER_SECOND = 1500
FILES_KEPT = 4
CATCH_UP_SECONDS = 90


def fault_rules(seed):
    put = {"operation": "PutLogEvents"}
    rules = [
        {"share": 0.15, "delay_ms": 150},
        {"share": 0.02, "delay_ms": 700},
        {"share": 0.02, "error": {"code": "ThrottlingException", "status": 400}},
        {"share": 0.02, "error": {"code": "ServiceUnavailableException", "status": 503}},
        {"share": 0.01, "empty": 500},
        {"share": 0.02, "reset": "before"},
        {"share": 0.08, "reset": "after"},
        {"share": 0.04, "cut_response": True},
    ]
    return [put | rule | {"seed": seed * 100 + n} for n, rule in enumerate(rules)]


# ---- the writer ----


@dataclasses.dataclass
class LogFile:
    """One of the files that have had the log's name. `number` counts them."""

    number: int
    inode: int
    created_ns: int
    path: pathlib.Path
    size: int = 0


@dataclasses.dataclass(frozen=True)
class Line:
    file: int
    end: int  # the offset after its newline
    text: str  # as it must arrive


class Writer(threading.Thread):
    """Writes lines and rotates the file until it is stopped. `lines` holds complete lines; it and `files` only grow."""

    ODD = (b"\xff\xfe", b"\0", b"\x1b[31m", "Ünïcode 🚀".encode(), b"\r", b"\t", b"\xe2\x82")

    def __init__(self, path, seed, is_done):
        super().__init__(name="writer")
        self.path, self.random, self.is_done = path, random.Random(f"{seed} writer"), is_done
        self.lines, self.files, self.kept = [], [], []
        self.bytes = self.deleted = 0
        self.stopping = threading.Event()
        self.failure = None
        self._continue_in(self.path.open("xb", buffering=0), time.time_ns())

    def _continue_in(self, out, created_ns):
        self.out = out
        file = LogFile(len(self.files), os.fstat(out.fileno()).st_ino, created_ns, self.path)
        self.files.append(file)
        self.kept.insert(0, file)

    def run(self):
        try:
            self._write_until_stopped()
        except Exception as error:  # raised by the main thread
            self.failure = error

    def _write_until_stopped(self):
        started_at = time.monotonic()
        rotate_at = started_at + 1
        while not self.stopping.is_set():
            due = int((time.monotonic() - started_at) * LINES_PER_SECOND)
            while len(self.lines) < due and not self.stopping.is_set():
                self._write_some(min(due - len(self.lines), self.random.randint(1, 200)))
            if time.monotonic() > rotate_at:
                self._rotate()
                rotate_at = time.monotonic() + self.random.uniform(0.8, 4)
            self.stopping.wait(0.01)

    def _line(self, number):
        length = self.random.choice([0, 20, 80, 80, 200, 400])
        if self.random.random() < 0.005:
            length = self.random.randint(2_000, 30_000)
        text = b"%08d " % number + b"x" * self.random.randint(length // 2, length)
        if self.random.random() < 0.05:
            text += self.random.choice(self.ODD) + b" end"
        return text

    def _write_some(self, count):
        data, lines, end = b"", [], self.files[-1].size
        for number in range(len(self.lines), len(self.lines) + count):
            text = self._line(number)
            data += text + b"\n"
            lines.append(Line(self.files[-1].number, end + len(data), text.decode(errors="replace")))
            if self.random.random() < 0.01:
                data += b"\n"
        if self.random.random() < 0.2:  # in two pieces, so that the last line is incomplete for a moment
            cut = self.random.randrange(len(data))
            self.out.write(data[:cut])
            time.sleep(self.random.uniform(0, 0.02))
            self.out.write(data[cut:])
        else:
            self.out.write(data)
        self.files[-1].size += len(data)
        self.bytes += len(data)
        self.lines += lines

    def _rotate(self):
        """Renames file -> file.1 -> file.2 ... and deletes old files, but none that is not delivered yet."""
        while len(self.kept) > FILES_KEPT and self.is_done(self.kept[-1]):
            self.kept.pop().path.unlink()
            self.deleted += 1
        for n in reversed(range(len(self.kept))):
            new = self.path.with_name(f"{self.path.name}.{n + 1}")
            self.kept[n].path.rename(new)
            self.kept[n].path = new
        old, new, created_ns = self.out, None, 0
        late = self.random.choice(
            [0, 0, 3]
        )  # writes to the old file, by a writer that does not know of the rotation yet
        created_first = self.random.random() < 0.5
        for creates in (created_first, not created_first):
            if creates:
                new, created_ns = self.path.open("xb", buffering=0), time.time_ns()
            else:
                for _ in range(late):
                    self._write_some(self.random.randint(1, 10))
                    time.sleep(self.random.uniform(0, 0.15))
        self._continue_in(new, created_ns)
        old.close()


# ---- the state on disk ----


def file_of(files, inode, birth_ns):
    """Returns the file with an inode. Inodes are reused, so the creation time selects one of several files."""
    same = [file for file in files if file.inode == inode]
    return min(same, key=lambda file: abs(file.created_ns - birth_ns), default=None)


def saved_offsets(state, files):
    """Returns the offsets on disk, by the number of the file."""
    offsets = {}
    for path in state.glob("*.offset"):
        text = path.read_text()
        name = json.loads(re.search(r"^name (.*)$", text, re.MULTILINE)[1])
        _, inode, birth, _ = re.search(r" (\w+):(\d+):(\d+)#(\d+)$", name).groups()
        file = file_of(files, int(inode), int(birth))
        offset = int(re.search(r"^offset (\d+)$", text, re.MULTILINE)[1])
        offsets[file.number] = max(offset, offsets.get(file.number, 0))
    return offsets


RECORD = re.compile(r"^file \d+ (\d+) (\d+) mark \d+ \w+ skip \d+ (\d+) done (\d) ", re.MULTILINE)


def finished_files(state, files):
    """Returns the numbers of the files that are finished, according to the agent's records on disk."""
    found = set()
    for path in state.glob("*.files"):
        for inode, birth, _, done in RECORD.findall(path.read_text()):
            file = file_of(files, int(inode), int(birth))
            if file is not None and done == "1":
                found.add(file.number)
    return found


# ---- the runs ----


@dataclasses.dataclass
class Kill:
    """The situation right after a kill."""

    offsets: dict  # on disk, by the number of the file
    lines: int  # written so far


class KillTest:
    """The agent, its folders and the writer. Kills the agent, starts it again, and records each kill."""

    def __init__(self, kills, seed, folder, local):
        self.kills, self.local = kills, local
        self.random = random.Random(f"{seed} kills")
        self.state, self.log, self.stderr = folder / "state", folder / "log" / "app.log", folder / "stderr"
        self.log.parent.mkdir()
        self.writer = Writer(self.log, seed, lambda file: file.number in finished_files(self.state, self.writer.files))
        self.killed, self.lost_answers = [], 0

    def command(self, *more):
        return [
            RELEASE / "cwl-ship", "--group", GROUP, "--stream", STREAM, "--endpoint", self.local.endpoint, *more,
            "--set", "flush_interval_ms=100", "--state-dir", self.state, self.log,
        ]  # fmt: skip

    def start(self):
        with self.stderr.open("ab") as stderr:
            return subprocess.Popen(
                self.command("--follow"), env=hermetic_environment(), stdin=subprocess.DEVNULL, stderr=stderr
            )

    def kill_once(self):
        agent = self.start()
        try:
            # Usually soon, while many events are in flight; sometimes late enough for retries.
            self.writer.stopping.wait(self.random.choice([0.1, 0.5, 1, 1, 2, 4]) * self.random.uniform(0.2, 1))
            if agent.poll() is not None:
                raise RuntimeError(f"the agent ended by itself with {agent.returncode}: {self.agent_messages()}")
        finally:
            agent.kill()
            agent.wait()
        # Counted after the kill, so that the count includes all lines that the agent may have read, and some more.
        self.killed.append(Kill(saved_offsets(self.state, list(self.writer.files)), len(self.writer.lines)))
        if self.random.random() < 0.5:
            self.writer.stopping.wait(self.random.choice([0.05, 0.3, 2]) * self.random.random())

    def agent_messages(self):
        return self.stderr.read_text(errors="replace")[-3000:]

    def caught_up(self):
        last = self.writer.files[-1]
        finished = finished_files(self.state, self.writer.files) | {
            file.number for file in self.writer.files if file not in self.writer.kept
        }
        return (
            saved_offsets(self.state, self.writer.files).get(last.number, 0) >= self.last_line_end(last)
            and len(finished) == len(self.writer.files) - 1
        )

    def last_line_end(self, file):
        return max((line.end for line in self.writer.lines[-1000:] if line.file == file.number), default=0)

    def count_lost_answers(self):
        for status in self.local.control("GET", "faults"):
            rule = status["rule"]
            if rule.get("reset") == "after" or rule.get("cut_response"):
                self.lost_answers += status["fired"]

    def run(self):
        """Runs the test. Returns the exit code of the last run, and the exit code and messages of one more run."""
        self.kill_repeatedly()
        self.count_lost_answers()
        self.local.control("DELETE", "faults")
        code = self.catch_up()
        again = subprocess.run(
            self.command(),
            env=hermetic_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return code, f"{again.returncode} {again.stderr.decode(errors='replace').strip()}"

    def kill_repeatedly(self):
        self.writer.start()
        try:
            for _ in range(self.kills):
                if not self.writer.is_alive():
                    break
                self.kill_once()
        finally:
            self.writer.stopping.set()
            self.writer.join()
        if self.writer.failure:
            raise self.writer.failure

    def catch_up(self):
        """Lets the agent deliver the rest, and ends it. Returns its exit code."""
        agent = self.start()
        try:
            deadline = time.monotonic() + CATCH_UP_SECONDS
            while not self.caught_up() and time.monotonic() < deadline and agent.poll() is None:
                time.sleep(0.05)
            agent.send_signal(signal.SIGTERM)
            return agent.wait(CATCH_UP_SECONDS)
        finally:
            agent.kill()
            agent.wait()


# ---- the counts ----


@dataclasses.dataclass
class Counts:
    lost: int = 0
    foreign: int = 0  # messages that differ from every written line
    out_of_order: int = 0
    repeated: int = 0  # lines that arrived more than once
    copies: int = 0  # arrivals after the first of each line
    unexplained: int = 0  # lines with more copies than the kills explain
    unexplained_runs: int = 0  # the least number of requests that carried these lines
    window: int = 0  # lines that a kill may repeat, summed over the kills: those at or above the offset on disk
    widest: int = 0  # the largest such number of one kill
    advances: int = 0  # kills at which the state on disk was further than at the kill before


def count(lines, killed, arrived):
    result = Counts()
    arrivals = count_arrivals(result, lines, arrived)
    may_repeat = count_windows(result, lines, killed)
    count_copies(result, arrivals, may_repeat)
    return result


def count_arrivals(result, lines, arrived):
    """Compares the messages with the lines. Returns how often each line arrived, by its number."""
    arrivals = collections.Counter()
    last = -1
    for message in arrived:
        number = int(message[:8]) if message[:8].isdigit() else -1
        if not 0 <= number < len(lines) or lines[number].text != message:
            result.foreign += 1
            continue
        arrivals[number] += 1
        if arrivals[number] == 1:
            result.out_of_order += number < last
            last = max(last, number)
    return arrivals


def count_windows(result, lines, killed):
    """Compares the lines with the state on disk at each kill. Returns for each line how many kills may repeat it."""
    may_repeat = [0] * len(lines)
    saved = 0
    for kill in killed:
        result.advances += sum(kill.offsets.values()) > saved
        saved = sum(kill.offsets.values())
        width = 0
        for number in range(kill.lines):
            if lines[number].end > kill.offsets.get(lines[number].file, 0):
                may_repeat[number] += 1
                width += 1
        result.window += width
        result.widest = max(result.widest, width)
    return may_repeat


def count_copies(result, arrivals, may_repeat):
    """Counts lost and repeated lines, and the repetitions that the kills do not explain."""
    in_run = False
    for number, explained in enumerate(may_repeat):
        copies = arrivals[number] - 1
        result.lost += copies < 0
        result.repeated += copies > 0
        result.copies += max(copies, 0)
        in_run = in_run and copies > 0
        if copies > explained:
            result.unexplained += 1
            result.unexplained_runs += not in_run
            in_run = True


def check(test, code, again, counts):
    """Returns for each promise whether it was kept, and a text with the findings."""
    lines_again = re.search(r"lines=(\d+)", again)
    return [
        (counts.lost == 0, f"every line arrived ({counts.lost} lost)"),
        (counts.foreign == 0, f"every message is a line as it was written ({counts.foreign} are not)"),
        (counts.out_of_order == 0, f"the lines arrived in order ({counts.out_of_order} out of order)"),
        (
            counts.unexplained_runs <= test.lost_answers,
            (
                f"a line was repeated only if it was at or above an offset on disk at a kill, or if the answer to its "
                f"request was lost ({counts.unexplained} lines in at least {counts.unexplained_runs} requests; "
                f"{test.lost_answers} answers were lost)"
            ),
        ),
        (
            counts.advances >= len(test.killed) / 10,
            (
                f"the state on disk was further than at the kill before at {counts.advances} of {len(test.killed)} "
                f"kills (at least a tenth is needed)"
            ),
        ),
        (code == 0, f"the last run ended with exit code {code}"),
        (
            again.startswith("0 ") and lines_again and lines_again[1] == "0",
            f"one more run had nothing to send: {again}",
        ),
    ]


def print_summary(test, counts, arrivals, seconds):
    print(
        f"kill test: lines={len(test.writer.lines)} megabytes={test.writer.bytes / 1e6:.1f} kills={len(test.killed)} "
        f"rotations={len(test.writer.files) - 1} deleted_files={test.writer.deleted} arrivals={arrivals} "
        f"repeated_lines={counts.repeated} duplicates={counts.copies} "
        f"lost_answers={test.lost_answers} seconds={seconds:.1f}"
    )
    kills = max(len(test.killed), 1)
    print(
        f"kill test: a kill could repeat {counts.window / kills:.0f} lines on average, {counts.widest} at most; "
        f"it repeated {(counts.copies - counts.unexplained) / kills:.0f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    print(f"kill test: seed {seed}, {options.kills} kills", flush=True)
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-test-") as folder, CwlLocal(fault_rules(seed)) as local:
        test = KillTest(options.kills, seed, pathlib.Path(folder), local)
        code, again = test.run()
        arrived = [message for _, message in read_back(logs_client(local.endpoint), GROUP, STREAM)]
        counts = count(test.writer.lines, test.killed, arrived)
        checks = check(test, code, again, counts)
        if not all(good for good, _ in checks):
            print(f"the agent's last messages:\n{test.agent_messages()}")
    print_summary(test, counts, len(arrived), time.monotonic() - started_at)
    for good, text in checks:
        print(f"{'ok    ' if good else 'FAILED'} {text}")
    failed = sum(not good for good, _ in checks)
    if failed:
        print(f"replay: make kill-test KILLS={options.kills} SEED={seed}")
    print(f"{len(checks) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
