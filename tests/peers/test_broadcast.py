"""The chat: which member receives what, and how members that break the rules are handled."""

import contextlib
import http.client
import os
import re
import signal
import socket
import struct
import time

import pytest
from harness import DEADLINE, Failed, Program, address, example
from python_client import closed_by_server, expect, opened
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

LISTENING = re.compile(rb"listening on http://(\S+)")


class Chat:
    """A running `broadcast`."""

    def __init__(self, *arguments, descriptors=None):
        command = [example("broadcast"), "--listen", "127.0.0.1:0", *arguments]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$0" "$@"', *command]
        self.program = Program(command)
        line = self.program.line()
        if line is None or not (found := LISTENING.fullmatch(line)):
            raise Failed(f"no line with the address: {self.program}")
        self.url = f"ws://{found[1].decode()}"

    @contextlib.contextmanager
    def join(self, name=None, others=0):
        """Yields a member that has joined."""
        with opened(self.url if name is None else f"{self.url}/?name={name}") as member:
            if name is not None:
                expect(member, f"* you are {name}, others here: {others}")
            yield member

    def get(self, path="/", method="GET", headers={}):
        """Returns the response to a plain request, and its content."""
        connection = http.client.HTTPConnection(*address(self.url), timeout=DEADLINE)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content


@pytest.fixture
def start():
    started = []

    def run(*arguments, **kwargs):
        started.append(Chat(*arguments, **kwargs))
        return started[-1]

    yield run
    for chat in started:
        chat.program.kill()


@pytest.fixture
def chat(start):
    chat = start()
    yield chat
    assert chat.program.is_running(), f"the server ended: {chat.program}"


@pytest.fixture
def three(chat):
    """Yields three members that have seen each other join."""
    with chat.join("ann") as ann, chat.join("bob", 1) as bob, chat.join("cid", 2) as cid:
        expect(ann, "* bob joined")
        expect(ann, "* cid joined")
        expect(bob, "* cid joined")
        yield ann, bob, cid


