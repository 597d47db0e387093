"""The tunnel: TCP connections over WebSocket connections, both ends of it."""

import contextlib
import hashlib
import os
import random
import socket
import threading

import pytest
from certificates import Identity
from harness import DEADLINE, Program, address, example, free_port
from peers import read_all, read_head, wait_until
from python_client import opened

TOKEN = "c2VjcmV0LXRva2Vu"


class Destination:
    """A TCP server. Each connection is handled by a function in a thread of its own."""

    def __init__(self, handler):
        self._handler = handler
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.to = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.failures = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(DEADLINE)
        with connection:
            try:
                self._handler(connection)
            except Exception as failure:
                self.failures.append(failure)

    def close(self):
        self._listening.close()


@contextlib.contextmanager
def destination(handler):
    server = Destination(handler)
    yield server
    server.close()
    assert server.failures == []


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@contextlib.contextmanager
def tunnel(to, server_options=(), client_options=(), secure=False):
    """Yields both ends, and the address of the client's end."""
    server = Program([example("tunnel"), "server", "--listen", "127.0.0.1:0", "--to", to, *server_options])
    with server:
        url = server.listening()
        if secure:
            url = f"wss://localhost:{address(url)[1]}/"
        client = Program([example("tunnel"), "client", "--listen", "127.0.0.1:0", "--url", url, *client_options])
        with client:
            yield server, client, address(client.listening())


def connect(where):
    return socket.create_connection(where, timeout=DEADLINE)


def receive(connection, length):
    data = bytearray()
    while len(data) < length:
        more = connection.recv(min(1 << 16, length - len(data)))
        assert more, f"ended after {len(data)} of {length} bytes"
        data += more
    return bytes(data)


def test_short_exchanges_like_those_of_a_terminal():
    generator = random.Random(1)
    with destination(echo) as server, tunnel(server.to) as (_, _, where), connect(where) as terminal:
        terminal.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2000):
            keys = generator.randbytes(generator.choice([1, 1, 1, 3, 40, 1000]))
            terminal.sendall(keys)
            assert receive(terminal, len(keys)) == keys


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_much_data_in_both_directions_at_once(tmp_path, secure):
    identity = Identity(tmp_path)
    options = (["--tls-cert", identity.certificate, "--tls-key", identity.key], ["--ca", identity.certificate])
    length = 20 << 20
    down, up = random.Random(2).randbytes(length), random.Random(3).randbytes(length)
    digests = []

    def handler(connection):
        sender = threading.Thread(target=connection.sendall, args=(down,), daemon=True)
        sender.start()
        digests.append(hashlib.sha256(receive(connection, length)).digest())
        sender.join()
        # Ends the connection only when the other end has received everything.
        assert connection.recv(1) == b""

    with destination(handler) as server, tunnel(server.to, *(options if secure else ()), secure=secure) as ends:
        with connect(ends[2]) as client:
            sender = threading.Thread(target=client.sendall, args=(up,), daemon=True)
            sender.start()
            assert receive(client, length) == down
            sender.join()
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        # What was sent before the end still arrives.
        wait_until(lambda: digests, ends[0])
    assert digests == [hashlib.sha256(up).digest()]


def test_many_connections_at_once():
    with destination(echo) as server, tunnel(server.to) as (_, _, where), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(where)) for _ in range(50)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number * 1000)
        for number, client in reversed(list(enumerate(clients))):
            expected = b"%d" % number * 1000
            assert receive(client, len(expected)) == expected


def test_everything_arrives_before_the_end_of_the_connection():
    # The destination speaks and ends, like a server for `finger`.
    answer = random.Random(4).randbytes(3 << 20)
    with destination(lambda connection: connection.sendall(answer)) as server:
        with tunnel(server.to) as (_, _, where), connect(where) as client:
            assert read_all(client) == answer


def test_a_slow_reader_bounds_the_memory_of_both_ends():
    def handler(connection):
        # Blocks once all buffers in between are full.
        connection.settimeout(None)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 16))

    with destination(handler) as server, tunnel(server.to) as (server_end, client_end, where):
        before = server_end.resident() + client_end.resident()
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connect(where)) for _ in range(10)]
            # By then, all other connections had their turns as well.
            assert len(receive(slow[0], 200 << 20)) == 200 << 20
            for client in slow:
                assert receive(client, 1) == b"\0"
            grown = server_end.resident() + client_end.resident() - before
        # For each connection and end 256 KiB for the write buffer, and some for reads and copies.
        assert grown < 20 * (1 << 20), f"{grown} bytes"


