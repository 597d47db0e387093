"""The servers and clients under test, in their hosts."""

import base64
import hashlib
import hmac
import json
import os
import queue
import random
import threading
import time
from pathlib import Path

from harness import DEADLINE, PACKAGES, ROOT, Failed, Program
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

# Built without optimization, as the packages are.
ECHO = ROOT / "target" / "debug" / "examples" / "echo"
CLASSROOM = PACKAGES / "classroom"
TALK = PACKAGES / "talk"
SECRET = "a secret that is for these tests only"
CLASSROOM_PORT = 3000
ECHO_PORT = 9001
# No rate limits, and deadlines for a link whose queue is long.
CLASSROOM_OPTIONS = ["--jwt-secret", SECRET, "--rate", "1000000", "--burst", "1000000", "--keep-messages", "10000000"]
# How long nothing may happen before a test fails: a client that connects again waits for a second at most.
PATIENCE = DEADLINE
# Seconds between two messages of a client.
PAUSE = 0.01
# The growth of a server's memory that is permitted, in bytes. Its history is in a file; SQLite may
# fill its cache of 2 MB, and the allocator keeps some of what connections had.
GROWTH = 4 << 20


def wait_until(condition, what):
    """Waits for a condition. `what` is a text, or returns one."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"never: {what() if callable(what) else what}")
        time.sleep(0.02)


class Server:
    """A server that can be killed and started again at the same address."""

    def __init__(self, host, port, command, **kwargs):
        self.host, self.port = host, port
        self._command, self._kwargs = command, kwargs
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        self.program = Program(self.host.command(self._command), **self._kwargs)
        while b"listening on" not in (line := self.program.line() or b"listening on nothing"):
            pass
        if line == b"listening on nothing":
            raise Failed(f"ended before it listened: {self.program}")

    def kill(self):
        """Sends SIGKILL."""
        self.program.kill()

    @property
    def pid(self):
        return self.program.pid()

    def descriptors(self):
        """Returns the number of open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def processor_time(self):
        """Returns the processor time of all threads, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def usage(self):
        return Usage(self)


class Usage:
    """What a server uses at one time."""

    def __init__(self, server):
        self._server = server
        self.descriptors = server.descriptors()
        self.memory = server.program.resident()

    def __str__(self):
        return f"{self.descriptors} descriptors, {self.memory >> 10} KiB"

    def expect_again(self):
        """Waits until the server has as many descriptors as now, and no more memory, but for the growth permitted."""
        server = self._server

        def is_as_before():
            now = server.usage()
            return now.descriptors == self.descriptors and now.memory <= self.memory + GROWTH

        wait_until(is_as_before, lambda: f"{self}, but {server.usage()}: {server.program}")
        print(f"before: {self}; after: {server.usage()}")


def classroom(host, database, *options, wrap=(), **kwargs):
    """Starts a classroom. `wrap` is a command that runs another one."""
    command = [*wrap, CLASSROOM, "--listen", f"{host.address}:{CLASSROOM_PORT}", "--database", database.path]
    return Server(host, CLASSROOM_PORT, [*command, *CLASSROOM_OPTIONS, *options], **kwargs)


def open_connections(host):
    """Returns how many connections of the classroom are open, which its own host asks."""
    status, text = host.get("/metrics", CLASSROOM_PORT)
    assert status == 200, text
    [line] = [line for line in text.splitlines() if line.startswith("classroom_connections_open ")]
    return int(line.split()[1])


def echo(host, *options):
    """Starts an echo server."""
    return Server(host, ECHO_PORT, [ECHO, "--listen", f"{host.address}:{ECHO_PORT}", *options])


def ticket(name, lifetime=12 * 3600):
    """Signs a ticket for one student, as a backend does."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"aud": "classroom:ticket", "role": "student", "room": "class", "name": name, "sub": name}
    claims["exp"] = int(time.time()) + lifetime
    signed = b".".join(part(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


class Client:
    """A client that sends numbered messages in a thread of its own, one after the other."""

    def __init__(self):
        self.failure = None
        self._ended = False
        self._running = threading.Event()
        # Held while a message has no answer.
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def talk(self):
        """Begins to send, or goes on."""
        self._running.set()

    def pause(self):
        """Stops sending, once the last message is answered."""
        self._running.clear()
        if not self._sending.acquire(timeout=PATIENCE):
            raise Failed(f"no answer: {self.errors()}")
        self._sending.release()

    def end(self):
        self._ended = True
        self._running.set()
        self._stop()
        self._thread.join(PATIENCE)

    def _run(self):
        try:
            self._work()
        except Exception as error:
            self.failure = error

    def _send_next(self):
        """Sends the next message and waits for its answer, unless the client is paused."""
        if not self._running.wait(0.05):
            return
        with self._sending:
            if self._running.is_set() and not self._ended:
                self._send(self.count + 1)
        time.sleep(PAUSE)


class Talker(Client):
    """A person who posts numbered messages with the program `talk`, the next one once the one before is stored."""

    def __init__(self, host, name, address, *options, length=1000, **kwargs):
        self.name, self._host, self._length, self._kwargs = name, host, length, kwargs
        link = f"http://{address}/#ticket={ticket(name)}"
        self._command = [TALK, link, "--ids", name, "--max-delay", "1", *options]
        # The offset of each number that was acknowledged, and the numbers that had been stored before.
        self.acknowledged = {}
        self.duplicates = 0
        # What each process has received, as pairs of an offset and a text.
        self.received = []
        self._killed = False
        self._start()
        super().__init__()

    @property
    def count(self):
        return len(self.acknowledged)

    def kill(self):
        """Sends SIGKILL. The program is started again to post the next message."""
        self._killed = True
        self.program.kill()

    def text(self, number):
        """Returns the text of a message: the same for the same number."""
        numbers = random.Random(f"{self.name}-{number}")
        return f"{self.name} {number} ".ljust(numbers.randint(20, self._length), numbers.choice("aéあ😀"))

    def errors(self):
        return self.program.errors()

    def _start(self):
        """Starts the program, which goes on with the first number that was not acknowledged."""
        command = self._host.command([*self._command, "--first", self.count + 1])
        self.program = Program(command, deadline=24 * 3600, **self._kwargs)
        self.received.append([])
        self._acks = queue.Queue()
        reader = threading.Thread(target=self._read, args=(self.program, self.received[-1], self._acks), daemon=True)
        reader.start()

    def _read(self, program, received, acks):
        while (line := program.line()) is not None:
            try:
                event = json.loads(line)
            # A program that is killed may have printed the beginning of a line.
            except ValueError:
                break
            if "text" in event:
                received.append((event["offset"], event["text"]))
            else:
                acks.put(event)
        acks.put(None)

    def _stop(self):
        self.program.kill()

    def _work(self):
        while not self._ended:
            self._send_next()

    def _send(self, number):
        while not self._ended:
            try:
                self.program.write(self.text(number).encode() + b"\n")
            # It was killed. What it has printed is read all the same.
            except (BrokenPipeError, ValueError):
                pass
            event = self._acks.get()
            if event is not None:
                assert event.get("stored") == number, f"{self.name} has {event} after {number - 1}"
                self.acknowledged[number] = event["offset"]
                self.duplicates += event["duplicate"]
                return
            if self._killed:
                self._killed = False
                self._start()
            elif not self._ended:
                raise Failed(f"ended: {self.program}")


class Echoes(Client):
    """A client of Python's `websockets` that sends numbered messages to an echo server, each once the one before has
    come back. It connects again only if it is told to."""

    def __init__(self, host, address, reconnects=False, largest=20_000):
        self._host, self._largest, self._reconnects = host, largest, reconnects
        server, port = address.rsplit(":", 1)
        self._server = (server, int(port))
        self.count = 0
        self.connections = 0
        super().__init__()

    def errors(self):
        return f"{self.connections} connections, {self.failure!r}"

    def message(self, number):
        """Returns a message: the same for the same number, text or binary."""
        numbers = random.Random(number)
        data = b"%d " % number + numbers.randbytes(numbers.randint(0, self._largest))
        return data if number % 2 else data.hex()

    def _stop(self):
        pass

    def _work(self):
        with self._host.inside():
            while not self._ended:
                try:
                    self._connect()
                except (ConnectionClosed, InvalidHandshake, EOFError, OSError):
                    if not self._reconnects:
                        raise
                    time.sleep(0.05)

    def _connect(self):
        url = "ws://{}:{}".format(*self._server)
        # A reset that has reached only the server is found out by a ping.
        options = {"ping_interval": 1, "ping_timeout": PATIENCE, "open_timeout": PATIENCE, "close_timeout": PATIENCE}
        with connect(url, proxy=None, compression=None, max_size=None, **options) as self._connection:
            self.connections += 1
            while not self._ended:
                self._send_next()

    def _send(self, number):
        message = self.message(number)
        self._connection.send(message)
        # The echo of what was sent over a connection that is lost does not come here.
        assert self._connection.recv(timeout=PATIENCE) == message, f"another message than {number}"
        self.count = number
