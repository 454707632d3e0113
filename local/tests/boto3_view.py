#!/usr/bin/env python3
"""Checks a running cwl-local with boto3.

Usage: boto3_view.py ENDPOINT [ACCESS_KEY SECRET_KEY]

boto3 signs, serializes and parses with AWS's own API model. It shares no code with cwl-local, and so no mistake. Every
check creates log groups of its own and removes them. The last line is `N passed, N failed`; the exit code is 0 when no
check failed.
"""

import functools
import gzip
import itertools
import json
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid

import boto3
import botocore.config
import botocore.exceptions

ENDPOINT = sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)
ACCESS_KEY, SECRET_KEY = sys.argv[2:4] if len(sys.argv) > 3 else ("test", "test")

HOUR = 3_600_000
DAY = 24 * HOUR
DAYS = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]

CHECKS = []


def client(secret=SECRET_KEY, access=ACCESS_KEY, token=None, region="eu-west-1"):
    """Returns a client that does not validate parameters, so that the service has to judge them."""
    return boto3.client(
        "logs",
        endpoint_url=ENDPOINT,
        region_name=region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, parameter_validation=False, connect_timeout=5, read_timeout=30
        ),
    )


LOGS = client()


def check(function):
    """Registers a check. It gets the name of a log group with a stream `s`, which is removed after the check."""

    @functools.wraps(function)
    def run():
        group = f"/boto3/{function.__name__}/{uuid.uuid4().hex[:8]}"
        LOGS.create_log_group(logGroupName=group)
        LOGS.create_log_stream(logGroupName=group, logStreamName="s")
        try:
            function(group)
        finally:
            LOGS.delete_log_group(logGroupName=group)

    CHECKS.append(run)
    return run


def now_ms():
    return int(time.time() * 1000)


def put(group, events, stream="s", logs=LOGS):
    events = [{"timestamp": at, "message": message} for at, message in events]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def expect_refusal(code, call, text=""):
    """Expects that a call is refused. Returns the message of the error."""
    try:
        answer = call()
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert text in error.response["Error"]["Message"], error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} was expected, the answer is {answer}")


def walk(group, direction, **parameters):
    """Follows the tokens of one direction. Returns the events of each page."""
    pages, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        page = LOGS.get_log_events(
            logGroupName=group, logStreamName="s", startFromHead=direction == "Forward", **parameters, **more
        )
        pages.append(page["events"])
        if page[f"next{direction}Token"] == token:
            return pages
        token = page[f"next{direction}Token"]


@check
def events_come_back_as_they_were_sent(group):
    at = now_ms()
    sent = [(at - 2, "plain"), (at - 1, 'Umläute, "quotes", \\, \n, \u0001, \u2028, \U0001f680'), (at, "\x00")]
    answer = put(group, sent)
    assert "rejectedLogEventsInfo" not in answer, answer
    assert answer["ResponseMetadata"]["RequestId"], answer
    events = LOGS.get_log_events(logGroupName=group, logStreamName="s")["events"]
    assert [(event["timestamp"], event["message"]) for event in events] == sent, events
    assert all(abs(event["ingestionTime"] - at) < 60_000 for event in events), events


@check
def pages_of_events_lead_forwards_and_backwards(group):
    at = now_ms() - 100_000
    for begin in range(0, 25_000, 5_000):
        put(group, [(at + n, f"event {n}") for n in range(begin, begin + 5_000)])
    for direction, parameters in itertools.product(("Forward", "Backward"), ({}, {"limit": 7_000})):
        pages = walk(group, direction, **parameters)
        assert max(map(len, pages)) == parameters.get("limit", 10_000), [len(page) for page in pages]
        if direction == "Backward":
            pages.reverse()
        messages = [event["message"] for page in pages for event in page]
        assert messages == [f"event {n}" for n in range(25_000)], len(messages)
    bounded = walk(group, "Forward", startTime=at + 10, endTime=at + 20)
    assert [event["message"] for event in bounded[0]] == [f"event {n}" for n in range(10, 20)], bounded


@check
def a_page_of_large_events_stays_within_a_mebibyte(group):
    at = now_ms()
    for n in range(4):
        put(group, [(at + n, "x" * 500_000)])
    assert [len(page) for page in walk(group, "Forward")] == [2, 2, 0]


@check
def late_events_are_read_in_the_order_of_time(group):
    at = now_ms()
    put(group, [(at, "second")])
    put(group, [(at - 1000, "first")])
    events = LOGS.get_log_events(logGroupName=group, logStreamName="s")["events"]
    assert [event["message"] for event in events] == ["first", "second"], events


