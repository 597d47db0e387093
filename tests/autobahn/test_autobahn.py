"""The Autobahn test suite: each of its cases is a test, for the server (a connection whole, split, and with
messages in parts), the blocking server, and the client, also over TLS; and the server on axum, over
HTTP/1.1 and HTTP/2.

The cases on compression (12.* and 13.*) take most of the time. The server and the client run
all of them; the others run those of two kinds of content, text and a picture, or all with
AUTOBAHN=all. Over TLS, HTTP/2 and on axum, a plain run has 30 cases, and AUTOBAHN=all all.

A case passes if the suite's verdicts, on what happened and on how the connection was closed, are
those of `baseline.json`: OK, or INFORMATIONAL for the three cases in which the suite has no other
verdict. NON-STRICT fails, and so does UNIMPLEMENTED, which the suite reports if compression was not
agreed on.
"""

import contextlib
import functools
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import pytest
from certificates import Identity
from harness import PACKAGES, TARGET, Program, example, free_port, wait_for_port
from peers import node

BASELINE = json.loads((Path(__file__).parent / "baseline.json").read_text())
CASES = 517
# Cases that give both verdicts as INFORMATIONAL, whatever the peer does.
INFORMATIONAL = ["7.1.6", "7.13.1", "7.13.2"]
IS_LONG = os.environ.get("AUTOBAHN") == "all"
ALL_COMPRESSION = ["12.*", "13.*"]
SOME_COMPRESSION = ALL_COMPRESSION if IS_LONG else ["12.1.*", "12.2.*"]
EVERYTHING_ELSE = [f"{number}.*" for number in range(1, 11)]
# For further transports.
FEW = EVERYTHING_ELSE if IS_LONG else ["1.1.*", "2.*", *[f"5.{number}" for number in range(1, 6)], "7.1.*"]
FEW_COMPRESSION = ALL_COMPRESSION if IS_LONG else []
AXUM = PACKAGES / "fullduplex-example-axum"
WSTEST = TARGET / "autobahn-venv" / "bin" / "wstest"
# The largest message of the suite has 16 MiB.
MAX_MESSAGE = str(64 << 20)
# With these options, the suite's parameters are accepted unchanged, and all messages are compressed.
DEFLATE = ["--deflate", "--context-takeover", "--threshold", "0"]
# Seconds after which a whole run fails: the suite itself ends each case that takes too long.
DEADLINE = 3000


def wstest(role, mode, cases, spec):
    """Starts the suite in a mode, with these cases. Returns the program and the path of its report."""
    out = TARGET / "autobahn" / role / ("compression" if cases[0].startswith("12") else "rest")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    path = out / "spec.json"
    selection = {"cases": cases, "exclude-cases": [], "exclude-agent-cases": {}}
    path.write_text(json.dumps({"outdir": str(out), **selection, **spec}))
    command = [WSTEST, "--mode", mode, "--spec", path, "--webport", "0"]
    return Program(command, DEADLINE), out / "index.json"


def run_against_server(role, cases):
    with Program(SERVERS[role]) as server:
        url = server.listening()
        suite, report = wstest(role, "fuzzingclient", cases, {"servers": [{"agent": "fullduplex", "url": url}]})
        with suite:
            suite.rest()
            assert suite.exit_code() == 0, str(suite)
        assert server.is_running(), f"the server ended: {server}"
    return report


ECHO = [example("echo"), "--listen", "127.0.0.1:0", "--threads", "1", "--ping-interval", "0"]
ECHO += ["--max-message-size", MAX_MESSAGE, *DEFLATE]

SERVERS = {
    "server": ECHO,
    "split-server": [*ECHO, "--split"],
    "parts-server": [*ECHO, "--parts"],
    "blocking-server": [example("blocking_echo"), "--listen", "127.0.0.1:0", *DEFLATE],
}


