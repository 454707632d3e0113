#!/usr/bin/env python3
"""The performance bench: measures what an event costs the host's process, and judges whether the targets are met.

Each measurement is a fresh process beside a fresh cwl-local that discards all events. Most are made RUNS times, and
their medians count. Writes report.json and performance.svg, and prints a table. The exit code is 0 only when every
selected target is met and no figure is void. A run is void if events are missing or if other processes kept the machine
busy; in the latter case it is repeated once.
"""

import argparse
import dataclasses
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
from groups import GROUPS, Amounts
from machine import machine, write_results
from processes import BENCH, LINES, ROOT
from summary import HEADER, Run, all_met, count_met, entries, row

ATTEMPTS = 2
DIGITS = 6

# The targets are meant for these amounts.
RUNS, EVENTS, ROUNDS, SCALE_SECONDS, IDLE_SECONDS, MEMORY_EVENTS = 5, 5_000_000, 100, 90, 30, 3_600_000

LEGEND = """\
median and spread: over the runs; 1 MB = 1,048,576 bytes. push.ns_p999 and push.busy_*: 250,000 pushes a second while
the workers are busy, including the time to read the clock (push.clock_ns). e2e.*: CPU time of the host's whole process,
from the push to the answer. reference.*: the same work done by others, on this machine."""


def run_once(measure_part, amounts):
    """Measures a part, and once more if it was void. The last attempt counts.

    A run that broke off, missed a target or lost events is not repeated, because that would hide rare failures.
    """
    for _ in range(ATTEMPTS):
        run = Run()
        measure_part(run, amounts)
        if not run.void or run.unaccounted:
            break
    return run


def measure_group(group, amounts):
    """Yields the entries of a group's figures, part by part."""
    for measure_part, repeated in GROUPS[group]:
        yield entries([run_once(measure_part, amounts) for _ in range(amounts.runs if repeated else 1)])


def first_line(*command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
        return done.stdout.split("\n")[0]
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


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help=f"groups, separated by spaces [all: {' '.join(GROUPS)}]")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of each part that is repeated [{RUNS}]")
    parser.add_argument(
        "--events", type=int, default=EVENTS, help=f"events in a run of e2e and of busy targets [{EVENTS:,}]"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds in a run of push [{ROUNDS}]")
    parser.add_argument(
        "--scale-seconds",
        type=int,
        default=SCALE_SECONDS,
        help=f"seconds for which 100,000 targets get events [{SCALE_SECONDS}]",
    )
    parser.add_argument(
        "--idle-seconds", type=int, default=IDLE_SECONDS, help=f"seconds without events [{IDLE_SECONDS}]"
    )
    parser.add_argument(
        "--memory-events", type=int, default=MEMORY_EVENTS, help=f"events in the run of memory [{MEMORY_EVENTS:,}]"
    )
    parser.add_argument("--out", type=pathlib.Path, default=BENCH, help="folder for the results")
    parser.add_argument("--png", action="store_true", help="draw performance.png as well")
    options = parser.parse_args()
    unknown = set(options.only.split()) - set(GROUPS)
    if unknown:
        parser.error(f"unknown group {' '.join(sorted(unknown))}; the groups are {' '.join(GROUPS)}")
    amounts = Amounts(
        options.runs,
        options.events,
        options.rounds,
        options.scale_seconds,
        options.idle_seconds,
        options.memory_events,
    )
    if min(dataclasses.astuple(amounts)) < 1:
        parser.error("every number must be at least 1")
    return options, amounts


def draw(path, png):
    plot = [sys.executable, pathlib.Path(__file__).with_name("plot.py"), path]
    pictures = [path.with_name("performance.svg"), *([path.with_name("performance.png")] if png else [])]
    return subprocess.run([*plot, *pictures], check=False).returncode == 0


def main():
    options, amounts = parse_arguments()
    # Exit by an exception, so that SIGTERM also ends the processes started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    groups = [group for group in GROUPS if group in options.only.split() or not options.only]
    access_log.write(LINES)
    path, started_at = options.out / "report.json", time.monotonic()
    report = circumstances() | {"seconds": 0.0, "asked": dataclasses.asdict(amounts), "groups": groups, "figures": {}}
    print(HEADER, flush=True)
    for group in groups:
        for figures in measure_group(group, amounts):
            report["figures"] |= figures
            report["seconds"] = round(time.monotonic() - started_at, 1)
            write_results(report, path, DIGITS)
            for name, own in figures.items():
                print(row(name, own), flush=True)
    print(LEGEND)
    if amounts != Amounts(RUNS, EVENTS, ROUNDS, SCALE_SECONDS, IDLE_SECONDS, MEMORY_EVENTS):
        print("the amounts are not the defaults, for which the targets are meant")

    pictured = draw(path, options.png)
    met, judged = count_met(report["figures"])
    void = sum(bool(own["void"]) for own in report["figures"].values())
    print(
        f"{met} of {judged} targets met, {void} figures void, in {report['seconds']:.0f} s; "
        f"written: {os.path.relpath(path)}"
    )
    if not all_met(report["figures"]):
        print("docs/performance.md explains what limits each figure; make bench-profile shows where the CPU time goes")
    return 0 if pictured and all_met(report["figures"]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
