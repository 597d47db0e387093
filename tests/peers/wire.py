"""A proxy between two ends that records what they transmit."""

import contextlib
import socket
import threading
from dataclasses import dataclass

from harness import DEADLINE, Failed, address


@dataclass
class Sent:
    """A message as it was transmitted."""

    compressed: bool
    # The length of each frame's payload data.
    frames: list

    @property
    def length(self):
        return sum(self.frames)


class Wire:
    """One connection to a server. The record is complete once the connection has ended."""

    def __init__(self, listening, server):
        self.url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        self._recorded = {"client": bytearray(), "server": bytearray()}
        self._thread = threading.Thread(target=self._run, args=(listening, server), daemon=True)
        self._thread.start()

    def _run(self, listening, server):
        client, _ = listening.accept()
        with client, socket.create_connection(server) as server:
            back = threading.Thread(target=self._forward, args=(server, client, "server"), daemon=True)
            back.start()
            self._forward(client, server, "client")
            back.join()

    def _forward(self, source, target, end):
        try:
            while data := source.recv(1 << 18):
                self._recorded[end] += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        # The other direction may still be transmitting.
        except OSError:
            pass

    def _all(self, end):
        self._thread.join(DEADLINE)
        if self._thread.is_alive():
            raise Failed("the connection does not end")
        head, _, frames = bytes(self._recorded[end]).partition(b"\r\n\r\n")
        return head.decode(), frames

    def extensions(self, end):
        """Returns the extensions that the `client` offered, or that the `server` accepted."""
        head, _ = self._all(end)
        fields = [line.split(":", 1) for line in head.split("\r\n")[1:]]
        return ", ".join(value.strip() for name, value in fields if name.lower() == "sec-websocket-extensions")

    def messages(self, end):
        """Returns the messages of one end."""
        _, data = self._all(end)
        messages = []
        for first, length in frames(data):
            opcode = first & 0x0F
            if opcode in (1, 2):
                messages.append(Sent(compressed=bool(first & 0x40), frames=[length]))
            else:
                assert not first & 0x40, "RSV1 where no message begins"
                if opcode == 0:
                    messages[-1].frames.append(length)
        return messages


def frames(data):
    """Yields the first byte of each frame, and the length of its payload data."""
    at = 0
    while at < len(data):
        first, second = data[at], data[at + 1]
        at += 2
        length = second & 0x7F
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        at += length + (4 if second & 0x80 else 0)
        yield first, length


@contextlib.contextmanager
def record(url):
    """Yields a proxy that records one connection to the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE)
        yield Wire(listening, address(url))
