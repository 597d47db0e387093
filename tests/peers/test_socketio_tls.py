"""The Socket.IO server over TLS: with the published client of Socket.IO in Chromium, which selects HTTP/2,
and in Node, which does not."""

import json
import os
import tempfile

import pytest
from certificates import Identity
from harness import Program, address
from peers import NODE_DIRECTORY, node
from test_socketio import SERVER, TRANSPORTS

CLIENT = NODE_DIRECTORY.parent / "node_modules/socket.io-client/dist/socket.io.min.js"

# Sends events, with binary data in each third, and returns what came back and how.
SCENARIO = """
const [transports, count, done] = arguments;
const socket = io({ transports, forceNew: true, reconnection: false });
socket.on('connect_error', (error) => done({ error: String(error) }));
const received = [];
const echoed = new Promise((resolve) => socket.on('message-back', (number, data) => {
  received.push([number, typeof data === 'string' ? data : data.byteLength]);
  if (received.length === count) resolve();
}));
const upgraded = new Promise((resolve) => socket.on('connect', () => {
  const { engine } = socket.io;
  if (transports.length === 1 || engine.transport.name === 'websocket') resolve();
  else engine.once('upgrade', resolve);
  for (let number = 0; number < count; number += 1) {
    socket.emit('message', number, number % 3 === 0 ? new Uint8Array(number).buffer : 'text');
  }
}));
Promise.all([echoed, upgraded])
  .then(() => socket.timeout(20000).emitWithAck('message-with-ack', new Uint8Array(70000)))
  .then((answer) => {
    const { name } = socket.io.engine.transport;
    const polls = performance.getEntriesByType('resource').filter((entry) => entry.name.includes('transport=polling'));
    const protocols = polls.map((entry) => entry.nextHopProtocol);
    socket.disconnect();
    done({ received, answer: answer.byteLength, transport: name, protocols });
  })
  .catch((error) => done({ error: String(error) }));
"""
COUNT = 300


@pytest.fixture
def identity(tmp_path):
    return Identity(tmp_path)


@pytest.fixture
def server(identity):
    command = [SERVER, "--listen", "127.0.0.1:0", "--tls-cert", identity.certificate, "--tls-key", identity.key]
    with Program(command) as program:
        program.url = f"https://localhost:{address(program.listening())[1]}"
        yield program


def requests_of(net_log):
    """Returns the heads of all requests over HTTP/2 that a browser has logged, and those over HTTP/1.1."""
    log = json.loads(net_log.read_text())
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    over = {"HTTP2_SESSION_SEND_HEADERS": [], "HTTP_TRANSACTION_SEND_REQUEST_HEADERS": []}
    for event in log["events"]:
        heads = over.get(kinds[event["type"]])
        if heads is not None and "headers" in event.get("params", {}):
            heads.append(event["params"]["headers"])
    return over.values()


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_chromium_uses_http2_for_each_transport(server, transports, tmp_path):
    from test_browser import OPTIONS, start_browser

    transports = transports.split(",")
    net_log = tmp_path / "net.json"
    own_options = ["--ignore-certificate-errors", f"--log-net-log={net_log}"]
    with tempfile.TemporaryDirectory() as home:
        OPTIONS.extend(own_options)
        try:
            driver = start_browser(home)
        finally:
            del OPTIONS[-len(own_options) :]
        try:
            # A page of the same origin, which may connect.
            driver.get(f"{server.url}/healthz")
            driver.execute_script(CLIENT.read_text())
            result = driver.execute_async_script(SCENARIO, transports, COUNT)
        finally:
            driver.quit()
    assert "error" not in result, result
    assert result["received"] == [[number, "text" if number % 3 else number] for number in range(COUNT)]
    assert (result["answer"], result["transport"]) == (70000, transports[-1])
    assert set(result["protocols"]) == ({"h2"} if "polling" in transports else set())

    http2, http1 = requests_of(net_log)
    port = address(server.url)[1]
    opened = [head for head in http2 if ":protocol: websocket" in head and f":authority: localhost:{port}" in head]
    assert len(opened) == ("websocket" in transports), http2
    assert not [head for head in http1 if any("socket.io" in line for line in head)], http1


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", ["events", "binary", "order"])
def test_node_is_served_over_tls(server, identity, scenario, transports):
    trusting = {**os.environ, "NODE_EXTRA_CA_CERTS": str(identity.certificate)}
    with node("socketio_client.cjs", scenario, server.url, transports, env=trusting) as client:
        assert client.exit_code() == 0, client.errors()


def test_node_refuses_a_certificate_that_it_does_not_trust(server):
    with node("socketio_client.cjs", "events", server.url, "polling") as client:
        assert client.exit_code() == 1
        assert "self-signed certificate" in client.errors()


def test_a_new_certificate_is_written_for_clients(tmp_path):
    certificate = tmp_path / "server.pem"
    with Program([SERVER, "--listen", "127.0.0.1:0", "--self-signed", certificate]) as program:
        url = f"https://localhost:{address(program.listening())[1]}"
        trusting = {**os.environ, "NODE_EXTRA_CA_CERTS": str(certificate)}
        with node("socketio_client.cjs", "events", url, "polling,websocket", env=trusting) as client:
            assert client.exit_code() == 0, client.errors()
