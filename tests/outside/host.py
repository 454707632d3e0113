"""A host of the library, written in Python. Calls the few functions of the ABI that the tests need, by ctypes."""

import contextlib
import ctypes
import time
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p

from loopback import RELEASE

OK = 0
ABANDONED = 9

FLUSH_MS = 60_000


class Event(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("log_group", c_char_p),
        ("log_stream", c_char_p),
        ("timestamp_ms", c_int64),
        ("message", c_void_p),  # not c_char_p, because a message may contain NUL
        ("message_len", c_size_t),
    ]


class Stats(Structure):
    _fields_ = [("struct_size", c_size_t)] + [
        (name, c_uint64)
        for name in (
            "accepted_events accepted_bytes refused_events delivered_events delivered_bytes rejected_events "
            "dropped_events abandoned_events pending_events buffered_bytes buffered_bytes_peak targets "
            "targets_failing requests requests_failed requests_in_flight batches_retried wire_bytes "
            "truncated_events endpoint_paused"
        ).split()
    ]


LogCallback = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
AckCallback = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)


def _load():
    library = ctypes.CDLL(str(RELEASE / "libcwl_sink.so"))
    for name, result, *arguments in [
        ("cwl_last_error", c_char_p),
        ("cwl_status_name", c_char_p, c_int32),
        ("cwl_config_new", c_void_p),
        ("cwl_config_set", c_int, c_void_p, c_char_p, c_char_p),
        ("cwl_config_free", None, c_void_p),
        ("cwl_sink_open", c_int, c_void_p, POINTER(c_void_p)),
        ("cwl_sink_free", None, c_void_p),
        ("cwl_push_event", c_int, c_void_p, POINTER(Event)),
        ("cwl_flush", c_int, c_void_p, c_int64),
        ("cwl_shutdown", c_int, c_void_p, c_int64),
        ("cwl_stats", c_int, c_void_p, POINTER(Stats)),
        ("cwl_set_log_callback", c_int, c_int32, LogCallback, c_void_p),
        ("cwl_set_ack_callback", c_int, c_void_p, AckCallback, c_void_p),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _load()


class CwlError(Exception):
    """A call did not return CWL_OK. `status` is the code that it returned."""

    def __init__(self, status):
        self.status = status
        name, text = LIBRARY.cwl_status_name(status).decode(), LIBRARY.cwl_last_error().decode()
        super().__init__(f"{name}: {text}")


def check(status):
    if status != OK:
        raise CwlError(status)


class Sink:
    """An open sink. The keyword arguments are options of the library."""

    def __init__(self, **options):
        config = LIBRARY.cwl_config_new()
        try:
            for key, value in options.items():
                text = str(value).lower() if isinstance(value, bool) else str(value)
                check(LIBRARY.cwl_config_set(config, key.encode(), text.encode()))
            self._sink = c_void_p()
            check(LIBRARY.cwl_sink_open(config, byref(self._sink)))
        finally:
            LIBRARY.cwl_config_free(config)

    def push(self, message, timestamp_ms=None, group=None, stream=None):
        """Pushes one event. A message of type str is encoded as UTF-8."""
        data = message.encode() if isinstance(message, str) else message
        buffer = ctypes.create_string_buffer(data, len(data))
        event = Event(
            ctypes.sizeof(Event),
            group.encode() if group else None,
            stream.encode() if stream else None,
            int(time.time() * 1000) if timestamp_ms is None else timestamp_ms,
            ctypes.cast(buffer, c_void_p),
            len(data),
        )
        check(LIBRARY.cwl_push_event(self._sink, byref(event)))

    def flush(self, timeout_ms=FLUSH_MS):
        check(LIBRARY.cwl_flush(self._sink, timeout_ms))

    def shutdown(self, timeout_ms=FLUSH_MS):
        check(LIBRARY.cwl_shutdown(self._sink, timeout_ms))

    def stats(self):
        stats = Stats(struct_size=ctypes.sizeof(Stats))
        check(LIBRARY.cwl_stats(self._sink, byref(stats)))
        return stats

    def free(self):
        LIBRARY.cwl_sink_free(self._sink)
        self._sink = c_void_p()


@contextlib.contextmanager
def sink(endpoint, **options):
    """Opens a sink for an endpoint on loopback. The end of the context delivers its events, or raises an error."""
    defaults = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}
    opened = Sink(endpoint_url=endpoint, **(defaults | options))
    try:
        yield opened
        opened.shutdown()
    finally:
        opened.free()


@contextlib.contextmanager
def diagnostics(level=2):
    """Collects the library's diagnostics of this level and of more severe ones in a list."""
    texts = []
    callback = LogCallback(lambda _level, message, _user: texts.append(message.decode()))
    check(LIBRARY.cwl_set_log_callback(level, callback, None))
    try:
        yield texts
    finally:
        check(LIBRARY.cwl_set_log_callback(0, LogCallback(), None))
