#!/usr/bin/env python3
"""The isolation bench: what targets that fail cost those that work.

For each scenario a fresh cwl-local and a fresh C host with 20 healthy targets run as a baseline, and then another two
with the scenario's failing targets beside them. Writes isolation.json and isolation.svg, and prints a table; the exit
code is 0 only when every scenario's figures are met. A scenario in which the host itself was late is void, and measured
once more.

Only events of healthy targets count towards throughput and latency; `lost` is about those of all.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from machine import machine, write
from measure import ROOT, WARM_UP_SECONDS, Times, measure
from scenarios import HEALTHY, HEALTHY_EVENTS_PER_SECOND, SCENARIOS
from verdict import broken_off, compare

ATTEMPTS = 2
SHORTEST_SECONDS = 20  # of a run that is not just a quick look
CONCURRENCY = 2  # host.c's

HEADER = (
    f"{'scenario':<12} {'throughput':>10} {'p50':>6} {'p99':>6} {'requests':>8} {'base p99':>8} {'p99 ms':>6} "
    f"{'lost':>6} {'twice':>7} {'rejected':>9} {'late ms':>7} {'push ms':>7} {'others':>6}  verdict"
)


def attempt(scenario, seconds, faults_after):
    times = Times.of(scenario, seconds, faults_after)
    baseline = measure([HEALTHY], [], times)
    return compare(scenario, baseline, measure([HEALTHY, *scenario.loads], list(scenario.rules), times), times)


def run_scenario(scenario, seconds, faults_after):
    """Measured again when it was void, and what comes last counts. One that breaks off does not keep the others.

    What broke off, was missed or lost is not tried again: a second chance would hide what happens now and then.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            entry = attempt(scenario, seconds, faults_after)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            entry = broken_off(error)
        counted = {"about": scenario.about, "attempts": number} | entry
        if not entry["void"] or entry["lost"]:
            break
    return counted


# ---- the table ----


def verdict_of(entry):
    if entry["pass"]:
        said = ["met"]
    else:
        said = ["VOID: " + "; ".join(entry["void"])] * bool(entry["void"])
        said += ["MISSED: " + "; ".join(entry["reasons"])] * bool(entry["reasons"])
    if "jain" in entry:
        said.append(
            f"quota used {entry['quota_used']:.2f}, throttled {entry['throttled_share']:.2f}, Jain {entry['jain']:.3f}"
        )
    if "recovery_s" in entry:
        recovery = "no recovery" if entry["recovery_s"] is None else f"recovery {entry['recovery_s']:.2f} s"
        said.append(f"{entry['requests_while_down']} requests while down, {recovery}")
    return " | ".join(said)


def row(name, entry):
    if "own" not in entry:
        return f"{name:<12} {verdict_of(entry)}"
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
        f"{verdict_of(entry)}"
    )


LEGEND = """\
throughput, p50, p99, requests: of the healthy targets, as a ratio to their baseline's; base p99, p99 ms: the two p99s.
lost, twice, rejected: of all targets; twice: what the endpoint took beyond what was told delivered; rejected: pushes.
late: the host's own worst lateness; push: its longest push; others: cores that other processes kept busy."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=SHORTEST_SECONDS, help="measured time of each run [20]")
    parser.add_argument("--only", default="", help="scenarios, separated by blanks [all]")
    parser.add_argument(
        "--faults-after",
        type=float,
        default=0,
        help="set the faults so many seconds after the host began, when all targets work [0: before]",
    )
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "bench", help="folder of the results")
    parser.add_argument("--png", action="store_true", help="draw isolation.png as well")
    asked = parser.parse_args()
    unknown = set(asked.only.split()) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {' '.join(sorted(unknown))}; there are {' '.join(SCENARIOS)}")
    if asked.seconds <= 0 or asked.faults_after < 0:
        parser.error("--seconds must be more than 0, and --faults-after not less")
    return asked


def main():
    asked = arguments()
    # Ended by a signal, it still ends the processes that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    path = asked.out / "isolation.json"
    results = {
        "machine": machine(),
        "seconds": asked.seconds,
        "warm_up_seconds": WARM_UP_SECONDS,
        "faults_after_seconds": asked.faults_after,
        "concurrency": CONCURRENCY,
        "healthy": {
            "targets": HEALTHY.targets,
            "events_per_s": HEALTHY_EVENTS_PER_SECOND,
            "message_bytes": HEALTHY.message_bytes,
        },
        "scenarios": {},
    }
    print(HEADER, flush=True)
    for name in asked.only.split() or SCENARIOS:
        entry = run_scenario(SCENARIOS[name], asked.seconds, asked.faults_after)
        results["scenarios"][name] = entry
        write(results, path)
        print(row(name, entry), flush=True)
    print(LEGEND)
    if asked.seconds < SHORTEST_SECONDS:
        print(f"a quick look: the figures are for {SHORTEST_SECONDS} s a scenario")

    plot = [sys.executable, pathlib.Path(__file__).with_name("plot.py"), path, path.with_suffix(".svg")]
    drawn = subprocess.run([*plot, *([path.with_suffix(".png")] if asked.png else [])], check=False).returncode == 0
    met = sum(entry["pass"] for entry in results["scenarios"].values())
    print(f"{met} of {len(results['scenarios'])} scenarios met; written: {os.path.relpath(path)}")
    return 0 if drawn and met == len(results["scenarios"]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