def run_against_axum(role, cases):
    """Runs the suite against the server on axum: over HTTP/1.1, or over HTTP/2 by a bridge."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Program([AXUM, "--listen", "127.0.0.1:0", *DEFLATE]))
        url = server.listening()
        if role == "http2-server":
            bridge = stack.enter_context(node("http2_bridge.cjs", url.replace("ws:", "http:")))
            url = bridge.listening()
        suite, report = wstest(role, "fuzzingclient", cases, {"servers": [{"agent": "fullduplex", "url": f"{url}/echo"}]})
        with suite:
            suite.rest()
            assert suite.exit_code() == 0, str(suite)
        assert server.is_running(), f"the server ended: {server}"
    return report


def run_against_client(role, cases):
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    suite, report = wstest(role, "fuzzingserver", cases, {"url": url})
    with suite:
        wait_for_port(port, suite)
        command = [example("autobahn_client"), "--url", url, "--agent", "fullduplex", *DEFLATE]
        with Program(command, DEADLINE) as client:
            client.rest()
            assert client.exit_code() == 0, str(client)
    return report


def run_against_client_over_tls(role, cases):
    directory = TARGET / "autobahn" / "certificate"
    directory.mkdir(parents=True, exist_ok=True)
    identity = Identity(directory, f"localhost-{len(cases)}")
    port = free_port()
    # The suite compares the port of `Host` with its own, and listens on all addresses of IPv4.
    configuration = directory / f"stunnel-{len(cases)}.conf"
    configuration.write_text(
        f"foreground = yes\npid =\n[wss]\naccept = ::1:{port}\nconnect = 127.0.0.1:{port}\n"
        f"cert = {identity.certificate}\nkey = {identity.key}\n"
    )
    suite, report = wstest(role, "fuzzingserver", cases, {"url": f"ws://127.0.0.1:{port}"})
    with suite, Program(["stunnel", configuration]) as tunnel:
        wait_for_port(port, suite)
        wait_for_port(port, tunnel, "::1")
        url = f"wss://[::1]:{port}"
        command = [example("autobahn_client"), "--url", url, "--agent", "fullduplex", *DEFLATE]
        with Program([*command, "--ca", identity.certificate], DEADLINE) as client:
            client.rest()
            assert client.exit_code() == 0, str(client)
    return report


AXUM_ROLES = ["axum-server", "http2-server"]

# The runs, the longest first.
RUNS = [
    (run_against_server, "server", ALL_COMPRESSION),
    (run_against_client, "client", ALL_COMPRESSION),
    *[(run_against_server, role, SOME_COMPRESSION) for role in SERVERS if role != "server"],
    *[(run_against_server, role, EVERYTHING_ELSE) for role in SERVERS],
    (run_against_client, "client", EVERYTHING_ELSE),
    (run_against_client_over_tls, "tls-client", FEW),
    *[(run_against_client_over_tls, "tls-client", cases) for cases in [FEW_COMPRESSION] if cases],
    *[(run_against_axum, role, cases) for role in AXUM_ROLES for cases in [FEW_COMPRESSION, FEW] if cases],
]
ROLES = [*SERVERS, "client", "tls-client", *AXUM_ROLES]


def expected(role):
    """Returns the cases that are to be run in a role."""
    patterns = [pattern for _, run, cases in RUNS if run == role for pattern in cases]
    return [case for case in BASELINE if any(fnmatch(case, pattern) for pattern in patterns)]


@pytest.fixture(scope="session")
def reports(request):
    """Runs the suite in all selected roles, two at a time: each run uses one processor."""
    roles = {item.callspec.params["role"] for item in request.session.items if hasattr(item, "callspec")}
    pool = ThreadPoolExecutor(2)
    yield [(role, pool.submit(run, role, cases)) for run, role, cases in RUNS if role in roles]
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def results(reports):
    """Returns a function that loads the result of each case of a role, and the directory of its details."""

    @functools.cache
    def load(role):
        cases = {}
        for report in [future.result() for run, future in reports if run == role]:
            assert report.exists(), "the suite wrote no report"
            agents = json.loads(report.read_text())
            assert list(agents) == ["fullduplex"]
            cases |= {case: (result, report.parent) for case, result in agents["fullduplex"].items()}
        return cases

    return load


def test_baseline_is_strict():
    assert len(BASELINE) == CASES
    for case, verdicts in BASELINE.items():
        assert verdicts == (["INFORMATIONAL"] * 2 if case in INFORMATIONAL else ["OK"] * 2), case


# Further transports.
FURTHER = ["tls-client", *AXUM_ROLES]


@pytest.mark.parametrize("role", ROLES)
def test_suite_ran_the_cases_of_the_baseline(results, role):
    assert sorted(results(role)) == sorted(expected(role))
    if IS_LONG or role in ("server", "client"):
        assert len(results(role)) == CASES
    else:
        assert len(results(role)) == (30 if role in FURTHER else 337)


@pytest.mark.parametrize(("role", "case"), [(role, case) for role in ROLES for case in expected(role)])
def test_case(results, role, case):
    cases = results(role)
    assert case in cases, f"case {case} was not run"
    result, directory = cases[case]
    verdicts = [result["behavior"], result["behaviorClose"]]
    if verdicts != BASELINE[case]:
        pytest.fail(f"{verdicts}, not {BASELINE[case]}{explain(directory / result['reportfile'])}", pytrace=False)


def explain(path):
    """Returns the suite's details of a case."""
    try:
        detail = json.loads(path.read_text())
    except (OSError, ValueError):
        return ""
    keys = ["description", "expectation", "result", "resultClose", "expected", "received", "remoteCloseCode"]
    return "".join(f"\n  {key}: {str(detail.get(key))[:400]}" for key in keys)
