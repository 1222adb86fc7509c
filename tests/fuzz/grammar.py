"""Requests as browsers and attackers write them, drawn from a random source: whole ones, then broken ones.

One grammar for both kinds of test: a long run gives it a seeded `random.Random`, hypothesis its own, which it can shrink.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple
from urllib.parse import quote

Make = Callable[[Random], bytes]

TARGETS = [
    b"/events",
    b"/events?subject=events.>",
    b"/events?subject=events.a&subject=events.b.*&format=json",
    b"/events?interval=100&latest=true",
    b"/events?last_event_id=a-0",
    b"/events?",
    b"/events??",
    b"/events?subjects=events.a",
    b"/events?interval=soon",
    b"/events/",
    b"/events;a=b",
    b"/events#fragment",
    b"/events?a#b",
    b"/Events",
    b"/%65vents",
    b"/%2e/events",
    b"/./events",
    b"//events",
    b"/events%00",
    b"/events%20",
    b"/events\\",
    b"/events?\xff",
    b"/events?_=\x80\x81",
    b"/events?a b",
    b"/events?a\tb",
    b"/events?a\x7fb",
    b"/events?\"<>'{}|\\^`[]",
    b"http://x/events",
    b"http://x/events?subject=events.a",
    b"http://user:word@x:99/events",
    b"https://x/events",
    b"http://x",
    b"x:80",
    b"*",
    b"",
    b"events",
    b"?",
    b"/info",
    b"/ssecast.js",
    b"/openapi.json",
    b"/nothing",
    b"/",
    b"/publish/events.x",
]
METHODS = [b"GET"] * 60 + [
    b"get", b"Get", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE", b"PATCH", b"CONNECT", b"TRACE", b"PRI", b"SOURCE",
    b"M-SEARCH", b"GETX", b"G\x00T", b"", b"GE",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 60 + [
    b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/11", b"http/1.1", b"HTTP/1.1 ", b"ICE/1.0",
    b"RTSP/1.0", b"HTTP/1.", b"HTTPS/1.1", b"", b"HTTP/\xb9.1",
]  # fmt: skip
HEADERS = [
    b"Host: x",
    b"host:x",
    b"HOST:\t x \t",
    b"Accept: text/event-stream",
    b"Accept: */*",
    b"Cache-Control: no-cache",
    b"Last-Event-ID: a-0",
    b"Last-Event-ID:  a-0 \t ",
    b"Last-Event-ID: a-7",
    b"Last-Event-ID: \xc3\xa9\xff",
    b"Last-Event-ID:",
    b"Last-Event-ID: 1",
    b"Cookie: " + b"c=" + b"d" * 300,
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    b"X-Forwarded-For: 10.0.0.1, 10.0.0.2",
    b"X-Forwarded-Proto: https",
    b"X-Empty:",
    b"X-High: \x80\xff\xa0",
    b"X!#$%&'*+-.^_`|~1: strange name",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b"Connection: x,, ,y",
    b"Connection: te\xe9",
    b"Proxy-Connection: keep-alive",
    b"Content-Length: 0",
    b"Content-Length: 4",
    b"Content-Length: 4, 4",
    b"Content-Length: +4",
    b"Content-Length: -1",
    b"Content-Length: 0x4",
    b"Content-Length: 4 ",
    b"Content-Length: 4\t4",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999999999",
    b"content-length: 5",
    b"Content-Length\x00: 4",
    b"Content-Length : 4",
    b"Content_Length: 4",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:\tchunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding:",
    b"TE: trailers",
    b"Trailer: X",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Connection: Upgrade",
    b"Connection: Upgrade, HTTP2-Settings",
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Expect: 100-continue",
    b"Expect: nothing",
    b"Origin: https://elsewhere",
    b"Authorization: Bearer x.y.z",
    b" folded: x",
    b"\tfolded: x",
    b"X: a\r\n b",
    b"X: a\r\n\tb",
    b"X: a\nY: b",
    b"X: a\rY: b",
    b"X: a\x00b",
    b"X: a\x1bb",
    b"X: a\x7fb",
    b"X\x00: a",
    b"X\xff: a",
    b"X Y: a",
    b"X\t: a",
    b": no name",
    b"no colon",
    b"",
    b"X: " + b"long" * 500,
    b"Y" * 2000 + b": long name",
]
BODIES = [
    b"",
    b"",
    b"",
    b"body",
    b"4\r\nbody\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"4;x=y\r\nbody\r\n",
]
ENDS = [b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\x00\r\n", b"\x0b", b""]
INSERTS = [
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b"\x0b", b"\x85", b"\xff", b"%", b"%2e", b"%00", b"%zz", b":", b"\x7f",
    b"?", b"#", b"\r\n\r\n", b"HTTP/1.1", b"GET ", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"0",
]  # fmt: skip


class Piece(NamedTuple):
    """A packet. rest: whether the other side gets the time to work on it before the next one."""

    data: bytes
    rest: bool


def plain(rng: Random) -> bytes:
    """What the door takes without a parser, or nearly so: nothing is hidden in it."""
    query = rng.choice([b"", b"?subject=events.>", b"?format=json&_=1", b"?" + bytes(rng.choices(range(33, 127), k=5))])
    names = ["Host", "Accept", "Cookie", "X-A", "Last-Event-ID", "Cache-Control", "Sec-Fetch-Mode", "Referer"]
    lines = [
        rng.choice(names).encode()
        + b":"
        + rng.choice([b"", b" ", b"\t", b"  "])
        + _value(rng)
        + rng.choice([b"", b" "])
        for _ in range(rng.randint(1, 4))
    ]
    return b"GET /events" + query + b" HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def request(rng: Random) -> bytes:
    """A request out of the lists above: each part is likely to be right, and may be anything."""
    parts = [rng.choice(METHODS), b" ", rng.choice(TARGETS), b" ", rng.choice(VERSIONS), rng.choice(ENDS)]
    for _ in range(rng.randint(0, 5)):
        parts += [rng.choice(HEADERS), rng.choice(ENDS)]
    return b"".join([*parts, rng.choice(ENDS), rng.choice(BODIES)])


def query(rng: Random) -> bytes:
    """A request whose parameters are anything: known names, near misses, any text, any number of them."""
    names = ["subject", "interval", "latest", "format", "last_event_id", "lastEventId", "_", "subjects", "é", ""]
    values = ["events.>", "events.a", "0" * 12 + "9", "true", "json", "a-0", "9" * rng.choice([3, 40, 400, 5000]), "\0"]
    pairs = [
        f"{quote(rng.choice([*names, _text(rng)]))}={quote(rng.choice([*values, _text(rng)]))}"
        for _ in range(rng.randint(0, 5))
    ]
    return f"GET /events?{'&'.join(pairs)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def publication(rng: Random) -> bytes:
    """An event to publish, its body in one of the ways that HTTP has for bodies, or one more."""
    body = rng.randbytes(rng.choice([0, 1, 10, 60])) if rng.random() < 0.3 else b"hello" * rng.randint(0, 300)
    chunks = [
        b"%x\r\n%b\r\n" % (len(body), body) if body else b"",
        b"0\r\n",
        rng.choice([b"", b"Trailer: x\r\n"]),
        b"\r\n",
    ]
    framed = rng.choice(
        [
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks),
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
            b"\r\n" + body,
        ]
    )
    extra = rng.choice([b"", b"", b"Ssecast-Event: n\r\n", b"Ssecast-Event: gap\r\n", b"Idempotency-Key: \xe9\r\n"])
    return b"POST /publish/events.fuzz HTTP/1.1\r\nHost: x\r\n" + extra + framed


def mutated(rng: Random, data: bytes) -> bytes:
    """The same with a few bytes changed, put in, taken out, doubled or moved."""
    for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2, 4])):
        at = rng.randint(0, len(data))
        upto = min(len(data), at + rng.choice([0, 1, 1, 2, 5, 30]))
        put = rng.choice([b"", rng.choice(INSERTS), bytes([rng.randrange(256)]), data[at:upto] * 2])
        data = data[:at] + put + data[upto:]
    return data


def stream(rng: Random) -> bytes:
    """What one connection sends in all: a request, sometimes several in a row, each perhaps mutated."""
    makes: list[Make] = [plain, plain, request, query, publication]
    count = rng.choice([1, 1, 1, 2, 3])
    lead = rng.choice([b""] * 30 + [b"\r\n", b"\n", b" ", b"\x16\x03\x01\x02\x00\x01", b"\xef\xbb\xbf"])
    return lead + b"".join(mutated(rng, rng.choice(makes)(rng)) for _ in range(count))


def pieces(rng: Random, data: bytes) -> list[Piece]:
    """The data cut into packets: none, a few, or one byte after the other where it is short."""
    count = rng.choice([0, 0, 0, 1, 1, 2, 4])
    edges = sorted(rng.randint(0, len(data)) for _ in range(count))
    if len(data) < 200 and rng.random() < 0.05:
        edges = list(range(len(data)))
    cut = [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]
    return [Piece(each, rng.random() < 0.5) for each in cut if each]


def _value(rng: Random) -> bytes:
    anything = [*range(32, 127), 9, *range(128, 256)]
    return rng.choice([b"x", b"a-0", b"text/event-stream", bytes(rng.choices(anything, k=rng.randint(0, 12)))])


def _text(rng: Random) -> str:
    return "".join(
        chr(rng.choice([rng.randrange(128), rng.randrange(0x3000), 0x1F680, 0xFFFD, 0x2028]))
        for _ in range(rng.randint(0, 6))
    )
