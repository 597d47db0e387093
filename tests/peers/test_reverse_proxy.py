"""The example `proxy`, between Python's client and the servers of `peers`, `wire` and the echo server."""

import contextlib
import socket
import threading

import pytest
import python_client
from harness import DEADLINE, Program, address, example, free_port
from peers import PEERS, accept, dial, listener, python_server, read_all, read_head, wait_until
from python_client import close, expect, opened
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

HEAD = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@contextlib.contextmanager
def proxy(to, *options):
    with Program([example("proxy"), "--listen", "127.0.0.1:0", "--to", to, *options]) as program:
        yield program, program.listening()


@pytest.fixture(scope="module")
def echo():
    """Yields the URL of a proxy in front of the echo server."""
    with Program([example("echo"), "--listen", "127.0.0.1:0"]) as server, proxy(server.listening()) as (program, url):
        yield url
        assert program.is_running(), str(program)


SCENARIOS = [
    "text",
    "binary",
    "empty",
    "lengths",
    "big_text",
    "big_binary",
    "fragments",
    "ping_between_fragments",
    "pings",
    "close_codes",
    "in_flight",
    "subprotocol_offered",
    "compression_offered",
    "two_connections",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_echo_server_is_the_same_through_the_proxy(echo, scenario):
    getattr(python_client, scenario)(echo)


@pytest.mark.parametrize("peer", sorted(PEERS))
def test_close_of_the_server_is_passed_on(peer):
    with PEERS[peer]("close") as server, proxy(server.url) as (_, url), opened(url) as client:
        client.send("now")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=DEADLINE)
        assert closed.value.rcvd == Close(4001, "that is enough")
        assert server.event("close")["code"] == 4001


@pytest.mark.parametrize("code, reason", [(1000, "bye"), (1001, ""), (3000, "r" * 123), (4999, "grüße")])
def test_close_of_the_client_is_passed_on(code, reason):
    with python_server("echo") as server, proxy(server.url) as (_, url), opened(url) as client:
        assert close(client, code, reason) == Close(code, reason)
        event = server.event("close")
        assert (event["code"], event["reason"]) == (code, reason)


def test_close_without_a_code_is_passed_on():
    with listener() as (listening, upstream), proxy(upstream) as (_, url):
        finish = open_through(url)
        with accept(listening) as server, finish() as client:
            client.sendall(bytes([0x88, 0x80, 0, 0, 0, 0]))
            # A masking key follows.
            assert receive(server, 6)[:2] == b"\x88\x80"
            server.sendall(b"\x88\x00")
            server.close()
            assert read_all(client) == b"\x88\x00"


def receive(connection, length):
    """Receives exactly this many bytes."""
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        assert more, f"ended after {data!r}"
        data += more
    return data


def open_through(url):
    """Begins to open a connection in a thread. Returns a function that returns it."""
    opened_clients = []
    worker = threading.Thread(target=lambda: opened_clients.append(dial(url)), daemon=True)
    worker.start()

    def finish():
        worker.join(DEADLINE)
        return opened_clients[0]

    return finish


def test_client_that_vanishes_closes_the_server_with_1001():
    with python_server("echo") as server, proxy(server.url) as (_, url):
        with dial(url):
            server.event("open")
        assert server.event("close")["code"] == 1001


def test_server_that_vanishes_closes_the_client_with_1014():
    with python_server("vanish") as server, proxy(server.url) as (_, url), opened(url) as client:
        client.send("now")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=DEADLINE)
        assert closed.value.rcvd.code == 1014


def test_client_that_violates_the_protocol_is_closed_with_1002_and_the_server_with_1001():
    with python_server("echo") as server, proxy(server.url) as (_, url), dial(url) as client:
        client.sendall(b"\x81\x05hello")
        assert read_all(client)[:4] == b"\x88\x12\x03\xea"
        assert server.event("close")["code"] == 1001


def test_message_over_the_limit_is_closed_with_1009():
    with python_server("echo") as server, proxy(server.url, "--max-message-size", "1000") as (_, url):
        python_client.too_big(url)
        assert server.event("close")["code"] == 1001


def test_pings_of_the_server_are_answered_by_the_client_itself():
    with python_server("fragments") as server, proxy(server.url) as (_, url), opened(url) as client:
        expect(client, "one, zwei, drei")
        # The server sends this once it has received the pong.
        expect(client, "the pong came")
    with listener() as (listening, upstream), proxy(upstream) as (_, url):
        finish = open_through(url)
        with accept(listening) as server, finish() as client:
            server.sendall(b"\x89\x02hi")
            assert receive(client, 4) == b"\x89\x02hi"
            client.sendall(b"\x8a\x82\0\0\0\0hi")
            frame = receive(server, 8)
            assert frame[:2] == b"\x8a\x82"
            assert bytes(a ^ b for a, b in zip(frame[6:], frame[2:6])) == b"hi"


def request(url, *fields, path=b"/"):
    """Sends a request with these fields. Returns the connection."""
    client = socket.create_connection(address(url), timeout=DEADLINE)
    client.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HEAD + b"".join(field + b"\r\n" for field in fields) + b"\r\n")
    return client


