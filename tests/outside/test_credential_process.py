"""A `credential_process`: the helper gives credentials, ends in time, and changes nothing of the host."""

import json
import pathlib

import pytest

from credential_sources import GOOD, Role, end, environment_without_credentials, start

# Delivers one event. Prints how SIGCHLD is handled before and after, and the number of child processes after it.
DELIVER = """
import os, pathlib, signal
if os.environ.get("IGNORE_SIGCHLD"):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def state():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    handled = {line.split()[0]: int(line.split()[1], 16) >> (signal.SIGCHLD - 1) & 1
               for line in lines if line.startswith(("SigIgn", "SigCgt"))}
    return handled["SigIgn:"], handled["SigCgt:"]

def children():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    return sum(len((task / "children").read_text().split()) for task in tasks)

before = state()
sink = host.Sink(**options)
sink.push("an event")
sink.flush(30_000)
print("same" if state() == before else "changed", "ignored" if before[0] else "default",
      children(), "delivered", sink.stats().delivered_events, flush=True)
sink.shutdown(5_000)
"""

# Pushes one event that waits for a helper. Prints the diagnostics, and the most children at any moment.
WAIT = """
import pathlib, time
def children():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    found = 0
    for task in tasks:
        try:
            found += len((task / "children").read_text().split())
        except FileNotFoundError:
            pass
    return found

with host.diagnostics() as texts:
    sink = host.Sink(**options)
    for stream in range(20):
        sink.push("an event that waits for credentials", stream=f"s{stream}")
    most, until = 0, time.monotonic() + 30
    while not texts and time.monotonic() < until:
        most = max(most, children())
    print(most, " | ".join(texts), flush=True)
    sink.free()
    print(children(), flush=True)
"""


def helper(folder, text):
    """Writes a helper and a profile that uses it."""
    script = folder / "helper.sh"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    (folder / "config").write_text(f'[default]\ncredential_process = "{script}" --for logs\n')


def credentials(keys=GOOD, **more):
    return json.dumps({"Version": 1, "AccessKeyId": keys[0], "SecretAccessKey": keys[1]} | more)


@pytest.mark.parametrize("ignored", [False, True])
def test_credentials_of_a_helper_deliver_and_the_host_keeps_its_signals(cwl_local, group, tmp_path, ignored):
    helper(tmp_path, f"[ \"$1 $2\" = '--for logs' ] && echo '{credentials()}'")
    environment = environment_without_credentials(tmp_path) | ({"IGNORE_SIGCHLD": "1"} if ignored else {})
    output = end(start(DELIVER, cwl_local, group, environment))
    assert output == f"same {'ignored' if ignored else 'default'} 0 delivered 1\n"


def test_a_helper_that_hangs_is_named_and_killed_and_there_is_one_at_a_time(cwl_local, group, tmp_path):
    helper(tmp_path, "sleep 1000 & echo $! >> '%s'; wait" % (tmp_path / "started"))
    environment = environment_without_credentials(tmp_path)
    output = end(start(WAIT, cwl_local, group, environment, credentials_timeout_ms=500))
    first, second = output.splitlines()
    assert first.startswith("1 "), output
    assert second == "0", output
    words = 'the credential_process of the profile "default" did not answer within 0.5 s'
    assert f"no AWS credentials: {words}" in first, first
    for number in (tmp_path / "started").read_text().split():
        stat = pathlib.Path(f"/proc/{number}/stat")
        assert not stat.exists() or ") Z " in stat.read_text(), "the group of the helper is killed"


def test_a_helper_that_runs_when_the_sink_is_freed_is_killed(cwl_local, group, tmp_path):
    helper(tmp_path, "exec sleep 1000")
    code = WAIT.replace("while not texts", "while not most")
    first, second = end(start(code, cwl_local, group, environment_without_credentials(tmp_path))).splitlines()
    assert (first.strip(), second) == ("1", "0")


@pytest.mark.parametrize(
    "text, words",
    [
        ("echo no ticket >&2; exit 7", "it ended with exit code 7 and this error output: no ticket"),
        (f"echo '{credentials(('test', 'hunter2'), Version=2)}'", "its output does not say"),
        ("echo '\"hunter2\"'", "its output is not a JSON object"),
        ("cat /dev/zero", "its output is longer than 65536 bytes"),
    ],
)
def test_the_fault_of_a_helper_is_named_without_its_secrets(cwl_local, group, tmp_path, text, words):
    helper(tmp_path, text)
    first, second = end(start(WAIT, cwl_local, group, environment_without_credentials(tmp_path))).splitlines()
    assert f"credential_process: {words}" in first, first
    assert "hunter2" not in first
    assert second == "0"


def test_a_helper_is_the_base_of_a_chain_of_roles(cwl_local, group, tmp_path):
    helper(tmp_path, f"echo '{credentials(('BASE', 'base'))}'")
    with (tmp_path / "config").open("a") as config:
        config.write("[profile logs]\nrole_arn = arn:aws:iam::123456789012:role/logs\nsource_profile = default\n")
    with Role() as sts:
        environment = environment_without_credentials(tmp_path) | {"AWS_ENDPOINT_URL_STS": sts.url}
        assert end(start(DELIVER, cwl_local, group, environment, profile="logs")).endswith("delivered 1\n")
        assert sts.keys_of_requests == ["BASE"], "the role is assumed with the credentials of the helper"
