"""Compression (permessage-deflate, RFC 7692): our servers with clients of Python's `websockets` and Node's
`ws`, and our client with their servers. A proxy between them records what was agreed on, and whether
it was used.

zlib does not support windows of 8 bits, and each program handles them differently:

- Python's client does not offer to limit its own window to 8 bits, and fails if a server does; its
  server declines offers that limit the server's window to 8 bits;
- Node uses 9 bits if 8 were agreed on, and still refers no further back than 250 bytes;
- our own programs send uncompressed messages.
"""

import base64
import contextlib
import json
import random

import pytest
import python_client
from harness import Program, example
from peers import BOMB, PEERS, node, node_options, python_server
from test_servers import SCENARIOS, start
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from wire import Sent, record

SERVERS = {"echo": ["echo"], "split": ["echo", "--split"], "parts": ["echo", "--parts"], "blocking": ["blocking_echo"]}
# With these options, a server requests no limits, and compresses all messages.
WILLING = ["--deflate", "--context-takeover", "--threshold", "0"]

TAKEOVER = [
    pytest.param({}, id="both"),
    pytest.param({"server_no_context_takeover": True}, id="client"),
    pytest.param({"client_no_context_takeover": True}, id="server"),
    pytest.param({"server_no_context_takeover": True, "client_no_context_takeover": True}, id="neither"),
]
# Each window size, with a different one in the other direction.
WINDOWS = [{"server_max_window_bits": bits, "client_max_window_bits": 24 - bits} for bits in range(9, 16)]


def words(size):
    """Returns text that compresses well, without a line ending."""
    choose = random.Random(size)
    text = "grüße, 世界 🦀 " if size > 100 else ""
    missing = size - len(text.encode())
    chosen = choose.choices(["compress", "window", "message", "takeover", "a", "of"], k=missing // 2 + 1)
    return text + " ".join(chosen)[:missing]


def noise(size, seed):
    """Returns bytes that do not compress, without a line ending."""
    some = bytes(byte for byte in range(256) if byte not in b"\r\n")
    return bytes(random.Random(seed).choices(some, k=size))


# Sent three times: with context takeover, the second and third refer to the first, even in a window
# of 9 bits.
REPEATED = noise(150, 1)
TEXTS = [words(size) for size in (0, 1, 100, 70_000, 1 << 20, 500)]
MESSAGES = [message for text in TEXTS for message in (text, text.encode())] + [REPEATED] * 3


def payload(message):
    return message.encode() if isinstance(message, str) else message


def assert_compressed(sent, messages, takeover):
    """Asserts that these messages were sent compressed, with or without context takeover."""
    assert len(sent) == len(messages)
    for one, message in zip(sent, map(payload, messages)):
        if len(message) >= 500 and message != REPEATED:
            assert one.compressed
            assert one.length < len(message) / 2
    once, again, _ = (one.length for one in sent[-3:])
    assert once >= 150
    assert again < 20 if takeover else again == once


def assert_only_short_compressed(sent, messages):
    """Asserts that those of at most 4 KiB were sent compressed, each by itself, and no others; none if sent in parts."""
    assert len(sent) == len(messages)
    if any(len(one.frames) > 1 for one in sent):
        assert not any(one.compressed for one in sent)
        return
    for one, message in zip(sent, map(payload, messages)):
        if len(message) > 4096:
            assert not one.compressed
        elif len(message) >= 500 and message != REPEATED:
            assert one.compressed and one.length < len(message)
    assert any(one.compressed for one in sent)
    once, *again = (one.length for one in sent[-3:])
    assert again == [once, once]


class Offer:
    """The parameters that a client of either peer offers."""

    def __init__(self, deflate):
        self.deflate = deflate

    def python(self, url, messages):
        extensions = [ClientPerMessageDeflateFactory(**self.deflate)]
        with python_client.opened(url, extensions=extensions) as client:
            for message in messages:
                client.send(message)
                python_client.expect(client, "".join(message) if isinstance(message, list) else message)

    def node(self, url, messages):
        listed = []
        for message in messages:
            parts = message if isinstance(message, list) else [message]
            binary = isinstance(parts[0], bytes)
            listed.append({"binary": binary, "parts": [base64.b64encode(part).decode() if binary else part for part in parts]})
        with node("client.cjs", "listed", url) as client:
            client.write(json.dumps({"perMessageDeflate": node_options(self.deflate), "messages": listed}).encode())
            client.end_input()
            client.rest()
            assert client.exit_code() == 0, str(client)


@pytest.fixture(params=["python", "node"])
def converse(request):
    """Returns a function that sends messages to a server, each after the echo of the last."""

    def run(url, messages, deflate):
        with record(url) as wire:
            getattr(Offer(deflate), request.param)(wire.url, messages)
        return wire

    run.peer = request.param
    return run


@contextlib.contextmanager
def serving(name, *arguments):
    with start(name, *arguments) as server:
        yield server.listening()
        assert server.is_running(), f"the server ended: {server}"
        assert "panicked" not in server.errors()


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    with serving(*SERVERS[request.param], *WILLING) as url:
        yield url


@pytest.fixture(scope="module")
def echo():
    with serving("echo", *WILLING) as url:
        yield url


def parameters(extensions):
    """Returns the parameters of one permessage-deflate, in the form of `deflate`."""
    name, *parts = [part.strip() for part in extensions.split(";")]
    assert name == "permessage-deflate"
    pairs = [part.partition("=") for part in parts]
    return {name: int(value) if value else True for name, _, value in pairs}


# Our servers.


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "compression_offered"])
def test_python_client(server, scenario):
    getattr(python_client, scenario)(server)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "compression_offered"])
