"""The messages of a wrong set-up are those in docs/troubleshooting.md, each on one line."""

import json
import re
import subprocess
import sys

import pytest

import loopback

LINE_MAX = 700

# Prints the error of the opening, or the first message.
HOST = """
import json, sys, time, host
options = {"log_group": sys.argv[1], "log_stream": "s", "flush_interval_ms": 1, "region": "us-east-1",
           "request_timeout_ms": 1500, "connect_timeout_ms": 500} | json.loads(sys.argv[2])
with host.diagnostics() as texts:
    try:
        sink = host.Sink(**{key: value for key, value in options.items() if value is not None})
    except host.CwlError as error:
        print(str(error).partition(": ")[2])
        sys.exit()
    sink.push("an event")
    until = time.monotonic() + 40
    while not texts and time.monotonic() < until:
        time.sleep(0.01)
    print(texts[0])
    sink.free()
"""


def table():
    """The messages of the document, as regular expressions."""
    rows = re.findall(
        r"^\| `(.+?)` \|", (loopback.ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) >= 15
    return {row: re.compile(".*".join(re.escape(part) for part in row.split("…"))) for row in rows}


def said(group, environment=None, **options):
    """What the library says in this environment, with these options. A variable that is None is taken out."""
    whole = loopback.hermetic_environment()
    whole["PYTHONPATH"] = ":".join(str(loopback.ROOT / folder) for folder in ("tests/outside", "scripts"))
    whole = {name: value for name, value in (whole | (environment or {})).items() if value is not None}
    command = [sys.executable, "-c", HOST, group, json.dumps(options)]
    run = subprocess.run(command, env=whole, stdout=subprocess.PIPE, text=True, timeout=100, check=True)
    return run.stdout.removesuffix("\n")


NO_KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def check(line, words):
    """Checks that a line is one of the table, the one that has these words."""
    assert "\n" not in line
    assert len(line) <= LINE_MAX
    matches = [row for row, pattern in table().items() if pattern.fullmatch(line)]
    assert any(words in row for row in matches), f"{line}\n{matches}"


@pytest.mark.parametrize(
    "words, environment, options",
    [
        ("no AWS region", {"AWS_REGION": None}, {"region": None}),
        ('the profile "…"', None, {"profile": "nobody"}),
        ("there are none in the environment", NO_KEYS, {}),
        ("dns error", None, {"endpoint_url": "http://no-such-host.invalid"}),
        ("Connection refused", None, {"endpoint_url": "http://127.0.0.1:9"}),
        (
            "the proxy",
            {"HTTPS_PROXY": "http://127.0.0.1:9"},
            {"endpoint_url": "https://logs.us-east-1.amazonaws.com"},
        ),
    ],
)
def test_a_wrong_set_up_is_named(cwl_local, group, words, environment, options):
    check(said(group, environment, **({"endpoint_url": cwl_local} | options)), words)


def test_a_broken_configuration_and_a_failing_credential_process_are_named(cwl_local, group, tmp_path):
    config = tmp_path / "config"
    environment = NO_KEYS | {"AWS_CONFIG_FILE": str(config)}
    config.write_text("[default\nregion = us-east-1\n")
    check(said(group, environment | {"AWS_REGION": None}, endpoint_url=cwl_local, region=None), "on line")
    config.write_text("[default]\ncredential_process = sh -c 'echo nobody is logged in >&2; exit 3'\n")
    line = said(group, environment, endpoint_url=cwl_local)
    check(line, "credential_process")
    assert "nobody is logged in" in line


def test_a_certificate_that_is_not_trusted_is_named(group):
    with loopback.CwlLocal(tls=True) as secure:
        check(said(group, endpoint_url=secure.endpoint), "its certificate is not trusted")


@pytest.mark.parametrize(
    "words, fault",
    [
        ("ExpiredTokenException", {"error": {"code": "ExpiredTokenException"}}),
        ("UnrecognizedClientException", {"error": {"code": "UnrecognizedClientException"}}),
        ("InvalidSignatureException", {"error": {"code": "InvalidSignatureException"}}),
        ("cannot serve it at present", {"error": {"code": "ServiceUnavailableException", "status": 503}}),
        ("no answer from CloudWatch Logs", {"hang": True}),
        ("access denied", {"error": {"code": "AccessDeniedException"}}),
        ("access denied", {"operation": "CreateLogGroup", "error": {"code": "AccessDeniedException"}}),
    ],
)
def test_what_the_service_refuses_is_named(group, words, fault):
    with loopback.CwlLocal(faults=[fault]) as local:
        check(said(group, endpoint_url=local.endpoint), words)


def test_a_group_that_is_missing_is_named(cwl_local, group):
    check(said(group, endpoint_url=cwl_local, create_log_group=False), "does not exist")


def test_a_clock_that_is_wrong_is_named(group):
    faults = [{"date_offset_ms": 3 * 3600 * 1000}, {"error": {"code": "InvalidSignatureException"}, "count": 1}]
    with loopback.CwlLocal(faults=faults) as local:
        check(said(group, endpoint_url=local.endpoint), "the clock of this machine")
