"""The endpoints of the tests, each started once, and names of log groups."""

import os
import pathlib
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import loopback

# The library and boto3 run in this process too. They must find nothing of the machine's own AWS configuration.
os.environ.clear()
os.environ.update(loopback.hermetic_environment() | {"PATH": os.defpath})


@pytest.fixture(scope="session")
def moto():
    """The address of moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def cwl_local():
    """The address of a cwl-local without faults."""
    with loopback.CwlLocal() as local:
        yield local.endpoint


@pytest.fixture(params=["moto", "cwl_local"])
def endpoint(request):
    """The address of each of the two endpoints in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def group():
    """The name of a log group that no other test uses."""
    return f"/outside/{uuid.uuid4().hex[:12]}"
