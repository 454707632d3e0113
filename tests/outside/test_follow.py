"""cwl-ship --follow and --state-dir: files that grow, are rotated, truncated or replaced, and runs that continue."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from agent import BAD_INPUT, CWL_SHIP, DELIVERED, NOT_DELIVERED, Following, messages, ship, summary, wait_until
from loopback import CwlLocal, logs_client

LINE_TOO_LONG = (
    b"x" * 9_000_000
)  # longer than the part of a line that cwl-ship keeps, so it cannot be sent even truncated


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return folder / "app.log"


@pytest.fixture
def following(cwl_local, group, log, tmp_path):
    """Starts a cwl-ship --follow on the log, or on given files. The end of the test kills all that were started."""
    started = []

    def start(*arguments, files=None, **more):
        one = Following(cwl_local, group, *arguments, *(files or [log]), folder=tmp_path, **more)
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def state(tmp_path):
    return ["--state-dir", tmp_path / "state"]


def append(file, data):
    with file.open("ab") as writer:
        writer.write(data)


def sibling(file, suffix):
    return file.with_name(file.name + suffix)


# ---- a file that grows ----


def test_appended_lines_are_sent_at_once(following, log):
    log.write_bytes(b"one\n")
    agent = following()
    agent.wait_for("one")
    append(log, b"two\nthree\n")
    agent.wait_for("one", "two", "three")
    done = agent.end()
    assert done.returncode == DELIVERED, done.stderr
    numbers = summary(done)
    assert (numbers["lines"], numbers["delivered"], numbers["files"], numbers["rotations"]) == (3, 3, 1, 0)


def test_an_incomplete_line_is_not_sent_until_it_is_complete(following, log):
    log.write_bytes(b"one\nhalf")
    agent = following()
    agent.wait_for("one")
    append(log, b" and ha")
    append(log, b"lf\nth")
    agent.wait_for("one", "half and half")
    assert agent.end().returncode == DELIVERED
    assert agent.arrived_messages() == ["one", "half and half"]


def test_an_incomplete_line_is_left_for_the_next_run(following, log, state):
    log.write_bytes(b"one\nhalf")
    agent = following(*state)
    agent.wait_for("one")
    assert agent.end().returncode == DELIVERED
    append(log, b" and half\nthree\n")
    agent = following(*state)
    agent.wait_for("one", "half and half", "three")


def test_a_file_that_does_not_exist_yet_is_waited_for_and_reported_once(following, log):
    agent = following()
    agent.wait_for_message(b"waiting for the file: No such file")
    log.write_bytes(b"one\n")
    agent.wait_for("one")
    done = agent.end()
    assert done.returncode == DELIVERED, done.stderr
    assert done.stderr.count(b"waiting") == 1, done.stderr


def test_several_files_are_followed_at_once(following, log):
    files = [log.with_name(name) for name in ("a.log", "b.log", "c.log")]
    agent = following(files=files)
    expected = []
    for n in range(4):
        for file in files:
            append(file, b"%s %d\n" % (file.name.encode(), n))
            expected.append(f"{file.name} {n}")
            agent.wait_for(*expected)
    done = agent.end()
    assert done.returncode == DELIVERED
    assert summary(done)["files"] == 3


def test_a_followed_path_is_not_taken_for_a_rotated_file_of_another(following, log, state):
    files = [log, sibling(log, ".1")]
    agent = following(*state, files=files)
    agent.wait_for_message(b"app.log.1: waiting for the file")
    files[1].write_bytes(b"1\n")
    agent.wait_for("1")
    files[0].write_bytes(b"2\n")
    agent.wait_for("1", "2")
    agent.end()
    agent = following(*state, files=files)
    append(files[0], b"3\n")
    agent.wait_for("1", "2", "3")


def test_a_large_file_does_not_hold_up_a_small_one(log, group, tmp_path):
    large, small = log.with_name("large.log"), log.with_name("small.log")
    large.write_bytes(b"large %s\n" % (b"x" * 200) * 100_000)
    small.write_bytes(b"small\n")
    little_room = ["--set", "target_buffer_max_bytes=1048576"]
    with (
        CwlLocal([{"delay_ms": 50, "operation": "PutLogEvents"}]) as slow,
        Following(slow.endpoint, group, *little_room, large, small, folder=tmp_path) as agent,
    ):
        client = logs_client(slow.endpoint)

        def first_messages():
            page = client.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=10_000)
            return [event["message"] for event in page["events"]]

        wait_until(lambda: agent.arrived_messages()[:1], "cwl-ship has begun to send")
        wait_until(lambda: "small" in first_messages(), "the small file is sent")
        assert "small" in first_messages()[:5_000]


def test_it_is_idle_while_nothing_happens(following, log):
    log.write_bytes(b"one\n")
    agent = following()
    agent.wait_for("one")

    def cpu_seconds():
        stat = pathlib.Path(f"/proc/{agent.process.pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    before = cpu_seconds()
    time.sleep(2)  # real time, because the promise is about CPU time per second
    assert cpu_seconds() - before <= 0.1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(following, log, number):
    log.write_bytes(b"one\n")
    agent = following(interval_ms=3_600_000)  # only the end sends
    time.sleep(0.3)  # probably during a wait; any moment is fine
    started_at = time.monotonic()
    done = agent.end(number)
    assert time.monotonic() - started_at < 5
    assert done.returncode == DELIVERED
    assert f"by {number.name}".encode() in done.stderr
    assert agent.arrived_messages() in (["one"], [])


# ---- rotation by renaming ----


def test_a_renamed_file_is_read_to_its_end_and_then_the_new_one(following, log):
    with log.open("wb", buffering=0) as writer:
        writer.write(b"1\n")
        agent = following()
        agent.wait_for("1")
        log.rename(sibling(log, ".1"))
        log.write_bytes(b"4\n")
        writer.write(b"2\n")  # by a writer that does not know yet that the file was renamed
        agent.wait_for("1", "2")
        writer.write(b"3\n")
        agent.wait_for("1", "2", "3", "4")
        done = agent.end()
    assert done.returncode == DELIVERED
    numbers = summary(done)
    assert (numbers["files"], numbers["rotations"], numbers["truncations"]) == (2, 1, 0)


def test_the_incomplete_last_line_of_a_renamed_file_is_sent_once_the_file_is_finished(following, log):
    log.write_bytes(b"1\n2, without an end")
    agent = following()
    agent.wait_for("1")
    log.rename(sibling(log, ".1"))
    log.write_bytes(b"3\n")
    agent.wait_for("1", "2, without an end", "3")


def test_two_rotations_between_two_checks_are_both_noticed(following, log):
    log.write_bytes(b"1\n")
    agent = following()
    agent.wait_for("1")
    with agent.suspend():
        append(log, b"2\n")
        log.rename(sibling(log, ".2"))
        log.write_bytes(b"3\n")
        log.rename(sibling(log, ".1"))
        log.write_bytes(b"4\n")
    agent.wait_for("1", "2", "3", "4")
    assert summary(agent.end())["rotations"] == 2


def test_a_file_that_is_deleted_and_created_again_is_read_from_its_beginning(following, log):
    log.write_bytes(b"1\n2\n")
    agent = following()
    agent.wait_for("1", "2")
    with agent.suspend():
        append(log, b"3\n")
        log.unlink()
    log.write_bytes(b"4\n")
    agent.wait_for("1", "2", "3", "4")
    assert agent.end().returncode == DELIVERED


def test_a_symbolic_link_to_another_file_is_a_rotation(following, log):
    first, second = log.with_name("day-one"), log.with_name("day-two")
    first.write_bytes(b"1\n")
    second.write_bytes(b"2\n")
    log.symlink_to(first)
    agent = following()
    agent.wait_for("1")
    log.with_name("new").symlink_to(second)
    log.with_name("new").rename(log)
    agent.wait_for("1", "2")


# ---- truncation ----


def test_a_truncated_file_is_read_from_its_beginning(following, log):
    log.write_bytes(b"1\n2\n3\n")
    agent = following()
    agent.wait_for("1", "2", "3")
    os.truncate(log, 0)
    agent.wait_for_message(b"truncated")
    append(log, b"4\n")
    agent.wait_for("1", "2", "3", "4")
    os.truncate(log, 0)
    append(log, b"5\n")
    agent.wait_for("1", "2", "3", "4", "5")
    assert summary(agent.end())["truncations"] == 2


def test_a_file_that_is_truncated_and_longer_again_at_the_next_check_is_read_from_its_beginning(following, log):
    log.write_bytes(b"1\n")
    agent = following()
    agent.wait_for("1")
    with agent.suspend():
        log.write_bytes(b"2\n3\n4\n")  # truncates it
    agent.wait_for("1", "2", "3", "4")


def test_lines_that_only_the_copy_contains_are_sent(following, log, state):
    """With copytruncate, only the copy contains the lines that were written just before the copying."""
    log.write_bytes(b"1\n2\n")
    agent = following(*state)
    agent.wait_for("1", "2")
    with agent.suspend():
        append(log, b"3\n")
        sibling(log, ".1").write_bytes(log.read_bytes())
        log.write_bytes(b"4\n")
    agent.wait_for("1", "2", "3", "4")
    assert agent.end().returncode == DELIVERED
    agent = following(*state)
    append(log, b"5\n")
    agent.wait_for("1", "2", "3", "4", "5")


def test_a_copy_without_the_last_lines_read_is_not_sent_again(following, log, state):
    """With copytruncate, lines that are written during the copying are read, but the copy lacks them."""
    first = "x" * 2_000
    log.write_text(f"{first}\n2\n3\n")
    agent = following(*state)
    agent.wait_for(first, "2", "3")
    with agent.suspend():
        sibling(log, ".1").write_text(f"{first}\n2\n")
        log.write_bytes(b"4\n")
    agent.wait_for(first, "2", "3", "4")
    assert agent.end().returncode == DELIVERED
    append(log, b"5\n")
    agent = following(*state)
    agent.wait_for(first, "2", "3", "4", "5")


def test_after_a_truncation_a_restart_continues_in_the_new_content(following, log, state):
    log.write_bytes(b"1\n2\n3\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3")
    log.write_bytes(b"4\n")
    agent.wait_for("1", "2", "3", "4")
    assert agent.end().returncode == DELIVERED
    append(log, b"5\n6\n7\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3", "4", "5", "6", "7")


# ---- restarts ----


def test_it_continues_after_an_orderly_end(following, log, state):
    expected = []
    for n in range(3):
        append(log, b"%d\n" % n)
        expected.append(str(n))
        agent = following(*state)
        agent.wait_for(*expected)
        assert agent.end().returncode == DELIVERED


def saved_offsets(state):
    """Returns the offsets that the library has saved, by the name of their state file."""
    found = {}
    for file in state[1].glob("*.offset"):
        found[file.name] = int(re.search(r"^offset (\d+)$", file.read_text(), re.MULTILINE)[1])
    return found


def count_read_files(state):
    """Counts the files that the agent has read from, which are those with a mark of their content."""
    texts = [file.read_text() for file in state[1].glob("*.files")]
    return sum(len(re.findall(r" mark [1-9]\d* ", text)) for text in texts)


def test_after_a_kill_it_continues_at_the_saved_offset(following, log, state):
    log.write_bytes(b"1\n2\n")
    agent = following(*state)
    agent.wait_for("1", "2")
    wait_until(lambda: 4 in saved_offsets(state).values(), "the offset is saved")
    agent.kill()
    append(log, b"3\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3")


def test_lines_not_delivered_before_a_kill_are_sent_by_the_next_run(following, log, state):
    log.write_bytes(b"1\n2\n")
    agent = following(*state, interval_ms=3_600_000)
    wait_until(lambda: count_read_files(state) == 1, "it is read")
    agent.kill()
    agent = following(*state)
    agent.wait_for("1", "2")


def test_a_rotated_file_is_not_finished_before_it_is_delivered(following, log, state):
    log.write_bytes(b"1\n")
    agent = following(*state, interval_ms=3_600_000)  # nothing is sent
    wait_until(lambda: count_read_files(state) == 1, "the first file is read")
    log.rename(sibling(log, ".1"))
    log.write_bytes(b"2\n")
    wait_until(lambda: count_read_files(state) == 2, "the second file is read")
    agent.kill()
    agent = following(*state)
    agent.wait_for("1", "2")


def test_files_rotated_meanwhile_are_read_first_and_oldest_first(following, log, state):
    """Reads known and unknown files, with numbers and dates as suffixes. Skips older files and compressed ones."""
    sibling(log, ".1").write_bytes(b"before it all began\n")
    log.write_bytes(b"1\n")
    agent = following(*state)
    agent.wait_for("1")
    wait_until(lambda: 2 in saved_offsets(state).values(), "the offset is saved")
    agent.kill()
    append(log, b"2\n3, without an end")
    sibling(log, ".1").rename(sibling(log, ".3"))
    log.rename(sibling(log, "-20260101"))
    log.write_bytes(b"4\n")
    log.rename(sibling(log, ".2"))
    log.write_bytes(b"5\n")
    log.rename(sibling(log, ".1"))
    sibling(log, ".4.gz").write_bytes(b"compressed\n")
    sibling(log, ".bak").write_bytes(b"a copy of somebody's\n")
    log.write_bytes(b"6\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3, without an end", "4", "5", "6")
    assert agent.end().returncode == DELIVERED
    agent = following(*state)
    append(log, b"7\n")
    agent.wait_for("1", "2", "3, without an end", "4", "5", "6", "7")


@pytest.mark.parametrize("content", [b"4\n", b"4\n5\n6\n7\n8\n"], ids=["shorter", "longer"])
def test_a_file_that_was_truncated_meanwhile_is_read_from_its_beginning(following, log, state, content):
    log.write_bytes(b"1\n2\n3\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3")
    assert agent.end().returncode == DELIVERED
    log.write_bytes(content)
    agent = following(*state)
    agent.wait_for("1", "2", "3", *content.decode().split())


def test_a_copy_that_was_made_meanwhile_is_read_to_its_end(following, log, state):
    log.write_bytes(b"1\n2\n")
    agent = following(*state)
    agent.wait_for("1", "2")
    assert agent.end().returncode == DELIVERED
    append(log, b"3\n")
    sibling(log, ".1").write_bytes(log.read_bytes())
    log.write_bytes(b"4\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3", "4")


def test_a_file_that_was_deleted_and_created_again_meanwhile_is_another_file(following, log, state):
    """The new file probably has the inode of the old one."""
    log.write_bytes(b"same beginning\n1\n")
    agent = following(*state)
    agent.wait_for("same beginning", "1")
    assert agent.end().returncode == DELIVERED
    log.unlink()
    log.write_bytes(b"same beginning\n1\n2\n")
    agent = following(*state)
    agent.wait_for("same beginning", "1", "same beginning", "1", "2")


def test_a_known_file_is_found_under_any_name_and_no_other_file_is_mistaken_for_it(following, log, state):
    log.write_bytes(b"1\n")
    agent = following(*state)
    agent.wait_for("1")
    assert agent.end().returncode == DELIVERED
    append(log, b"2\n")
    log.rename(log.with_name("odd name"))
    log.write_bytes(b"3\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3")
    assert agent.end().returncode == DELIVERED
    log.with_name("odd name").unlink()
    log.with_name("somebody else's, on the same inode").write_bytes(b"not ours\n")
    log.rename(sibling(log, ".1"))
    log.write_bytes(b"4\n")
    agent = following(*state)
    agent.wait_for("1", "2", "3", "4")


def test_a_name_may_hold_any_byte(following, log, state):
    odd = log.with_name(os.fsdecode(b"a b%20\n\xff.log"))
    odd.write_bytes(b"1\n")
    agent = following(*state, files=[odd])
    agent.wait_for("1")
    assert agent.end().returncode == DELIVERED
    append(odd, b"2\n")
    agent = following(*state, files=[odd])
    agent.wait_for("1", "2")


# ---- a state without following ----


def test_with_a_state_every_run_sends_only_new_lines(cwl_local, group, log, state):
    log.write_bytes(b"1\n2\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    again = ship(cwl_local, group, *state, log)
    assert again.returncode == DELIVERED
    assert summary(again)["lines"] == 0
    append(log, b"3\n")
    log.rename(sibling(log, ".1"))
    log.write_bytes(b"4, without an end")
    third = ship(cwl_local, group, *state, log)
    assert third.returncode == DELIVERED, third.stderr
    assert summary(third)["lines"] == 2, third.stderr
    assert messages(cwl_local, group) == ["1", "2", "3", "4, without an end"]
    assert summary(ship(cwl_local, group, *state, log))["lines"] == 0


def test_lines_that_cannot_be_sent_delay_no_others_and_are_reported_once(cwl_local, group, log, state):
    log.write_bytes(b"\n1\n\n" + LINE_TOO_LONG + b"\n2\n\n" + LINE_TOO_LONG + b"\n\n")
    first = ship(cwl_local, group, *state, log)
    assert first.returncode == NOT_DELIVERED
    numbers = summary(first)
    assert (numbers["delivered"], numbers["refused"], numbers["skipped_empty"]) == (2, 2, 4)
    again = ship(cwl_local, group, *state, log)
    assert again.returncode == DELIVERED, again.stderr
    assert summary(again)["lines"] == 0, again.stderr
    append(log, b"3\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    assert summary(ship(cwl_local, group, *state, log))["lines"] == 0
    assert messages(cwl_local, group) == ["1", "2", "3"]


def test_without_following_a_rotated_file_that_may_still_grow_keeps_its_last_line(cwl_local, group, log, state):
    log.write_bytes(b"1\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    append(log, b"2\nhalf")
    log.rename(sibling(log, ".1"))
    log.write_bytes(b"3\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    assert messages(cwl_local, group) == ["1", "2", "3"]
    append(sibling(log, ".1"), b" and half\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    assert messages(cwl_local, group) == ["1", "2", "3", "half and half"]


def test_lines_not_delivered_are_sent_by_the_next_run(cwl_local, group, log, state):
    log.write_bytes(b"1\n2\n3\n\n")
    denied = {"operation": "PutLogEvents", "error": {"code": "AccessDeniedException", "status": 400}}
    with CwlLocal([denied]) as denying:
        assert ship(denying.endpoint, group, *state, "--timeout", "0.5", log).returncode == NOT_DELIVERED
    done = ship(cwl_local, group, *state, log)
    assert done.returncode == DELIVERED
    assert summary(done)["lines"] == 4
    assert messages(cwl_local, group) == ["1", "2", "3"]


def test_files_are_read_in_the_order_given(cwl_local, group, log, state):
    first, second = log.with_name("b"), log.with_name("a")
    first.write_bytes(b"b1\nb2\n")
    second.write_bytes(b"a1\n")
    assert ship(cwl_local, group, *state, first, second).returncode == DELIVERED
    assert messages(cwl_local, group) == ["b1", "b2", "a1"]


# ---- refused usage ----


def assert_refused(done, *must_name):
    lines = done.stderr.decode(errors="replace").splitlines()
    assert done.returncode == BAD_INPUT, done
    assert len(lines) == 1, done
    assert lines[0].startswith("cwl-ship: "), lines
    assert all(part in lines[0] for part in must_name), lines


@pytest.mark.parametrize("files", [[], ["-"]])
@pytest.mark.parametrize("flags", [["--follow"], ["--state-dir", "state"], ["--follow", "--state-dir", "state"]])
def test_standard_input_is_refused(cwl_local, group, tmp_path, flags, files):
    assert_refused(ship(cwl_local, group, *flags, *files, stdin=b"1\n", cwd=tmp_path), flags[0], "standard input")


@pytest.mark.parametrize("flags", [["--follow"], ["--state-dir", "state"]])
def test_a_named_pipe_is_refused(cwl_local, group, tmp_path, flags):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(ship(cwl_local, group, *flags, "pipe", cwd=tmp_path), flags[0], "pipe is not a regular file")


def test_a_missing_file_is_refused_without_follow_and_a_missing_folder_always(cwl_local, group, tmp_path, state):
    assert_refused(ship(cwl_local, group, *state, tmp_path / "no"), "no: No such file")
    assert_refused(ship(cwl_local, group, "--follow", tmp_path / "no" / "file"), "file: No such file")


def test_a_file_given_twice_is_refused(cwl_local, group, log):
    log.write_bytes(b"1\n")
    again = log.parent / ".." / "log" / "app.log"
    assert_refused(ship(cwl_local, group, "--follow", log, again), "the same file")


def test_a_state_folder_in_use_is_refused(following, cwl_local, group, log, state):
    log.write_bytes(b"1\n")
    following(*state).wait_for("1")
    assert_refused(ship(cwl_local, group, *state, log), "in use")


BROKEN = {
    "empty": lambda _good: b"",
    "torn": lambda good: good[: len(good) // 2],
    "without its last byte": lambda good: good[:-1],
    "another byte": lambda good: good.replace(b"offset 4", b"offset 2").replace(b"done 0", b"done 1"),
    "longer": lambda good: good + good,
    "newer": lambda good: good.replace(b"offset 1\n", b"offset 2\n").replace(b"files 1\n", b"files 2\n"),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ["offset", "files"])
@pytest.mark.parametrize("flags", [["--follow"], []], ids=["follow", "once"])
def test_a_state_that_cannot_be_trusted_is_refused(cwl_local, group, log, state, flags, kind, broken):
    log.write_bytes(b"1\n2\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    [file] = state[1].glob(f"*.{kind}")
    good = file.read_bytes()
    file.write_bytes(BROKEN[broken](good))
    assert file.read_bytes() != good
    append(log, b"3\n")
    assert_refused(ship(cwl_local, group, *flags, *state, log), str(file), "cannot be trusted")
    file.write_bytes(good)
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    assert messages(cwl_local, group) == ["1", "2", "3"]


def test_without_the_removed_state_it_reads_from_the_beginning(cwl_local, group, log, state):
    log.write_bytes(b"1\n2\n")
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    next(state[1].glob("*.files")).unlink()
    assert ship(cwl_local, group, *state, log).returncode == DELIVERED
    assert messages(cwl_local, group) == ["1", "2", "1", "2"]


def test_a_state_folder_that_cannot_be_written_is_refused(cwl_local, group, log, tmp_path):
    log.write_bytes(b"1\n")
    (tmp_path / "file").write_bytes(b"")
    assert_refused(ship(cwl_local, group, "--state-dir", tmp_path / "file" / "state", log), "state_dir")


def test_help_describes_the_options():
    numbers = subprocess.run([CWL_SHIP, "--help"], capture_output=True, text=True, timeout=10, check=True).stdout
    assert "--follow" in numbers
    assert "--state-dir DIR" in numbers
