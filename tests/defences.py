"""Takes the defences behind tests/HOSTILE.md out, one at a time, and checks that their tests fail.

    tests/defences.py                   all of them, in a copy of the tree
    tests/defences.py --row 2 17        those with tests of these rows, and only these tests
    tests/defences.py --check           nothing is built: checks the lists alone

`--keep-going` continues after a test that does not fail. The exit code is 1 if there was one.

Defences are listed in tests/defences/*.toml:

    [[defence]]
    rows = [2]                          the rows of its tests
    what = 'what it ensures'
    file = 'src/...'
    text = 'the code that is the defence'
    instead = 'the code without it'     it has to compile
    hangs = ["row_02_..."]              tests that may hang without it; no other may
    [defence.tests]
    "tests/....rs" = ["row_02_..."]     as in tests/HOSTILE.md

`[[defence.also]]`, with `file`, `text` and `instead`, is for a defence that is in several places.
Each text occurs once in its file, and each test of tests/HOSTILE.md has a defence.

A test counts as failing if it was run and failed, or if it ended its process. An error of the compiler,
a test that was not run and one that took too long do not, unless `hangs` names the test. Before
anything is taken out, all tests have to pass.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "HOSTILE.md"
# The copy of the tree, and what is built in it.
TREE = ROOT / "target" / "defences" / "tree"
TARGET = ROOT / "target" / "defences" / "target"
PYTHON = ROOT / "target" / "test-venv" / "bin" / "python"

FEATURES = "deflate,tls,tls-webpki-roots,proxy,reconnect,axum,http2,serde,tracing,serve,hub,calls"
# The examples that the tests in Python run.
EXAMPLES = ["broadcast", "client", "echo"]
# Seconds: for a build, for a test, and for one that may hang, in addition to the time that it takes
# with its defence.
BUILD, TEST, HANG = 1800, 180, 20


@dataclass(frozen=True, order=True)
class Test:
    """A test: the file that it is in, and its name, as tests/HOSTILE.md has them."""

    file: str
    name: str

    def row(self):
        return int(self.name.split("_")[1])

    def binary(self):
        """What has to be built to run it."""
        parts = Path(self.file).parts
        match parts:
            case ("src", *_):
                return ("lib", "")
            case ("tests", _):
                return ("test", Path(self.file).stem)
            case ("tests", *_):
                return ("examples", "")
            case ("examples", package, *_):
                return ("package", package)
        raise SystemExit(f"{self.file}: no program with its tests is known")

    def __str__(self):
        return f"{self.file}: {self.name}"


@dataclass
class Defence:
    """A defence: its edits, each a file and two texts, and the tests that fail without it."""

    rows: list
    what: str
    edits: list
    tests: list
    hangs: set = field(default_factory=set)


def read_defences():
    defences = []
    for path in sorted((ROOT / "tests" / "defences").glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["defence"]:
            edits = [(edit["file"], edit["text"], edit["instead"]) for edit in [entry, *entry.get("also", [])]]
            tests = [Test(file, name) for file, names in entry["tests"].items() for name in names]
            defences.append(Defence(entry["rows"], entry["what"], edits, tests, set(entry.get("hangs", []))))
    return defences


def listed_tests():
    """Returns the tests that tests/HOSTILE.md lists."""
    tests, file = [], None
    for line in TABLE.read_text().split("\n## Tests\n")[1].splitlines():
        if found := re.fullmatch(r"- `(.+)`", line):
            file = found[1]
        elif found := re.fullmatch(r"  - `(.+)`", line):
            tests.append(Test(file, found[1]))
    return tests


def faults(defences):
    """Yields a line for each fault of the lists."""
    listed = listed_tests()
    for defence in defences:
        name = f"{defence.edits[0][0]}: {defence.what}"
        for file, text, instead in defence.edits:
            count = (ROOT / file).read_text().count(text) if (ROOT / file).is_file() else 0
            if count != 1:
                yield f"{name}: the text occurs {count} times in {file}: {text!r}"
            if text == instead:
                yield f"{name}: nothing is taken out"
        if sorted({test.row() for test in defence.tests}) != defence.rows:
            yield f"{name}: not the rows of its tests"
        if unknown := defence.hangs - {test.name for test in defence.tests}:
            yield f"{name}: not among its tests: {sorted(unknown)}"
        for test in defence.tests:
            if test not in listed:
                yield f"{name}: not in {TABLE.name}: {test}"
    edits = [tuple(defence.edits) for defence in defences]
    for defence in defences:
        if edits.count(tuple(defence.edits)) > 1:
            yield f"{defence.what}: listed twice"
    named = {test for defence in defences for test in defence.tests}
    for test in listed:
        if test not in named:
            yield f"no defence for {test}"


def copy_tree(tree=TREE, changed=None):
    """Copies the files of the repository that differ from their copies, with changed contents for some.

    `changed` has the contents, by the names of files, which may be new ones.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    contents = {name: ROOT / name for name in names if name and (ROOT / name).is_file()} | (changed or {})
    for path in [path for path in tree.rglob("*") if path.is_file()]:
        if str(path.relative_to(tree)) not in contents and "__pycache__" not in path.parts:
            path.unlink()
    for name, source in contents.items():
        copy, content = tree / name, source if isinstance(source, bytes) else source.read_bytes()
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            if isinstance(source, Path):
                shutil.copymode(source, copy)


