"""The server on axum and the one on hyper, as packages of their own: over HTTP/1.1 and HTTP/2, by
Python's `websockets`, by Node's HTTP/2, and by Chromium over TLS."""

import re
import socket
import ssl
import tempfile
import urllib.request

import pytest
from certificates import Identity
from harness import DEADLINE, PACKAGES, Program, address
from peers import node
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

AXUM = PACKAGES / "fullduplex-example-axum"
HYPER = PACKAGES / "fullduplex-example-hyper"


@pytest.fixture(params=[AXUM, HYPER], ids=["axum", "hyper"])
def server(request):
    with Program([request.param, "--listen", "127.0.0.1:0"]) as program:
        program.url = program.listening()
        yield program


@pytest.fixture
def axum(tmp_path):
    command = [AXUM, "--listen", "127.0.0.1:0", "--journal", tmp_path / "journal"]
    with Program(command) as program:
        program.url = program.listening()
        yield program


def get(url, context=None):
    url = url.replace("ws://", "http://").replace("wss://", "https://")
    with urllib.request.urlopen(url, timeout=DEADLINE, context=context) as response:
        return response.read().decode()


def requests_over(metrics, version):
    [count] = re.findall(rf'^websocket_requests_total{{http="{re.escape(version)}"}} (\d+)$', metrics, re.M)
    return int(count)


def echoes(url, **options):
    with connect(url, max_size=None, **options) as ws:
        for message in ["hello", b"\x00\xff" * 500_000, "text " * 10_000]:
            ws.send(message)
            assert ws.recv(timeout=DEADLINE) == message
    assert ws.close_code == 1000


def test_pages_and_connections_share_a_port(axum):
    assert get(f"{axum.url}/health") == "ok\n"
    assert "<title>fullduplex on axum</title>" in get(axum.url)
    echoes(f"{axum.url}/echo")
    with connect(f"{axum.url}/counter") as one, connect(f"{axum.url}/counter") as two:
        assert one.recv(timeout=DEADLINE) == two.recv(timeout=DEADLINE) == "0"
        one.send("+")
        assert one.recv(timeout=DEADLINE) == two.recv(timeout=DEADLINE) == "1"
        assert "websocket_connections_open 2" in get(f"{axum.url}/metrics")
    assert requests_over(get(f"{axum.url}/metrics"), "1.1") == 3


@pytest.mark.parametrize("head", [b"", b"PRI * HTT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /echo HTTP/1.1\r\nHo"])
def test_a_client_that_sends_no_request_holds_no_connection(head):
    with Program([HYPER, "--listen", "127.0.0.1:0", "--head-timeout", "1"]) as program:
        url = program.listening()
        with socket.create_connection(address(url), DEADLINE) as silent, connect(f"{url}/echo") as ws:
            silent.sendall(head)
            # What the server sends of HTTP/2 comes before the end.
            while silent.recv(4096):
                pass
            ws.send("still open")
            assert ws.recv(timeout=DEADLINE) == "still open"


def test_a_page_of_another_site_is_refused(server):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.url}/echo", origin="https://evil.example")
    assert refused.value.response.status_code == 403
    host, port = address(server.url)
    echoes(f"{server.url}/echo", origin=f"http://{host}:{port}")


def test_node_opens_connections_over_http2(server):
    with node("http2_bridge.cjs", server.url.replace("ws:", "http:")) as bridge:
        url = bridge.listening()
        for _ in range(5):
            echoes(f"{url}/echo")
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{url}/nowhere")
        assert refused.value.response.status_code == 404


def test_http2_is_counted_apart(axum):
    with node("http2_bridge.cjs", axum.url.replace("ws:", "http:")) as bridge:
        echoes(f"{bridge.listening()}/echo", compression="deflate")
    metrics = get(f"{axum.url}/metrics")
    assert requests_over(metrics, "2") == 1
    assert requests_over(metrics, "1.1") == 0


@pytest.mark.parametrize("through", ["http1", "http2"])
def test_a_shutdown_closes_connections_with_1001(server, through):
    with node("http2_bridge.cjs", server.url.replace("ws:", "http:")) as bridge:
        url = bridge.listening() if through == "http2" else server.url
        with connect(f"{url}/echo") as ws:
            ws.send("hello")
            assert ws.recv(timeout=DEADLINE) == "hello"
            server.interrupt()
            with pytest.raises(ConnectionClosed) as closed:
                ws.recv(timeout=DEADLINE)
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the server stops")
        assert server.rest() == [b"stopped: 1 connections closed, 0 cut off"]
        assert server.exit_code() == 0


def test_chromium_uses_http2_over_tls(tmp_path):
    from selenium.webdriver.common.by import By
    from test_browser import OPTIONS, start_browser

    identity = Identity(tmp_path)
    command = [AXUM, "--listen", "127.0.0.1:0", "--tls-cert", identity.certificate, "--tls-key", identity.key]
    with Program(command) as program, tempfile.TemporaryDirectory() as home:
        url = f"https://localhost:{address(program.listening())[1]}/"
        OPTIONS.append("--ignore-certificate-errors")
        try:
            driver = start_browser(home)
        finally:
            OPTIONS.remove("--ignore-certificate-errors")
        try:
            driver.get(url)

            def text(name):
                return driver.find_element(By.ID, name).text

            wait_until(driver, lambda: text("state") == "open" and text("number") == "0")
            driver.find_element(By.ID, "add").click()
            wait_until(driver, lambda: text("number") == "1")
            wait_until(driver, lambda: text("echo").startswith("hello from "))
            context = ssl.create_default_context(cafile=str(identity.certificate))
            metrics = get(f"{url}metrics", context)
            assert requests_over(metrics, "2") == 2, metrics
            assert requests_over(metrics, "1.1") == 0, metrics
            program.interrupt()
            wait_until(driver, lambda: text("state").startswith("closed with 1001"))
            assert program.rest() == [b"stopped: 2 connections closed, 0 cut off"]
        finally:
            driver.quit()


def wait_until(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, DEADLINE, poll_frequency=0.05).until(lambda _: condition())
