"""Measures which lines of `src` the tests run, and compares the others with tests/uncovered.txt.

    tests/coverage.py                   builds and runs the tests, then reports
    tests/coverage.py --report          reports on the last run again
    tests/coverage.py --report --list   also prints each line that is not run

The tests are the unit tests and the integration tests of the crate, with the features of tests/all.sh.
The code in the docs, the examples and the tests in Python are not counted, although they run more.

A line counts if the compiler has made code of it and it is not only a comment. Test modules do not
count. A line is run if any test runs a part of it; a generic function, in any of its types.

The exit code is 1 if less than 97 % of the lines are run, or if tests/uncovered.txt is not true. That file
has a line for each function with lines that are not run:

    src/....rs  Type::function  2  why no test runs these lines

`any` in place of the number is for lines that only some runs reach, because their order in time
differs; it includes none. A method of a trait is `<Type as Trait>::function`, and what is outside of a
function `-`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
KNOWN = ROOT / "tests" / "uncovered.txt"
TARGET = ROOT / "target" / "coverage"
PROFILES = TARGET / "profiles"
REPORT = TARGET / "lcov.info"

FEATURES = "deflate,tls,tls-webpki-roots,proxy,reconnect,axum,http2,serde,tracing,serve,hub,calls"
LEAST = 97.0


# --- running the tests


def tools():
    """Returns llvm-profdata and llvm-cov of the LLVM that rustc uses: Debian's, or rustup's `llvm-tools`."""
    about = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (.+)$", about, re.MULTILINE)[1]
    version = re.search(r"^LLVM version: (\d+)", about, re.MULTILINE)[1]
    sysroot = subprocess.run(["rustc", "--print=sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    rustup = Path(sysroot) / "lib" / "rustlib" / host / "bin"
    found = []
    for name in ("llvm-profdata", "llvm-cov"):
        path = shutil.which(f"{name}-{version}") or shutil.which(name, path=rustup)
        if path is None:
            sys.exit(f"no {name} of LLVM {version}: run tests/setup.sh coverage")
        found.append(path)
    return found


def environment():
    """Returns the environment of cargo: only this crate is instrumented, not what it depends on."""
    wrapper = TARGET / "instrumented-rustc"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text('#!/bin/sh\nexec "$@" -C instrument-coverage\n')
    wrapper.chmod(0o755)
    return os.environ | {
        "CARGO_TARGET_DIR": str(TARGET),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
        "LLVM_PROFILE_FILE": str(PROFILES / "%p-%m.profraw"),
        "RUSTC_WORKSPACE_WRAPPER": str(wrapper),
    }


def run_tests():
    """Builds and runs the tests. Returns their programs."""
    command = ["cargo", "test", "--lib", "--tests", "--features", FEATURES]
    if os.environ.get("CI") == "true":
        command.append("--locked")
    json_lines = ["--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run([*command, *json_lines], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit("the tests are not built")
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    programs = [artifact["executable"] for artifact in artifacts if artifact.get("executable")]
    shutil.rmtree(PROFILES, ignore_errors=True)
    if subprocess.run([*command, "--no-fail-fast"], cwd=ROOT, env=environment()).returncode != 0:
        sys.exit("tests fail")
    return programs


def export(programs):
    """Writes the report of the last run, in the format of lcov."""
    profdata, cov = tools()
    merged = TARGET / "merged.profdata"
    names = TARGET / "profiles.txt"
    names.write_text("".join(f"{path}\n" for path in sorted(PROFILES.glob("*.profraw"))))
    subprocess.run([profdata, "merge", "--sparse", f"--input-files={names}", f"--output={merged}"], check=True)
    objects = [word for program in programs for word in ("--object", program)]
    command = [cov, "export", "--format=lcov", f"--instr-profile={merged}", *objects, "--sources", str(SRC)]
    with REPORT.open("w") as output:
        subprocess.run(command, check=True, stdout=output)


# --- reading the source, as rustfmt formats it: an item ends at the indentation at which it begins


def indentation(line):
    return len(line) - len(line.lstrip())


def end_of_item(lines, first):
    """Returns the index after the last line of the item, statement or field that begins at an index."""
    indent = indentation(lines[first])
    for index in range(first, len(lines)):
        line = lines[index]
        if indentation(line) != indent or not line.strip():
            continue
        if line.endswith((";", ",")) or (line.endswith("}") if index == first else line.lstrip().startswith("}")):
            return index + 1
    raise SystemExit(f"no end of: {lines[first]}")


TEST_ONLY = re.compile(r"\s*#\[cfg\((?:test|all\(test\b.*\))\)\]")
MODULE = re.compile(r"\s*(?:pub(?:\([^)]*\))? )?mod (\w+);")


def test_only(path, lines):
    """Returns the indexes of lines of a file that only tests have, and the modules in other files that only
    tests have."""
    excluded, modules = set(), []
    for index, line in enumerate(lines):
        if not TEST_ONLY.fullmatch(line) or index in excluded:
            continue
        first = index + 1
        while re.match(r"\s*(?:#\[|///)", lines[first]):
            first += 1
        if module := MODULE.fullmatch(lines[first]):
            directory = path.parent if path.stem in ("mod", "lib") else path.with_suffix("")
            modules.append(directory / module[1])
        excluded.update(range(index, end_of_item(lines, first)))
    return excluded, modules


ITEM = re.compile(
    r"(?:pub(?:\([^)]*\))? )?(?:(?:default|const|async|unsafe|extern \"C\") )*(?P<kind>fn|impl|trait|mod)\b(?P<rest>.*)"
)


def without_generics(text):
    """Removes what is between `<` and `>`, but not the `>` of an arrow."""
    depth, kept = 0, ""
    for char in text.replace("->", ""):
        depth += (char == "<") - (char == ">")
        if depth == 0 and char != ">":
            kept += char
    return kept


def scope_name(kind, lines, index):
    """Returns the name of the item that begins at an index: of a function, or of what its name begins with."""
    header = " ".join(line.strip() for line in lines[index : index + 12]).split(" {")[0]
    header = without_generics(ITEM.match(header)["rest"]).split(" where ")[0].strip()
    if kind != "impl":
        return re.match(r"\w+", header)[0]
    names = [re.split(r"::", re.sub(r"^&(mut )?", "", name.strip()).split("(")[0])[-1] for name in header.split(" for ")]
    return names[0] if len(names) == 1 else f"<{names[1]} as {names[0]}>"


def functions(lines):
    """Returns the name of the function that each line belongs to."""
    scopes, names = [], []
    for index, line in enumerate(lines):
        indent, text = indentation(line), line.strip()
        if item := ITEM.match(text):
            while scopes and scopes[-1][0] >= indent:
                scopes.pop()
            scopes.append((indent, item["kind"], scope_name(item["kind"], lines, index)))
        inner = [position for position, scope in enumerate(scopes) if scope[1] == "fn"]
        path = scopes[: inner[-1] + 1] if inner else []
        names.append("::".join(name for _, kind, name in path if kind != "mod") or "-")
        if text.startswith("}"):
            while scopes and scopes[-1][0] >= indent:
                scopes.pop()
    return names


# --- the report


@dataclass
class File:
    """What is measured of a file: the numbers of its lines that count, and of those that are not run."""

    counted: set
    missed: set
    functions: list
    lines: list
    by_function: Counter = field(init=False)

    def __post_init__(self):
        self.by_function = Counter(self.functions[number - 1] for number in self.missed)


def executions():
    """Returns how often each line was run, by file and number."""
    runs, path = {}, None
    for line in REPORT.read_text().splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            path = Path(rest)
        elif kind == "DA":
            number, count = rest.split(",")[:2]
            runs.setdefault(path, {})[int(number)] = int(count)
    return runs


def measure():
    """Returns what is measured of each file, by its name."""
    runs, files, modules = executions(), {}, []
    for path in sorted(SRC.rglob("*.rs")):
        lines = path.read_text().splitlines()
        excluded, only_tests = test_only(path, lines)
        modules += only_tests
        counted = {
            number
            for number in runs.get(path, {})
            if number - 1 not in excluded and lines[number - 1].strip() and not lines[number - 1].lstrip().startswith("//")
        }
        missed = {number for number in counted if runs[path][number] == 0}
        files[path] = File(counted, missed, functions(lines), lines)

    def counts(path):
        return not any(path == module.with_suffix(".rs") or module in path.parents for module in modules)

    return {str(path.relative_to(ROOT)): file for path, file in files.items() if counts(path)}


def known_functions():
    """Returns the entries of tests/uncovered.txt: the number of lines or `None`, by file and function."""
    known = {}
    for line in KNOWN.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        fields = re.split(r"  +", line, maxsplit=3)
        if len(fields) != 4 or not re.fullmatch(r"[1-9]\d*|any", fields[2]) or tuple(fields[:2]) in known:
            raise SystemExit(f"{KNOWN.name}: not an entry, or a second one: {line}")
        known[fields[0], fields[1]] = None if fields[2] == "any" else int(fields[2])
    return known


def faults(files, known):
    """Yields a line for each difference between what is measured and tests/uncovered.txt."""
    for name, file in files.items():
        for function, count in sorted(file.by_function.items()):
            listed = known.get((name, function), 0)
            if listed is not None and count != listed:
                yield f"{name}  {function}  {count}  listed: {listed}"
    for name, function in known:
        if name not in files or function not in files[name].functions:
            yield f"{name}  {function}: listed, and there is no such function"
        elif known[name, function] is not None and function not in files[name].by_function:
            yield f"{name}  {function}: listed, and all of its lines are run"


def table(files):
    """Prints the number of lines of each directory, and returns the percentage of all that are run."""
    counted, missed = Counter(), Counter()
    for name, file in files.items():
        for row in (str(Path(name).parent), "all"):
            counted[row] += len(file.counted)
            missed[row] += len(file.missed)
    print(f"{'directory':32} {'lines':>6} {'not run':>8} {'run':>8}")
    for row in [*sorted(counted.keys() - {"all"}), "all"]:
        if counted[row]:
            print(f"{row:32} {counted[row]:6} {missed[row]:8} {percentage(counted[row], missed[row]):7.2f}%")
    return percentage(counted["all"], missed["all"])


def percentage(counted, missed):
    return 100 * (counted - missed) / counted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="report on the last run, and run no test")
    parser.add_argument("--list", action="store_true", help="print the lines that are not run")
    arguments = parser.parse_args()

    if not arguments.report:
        tools()
        export(run_tests())
    files = measure()
    if arguments.list:
        for name, file in files.items():
            for number in sorted(file.missed):
                print(f"{name}:{number}: {file.functions[number - 1]}: {file.lines[number - 1].strip()}")
    run = table(files)
    known = known_functions()
    found = list(faults(files, known))
    print(f"{len(known)} functions are listed in {KNOWN.relative_to(ROOT)}")
    if run < LEAST:
        found.append(f"{run:.2f} % of the lines are run, less than {LEAST} %")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