@check
def paginators_return_every_group_and_every_stream(group):
    groups = [f"{group}/{n:03}" for n in range(120)]
    for name in groups:
        LOGS.create_log_group(logGroupName=name)
    try:
        for size in ({}, {"PaginationConfig": {"PageSize": 7}}):
            pages = LOGS.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"{group}/", **size)
            assert [found["logGroupName"] for page in pages for found in page["logGroups"]] == groups
        identifiers = [groups[3], f"arn:aws:logs:eu-west-1:000000000000:log-group:{groups[5]}"]
        found = LOGS.describe_log_groups(logGroupIdentifiers=identifiers)["logGroups"]
        assert [group["logGroupName"] for group in found] == [groups[3], groups[5]], found
        found = LOGS.describe_log_groups(logGroupNamePattern=f"{group[7:]}/00")["logGroups"]
        assert len(found) == 10, found
    finally:
        for name in groups:
            LOGS.delete_log_group(logGroupName=name)
    streams = [f"stream {n:03}" for n in range(60)]
    at = now_ms()
    for n, name in enumerate(streams):
        LOGS.create_log_stream(logGroupName=group, logStreamName=name)
        put(group, [(at - n, "m")], stream=name)
    paginate = LOGS.get_paginator("describe_log_streams").paginate
    by_name = paginate(logGroupName=group, logStreamNamePrefix="stream")
    assert [found["logStreamName"] for page in by_name for found in page["logStreams"]] == streams
    by_time = paginate(logGroupName=group, orderBy="LastEventTime", descending=True, PaginationConfig={"PageSize": 9})
    found = [found for page in by_time for found in page["logStreams"]]
    assert [stream["logStreamName"] for stream in found] == [*streams, "s"], found
    assert found[1]["firstEventTimestamp"] == found[1]["lastEventTimestamp"] == at - 1, found[1]


@check
def a_group_shows_its_class_key_and_retention(group):
    for kind in ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"):
        name = f"{group}/{kind}"
        LOGS.create_log_group(logGroupName=name, logGroupClass=kind, kmsKeyId="arn:aws:kms:k", tags={"a": "b"})
        found = LOGS.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
        assert (found["logGroupClass"], found["kmsKeyId"]) == (kind, "arn:aws:kms:k"), found
        assert found["arn"] == f"arn:aws:logs:eu-west-1:000000000000:log-group:{name}:*", found
        assert abs(found["creationTime"] - now_ms()) < 60_000, found
        LOGS.delete_log_group(logGroupName=name)
    for days in DAYS:
        LOGS.put_retention_policy(logGroupName=group, retentionInDays=days)
        assert LOGS.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == days
    for days in (0, 2, 4, 366):
        policy = {"logGroupName": group, "retentionInDays": days}
        expect_refusal("InvalidParameterException", functools.partial(LOGS.put_retention_policy, **policy))


@check
def existing_groups_and_streams_are_not_created_again_and_missing_ones_are_named(group):
    again = "ResourceAlreadyExistsException"
    expect_refusal(again, lambda: LOGS.create_log_group(logGroupName=group))
    expect_refusal(again, lambda: LOGS.create_log_stream(logGroupName=group, logStreamName="s"))
    missing, event = "ResourceNotFoundException", [(now_ms(), "m")]
    expect_refusal(missing, lambda: put(group + "/no", event), "The specified log group does not exist.")
    expect_refusal(missing, lambda: put(group, event, stream="no"), "The specified log stream does not exist.")
    expect_refusal(missing, lambda: LOGS.create_log_stream(logGroupName=group + "/no", logStreamName="s"))
    expect_refusal(missing, lambda: LOGS.put_retention_policy(logGroupName=group + "/no", retentionInDays=1))
    expect_refusal(missing, lambda: LOGS.get_log_events(logGroupName=group, logStreamName="no"))
    expect_refusal(missing, lambda: LOGS.describe_log_streams(logGroupName=group + "/no"))
    expect_refusal(missing, lambda: LOGS.delete_log_group(logGroupName=group + "/no"))
    LOGS.delete_log_stream(logGroupName=group, logStreamName="s")
    expect_refusal(missing, lambda: LOGS.delete_log_stream(logGroupName=group, logStreamName="s"))


