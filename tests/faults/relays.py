"""Relays that delay what they pass on: of IP packets, which they reorder, and of bytes, which they divide."""

import fcntl
import heapq
import os
import random
import select
import socket
import struct
import threading
import time

from hosts import set_up

# Of <linux/if_tun.h>: IP packets without a header of the device's own.
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000


class PacketRelay:
    """The link between two hosts, as a program: each packet takes a random time, so some overtake others."""

    def __init__(self, hosts, shortest=0.002, longest=0.02):
        self._times = (shortest, longest)
        self._random = random.Random(1)
        self._devices = [tun(host) for host in hosts]
        for host in hosts:
            set_up(host)
        # Packets that were sent on, and those of them that were sent after a later one.
        self.forwarded = 0
        self.reordered = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        for device in self._devices:
            os.close(device)

    def _run(self):
        waiting, latest, number = [], {}, 0
        other = dict(zip(self._devices, reversed(self._devices)))
        while not self._ended.is_set():
            pause = min(0.05, max(0, waiting[0][0] - time.monotonic())) if waiting else 0.05
            readable, _, _ = select.select(self._devices, [], [], pause)
            now = time.monotonic()
            for device in readable:
                number += 1
                packet = os.read(device, 65536)
                heapq.heappush(waiting, (now + self._random.uniform(*self._times), number, other[device], packet))
            while waiting and waiting[0][0] <= now:
                _, sent, device, packet = heapq.heappop(waiting)
                os.write(device, packet)
                self.forwarded += 1
                self.reordered += sent < latest.get(device, 0)
                latest[device] = max(sent, latest.get(device, 0))


def tun(host):
    """Creates the interface of a host as a file of this process."""
    with host.inside():
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TUN | IFF_NO_PI))
    return device


class ByteRelay:
    """A relay for TCP connections in the host of the clients: sends pieces of random lengths, after random times."""

    def __init__(self, host, server, largest=4000, longest=0.002):
        self._server = server
        self._host = host
        self._limits = (largest, longest)
        # Pieces that were sent, and those of a single byte.
        self.pieces = 0
        self.single = 0
        self._lock = threading.Lock()
        with host.inside():
            self._listening = socket.create_server((host.address, 0), backlog=100)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Ends the thread that accepts.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        with self._host.inside():
            while True:
                try:
                    client, _ = self._listening.accept()
                    server = socket.create_connection(self._server)
                except OSError:
                    return
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source, target):
        largest, longest = self._limits
        numbers = random.Random(2)
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := source.recv(16384):
                while data:
                    # As many short pieces as long ones.
                    length = numbers.randint(1, numbers.choice((1, 16, largest)))
                    time.sleep(numbers.uniform(0, longest))
                    piece, data = data[:length], data[length:]
                    target.sendall(piece)
                    with self._lock:
                        self.pieces += 1
                        self.single += len(piece) == 1
            target.shutdown(socket.SHUT_WR)
        # An end is gone; the other direction learns it by itself.
        except OSError:
            for end in (source, target):
                end.close()
