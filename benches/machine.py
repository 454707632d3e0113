"""Describes the machine of a bench, measures how busy it is, and writes results to files."""

import json
import os
import pathlib
import platform

TICK = os.sysconf("SC_CLK_TCK")


def machine():
    models = [
        line.partition(":")[2].strip()
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def cpu_seconds_of(pid):
    """Returns the CPU time that a running process has used so far."""
    # The name in parentheses may contain anything. utime and stime are the 14th and 15th member of the line.
    members = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(members[11]) + int(members[12])) / TICK


def busy_seconds():
    """Returns the CPU time that all processes have used so far, including the time that a hypervisor took."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICK


def round_fractions(value, digits):
    """Returns a copy in which every float is rounded."""
    if isinstance(value, dict):
        return {key: round_fractions(inner, digits) for key, inner in value.items()}
    if isinstance(value, list):
        return [round_fractions(inner, digits) for inner in value]
    return round(value, digits) if isinstance(value, float) else value


def write_results(results, path, digits=4):
    """Writes a file of results atomically, so that an interrupted run leaves the previous, complete file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(round_fractions(results, digits), indent=1, ensure_ascii=False) + "\n")
    new.replace(path)
