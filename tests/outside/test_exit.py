"""A host of Python that ends without a shutdown ends at once and in order, whatever is out."""

import pathlib
import subprocess
import sys

import pytest

import loopback

# Leaves events behind that nobody takes, and ends.
HOST = """
import host
sink = host.Sink(endpoint_url="http://127.0.0.1:9", region="us-east-1", access_key_id="test", secret_access_key="test",
                 log_group="g", log_stream="s", flush_interval_ms=1)
for number in range(50):
    sink.push("nobody takes it")
"""

# The same with callbacks, which the library must not call any more once the interpreter has ended: Python crashes then.
HOST_WITH_CALLBACKS = """
import atexit, host
log = host.LogCallback(lambda level, message, user: None)
host.check(host.LIBRARY.cwl_set_log_callback(5, log, None))
sink = host.Sink(endpoint_url="http://127.0.0.1:9", region="us-east-1", access_key_id="test", secret_access_key="test",
                 log_group="g", log_stream="s", flush_interval_ms=1)
acks = host.AckCallback(lambda acks, count, user: None)
host.check(host.LIBRARY.cwl_set_ack_callback(sink._sink, acks, None))
atexit.register(host.LIBRARY.cwl_set_log_callback, 0, host.LogCallback(), None)
atexit.register(host.LIBRARY.cwl_shutdown, sink._sink, 0)
for number in range(50):
    sink.push("nobody takes it")
"""

# This interpreter and those that are installed beside it.
PYTHONS = sorted(
    str(path)
    for path in pathlib.Path(sys.base_prefix).parent.glob("*/bin/python3.*")
    if path.suffix[1:].isdigit() and int(path.suffix[1:]) >= 8
) or [sys.executable]
RUNS = 20


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("host", [HOST, HOST_WITH_CALLBACKS], ids=["plain", "callbacks"])
def test_an_interpreter_ends_in_order_while_requests_are_out(python, host):
    environment = loopback.hermetic_environment()
    environment["PYTHONPATH"] = ":".join(str(loopback.ROOT / folder) for folder in ("tests/outside", "scripts"))
    for _ in range(RUNS):
        run = subprocess.run(
            [python, "-c", host], env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
