"""Sources of credentials on loopback, and hosts of the library that use them.

A host is a separate process, because AWS's default chain reads the environment.
"""

import http.server
import json
import subprocess
import sys
import threading
import time
import urllib.parse

import loopback

GOOD = ("test", "test")
SECONDS = 100

# The beginning of every host. The arguments are the address of the endpoint, the log group, and options of the sink.
PREAMBLE = """
import json, sys, time, host
endpoint, group, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
options = {"endpoint_url": endpoint, "log_group": group, "log_stream": "s", "flush_interval_ms": 10} | options

def flushed(sink, milliseconds):
    try:
        sink.flush(milliseconds)
        return True
    except host.CwlError as error:
        assert "CWL_ERR_TIMEOUT" in str(error), error
        return False
"""


def environment_without_credentials(folder):
    """An environment without credentials. Its configuration files are `config` and `credentials` in this folder."""
    whole = {name: value for name, value in loopback.hermetic_environment().items() if not name.startswith("AWS_")}
    modules = ":".join(str(loopback.ROOT / name) for name in ("tests/outside", "scripts"))
    return whole | {
        "PYTHONPATH": modules,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }


def start(code, endpoint, group, environment, **options):
    """Starts a host. `code` follows the preamble. The region is set unless the options set it, to None for none."""
    options = {"region": loopback.REGION} | options
    options = {name: value for name, value in options.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code, endpoint, group, json.dumps(options)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process):
    """Waits for the end of a host. Returns the rest of its output."""
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


def write_keys(path, keys, profile="default"):
    """Writes a credentials file."""
    key, secret = keys
    path.write_text(f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")


class Server:
    """Serves HTTP on loopback, as a context. A subclass answers the requests."""

    def __enter__(self):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(*server.get())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode(errors="replace")
                scope = self.headers["Authorization"].split("Credential=")[1].split(",")[0]
                self.answer(*server.post(body, scope))

            def answer(self, status, text):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class Role(Server):
    """Serves credentials as ECS and EKS do for containers, and as STS does for roles."""

    def __init__(self, expiration="2099-01-01T00:00:00Z", seconds=0.0):
        self.expiration = expiration
        self.seconds = seconds  # the time until an answer
        self.is_there = True
        self.asked = 0
        self.keys_of_requests = []  # the access keys that signed the requests to STS

    def get(self):
        self.asked += 1
        time.sleep(self.seconds)
        if not self.is_there:
            return 404, json.dumps({"code": "Gone", "message": "no role"})
        key, secret = GOOD
        return 200, json.dumps(
            {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "t", "Expiration": self.expiration}
        )

    def post(self, body, scope):
        assert urllib.parse.parse_qs(body)["Action"] == ["AssumeRole"]
        self.keys_of_requests.append(scope.split("/")[0])
        key, secret = GOOD
        return 200, (
            "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>t</SessionToken><Expiration>{self.expiration}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )


class Recorder(Server):
    """Accepts every request to CloudWatch Logs, and records the scopes of their signatures: KEY/DATE/REGION/logs/..."""

    def __init__(self):
        self.scopes = []

    def post(self, _body, scope):
        self.scopes.append(scope)
        return 200, "{}"
