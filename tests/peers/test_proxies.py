"""The terminal client through real proxies, to our echo server, over ws:// and wss://: tinyproxy (HTTP
CONNECT, also over TLS by stunnel), microsocks (SOCKS5) and OpenSSH (SOCKS4a and SOCKS5)."""

import contextlib
import getpass
import os
import shutil
import subprocess

import pytest
from certificates import Identity
from harness import Program, address, example, free_port, wait_for_port
from test_client import client, fails, finish


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Identity(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def targets(identity):
    """The URL of our server for each scheme, by name, and the client's options for it."""
    tls = ["--tls-cert", identity.certificate, "--tls-key", identity.key]
    echo = [example("echo"), "--listen", "127.0.0.1:0"]
    with Program(echo) as plain, Program([*echo, *tls]) as secure:
        yield {
            "ws": (f"ws://localhost:{address(plain.listening())[1]}/", []),
            "wss": (f"wss://localhost:{address(secure.listening())[1]}/", ["--ca", identity.certificate]),
        }


@contextlib.contextmanager
def started(command, port):
    with Program(command) as program:
        wait_for_port(port, program)
        yield program


@contextlib.contextmanager
def tinyproxy(directory, user=""):
    port = free_port()
    configuration = directory / "tinyproxy.conf"
    login = f"BasicAuth {user.replace(':', ' ')}\n" if user else ""
    configuration.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nMaxClients 10\nLogLevel Connect\n{login}"
    )
    with started(["tinyproxy", "-d", "-c", configuration], port) as program:
        yield f"http://{user and user + '@'}127.0.0.1:{port}", program


@contextlib.contextmanager
def tinyproxy_over_tls(directory, identity, user=""):
    """tinyproxy behind stunnel, which the client reaches over TLS alone."""
    with tinyproxy(directory, user) as (plain, _):
        port = free_port()
        configuration = directory / "stunnel.conf"
        configuration.write_text(
            f"foreground = yes\npid =\n[proxy]\naccept = 127.0.0.1:{port}\nconnect = {address(plain)[1]}\n"
            f"cert = {identity.certificate}\nkey = {identity.key}\n"
        )
        with started(["stunnel", configuration], port) as program:
            yield f"https://{user and user + '@'}localhost:{port}", program


@contextlib.contextmanager
def microsocks(_, user=""):
    port = free_port()
    login = ["-u", user.split(":")[0], "-P", user.split(":")[1]] if user else []
    with started(["microsocks", "-i", "127.0.0.1", "-p", str(port), *login], port) as program:
        yield f"socks5://{user and user + '@'}127.0.0.1:{port}", program


@contextlib.contextmanager
def openssh(directory, scheme):
    """The dynamic forwarding of OpenSSH, which is a proxy for SOCKS4a and SOCKS5, to a server of its own."""
    for name in ["host", "user"]:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    (directory / "user.pub").replace(directory / "authorized")
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    server, port = free_port(), free_port()
    options = [f"HostKey={directory / 'host'}", f"AuthorizedKeysFile={directory / 'authorized'}", "StrictModes=no"]
    options += ["UsePAM=no", "ListenAddress=127.0.0.1", f"PidFile={directory / 'pid'}", "PermitRootLogin=yes"]
    sshd = [shutil.which("sshd"), "-D", "-e", "-f", "/dev/null", "-p", str(server)]
    for option in options:
        sshd += ["-o", option]
    ssh = ["ssh", "-N", "-F", "/dev/null", "-i", directory / "user", "-p", str(server), "-D", f"127.0.0.1:{port}"]
    for option in ["StrictHostKeyChecking=no", f"UserKnownHostsFile={directory / 'known'}", "ExitOnForwardFailure=yes"]:
        ssh += ["-o", option]
    with started(sshd, server), started([*ssh, f"{getpass.getuser()}@127.0.0.1"], port) as program:
        yield f"{scheme}://127.0.0.1:{port}", program


PROXIES = {
    "http": tinyproxy,
    "http with a password": lambda directory: tinyproxy(directory, "ann:secret"),
    "socks5": microsocks,
    "socks5 with a password": lambda directory: microsocks(directory, "ann:secret"),
    "socks5 of OpenSSH": lambda directory: openssh(directory, "socks5"),
    "socks4a of OpenSSH": lambda directory: openssh(directory, "socks4a"),
}


