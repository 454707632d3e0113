#!/usr/bin/env python3
"""The isolation bench: measures how failing targets slow down healthy ones, and what the failing ones get.

For each scenario, a fresh cwl-local and a fresh C host with healthy targets run as the baseline. Then both run again
with the scenario's failing targets beside the healthy ones. A scenario that has absolute limits has no baseline. Writes
isolation.json and isolation.svg and prints a table. The exit code is 0 only when every scenario meets its limits. A
scenario in which the host itself was late is void and is measured once more.

Only events of healthy targets count towards throughput and latency. `lost`, the pauses and the accounts are about all
targets. How long the failing targets wait, how fair they are served and what they cost has limits of its own.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from machine import machine, write_results
from measure import ROOT, WARM_UP_SECONDS, Times, measure
from scenarios import CONCURRENCY, HEALTHY, HEALTHY_EVENTS_PER_SECOND, SCENARIOS
from table import HEADER, LEGEND, repeats_text, row
from verdict import broken_off, compare, rank

ATTEMPTS = 2
SECONDS_MIN = 20  # the limits are meant for runs of at least this length


def attempt(scenario, seconds, faults_after):
    times = Times.of(scenario, seconds, faults_after)
    baseline = measure(scenario, times, with_faults=False) if scenario.compared else None
    return compare(scenario, baseline, measure(scenario, times, with_faults=True), times)


def run_scenario(scenario, seconds, faults_after):
    """Measures a scenario, and once more if it was void. The last attempt counts. An error does not end the bench.

    A scenario that broke off, missed a limit or lost events is not repeated, because that would hide rare failures.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            entry = attempt(scenario, seconds, faults_after)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            entry = broken_off(error)
        outcome = {"about": scenario.about, "attempts": number} | entry
        if not entry["void"] or entry["lost"]:
            break
    return outcome


def repeat_scenario(scenario, options):
    """Measures a scenario several times. Returns the worst run, with a summary of all when there are several."""
    entries = []
    for number in range(1, options.repeat + 1):
        entries.append(run_scenario(scenario, options.seconds, options.faults_after))
        if options.repeat > 1:
            print(row(f"{scenario.name} {number}", entries[-1]), flush=True)
    worst = min(entries, key=rank)
    if options.repeat == 1:
        return worst
    p99s = [entry["own"]["p99_ms"] for entry in entries if "own" in entry]
    summary = {
        "runs": len(entries),
        "met": sum(entry["pass"] for entry in entries),
        "worst_p99_ms": max((p99 for p99 in p99s if p99 is not None), default=None),
        "p99_ms": p99s,
    }
    print(f"{scenario.name}: {repeats_text(summary)}", flush=True)
    return worst | {"repeats": summary}


def option_pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=SECONDS_MIN, help="measured time of each run [20]")
    parser.add_argument("--only", default="", help="names of scenarios, separated by spaces [all]")
    parser.add_argument(
        "--faults-after",
        type=float,
        default=0,
        help="seconds from the start of the host to the faults, while all targets work [0: faults from the start]",
    )
    parser.add_argument("--repeat", type=int, default=1, help="runs of each scenario, each from a cold start [1]")
    parser.add_argument(
        "--set",
        type=option_pair,
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="options of the sink in all runs, such as concurrency=8 flush_interval_ms=5000",
    )
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "bench", help="folder for the results")
    parser.add_argument("--png", action="store_true", help="draw isolation.png as well")
    options = parser.parse_args()
    unknown = set(options.only.split()) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario {' '.join(sorted(unknown))}; the scenarios are {' '.join(SCENARIOS)}")
    if options.seconds <= 0:
        parser.error("--seconds must be more than 0")
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    if options.faults_after < 0:
        parser.error("--faults-after must be at least 0")
    return options


def main():
    options = parse_arguments()
    # Exit by an exception, so that SIGTERM also ends the processes started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    path = options.out / "isolation.json"
    results = {
        "machine": machine(),
        "seconds": options.seconds,
        "warm_up_seconds": WARM_UP_SECONDS,
        "faults_after_seconds": options.faults_after,
        "concurrency": int(dict(options.set).get("concurrency", CONCURRENCY)),
        "options": dict(options.set),
        "repeat": options.repeat,
        "healthy": {
            "targets": HEALTHY.targets,
            "events_per_s": HEALTHY_EVENTS_PER_SECOND,
            "message_bytes": HEALTHY.message_bytes,
        },
        "scenarios": {},
    }
    print(HEADER, flush=True)
    for name in options.only.split() or SCENARIOS:
        entry = repeat_scenario(SCENARIOS[name].with_options(options.set), options)
        results["scenarios"][name] = entry
        write_results(results, path)
        print(row(name, entry), flush=True)
    print(LEGEND)
    if options.seconds < SECONDS_MIN:
        print(f"a short run: the limits are meant for {SECONDS_MIN} s a scenario")

    plot = [sys.executable, pathlib.Path(__file__).with_name("plot.py"), path, path.with_suffix(".svg")]
    drawn = subprocess.run([*plot, *([path.with_suffix(".png")] if options.png else [])], check=False).returncode == 0
    met = sum(entry["pass"] for entry in results["scenarios"].values())
    print(f"{met} of {len(results['scenarios'])} scenarios met; written: {os.path.relpath(path)}")
    return 0 if drawn and met == len(results["scenarios"]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
