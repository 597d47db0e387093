"""The debug builds of the examples under valgrind: no invalid access, no use of uninitialised bytes, no leak."""

import os
import shutil
from pathlib import Path

import pytest
import python_client
from harness import TARGET, Failed, Program
from peers import python_server
from test_compression import WILLING

# Debug builds, so that valgrind's findings have line numbers.
EXAMPLES = Path(os.environ.get("FULLDUPLEX_DEBUG_EXAMPLES", TARGET / "debug" / "examples"))
ERROR = 99


def under_valgrind(name, *arguments):
    path = EXAMPLES / name
    if shutil.which("valgrind") is None or not path.exists():
        raise Failed(f"no valgrind, or no {path}: run tests/setup.sh and `cargo build --examples`")
    options = ["--leak-check=full", "--errors-for-leak-kinds=definite", f"--error-exitcode={ERROR}"]
    return Program(["valgrind", *options, path, *arguments])


def assert_clean(program):
    assert program.exit_code() == 0, str(program)
    assert "ERROR SUMMARY: 0 errors" in program.errors(), str(program)


@pytest.mark.parametrize("arguments", [["--threads", "1"], ["--threads", "2"], WILLING, ["--deflate"]], ids=" ".join)
def test_echo_is_clean(arguments):
    with under_valgrind("echo", "--listen", "127.0.0.1:0", *arguments) as server:
        url = server.listening()
        for scenario in ["text", "binary", "empty", "lengths", "fragments", "ping_between_fragments", "close_codes"]:
            getattr(python_client, scenario)(url)
        with python_client.opened(url) as left_open:
            left_open.send("not closed by this end")
            python_client.expect(left_open, "not closed by this end")
            server.interrupt()
            assert python_client.closed_by_server(left_open) == 1001
            assert_clean(server)


@pytest.mark.parametrize("arguments", [[], WILLING, ["--deflate"]], ids=" ".join)
def test_client_is_clean(arguments):
    with python_server("echo") as server, under_valgrind("client", server.url, *arguments) as program:
        for line in [b"hello", b"x" * 100000]:
            program.write(line + b"\n")
            assert program.line() == line, str(program)
        program.end_input()
        assert program.rest() == []
        assert_clean(program)
        assert server.event("close")["code"] == 1000
