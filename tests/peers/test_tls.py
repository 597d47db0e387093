"""wss://: our programs with Python's `websockets` over TLS, and behind nginx, which ends TLS."""

import os
import signal
import socket
import ssl
import threading

import pytest
from certificates import Identity
from harness import DEADLINE, Program, address, example, free_port, wait_for_port
from test_client import client, fails, finish
from websockets.sync.client import connect
from websockets.sync.server import serve


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Identity(tmp_path_factory.mktemp("tls"))


def echo(identity, *arguments):
    command = [example("echo"), "--listen", "127.0.0.1:0", "--tls-cert", identity.certificate, "--tls-key", identity.key]
    return Program([*command, *arguments])


def by_name(url):
    return f"wss://localhost:{address(url)[1]}/"


@pytest.mark.parametrize("mode", [[], ["--split"], ["--parts"]], ids=["whole", "split", "parts"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_client_talks_to_our_server(identity, mode, version):
    context = identity.client_context()
    context.minimum_version = context.maximum_version = version
    options = {"ssl": context, "max_size": None, "proxy": None, "open_timeout": DEADLINE}
    with echo(identity, *mode) as server:
        with connect(by_name(server.listening()), **options) as peer:
            assert peer.socket.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
            assert peer.socket.selected_alpn_protocol() in (None, "http/1.1")
            for message in ["hello", b"\0\1\2", "x" * 100_000, bytes(5 << 20), ""]:
                peer.send(message)
                assert peer.recv(timeout=DEADLINE) == message
            assert peer.ping(b"?").wait(DEADLINE)
        assert server.is_running()


def test_our_client_talks_to_a_python_server(identity):
    def handler(connection):
        for message in connection:
            connection.send(message)

    with serve(handler, "127.0.0.1", 0, ssl=identity.server_context()) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"wss://localhost:{server.socket.getsockname()[1]}/"
        with client(url, "--ca", identity.certificate) as program:
            for line in [b"hello", b"x" * 100_000, b""]:
                program.write(line + b"\n")
                assert program.line() == line, str(program)
            assert finish(program) == []
        server.shutdown()
        thread.join()


def test_our_client_verifies_the_certificate(identity, tmp_path):
    other = Identity(tmp_path, "other.test")
    with echo(identity) as server:
        url = by_name(server.listening())
        with client(url) as program:
            assert "self-signed" in fails(program)
        with client(url, "--ca", other.certificate) as program:
            assert "self-signed" in fails(program)
        with client(url, "--ca", identity.certificate, "--server-name", "other.test") as program:
            assert "not valid for the host name" in fails(program)
        with client(url, "--insecure") as program:
            program.write(b"hello\n")
            assert program.line() == b"hello", str(program)
            finish(program)


def test_a_certificate_is_read_again_at_sighup(identity, tmp_path):
    one, two = Identity(tmp_path), Identity(tmp_path / "..", "localhost")
    with echo(one) as server:
        url = by_name(server.listening())
        with client(url, "--ca", one.certificate) as program:
            finish(program)
        two.certificate.replace(one.certificate)
        two.key.replace(one.key)
        os.kill(server.pid(), signal.SIGHUP)
        while "read again" not in server.errors():
            assert server.is_running(), str(server)
        with client(url, "--ca", one.certificate) as program:
            program.write(b"hello\n")
            assert program.line() == b"hello", str(program)
            finish(program)


def test_plain_http_on_the_tls_port_does_not_disturb_the_server(identity):
    with echo(identity) as server:
        url = server.listening()
        with socket.create_connection(address(url), timeout=DEADLINE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            # An alert of TLS, and the end.
            while plain.recv(1000):
                pass
        with client(url.replace("wss://", "ws://")) as program:
            assert "TLS" in fails(program) or "closed" in program.errors()
        with client(by_name(url), "--ca", identity.certificate) as program:
            program.write(b"hello\n")
            assert program.line() == b"hello", str(program)
            finish(program)
        assert "does not speak TLS" in server.errors()


NGINX = """
daemon off;
pid {directory}/pid;
error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location / {{
      proxy_pass http://{backend};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host $host;
    }}
  }}
}}
"""


def test_our_client_talks_to_our_server_behind_nginx(identity, tmp_path):
    with Program([example("echo"), "--listen", "127.0.0.1:0"]) as backend:
        host, port = address(backend.listening())
        listen = free_port()
        configuration = tmp_path / "nginx.conf"
        files = {"certificate": identity.certificate, "key": identity.key}
        configuration.write_text(NGINX.format(directory=tmp_path, port=listen, backend=f"{host}:{port}", **files))
        with Program(["nginx", "-e", "stderr", "-p", tmp_path, "-c", configuration]) as nginx:
            wait_for_port(listen, nginx)
            with client(f"wss://localhost:{listen}/", "--ca", identity.certificate) as program:
                for line in [b"through nginx", b"y" * 200_000]:
                    program.write(line + b"\n")
                    assert program.line() == line, str(program)
                assert finish(program) == []
