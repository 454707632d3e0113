"""Credentials that are missing, wrong or gone: no event is lost, and delivery continues when they are valid again."""

import datetime

import pytest

import loopback
from credential_sources import Recorder, Role, end, environment_without_credentials, start, write_keys

# Pushes one event, prints the diagnostics, and ends once the event is delivered.
WAIT = """
sink = host.Sink(**options)
with host.diagnostics() as texts:
    sink.push("an event that waits for credentials")
    flushed(sink, 1500)
    print("waiting", sink.stats().pending_events, " | ".join(texts), flush=True)
    sink.flush(90_000)
    sink.shutdown(5_000)
    print("delivered", sink.stats().delivered_events, flush=True)
"""

# Delivers one event.
DELIVER = """
sink = host.Sink(**options)
sink.push("an event")
sink.flush(30_000)
sink.shutdown(5_000)
print("delivered", sink.stats().delivered_events, flush=True)
"""

# Delivers one event for each line that it reads.
DELIVER_EACH = """
sink = host.Sink(**options)
with host.diagnostics() as texts:
    for line in sys.stdin:
        sink.push(line.strip())
        sink.flush(30_000)
        print("delivered", sink.stats().delivered_events, " | ".join(texts), flush=True)
sink.shutdown(5_000)
"""

# Prints the error of the opening, or "open" and the first message.
OPEN = """
with host.diagnostics() as texts:
    try:
        sink = host.Sink(**options)
        until = time.monotonic() + 20
        while not texts and time.monotonic() < until:
            time.sleep(0.01)
        print("open", " | ".join(texts))
        sink.free()
    except host.CwlError as error:
        print(error)
"""


@pytest.mark.parametrize(
    "before, words",
    [
        ("missing", "no request could be made: no AWS credentials: there are none in the environment"),
        ("wrong", "CloudWatch Logs does not accept the credentials"),
    ],
)
def test_a_credentials_file_that_is_replaced_is_seen(cwl_local, group, tmp_path, before, words):
    file = tmp_path / "credentials"
    if before == "wrong":
        write_keys(file, ("test", "not-the-secret"))
    process = start(WAIT, cwl_local, group, environment_without_credentials(tmp_path))
    waiting = process.stdout.readline()
    assert waiting.startswith("waiting 1 "), waiting
    assert f"delivery is paused for all targets: {words}" in waiting, "the operator must learn the reason"
    write_keys(file, ("test", "test"))
    assert end(process) == "delivered 1\n"


def test_a_role_that_comes_back_is_seen(cwl_local, group, tmp_path):
    with Role() as role:
        role.is_there = False
        container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{role.url}/role"}
        process = start(WAIT, cwl_local, group, environment_without_credentials(tmp_path) | container)
        waiting = process.stdout.readline()
        assert waiting.startswith("waiting 1 "), waiting
        role.is_there = True
        assert end(process) == "delivered 1\n"


def test_valid_credentials_stay_in_use_when_their_source_is_gone(group, tmp_path):
    in_an_hour = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with loopback.CwlLocal() as local, Role(in_an_hour.strftime("%Y-%m-%dT%H:%M:%SZ")) as role:
        container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{role.url}/role"}
        process = start(DELIVER_EACH, local.endpoint, group, environment_without_credentials(tmp_path) | container)

        def delivered(event):
            print(event, file=process.stdin, flush=True)
            return process.stdout.readline()

        assert delivered("first").startswith("delivered 1"), "the role is there"
        role.is_there = False
        # The network's fault: credentials have nothing to do with it.
        local.control("PUT", "faults", [{"reset": "before", "count": 2}])
        assert delivered("second").startswith("delivered 2")
        assert role.asked == 1, "a connection that was reset is no reason to look for credentials"
        # The service once refuses them, although they are valid. They are all there is.
        local.control("PUT", "faults", [{"error": {"code": "UnrecognizedClientException"}, "count": 1}])
        answer = delivered("third")
        assert answer.startswith("delivered 3"), answer
        assert "credentials could not be renewed" in answer, "the operator must learn that the source is gone"
        assert role.asked > 1, "after a refusal, credentials are looked up again"
        assert end(process) == ""


def test_a_source_that_is_slower_than_a_request_may_be_is_waited_for(cwl_local, group, tmp_path):
    with Role(seconds=1.5) as role:
        container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{role.url}/role"}
        environment = environment_without_credentials(tmp_path) | container
        process = start(DELIVER, cwl_local, group, environment, request_timeout_ms=1000)
        assert end(process) == "delivered 1\n"


def test_a_source_that_is_too_slow_is_named_as_the_fault(cwl_local, group, tmp_path):
    with Role(seconds=2) as role:
        container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{role.url}/role"}
        environment = environment_without_credentials(tmp_path) | container
        process = start(WAIT, cwl_local, group, environment, credentials_timeout_ms=300)
        waiting = process.stdout.readline()
        assert (
            "no AWS credentials: the container (AWS_CONTAINER_CREDENTIALS_...) did not answer within 0.3 s" in waiting
        )
        role.seconds = 0
        assert end(process) == "delivered 1\n"


