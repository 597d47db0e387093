"""The Socket.IO server, with the published client of Socket.IO: by long polling, by WebSocket, and with
the upgrade from one to the other."""

import pytest
from harness import PACKAGES, Program
from peers import node

SERVER = PACKAGES / "socketio"
TRANSPORTS = ["polling", "websocket", "polling,websocket"]
SCENARIOS = ["events", "auth", "binary", "order", "namespaces", "heartbeat", "again"]


@pytest.fixture
def server():
    command = [SERVER, "--listen", "127.0.0.1:0", "--ping-interval", "300"]
    with Program(command) as program:
        program.url = program.listening()
        yield program


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_client_is_served(server, scenario, transports):
    with node("socketio_client.cjs", scenario, server.url, transports) as client:
        assert client.exit_code() == 0, client.errors()