@pytest.mark.parametrize("with_tls", [False, True], ids=["ws", "wss"])
def test_token_is_required(tmp_path, with_tls):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(f"{TOKEN}\n")
    bad.write_text(f"{TOKEN[:-1]}\n")
    server_options, client_options = ["--token-file", good], []
    if with_tls:
        server_options += ["--self-signed", tmp_path / "ca.pem"]
        client_options += ["--ca", tmp_path / "ca.pem"]
    with destination(echo) as server:
        with tunnel(server.to, server_options, [*client_options, "--token-file", good], with_tls) as ends:
            with connect(ends[2]) as client:
                client.sendall(b"let in")
                assert receive(client, 6) == b"let in"
        for options in ([], ["--token-file", bad]):
            with tunnel(server.to, server_options, [*client_options, *options], with_tls) as (server_end, end, where):
                with connect(where) as client:
                    assert read_all(client) == b""
                wait_until(lambda: "401" in end.errors() and "token" in end.errors(), end)
                assert TOKEN[:-1] not in end.errors() + server_end.errors()


def test_token_is_not_echoed(tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with destination(echo) as server, tunnel(server.to, ["--token-file", token]) as (end, _, _):
        # The address of the server's end was printed before: a request of a browser, to the same end.
        url = f"ws://127.0.0.1:{listening_port(end)}"
        with opened(url, subprotocols=["tcp-tunnel.v1", f"bearer.{TOKEN}"]) as browser:
            assert browser.response.headers["Sec-WebSocket-Protocol"] == "tcp-tunnel.v1"
            browser.send(b"bytes")
            assert browser.recv(timeout=DEADLINE) == b"bytes"
            browser.send("text")
            with pytest.raises(Exception) as closed:
                browser.recv(timeout=DEADLINE)
            assert closed.value.rcvd.code == 1003


def listening_port(program):
    """Returns the port on which a program listens."""
    with open("/proc/net/tcp") as table:
        sockets = {fields[9]: int(fields[1].split(":")[1], 16) for fields in map(str.split, table) if fields[3] == "0A"}
    directory = f"/proc/{program.pid()}/fd"
    for name in os.listdir(directory):
        link = os.readlink(f"{directory}/{name}")
        if link.startswith("socket:[") and (port := sockets.get(link[8:-1])):
            return port
    raise AssertionError(f"listens on no port: {program}")


def test_other_clients_and_servers_are_refused():
    with destination(echo) as server, tunnel(server.to) as (end, _, _):
        host, port = "127.0.0.1", listening_port(end)
        with socket.create_connection((host, port), timeout=DEADLINE) as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert read_head(client).startswith(b"HTTP/1.1 400 ")
    with Program([example("echo"), "--listen", "127.0.0.1:0"]) as other:
        command = [example("tunnel"), "client", "--listen", "127.0.0.1:0", "--url", other.listening()]
        with Program(command) as client, connect(address(client.listening())) as connection:
            assert read_all(connection) == b""
            wait_until(lambda: "not a tunnel" in client.errors(), client)


def test_destination_that_is_not_reached_is_answered_with_502():
    with tunnel(f"127.0.0.1:{free_port()}") as (server_end, client_end, where):
        with connect(where) as client:
            assert read_all(client) == b""
        wait_until(lambda: "502" in client_end.errors(), client_end)
        assert "refused" in server_end.errors()


def test_interrupt_ends_both_ends():
    with destination(echo) as server, tunnel(server.to) as (server_end, client_end, where):
        with connect(where) as client:
            client.sendall(b"open")
            assert receive(client, 4) == b"open"
            server_end.interrupt()
            assert read_all(client) == b""
            assert server_end.exit_code() == 0, str(server_end)
        client_end.interrupt()
        assert client_end.exit_code() == 0, str(client_end)


def test_missing_token_file_is_an_error(tmp_path):
    command = [example("tunnel"), "server", "--to", "127.0.0.1:1", "--token-file", tmp_path / "none"]
    with Program(command) as program:
        assert program.rest() == []
        assert program.exit_code() == 1
        assert "none" in program.errors()
