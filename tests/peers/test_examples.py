"""Requirements of every example program."""

import pytest
from harness import ROOT, Program, example

KNOWN = {"autobahn_client", "blocking_echo", "client", "echo"}
NAMES = (
    KNOWN
    | {path.stem for path in (ROOT / "examples").glob("*.rs")}
    | {path.parent.name for path in (ROOT / "examples").glob("*/main.rs")}
)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_help_prints_the_usage(name):
    with Program([example(name), "--help"]) as program:
        program.end_input()
        text = b"\n".join(program.rest())
        assert program.exit_code() == 0, str(program)
        assert b"usage" in text.lower()
        assert b"--help" in text


@pytest.mark.parametrize("name", sorted(NAMES))
def test_unknown_argument_is_an_error(name):
    with Program([example(name), "--no-such-argument"]) as program:
        program.end_input()
        assert program.rest() == []
        assert program.exit_code() not in (0, 101), str(program)
        assert "--no-such-argument" in program.errors()
