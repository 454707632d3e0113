#!/usr/bin/env python3
"""Ships a real log of this machine to a cwl-local with cwl-ship, reads it back with boto3, and compares.

The last line is `demo: pushed=N delivered=N read_back=N lost=N duplicated=N`; the exit code is 0 only when what came
back is what the file holds, byte for byte and in its order.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from loopback import RELEASE, ROOT, CwlLocal, hermetic_environment, logs_client, read_back

LOGS = pathlib.Path("/var/log")
PREFERRED = ["dpkg.log", "syslog", "messages", "daemon.log", "kern.log", "bootstrap.log", "alternatives.log"]
SAMPLE = ROOT / "scripts" / "sample.log"
LARGEST_BYTES = 64 * 1024 * 1024
STREAM = "demo"


def log_text(path):
    """What the file holds, if that is text that CloudWatch Logs can hold unchanged; else None."""
    try:
        if not path.is_file() or not 0 < path.stat().st_size <= LARGEST_BYTES:
            return None
        data = path.read_bytes()
        data.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return data if b"\0" not in data and data.strip() else None


def choose_log():
    """A log of this machine; the small bundled one only where there is none."""
    others = sorted(path for path in LOGS.glob("**/*.log") if path.name not in PREFERRED) if LOGS.is_dir() else []
    for path in [*(LOGS / name for name in PREFERRED), *others, SAMPLE]:
        data = log_text(path)
        if data:
            return path, data
    sys.exit("demo: no log to ship")


def group_for(path):
    return "/demo" + re.sub(r"[^.\-_/#A-Za-z0-9]", "_", str(path.resolve()))


def ship(file, group, endpoint):
    """Runs cwl-ship; its words go to the terminal. Gives its exit code and the numbers of its summary."""
    command = [RELEASE / "cwl-ship", "--group", group, "--stream", STREAM, "--endpoint", endpoint, file]
    done = subprocess.run(
        command, env=hermetic_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    print("  " + done.stderr.strip().replace("\n", "\n  "), flush=True)
    numbers = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)(?![\d.])", done.stderr)}
    return done.returncode, numbers


def arrived(endpoint, group):
    """The messages that the endpoint holds, none if it does not even hold the stream."""
    client = logs_client(endpoint)
    try:
        return [message.encode() for _, message in read_back(client, group, STREAM)]
    except client.exceptions.ResourceNotFoundException:
        return []


def compare(sent, got):
    """How many lines of `sent` are missing from `got`, and how many are there too often."""
    sent_counts, got_counts = collections.Counter(sent), collections.Counter(got)
    lost = sum((sent_counts - got_counts).values())
    duplicated = sum((got_counts - sent_counts).values())
    return lost, duplicated


def verdict(data, sent, got):
    """In words, whether what came back is the file."""
    if got != sent:
        at = next((i for i, (a, b) in enumerate(zip(sent, got, strict=False)) if a != b), min(len(sent), len(got)))
        return f"DIFFERENT from the file, first at line {at + 1} of those sent"
    back = b"".join(line + b"\n" for line in got)
    if back == data:
        return "the same as the file, byte for byte"
    empty = data.count(b"\n") + (not data.endswith(b"\n")) - len(sent)
    but = [f"its {empty} empty lines, which CloudWatch Logs does not take"] * (empty > 0)
    but += ["the newline that its last line lacks"] * (not data.endswith(b"\n"))
    return "the same as the file, byte for byte, but for " + " and ".join(but)


def main():
    path, data = choose_log()
    group = group_for(path)
    sent = [line for line in data.split(b"\n") if line]
    print(f"1. A log of this machine: {path}, {len(data):,} bytes")
    with tempfile.TemporaryDirectory(prefix="cwl-demo-") as folder, CwlLocal() as local:
        # A copy, because a log may grow while it is shipped.
        file = pathlib.Path(folder) / path.name
        file.write_bytes(data)
        print(f"2. A CloudWatch Logs endpoint on loopback: cwl-local at {local.endpoint}")
        print(f"3. cwl-ship --group {group} --stream {STREAM} --endpoint {local.endpoint} {path}", flush=True)
        code, told = ship(file, group, local.endpoint)
        begun = time.monotonic()
        got = arrived(local.endpoint, group)
        print(f"4. boto3 reads {len(got):,} events back with GetLogEvents in {time.monotonic() - begun:.1f} s")
    print(f"5. What came back is {verdict(data, sent, got)}.")
    pushed, delivered = told.get("pushed", 0), told.get("delivered", 0)
    lost, duplicated = compare(sent, got)
    good = code == 0 and got == sent and pushed == delivered == len(got) == len(sent)
    print(f"demo: pushed={pushed} delivered={delivered} read_back={len(got)} lost={lost} duplicated={duplicated}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
