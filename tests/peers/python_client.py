"""The scenarios of `node/client.cjs` for Python's `websockets`: functions of the server's URL."""

from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import connect

from harness import DEADLINE

BIG = 5 << 20


def opened(url, **kwargs):
    options = {"max_size": None, "max_queue": None, "ping_interval": None, "proxy": None, "open_timeout": DEADLINE}
    return connect(url, **{**options, "close_timeout": DEADLINE, **kwargs})


def expect(client, expected):
    received = client.recv(timeout=DEADLINE)
    assert type(received) is type(expected)
    # Compared in two steps, so that a difference of 5 MiB is not printed.
    assert len(received) == len(expected)
    assert (received == expected) is True


def echoes(url, *messages):
    with opened(url) as client:
        for message in messages:
            client.send(message)
            expect(client, message)
        assert close(client, 1000, "done") == Close(1000, "done")


def close(client, code, reason):
    """Closes the connection. Returns the Close that was received."""
    client.close(code, reason)
    return client.protocol.close_rcvd


def pong(client, payload):
    assert client.ping(payload).wait(DEADLINE), "no pong with the payload of the ping"


def text(url):
    echoes(url, "hello", "grüße, 世界 🦀", "a line\nand another\0")


def binary(url):
    echoes(url, b"\x00\xff\x80\n", bytes(range(256)))


def empty(url):
    echoes(url, "", b"")


def lengths(url):
    sizes = [1, 125, 126, 127, 65535, 65536, 65537]
    echoes(url, *[message for n in sizes for message in (b"\x07" * n, "x" * n)])


def big_text(url):
    echoes(url, "aé世🦀" * (BIG // 10), "a" * BIG)


def big_binary(url):
    echoes(url, b"".join((i * 2654435761 % 2**32).to_bytes(4, "little") for i in range(BIG // 4)))


def fragments(url):
    with opened(url) as client:
        parts = ["one, ", "", "zw", "ö", "lf"]
        client.send(parts)
        expect(client, "".join(parts))
        client.send([part.encode() for part in parts])
        expect(client, "".join(parts).encode())


def ping_between_fragments(url):
    with opened(url) as client:

        def parts():
            yield "before "
            pong(client, b"between")
            yield "after"

        client.send(parts())
        expect(client, "before after")


def pings(url):
    with opened(url) as client:
        for payload in [b"", b"a", b"p" * 125]:
            pong(client, payload)


def close_codes(url):
    for code, reason in [(1000, ""), (1001, "going"), (3000, "r" * 123), (4999, "grüße")]:
        with opened(url) as client:
            assert close(client, code, reason) == Close(code, reason)


def in_flight(url):
    with opened(url) as client:
        for i in range(2000):
            client.send(f"message {i}")
        for i in range(2000):
            expect(client, f"message {i}")


def subprotocol_offered(url):
    with opened(url, subprotocols=["chat.v1", "chat.v2"]) as client:
        assert client.subprotocol is None
        client.send("none chosen")
        expect(client, "none chosen")


def compression_offered(url):
    with opened(url, compression="deflate") as client:
        assert "permessage-deflate" in client.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        client.send("a" * 10000)
        expect(client, "a" * 10000)


def two_connections(url):
    with opened(url) as first, opened(url) as second:
        for client in (second, first, second):
            client.send("either")
            expect(client, "either")
        first.close()
        second.send("still here")
        expect(second, "still here")


def too_big(url):
    with opened(url) as client:
        client.send("x" * 1000)
        expect(client, "x" * 1000)
        client.send("x" * 1001)
        assert closed_by_server(client) == 1009


def closed_by_server(client):
    """Waits until the server closes the connection. Returns the code of its Close."""
    try:
        message = client.recv(timeout=DEADLINE)
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code
    raise AssertionError(f"no Close, but {message!r}")
