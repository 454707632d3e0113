"""Credentials that are missing, wrong or gone: no event is lost, and delivery continues when they are valid again.

The host is a separate process, because AWS's default chain reads the environment.
"""

import http.server
import json
import subprocess
import sys
import threading

import pytest

import loopback

SECONDS = 100

# Pushes one event, prints the diagnostics, and ends once the event is delivered.
HOST = """
import sys, host
sink = host.Sink(endpoint_url=sys.argv[1], region="us-east-1", log_group=sys.argv[2], log_stream="s",
                 flush_interval_ms=10)
with host.diagnostics() as texts:
    sink.push("an event that waits for credentials")
    try:
        sink.flush(1500)
    except host.CwlError as error:
        assert "CWL_ERR_TIMEOUT" in str(error), error
    print("waiting", sink.stats().pending_events, " | ".join(texts), flush=True)
    sink.flush(90_000)
    sink.shutdown(5_000)
    print("delivered", sink.stats().delivered_events, flush=True)
"""


def start(endpoint, group, environment):
    """Starts the host. Its environment contains no credentials except those of the test."""
    whole = {name: value for name, value in loopback.hermetic_environment().items() if not name.startswith("AWS_")}
    modules = ":".join(str(loopback.ROOT / folder) for folder in ("tests/outside", "scripts"))
    whole |= {"PYTHONPATH": modules, "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.Popen(
        [sys.executable, "-c", HOST, endpoint, group], env=whole | environment, stdout=subprocess.PIPE, text=True
    )


def end(process):
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0
    return output.splitlines()[-1]


def credentials_file(path, secret):
    path.write_text(f"[default]\naws_access_key_id = test\naws_secret_access_key = {secret}\n")


@pytest.mark.parametrize(
    "before, words",
    [
        ("missing", "no request could be made"),
        ("wrong", "CloudWatch Logs does not accept the credentials"),
    ],
)
def test_a_credentials_file_that_is_replaced_is_seen(cwl_local, group, tmp_path, before, words):
    file = tmp_path / "credentials"
    if before == "wrong":
        credentials_file(file, "not-the-secret")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    process = start(cwl_local, group, environment)
    waiting = process.stdout.readline()
    assert waiting.startswith("waiting 1 "), waiting
    assert f"delivery is paused for all targets: {words}" in waiting, "the operator must learn the reason"
    credentials_file(file, "test")
    assert end(process) == "delivered 1"


class Role(http.server.BaseHTTPRequestHandler):
    """Serves credentials as ECS and EKS do for containers. Answers 404 until `there` is set."""

    there = False

    def do_GET(self):
        good = {
            "AccessKeyId": "test",
            "SecretAccessKey": "test",
            "Token": "token",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        body = json.dumps(good if Role.there else {"code": "Gone", "message": "no role"}).encode()
        self.send_response(200 if Role.there else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_role_that_comes_back_is_seen(cwl_local, group, tmp_path):
    Role.there = False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Role) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            process = start(
                cwl_local,
                group,
                {
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_address[1]}/role",
                    "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                    "AWS_CONFIG_FILE": str(tmp_path / "none"),
                },
            )
            waiting = process.stdout.readline()
            assert waiting.startswith("waiting 1 "), waiting
            Role.there = True
            assert end(process) == "delivered 1"
        finally:
            server.shutdown()
