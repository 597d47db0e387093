"""Starts the programs under test and their peers, and reads what they print.

Nothing here measures time: it waits for a line, for the end of a program, or for a port, and fails
at one generous deadline.
"""

import os
import queue
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target"
# Where the built examples are.
EXAMPLES = Path(os.environ.get("FULLDUPLEX_EXAMPLES", TARGET / "release" / "examples"))
# The examples that are packages of their own.
PACKAGES = TARGET / "debug"
# Seconds after which waiting for anything fails.
DEADLINE = 60

LISTENING = re.compile(rb"listening on ((?:wss?|tcp|https?)://\S+)")


# Debian's servers are there, which may not be in PATH.
os.environ["PATH"] += ":/usr/sbin"


class Failed(AssertionError):
    """A program did not do what the test waited for."""


def example(name):
    """Returns the path of an example that has been built."""
    path = EXAMPLES / name
    if not path.exists():
        raise Failed(f"no {path}: build it with `cargo build --release --examples`")
    return str(path)


class Program:
    """A running program. Its standard output is read as lines, its standard error is kept."""

    def __init__(self, command, deadline=DEADLINE, **kwargs):
        # Seconds after which waiting for the next line fails.
        self._deadline = deadline
        self.command = [str(part) for part in command]
        self._stderr = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, cwd=ROOT, **kwargs
        )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip(b"\r\n"))
        self._lines.put(None)

    def line(self):
        """Returns the next line of the standard output, without its line ending.

        Returns `None` at the end of the output.
        """
        try:
            line = self._lines.get(timeout=self._deadline)
        except queue.Empty:
            raise Failed(f"no line from {self}") from None
        if line is None:
            self._lines.put(None)
        return line

    def rest(self):
        """Returns all lines up to the end of the output."""
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
        return lines

    def write(self, data):
        """Writes to the standard input."""
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def write_lines(self, lines):
        """Writes lines from a thread, so that the program's output is read meanwhile."""

        def write():
            for line in lines:
                self.write(line + b"\n")

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        return writer

    def end_input(self):
        """Closes the standard input."""
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass

    def interrupt(self):
        """Sends SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def exit_code(self):
        """Waits for the end of the program. Returns its exit code."""
        try:
            return self._process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            raise Failed(f"does not end: {self}") from None

    def pid(self):
        return self._process.pid

    def is_running(self):
        return self._process.poll() is None

    def resident(self):
        """Returns the resident memory in bytes, counted exactly, unlike in /proc/PID/statm."""
        with open(f"/proc/{self._process.pid}/smaps_rollup") as rollup:
            [size] = [line.split()[1] for line in rollup if line.startswith("Rss:")]
        return int(size) * 1024

    def errors(self):
        """Returns what the program has printed to its standard error."""
        # pread: the program continues to write at the shared offset.
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")

    def listening(self):
        """Waits for the line that contains the address. Returns the address."""
        while (line := self.line()) is not None:
            if found := LISTENING.search(line):
                return found[1].decode()
        raise Failed(f"ended before it listened: {self}")

    def kill(self):
        self._process.kill()
        self._process.wait()
        self.end_input()

    def __str__(self):
        return f"{' '.join(self.command)}\n--- standard error:\n{self.errors()[-4000:]}"


def address(url):
    """Returns the host and the port of a URL."""
    host, port = url.partition("://")[2].rstrip("/").rsplit(":", 1)
    return host, int(port)


def free_port():
    """Returns a port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, program, host="127.0.0.1"):
    """Waits until a program listens on a port, for programs that do not print their address."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if not program.is_running():
            raise Failed(f"ended before it listened: {program}")
        try:
            socket.create_connection((host, port), timeout=DEADLINE).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise Failed(f"does not listen on port {port}: {program}")
