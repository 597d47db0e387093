"""The Autobahn test suite: each of its cases is a test, for the server (a connection whole, split, and with messages in
parts), the blocking server, and the client.

The cases on compression (12.* and 13.*) are left out: permessage-deflate is not offered and not accepted.

A case passes if the suite's verdicts, on what happened and on how the connection was closed, are those of
`baseline.json`: OK, or INFORMATIONAL for the three cases in which the suite has no other verdict. NON-STRICT fails.
"""

import json
import shutil
from pathlib import Path

import pytest
from harness import TARGET, Program, example, free_port, wait_for_port

BASELINE = json.loads((Path(__file__).parent / "baseline.json").read_text())
CASES = 301
# Cases that give both verdicts as INFORMATIONAL, whatever the peer does.
INFORMATIONAL = ["7.1.6", "7.13.1", "7.13.2"]
SELECTION = {"cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
WSTEST = TARGET / "autobahn-venv" / "bin" / "wstest"
# The largest message of the suite has 16 MiB.
MAX_MESSAGE = str(64 << 20)


def wstest(role, mode, spec):
    """Starts the suite in a mode, with what it is to do, and where its report goes."""
    out = TARGET / "autobahn" / role
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    path = out / "spec.json"
    path.write_text(json.dumps({"outdir": str(out), **SELECTION, **spec}))
    return Program([WSTEST, "--mode", mode, "--spec", path, "--webport", "0"]), out / "index.json"


def run_against_server(role, command):
    with Program(command) as server:
        url = server.listening()
        suite, report = wstest(role, "fuzzingclient", {"servers": [{"agent": "fullduplex", "url": url}]})
        with suite:
            suite.rest()
            assert suite.exit_code() == 0, str(suite)
        assert server.is_running(), f"the server ended: {server}"
    return report


ECHO = [example("echo"), "--listen", "127.0.0.1:0", "--threads", "1", "--ping-interval", "0"]
ECHO += ["--max-message-size", MAX_MESSAGE]


def run_server():
    return run_against_server("server", ECHO)


def run_split_server():
    return run_against_server("split-server", [*ECHO, "--split"])


def run_parts_server():
    return run_against_server("parts-server", [*ECHO, "--parts"])


def run_blocking_server():
    return run_against_server("blocking-server", [example("blocking_echo"), "--listen", "127.0.0.1:0"])


def run_client():
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    suite, report = wstest("client", "fuzzingserver", {"url": url})
    with suite:
        wait_for_port(port, suite)
        with Program([example("autobahn_client"), "--url", url, "--agent", "fullduplex"]) as client:
            client.rest()
            assert client.exit_code() == 0, str(client)
    return report


ROLES = {
    "server": run_server,
    "split-server": run_split_server,
    "parts-server": run_parts_server,
    "blocking-server": run_blocking_server,
    "client": run_client,
}


@pytest.fixture(scope="session", params=ROLES)
def results(request):
    """Runs the whole suite once for each role."""
    report = ROLES[request.param]()
    assert report.exists(), "the suite wrote no report"
    agents = json.loads(report.read_text())
    assert list(agents) == ["fullduplex"]
    return report.parent, agents["fullduplex"]


def test_baseline_is_strict():
    assert len(BASELINE) == CASES
    for case, verdicts in BASELINE.items():
        assert verdicts == (["INFORMATIONAL"] * 2 if case in INFORMATIONAL else ["OK"] * 2), case


def test_suite_ran_the_cases_of_the_baseline(results):
    _, cases = results
    assert sorted(cases) == sorted(BASELINE)


@pytest.mark.parametrize("case", BASELINE)
def test_case(results, case):
    directory, cases = results
    assert case in cases, f"case {case} was not run"
    verdicts = [cases[case]["behavior"], cases[case]["behaviorClose"]]
    if verdicts != BASELINE[case]:
        pytest.fail(f"{verdicts}, not {BASELINE[case]}{explain(directory / cases[case]['reportfile'])}", pytrace=False)


def explain(path):
    """What the suite says of a case."""
    try:
        detail = json.loads(path.read_text())
    except (OSError, ValueError):
        return ""
    keys = ["description", "expectation", "result", "resultClose", "expected", "received", "remoteCloseCode"]
    return "".join(f"\n  {key}: {str(detail.get(key))[:400]}" for key in keys)
