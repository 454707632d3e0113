#!/usr/bin/env python3
"""Checks the shared object as the dynamic linker sees it: its exported symbols, its SONAME and its flags.

The last line is `N passed, N failed`.
"""

import re
import subprocess
import sys

from loopback import RELEASE, ROOT

LIBRARY = RELEASE / "libcwl_sink.so"
HEADER = ROOT / "include" / "cwl_sink.h"
SONAME = "libcwl_sink.so.0"
TABLE = "cwl_plugin"


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def declared_functions():
    """Returns the functions that the header declares. They begin a line; members of structs are indented."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    return set(re.findall(r"^(?!typedef\b)\w[\w *]*?\b(cwl_\w+)\(", text, flags=re.MULTILINE))


def exported_symbols():
    return {line.split()[-1] for line in output_of("nm", "-D", "--defined-only", str(LIBRARY)).splitlines()}


def check_exports():
    declared, exported = declared_functions(), exported_symbols()
    wanted = declared | {TABLE}
    problems = [f"{name} is declared and not exported" for name in sorted(wanted - exported)]
    problems += [f"{name} is exported and not declared" for name in sorted(exported - wanted)]
    if len(declared) < 15:
        problems.append(f"only {len(declared)} declarations were found in {HEADER.name}")
    return problems


def check_soname():
    found = re.findall(r"\(SONAME\).*\[(.*)\]", output_of("readelf", "-d", str(LIBRARY)))
    return [] if found == [SONAME] else [f"SONAME is {found}, not {SONAME}"]


def check_nodelete():
    flags = re.findall(r"\(FLAGS_1\).*", output_of("readelf", "-d", str(LIBRARY)))
    return [] if any("NODELETE" in line for line in flags) else [f"the flags do not include NODELETE: {flags}"]


def check_text_relocations():
    dynamic = output_of("readelf", "-d", str(LIBRARY))
    return ["the object has text relocations"] if "TEXTREL" in dynamic else []


CHECKS = {
    "exactly_what_the_header_declares_is_exported": check_exports,
    "the_soname_carries_the_abi_version": check_soname,
    "the_object_stays_when_a_host_closes_it": check_nodelete,
    "the_code_is_position_independent": check_text_relocations,
}


def main():
    failed = 0
    for name, check in CHECKS.items():
        problems = check()
        failed += bool(problems)
        for problem in problems:
            print(f"# {problem}")
        print(f"{'not ok' if problems else 'ok'} {name}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
