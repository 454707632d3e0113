#!/usr/bin/env python3
"""The isolation bench: measures how failing targets slow down healthy ones.

For each scenario, a fresh cwl-local and a fresh C host with 20 healthy targets run as the baseline. Then both run again
with the scenario's failing targets beside the healthy ones. Writes isolation.json and isolation.svg and prints a table.
The exit code is 0 only when every scenario meets its limits. A scenario in which the host itself was late is void and
is measured once more.

Only events of healthy targets count towards throughput and latency; `lost` counts the events of all targets.
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
from scenarios import HEALTHY, HEALTHY_EVENTS_PER_SECOND, SCENARIOS
from verdict import broken_off, compare

ATTEMPTS = 2
SECONDS_MIN = 20  # the limits are meant for runs of at least this length
CONCURRENCY = 2  # as in host.c

HEADER = (
    f"{'scenario':<12} {'throughput':>10} {'p50':>6} {'p99':>6} {'requests':>8} {'base p99':>8} {'p99 ms':>6} "
    f"{'lost':>6} {'twice':>7} {'rejected':>9} {'late ms':>7} {'push ms':>7} {'others':>6}  verdict"
)


def attempt(scenario, seconds, faults_after):
    times = Times.of(scenario, seconds, faults_after)
    baseline = measure([HEALTHY], [], times)
    return compare(scenario, baseline, measure([HEALTHY, *scenario.loads], list(scenario.rules), times), times)


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


# ---- the table ----


def verdict_text(entry):
    if entry["pass"]:
        parts = ["met"]
    else:
        parts = ["VOID: " + "; ".join(entry["void"])] * bool(entry["void"])
        parts += ["MISSED: " + "; ".join(entry["reasons"])] * bool(entry["reasons"])
    if "jain" in entry:
        parts.append(
            f"quota used {entry['quota_used']:.2f}, throttled {entry['throttled_share']:.2f}, Jain {entry['jain']:.3f}"
        )
    if "recovery_s" in entry:
        recovery = "no recovery" if entry["recovery_s"] is None else f"recovery {entry['recovery_s']:.2f} s"
        parts.append(f"{entry['requests_while_down']} requests while down, {recovery}")
    return " | ".join(parts)


def row(name, entry):
    if "own" not in entry:
        return f"{name:<12} {verdict_text(entry)}"
    baseline, own = entry["baseline"], entry["own"]

    def number(value, form):
        return "none" if value is None else format(value, form)

    rejected = entry["healthy_rejected"] + entry["failing_rejected"] + entry["flood_rejected"]
    late = max(baseline["worst_lateness_ms"], own["worst_lateness_ms"])
    others = max(baseline["cores"]["others"], own["cores"]["others"])
    return (
        f"{name:<12} {number(entry['throughput_ratio'], '.3f'):>10} {number(entry['p50_ratio'], '.2f'):>6} "
        f"{number(entry['p99_ratio'], '.2f'):>6} {number(entry['requests_ratio'], '.2f'):>8} "
        f"{number(baseline['p99_ms'], '.0f'):>8} {number(own['p99_ms'], '.0f'):>6} {entry['lost']:>6} "
        f"{entry['duplicates']:>7} {rejected:>9} {late:>7.1f} {own['worst_push_ms']:>7.1f} {others:>6.2f}  "
        f"{verdict_text(entry)}"
    )


LEGEND = """\
throughput, p50, p99, requests: of the healthy targets, divided by their baseline; base p99, p99 ms: the two p99s.
lost, twice, rejected: of all targets; twice: events that arrived beyond those acked as delivered; rejected: pushes.
late: the host's own worst lateness; push: its longest push; others: cores that other processes kept busy."""


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
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "bench", help="folder for the results")
    parser.add_argument("--png", action="store_true", help="draw isolation.png as well")
    options = parser.parse_args()
    unknown = set(options.only.split()) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario {' '.join(sorted(unknown))}; the scenarios are {' '.join(SCENARIOS)}")
    if options.seconds <= 0:
        parser.error("--seconds must be more than 0")
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
        "concurrency": CONCURRENCY,
        "healthy": {
            "targets": HEALTHY.targets,
            "events_per_s": HEALTHY_EVENTS_PER_SECOND,
            "message_bytes": HEALTHY.message_bytes,
        },
        "scenarios": {},
    }
    print(HEADER, flush=True)
    for name in options.only.split() or SCENARIOS:
        entry = run_scenario(SCENARIOS[name], options.seconds, options.faults_after)
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