def test_node_client(server, scenario):
    with node("client.cjs", scenario, server) as client:
        client.rest()
        assert client.exit_code() == 0, str(client)


@pytest.mark.parametrize("deflate", TAKEOVER)
def test_server_agrees_on_context_takeover(server, converse, deflate):
    wire = converse(server, MESSAGES, deflate)
    assert parameters(wire.extensions("server")) == deflate
    assert_compressed(wire.messages("client"), MESSAGES, "client_no_context_takeover" not in deflate)
    assert_compressed(wire.messages("server"), MESSAGES, "server_no_context_takeover" not in deflate)


def test_server_disables_context_takeover(converse):
    with serving("echo", "--deflate", "--threshold", "0") as url:
        wire = converse(url, MESSAGES, {})
    assert parameters(wire.extensions("server")) == {
        "server_no_context_takeover": True,
        "client_no_context_takeover": True,
    }
    assert_compressed(wire.messages("client"), MESSAGES, takeover=False)
    assert_compressed(wire.messages("server"), MESSAGES, takeover=False)


def repetitions(bits):
    """Returns messages that repeat themselves: one within a window of this size, one beyond it."""
    return [noise(size, size) * 2 for size in (3 << bits >> 3, 1 << bits)]


def assert_window(sent, bits):
    """Asserts that a window of this many bits is used."""
    near, far = sent
    assert near.compressed
    assert near.length < (3 << bits >> 3) * 1.4
    assert far.length > (1 << bits) * 1.9


@pytest.mark.parametrize("deflate", WINDOWS, ids=lambda deflate: f"{deflate['server_max_window_bits']} bits")
def test_server_uses_the_windows_that_the_client_requests(server, converse, deflate):
    own, theirs = deflate["server_max_window_bits"], deflate["client_max_window_bits"]
    messages = [*repetitions(own), *repetitions(theirs), *MESSAGES]
    wire = converse(server, messages, deflate)
    # A window of 15 bits is the default, which need not be mentioned.
    agreed = parameters(wire.extensions("server"))
    assert agreed.pop("client_max_window_bits", 15) == theirs
    assert agreed == {"server_max_window_bits": own}
    assert_window(wire.messages("server")[:2], own)
    assert_window(wire.messages("client")[2:4], theirs)
    for end in ("client", "server"):
        assert_compressed(wire.messages(end)[4:], MESSAGES, takeover=True)


@pytest.mark.parametrize("bits", range(9, 16))
def test_server_limits_both_windows(converse, bits):
    messages = [*repetitions(bits), *MESSAGES]
    with serving("echo", *WILLING, "--window-bits", str(bits)) as url:
        wire = converse(url, messages, {})
    limits = {"server_max_window_bits": bits, "client_max_window_bits": bits}
    assert parameters(wire.extensions("server")) == ({} if bits == 15 else limits)
    for end in ("client", "server"):
        assert_window(wire.messages(end)[:2], bits)
        assert_compressed(wire.messages(end)[2:], MESSAGES, takeover=True)


def test_server_with_a_window_of_8_bits_compresses_short_messages(server, converse):
    wire = converse(server, MESSAGES, {"server_max_window_bits": 8})
    assert parameters(wire.extensions("server")) == {"server_max_window_bits": 8}
    assert_compressed(wire.messages("client"), MESSAGES, takeover=True)
    assert_only_short_compressed(wire.messages("server"), MESSAGES)


def test_server_inflates_messages_compressed_with_8_bits(server):
    with record(server) as wire:
        Offer({"client_max_window_bits": 8}).node(wire.url, MESSAGES)
    assert parameters(wire.extensions("server")) == {"client_max_window_bits": 8}
    assert_compressed(wire.messages("client"), MESSAGES, takeover=True)
    assert_compressed(wire.messages("server"), MESSAGES, takeover=True)


