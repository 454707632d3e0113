#!/usr/bin/env python3
"""Shows where the CPU time goes: of an event from end to end, and of a request with few events.

Runs the bench's host against a cwl-local that discards all events. The first run, without a profiler, measures the
kernel's part of the CPU time. The second runs under callgrind, which counts the instructions of each function outside
the kernel. The instructions are summed up by origin: an inlined line belongs to the crate in which it was written, and
a line of Rust's standard library to the crate of the surrounding function.

Valgrind has no SHA and few AES instructions. It counts hashing in its portable form, which is many times longer, so the
shares exclude hashing. `make bench` measures it separately (reference.sha256).
"""

import pathlib
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import access_log
from groups import BLOCK, NO_TIMER, PLAIN
from processes import BENCH, LINES, ROOT, Endpoint, start_process, wait_for_output

LIBRARIES = ROOT / "target" / "profiling"
HOST = BENCH / "performance_host"

EVENTS, EVENTS_PROFILED = 3_000_000, 200_000
# Targets, events per second over all targets, and seconds. Every event is sent in a request of its own.
SMALL, SMALL_PROFILED = [2_000, 300, 10], [300, 40, 10]
TIMEOUT_SECONDS = 400

HASHING = "hashing (portable here)"
HOST_CODE = "the host's own"
# A crate belongs to the first part whose pattern matches its name.
PARTS = [
    (HASHING, r"sha2|digest|hmac|block_buffer|cpufeatures"),
    ("cwl-sink", r"cwl_sink"),
    ("AWS SDK: signature", r"aws_sigv4"),
    ("AWS SDK: the rest", r"aws_\w+"),
    ("HTTP", r"h2|hyper\w*|http\w*|httparse|tower\w*"),
    ("tokio", r"tokio\w*|mio|futures\w*"),
    ("zlib", r"zlib_rs|flate2|crc32fast"),
    ("TLS", r"rustls\w*|aws_lc\w*|webpki"),
    ("tracing", r"tracing\w*"),
]
ALLOCATOR = re.compile(r"malloc|arena|calloc|_int_free|__rdl_|__rust_(de|re)?alloc|::alloc::Global")
COPIES = re.compile(r"mem(cpy|move|set|cmp|chr)|strlen")
STANDARD = "Rust's standard library"


def part_of(file, function, object_file):
    """Returns the part that an instruction belongs to."""
    if "/benches/performance/" in file or "performance_host" in object_file:
        return HOST_CODE
    if ALLOCATOR.search(file) or ALLOCATOR.search(function):
        return "allocator"
    if COPIES.search(file) or COPIES.search(function):
        return "copies"
    registered = re.search(r"/registry/src/[^/]+/([\w-]+?)-\d", file)
    if registered:
        crates = [registered.group(1).replace("-", "_")]
    elif file.startswith((f"{ROOT}/src/", "src/")):
        crates = ["cwl_sink"]
    else:
        crates = re.findall(r"\b([a-z_][a-z0-9_]*)::", function)
    for crate in crates:
        for name, pattern in PARTS:
            if re.fullmatch(pattern, crate):
                return name
    standard = {"core", "alloc", "std", "hashbrown"} & set(crates) or "/library/" in file
    return STANDARD if standard else "others"


def instructions(annotated):
    """Sums up instructions by part, from the output of callgrind_annotate."""
    line = re.compile(r"\s*([\d,]+) \([ \d.]+%\)  (.+?):(.+?)(?: \[([^\]]+)\])?$")
    parts = Counter()
    for found in filter(None, map(line.match, annotated.splitlines())):
        count, file, function, object_file = found.groups()
        parts[part_of(file, function, object_file or "")] += int(count.replace(",", ""))
    return parts


def run_host(endpoint, before, arguments):
    """Runs the host. Returns its output, its CPU seconds in user mode, and those in the kernel."""
    environment = endpoint.environment | {"LD_LIBRARY_PATH": str(LIBRARIES)}
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    kind, *rest = arguments
    output = wait_for_output(
        start_process([*before, HOST, kind, endpoint.endpoint, LINES, *rest], environment), TIMEOUT_SECONDS
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime - children.ru_utime, after.ru_stime - children.ru_stime


def run_under_callgrind(arguments):
    """Runs the host under callgrind. Returns its output and the instructions by part."""
    with tempfile.TemporaryDirectory(prefix="cwl-profile-") as folder, Endpoint() as endpoint:
        out = pathlib.Path(folder) / "counted"
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        output, _, _ = run_host(endpoint, valgrind, arguments)
        annotate = ["callgrind_annotate", "--auto=no", "--threshold=100", str(out)]
        annotated = subprocess.run(annotate, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS)
        return output, instructions(annotated.stdout)


def profile(title, arguments, profiled_arguments, opening, unit):
    """Prints the CPU time and the instructions of one kind of work, divided by the number of its units."""
    with Endpoint() as endpoint:
        output, user, system = run_host(endpoint, [], arguments)
        if output["delivered"] != output["pushed"] or endpoint.arrived_events() != output["pushed"]:
            raise RuntimeError(f"{output['pushed']:,} events were pushed and {endpoint.arrived_events():,} arrived")
    units = output[unit]
    print(
        f"\n{title}: {(user + system) / units * 1e6:.3f} µs, of which the kernel's {system / units * 1e6:.3f} µs "
        f"({system / (user + system):.0%}); {units:,} of them, including all other work of the process"
    )
    output, parts = run_under_callgrind(profiled_arguments)
    # Opening the sink happens once in a process.
    parts.subtract(opening)
    hashed = parts.pop(HASHING, 0)
    own = parts.pop(HOST_CODE, 0)
    total = sum(parts.values())
    if total == 0:
        raise RuntimeError("callgrind counted nothing")
    units = output[unit]
    print(f"  {'instructions of the library, without hashing':46}{total / units:12,.0f}")
    for name, count in parts.most_common():
        if count < total / 1000:
            continue
        print(f"    {name:44}{count / units:12,.0f}  {count / total:6.1%}")
    print(f"  {HASHING:46}{hashed / units:12,.0f}\n  {HOST_CODE:46}{own / units:12,.0f}")


def main():
    access_log.write(LINES)
    library = LIBRARIES / "libcwl_sink.so"
    link = library.with_name(f"{library.name}.0")
    link.unlink(missing_ok=True)
    link.symlink_to(library.name)
    options = [PLAIN, NO_TIMER, *BLOCK]
    _, opening = run_under_callgrind(["deliver", 1, 1, *options])
    profile(
        "An event from end to end, without TLS and gzip",
        ["deliver", EVENTS, 1, *options],
        ["deliver", EVENTS_PROFILED, 1, *options],
        opening,
        "pushed",
    )
    profile(
        "A PutLogEvents with an event or two, creating the streams included",
        ["many", *SMALL],
        ["many", *SMALL_PROFILED],
        opening,
        "requests",
    )


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}")
