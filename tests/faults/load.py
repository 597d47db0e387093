"""A load of several clients, through the phases of a test: before a fault, while it lasts, and after it."""

import contextlib
import os
import time

from hosts import SERVER
from ledger import check_ledger
from programs import CLASSROOM_PORT, ECHO_PORT, Echoes, Talker, wait_until

# How long a fault lasts, in seconds. The clients send all the time.
FAULT_SECONDS = float(os.environ.get("FAULT_SECONDS", "2"))
TALKERS = ["ann", "bob", "cem", "dia"]
# How many messages of each client have to pass before a fault, and after it.
SOME = 10


class Load:
    def __init__(self, talkers, echoes, database):
        self.talkers, self.echoes, self._database = talkers, echoes, database
        self.clients = [*talkers, *echoes]

    def run(self):
        for client in self.clients:
            client.talk()

    def pause(self):
        """Stops the clients once all of them have received what is stored."""
        for client in self.clients:
            client.pause()
        for talker in self.talkers:
            wait_until(lambda: self._is_level(talker), lambda: f"{talker.name} receives all: {talker.errors()}")

    def _is_level(self, talker):
        self.check_failures()
        received = talker.received[-1]
        return bool(received) and received[-1][0] == self._database.last_offset()

    def counts(self):
        return [client.count for client in self.clients]

    def progress(self, count=SOME):
        """Waits until each client has this many more acknowledgements."""
        before = self.counts()

        def all_have():
            self.check_failures()
            return all(now >= then + count for now, then in zip(self.counts(), before))

        def report():
            return f"{count} more than {before}, but {self.counts()}: {[each.errors() for each in self.clients]}"

        wait_until(all_have, report)

    def last(self, seconds=FAULT_SECONDS):
        """Lets the clients talk for some time. Returns how many messages were acknowledged."""
        before = sum(self.counts())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check_failures()
            time.sleep(0.05)
        return sum(self.counts()) - before

    def check_failures(self):
        for client in self.clients:
            if client.failure is not None:
                raise client.failure

    def connected(self):
        """Returns how often each talker's program has connected."""
        return [talker.errors().splitlines().count("connected") for talker in self.talkers]

    def check(self):
        self.check_failures()
        if self.talkers:
            check_ledger(self.talkers, self._database)


@contextlib.contextmanager
def load(host, database, *options, talkers=TALKERS, echoes=0, server=SERVER, ports=None, reconnects=False, **kwargs):
    """Yields a load of clients in a host: those of a classroom, and those of an echo server."""
    classroom, echo = ports or (CLASSROOM_PORT, ECHO_PORT)
    with contextlib.ExitStack() as stack:
        started = []

        def start(client):
            stack.callback(client.end)
            started.append(client)

        for name in talkers:
            start(Talker(host, name, f"{server}:{classroom}", *options, **kwargs))
        for _ in range(echoes):
            start(Echoes(host, f"{server}:{echo}", reconnects))
        yield Load(started[: len(talkers)], started[len(talkers) :], database)