def test_the_profile_of_the_options_counts_more_than_the_environment(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text("[profile logs]\nregion = eu-west-1\n")
    write_keys(tmp_path / "credentials", ("test", "test"), profile="logs")
    others = {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other", "AWS_REGION": "us-east-1"}
    environment = environment_without_credentials(tmp_path) | others
    process = start(DELIVER, cwl_local, group, environment, profile="logs", region=None)
    assert end(process) == "delivered 1\n", "cwl-local knows the keys of the profile only"


def test_the_environment_counts_more_than_its_own_profile(cwl_local, group, tmp_path):
    write_keys(tmp_path / "credentials", ("other", "other"), profile="logs")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_PROFILE": "logs"}
    process = start(DELIVER, cwl_local, group, environment_without_credentials(tmp_path) | keys)
    assert end(process) == "delivered 1\n"


def test_the_region_of_the_profile_of_the_options_signs_the_requests(group, tmp_path):
    (tmp_path / "config").write_text("[profile logs]\nregion = eu-west-1\n")
    write_keys(tmp_path / "credentials", ("test", "test"), profile="logs")
    environment = environment_without_credentials(tmp_path) | {"AWS_REGION": "us-east-1"}
    with Recorder() as recorder:
        process = start(DELIVER, recorder.url, group, environment, profile="logs", region=None)
        assert end(process) == "delivered 1\n"
        assert {scope.split("/")[2] for scope in recorder.scopes} == {"eu-west-1"}


BROKEN = "[default]\nregion = eu-west-1\nthis line is no setting\n"


def test_a_broken_configuration_file_is_named_when_the_sink_is_opened(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text(BROKEN)
    for region in (None, "us-east-1"):
        error = end(start(OPEN, cwl_local, group, environment_without_credentials(tmp_path), region=region))
        assert error.startswith("CWL_ERR_OPEN: the AWS configuration cannot be used"), error
        assert f"{tmp_path / 'config'} on line 3: Expected an '=' sign" in error, error


def test_a_broken_configuration_file_that_is_not_needed_is_reported_and_used_no_more(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text(BROKEN)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    environment = environment_without_credentials(tmp_path) | keys
    report = end(start(OPEN, cwl_local, group, environment))
    assert report.startswith("open the AWS configuration cannot be used"), report
    assert "on line 3" in report, report
    assert end(start(DELIVER, cwl_local, group, environment)) == "delivered 1\n"


def test_a_profile_that_does_not_exist_is_named_with_the_files_it_is_missing_in(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text("[profile other]\nregion = eu-west-1\n")
    environment = environment_without_credentials(tmp_path)
    places = f"is neither in {tmp_path / 'config'} as [profile logs] nor in {tmp_path / 'credentials'} as [logs]"
    error = end(start(OPEN, cwl_local, group, environment, profile="logs"))
    assert error == f'CWL_ERR_OPEN: the profile "logs" (option profile) {places}\n'
    environment |= {"AWS_PROFILE": "logs"}
    error = end(start(OPEN, cwl_local, group, environment, region=None))
    assert error.startswith("CWL_ERR_OPEN: no AWS region"), error
    assert f'the profile "logs" (AWS_PROFILE) {places}' in error, error
    process = start(WAIT, cwl_local, group, environment)
    waiting = process.stdout.readline()
    assert f'no AWS credentials: the profile "logs" (AWS_PROFILE) {places}' in waiting, waiting
    write_keys(tmp_path / "credentials", ("test", "test"), profile="logs")
    assert end(process) == "delivered 1\n"


def test_a_source_profile_that_does_not_exist_is_named(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/logs\nsource_profile = base\n"
    )
    error = end(start(OPEN, cwl_local, group, environment_without_credentials(tmp_path)))
    assert error == 'CWL_ERR_OPEN: the source_profile "base" of the profile "default" does not exist\n'


def test_a_profile_of_a_console_login_is_refused_with_the_way_that_works(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text("[default]\nlogin_session = arn:aws:iam::123456789012:user/Admin\n")
    error = end(start(OPEN, cwl_local, group, environment_without_credentials(tmp_path)))
    assert error.startswith('CWL_ERR_OPEN: the profile "default" has login_session'), error
    assert "export-credentials" in error, error


def test_a_profile_of_sso_without_a_login_is_named(cwl_local, group, tmp_path):
    (tmp_path / "config").write_text(
        "[default]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = logs\n"
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start\n"
    )
    environment = environment_without_credentials(tmp_path) | {"HOME": str(tmp_path)}
    process = start(WAIT, cwl_local, group, environment)
    waiting = process.stdout.readline()
    assert 'no AWS credentials: the profile "default": ' in waiting, waiting
    assert "log in with: aws sso login --profile default" in waiting, waiting
    write_keys(tmp_path / "credentials", ("test", "test"))
    (tmp_path / "config").unlink()
    assert end(process) == "delivered 1\n"