@check
def every_limit_of_a_batch_holds_at_its_edge(group):
    at, invalid = now_ms(), "InvalidParameterException"
    put(group, [(at, "x" * 1_048_550)])
    too_large = "Upload too large: 1048577 bytes exceeds limit of 1048576"
    expect_refusal(invalid, lambda: put(group, [(at, "x" * 1_048_551)]), too_large)
    put(group, [(at, "ä" * 524_275)])
    expect_refusal(invalid, lambda: put(group, [(at, "ä" * 524_276)]), "Upload too large")
    put(group, [(at, "m")] * 10_000)
    expect_refusal(invalid, lambda: put(group, [(at, "m")] * 10_001), "10000")
    expect_refusal(invalid, lambda: put(group, []))
    expect_refusal(invalid, lambda: put(group, [(at, "")]))
    expect_refusal(invalid, lambda: put(group, [(-1, "m")]))
    put(group, [(at, "m"), (at, "m"), (at + 1, "m")])
    expect_refusal(invalid, lambda: put(group, [(at, "m"), (at - 1, "m")]), "must be in chronological order")
    put(group, [(at - DAY, "m"), (at, "m")])
    expect_refusal(invalid, lambda: put(group, [(at - DAY - 1, "m"), (at, "m")]), "cannot span more than 24 hours")


@check
def names_are_checked(group):
    invalid = "InvalidParameterException"
    for name in ("", "a b", "a:b", "ä", "g" * 513):
        expect_refusal(invalid, functools.partial(LOGS.create_log_group, logGroupName=name))
    for name in ("", "a:b", "a*", "s" * 513):
        expect_refusal(invalid, functools.partial(LOGS.create_log_stream, logGroupName=group, logStreamName=name))
    expect_refusal(invalid, lambda: LOGS.create_log_group(logGroupName=group + "x", logGroupClass="CHEAP"))
    LOGS.create_log_stream(logGroupName=group, logStreamName="s" * 512)


@check
def events_of_the_wrong_age_are_rejected_by_index_and_the_others_are_stored(group):
    at = now_ms()
    events = [(at - 15 * DAY, "old"), (at - 14 * DAY - HOUR, "old"), (at, "good"), (at, "good"), (at + 3 * HOUR, "new")]
    answer = put(group, events)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4}, answer
    events = LOGS.get_log_events(logGroupName=group, logStreamName="s")["events"]
    assert [event["message"] for event in events] == ["good", "good"], events
    LOGS.put_retention_policy(logGroupName=group, retentionInDays=3)
    answer = put(group, [(at - 4 * DAY, "expired"), (at, "good")])
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}, answer
    answer = put(group, [(at + 3 * HOUR, "new")])
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}, answer


@check
def a_refused_entity_does_not_affect_its_events(group):
    entity = {"keyAttributes": {"Type": "Service"}}
    answer = LOGS.put_log_events(
        logGroupName=group,
        logStreamName="s",
        logEvents=[{"timestamp": now_ms(), "message": "m"}],
        entity=entity,
    )
    assert answer["rejectedEntityInfo"] == {"errorType": "InvalidKeyAttributes"}, answer
    assert len(LOGS.get_log_events(logGroupName=group, logStreamName="s")["events"]) == 1


@check
def a_gzipped_batch_is_accepted(group):
    logs, squeezed = client(), []

    def squeeze(request, **_):
        squeezed.append(len(request.data))
        request.data = gzip.compress(request.data if isinstance(request.data, bytes) else request.data.encode())
        request.headers["Content-Encoding"] = "gzip"

    # Before the request is signed, so that the signature covers the compressed body.
    logs.meta.events.register("before-sign.cloudwatch-logs.PutLogEvents", squeeze)
    put(group, [(now_ms(), "squeezed " * 1000)], logs=logs)
    assert squeezed, "nothing was compressed"
    events = LOGS.get_log_events(logGroupName=group, logStreamName="s")["events"]
    assert [event["message"] for event in events] == ["squeezed " * 1000]


@check
def only_the_known_key_is_accepted(group):
    event = [(now_ms(), "m")]
    expect_refusal("InvalidSignatureException", lambda: put(group, event, logs=client(secret="wrong")))
    unknown = "The security token included in the request is invalid."
    expect_refusal("UnrecognizedClientException", lambda: put(group, event, logs=client(access="wrong")), unknown)
    put(group, event, logs=client(token="a session"))
    put(group, event, logs=client(region="us-gov-west-1"))
    request = urllib.request.Request(
        ENDPOINT,
        data=b"{}",
        headers={"X-Amz-Target": "Logs_20140328.PutLogEvents", "Content-Type": "application/x-amz-json-1.1"},
    )
    try:
        urllib.request.urlopen(request)
        raise AssertionError("a request without a signature was accepted")
    except urllib.error.HTTPError as error:
        answer = json.load(error)
        assert (error.code, answer["__type"]) == (400, "MissingAuthenticationTokenException"), answer


@check
def an_unsupported_operation_is_unknown(_group):
    expect_refusal("UnknownOperationException", LOGS.describe_metric_filters)


def main():
    failed = 0
    for run in CHECKS:
        try:
            run()
            print(f"ok      {run.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {run.__name__}")
            traceback.print_exc()
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
