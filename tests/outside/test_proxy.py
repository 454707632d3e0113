"""A proxy that the environment names carries the requests, as with every other client of AWS."""

import subprocess
import sys

import loopback

# Delivers one event to an endpoint whose name nobody can look up.
HOST = """
import sys, host
sink = host.Sink(endpoint_url="http://logs.invalid", region="us-east-1", log_group=sys.argv[1], log_stream="s",
                 access_key_id="test", secret_access_key="test", flush_interval_ms=10)
sink.push("an event that goes through a proxy")
try:
    sink.flush(int(sys.argv[2]))
except host.CwlError as error:
    assert "CWL_ERR_TIMEOUT" in str(error), error
print(sink.stats().delivered_events)
try:
    sink.shutdown(100)
except host.CwlError as error:
    assert "CWL_ERR_ABANDONED" in str(error), error
"""


def delivered(group, milliseconds, environment):
    """The number of events that the host delivers within the time."""
    whole = loopback.hermetic_environment()
    whole["PYTHONPATH"] = ":".join(str(loopback.ROOT / folder) for folder in ("tests/outside", "scripts"))
    command = [sys.executable, "-c", HOST, group, str(milliseconds)]
    run = subprocess.run(command, env=whole | environment, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return int(run.stdout)


def test_events_go_through_the_proxy_that_the_environment_names(cwl_local, group):
    assert delivered(group, 20_000, {"HTTP_PROXY": cwl_local}) == 1


def test_no_proxy_takes_a_host_out(cwl_local, group):
    assert delivered(group, 500, {"HTTP_PROXY": cwl_local, "NO_PROXY": "logs.invalid"}) == 0
