"""Two hosts, each in a network namespace of its own, and the link between them.

The kernel removes all of it when this process ends, however that ends. The addresses are those that
RFC 5737 reserves for documentation.
"""

import contextlib
import ctypes
import http.client
import json
import os
import subprocess

from harness import DEADLINE, Failed, Program

SERVER = "192.0.2.1"
CLIENT = "192.0.2.2"
CLONE_NEWNET = 0x40000000

LIBC = ctypes.CDLL(None, use_errno=True)


def check_output(command, text=None):
    """Runs a command, and returns what it prints."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=DEADLINE)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


class Host:
    """A network namespace with one interface, `eth0`."""

    def __init__(self, address):
        self.address = address
        # Ends with its standard input, which this process holds.
        self._holder = Program(["unshare", "--net", "cat"])
        with contextlib.suppress(BrokenPipeError):
            self._holder.write(b"ready\n")
        if self._holder.line() != b"ready":
            raise Failed(f"no network namespace: {self._holder}")
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self):
        return self._holder.pid()

    def end(self):
        self._holder.kill()

    def command(self, command):
        """Returns a command that runs another one in this host, with the same process ID."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *map(str, command)]

    def run(self, *command, text=None):
        return check_output(self.command(command), text)

    @contextlib.contextmanager
    def inside(self):
        """Puts this thread into the host: sockets that it creates then belong to the host."""
        with open(f"/proc/{self.pid}/ns/net") as there, open("/proc/thread-self/ns/net") as back:
            enter(there)
            try:
                yield
            finally:
                enter(back)

    def get(self, path, port):
        """Returns the status and the body of an HTTP response from a server in this host."""
        with self.inside():
            connection = http.client.HTTPConnection(self.address, port, timeout=DEADLINE)
            connection.connect()
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    # --- faults

    def filter(self, *rules):
        """Sets the rules for packets that arrive. `counter name hit` counts those that are affected."""
        rules = "\n".join(rules)
        text = f"""
            table ip faults {{
                counter hit {{ }}
                chain input {{ type filter hook input priority 0; policy accept;
                    {rules}
                }}
            }}
        """
        self.run("nft", "-f", "-", text=text)

    def filtered(self):
        """Returns how many packets were affected."""
        listed = json.loads(self.run("nft", "-j", "list", "counter", "ip", "faults", "hit"))
        [counter] = [each["counter"] for each in listed["nftables"] if "counter" in each]
        return counter["packets"]

    def remove_filter(self):
        self.run("nft", "delete", "table", "ip", "faults")

    def narrow(self, rate, burst, latency):
        """Limits what is sent: a queue that is emptied at this rate, and drops what waits longer."""
        queue = ["root", "tbf", "rate", rate, "burst", str(burst), "latency", latency]
        self.run("tc", "qdisc", "add", "dev", "eth0", *queue)

    def queue(self):
        """Returns the counters of the queue: `overlimits`, `drops`, `backlog`."""
        [queue] = json.loads(self.run("tc", "-s", "-j", "qdisc", "show", "dev", "eth0"))
        return queue

    def widen(self):
        self.run("tc", "qdisc", "del", "dev", "eth0", "root")

    def set_link(self, state):
        """Sets the link `up` or `down`."""
        self.run("ip", "link", "set", "eth0", state)

    def carrier_changes(self):
        """Returns how often the interface has lost or got its carrier."""
        [link] = json.loads(self.run("ip", "-s", "-s", "-j", "link", "show", "eth0"))
        return link["stats64"]["tx"]["carrier_changes"]

    def tcp(self, name):
        """Returns a counter of the kernel for TCP, such as `RetransSegs` or `TCPOFOQueue`."""
        for table in ("snmp", "netstat"):
            with open(f"/proc/{self.pid}/net/{table}") as file:
                lines = [line.split() for line in file]
            for names, values in zip(lines[::2], lines[1::2]):
                if names[0] in ("Tcp:", "TcpExt:") and name in names:
                    return int(values[names.index(name)])
        raise Failed(f"the kernel has no counter {name}")


def enter(namespace):
    if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def two_hosts():
    """Yields a host for servers and one for clients, without a link."""
    with contextlib.ExitStack() as stack:
        hosts = []
        for address in (SERVER, CLIENT):
            hosts.append(Host(address))
            stack.callback(hosts[-1].end)
        yield hosts


def connect(hosts, mtu=1500):
    """Connects two hosts by a pair of interfaces.

    One segment is one packet: filters would see many segments as one otherwise.
    """
    near, far = hosts
    pair = ["name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(far.pid)]
    near.run("ip", "link", "add", *pair)
    for host in hosts:
        host.run("ip", "link", "set", "eth0", "mtu", str(mtu), "gso_max_segs", "1")
        set_up(host)


def set_up(host):
    host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
    host.run("ip", "link", "set", "eth0", "up")


def needs_of_this_machine():
    """Fails if this machine cannot make such hosts and all of their faults."""
    with two_hosts() as hosts:
        connect(hosts)
        for host in hosts:
            host.narrow("1mbit", 5000, "100ms")
            assert host.queue()["kind"] == "tbf"
            host.filter("meta length 9000 numgen random mod 2 == 0 counter name hit reject with tcp reset")
            assert host.filtered() == 0
    assert os.access("/dev/net/tun", os.R_OK | os.W_OK), "no /dev/net/tun"
    check_output(["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/tmp"])


if __name__ == "__main__":
    needs_of_this_machine()
