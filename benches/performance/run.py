#!/usr/bin/env python3
"""The performance bench: what an event costs the host's process, and whether the targets are met.

Each measurement is a fresh process beside a fresh cwl-local that discards what it gets; most are made RUNS times, and
their medians count. Writes report.json and performance.svg, and prints a table; the exit code is 0 only when every
target that was asked for is met and nothing is void. A run is void in which events are missing, or in which other
processes kept the machine busy; the latter is made once more.
"""

import argparse
import datetime
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import access_log
from groups import GROUPS, Asked
from machine import machine, write
from processes import BENCH, LINES, ROOT
from summary import HEADER, Run, all_met, counted, entries, row

ATTEMPTS = 2
DIGITS = 6

# Of a bench that is not just a quick look.
RUNS, EVENTS, ROUNDS, SCALE_SECONDS, IDLE_SECONDS, MEMORY_EVENTS = 5, 5_000_000, 100, 90, 30, 3_600_000

LEGEND = """\
median and spread: over the runs; 1 MB = 1,048,576 bytes. push.ns_p999 and push.busy_*: 250,000 pushes a second while
the workers are busy, the clock's own reading (push.clock_ns) within. e2e.*: CPU time of the host's whole process, from
the push to the answer. reference.*: what others need for the same, on this machine."""


def run_once(measure_part, asked):
    """Measured again when it was void, and what comes last counts.

    What broke off or fell short, and a run in which events are missing, has no second chance: that would hide what
    happens now and then.
    """
    for _ in range(ATTEMPTS):
        run = Run()
        measure_part(run, asked)
        if not run.void or run.unaccounted:
            break
    return run


def measured(group, asked):
    """The entries of a group's figures, part by part."""
    for measure_part, repeated in GROUPS[group]:
        yield entries([run_once(measure_part, asked) for _ in range(asked.runs if repeated else 1)])


def first_line(*command):
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
        return said.stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def circumstances():
    return {
        "machine": machine()
        | {
            "kernel": platform.release(),
            "python": platform.python_version(),
            "cc": first_line(os.environ.get("CC", "cc"), "--version"),
            "rustc": first_line("rustc", "--version"),
        },
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": first_line("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help=f"groups, separated by blanks [all: {' '.join(GROUPS)}]")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of what is not too long [{RUNS}]")
    parser.add_argument("--events", type=int, default=EVENTS, help=f"in a run of e2e, and of busy targets [{EVENTS:,}]")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"in a run of push [{ROUNDS}]")
    parser.add_argument(
        "--scale-seconds",
        type=int,
        default=SCALE_SECONDS,
        help=f"how long 100,000 targets get their events [{SCALE_SECONDS}]",
    )
    parser.add_argument("--idle-seconds", type=int, default=IDLE_SECONDS, help=f"[{IDLE_SECONDS}]")
    parser.add_argument("--memory-events", type=int, default=MEMORY_EVENTS, help=f"[{MEMORY_EVENTS:,}]")
    parser.add_argument("--out", type=pathlib.Path, default=BENCH, help="folder of the results")
    parser.add_argument("--png", action="store_true", help="draw performance.png as well")
    asked = parser.parse_args()
    unknown = set(asked.only.split()) - set(GROUPS)
    if unknown:
        parser.error(f"no group {' '.join(sorted(unknown))}; there are {' '.join(GROUPS)}")
    numbers = (asked.runs, asked.events, asked.rounds, asked.scale_seconds, asked.idle_seconds, asked.memory_events)
    if min(numbers) < 1:
        parser.error("every number must be at least 1")
    return asked


def drawn(path, png):
    plot = [sys.executable, pathlib.Path(__file__).with_name("plot.py"), path]
    pictures = [path.with_name("performance.svg"), *([path.with_name("performance.png")] if png else [])]
    return subprocess.run([*plot, *pictures], check=False).returncode == 0


def main():
    given = arguments()
    # Ended by a signal, it still ends the processes that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    asked = Asked(given.runs, given.events, given.rounds, given.scale_seconds, given.idle_seconds, given.memory_events)
    groups = [group for group in GROUPS if group in given.only.split() or not given.only]
    access_log.write(LINES)
    path, begun = given.out / "report.json", time.monotonic()
    report = circumstances() | {"seconds": 0.0, "asked": vars(asked), "groups": groups, "figures": {}}
    print(HEADER, flush=True)
    for group in groups:
        for figures in measured(group, asked):
            report["figures"] |= figures
            report["seconds"] = round(time.monotonic() - begun, 1)
            write(report, path, DIGITS)
            for name, own in figures.items():
                print(row(name, own), flush=True)
    print(LEGEND)
    if asked != Asked(RUNS, EVENTS, ROUNDS, SCALE_SECONDS, IDLE_SECONDS, MEMORY_EVENTS):
        print("a quick look: the targets are for the defaults")

    pictured = drawn(path, given.png)
    met, judged = counted(report["figures"])
    void = sum(bool(own["void"]) for own in report["figures"].values())
    print(
        f"{met} of {judged} targets met, {void} figures void, in {report['seconds']:.0f} s; "
        f"written: {os.path.relpath(path)}"
    )
    if not all_met(report["figures"]):
        print(
            "what limits a figure, and what was tried: docs/performance.md; where the CPU time goes: make bench-profile"
        )
    return 0 if pictured and all_met(report["figures"]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