def talks(url, *options):
    with client(url, *options) as program:
        for line in [b"through a proxy", b"z" * 200_000]:
            program.write(line + b"\n")
            assert program.line() == line, str(program)
        assert finish(program) == []


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_client_talks_through_a_proxy(targets, tmp_path, proxy, scheme):
    url, options = targets[scheme]
    with PROXIES[proxy](tmp_path) as (proxy_url, program):
        talks(url, *options, "--proxy", proxy_url)
        assert program.is_running(), str(program)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("user", ["", "ann:secret"])
def test_client_talks_through_a_proxy_over_tls(targets, identity, tmp_path, user, scheme):
    url, _ = targets[scheme]
    with tinyproxy_over_tls(tmp_path, identity, user) as (proxy_url, program):
        talks(url, "--ca", identity.certificate, "--proxy", proxy_url)
        with client(url, "--ca", identity.certificate, "--proxy", proxy_url.replace("https:", "http:")) as plain:
            assert "secret" not in fails(plain), "a proxy that expects TLS is sent none"
        assert program.is_running(), str(program)


def test_a_proxy_whose_certificate_is_not_trusted_is_sent_no_credentials(targets, identity, tmp_path):
    other = Identity(tmp_path, "localhost")
    with tinyproxy_over_tls(tmp_path, other, "ann:secret") as (proxy_url, program):
        with client(targets["ws"][0], "--ca", identity.certificate, "--proxy", proxy_url) as refused:
            errors = fails(refused)
            assert "certificate" in errors and "secret" not in errors
        # It ended in the handshake: nothing was passed on.
        assert "s_connect" not in str(program), str(program)
        talks(targets["ws"][0], "--ca", other.certificate, "--proxy", proxy_url)
        assert "s_connect" in str(program), str(program)


def test_row_19_a_proxy_that_requires_a_password_is_an_error_with_its_status(targets, tmp_path):
    with tinyproxy(tmp_path, "ann:secret") as (proxy_url, _):
        for login in ["", "ann:wrong@"]:
            with client(targets["ws"][0], "--proxy", proxy_url.replace("ann:secret@", login)) as program:
                errors = fails(program)
                assert "407" in errors or "401" in errors
                assert "secret" not in errors and "wrong" not in errors


def test_row_19_a_wrong_password_for_socks_is_an_error(targets, tmp_path):
    with microsocks(tmp_path, "ann:secret") as (proxy_url, _):
        with client(targets["ws"][0], "--proxy", proxy_url.replace("secret", "wrong")) as program:
            assert "rejected the user or password" in fails(program)
        with client(targets["ws"][0], "--proxy", proxy_url.replace("ann:secret@", "")) as program:
            assert "proxy" in fails(program)


def test_a_target_that_refuses_is_an_error_of_the_proxy(tmp_path):
    closed = f"ws://127.0.0.1:{free_port()}/"
    for proxy in ["http", "socks5", "socks4a of OpenSSH"]:
        with PROXIES[proxy](tmp_path) as (proxy_url, _), client(closed, "--proxy", proxy_url) as program:
            assert "proxy" in fails(program), proxy


def test_a_proxy_that_is_not_there_is_named_in_the_error(targets):
    port = free_port()
    with client(targets["ws"][0], "--proxy", f"http://ann:secret@127.0.0.1:{port}") as program:
        errors = fails(program)
        assert f"proxy http://127.0.0.1:{port}" in errors and "secret" not in errors


def test_the_environment_selects_the_proxy(targets, tmp_path, monkeypatch):
    url, options = targets["wss"]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    talks(url, *options)
    with client(url, *options, "--proxy", "env") as program:
        assert "proxy" in fails(program)
    monkeypatch.setenv("no_proxy", "localhost")
    talks(url, *options, "--proxy", "env")
    monkeypatch.delenv("no_proxy")
    with microsocks(tmp_path) as (proxy_url, _):
        monkeypatch.setenv("wss_proxy", proxy_url)
        talks(url, *options, "--proxy", "env")