def test_python_client_does_not_compress_with_8_bits():
    with pytest.raises(ValueError, match="between 9 and 15"):
        ClientPerMessageDeflateFactory(client_max_window_bits=8)
    with serving("echo", *WILLING, "--window-bits", "8") as url, pytest.raises(NegotiationError):
        python_client.opened(url)


PARTS = ["fragments ", "", "of a ", "mess", "äge, " * 20_000, "compressed"]


@pytest.mark.parametrize("deflate", TAKEOVER)
def test_fragments_of_a_compressed_message_are_echoed(server, converse, deflate):
    messages = [PARTS, "between", PARTS[::-1]]
    if converse.peer == "node":
        messages.append([part.encode() for part in PARTS])
    with_parts = [message for message in messages if isinstance(message, list)]
    wire = converse(server, messages, deflate)
    in_parts = [one for one in wire.messages("client") if len(one.frames) > 1]
    assert len(in_parts) == len(with_parts)
    # Python ends a message with an empty frame.
    assert all(len(one.frames) >= len(PARTS) for one in in_parts)
    for end in ("client", "server"):
        assert all(one.compressed and one.length < 5_000 for one in wire.messages(end)[:3:2])


def test_client_without_an_offer_receives_uncompressed_messages(server):
    with record(server) as wire, python_client.opened(wire.url, compression=None) as client:
        for message in MESSAGES:
            client.send(message)
            python_client.expect(client, message)
    assert (wire.extensions("client"), wire.extensions("server")) == ("", "")
    lengths = [len(payload(message)) for message in MESSAGES]
    assert [(one.compressed, one.length) for one in wire.messages("server")] == [(False, length) for length in lengths]


def test_threshold_is_respected(converse):
    messages = ["a" * 999, "a" * 1000]
    with serving("echo", "--deflate", "--threshold", "1000") as url:
        wire = converse(url, messages, {})
    assert [one.compressed for one in wire.messages("server")] == [False, True]


def test_level_is_respected(converse):
    sizes = {}
    for level in ("1", "9"):
        with serving("echo", "--deflate", "--level", level) as url:
            wire = converse(url, [words(1 << 20)], {})
        sizes[level] = wire.messages("server")[0].length
    assert sizes["9"] < sizes["1"]


def test_bomb_of_python_is_closed_with_1009(server):
    with record(server) as wire, python_client.opened(wire.url) as client:
        client.send(BOMB)
        assert python_client.closed_by_server(client) == 1009
    assert wire.messages("client")[0].length < 70_000
    python_client.text(server)


def test_bomb_of_node_is_closed_with_1009(server):
    with record(server) as wire, node("client.cjs", "bomb", wire.url) as client:
        client.rest()
        assert client.exit_code() == 0, str(client)
    assert wire.messages("client")[0].length < 70_000
    python_client.text(server)


# Our client.

LINES = [message for message in map(payload, TEXTS)] + [REPEATED] * 3


@pytest.fixture(params=PEERS)
def peer(request):
    return PEERS[request.param]


def send_lines(server, lines, *arguments):
    """Sends lines, each after the echo of the last. Returns what was transmitted, and the client's errors."""
    with record(server.url) as wire, Program([example("client"), wire.url, *arguments]) as client:
        for line in lines:
            client.write(line + b"\n")
            received = client.line()
            assert received is not None, str(client)
            assert len(received) == len(line)
            assert (received == line) is True
        client.end_input()
        assert client.rest() == []
        assert client.exit_code() == 0, str(client)
        return wire, client.errors()


@pytest.mark.parametrize("deflate", TAKEOVER)
def test_client_agrees_on_context_takeover(peer, deflate):
    with peer("echo", deflate) as server:
        wire, errors = send_lines(server, LINES, "--binary", *WILLING)
    assert wire.extensions("client") == "permessage-deflate; client_max_window_bits"
    assert parameters(wire.extensions("server")) == deflate
    assert_compressed(wire.messages("client"), LINES, "client_no_context_takeover" not in deflate)
    assert_compressed(wire.messages("server"), LINES, "server_no_context_takeover" not in deflate)
    assert f"connected, extensions {wire.extensions('server')}" in errors


def test_client_disables_context_takeover(peer):
    with peer("echo") as server:
        wire, _ = send_lines(server, LINES, "--binary", "--deflate", "--threshold", "0")
    for end in ("client", "server"):
        assert "server_no_context_takeover; client_no_context_takeover" in wire.extensions(end)
        assert_compressed(wire.messages(end), LINES, takeover=False)


