#!/usr/bin/env python3
"""Runs the C tests against a cwl-local of their own: run_c_tests.py [--valgrind]

The last line is `N passed, N failed`, summed over all programs.
"""

import re
import subprocess
import sys

import loopback

PROGRAMS = ["header_c99", "header_cxx17", "abi", "plugin", "ship", "outcomes"]
PROGRAMS += ["hostile", "no_threads", "fork", "callbacks", "copies"]
FOLDER = loopback.ROOT / "target" / "c_tests"
PROGRAM_SECONDS = 600
VALGRIND_ERROR = 99
# Valgrind reports the sleeping threads of a runtime as "possibly lost". Only "definitely lost" is a leak.
VALGRIND = [
    "valgrind",
    "--quiet",
    "--tool=memcheck",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
    f"--error-exitcode={VALGRIND_ERROR}",
]
# A child of a fork has the memory of the parent's threads, and nobody to free it. The last of two options counts.
VALGRIND_OF = {"fork": ["--leak-check=no"]}


def run(program, environment, valgrind):
    """Runs one program and returns (passed, failed). An exit code that contradicts the last line is a failure."""
    command = ([*VALGRIND, *VALGRIND_OF.get(program, [])] if valgrind else []) + [str(FOLDER / program)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_SECONDS,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as timeout:
        output, code = (timeout.stdout or b"").decode(errors="replace"), f"none after {PROGRAM_SECONDS} s"
    print(f"-- {program}\n{output}", end="", flush=True)
    counts = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    passed, failed = map(int, counts[-1]) if counts else (0, 0)
    if code == VALGRIND_ERROR and valgrind:
        print(f"not ok {program}: valgrind found errors")
        failed += 1
    elif (code == 0) != (failed == 0) or passed + failed == 0:
        print(f"not ok {program}: exit code {code}")
        failed += 1
    return passed, failed


def main():
    valgrind = sys.argv[1:] == ["--valgrind"]
    if sys.argv[1:] and not valgrind:
        sys.exit(__doc__)
    passed = failed = 0
    with loopback.CwlLocal() as local:
        environment = loopback.hermetic_environment() | {"CWL_TEST_ENDPOINT": local.endpoint}
        if valgrind:
            environment["CWL_TEST_VALGRIND"] = "1"
        for program in PROGRAMS:
            program_passed, program_failed = run(program, environment, valgrind)
            passed, failed = passed + program_passed, failed + program_failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
