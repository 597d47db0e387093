"""The peers: Python's `websockets` in this process, and Node's `ws` in another.

A peer server runs one scenario with each connection, and reports what happens as events
(dictionaries, the same from both peers):

- `echo`: sends back each message unchanged
- `acknowledge`: replies to each message with its kind and its length
- `close`: replies to the first message with Close 4001
- `vanish`: ends the TCP connection after the first message, without a Close
- `fragments`: sends a message in three fragments, with a Ping between them, and continues once the
  Pong is received
- `bomb`: sends 65 MiB of zeros, which compress to almost nothing

Both accept permessage-deflate; `deflate` are the parameters of RFC 7692 that they request.
"""

import base64
import contextlib
import hashlib
import json
import queue
import shutil
import socket
import threading
import time
from pathlib import Path

from harness import DEADLINE, Failed, Program, address
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import serve

NODE_DIRECTORY = Path(__file__).parent / "node"
# One MiB more than the programs accept.
BOMB = bytes(65 << 20)


def node(script, *arguments, **kwargs):
    """Runs one of the scripts for Node."""
    path = shutil.which("node") or shutil.which("nodejs")
    if path is None:
        raise Failed("no node: run tests/setup.sh")
    return Program([path, NODE_DIRECTORY / script, *arguments], **kwargs)


class PeerServer:
    """A peer server: its URL and its events."""

    def __init__(self, url, next_line):
        self.url = url
        self._next = next_line

    def event(self, kind):
        """Returns the next event of a kind; others are skipped."""
        while (event := self._next()) is not None:
            if event["event"] == kind:
                return event
        raise Failed(f"the peer ended before the event: {kind}")


def node_options(deflate):
    """Returns parameters of permessage-deflate as options of `ws`; every message is compressed."""
    words = {name: name.split("_") for name in deflate}
    camel = {name: first + "".join(word.capitalize() for word in rest) for name, (first, *rest) in words.items()}
    return {"threshold": 0, **{camel[name]: value for name, value in deflate.items()}}


@contextlib.contextmanager
def node_server(scenario, deflate={}):
    with node("server.cjs", scenario, json.dumps(node_options(deflate))) as program:
        url = program.listening()
        yield PeerServer(url, lambda: (line := program.line()) and json.loads(line))


@contextlib.contextmanager
def python_server(scenario, deflate={}):
    events = queue.Queue()

    def handler(connection):
        headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        events.put({"event": "open", "headers": headers, "subprotocol": connection.subprotocol})
        try:
            SCENARIOS[scenario](connection, events)
        except ConnectionClosed:
            pass
        close = connection.protocol.close_rcvd
        code, reason = (close.code, close.reason) if close else (1006, "")
        events.put({"event": "close", "code": code, "reason": reason})

    options = {"max_size": None, "ping_interval": None, "close_timeout": DEADLINE, "open_timeout": DEADLINE}
    options["extensions"] = [ServerPerMessageDeflateFactory(**deflate)]
    with serve(handler, "127.0.0.1", 0, subprotocols=["chat.v1"], select_subprotocol=select, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        yield PeerServer(f"ws://127.0.0.1:{port}", lambda: events.get(timeout=DEADLINE))
        server.shutdown()
        thread.join()


PEERS = {"python": python_server, "node": node_server}


def select(_, offered):
    return "chat.v1" if "chat.v1" in offered else None


def messages(connection, events):
    """Receives messages and reports them as events."""
    for message in connection:
        size = len(message.encode() if isinstance(message, str) else message)
        events.put({"event": "message", "binary": isinstance(message, bytes), "length": size})
        yield message, size


def echo(connection, events):
    for message, _ in messages(connection, events):
        connection.send(message)


def acknowledge(connection, events):
    for message, size in messages(connection, events):
        connection.send(f"{'binary' if isinstance(message, bytes) else 'text'} {size}")


def close(connection, events):
    next(messages(connection, events))
    connection.close(4001, "that is enough")


def vanish(connection, events):
    next(messages(connection, events))
    connection.socket.shutdown(socket.SHUT_RDWR)


def fragments(connection, events):
    def parts():
        yield "one, "
        pong = connection.ping(b"between")
        yield "zwei, "
        assert pong.wait(DEADLINE)
        yield "drei"

    connection.send(parts())
    connection.send("the pong came")
    for _ in messages(connection, events):
        pass


def bomb(connection, events):
    connection.send(BOMB)
    for _ in messages(connection, events):
        pass


SCENARIOS = {function.__name__: function for function in [echo, acknowledge, close, vanish, fragments, bomb]}


# Plain sockets, for what a well-behaved peer does not do.

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@contextlib.contextmanager
def listener():
    """Yields a listening socket and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE)
        yield listening, f"ws://127.0.0.1:{listening.getsockname()[1]}"


def accept(listening):
    """Accepts a connection, completes its opening handshake, and does nothing more."""
    connection, _ = listening.accept()
    connection.settimeout(DEADLINE)
    request = read_head(connection)
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accepted = base64.b64encode(hashlib.sha1(key.split(b":", 1)[1].strip() + GUID).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
    )
    return connection


def dial(url):
    """Connects, completes the opening handshake, and does nothing more."""
    host, port = address(url)
    connection = socket.create_connection((host, port), timeout=DEADLINE)
    connection.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in read_head(connection)
    return connection


def read_head(connection):
    """Reads the head of an HTTP message, and no byte after it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, f"the stream ended inside the head: {head!r}"
        head += byte
    return head


def read_all(connection):
    """Reads to the end of the stream."""
    data = b""
    while more := connection.recv(65536):
        data += more
    return data


def wait_until(condition, program):
    """Waits for a condition that no line of output reports."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"the condition did not become true: {program}")
        time.sleep(0.02)
