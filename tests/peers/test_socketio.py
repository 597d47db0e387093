"""The Socket.IO server, with the published client of Socket.IO: by long polling, by WebSocket, and with
the upgrade from one to the other."""

import pytest
from harness import PACKAGES, Program
from peers import node

SERVER = PACKAGES / "socketio"
TRANSPORTS = ["polling", "websocket", "polling,websocket"]
ROOMS = ["rooms", "binary_rooms", "gathering"]
SCENARIOS = ["events", "auth", "binary", "order", "namespaces", "heartbeat", "again"]


@pytest.fixture
def server():
    command = [SERVER, "--listen", "127.0.0.1:0", "--ping-interval", "300"]
    with Program(command) as program:
        program.url = program.listening()
        yield program


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", SCENARIOS + ROOMS)
def test_the_client_is_served(server, scenario, transports):
    with node("socketio_client.cjs", scenario, server.url, transports) as client:
        assert client.exit_code() == 0, client.errors()


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", [*ROOMS, "recovered", "own_id"])
def test_a_client_that_was_lost_is_recovered(scenario, transports):
    command = [SERVER, "--listen", "127.0.0.1:0", "--ping-interval", "300", "--recovery", "60000"]
    with Program(command) as program:
        with node("socketio_client.cjs", scenario, program.listening(), transports) as client:
            assert client.exit_code() == 0, client.errors()


def test_a_client_is_not_recovered_after_its_time():
    command = [SERVER, "--listen", "127.0.0.1:0", "--recovery", "1"]
    with Program(command) as program:
        with node("socketio_client.cjs", "too_late", program.listening(), "websocket") as client:
            assert client.exit_code() == 0, client.errors()
