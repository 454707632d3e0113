"""Generates the lines that the bench pushes: an invented access log, the same on every machine."""

import random

COUNT = 10_000
BYTES = 126
SEED = 20

ROUTES = "/ /api/orders/ /api/users/ /assets/app.js?v= /search?q= /health/ /cart/ /img/ /api/v2/".split()
AGENTS = [
    "curl/8.5.0",
    "okhttp/4.12.0",
    "kube-probe/1.29",
    "Go-http-client/1.1",
    "Prometheus/2.51.0",
    "axios/1.6.8",
    "Mozilla/5.0 (X11)",
]
METHODS = ["GET"] * 8 + ["POST", "PUT", "HEAD"]
STATUSES = [200] * 16 + [201, 204, 301, 304, 304, 400, 403, 404, 404, 500]
WORDS = "blue cotton summer shirt winter jacket leather running shoes classic light kids".split()
CLIENTS = 500


def slug(draw, length):
    """Returns the end of a path, such as blue-summer-shirt-4711, of the given length."""
    words = f"{draw.randrange(10_000):04}"
    while len(words) < length:
        words = f"{draw.choice(WORDS)}-{words}"
    return words[len(words) - length :]


def line(draw, address, second):
    """Returns a line of BYTES bytes. Only its two pairs of quotes need escaping."""
    time = f"23/Nov/2026:{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02} +0000"
    head = f'{address} - - [{time}] "{draw.choice(METHODS)} {draw.choice(ROUTES)}'
    size = draw.randrange(100, 100_000)
    tail = f' HTTP/1.1" {draw.choice(STATUSES)} {size} "{draw.choice(AGENTS)}"'
    return head + slug(draw, BYTES - len(head) - len(tail)) + tail


def lines():
    draw = random.Random(SEED)
    clients = [f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}" for _ in range(CLIENTS)]
    return [line(draw, draw.choice(clients), number // 4) for number in range(COUNT)]


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(text + "\n" for text in lines()))
