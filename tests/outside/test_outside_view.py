"""The outside view: events go to moto's server or to cwl-local, and AWS's own client reads them back.

The host is written in Python. The reader and moto are not the project's own code.
"""

import random
import time

import pytest

import host
from loopback import logs_client, read_back

MESSAGE_BYTES_MAX = 1_048_550
COMPRESSIONS = ["gzip", "none"]

TEXTS = [
    "plain",
    "  blanks around  ",
    " ",
    'quotes " and \\ backslashes / {"json": [1, null]}',
    "tab\tand\rcarriage return\r\n",
    "NUL \0 inside, bell \x07, escape \x1b[31m, delete \x7f",
    "Grüße, 世界, здравствуйте, مرحبا",
    "emoji 🚀 and a family 👩‍👩‍👧‍👦, a flag 🇪🇺",
    "last of the plane \uffff, first beyond it \U00010000, last of all \U0010ffff",
    "line separator \u2028 and byte order mark \ufeff",
    "long " * 2000,
]


def now_ms():
    return int(time.time() * 1000)


def assert_same(expected, got, what):
    """Compares two lists and names the first difference, rather than printing both."""
    for index, (one, other) in enumerate(zip(expected, got, strict=False)):
        assert one == other, f"{what}: event {index} is {other!r}, not {one!r}"
    assert len(got) == len(expected), f"{what}: {len(got)} events came back, {len(expected)} were pushed"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_event_comes_back_as_it_was_pushed(endpoint, group, compression):
    start = now_ms() - 60_000
    targets = [(f"{group}/{g}", f"stream {s} ü") for g in range(3) for s in range(2)]
    pushed = {target: [] for target in targets}
    with host.sink(endpoint, compression=compression) as sink:
        for number in range(300):
            for target in targets:
                event = (start + number, f"{number} {target}: {TEXTS[number % len(TEXTS)]}")
                sink.push(event[1], event[0], *target)
                pushed[target].append(event)
        sink.flush()
        stats = sink.stats()
        assert stats.delivered_events == stats.accepted_events == 300 * len(targets)
        message_bytes = sum(len(text.encode()) for events in pushed.values() for _, text in events)
        assert stats.delivered_bytes == message_bytes
        compressed = stats.wire_bytes < message_bytes / 2
        assert compressed == (compression == "gzip")
    client = logs_client(endpoint)
    for target, events in pushed.items():
        assert_same(events, read_back(client, *target), target)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bytes_that_are_not_utf8_come_back_as_replacement_characters(endpoint, group, compression):
    messages = [b"\xff", b"half a letter \xe4\xb8", b"\xed\xa0\x80 surrogate", b"\xc0\x80 overlong", b"a\x80b\xf0\x9f"]
    with host.sink(endpoint, compression=compression, log_group=group, log_stream="s") as sink:
        for message in messages:
            sink.push(message)
    got = [message for _, message in read_back(logs_client(endpoint), group, "s")]
    assert_same([message.decode(errors="replace") for message in messages], got, "messages")


def test_events_pushed_out_of_order_are_read_in_order(endpoint, group):
    start = now_ms() - 3_600_000
    # Few timestamps for many events: events of the same millisecond must stay in the order pushed.
    events = [(start + random.Random(7 * n).randrange(50) * 1000, f"event {n}") for n in range(2000)]
    with host.sink(endpoint, log_group=group, log_stream="s") as sink:
        for timestamp, message in events:
            sink.push(message, timestamp)
    in_order = sorted(events, key=lambda event: event[0])  # stable
    assert_same(in_order, read_back(logs_client(endpoint), group, "s"), "events")


def test_many_batches_come_back_whole_and_in_order(endpoint, group):
    start = now_ms() - 60_000
    events = [(start + n // 100, f"event {n} " + "x" * (n % 97)) for n in range(25_000)]
    with host.sink(endpoint, log_group=group, log_stream="s", target_buffer_max_bytes=64 << 20) as sink:
        for timestamp, message in events:
            sink.push(message, timestamp)
        sink.flush()
        assert sink.stats().requests >= 3  # a request has at most 10,000 events
    assert_same(events, read_back(logs_client(endpoint), group, "s"), "events")


def test_the_largest_message_comes_back_whole(endpoint, group):
    largest = "".join(random.Random(1).choices('abcdefghijklmnopqrstuvwxyz \\"', k=MESSAGE_BYTES_MAX))
    with host.sink(endpoint, log_group=group, log_stream="s", oversize="reject") as sink:
        sink.push(largest)
        with pytest.raises(host.CwlError, match="CWL_ERR_TOO_LARGE"):
            sink.push(largest + "x")
    [(_, message)] = read_back(logs_client(endpoint), group, "s")
    assert message == largest


def describe_groups(client, group):
    """Returns the descriptions of all groups whose names begin with `group`."""
    groups = client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    return {entry["logGroupName"]: entry for entry in groups}


def test_missing_groups_and_streams_are_created_with_their_retention(endpoint, group):
    client = logs_client(endpoint)
    assert describe_groups(client, group) == {}
    with host.sink(endpoint, retention_days=7, log_stream="s") as sink:
        sink.push("one", group=f"{group}/one")
        sink.push("two", group=f"{group}/two")
        sink.push("two", group=f"{group}/two", stream="t")
    groups = describe_groups(client, group)
    assert sorted(groups) == [f"{group}/one", f"{group}/two"]
    assert [entry.get("retentionInDays") for entry in groups.values()] == [7, 7]
    streams = client.describe_log_streams(logGroupName=f"{group}/two")["logStreams"]
    assert sorted(stream["logStreamName"] for stream in streams) == ["s", "t"]


def test_an_existing_group_keeps_its_retention(endpoint, group):
    client = logs_client(endpoint)
    client.create_log_group(logGroupName=group)
    client.put_retention_policy(logGroupName=group, retentionInDays=30)
    with host.sink(endpoint, retention_days=7, log_group=group, log_stream="s") as sink:
        sink.push("one")
    assert describe_groups(client, group)[group]["retentionInDays"] == 30
    assert len(read_back(client, group, "s")) == 1


def test_without_retention_days_a_new_group_keeps_its_events_for_ever(endpoint, group):
    with host.sink(endpoint, log_group=group, log_stream="s") as sink:
        sink.push("one")
    assert "retentionInDays" not in describe_groups(logs_client(endpoint), group)[group]


def test_a_wrong_secret_is_refused_and_reported(cwl_local, group):
    """Shows that cwl-local verifies signatures. The tests above pass only because the library signs correctly."""
    wrong = host.Sink(
        endpoint_url=cwl_local,
        region="us-east-1",
        access_key_id="test",
        secret_access_key="hunter2",
        log_group=group,
        log_stream="s",
    )
    try:
        with host.diagnostics() as texts:
            wrong.push("one")
            with pytest.raises(host.CwlError) as error:
                wrong.shutdown(1500)
        assert error.value.status == host.ABANDONED
        assert wrong.stats().abandoned_events == 1
        assert any("InvalidSignatureException" in text for text in texts), texts
        assert not any("hunter2" in text for text in texts), texts
    finally:
        wrong.free()
