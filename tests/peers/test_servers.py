"""The servers under test, with clients of Python's `websockets` and Node's `ws`."""

import contextlib
import http.client
import re
import resource
import signal

import pytest
import python_client
from harness import Program, address, example
from peers import dial, node, read_all, wait_until
from websockets.exceptions import WebSocketException
from websockets.frames import Close

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
    "echo_split": ["echo", "--split", "--threads", "2"],
    "echo_parts": ["echo", "--parts", "--threads", "2"],
    "per_core": ["per_core", "--cores", "2"],
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
def server():
    """Starts a server for this test, by name and arguments."""
    started = []

    def run(name, *arguments):
        started.append(start(name, *arguments))
        return started[-1], started[-1].listening()

    yield run
    for program in started:
        program.kill()


@pytest.fixture
def echo(server):
    """Starts an `echo` for this test, with these arguments."""
    return lambda *arguments: server("echo", *arguments)


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


STOPPABLE = [
    ["echo", "--threads", "2"],
    ["echo", "--split"],
    ["echo", "--parts"],
    ["per_core", "--cores", "2"],
    ["blocking_echo"],
]


@pytest.mark.parametrize("arguments", STOPPABLE, ids=" ".join)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_with_1001_and_exits_with_0(server, how, arguments):
    server, url = server(*arguments)
    with node("client.cjs", "going_away", url) as second, python_client.opened(url) as first:
        assert second.line() == b"ready", str(second)
        first.send("ready")
        python_client.expect(first, "ready")
        server._process.send_signal(how)
        assert python_client.closed_by_server(first) == 1001
        assert first.protocol.close_rcvd == Close(1001, "the server stops")
        second.rest()
        assert second.exit_code() == 0, str(second)
        assert server.exit_code() == 0, str(server)


@pytest.mark.parametrize("arguments", STOPPABLE, ids=" ".join)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_without_a_connection_exits_with_0(server, how, arguments):
    server, _ = server(*arguments)
    server._process.send_signal(how)
    assert server.exit_code() == 0, str(server)


LIMITED = [["echo"], ["echo", "--split"], ["echo", "--parts"], ["per_core", "--cores", "1"], ["blocking_echo"]]


@pytest.mark.parametrize("arguments", LIMITED, ids=" ".join)
def test_connection_over_the_maximum_is_refused(server, arguments):
    program, url = server(*arguments, "--max-connections", "2")
    with python_client.opened(url) as first, python_client.opened(url):
        with pytest.raises((OSError, EOFError, WebSocketException)):
            python_client.opened(url)
        wait_until(lambda: "refused, 2 connections are open" in program.errors(), program)
        first.send("still here")
        python_client.expect(first, "still here")
    wait_until(lambda: accepts(url), program)
    python_client.text(url)
    assert "panicked" not in program.errors()


def test_connections_are_spread_over_the_accept_loops(server):
    program, url = server("per_core", "--cores", "2", "--max-connections", "32")
    with contextlib.ExitStack() as clients:
        # More than one loop accepts. By chance, one of them may reach its limit before the other.
        opened = [clients.enter_context(client) for _ in range(64) if (client := try_to_open(url))]
        assert len(opened) > 32, str(program)
        for client in opened:
            client.send("still here")
        for client in opened:
            python_client.expect(client, "still here")


def try_to_open(url):
    """Returns a connection; `None` if it is refused."""
    try:
        return python_client.opened(url)
    except (OSError, EOFError, WebSocketException):
        return None


def accepts(url):
    try:
        with python_client.opened(url):
            return True
    except (OSError, EOFError, WebSocketException):
        return False


def test_silent_connection_is_closed_with_1001(server):
    program, url = server("blocking_echo", "--idle-timeout", "1")
    with python_client.opened(url) as client:
        assert python_client.closed_by_server(client) == 1001
        assert client.protocol.close_rcvd == Close(1001, "idle")
    python_client.text(url)
    assert program.errors() == ""


# How much of the payload data is sent: nothing, a little, or so much that the rest is read into the
# message's own buffer.
@pytest.mark.parametrize("part", [0, 10, 100_000])
def test_silence_inside_a_message_is_closed_with_1001(server, part):
    _, url = server("blocking_echo", "--idle-timeout", "1")
    with dial(url) as client:
        client.sendall(b"\x82\xff" + (1 << 20).to_bytes(8, "big") + b"\x00" * (4 + part))
        assert read_all(client) == b"\x88\x06\x03\xe9idle"


def test_connection_without_traffic_stays_open_if_the_idle_timeout_is_disabled(server):
    _, url = server("blocking_echo", "--idle-timeout", "0")
    with python_client.opened(url) as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=1.5)
        client.send("still here")
        python_client.expect(client, "still here")


def test_connection_is_dropped_if_no_thread_can_be_created(server):
    program, url = server("blocking_echo")
    process = program._process.pid
    with open(f"/proc/{process}/status") as status:
        size = int(re.search(r"VmSize:\s*(\d+) kB", status.read())[1]) << 10
    soft, hard = resource.prlimit(process, resource.RLIMIT_AS)
    # A thread's stack does not fit into the remaining memory.
    resource.prlimit(process, resource.RLIMIT_AS, (size + (1 << 20), hard))
    with pytest.raises((OSError, EOFError, WebSocketException)):
        python_client.opened(url)
    wait_until(lambda: "refused, no thread for it" in program.errors(), program)
    resource.prlimit(process, resource.RLIMIT_AS, (soft, hard))
    python_client.text(url)
    assert "panicked" not in program.errors()


def test_address_in_use_is_an_error(echo):
    _, url = echo()
    with Program([example("echo"), "--listen", url.removeprefix("ws://").rstrip("/")]) as second:
        assert second.rest() == []
        assert second.exit_code() != 0
        assert "in use" in second.errors()
        assert "panicked" not in second.errors()