class NeverReads:
    """A member that completes the opening handshake and reads nothing more until `close_code` is called."""

    def __init__(self, url, name):
        self.socket = socket.socket()
        # A small receive buffer, which has to be set before connecting.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(address(url))
        self.socket.sendall(
            f"GET /?name={name} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def close_code(self):
        """Reads up to the Close. Returns its code."""
        while self.stream.readline() not in (b"\r\n", b""):
            pass
        while head := self.stream.read(2):
            length = head[1]
            if length == 126:
                (length,) = struct.unpack("!H", self.stream.read(2))
            payload = self.stream.read(length)
            if head[0] == 0x88:
                return struct.unpack("!H", payload[:2])[0]
        raise AssertionError("no Close")


def talk_until(speaker, listener, notice):
    """Sends lines, each after the last one was received, until the listener receives the notice."""
    heard = None
    for number in range(100_000):
        line = f"{number} ".ljust(4000, "x")
        speaker.send(line)
        heard = listener.recv(timeout=DEADLINE)
        if heard == notice:
            heard = listener.recv(timeout=DEADLINE)
            number = None
        assert heard.endswith(f": {line}")
        if number is None:
            return
    raise AssertionError("a member that never reads is not dropped")


def test_line_is_sent_to_all_others_and_not_to_its_sender(three):
    ann, bob, cid = three
    ann.send("hello, 世界")
    expect(bob, "ann: hello, 世界")
    expect(cid, "ann: hello, 世界")
    bob.send("hello ann")
    # The first line that ann receives is not her own.
    expect(ann, "bob: hello ann")
    expect(cid, "bob: hello ann")


def test_lines_keep_their_order(three):
    ann, bob, cid = three
    for number in range(500):
        ann.send(f"line {number}")
    for listener in (bob, cid):
        for number in range(500):
            expect(listener, f"ann: line {number}")


def test_all_members_receive_lines_in_the_same_order(chat, three):
    ann, bob, _ = three
    with chat.join("dan", 3) as dan, chat.join("eve", 4) as eve:
        expect(dan, "* eve joined")
        for number in range(200):
            ann.send(f"{number}")
            bob.send(f"{number}")
        heard = [[listener.recv(timeout=DEADLINE) for _ in range(400)] for listener in (dan, eve)]
        assert heard[0] == heard[1]
        for speaker in ("ann", "bob"):
            lines = [line for line in heard[0] if line.startswith(speaker)]
            assert lines == [f"{speaker}: {number}" for number in range(200)]


def test_leaving_member_is_announced(three):
    ann, bob, cid = three
    bob.close()
    expect(ann, "* bob left")
    expect(cid, "* bob left")


def test_lost_member_is_announced(three):
    ann, bob, cid = three
    bob.socket.shutdown(socket.SHUT_RDWR)
    expect(ann, "* bob left")
    expect(cid, "* bob left")


def test_member_without_a_name_is_a_numbered_guest(chat):
    with chat.join() as first, chat.join() as second:
        expect(first, "* you are guest-1, others here: 0")
        expect(second, "* you are guest-2, others here: 1")
        expect(first, "* guest-2 joined")
        second.send("hello")
        expect(first, "guest-2: hello")


def test_guest_gets_a_name_that_is_not_taken(chat):
    with chat.join("Guest-1"), chat.join() as guest:
        expect(guest, "* you are guest-2, others here: 1")


def test_first_line_may_choose_a_name(chat):
    with chat.join("ann") as ann, chat.join() as bob:
        expect(ann, "* guest-1 joined")
        bob.send("/name bob")
        expect(bob, "* you are guest-1, others here: 1")
        expect(bob, "* you are bob")
        expect(ann, "* guest-1 is now bob")
        bob.send("hello")
        expect(ann, "bob: hello")


def test_name_may_be_taken_once_it_is_free(three):
    ann, bob, cid = three
    bob.send("/name Ann")
    expect(bob, "* the name Ann is taken")
    ann.send("/name anna")
    for listener in (bob, cid):
        expect(listener, "* ann is now anna")
    bob.send("/name Ann")
    expect(bob, "* you are Ann")


def test_member_whose_name_is_taken_becomes_a_guest(chat):
    with chat.join("ann"), opened(f"{chat.url}/?name=ANN") as second:
        expect(second, "* the name ANN is taken")
        expect(second, "* you are guest-1, others here: 1")


@pytest.mark.parametrize("name", ["", "x" * 25, "a b", "ann:", "*", "ännchen", "<b>"])
def test_invalid_name_is_refused(chat, name):
    with chat.join("ann") as ann:
        ann.send(f"/name {name}")
        assert "a name has" in ann.recv(timeout=DEADLINE)


def test_member_with_a_malformed_name_in_the_query_becomes_a_guest(chat):
    with opened(f"{chat.url}/?name=a%20b") as guest:
        assert "a name has" in guest.recv(timeout=DEADLINE)
        expect(guest, "* you are guest-1, others here: 0")


def test_control_characters_in_a_line_are_replaced(three):
    ann, bob, _ = three
    ann.send("hello\n* bob left\x1b[2J")
    expect(bob, "ann: hello * bob left [2J")


def test_binary_message_is_closed_with_1003(three):
    ann, bob, _ = three
    bob.send(b"\x00")
    assert closed_by_server(bob) == 1003
    expect(ann, "* bob left")


def test_message_over_the_limit_is_closed_with_1009(start):
    chat = start("--max-message-size", "100")
    with chat.join("ann") as ann, chat.join("bob", 1) as bob:
        expect(ann, "* bob joined")
        bob.send("x" * 100)
        expect(ann, "bob: " + "x" * 100)
        bob.send("x" * 101)
        assert closed_by_server(bob) == 1009
        expect(ann, "* bob left")


def test_member_that_never_reads_is_dropped_and_others_continue(start):
    chat = start("--queue", "20000", "--max-connections", "3")
    with chat.join("ann") as ann, chat.join("bob", 1) as bob, NeverReads(chat.url, "sloth"):
        expect(ann, "* bob joined")
        expect(ann, "* sloth joined")
        expect(bob, "* sloth joined")
        talk_until(ann, bob, "* sloth left: too slow")
        expect(ann, "* sloth left: too slow")
        ann.send("still here")
        expect(bob, "ann: still here")
        # Its Close cannot be written; its seat is free after a deadline.
        with join_once_free(chat, "cid") as cid:
            cid.send("hello")
            expect(ann, "* cid joined")
            expect(ann, "cid: hello")


@contextlib.contextmanager
def join_once_free(chat, name):
    """Yields a member, once there is a free seat."""
    end = time.monotonic() + DEADLINE
    with contextlib.ExitStack() as stack:
        member = None
        while member is None:
            try:
                member = stack.enter_context(opened(f"{chat.url}/?name={name}"))
            except InvalidStatus as refused:
                assert refused.response.status_code == 503
                if time.monotonic() > end:
                    raise Failed(f"no seat: {chat.program}") from None
                time.sleep(0.05)
        yield member


def test_member_that_reads_too_late_gets_close_1013(start):
    chat = start("--queue", "20000")
    with chat.join("ann") as ann, chat.join("bob", 1) as bob, NeverReads(chat.url, "sloth") as sloth:
        expect(bob, "* sloth joined")
        talk_until(ann, bob, "* sloth left: too slow")
        assert sloth.close_code() == 1013


def test_member_over_the_limit_is_refused_with_503(start):
    chat = start("--max-connections", "2")
    with chat.join("ann") as ann, chat.join("bob", 1) as bob:
        with pytest.raises(InvalidStatus) as refused, opened(chat.url):
            pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "10"
        # The page is still served.
        assert chat.get()[0].status == 200
        expect(ann, "* bob joined")
        bob.send("hello")
        expect(ann, "bob: hello")


def test_row_62_server_without_file_descriptors_continues_and_accepts_again(start):
    chat = start(descriptors=24)
    with chat.join("ann") as ann:
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(socket.create_connection(address(chat.url), timeout=DEADLINE))
            end = time.monotonic() + DEADLINE
            while chat.program.errors().count("accept: ") < 3:
                assert time.monotonic() < end, str(chat.program)
                time.sleep(0.05)
            ann.send("still here")
        with chat.join("bob", 1) as bob:
            expect(ann, "* bob joined")
            bob.send("hello")
            expect(ann, "bob: hello")
    assert chat.program.errors().count("accept: ") < 1000, "no pause between attempts"


def test_keep_alive_pings_are_sent_and_pongs_keep_the_connection(start):
    chat = start("--ping-interval", "1")
    pings = []
    with chat.join("ann") as ann:
        handle = ann.protocol.recv_frame

        def note(frame):
            pings.append(frame.opcode is Opcode.PING)
            handle(frame)

        ann.protocol.recv_frame = note
        end = time.monotonic() + DEADLINE
        while sum(pings) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert sum(pings) >= 2
        with chat.join("bob", 1):
            expect(ann, "* bob joined")


def test_page_has_a_content_security_policy(chat):
    response, content = chat.get()
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    (nonce,) = set(re.findall(r"'nonce-(\w+)'", policy))
    text = content.decode()
    tags = re.findall(r"<(?:script|style)\b[^>]*>", text)
    assert sorted(tags) == [f'<script nonce="{nonce}">', f'<style nonce="{nonce}">']
    assert nonce not in chat.get()[1].decode()


def test_page_loads_nothing_from_elsewhere_and_shows_text_only(chat):
    text = chat.get()[1].decode()
    assert "://" not in text
    assert "textContent" in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bon\w+=\"", text)


