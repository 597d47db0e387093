"""Faults of the network between servers and clients.

In each test, clients of the program `talk` and of Python's `websockets` send numbered messages before the fault, while
it lasts, and after it. Each message that was acknowledged is in the history once and was received once by each client,
in order. The servers end with the memory and the file descriptors that they had. A counter shows that the fault took
place.
"""

import contextlib
from dataclasses import dataclass

from hosts import SERVER, connect
from ledger import Database
from load import SOME, Load, load
from programs import CLASSROOM_PORT, ECHO_PORT, Usage, classroom, echo, open_connections, wait_until
from relays import ByteRelay, PacketRelay

# Small, so that each message takes several packets.
MTU = 576


@dataclass
class Run:
    """A load on both servers, and what these used before the fault."""

    servers: list
    load: Load
    before: list[Usage]


@contextlib.contextmanager
def running(hosts, tmp_path, **kwargs):
    """Runs both servers under a load, until a fault can begin. Then checks that it has left no trace.

    The deadlines of pings are for a link whose queue is long. Short intervals find out resets that have reached only
    one of both ends.
    """
    server, client = hosts
    database = Database(tmp_path / "classroom.sqlite")
    often = ["--ping-interval", "1"]
    heartbeat = [*often, "--pong-timeout", "30"]
    with classroom(server, database, *heartbeat) as chat, echo(server, *often) as echoing:
        with load(client, database, *heartbeat, "--attempt-timeout", "3", echoes=2, **kwargs) as clients:
            servers = [chat, echoing]
            # All have what they need for a connection.
            clients.run()
            clients.progress()
            clients.pause()
            before = [each.usage() for each in servers]
            clients.run()
            yield Run(servers, clients, before)
            clients.progress()
            clients.pause()
            for usage in before:
                usage.expect_again()
            clients.check()


def test_a_narrow_link_with_a_long_queue(linked, tmp_path):
    with running(linked, tmp_path) as run:
        for host in linked:
            host.narrow("1mbit", 3000, "400ms")
        acknowledged = run.load.last()
        queues = [host.queue() for host in linked]
        for host in linked:
            host.widen()
    print(acknowledged, queues)
    assert acknowledged > 0
    assert all(queue["overlimits"] > 0 for queue in queues), queues
    # What is sent is waiting in the queue, or was dropped because it would have waited for too long.
    assert any(queue["backlog"] + queue["drops"] > 0 for queue in queues), queues


def test_lost_packets(linked, tmp_path):
    server, _ = linked
    with running(linked, tmp_path) as run:
        before = server.tcp("RetransSegs")
        for host in linked:
            host.filter("meta l4proto tcp numgen random mod 100 < 4 counter name hit drop")
        acknowledged = run.load.last()
        lost = [host.filtered() for host in linked]
        for host in linked:
            host.remove_filter()
    print(acknowledged, lost)
    assert acknowledged > 0
    assert min(lost) > 0, lost
    assert server.tcp("RetransSegs") > before


def test_resets_within_messages(hosts, tmp_path):
    connect(hosts, MTU)
    server, client = hosts

    def reset(port, one_in):
        # A packet of this size is not the last one of its message.
        return (
            f"meta length {MTU} tcp {port} numgen random mod {one_in} == 0 counter name hit reject with tcp reset"
        )

    with running(hosts, tmp_path, reconnects=True) as run:
        server.filter(reset(f"dport {CLASSROOM_PORT}", 20), reset(f"dport {ECHO_PORT}", 200))
        client.filter(reset(f"sport {CLASSROOM_PORT}", 60), reset(f"sport {ECHO_PORT}", 200))
        acknowledged = run.load.last()
        resets = [host.filtered() for host in hosts]
        for host in hosts:
            host.remove_filter()
        # Those that wait to connect again.
        run.load.progress(1)
    print(acknowledged, resets, run.load.connected())
    assert acknowledged > 0
    assert min(resets) > 0, resets
    # No client has kept its first connection by chance.
    assert min(run.load.connected()) > 1
    assert all(echoes.connections > 1 for echoes in run.load.echoes)


def test_a_link_that_is_down_for_longer_than_the_heartbeat(linked, tmp_path):
    server, client = linked
    heartbeat = ["--ping-interval", "1", "--pong-timeout", "2"]
    database = Database(tmp_path / "classroom.sqlite")
    with classroom(server, database, *heartbeat) as chat:
        idle = chat.usage()
        with load(client, database, *heartbeat, "--attempt-timeout", "2") as clients:
            clients.run()
            clients.progress()
            clients.pause()
            before, changes = chat.usage(), client.carrier_changes()
            assert open_connections(server) == len(clients.talkers)
            clients.run()
            server.set_link("down")
            # Nobody is told: only pings find out.
            wait_until(lambda: open_connections(server) == 0, "the server drops the connections")
            wait_until(lambda: chat.descriptors() == idle.descriptors, "the descriptors are closed")
            wait_until(lambda: all("pong timeout" in talker.errors() for talker in clients.talkers), "a pong is missed")
            assert client.carrier_changes() > changes
            counts = clients.counts()
            server.set_link("up")
            clients.progress()
            clients.pause()
            print(counts, clients.counts(), clients.connected())
            assert min(clients.connected()) > 1
            before.expect_again()
            clients.check()


def test_a_relay_that_delays_bytes_and_divides_them(linked, tmp_path):
    _, client = linked
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(ByteRelay(client, (SERVER, port))) for port in (CLASSROOM_PORT, ECHO_PORT)]
        ports = [relay.port for relay in relays]
        with running(linked, tmp_path, server=client.address, ports=ports) as run:
            acknowledged = run.load.last()
        pieces = [(relay.pieces, relay.single) for relay in relays]
        print(acknowledged, pieces)
        assert acknowledged > 0
        assert all(single > SOME for _, single in pieces), pieces


def test_a_link_that_delays_packets_and_changes_their_order(hosts, tmp_path):
    server, client = hosts
    with PacketRelay(hosts) as relay, running(hosts, tmp_path) as run:
        before = server.tcp("TCPOFOQueue"), client.tcp("TCPOFOQueue")
        acknowledged = run.load.last()
        late = server.tcp("TCPOFOQueue") - before[0], client.tcp("TCPOFOQueue") - before[1]
    print(acknowledged, late, relay.forwarded, relay.reordered)
    assert acknowledged > 0
    assert relay.reordered > 0
    # The receivers have put packets in order.
    assert min(late) > 0, late
