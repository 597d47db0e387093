#!/usr/bin/env python3
"""Counts the instructions of each path, here and in the parent commit, and compares them.

    benches/counts/compare.py               with HEAD^, the parent commit
    COUNTS_BASE=HEAD benches/counts/compare.py   with another commit; here, uncommitted changes

Fails if a path takes more than 2 % more instructions than in the parent. A commit that does so on
purpose states it in its message, on a line of its own for each path (or pattern of paths):

    Counts: recv/text_128 +5 % because each message now reads the clock

Paths that only one side has are listed. Without a parent that has counts and builds, the counts from
here are printed, and nothing is compared.
"""

import fnmatch
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The package of the paths, in a checkout.
PACKAGE = Path("benches/counts")
BUILT = ROOT / "target/counts"
PARENT = BUILT / "parent"
# The allowed growth, in percent.
BOUND = 2.0
ALLOWANCE = re.compile(r"^Counts: (\S+) \+(\d+(?:\.\d+)?) ?% because \S.*$")


class Failed(Exception):
    """An error, with a message for the user."""


def main():
    # Both at once: most of the time is that of two builds, the end of which uses one processor.
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(count, ROOT, BUILT / "here")
        try:
            base = find_base()
            check_out(base)
            parent, failed = count(PARENT, BUILT / "there"), None
        except Failed as error:
            parent, failed = {}, error
        here = counting.result()
    if failed:
        show(here, {}, {})
        print(f"counts: {failed}, nothing to compare")
        return
    grown = show(here, parent, allowances(base, here))
    if grown:
        raise Failed(f"more instructions than in the parent: {', '.join(grown)}")


def find_base():
    """Returns the commit to compare with."""
    name = os.environ.get("COUNTS_BASE") or "HEAD^"
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if found.returncode != 0:
        raise Failed(f"no commit {name} in this clone")
    return found.stdout.strip()


def check_out(base):
    """Checks out the parent, in a directory where earlier builds are reused."""
    if git("cat-file", "-e", f"{base}:{PACKAGE}/Cargo.lock").returncode != 0:
        raise Failed("the parent has no counts")
    if (PARENT / ".git").exists():
        done = git("-C", PARENT, "checkout", "--quiet", "--force", "--detach", base)
    else:
        # Forced, because git may know the worktree although it was removed.
        done = git("worktree", "add", "--quiet", "--force", "--force", "--detach", PARENT, base)
    if done.returncode != 0:
        raise Failed(f"cannot check {base} out: {done.stderr.strip()}")


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def count(checkout, built):
    """Builds and runs the paths of a checkout. Returns the instructions of each."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GUNGRAUN_")}
    environment |= {"GUNGRAUN_RUNNER": str(runner(checkout)), "GUNGRAUN_HOME": str(built / "gungraun")}
    locked = ["--locked"] if os.environ.get("CI") == "true" else []
    command = ["cargo", "bench", *locked, "--target-dir", built, "--", "--output-format=json", f"--parallel={os.cpu_count()}"]
    done = subprocess.run(command, cwd=checkout / PACKAGE, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"cannot count in {checkout}:\n{done.stderr[-8000:].rstrip()}\n")
    return dict(sorted(map(instructions, done.stdout.splitlines())))


def runner(checkout):
    """Returns the program that runs the paths under callgrind, in the version of the library."""
    locked = (checkout / PACKAGE / "Cargo.lock").read_text()
    version = re.search(r'^name = "gungraun-runner"\nversion = "(.*)"$', locked, re.MULTILINE)[1]
    path = ROOT / f"target/gungraun-{version}/bin/gungraun-runner"
    if not path.exists():
        raise Failed(f"no {path}: run tests/setup.sh")
    return path


def instructions(line):
    """Returns the name of a path and its count, from a line of the runner's output."""
    summary = json.loads(line)
    values = summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]
    return f"{summary['function_name']}/{summary['id']}", values["new"]


def allowances(base, paths):
    """Returns by how many percent paths may grow, according to the messages of the commits since."""
    allowed = {}
    for line in git("log", "--format=%B", f"{base}..HEAD").stdout.splitlines():
        if not line.startswith("Counts:"):
            continue
        found = ALLOWANCE.match(line)
        names = fnmatch.filter(paths, found[1]) if found else []
        if not names:
            raise Failed(f"not `Counts: PATH +N % because REASON`, or of no path: {line}")
        for name in names:
            allowed[name] = allowed.get(name, 0.0) + float(found[2])
    return allowed


def show(here, parent, allowed):
    """Prints all counts side by side. Returns the paths that have grown by more than allowed."""
    grown = []
    print(f"{'path':32} {'parent':>12} {'here':>12} {'ratio':>7}")
    for name in sorted(here.keys() | parent.keys()):
        old, new = parent.get(name), here.get(name)
        remark = ""
        if old and new:
            most = max(BOUND, allowed.get(name, 0.0))
            if new > old * (1 + most / 100):
                grown.append(name)
                remark = f"  more than {most:g} %"
            elif new > old * (1 + BOUND / 100):
                remark = f"  {most:g} % are accepted"
        ratio = f"{new / old:.3f}" if old and new else ""
        columns = [f"{value:,}" if value else "-" for value in (old, new)]
        print(f"{name:32} {columns[0]:>12} {columns[1]:>12} {ratio:>7}{remark}".rstrip())
    return grown


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"counts: {error}")
