"""Our server behind HAProxy, which passes on the address of the peer with the PROXY protocol."""

import contextlib
import socket

import pytest
from certificates import Identity
from harness import Program, address, example, free_port, wait_for_port
from peers import dial, read_all, wait_until
from test_client import client
from websockets.sync.client import connect

VERSIONS = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]


@contextlib.contextmanager
def haproxy(directory, server, options):
    """Starts HAProxy in front of a server. Yields its URL."""
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(
        "defaults\n mode tcp\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n"
        f"listen echo\n bind 127.0.0.1:{port}\n unique-id-format %rt\n"
        f" server echo 127.0.0.1:{address(server)[1]} {options}\n"
    )
    with Program(["haproxy", "-db", "-f", configuration]) as program:
        wait_for_port(port, program)
        yield f"{server.split(':')[0]}://localhost:{port}/", program


@pytest.mark.parametrize("options", VERSIONS)
def test_peer_is_the_one_that_haproxy_passes_on(tmp_path, options):
    with Program([example("echo"), "--listen", "127.0.0.1:0", "--proxy-protocol"]) as server:
        with haproxy(tmp_path, server.listening(), options) as (url, _):
            with connect(url, proxy=None) as peer:
                peer.send("hello")
                assert peer.recv() == "hello"
            with dial(url) as connection:
                # A frame without a mask is an error, which is printed with the address of the peer.
                connection.sendall(b"\x81\x05hello")
                read_all(connection)
                host, port = connection.getsockname()
                line = f"{host}:{port}: peer violated the protocol: frame from a client is not masked"
                wait_until(lambda: line in server.errors(), server)


@pytest.mark.parametrize("options", VERSIONS)
def test_header_precedes_tls(tmp_path, options):
    identity = Identity(tmp_path)
    tls = ["--tls-cert", identity.certificate, "--tls-key", identity.key]
    with Program([example("echo"), "--listen", "127.0.0.1:0", "--proxy-protocol", *tls]) as server:
        with haproxy(tmp_path, server.listening(), options) as (url, _):
            with client(url, "--ca", identity.certificate) as program:
                program.write(b"hello\n")
                assert program.line() == b"hello", str(program)


@pytest.mark.parametrize("options", VERSIONS[:2])
def test_health_checks_have_a_header_without_an_address(tmp_path, options):
    options += " check check-send-proxy inter 50ms"
    with Program([example("echo"), "--listen", "127.0.0.1:0", "--proxy-protocol"]) as server:
        with haproxy(tmp_path, server.listening(), options) as (url, _):
            with connect(url, proxy=None) as peer:
                peer.send("hello")
                assert peer.recv() == "hello"
    assert "PROXY" not in server.errors(), server.errors()


def test_connection_without_a_header_is_dropped():
    with Program([example("echo"), "--listen", "127.0.0.1:0", "--proxy-protocol"]) as server:
        host, port = address(server.listening())
        with socket.create_connection((host, port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert read_all(connection) == b""
        wait_until(lambda: "no header of the PROXY protocol" in server.errors(), server)
