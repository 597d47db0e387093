"""The servers under test, spoken to by Python's `websockets` and Node's `ws`."""

import http.client

import pytest
import python_client
from harness import Program, address, example
from peers import node

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
SERVERS = {
    "echo_on_one_thread": ["echo", "--threads", "1", "--ping-interval", "0"],
    "echo_on_two_threads": ["echo", "--threads", "2", "--ping-interval", "20"],
    "blocking_echo": ["blocking_echo"],
}


def start(name, *arguments):
    return Program([example(name), "--listen", "127.0.0.1:0", *arguments])


@pytest.fixture(scope="module", params=SERVERS)
def url(request):
    name, *arguments = SERVERS[request.param]
    with start(name, *arguments) as server:
        yield server.listening()
        assert server.is_running(), f"the server ended: {server}"


@pytest.fixture
def echo():
    """An `echo` of its own, started with the arguments that the test gives."""
    started = []

    def run(*arguments):
        started.append(start("echo", *arguments))
        return started[-1], started[-1].listening()

    yield run
    for server in started:
        server.kill()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_python_client(url, scenario):
    getattr(python_client, scenario)(url)


@pytest.mark.parametrize("scenario", [*SCENARIOS, "close_without_a_code"])
def test_node_client(url, scenario):
    with node("client.cjs", scenario, url) as client:
        client.rest()
        assert client.exit_code() == 0, str(client)


def test_plain_http_request_is_refused(url):
    host, port = address(url)
    connection = http.client.HTTPConnection(host, port, timeout=python_client.DEADLINE)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status in (400, 426)
    response.read()
    connection.close()


def test_keep_alive_pings_are_sent(echo):
    _, url = echo("--ping-interval", "1")
    with node("client.cjs", "keep_alive_ping", url) as client:
        client.rest()
        assert client.exit_code() == 0, str(client)


def test_message_over_the_limit_is_closed_with_1009_for_python(echo):
    server, url = echo("--max-message-size", "1000")
    python_client.too_big(url)
    python_client.text(url)
    assert server.is_running()


def test_message_over_the_limit_is_closed_with_1009_for_node(echo):
    _, url = echo("--max-message-size", "1000")
    with node("client.cjs", "too_big", url) as client:
        client.rest()
        assert client.exit_code() == 0, str(client)


def test_interrupt_closes_with_1001_and_exits_with_0(echo):
    server, url = echo("--threads", "2")
    with node("client.cjs", "going_away", url) as second, python_client.opened(url) as first:
        assert second.line() == b"ready", str(second)
        first.send("ready")
        python_client.expect(first, "ready")
        server.interrupt()
        assert python_client.closed_by_server(first) == 1001
        second.rest()
        assert second.exit_code() == 0, str(second)
        assert server.exit_code() == 0, str(server)


def test_interrupt_without_a_connection_exits_with_0(echo):
    server, _ = echo("--threads", "1")
    server.interrupt()
    assert server.exit_code() == 0, str(server)


def test_address_in_use_is_an_error(echo):
    _, url = echo()
    with Program([example("echo"), "--listen", url.removeprefix("ws://").rstrip("/")]) as second:
        assert second.rest() == []
        assert second.exit_code() != 0
        assert "in use" in second.errors()
        assert "panicked" not in second.errors()
