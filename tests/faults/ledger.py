"""What the classroom has stored, read from its file, and the ledger of numbered messages."""

import json
import sqlite3
import sys

from harness import DEADLINE
from hosts import check_output

# Prints the rows of a query as JSON.
QUERY = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import ledger
print(json.dumps(ledger.query(*sys.argv[2:])))
"""


def query(path, sql):
    """Returns the rows of a query, with the server running."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=DEADLINE)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class Database:
    """The file of a classroom; `server` if it is on a disk that only this server sees."""

    def __init__(self, path, server=None):
        self.path, self.server = path, server

    def query(self, sql):
        if self.server is None:
            return query(self.path, sql)
        # SQLite would follow /proc/PID/root to the disk of this process.
        there = ["nsenter", f"--mount=/proc/{self.server.pid}/ns/mnt", sys.executable, "-c", QUERY]
        rows = check_output([*there, json.dumps(sys.path), str(self.path), sql])
        return [tuple(row) for row in json.loads(rows)]

    def last_offset(self):
        """Returns the offset of the last message, or 0."""
        [(offset,)] = self.query("SELECT coalesce(max(offset), 0) FROM messages")
        return offset

    def history(self):
        """Returns the offset, the client id and the text of each message."""
        return self.query("SELECT offset, client_id, body FROM messages ORDER BY offset")

    def times(self):
        """Returns when each message was stored, in milliseconds since 1970 by the clock of the server."""
        return [time for (time,) in self.query("SELECT timestamp FROM messages ORDER BY offset")]


def check_ledger(talkers, database):
    """Checks that the history has each acknowledged message once and no other one, and that each client has received
    it once, all in the same order. The clients are paused."""
    stored = database.history()
    assert [offset for offset, _, _ in stored] == list(range(1, len(stored) + 1))
    by_id = {client_id: (offset, text) for offset, client_id, text in stored}
    assert len(by_id) == len(stored), "a message is stored twice"
    texts = [(offset, text) for offset, _, text in stored]
    for talker in talkers:
        assert talker.count > 0
        for number, offset in talker.acknowledged.items():
            assert by_id[f"{talker.name}-{number}"] == (offset, talker.text(number).rstrip()), (talker.name, number)
        own = [client_id for _, client_id, _ in stored if client_id.startswith(f"{talker.name}-")]
        assert own == [f"{talker.name}-{number}" for number in range(1, talker.count + 1)]
        # Each of its processes has received all from its first message on, and the last one up to the end.
        for received in filter(None, talker.received):
            first = received[0][0]
            assert received == texts[first - 1 : first - 1 + len(received)], f"{talker.name} received others"
        assert talker.received[-1][-1:] == texts[-1:]
        assert len(talker.received) > 1 or talker.received[0] == texts
    print(f"{len(stored)} messages stored, {sum(talker.count for talker in talkers)} acknowledged")
