"""The Socket.IO server, with python-socketio as its client: by long polling, by WebSocket, and with the upgrade
from one to the other."""

import contextlib
import queue

import pytest
import socketio
from engineio.payload import Payload
from harness import DEADLINE, PACKAGES, Program, free_port

# This client accepts 16 packets in the response to a poll, unless it is told otherwise. Servers send more.
Payload.max_decode_packets = 1000

SERVER = PACKAGES / "socketio"
TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]


def start(port=0):
    return Program([SERVER, "--listen", f"127.0.0.1:{port}", "--ping-interval", "300"])


@pytest.fixture
def server():
    with start() as program:
        program.url = program.listening()
        yield program


class Client(socketio.Client):
    """A client whose events can be waited for."""

    def __init__(self, **options):
        super().__init__(reconnection_delay=0.05, reconnection_delay_max=0.2, **options)
        self.events = {}

    def listen(self, name, namespace="/"):
        """Keeps the arguments of an event."""
        events = self.events[name, namespace] = queue.Queue()
        self.on(name, lambda *arguments: events.put(arguments), namespace=namespace)

    def next(self, name, namespace="/"):
        return self.events[name, namespace].get(timeout=DEADLINE)


@contextlib.contextmanager
def connected(url, transports, namespaces=("/",), **options):
    client = Client()
    for namespace in namespaces:
        for name in ["auth", "message-back", "answer", "connect", "disconnect"]:
            client.listen(name, namespace)
    client.connect(url, transports=transports, namespaces=list(namespaces), wait_timeout=DEADLINE, **options)
    try:
        # With both transports, the client is upgraded while it connects.
        assert client.transport() == transports[-1]
        yield client
    finally:
        client.disconnect()


each_transport = pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)


@each_transport
def test_events_come_back_in_order(server, transports):
    with connected(server.url, transports) as client:
        for number in range(200):
            client.emit("message", (number, "grüße, 世界 🦀", {"a": [True, None]}))
        for number in range(200):
            assert client.next("message-back") == (number, "grüße, 世界 🦀", {"a": [True, None]})
        client.emit("message", "x" * 100_000)
        assert client.next("message-back") == ("x" * 100_000,)


@each_transport
def test_binary_data_is_exchanged(server, transports):
    data = bytes(range(256)) * 300
    with connected(server.url, transports) as client:
        client.emit("message", ("first", data, {"deep": [b"", b"\x00"]}))
        assert client.next("message-back") == ("first", data, {"deep": [b"", b"\x00"]})
        assert client.call("message-with-ack", data, timeout=DEADLINE) == data


@each_transport
def test_events_are_acknowledged_in_both_directions(server, transports):
    with connected(server.url, transports) as client:
        client.on("question", lambda *arguments: ("answered", arguments[0], b"\x01"))
        assert client.call("message-with-ack", {"a": 1}, timeout=DEADLINE) == {"a": 1}
        assert client.call("message-with-ack", (1, "two"), timeout=DEADLINE) == (1, "two")
        client.emit("ask-me", 7)
        assert client.next("answer") == ("answered", 7, b"\x01")


@each_transport
def test_namespaces_and_auth(server, transports):
    with connected(server.url, transports, ["/", "/custom"], auth={"token": "secret"}) as client:
        for namespace in ["/", "/custom"]:
            assert client.next("auth", namespace) == ({"token": "secret"},)
            client.emit("message", namespace, namespace=namespace)
            assert client.next("message-back", namespace) == (namespace,)
        assert client.get_sid("/") != client.get_sid("/custom")
    client = Client()
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(server.url, transports=transports, namespaces=["/none"], wait_timeout=DEADLINE)
    client.disconnect()


@each_transport
def test_the_heartbeat_keeps_a_client(server, transports):
    with connected(server.url, transports) as client:
        # Four pings.
        client.sleep(1.3)
        assert client.call("message-with-ack", 1, timeout=DEADLINE) == 1
        assert client.events["disconnect", "/"].empty()


@each_transport
def test_a_client_connects_again_after_the_server_has_stopped(transports):
    port = free_port()
    first = start(port)
    with contextlib.ExitStack() as stack:
        stack.enter_context(first)
        client = stack.enter_context(connected(first.listening(), transports))
        client.next("connect")
        sid = client.get_sid()
        first.interrupt()
        assert first.exit_code() == 0
        assert "1 closed, 0 lost, 0 cut off" in first.errors()
        client.next("disconnect")
        second = stack.enter_context(start(port)).listening()
        if transports == ["polling"]:
            # This client does not connect again by itself after the packet `1`; that of JavaScript does.
            client.connect(second, transports=transports, wait_timeout=DEADLINE)
        client.next("connect")
        assert client.get_sid() != sid
        assert client.call("message-with-ack", "again", timeout=DEADLINE) == "again"
