"""The parts of the page of the classroom that need no browser: its tests for Node."""

import re

from harness import ROOT
from peers import Failed, Program, shutil

WEB = ROOT / "examples" / "classroom" / "web"


def test_parts_of_the_page():
    path = shutil.which("node") or shutil.which("nodejs")
    if path is None:
        raise Failed("no node: run tests/setup.sh")
    with Program([path, "--test", "--test-reporter=tap", *sorted(WEB.glob("*.test.mjs"))]) as program:
        program.end_input()
        text = b"\n".join(program.rest()).decode()
        assert program.exit_code() == 0, text
    [passed] = re.findall(r"^# pass (\d+)$", text, re.MULTILINE)
    assert int(passed) > 0, text
