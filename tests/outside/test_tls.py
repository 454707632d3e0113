"""HTTPS: the library trusts the machine's certificates and no others; no event is lost while it cannot trust.

The host is a separate process, because its environment names the certificates.
"""

import os
import subprocess
import sys

import pytest

import loopback

SECONDS = 60

# Pushes events and waits until they are delivered, or until the endpoint is paused and a diagnostic names the reason.
HOST = """
import sys, time, host
with host.diagnostics() as texts:
    sink = host.Sink(endpoint_url=sys.argv[1], region="us-east-1", log_group=sys.argv[2], log_stream="s",
                     flush_interval_ms=10)
    for number in range(100):
        sink.push(f"event {number}")
    until = time.monotonic() + 40
    stats = sink.stats()
    while stats.delivered_events < 100 and not (stats.endpoint_paused and texts) and time.monotonic() < until:
        time.sleep(0.01)
        stats = sink.stats()
    print(f"delivered={stats.delivered_events} pending={stats.pending_events} lost={stats.dropped_events}",
          f"paused={stats.endpoint_paused}", flush=True)
    print(" | ".join(texts), flush=True)
    sink.free()
"""


def push_from_a_host_that_trusts(certificate, endpoint, group, **more):
    """Runs the host, with more variables in its environment. Returns its counts and the library's diagnostics."""
    modules = ":".join(str(loopback.ROOT / folder) for folder in ("tests/outside", "scripts"))
    environment = loopback.hermetic_environment() | {"PYTHONPATH": modules, "SSL_CERT_FILE": str(certificate)} | more
    done = subprocess.run(
        [sys.executable, "-c", HOST, endpoint, group],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    counts, diagnostics = done.stdout.splitlines()
    return counts, diagnostics


@pytest.fixture
def secure():
    """A cwl-local that serves HTTPS."""
    with loopback.CwlLocal(tls=True) as local:
        yield local


def test_events_are_delivered_to_an_endpoint_that_the_machine_trusts(secure, group):
    counts, diagnostics = push_from_a_host_that_trusts(secure.certificate, secure.endpoint, group)
    assert counts == "delivered=100 pending=0 lost=0 paused=0", diagnostics
    client = loopback.logs_client(secure.endpoint, secure.certificate)
    arrived = [message for _, message in loopback.read_back(client, group, "s")]
    assert arrived == [f"event {number}" for number in range(100)]
    assert secure.control("GET", "stats")["groups"][group]["events"] == 100


@pytest.mark.parametrize("trusted", ["nobody", "another"])
def test_events_stay_and_the_operator_learns_why_while_the_endpoint_is_not_trusted(secure, group, trusted):
    with loopback.CwlLocal(tls=True) as another:
        certificate = {"nobody": os.devnull, "another": another.certificate}[trusted]
        counts, diagnostics = push_from_a_host_that_trusts(certificate, secure.endpoint, group)
    assert counts == "delivered=0 pending=100 lost=0 paused=1", diagnostics
    assert "certificate" in diagnostics, diagnostics
    assert secure.control("GET", "stats")["groups"] == {}


def test_the_ca_bundle_of_the_profile_counts_more_than_the_certificates_of_the_machine(secure, group, tmp_path):
    config = tmp_path / "config"
    config.write_text(f"[default]\nca_bundle = {secure.certificate}\n")
    counts, diagnostics = push_from_a_host_that_trusts(os.devnull, secure.endpoint, group, AWS_CONFIG_FILE=str(config))
    assert counts == "delivered=100 pending=0 lost=0 paused=0", diagnostics


def test_the_ca_bundle_of_the_environment_counts_more_than_that_of_the_profile(secure, group, tmp_path):
    config = tmp_path / "config"
    config.write_text("[default]\nca_bundle = /nonexistent\n")
    counts, diagnostics = push_from_a_host_that_trusts(
        os.devnull, secure.endpoint, group, AWS_CONFIG_FILE=str(config), AWS_CA_BUNDLE=secure.certificate
    )
    assert counts == "delivered=100 pending=0 lost=0 paused=0", diagnostics