@pytest.mark.parametrize("deflate", TAKEOVER)
def test_client_sends_compressed_text(peer, deflate):
    lines = [text.encode() for text in TEXTS] * 2
    with peer("echo", deflate) as server:
        wire, _ = send_lines(server, lines, *WILLING)
        assert [server.event("message")["binary"] for _ in lines] == [False] * len(lines)
    for end in ("client", "server"):
        assert all(one.length < len(line) / 2 for one, line in zip(wire.messages(end), lines) if len(line) >= 500)


@pytest.mark.parametrize("deflate", WINDOWS, ids=lambda deflate: f"{deflate['client_max_window_bits']} bits")
def test_client_uses_the_windows_that_the_server_requests(peer, deflate):
    own, theirs = deflate["client_max_window_bits"], deflate["server_max_window_bits"]
    with peer("echo", deflate) as server:
        wire, _ = send_lines(server, [*repetitions(own), *repetitions(theirs), *LINES], "--binary", *WILLING)
    assert parameters(wire.extensions("server")) == deflate
    assert_window(wire.messages("client")[:2], own)
    assert_window(wire.messages("server")[2:4], theirs)
    for end in ("client", "server"):
        assert_compressed(wire.messages(end)[4:], LINES, takeover=True)


@pytest.mark.parametrize("bits", range(9, 16))
def test_client_limits_both_windows(peer, bits):
    with peer("echo") as server:
        wire, _ = send_lines(server, [*repetitions(bits), *LINES], "--binary", *WILLING, "--window-bits", str(bits))
    for end in ("client", "server"):
        assert_window(wire.messages(end)[:2], bits)
        assert_compressed(wire.messages(end)[2:], LINES, takeover=True)


def test_client_with_a_window_of_8_bits_compresses_short_messages(peer):
    with peer("echo", {"client_max_window_bits": 8}) as server:
        wire, _ = send_lines(server, LINES, "--binary", *WILLING)
    assert parameters(wire.extensions("server")) == {"client_max_window_bits": 8}
    assert_compressed(wire.messages("server"), LINES, takeover=True)
    assert_only_short_compressed(wire.messages("client"), LINES)


def test_client_inflates_messages_compressed_with_8_bits():
    with PEERS["node"]("echo") as server:
        wire, _ = send_lines(server, LINES, "--binary", *WILLING, "--window-bits", "8")
    assert "server_max_window_bits=8" in wire.extensions("server")
    assert_compressed(wire.messages("server"), LINES, takeover=True)


def test_python_server_declines_to_compress_with_8_bits():
    with python_server("echo") as server:
        wire, errors = send_lines(server, LINES, "--binary", *WILLING, "--window-bits", "8")
    assert wire.extensions("server") == ""
    lengths = [len(line) for line in LINES]
    for end in ("client", "server"):
        assert wire.messages(end) == [Sent(compressed=False, frames=[length]) for length in lengths]
    assert "extensions" not in errors


@pytest.mark.parametrize("deflate", TAKEOVER)
def test_client_receives_fragments_of_a_compressed_message(peer, deflate):
    with peer("fragments", deflate) as server, record(server.url) as wire:
        with Program([example("client"), wire.url, "--deflate", "--context-takeover"]) as client:
            assert client.line() == b"one, zwei, drei", str(client)
            assert client.line() == b"the pong came", str(client)
            client.end_input()
            assert client.rest() == []
            assert client.exit_code() == 0, str(client)
    sent, _ = wire.messages("server")
    assert sent.compressed
    assert len(sent.frames) >= 3


def test_client_closes_a_bomb_with_1009(peer):
    with peer("bomb") as server, record(server.url) as wire:
        with Program([example("client"), wire.url, "--deflate"]) as client:
            assert client.rest() == []
            assert client.exit_code() == 1, str(client)
            assert "panicked" not in client.errors()
        assert server.event("close")["code"] == 1009
    assert wire.messages("server")[0].length < 70_000


# The options.


@pytest.mark.parametrize("name", ["echo", "blocking_echo", "client", "autobahn_client", "broadcast"])
@pytest.mark.parametrize(
    "arguments",
    [["--context-takeover"], ["--deflate", "--window-bits", "7"], ["--deflate", "--window-bits", "16"], ["--deflate", "--level", "0"]],
    ids=" ".join,
)
def test_invalid_option_is_an_error(name, arguments):
    url = ["ws://127.0.0.1:1"] if name == "client" else []
    with Program([example(name), *url, *arguments]) as program:
        program.end_input()
        assert program.rest() == []
        assert program.exit_code() == 2, str(program)
        assert arguments[-2 if len(arguments) > 1 else 0] in program.errors()
