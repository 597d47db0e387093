"""Clocks that jump, those of the server and of the clients in opposite directions.

The clock of this machine is not touched: libfaketime changes the time of day that the programs see.
"""

import http.client
import json
import os
import signal
import time
from pathlib import Path

from harness import DEADLINE, Failed
from hosts import SERVER
from ledger import Database
from load import load
from programs import CLASSROOM_PORT, classroom, open_connections, ticket, wait_until

MINUTE, HOUR = 60, 3600
PING_INTERVAL, PONG_TIMEOUT = 1, 2


class Clock:
    """A clock that programs see if they are started with this environment."""

    def __init__(self, directory, name):
        self._file = directory / f"{name}.clock"
        self.jump(0)
        self.environment = {
            **os.environ,
            "LD_PRELOAD": libfaketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # The monotonic clock does not jump on any system.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds):
        """Sets how far the clock is ahead of the right time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)


def libfaketime():
    """Returns the path of the library that is for programs with threads."""
    for path in sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")):
        return str(path)
    raise Failed("no libfaketime: run tests/setup.sh")


class Visitor:
    """Requests from the host of the clients."""

    def __init__(self, host):
        self._host = host

    def request(self, method, path, body=None, headers={}):
        """Returns the response, whose body is read unless it opens a connection."""
        with self._host.inside():
            connection = http.client.HTTPConnection(SERVER, CLASSROOM_PORT, timeout=DEADLINE)
            connection.connect()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = b"" if response.status == 101 else response.read()
        connection.close()
        return response.status, text

    def exchange(self, ticket):
        """Returns the status and the answer to the request of a token."""
        body = json.dumps({"ticket": ticket})
        status, answer = self.request("POST", "/api/token", body, {"Content-Type": "application/json"})
        return status, json.loads(answer)

    def open(self, token):
        """Returns the status of the opening handshake with a token."""
        status, _ = self.request(
            "GET",
            "/ws",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Protocol": f"classroom.v1, bearer.{token}",
            },
        )
        return status


def jumps(times):
    """Returns the differences between times that follow each other, in seconds."""
    return [(later - earlier) / 1000 for earlier, later in zip(times, times[1:])]


def test_clocks_that_jump(linked, tmp_path):
    server, client = linked
    clocks = Clock(tmp_path, "server"), Clock(tmp_path, "clients")
    heartbeat = ["--ping-interval", PING_INTERVAL, "--pong-timeout", PONG_TIMEOUT]
    database = Database(tmp_path / "classroom.sqlite")
    visitor, short = Visitor(client), ticket("fay", 30 * MINUTE)

    def jump(seconds):
        clocks[0].jump(seconds)
        clocks[1].jump(-seconds)
        clients.run()
        clients.progress()
        clients.pause()

    with classroom(server, database, *heartbeat, env=clocks[0].environment) as chat:
        with load(client, database, *heartbeat, env=clocks[1].environment) as clients:
            clients.run()
            clients.progress()
            clients.pause()
            before = chat.usage()
            status, issued = visitor.exchange(short)
            assert (status, visitor.open(issued["token"])) == (200, 101)

            jump(20 * MINUTE)
            # Tokens are valid for 15 minutes, the ticket for 30.
            assert visitor.open(issued["token"]) == 401
            status, again = visitor.exchange(short)
            assert (status, visitor.open(again["token"])) == (200, 101)
            jump(2 * HOUR)
            status, refused = visitor.exchange(short)
            assert (status, refused["code"]) == (401, "expired")
            jump(-HOUR)
            assert visitor.open(issued["token"]) == 101
            status, early = visitor.exchange(short)
            assert (status, visitor.open(early["token"])) == (200, 101)

            # Longer than a ping may take. Nobody has lost a connection.
            time.sleep(PING_INTERVAL + PONG_TIMEOUT + 1)
            assert clients.connected() == [1] * len(clients.talkers)
            # Pings are still sent: an end that stops is missed.
            stopped = clients.talkers[0].program.pid()
            os.kill(stopped, signal.SIGSTOP)
            wait_until(lambda: open_connections(server) == len(clients.talkers) - 1, "the server misses a client")
            os.kill(stopped, signal.SIGCONT)
            wait_until(lambda: clients.connected()[0] == 2, "the client is back")
            jump(0)
            differences = jumps(database.times())
            print(max(differences), min(differences))
            assert max(differences) > HOUR and min(differences) < -HOUR
            before.expect_again()
            clients.check()