class BuildError(Exception):
    """The programs could not be built."""


def cargo(*arguments):
    """Runs cargo in the copy. Returns the programs that it built, by the names of their targets."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(TARGET), CARGO_TERM_COLOR="never")
    environment |= {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_DEV_DEBUG": "0"}
    command = ["cargo", *arguments, "--message-format=json-render-diagnostics"]
    try:
        done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=BUILD)
    except subprocess.TimeoutExpired:
        raise BuildError(f"not built in {BUILD} s") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise BuildError("\n".join(errors[:5] or done.stderr.splitlines()[-5:]))
    artifacts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        (artifact["target"]["name"], artifact["profile"]["test"]): artifact["executable"]
        for artifact in artifacts
        if artifact["reason"] == "compiler-artifact" and artifact.get("executable")
    }


def build(tests):
    """Builds what these tests need. Returns the test programs, by what they are built from."""
    binaries, programs = {test.binary() for test in tests}, {}
    own = [binary for binary in sorted(binaries) if binary[0] in ("lib", "test")]
    if own:
        chosen = [word for kind, name in own for word in ([f"--{kind}", name] if name else [f"--{kind}"])]
        built = cargo("test", "--no-run", "--features", FEATURES, *chosen)
        for kind, name in own:
            programs[kind, name] = built[name or "fullduplex", True]
    for kind, name in sorted(binaries):
        if kind == "package":
            programs[kind, name] = cargo("test", "--no-run", "--package", name, "--lib")[name.replace("-", "_"), True]
    if ("examples", "") in binaries:
        if not PYTHON.exists():
            raise SystemExit(f"no {PYTHON}: run tests/setup.sh")
        chosen = [word for example in EXAMPLES for word in ("--example", example)]
        cargo("build", "--features", FEATURES, *chosen)
        programs["examples", ""] = str(PYTHON)
    return programs


def module(file):
    """Returns the path of the module that a unit test is in."""
    parts = Path(file).with_suffix("").parts
    parts = parts[parts.index("src") + 1 :]
    return "::".join(part for part in parts if part not in ("mod", "lib"))


def full_name(test, program):
    """Returns the name of a test in its program, or `None` if the program does not have it."""
    if test.binary()[0] == "test":
        prefix = ""
    else:
        prefix = module(test.file) + "::"
    listed = subprocess.run([program, "--list", "--format=terse"], capture_output=True, text=True, cwd=TREE).stdout
    names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
    found = [name for name in names if name.startswith(prefix) and name.split("::")[-1] == test.name]
    return found[0] if len(found) == 1 else None


def run(test, program, limit):
    """Runs a test. Returns what came of it: `ok`, `failed`, `crashed`, `hangs` or `not run`."""
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    if test.binary()[0] == "examples":
        environment["FULLDUPLEX_EXAMPLES"] = str(TARGET / "debug" / "examples")
        command = [program, "-m", "pytest", "-c", "tests/pytest.ini", "-q", f"{test.file}::test_{test.name}"]
        verdicts = [("failed", r"^1 failed"), ("ok", r"^1 passed")]
    else:
        name = full_name(test, program)
        if name is None:
            return "not run"
        command = [program, "--exact", name]
        verdicts = [("failed", r"^test result: FAILED. 0 passed; 1 failed"), ("ok", r"^test result: ok. 1 passed")]
    process = subprocess.Popen(
        command, cwd=TREE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return "hangs"
    for verdict, pattern in verdicts:
        if re.search(pattern, output, re.MULTILINE):
            return verdict
    # A signal, such as that of an overflowing stack or of a panic during another one.
    return "crashed" if process.returncode < 0 and "running 1 test" in output else "not run"


def check_all_pass(tests):
    """Runs the tests with all defences. Returns how long each took."""
    programs, seconds, failed = build(tests), {}, []
    for test in sorted(tests):
        start = time.monotonic()
        verdict = run(test, programs[test.binary()], TEST)
        seconds[test] = time.monotonic() - start
        if verdict != "ok":
            failed.append(f"{test}: {verdict}")
    if failed:
        raise SystemExit("with all defences:\n" + "\n".join(failed))
    return seconds


def take_out(defence, tests, seconds):
    """Runs tests without a defence. Returns what came of each."""
    before = {file: (TREE / file).read_text() for file, _, _ in defence.edits}
    try:
        for file, text, instead in defence.edits:
            path = TREE / file
            path.write_text(path.read_text().replace(text, instead))
        programs = build(tests)
        verdicts = {}
        for test in tests:
            limit = HANG + 5 * seconds[test] if test.name in defence.hangs else TEST
            verdicts[test] = run(test, programs[test.binary()], limit)
        return verdicts
    except BuildError as error:
        print(f"    not built: {error}", flush=True)
        return {test: "not built" for test in tests}
    finally:
        for file, text in before.items():
            (TREE / file).write_text(text)


def as_required(defence, test, verdict):
    return verdict in ("failed", "crashed") or (verdict == "hangs" and test.name in defence.hangs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", type=int, nargs="+", metavar="N", help="only tests of these rows")
    parser.add_argument("--check", action="store_true", help="only check the lists")
    parser.add_argument("--keep-going", action="store_true", help="continue after a test that does not fail")
    arguments = parser.parse_args()

    defences = read_defences()
    if found := list(faults(defences)):
        sys.exit("\n".join(found))
    print(f"{len(defences)} defences, {len(listed_tests())} tests")
    if arguments.check:
        return

    def is_chosen(test):
        return arguments.row is None or test.row() in arguments.row

    chosen = [(defence, [test for test in defence.tests if is_chosen(test)]) for defence in defences]
    chosen = [(defence, tests) for defence, tests in chosen if tests]
    all_tests = {test for _, tests in chosen for test in tests}
    start = time.monotonic()
    copy_tree()
    seconds = check_all_pass(all_tests)
    print(f"{len(all_tests)} tests pass with all defences ({time.monotonic() - start:.0f} s)\n", flush=True)

    counts, survived = {}, []
    for number, (defence, tests) in enumerate(chosen, 1):
        files = ", ".join(dict.fromkeys(file for file, _, _ in defence.edits))
        print(f"{number}/{len(chosen)} without: {defence.what} ({files})", flush=True)
        for test, verdict in take_out(defence, tests, seconds).items():
            counts[verdict] = counts.get(verdict, 0) + 1
            fails = as_required(defence, test, verdict)
            print(f"    {verdict if fails else verdict.upper():9} row {test.row():2}  {test}", flush=True)
            if not fails:
                survived.append(f"{test}: {verdict} without: {defence.what}")
        if survived and not arguments.keep_going:
            break

    rows = {test.row() for _, tests in chosen for test in tests}
    done = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"\n{number} defences taken out, {len(rows)} rows, {len(all_tests)} tests: {done}")
    print(f"{time.monotonic() - start:.0f} s")
    if survived:
        sys.exit("do not fail as they should:\n" + "\n".join(survived))


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(f"with all defences, not built: {error}")