def test_other_pages_are_not_found(chat):
    assert chat.get("/favicon.ico")[0].status == 404
    assert chat.get("/?name=ann")[0].status == 200


def test_head_has_no_content(chat):
    response, content = chat.get(method="HEAD")
    assert (response.status, content) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


def test_other_methods_are_refused(chat):
    assert chat.get(method="POST")[0].status in (400, 405, 426)


def test_request_in_pieces_gets_the_page(chat):
    with socket.create_connection(address(chat.url), timeout=DEADLINE) as client:
        for piece in (b"GE", b"T / HTTP/1.1\r\nHo", b"st: h\r\n", b"\r\n"):
            client.sendall(piece)
        assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


def test_head_without_end_is_refused(chat):
    with socket.create_connection(address(chat.url), timeout=DEADLINE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20000)
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 4")


def test_browser_on_a_page_of_another_server_is_refused(chat):
    with pytest.raises(InvalidStatus) as refused, opened(chat.url, origin="http://elsewhere.example"):
        pass
    assert refused.value.response.status_code == 403
    with opened(chat.url, origin=chat.url.replace("ws:", "http:")) as own:
        expect(own, "* you are guest-1, others here: 0")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_with_1001_and_exits_with_0(start, signum):
    chat = start()
    with chat.join("ann") as ann, chat.join("bob", 1) as bob:
        expect(ann, "* bob joined")
        os.kill(chat.program._process.pid, signum)
        # No notice precedes it.
        assert closed_by_server(ann) == 1001
        assert closed_by_server(bob) == 1001
        assert chat.program.exit_code() == 0, str(chat.program)


def test_interrupt_does_not_wait_for_a_member_that_never_reads(start):
    chat = start()
    with chat.join("ann") as ann, NeverReads(chat.url, "sloth"):
        expect(ann, "* sloth joined")
        chat.program.interrupt()
        assert chat.program.exit_code() == 0, str(chat.program)


def test_address_in_use_is_an_error(chat):
    with Program([example("broadcast"), "--listen", chat.url.removeprefix("ws://")]) as second:
        assert second.rest() == []
        assert second.exit_code() not in (0, 101)
        assert "in use" in second.errors()
