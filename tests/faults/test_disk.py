"""A full disk under the history of the classroom."""

import errno

from hosts import check_output
from ledger import Database
from load import load
from programs import CLASSROOM_PORT, Talker, classroom, wait_until

# The size of the disk, which is a file system in memory that only the server sees.
SIZE = "16m"
MOUNT = 'mount -t tmpfs -o size={} tmpfs "$0" && exec "$@"'


def fill(path):
    """Writes to a file until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error


def free(path):
    """Returns the free blocks of the disk."""
    return int(check_output(["stat", "--file-system", "--format=%a", str(path)]))


def test_a_full_disk_for_the_history(linked, tmp_path):
    server, client = linked
    disk = tmp_path / "disk"
    disk.mkdir()
    wrap = ["unshare", "--mount", "sh", "-c", MOUNT.format(SIZE), disk]
    database = Database(disk / "classroom.sqlite")
    with classroom(server, database, wrap=wrap) as chat:
        database.server = chat
        # The same file system, as the server sees it.
        seen = f"/proc/{chat.pid}/root{disk}"
        with load(client, database, length=200) as clients:
            clients.run()
            clients.progress()
            clients.pause()
            before = chat.usage()
            fill(f"{seen}/filler")
            clients.run()
            # The log has room that is used again; then nothing more can be stored.
            wait_until(
                lambda: all("unavailable:" in each.errors() for each in clients.talkers),
                lambda: f"all are refused: {clients.talkers[0].errors()} {chat.program}",
            )
            assert "the disk is full" in chat.program.errors()
            assert free(seen) == 0
            stored, counts = database.history(), clients.counts()
            # Nothing is acknowledged that is not stored, and nothing is stored any more.
            clients.last(1)
            assert clients.counts() == counts
            assert database.history() == stored
            # It lives on: it lets another person in, who reads the history.
            assert server.get("/healthz", CLASSROOM_PORT)[0] == 200
            late = Talker(client, "eve", f"{server.address}:{CLASSROOM_PORT}", length=200)
            try:
                wait_until(
                    lambda: late.received[-1] and late.received[-1][-1][0] == stored[-1][0],
                    lambda: f"the history is read: {late.program} {chat.program}",
                )
            finally:
                late.end()
            check_output(["rm", f"{seen}/filler"])
            assert free(seen) > 0
            clients.progress()
            clients.pause()
            print(len(stored), counts, clients.counts())
            # No connection was lost.
            assert clients.connected() == [1] * len(clients.talkers)
            before.expect_again()
            clients.check()
