"""Starts cwl-local on loopback, and reads events back with AWS's own client.

The demo, the tests and the benches share this module. Only the functions that read need boto3; the rest needs the
standard library alone.
"""

import json
import os
import pathlib
import ssl
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = ROOT / "target" / "release"
REGION = "us-east-1"
START_SECONDS = 20


def hermetic_environment():
    """Returns this environment with test credentials and without any variable that leads away from loopback."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class CwlLocal:
    """Runs a cwl-local, as a context: `with CwlLocal() as local: local.endpoint`.

    With `tls` it serves HTTPS, and a client must trust the certificate in the file `certificate`.
    """

    def __init__(self, faults=(), arguments=(), tls=False):
        self.faults = list(faults)
        self.arguments = list(arguments)
        self.tls = tls
        self.endpoint = None
        self.certificate = None

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="cwl-local-")
        folder = pathlib.Path(self._folder.name)
        port_file, rules = folder / "port", folder / "faults.json"
        rules.write_text(json.dumps(self.faults))
        command = [RELEASE / "cwl-local", "--listen", "127.0.0.1:0", "--port-file", port_file, "--faults", rules]
        command += self.arguments
        if self.tls:
            self.certificate = str(folder / "certificate.pem")
            command += ["--tls", self.certificate]
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self._log)
        try:
            self.endpoint = f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port(port_file)}"
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def pid(self):
        return self._process.pid

    def control(self, method, path, rules=None):
        """Requests a control path, such as GET /_local/stats, and returns the decoded answer."""
        data = None if rules is None else json.dumps(rules).encode()
        request = urllib.request.Request(f"{self.endpoint}/_local/{path}", method=method, data=data)
        handlers = [urllib.request.ProxyHandler({})]
        if self.tls:
            context = ssl.create_default_context(cafile=self.certificate)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
            return json.load(answer)

    def _port(self, port_file):
        # cwl-local renames the file into place, so a file that exists is complete.
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise RuntimeError(f"cwl-local did not start: {self._log.read().decode(errors='replace').strip()}")
            time.sleep(0.01)
        return int(port_file.read_text())

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()


def logs_client(endpoint, certificate=None):
    """Returns a boto3 client for the endpoint. It reads nothing of this machine's own AWS configuration.

    Over HTTPS it trusts only the certificate in the file `certificate`.
    """
    import boto3
    import botocore.config

    return boto3.client(
        "logs",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        verify=certificate,
        config=botocore.config.Config(
            proxies={}, retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=60
        ),
    )


def read_back(client, group, stream):
    """Returns all events of a stream as (timestamp, message), from the oldest to the newest."""
    events, token = [], None
    while True:
        page = {"nextToken": token} if token else {}
        answer = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **page)
        events += [(event["timestamp"], event["message"]) for event in answer["events"]]
        if answer["nextForwardToken"] == token:  # at the end, the service returns the token of the request
            return events
        token = answer["nextForwardToken"]
