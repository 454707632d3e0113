#!/usr/bin/env python3
"""Checks the shared object as the dynamic linker sees it: its exported symbols, its SONAME and its flags.

The last line is `N passed, N failed`.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from loopback import RELEASE, ROOT

LIBRARY = RELEASE / "libcwl_sink.so"
HEADER = ROOT / "include" / "cwl_sink.h"
TABLE = "cwl_plugin"
CARGO = os.environ.get("CARGO", "cargo")


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


def sonames():
    return re.findall(r"\(SONAME\).*\[(.*)\]", output_of("readelf", "-d", str(LIBRARY)))


def header_constant(name):
    """Returns a number that the header defines."""
    return int(re.search(rf"^#define {name} (\d+)$", HEADER.read_text(), re.MULTILINE)[1])


def package_version():
    metadata = output_of(CARGO, "metadata", "--locked", "--no-deps", "--format-version", "1")
    packages = json.loads(metadata)["packages"]
    return next(package["version"] for package in packages if package["name"] == "cwl-sink")


def check_versions():
    """Compares the SONAME, the header, the loaded library and the package with each other."""
    library = ctypes.CDLL(str(LIBRARY))
    library.cwl_abi_version.restype = ctypes.c_uint32
    library.cwl_version.restype = ctypes.c_char_p
    table = ctypes.c_uint32.in_dll(library, TABLE).value
    abi, major, minor = library.cwl_abi_version(), header_constant("CWL_ABI_MAJOR"), header_constant("CWL_ABI_MINOR")
    found = {
        "SONAME": (sonames(), [f"libcwl_sink.so.{major}"]),
        "cwl_abi_version()": (abi, major << 16 | minor),
        "the abi_version of cwl_plugin": (table, abi),
        "cwl_version()": (library.cwl_version().decode(), package_version()),
        "the link beside the library": (Path(f"{LIBRARY}.{major}").resolve(), LIBRARY.resolve()),
    }
    return [f"{name} is {one}, not {other}" for name, (one, other) in found.items() if one != other]


def check_nodelete():
    flags = re.findall(r"\(FLAGS_1\).*", output_of("readelf", "-d", str(LIBRARY)))
    return [] if any("NODELETE" in line for line in flags) else [f"the flags do not include NODELETE: {flags}"]


def check_text_relocations():
    dynamic = output_of("readelf", "-d", str(LIBRARY))
    return ["the object has text relocations"] if "TEXTREL" in dynamic else []


def check_own_functions():
    """The object must not look its own functions up: another copy of it in the process would be found."""
    relocations = re.findall(r"\bcwl_\w+", output_of("readelf", "-rW", str(LIBRARY)))
    return [f"the object looks {name} up" for name in sorted(set(relocations))]


CHECKS = {
    "exactly_what_the_header_declares_is_exported": check_exports,
    "soname_header_library_and_package_agree_on_their_versions": check_versions,
    "the_object_stays_when_a_host_closes_it": check_nodelete,
    "the_code_is_position_independent": check_text_relocations,
    "the_object_calls_its_own_functions": check_own_functions,
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
