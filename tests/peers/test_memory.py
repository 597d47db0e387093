"""Resident memory of an idle connection of the example servers."""

import contextlib
import resource

import pytest
from harness import Program, example
from peers import dial

# Bytes per connection: the library, a task, tokio, and what a clean shutdown needs.
MOST = 1400
# Connections that are opened first, so that one-time allocations are not counted, and the counted ones.
FIRST, COUNTED = 1000, 4000

# A masked text message and its echo.
HELLO = b"\x81\x85\x00\x00\x00\x00hello"
ECHOED = b"\x81\x05hello"


@pytest.fixture(autouse=True)
def many_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FIRST + COUNTED + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_and_echo(url, stack, count):
    """Opens connections, which stay open, and exchanges one message on each."""
    for _ in range(count):
        connection = stack.enter_context(dial(url))
        connection.sendall(HELLO)
        echoed = b""
        while len(echoed) < len(ECHOED):
            echoed += connection.recv(100)
        assert echoed == ECHOED


@pytest.mark.parametrize("arguments", [[], ["--ping-interval", "0"]], ids=["keep-alive", "no keep-alive"])
def test_an_idle_connection_of_the_echo_server_takes_at_most_1400_bytes(arguments):
    with Program([example("echo"), "--listen", "127.0.0.1:0", *arguments]) as server, contextlib.ExitStack() as stack:
        url = server.listening()
        open_and_echo(url, stack, FIRST)
        before = server.resident()
        open_and_echo(url, stack, COUNTED)
        each = (server.resident() - before) / COUNTED
        assert each <= MOST, f"{each:.0f} bytes"
        server.interrupt()
        # Connections that do not answer the server's Close are dropped.
        assert server.exit_code() == 0, str(server)
