#!/usr/bin/env python3
"""Ships a real log of this machine to a cwl-local with cwl-ship, reads it back with boto3, and compares.

The last line is `demo: pushed=N delivered=N read_back=N lost=N duplicated=N`. The exit code is 0 only when the events
that come back are the lines of the file, byte for byte and in their order.
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


def read_log(path):
    """Returns the bytes of a file that CloudWatch Logs can store unchanged; None for any other file."""
    try:
        if not path.is_file() or not 0 < path.stat().st_size <= LARGEST_BYTES:
            return None
        data = path.read_bytes()
        data.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return data if b"\0" not in data and data.strip() else None


def choose_log():
    """Returns the path and the bytes of a log of this machine, or of the bundled sample where there is none."""
    others = sorted(path for path in LOGS.glob("**/*.log") if path.name not in PREFERRED) if LOGS.is_dir() else []
    for path in [*(LOGS / name for name in PREFERRED), *others, SAMPLE]:
        data = read_log(path)
        if data:
            return path, data
    sys.exit("demo: no log to ship")


def group_for(path):
    return "/demo" + re.sub(r"[^.\-_/#A-Za-z0-9]", "_", str(path.resolve()))


def ship(file, group, endpoint):
    """Runs cwl-ship and prints what it writes to stderr. Returns its exit code and the numbers of its summary."""
    command = [RELEASE / "cwl-ship", "--group", group, "--stream", STREAM, "--endpoint", endpoint, file]
    done = subprocess.run(
        command, env=hermetic_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    print("  " + done.stderr.strip().replace("\n", "\n  "), flush=True)
    numbers = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)(?![\d.])", done.stderr)}
    return done.returncode, numbers


def read_messages(endpoint, group):
    """Returns the messages that the endpoint holds; none if the stream does not exist."""
    client = logs_client(endpoint)
    try:
        return [message.encode() for _, message in read_back(client, group, STREAM)]
    except client.exceptions.ResourceNotFoundException:
        return []


def compare(sent, got):
    """Counts the lines of `sent` that are missing from `got`, and the superfluous copies in `got`."""
    sent_counts, got_counts = collections.Counter(sent), collections.Counter(got)
    lost = sum((sent_counts - got_counts).values())
    duplicated = sum((got_counts - sent_counts).values())
    return lost, duplicated


def describe(data, sent, got):
    """Describes in words how the messages that came back differ from the file."""
    if got != sent:
        differing = (i for i, (a, b) in enumerate(zip(sent, got, strict=False)) if a != b)
        first = next(differing, min(len(sent), len(got)))
        return f"DIFFERENT from the file, first at line {first + 1} of the lines sent"
    back = b"".join(line + b"\n" for line in got)
    if back == data:
        return "the same as the file, byte for byte"
    empty = data.count(b"\n") + (not data.endswith(b"\n")) - len(sent)
    exceptions = [f"its {empty} empty lines, which CloudWatch Logs does not accept"] * (empty > 0)
    exceptions += ["the newline that its last line lacks"] * (not data.endswith(b"\n"))
    return "the same as the file, byte for byte, except for " + " and ".join(exceptions)


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
        code, numbers = ship(file, group, local.endpoint)
        started_at = time.monotonic()
        got = read_messages(local.endpoint, group)
        print(f"4. boto3 reads {len(got):,} events back with GetLogEvents in {time.monotonic() - started_at:.1f} s")
    print(f"5. The events that came back are {describe(data, sent, got)}.")
    pushed, delivered = numbers.get("pushed", 0), numbers.get("delivered", 0)
    lost, duplicated = compare(sent, got)
    good = code == 0 and got == sent and pushed == delivered == len(got) == len(sent)
    print(f"demo: pushed={pushed} delivered={delivered} read_back={len(got)} lost={lost} duplicated={duplicated}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
