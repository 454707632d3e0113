#!/usr/bin/env python3
"""Breaks the code on purpose, one mutation at a time, and checks that the tests notice each.

Usage: mutate.py [--check] [--seeds N] [WORDS...]

Reads the mutations of tests/simulation/mutations.toml. WORDS select those whose description contains one of them.
Applies each mutation to a copy of the working tree under target/mutations, runs the simulation there and prints the
first seed that failed. A mutation with `unit = "MODULE"` is looked for by the unit tests of that module. Without WORDS
it also renews the table in tests/simulation/README.md. Exits with 1 when a mutation does not apply or does not build,
when the tests miss a mutation that is not marked `unseen`, and when they see one that is.

--check runs nothing. It only checks that every mutation still applies: its `from` text is in its file exactly once.
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
MUTATIONS = ROOT / "tests" / "simulation" / "mutations.toml"
COPY = ROOT / "target" / "mutations"
# Separate from the usual target folder, where cargo would take a broken library for the good one.
BUILT = ROOT / "target" / "mutations-built"
TABLE = ROOT / "tests" / "simulation" / "README.md"
BEGIN, END = "<!-- mutations -->\n", "<!-- end of mutations -->\n"
# The correct code takes about a minute for 2,000 seeds; mutated code may wait for ever.
RUN_SECONDS_MAX = 600


def reason_not_to_apply(mutation, root):
    """Says why a mutation cannot be applied to the tree under `root`; None if it can."""
    path = root / mutation["file"]
    if not path.is_file():
        return f"there is no file {mutation['file']}"
    count = path.read_text().count(mutation["from"])
    return None if count == 1 else f"its `from` text is in {mutation['file']} {count} times, not once"


def check(mutations):
    """Prints the mutations that do not apply to the working tree. Returns the exit code."""
    reasons = [(mutation["breaks"], reason_not_to_apply(mutation, ROOT)) for mutation in mutations]
    broken = [f"{breaks}: {reason}" for breaks, reason in reasons if reason]
    for line in broken:
        print(f"does not apply: {line}")
    if not mutations:
        print(f"there is no mutation to check in {MUTATIONS.relative_to(ROOT)}")
    return 1 if broken or not mutations else 0


def copy_tree():
    """Copies the files that git tracks, or would add, in their present state."""
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


def run_in_copy(test, arguments, environment):
    """Builds and runs a test in the copy. Returns its completed process, or a verdict and its details."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(BUILT), "RUST_BACKTRACE": "0"} | environment
    command = [os.environ.get("CARGO", "cargo"), "test", "--locked", "--quiet", *test]
    settings = {"cwd": COPY, "env": environment, "capture_output": True, "text": True}
    build = subprocess.run([*command, "--no-run"], check=False, **settings)
    if build.returncode != 0:
        return "does not build", build.stderr[-2000:]
    try:
        return subprocess.run([*command, *arguments], check=False, timeout=RUN_SECONDS_MAX, **settings)
    except subprocess.TimeoutExpired:
        return "did not end", f"within {RUN_SECONDS_MAX} s"


def simulate(seeds):
    """Runs the simulation in the copy. Returns a verdict (`seed N`, `missed` or an error) and its details."""
    run = run_in_copy(["--test", "simulation"], ["every_promise_holds"], {"SEEDS": str(seeds)})
    if isinstance(run, tuple):
        return run
    failures = re.findall(r"^seed (\d+): (.*)", run.stdout + run.stderr, re.MULTILINE)
    if failures:
        seed, promise = min(failures, key=lambda failure: int(failure[0]))
        return f"seed {seed}", promise
    return ("missed", "") if run.returncode == 0 else ("failed without a seed", run.stdout[-2000:])


def run_unit_tests(module):
    """Runs the unit tests of a module in the copy. Returns `unit test`, `missed` or an error, and its details."""
    run = run_in_copy(["--lib"], [module], {})
    if isinstance(run, tuple):
        return run
    failures = re.findall(r"^test (\S+) \.\.\. FAILED|^    (\S+)$", run.stdout, re.MULTILINE)
    if failures:
        return "unit test", ", ".join(sorted({one or other for one, other in failures}))
    return ("missed", "") if run.returncode == 0 else ("failed without a test", run.stdout[-2000:])


def try_mutation(mutation, seeds):
    """Applies a mutation to the copy, runs the tests that look for it, and restores the file. Returns their verdict."""
    reason = reason_not_to_apply(mutation, COPY)
    if reason:
        return "does not apply", reason
    path = COPY / mutation["file"]
    original = path.read_text()
    path.write_text(original.replace(mutation["from"], mutation["to"]))
    try:
        return run_unit_tests(mutation["unit"]) if "unit" in mutation else simulate(seeds)
    finally:
        path.write_text(original)


def write_table(results, seeds):
    """Renews the table between the two marks in the simulation's README."""
    lines = [f"| what was broken | in | first seed of {seeds:,} |", "| --- | --- | --- |"]
    for mutation, verdict in results:
        seen = f"not seen: {mutation['unseen']}" if "unseen" in mutation else verdict.removeprefix("seed ")
        seen = f"unit tests of `{mutation['unit']}`" if "unit" in mutation else seen
        lines.append(f"| {mutation['breaks']} | `{mutation['file']}` | {seen} |")
    text = TABLE.read_text()
    before, rest = text.split(BEGIN)
    TABLE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.split(END)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check that every mutation still applies")
    parser.add_argument("--seeds", type=int, default=2000, help="seeds to simulate for each mutation [2000]")
    parser.add_argument("words", nargs="*", help="select mutations whose description contains one of these words")
    args = parser.parse_args()
    mutations = tomllib.loads(MUTATIONS.read_text())["mutation"]
    chosen = [m for m in mutations if not args.words or any(word in m["breaks"] for word in args.words)]
    if args.check:
        return check(chosen)
    copy_tree()
    results, wrong = [], 0
    for number, mutation in enumerate(chosen, 1):
        verdict, details = try_mutation(mutation, args.seeds)
        expected = "missed" if "unseen" in mutation else "unit test" if "unit" in mutation else "seed "
        as_expected = verdict.startswith(expected)
        wrong += not as_expected
        mark = "" if as_expected else "  <-- WRONG"
        print(f"{number}/{len(chosen)} {mutation['breaks']}: {verdict}{mark}\n    {details[:400]}", flush=True)
        results.append((mutation, verdict))
    if not args.words:
        write_table(results, args.seeds)
    print(f"{len(results) - wrong} as expected, {wrong} not")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())
