"""The push server: commands are answered while ticks are sent."""

import json
import os
import re
import signal
import socket

import pytest
from harness import DEADLINE, Program, address, example
from python_client import closed_by_server, opened


@pytest.fixture
def start():
    started = []

    def run(*arguments):
        program = Program([example("push"), "--listen", "127.0.0.1:0", *arguments])
        started.append(program)
        return program, program.listening()

    yield run
    for program in started:
        program.kill()


@pytest.fixture
def client(start):
    """Yields a client of a server that ticks often."""
    program, url = start("--interval", "5")
    with opened(url) as client:
        yield client
    assert program.is_running(), str(program)


@pytest.fixture
def quiet(start):
    """Yields a client of a server that does not tick during the test."""
    _, url = start("--interval", "3600000")
    with opened(url) as client:
        yield client


def receive(client):
    return json.loads(client.recv(timeout=DEADLINE))


def command(client, line):
    """Sends a command. Returns the answer, and the ticks that were received before it."""
    client.send(line)
    ticks = []
    while "tick" in (message := receive(client)):
        ticks.append(message)
    return message, ticks


def ticks(client, count):
    """Returns the next ticks, and asserts that nothing else is received."""
    received = [receive(client) for _ in range(count)]
    assert all(set(tick) == {"tick", "n"} for tick in received), received
    return received


def test_ticks_are_sent_to_subscribers(client):
    assert command(client, "subscribe a") == ({"subscribed": "a"}, [])
    assert ticks(client, 10) == [{"tick": "a", "n": n} for n in range(1, 11)]


def test_tick_has_the_documented_json_text(client):
    command(client, "subscribe a")
    assert client.recv(timeout=DEADLINE) == '{"tick":"a","n":1}'


def test_each_subscription_counts_its_own_ticks(client):
    command(client, "subscribe a")
    assert ticks(client, 2)[-1]["n"] == 2
    command(client, "subscribe b")
    seen = {"a": [], "b": []}
    while min(map(len, seen.values())) < 5:
        tick = receive(client)
        seen[tick["tick"]].append(tick["n"])
    assert seen["b"][:5] == [1, 2, 3, 4, 5]
    assert seen["a"] == list(range(seen["a"][0], seen["a"][0] + len(seen["a"])))


def test_no_ticks_are_sent_after_unsubscribe(client):
    command(client, "subscribe a")
    command(client, "subscribe b")
    ticks(client, 4)
    assert command(client, "unsubscribe a")[0] == {"unsubscribed": "a"}
    assert {tick["tick"] for tick in ticks(client, 20)} == {"b"}


def test_no_ticks_are_sent_without_a_subscription(start):
    _, url = start("--interval", "1")
    with opened(url) as subscriber, opened(url) as other:
        command(subscriber, "subscribe a")
        ticks(subscriber, 50)
        assert command(other, "list") == ({"subscriptions": []}, [])


def test_commands_are_answered_while_ticks_are_sent(client):
    command(client, "subscribe a")
    last = 0
    for _ in range(50):
        answer, before = command(client, "list")
        assert answer == {"subscriptions": ["a"]}
        for tick in before + ticks(client, 1):
            last += 1
            assert tick == {"tick": "a", "n": last}


def test_list_returns_the_subscriptions(quiet):
    assert command(quiet, "list")[0] == {"subscriptions": []}
    for name in ("b", "a", "c.1-x_Y"):
        assert command(quiet, f"subscribe {name}")[0] == {"subscribed": name}
    assert command(quiet, " list ")[0] == {"subscriptions": ["a", "b", "c.1-x_Y"]}
    command(quiet, "unsubscribe b")
    assert command(quiet, "list")[0] == {"subscriptions": ["a", "c.1-x_Y"]}


def test_second_subscription_to_a_name_has_no_effect(client):
    command(client, "subscribe a")
    ticks(client, 3)
    answer, before = command(client, "subscribe a")
    assert answer == {"subscribed": "a"}
    following = 4 + len(before)
    assert ticks(client, 2) == [{"tick": "a", "n": following}, {"tick": "a", "n": following + 1}]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "fly",
        "LIST",
        "subscribe",
        "subscribe a b",
        "list all",
        'subscribe "',
        "subscribe " + "x" * 33,
        "unsubscribe a",
        b"list",
    ],
)
def test_invalid_command_is_answered_with_an_error_and_the_connection_stays_open(quiet, line):
    assert list(command(quiet, line)[0]) == ["error"]
    assert command(quiet, "list")[0] == {"subscriptions": []}


def test_subscriptions_are_limited(quiet):
    for number in range(32):
        assert command(quiet, f"subscribe {number}")[0] == {"subscribed": str(number)}
    assert command(quiet, "subscribe x")[0] == {"error": "too many subscriptions"}
    assert command(quiet, "subscribe 0")[0] == {"subscribed": "0"}


def test_command_over_the_limit_is_closed_with_1009(quiet):
    quiet.send("x" * 1025)
    assert closed_by_server(quiet) == 1009


def test_slow_reader_misses_ticks_and_receives_later_ones(start):
    program, url = start("--interval", "1")
    with socket.socket() as slow, opened(url) as punctual:
        subscribe_without_reading(slow, url)
        # After that, the kernel's buffers of the slow client are full: 4000 times 32 ticks are 6 MB.
        command(punctual, "subscribe clock")
        assert ticks(punctual, 4000)[-1] == {"tick": "clock", "n": 4000}
        before, after = first_gap(slow, program)
        assert after > before + 1
        # Other clients still receive their ticks.
        ticks(punctual, 10)


def subscribe_without_reading(client, url):
    """Subscribes to 32 long names."""
    client.settimeout(DEADLINE)
    client.connect(address(url))
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for number in range(32):
        line = b"subscribe " + b"%d" % number + b"x" * 30
        # A masking key of zeros leaves the payload data unchanged.
        client.sendall(bytes([0x81, 0x80 | len(line), 0, 0, 0, 0]) + line)


def first_gap(client, program):
    """Reads until the count of the first subscription has a gap. Returns the counts around the gap."""
    last, unread = None, b""
    while data := client.recv(1 << 16):
        unread += data
        end = 0
        for tick in re.finditer(rb'"0x+","n":(\d+)}', unread):
            n, end = int(tick[1]), tick.end()
            if last is not None and n != last + 1:
                return last, n
            last = n
        unread = unread[end:]
    raise AssertionError(f"no tick was missed up to {last}: {program}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_with_1001_and_exits_with_0(start, signum):
    program, url = start("--interval", "3600000")
    with opened(url) as first, opened(url) as second:
        command(second, "subscribe a")
        os.kill(program._process.pid, signum)
        assert closed_by_server(first) == 1001
        assert closed_by_server(second) == 1001
        assert program.exit_code() == 0, str(program)


def test_interval_of_0_is_an_error():
    with Program([example("push"), "--interval", "0"]) as program:
        assert program.rest() == []
        assert program.exit_code() == 2
        assert "--interval" in program.errors()
