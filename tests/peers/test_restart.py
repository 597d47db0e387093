"""A rolling restart of two nodes behind haproxy, with a thousand connections.

Each client sends lines, one after the other, and a node acknowledges a line once it is in its
journal. A client whose connection ends connects again, by haproxy, and sends the line that was not
acknowledged once more.
"""

import asyncio
import contextlib
import signal
import urllib.request

import pytest
from harness import DEADLINE, PACKAGES, Failed, Program, free_port, wait_for_port
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

AXUM = PACKAGES / "fullduplex-example-axum"
CLIENTS = 1000
# Time between two lines of a client, in seconds.
PAUSE = 0.3

CONFIGURATION = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 10s
    timeout client 120s
    timeout server 120s
    timeout tunnel 120s
    option redispatch
    retries 5
frontend front
    bind 127.0.0.1:{front}
    default_backend nodes
backend nodes
    balance leastconn
    option httpchk GET /health
    server one 127.0.0.1:{one} check inter 100 fall 1 rise 1
    server two 127.0.0.1:{two} check inter 100 fall 1 rise 1
"""


class Node:
    """One of the two nodes; it can be started more than once."""

    def __init__(self, directory, name):
        self.port = free_port()
        self.journal = directory / f"{name}.journal"
        self.program = None

    def start(self):
        command = [AXUM, "--listen", f"127.0.0.1:{self.port}", "--journal", self.journal]
        self.program = Program([*command, "--close-code", "1012", "--drain", "60"])
        self.program.listening()

    def stop(self):
        """Stops the node. Returns how many connections were closed, and how many were cut off."""
        self.program._process.send_signal(signal.SIGTERM)
        words = self.program.rest()[-1].split()
        assert self.program.exit_code() == 0, str(self.program)
        return int(words[1]), int(words[4])

    def open(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=DEADLINE) as response:
            [line] = [line for line in response.read().decode().splitlines() if line.startswith("websocket_connections_open ")]
        return int(line.split()[1])


class Client:
    """A client that connects again, and sends what was not acknowledged once more."""

    def __init__(self, url, number):
        self.url = url
        self.number = number
        self.line = 0
        self.acknowledged = []
        # The code of each Close that a node has sent.
        self.closes = []
        self.opened = 0

    async def run(self, stop):
        while not stop.is_set():
            try:
                async with connect(self.url, compression=None, open_timeout=DEADLINE, ping_interval=None) as ws:
                    self.opened += 1
                    await self.send(ws, stop)
            except ConnectionClosed as closed:
                assert closed.rcvd is not None, f"client {self.number} got no Close"
                self.closes.append(closed.rcvd.code)
            except (InvalidHandshake, OSError, EOFError):
                # Both nodes may be known as down for a moment.
                await asyncio.sleep(0.1)

    async def send(self, ws, stop):
        while not stop.is_set():
            line = f"{self.number}:{self.line}"
            await ws.send(line)
            reply = await asyncio.wait_for(ws.recv(), DEADLINE)
            assert reply == f"kept {line}"
            self.acknowledged.append(line)
            self.line += 1
            await asyncio.sleep(PAUSE)


async def until(condition, what):
    for _ in range(DEADLINE * 10):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise Failed(what)


async def roll(clients, nodes, stop):
    """Stops each node and starts it again, while the clients send."""

    def all_open(opened):
        return sum(node.open() for node in nodes if node.program.is_running()) == CLIENTS and all(
            client.opened >= opened for client in clients
        )

    await until(lambda: all_open(1), "not all clients are connected")
    for node in nodes:
        before = await asyncio.to_thread(node.open)
        assert before > 0
        closed, cut_off = await asyncio.to_thread(node.stop)
        assert cut_off == 0, str(node.program)
        assert closed >= before
        other = next(other for other in nodes if other is not node)
        await until(lambda: other.open() == CLIENTS, "not all clients are at the other node")
        node.start()
        # haproxy sees it again before the other one stops.
        await asyncio.sleep(1)
    await asyncio.sleep(2 * PAUSE)
    stop.set()


@pytest.fixture
def nodes(tmp_path):
    with contextlib.ExitStack() as stack:
        nodes = [Node(tmp_path, name) for name in ["one", "two"]]
        for node in nodes:
            node.start()
            stack.callback(lambda node=node: node.program.kill())
        yield nodes


def test_no_acknowledged_message_is_lost_in_a_rolling_restart(tmp_path, nodes):
    front = free_port()
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(front=front, one=nodes[0].port, two=nodes[1].port))
    clients = [Client(f"ws://127.0.0.1:{front}/journal", number) for number in range(CLIENTS)]

    async def run():
        stop = asyncio.Event()
        tasks = [asyncio.create_task(client.run(stop)) for client in clients]
        rolling = asyncio.create_task(roll(clients, nodes, stop))
        # The first of all that fails ends the test.
        done, _ = await asyncio.wait([rolling, *tasks], return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    with Program(["haproxy", "-f", configuration]) as haproxy:
        wait_for_port(front, haproxy)
        asyncio.run(run())
    kept = set()
    for node in nodes:
        kept |= set(node.journal.read_text().split())
    for client in clients:
        assert set(client.acknowledged) <= kept, f"client {client.number}"
        assert len(client.acknowledged) == client.line > 3
        # Each of its connections was closed by a node that restarted, and was replaced.
        assert client.closes and set(client.closes) == {1012}, client.closes
        assert client.opened == len(client.closes) + 1
