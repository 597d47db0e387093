"""The terminal client, with servers of Python's `websockets` and Node's `ws`, and with our own servers."""

import base64
import http.server
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import DEADLINE, Program, example, free_port
from peers import PEERS, accept, listener, node_server, read_all, wait_until


@pytest.fixture(params=PEERS)
def peer(request):
    return PEERS[request.param]


def client(url, *arguments):
    return Program([example("client"), url, *arguments])


def finish(program):
    """Ends the input, and asserts that the client closes cleanly. Returns the rest of its output."""
    program.end_input()
    rest = program.rest()
    assert program.exit_code() == 0, str(program)
    return rest


def fails(program):
    """Asserts that the client ends with an error. Returns the error."""
    assert program.rest() == []
    assert program.exit_code() not in (0, None, 101), str(program)
    errors = program.errors()
    assert errors.strip(), "no error was printed"
    assert "panicked" not in errors
    return errors


def test_lines_are_sent_and_answers_printed(peer):
    with peer("echo") as server, client(server.url) as program:
        for line in ["hello", "", "grüße, 世界 🦀", "x" * 1000]:
            program.write(line.encode() + b"\n")
            assert program.line() == line.encode(), str(program)
            assert server.event("message") == {"event": "message", "binary": False, "length": len(line.encode())}
        assert finish(program) == []
        assert server.event("close") == {"event": "close", "code": 1000, "reason": ""}


def test_binary_mode_sends_binary_messages(peer):
    with peer("acknowledge") as server, client(server.url, "--binary") as program:
        program.write(b"12345\n")
        assert program.line() == b"binary 5", str(program)
        assert finish(program) == []
        assert server.event("close")["code"] == 1000


def test_headers_and_subprotocol_are_passed(peer):
    arguments = ["--header", "X-Token: a b", "--header", "X-Other: 2", "--subprotocol", "chat.v1"]
    with peer("echo") as server, client(server.url, *arguments) as program:
        opened = server.event("open")
        assert opened["headers"]["x-token"] == "a b"
        assert opened["headers"]["x-other"] == "2"
        assert opened["headers"]["sec-websocket-protocol"] == "chat.v1"
        assert opened["subprotocol"] == "chat.v1"
        assert "sec-websocket-extensions" not in opened["headers"]
        finish(program)


def test_subprotocol_that_the_server_does_not_choose_is_no_error(peer):
    with peer("echo") as server, client(server.url, "--subprotocol", "other") as program:
        assert server.event("open")["subprotocol"] is None
        program.write(b"hello\n")
        assert program.line() == b"hello", str(program)
        finish(program)


def test_2000_lines_in_flight_keep_their_order(peer):
    lines = [f"line {i}".encode() for i in range(2000)]
    with peer("echo") as server, client(server.url) as program:
        program.write_lines(lines)
        assert [program.line() for _ in lines] == lines
        assert finish(program) == []


def test_line_of_5_mib_is_echoed(peer):
    line = b"0123456789abcdef" * (5 << 16)
    with peer("echo") as server, client(server.url) as program:
        program.write_lines([line])
        received = program.line()
        assert received is not None, str(program)
        assert len(received) == len(line)
        assert (received == line) is True
        finish(program)


def test_fragments_of_the_server_are_joined_and_its_pings_answered(peer):
    with peer("fragments") as server, client(server.url) as program:
        assert program.line() == b"one, zwei, drei", str(program)
        assert program.line() == b"the pong came", str(program)
        finish(program)
        assert server.event("close")["code"] == 1000


def test_close_of_the_server_is_printed(peer):
    with peer("close") as server, client(server.url) as program:
        program.write(b"hello\n")
        program.rest()
        program.exit_code()
        errors = program.errors()
        assert "4001" in errors
        assert "that is enough" in errors
        assert "panicked" not in errors
        assert server.event("close")["code"] == 4001


def test_connection_that_ends_without_close_is_an_error(peer):
    with peer("vanish") as server, client(server.url) as program:
        program.write(b"hello\n")
        fails(program)


