#!/usr/bin/env python3
"""Where the CPU time goes: of an event from end to end, and of a request that carries little.

Runs the bench's host against a cwl-local that discards what it gets. First by itself, for the kernel's part of its CPU
time; then under callgrind, which counts the instructions of everything else, function by function. They are added up by
whose code they are: a line of a crate that was inlined elsewhere is its crate's, one of Rust's standard library that of
the function around it.

Valgrind has no SHA and few AES instructions: what hashes is counted in its portable form, many times longer, and
therefore left out of the shares. `make bench` measures it by itself (reference.sha256).
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
from processes import BENCH, LINES, ROOT, Endpoint, ended, started

LIBRARIES = ROOT / "target" / "profiling"
HOST = BENCH / "performance_host"

EVENTS, EVENTS_PROFILED = 3_000_000, 200_000
# Targets, events a second in all, and for how long: every event comes in a request of its own.
SMALL, SMALL_PROFILED = [2_000, 300, 10], [300, 40, 10]
SECONDS_MOST = 400

HASHING = "hashing (portable here)"
HOSTS = "the host's own"
# The first that the crate's name fits.
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
    """Whose an instruction is."""
    if "/benches/performance/" in file or "performance_host" in object_file:
        return HOSTS
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
    """Instructions by part, from what callgrind_annotate printed."""
    line = re.compile(r"\s*([\d,]+) \([ \d.]+%\)  (.+?):(.+?)(?: \[([^\]]+)\])?$")
    parts = Counter()
    for found in filter(None, map(line.match, annotated.splitlines())):
        count, file, function, object_file = found.groups()
        parts[part_of(file, function, object_file or "")] += int(count.replace(",", ""))
    return parts


def host(endpoint, before, arguments):
    """Runs the host, and gives what it told and its CPU seconds, the kernel's part apart."""
    environment = endpoint.environment | {"LD_LIBRARY_PATH": str(LIBRARIES)}
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    kind, *rest = arguments
    told = ended(started([*before, HOST, kind, endpoint.endpoint, LINES, *rest], environment), SECONDS_MOST)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return told, after.ru_utime - children.ru_utime, after.ru_stime - children.ru_stime


def counted(arguments):
    """What the host told under callgrind, and the instructions by part."""
    with tempfile.TemporaryDirectory(prefix="cwl-profile-") as folder, Endpoint() as endpoint:
        out = pathlib.Path(folder) / "counted"
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        told, _, _ = host(endpoint, valgrind, arguments)
        annotate = ["callgrind_annotate", "--auto=no", "--threshold=100", str(out)]
        said = subprocess.run(annotate, capture_output=True, text=True, check=True, timeout=SECONDS_MOST)
        return told, instructions(said.stdout)


def profile(what, arguments, profiled, opened, unit):
    with Endpoint() as endpoint:
        told, user, system = host(endpoint, [], arguments)
        if told["delivered"] != told["pushed"] or endpoint.taken() != told["pushed"]:
            raise RuntimeError(f"{told['pushed']:,} events were pushed and {endpoint.taken():,} arrived")
    units = told[unit]
    print(
        f"\n{what}: {(user + system) / units * 1e6:.3f} µs, of which the kernel's {system / units * 1e6:.3f} µs "
        f"({system / (user + system):.0%}); {units:,} of them, all that the process did included"
    )
    told, parts = counted(profiled)
    # What opening takes is once a process.
    parts.subtract(opened)
    hashed = parts.pop(HASHING, 0)
    own = parts.pop(HOSTS, 0)
    total = sum(parts.values())
    if total == 0:
        raise RuntimeError("callgrind counted nothing")
    units = told[unit]
    print(f"  {'instructions of the library, without hashing':46}{total / units:12,.0f}")
    for name, count in parts.most_common():
        if count < total / 1000:
            continue
        print(f"    {name:44}{count / units:12,.0f}  {count / total:6.1%}")
    print(f"  {HASHING:46}{hashed / units:12,.0f}\n  {HOSTS:46}{own / units:12,.0f}")


def main():
    access_log.write(LINES)
    library = LIBRARIES / "libcwl_sink.so"
    link = library.with_name(f"{library.name}.0")
    link.unlink(missing_ok=True)
    link.symlink_to(library.name)
    options = [PLAIN, NO_TIMER, *BLOCK]
    _, opened = counted(["deliver", 1, 1, *options])
    profile(
        "An event from end to end, without TLS and gzip",
        ["deliver", EVENTS, 1, *options],
        ["deliver", EVENTS_PROFILED, 1, *options],
        opened,
        "pushed",
    )
    profile(
        "A PutLogEvents with an event or two, creating the streams included",
        ["many", *SMALL],
        ["many", *SMALL_PROFILED],
        opened,
        "requests",
    )


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}")
