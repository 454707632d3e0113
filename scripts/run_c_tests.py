#!/usr/bin/env python3
"""Runs the C tests against a cwl-local of their own: run_c_tests.py [--valgrind]

The last line is `N passed, N failed`, over all programs.
"""

import re
import subprocess
import sys

import loopback

PROGRAMS = ["header_c99", "header_cxx17", "abi", "plugin", "ship", "outcomes", "hostile"]
FOLDER = loopback.ROOT / "target" / "c_tests"
PROGRAM_SECONDS = 600
VALGRIND_ERROR = 99
# "Possibly lost" is what threads that sleep in a runtime look like; "definitely lost" is what nobody can free.
VALGRIND = [
    "valgrind",
    "--quiet",
    "--tool=memcheck",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
    f"--error-exitcode={VALGRIND_ERROR}",
]


def run(program, environment, valgrind):
    """Runs one program and gives (passed, failed). One that ends otherwise than its last line says has failed."""
    command = (VALGRIND if valgrind else []) + [str(FOLDER / program)]
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
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode(errors="replace"), f"none after {PROGRAM_SECONDS} s"
    print(f"-- {program}\n{output}", end="", flush=True)
    counted = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    passed, failed = map(int, counted[-1]) if counted else (0, 0)
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
            of_program = run(program, environment, valgrind)
            passed, failed = passed + of_program[0], failed + of_program[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