def test_keep_alive_pings_are_sent():
    with node_server("echo") as server, client(server.url, "--ping-interval", "1") as program:
        server.event("ping")
        server.event("ping")
        finish(program)
        assert server.event("close")["code"] == 1000


@pytest.mark.parametrize("name", ["echo", "blocking_echo"])
def test_answers_to_piped_lines_are_printed_before_the_client_exits(name):
    lines = [f"line {i}".encode() for i in range(2000)]
    with Program([example(name), "--listen", "127.0.0.1:0"]) as server, client(server.listening()) as program:
        # The last line has no end.
        program.write(b"\n".join(lines))
        assert finish(program) == lines


def test_closed_port_is_an_error():
    errors = fails(client(f"ws://127.0.0.1:{free_port()}"))
    assert "refused" in errors.lower()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "ws://127.0.0.1:99999", "ws://127.0.0.1:1/#part"])
def test_url_that_is_not_a_websocket_url_is_an_error(url):
    fails(client(url))


def test_header_with_a_line_break_is_an_error():
    fails(client(f"ws://127.0.0.1:{free_port()}", "--header", "X-Token: a\r\nX-Other: b"))


@pytest.mark.parametrize("status", [200, 302, 401, 404, 503])
def test_plain_http_server_is_an_error_with_its_status(status):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = b"no WebSocket here\n"
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        errors = fails(client(f"ws://127.0.0.1:{server.server_port}"))
        server.shutdown()
    assert str(status) in errors


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="no HTTP"),
        pytest.param(b"", id="nothing"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            id="another Accept",
        ),
    ],
)
def test_response_that_is_not_a_handshake_is_an_error(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(4096)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        fails(client(f"ws://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()


def test_interrupt_closes_cleanly(peer):
    with peer("echo") as server, client(server.url) as program:
        program.write(b"hello\n")
        assert program.line() == b"hello", str(program)
        program.interrupt()
        assert program.rest() == []
        assert program.exit_code() == 0, str(program)
        assert server.event("close") == {"event": "close", "code": 1000, "reason": "interrupted"}


def interrupted(program):
    """Sends SIGINT, and waits until the client reports it."""
    program.interrupt()
    wait_until(lambda: "Ctrl-C again" in program.errors(), program)


def test_second_interrupt_ends_the_client_at_once():
    with listener() as (listening, url), client(url) as program, accept(listening) as connection:
        connection.sendall(b"\x81\x05ready")
        assert program.line() == b"ready", str(program)
        # The peer does not answer the Close, for which the client waits.
        interrupted(program)
        program.interrupt()
        assert program.exit_code() == 130, str(program)


def stuck(listening, program):
    """Lets the client send to a peer that does not read. Returns the peer's connection."""
    connection = accept(listening)
    program.write_lines([b"x" * (32 << 20), b"another"])
    connection.recv(1, socket.MSG_PEEK)
    return connection


def test_messages_of_a_server_that_does_not_read_are_printed():
    with listener() as (listening, url), client(url) as program, stuck(listening, program) as connection:
        for text in [b"one", b"two"]:
            connection.sendall(b"\x81\x03" + text)
            assert program.line() == text, str(program)


def test_interrupt_ends_a_client_whose_server_does_not_read():
    with listener() as (listening, url), client(url) as program, stuck(listening, program):
        interrupted(program)
        assert program.rest() == []
        assert program.exit_code() == 1, str(program)
        assert "close timeout" in program.errors()


def test_second_interrupt_ends_a_client_whose_server_does_not_read():
    with listener() as (listening, url), client(url) as program, stuck(listening, program):
        interrupted(program)
        program.interrupt()
        assert program.exit_code() == 130, str(program)


def test_lines_that_wait_to_be_sent_are_sent_in_order():
    lines = [b"x" * (8 << 20), b"", b"y" * (8 << 20), b"z"]
    with listener() as (listening, url), client(url) as program, accept(listening) as connection:
        writer = program.write_lines(lines)
        connection.recv(1, socket.MSG_PEEK)
        connection.sendall(b"\x81\x05ready")
        assert program.line() == b"ready", str(program)
        data = bytearray()
        # The frames, 14 or 6 bytes of header before each payload.
        while len(data) < sum(len(line) + (14 if len(line) > 125 else 6) for line in lines):
            data += connection.recv(1 << 20)
        writer.join()
        connection.sendall(b"\x88\x00")
        connection.shutdown(socket.SHUT_WR)
        assert finish(program) == []
    lengths, at = [], 0
    while at < len(data):
        short = data[at + 1] & 0x7F
        header, length = (14, int.from_bytes(data[at + 2 : at + 10], "big")) if short == 127 else (6, short)
        lengths.append(length)
        at += header + length
    assert lengths == [len(line) for line in lines]


def test_interrupts_end_a_client_whose_output_is_not_read():
    with listener() as (listening, url):
        command = [example("client"), url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            with accept(listening) as connection:
                # A pipe holds 64 KiB; the rest stays in the client and in the socket.
                connection.sendall(b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + b"x" * (1 << 20))
                end = time.monotonic() + DEADLINE
                # Once the first byte is read, the client blocks while it writes the rest.
                assert os.read(process.stdout.fileno(), 1) == b"x"
                while process.poll() is None and time.monotonic() < end:
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.1)
                assert process.poll() == 130


HARMFUL = b"a\x1b[2J\tb\rc\x7f\xc2\x9b d\ne"


def served(payload, **kwargs):
    """Runs the client with a server that sends a message and closes with a reason with control characters.

    Returns the client's process.
    """
    with listener() as (listening, url):
        process = subprocess.Popen([example("client"), url], stdin=subprocess.PIPE, **kwargs)
        with accept(listening) as connection:
            connection.sendall(bytes([0x82, len(payload)]) + payload + b"\x88\x08\x0f\xa1r\x1b[2J\t")
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
        return process


def test_control_characters_are_piped_unchanged():
    process = served(HARMFUL + b"\xff", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = process.communicate(timeout=DEADLINE)
    assert out == HARMFUL + b"\xff\n"
    assert b"r\\u{1b}[2J\\t" in errors


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_control_characters_are_escaped_for_a_terminal(stream, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = pty.openpty()
    others = {"stdout", "stderr"} - {stream}
    process = served(HARMFUL + b"\xff", **{stream: theirs}, **dict.fromkeys(others, subprocess.PIPE))
    os.close(theirs)
    shown = b""
    # On Linux, the end of a terminal is an error.
    try:
        while more := os.read(ours, 4096):
            shown += more
    except OSError:
        pass
    os.close(ours)
    out, errors = process.communicate(timeout=DEADLINE)
    if stream == "stdout":
        assert shown.replace(b"\r\n", b"\n") == b"a\\u{1b}[2J\tb\\rc\\u{7f}\\u{9b} d\ne\\xff\n"
        assert b"r\\u{1b}[2J\\t" in errors
    else:
        assert b"r\\u{1b}[2J\\t" in shown
        assert b"\x1b" not in shown
        assert out == HARMFUL + b"\xff\n"


def json_lines(program):
    return [json.loads(line) for line in program.rest()]


def test_events_are_printed_as_json(peer):
    with peer("close") as server, client(server.url, "--json", "--timestamps", "--subprotocol", "chat.v1") as program:
        program.write(b"hello\n")
        events = json_lines(program)
        assert [event["type"] for event in events] == ["connected", "closed"]
        assert events[0]["subprotocol"] == "chat.v1"
        assert (events[1]["code"], events[1]["name"], events[1]["reason"]) == (4001, None, "that is enough")
        assert all(event["time"] > 1_700_000_000 for event in events)
        assert program.exit_code() == 6, str(program)


def test_messages_are_printed_as_json(peer):
    with peer("echo") as server, client(server.url, "--json", "--ping-interval", "0") as program:
        program.write('grüße "😀"\n'.encode())
        assert json.loads(program.line())["type"] == "connected"
        assert json.loads(program.line()) == {"type": "text", "text": 'grüße "😀"'}
        program.end_input()
        [closed] = json_lines(program)
        assert (closed["type"], closed["code"], closed["name"]) == ("closed", 1000, "normal closure")


def test_binary_files_are_sent_first(peer, tmp_path):
    content = bytes(range(256)) * 1000
    file = tmp_path / "file"
    file.write_bytes(content)
    with peer("echo") as server, client(server.url, "--json", "--binary-file", file) as program:
        program.write(b"a line\n")
        program.line()
        received = json.loads(program.line())
        assert (received["type"], base64.b64decode(received["base64"])) == ("binary", content)
        assert json.loads(program.line())["text"] == "a line"
    with peer("echo") as server, client(server.url, "--binary-file", tmp_path / "absent") as program:
        assert "absent" in fails(program)


def test_round_trips_of_pings_are_printed():
    with node_server("echo") as server, client(server.url, "--ping-interval", "1", "--latency") as program:
        wait_until(lambda: " ms" in program.errors(), program)
        finish(program)


def test_timestamps_precede_what_is_printed(peer):
    with peer("echo") as server, client(server.url, "--timestamps") as program:
        program.write(b"hello\n")
        assert re.fullmatch(rb"\d\d:\d\d:\d\d\.\d{3} hello", program.line())
        finish(program)
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} connected", program.errors())


def test_the_exit_status_says_what_failed():
    def status(*arguments):
        with client(*arguments) as program:
            fails(program)
            return program.exit_code()

    assert status("http://127.0.0.1/") == 2
    assert status("ws://127.0.0.1/", "--no-such-option") == 2
    assert status(f"ws://127.0.0.1:{free_port()}/") == 3
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        assert status(f"ws://127.0.0.1:{server.server_port}/") == 4
        thread.join()
    with Program([example("echo"), "--listen", "127.0.0.1:0"]) as server:
        assert status(server.listening().replace("ws://", "wss://"), "--insecure") == 5


def test_close_of_the_server_is_printed_with_its_name():
    with Program([example("echo"), "--listen", "127.0.0.1:0"]) as server, client(server.listening()) as program:
        program.write(b"hello\n")
        assert program.line() == b"hello", str(program)
        server.interrupt()
        assert program.rest() == []
        assert program.exit_code() == 0, str(program)
        assert "closed: 1001 going away (the server stops)" in program.errors()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_notes_are_dim_in_a_terminal(no_color, monkeypatch):
    monkeypatch.setenv("NO_COLOR", no_color)
    ours, theirs = pty.openpty()
    with Program([example("echo"), "--listen", "127.0.0.1:0"]) as server:
        command = [example("client"), server.listening()]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            assert process.wait(timeout=DEADLINE) == 0
    first = os.read(ours, 4096).splitlines()[0]
    os.close(ours)
    assert first == (b"connected" if no_color else b"\x1b[2mconnected\x1b[0m")


def test_a_client_connects_again_and_sends_the_lines_that_waited():
    port = free_port()
    echo = [example("echo"), "--listen", f"127.0.0.1:{port}"]
    with client(f"ws://127.0.0.1:{port}", "--reconnect") as program:
        program.write(b"before the server\n")
        with Program(echo) as server:
            server.listening()
            assert program.line() == b"before the server", str(program)
        wait_until(lambda: "connecting again" in program.errors().split("connected", 1)[1], program)
        program.write(b"while it is away\n")
        with Program(echo) as server:
            server.listening()
            assert program.line() == b"while it is away", str(program)
            assert finish(program) == []
        assert program.errors().count("\nconnected") == 2


def test_a_client_does_not_connect_again_after_a_refusal():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        with client(f"ws://127.0.0.1:{server.server_port}/", "--reconnect") as program:
            # The handler answers 501, which may pass; the next attempt finds nobody.
            wait_until(lambda: "connecting again" in program.errors(), program)
        thread.join()
