#!/usr/bin/env python3
"""Breaks the code on purpose, change by change, and lets the simulation look for each.

Usage: mutate.py [--seeds N] [WORDS...]

Takes the changes of tests/simulation/mutations.toml (with WORDS: those whose name holds one of them), applies each to
a copy of the working tree under target/mutations, runs the simulation there and prints the first seed that failed.
Without WORDS it also renews the table in tests/simulation/README.md. Exits with 1 when a change does not apply or
build, when the simulation misses one that is not marked as unseen, or sees one that is.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutations"
# Of its own: cargo would take a broken library for the good one.
BUILT = ROOT / "target" / "mutations-built"
TABLE = ROOT / "tests" / "simulation" / "README.md"
BEGIN, END = "<!-- mutations -->\n", "<!-- end of mutations -->\n"
# The unbroken code takes about a minute for 2,000 seeds; a broken one may wait for what never comes.
RUN_SECONDS_MAX = 600


def copy_tree():
    """The files that git knows or would add, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    shutil.rmtree(COPY, ignore_errors=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def simulate(seeds):
    """What the simulation says of the copy: `seed N` with the promise, `missed`, or what went wrong."""
    env = os.environ | {"CARGO_TARGET_DIR": str(BUILT), "SEEDS": str(seeds), "RUST_BACKTRACE": "0"}
    test = [os.environ.get("CARGO", "cargo"), "test", "--locked", "--quiet", "--test", "simulation"]
    built = subprocess.run([*test, "--no-run"], cwd=COPY, env=env, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        return "does not build", built.stderr[-2000:]
    try:
        run = subprocess.run(
            [*test, "every_promise_holds"],
            cwd=COPY,
            env=env,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "did not end", f"within {RUN_SECONDS_MAX} s"
    failed = re.findall(r"^seed (\d+): (.*)", run.stdout + run.stderr, re.MULTILINE)
    if failed:
        seed, promise = min(failed, key=lambda line: int(line[0]))
        return f"seed {seed}", promise
    return ("missed", "") if run.returncode == 0 else ("failed oddly", run.stdout[-2000:])


def tried(mutation, seeds):
    """What the simulation says of the code with one change."""
    path = COPY / mutation["file"]
    whole = path.read_text()
    count = whole.count(mutation["from"])
    if count != 1:
        return "does not apply", f"its text stands {count} times in {mutation['file']}"
    path.write_text(whole.replace(mutation["from"], mutation["to"]))
    try:
        return simulate(seeds)
    finally:
        path.write_text(whole)


def write_table(results, seeds):
    lines = [f"| what was broken | in | first seed of {seeds:,} |", "| --- | --- | --- |"]
    for mutation, verdict in results:
        seen = mutation.get("unseen", verdict.removeprefix("seed "))
        seen = f"not seen: {seen}" if "unseen" in mutation else seen
        lines.append(f"| {mutation['breaks']} | `{mutation['file']}` | {seen} |")
    text = TABLE.read_text()
    before, rest = text.split(BEGIN)
    TABLE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.split(END)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    mutations = tomllib.loads((ROOT / "tests/simulation/mutations.toml").read_text())["mutation"]
    chosen = [m for m in mutations if not args.words or any(word in m["breaks"] for word in args.words)]
    copy_tree()
    results, wrong = [], 0
    for number, mutation in enumerate(chosen, 1):
        verdict, promise = tried(mutation, args.seeds)
        as_expected = verdict == "missed" if "unseen" in mutation else verdict.startswith("seed ")
        wrong += not as_expected
        mark = "" if as_expected else "  <-- WRONG"
        print(f"{number}/{len(chosen)} {mutation['breaks']}: {verdict}{mark}\n    {promise[:400]}", flush=True)
        results.append((mutation, verdict))
    if not args.words:
        write_table(results, args.seeds)
    print(f"{len(results) - wrong} as expected, {wrong} not")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())