def test_request_is_passed_on_without_the_fields_of_one_connection():
    with listener() as (listening, upstream), proxy(upstream) as (_, url):
        fields = [
            b"Origin: https://example.com",
            b"Cookie: id=7",
            b"Authorization: Bearer x",
            b"X-Forwarded-For: 192.0.2.1",
            b"Keep-Alive: timeout=5",
            b"X-Own: 1",
            b"Sec-WebSocket-Protocol: chat.v2, chat.v1, chat.v2",
        ]
        with request(url, *fields, b"Connection: X-Own", path=b"//other.example/a?b=c"):
            server, _ = listening.accept()
            with server:
                head = read_head(server).decode()
        lines = head.split("\r\n")
        names = [line.split(":")[0].lower() for line in lines[1:]]
        assert lines[0] == "GET //other.example/a?b=c HTTP/1.1"
        assert f"Host: {upstream.removeprefix('ws://')}" in lines
        for line in [
            "origin: https://example.com",
            "cookie: id=7",
            "authorization: Bearer x",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-for: 127.0.0.1",
        ]:
            assert line in lines
        assert "Sec-WebSocket-Protocol: chat.v2, chat.v1" in lines
        assert "x-own" not in names and "keep-alive" not in names
        assert "dGhlIHNhbXBsZSBub25jZQ==" not in head


def test_subprotocol_of_the_server_is_selected():
    with python_server("echo") as server, proxy(server.url) as (_, url):
        with opened(url, subprotocols=["other", "chat.v1"], origin="https://example.com") as client:
            assert client.subprotocol == "chat.v1"
            event = server.event("open")
            assert (event["subprotocol"], event["headers"]["origin"]) == ("chat.v1", "https://example.com")


def test_server_that_is_not_reached_is_answered_with_502():
    with proxy(f"ws://127.0.0.1:{free_port()}") as (program, url):
        with pytest.raises(InvalidStatus) as refused:
            opened(url)
        assert refused.value.response.status_code == 502
        assert "refused" in program.errors()


def test_server_that_does_not_speak_websocket_is_answered_with_502():
    with listener() as (listening, upstream), proxy(upstream) as (_, url), request(url) as client:
        server, _ = listening.accept()
        with server:
            read_head(server)
            server.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            assert read_head(client).startswith(b"HTTP/1.1 502 ")


def test_server_that_does_not_answer_is_answered_with_504():
    with listener() as (listening, upstream), proxy(upstream) as (_, url), request(url) as client:
        server, _ = listening.accept()
        with server:
            # After the handshake timeout of 10 seconds.
            assert read_head(client).startswith(b"HTTP/1.1 504 ")


def test_refusal_of_the_server_is_passed_on():
    with listener() as (listening, upstream), proxy(upstream) as (_, url), request(url) as client:
        server, _ = listening.accept()
        with server:
            read_head(server)
            server.sendall(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nX-Internal: 1\r\nContent-Length: 4\r\n\r\nwho?"
            )
            head = read_head(client)
            assert head.startswith(b"HTTP/1.1 401 ")
            assert b"www-authenticate: Basic\r\n" in head and b"x-internal" not in head.lower()
            assert read_all(client) == b"who?"


def test_plain_request_is_answered_with_426():
    with proxy("ws://127.0.0.1:1") as (_, url), socket.create_connection(address(url), timeout=DEADLINE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 426 ")


def test_slow_client_slows_the_server_down_and_bounds_memory():
    sent = []

    def flood(connection):
        # Blocks once all buffers in between are full: then `sent` stays the same.
        connection.settimeout(None)
        frame = b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(frame)
                sent.append(len(frame))

    with listener() as (listening, upstream), proxy(upstream, "--max-message-size", "2000000") as (program, url):
        before = program.resident()
        finish = open_through(url)
        server = accept(listening)
        with server, finish() as client:
            worker = threading.Thread(target=flood, args=(server,), daemon=True)
            worker.start()
            # The stream is read slowly: the proxy never has more than a little in memory.
            most = 0
            for _ in range(100):
                received = receive(client, 1 << 20)
                assert len(received) == 1 << 20
                most = max(most, program.resident() - before)
            assert most < 16 << 20, f"{most} bytes"
            wait_until(lambda: is_constant(sent), program)
            # What lies between the ends: the buffers of the kernel, and of the proxy.
            assert sum(sent) - (100 << 20) < 64 << 20
            assert program.resident() - before < 16 << 20
    assert program


def is_constant(sent):
    """Returns whether the number of elements stays the same for a while."""
    before = len(sent)
    threading.Event().wait(0.3)
    return len(sent) == before


def test_interrupt_closes_both_ends_with_1001():
    with python_server("echo") as server, proxy(server.url) as (program, url), opened(url) as client:
        client.send("open")
        expect(client, "open")
        program.interrupt()
        assert python_client.closed_by_server(client) == 1001
        assert server.event("close")["code"] == 1001
        assert program.exit_code() == 0, str(program)


@pytest.mark.parametrize("url", ["http://localhost", "ws://localhost/path", "ws://user:pw@localhost", "nonsense"])
def test_invalid_server_is_an_error(url):
    with Program([example("proxy"), "--to", url]) as program:
        assert program.rest() == []
        assert program.exit_code() == 2
        assert "--to" in program.errors()
