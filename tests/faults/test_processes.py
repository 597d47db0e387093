"""Processes that are killed under load, and servers without file descriptors."""

import contextlib
import os
import resource
import socket
import time

import pytest
from hosts import SERVER
from ledger import Database
from load import FAULT_SECONDS, load
from programs import CLASSROOM_PORT, ECHO_PORT, classroom, echo, wait_until

# The bound of the processor time that a server may take while it cannot accept and nobody sends, as a share. One that
# tries again at once takes all of a processor.
BUSY = 0.25
# The bound of how often such a server may try to accept in a second.
OFTEN = 50
# Connections, of which a server can accept few at a time. It ends those that send nothing after some time.
TOO_MANY = 40 + int(FAULT_SECONDS)


def test_a_server_that_is_killed_and_started_again(linked, tmp_path):
    server, client = linked
    database = Database(tmp_path / "classroom.sqlite")
    with classroom(server, database) as chat, load(client, database) as clients:
        clients.run()
        clients.progress()
        clients.pause()
        before = chat.usage()
        clients.run()
        kills = max(2, int(FAULT_SECONDS / 2))
        for _ in range(kills):
            clients.progress(5)
            chat.kill()
            chat.start()
        clients.progress()
        clients.pause()
        print(clients.counts(), clients.connected(), [talker.duplicates for talker in clients.talkers])
        assert min(clients.connected()) > kills
        # The last of these servers uses what the first one did.
        before.expect_again()
        clients.check()


def test_clients_that_are_killed_and_started_again(linked, tmp_path):
    server, client = linked
    database = Database(tmp_path / "classroom.sqlite")
    with classroom(server, database) as chat, load(client, database) as clients:
        clients.run()
        clients.progress()
        clients.pause()
        before = chat.usage()
        clients.run()
        kills = max(2, int(FAULT_SECONDS / 2))
        for _ in range(kills):
            clients.progress(5)
            for talker in clients.talkers:
                talker.kill()
        clients.progress()
        clients.pause()
        print(clients.counts(), [talker.duplicates for talker in clients.talkers])
        assert all(len(talker.received) == kills + 1 for talker in clients.talkers)
        before.expect_again()
        clients.check()


@contextlib.contextmanager
def few_descriptors(server):
    """Limits a server to the file descriptors that it has, and three more."""
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    highest = max(int(descriptor) for descriptor in os.listdir(f"/proc/{server.pid}/fd"))
    limit = highest + 4
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, hard))
    yield limit
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))


def dial(client, port, count):
    """Opens TCP connections, which send nothing."""
    with client.inside():
        return [socket.create_connection((SERVER, port), timeout=60) for _ in range(count)]


# How each is started, its port, its clients, and one more client.
SERVERS = {
    "echo": (
        lambda server, database: echo(server),
        ECHO_PORT,
        {"talkers": [], "echoes": 2},
        {"talkers": [], "echoes": 1},
    ),
    "classroom": (classroom, CLASSROOM_PORT, {}, {"talkers": ["eve"]}),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_without_file_descriptors(linked, tmp_path, name):
    start, port, clients, one_more = SERVERS[name]
    server, client = linked
    database = Database(tmp_path / "classroom.sqlite")
    with start(server, database) as tested, load(client, database, **clients) as clients:
        clients.run()
        clients.progress()
        clients.pause()
        # So many connections, once, without a fault.
        descriptors = tested.descriptors()
        many = dial(client, port, TOO_MANY)
        wait_until(lambda: tested.descriptors() == descriptors + TOO_MANY, "all are accepted")
        for each in many:
            each.close()
        wait_until(lambda: tested.descriptors() == descriptors, "all have ended")
        before = tested.usage()
        with few_descriptors(tested) as limit:
            waiting = dial(client, port, TOO_MANY)
            wait_until(lambda: refusals(tested) > 0, lambda: f"accepting fails: {tested.program}")
            # The system has taken these connections; the server has no descriptors for them.
            assert tested.descriptors() == limit < before.descriptors + TOO_MANY
            failed, used = refusals(tested), tested.processor_time()
            time.sleep(FAULT_SECONDS)
            failed, used = refusals(tested) - failed, tested.processor_time() - used
            print(f"{failed} errors of accepting in {FAULT_SECONDS} s, {used} s of the processor")
            assert 0 < failed < OFTEN * FAULT_SECONDS
            assert used < BUSY * FAULT_SECONDS
            # Connections that are open are served.
            clients.run()
            clients.progress()
            # It accepts again once there is room, without a new limit.
            for each in waiting:
                each.close()
            with load(client, database, **one_more) as late:
                late.run()
                late.progress()
                late.check_failures()
            clients.pause()
        before.expect_again()
        # Those that were connected still are.
        assert clients.connected() == [1] * len(clients.talkers)
        assert [each.connections for each in clients.echoes] == [1] * len(clients.echoes)
        clients.check()


def refusals(server):
    """Returns how often accepting has failed, as the server reports it."""
    return server.program.errors().count("Too many open files")
