"""Lists the mutants of the source by cargo-mutants, and draws some of them by a seed."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# The protocol core, the opening handshake, and the split connection.
FILES = ["src/proto/**", "src/handshake/**", "src/stream/split/**"]
# Files that are not compiled with the features of the tests, and the models of loom.
LEFT_OUT = ["**/no_*.rs", "src/stream/split/model.rs"]

# The position in the name of a mutant: `src/proto/role.rs:12:9: replace ...`.
POSITION = re.compile(r":\d+:\d+: ")

# A line and a column of characters, both from 1.
Position = tuple[int, int]


class Failed(Exception):
    """An error, with a message for the user."""


@dataclass(frozen=True)
class Mutant:
    """A mutation of the source: a part of a file that is replaced."""

    # Its name without the position, so that it remains the same if lines are added above it. Equal
    # names are numbered.
    key: str
    # Its name, as cargo-mutants prints it.
    name: str
    file: str
    genre: str
    start: Position
    end: Position
    replacement: str
    # What the enclosing function returns, from `->` on.
    returns: str


def list_mutants(*arguments: str) -> list[Mutant]:
    """Returns all mutants, in the order of their positions."""
    entries = sorted((entry for entry in run_cargo_mutants(*arguments) if not is_test(entry)), key=position)
    plain = [POSITION.sub(": ", entry["name"], count=1) for entry in entries]
    seen: Counter[str] = Counter()
    mutants = []
    for entry, name in zip(entries, plain):
        seen[name] += 1
        mutants.append(mutant(entry, name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return mutants


def changed_since(commit: str) -> list[Mutant]:
    """Returns the mutants in lines that have changed since a commit."""
    if git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").returncode != 0:
        raise Failed(f"no commit {commit} in this clone, nothing to compare")
    diff = ROOT / "target" / "mutants" / "changed.diff"
    diff.parent.mkdir(parents=True, exist_ok=True)
    diff.write_text(git("diff", commit, "--", "src").stdout)
    if not diff.read_text():
        return []
    return list_mutants("--in-diff", str(diff))


def draw(mutants: list[Mutant], seed: int, count: int) -> list[Mutant]:
    """Returns `count` of the mutants. The others do not determine whether a mutant is among the first."""

    def rank(mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed}:{mutant.key}".encode()).hexdigest()

    return sorted(mutants, key=rank)[:count]


def run_cargo_mutants(*arguments: str) -> list[dict[str, Any]]:
    """Returns what cargo-mutants lists for the files."""
    command = ["cargo", "mutants", "--list", "--json", *arguments]
    command += [word for glob in FILES for word in ("--file", glob)]
    command += [word for glob in LEFT_OUT for word in ("--exclude", glob)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"cargo mutants: {done.stderr.strip()}\nis it installed? tests/setup.sh mutants")
    # It prints nothing in place of an empty list if a diff has no lines of source.
    return json.loads(done.stdout or "[]")


def is_test(entry: dict[str, Any]) -> bool:
    """Returns whether a mutant is in a test: cargo-mutants leaves out only modules with `#[cfg(test)]` alone."""
    return bool(entry["function"]) and str(entry["function"]["function_name"]).startswith("tests::")


def mutant(entry: dict[str, Any], key: str) -> Mutant:
    """Returns a mutant of the list."""
    start, end = entry["span"]["start"], entry["span"]["end"]
    return Mutant(
        key=key,
        name=entry["name"],
        file=entry["file"],
        genre=entry["genre"],
        start=(start["line"], start["column"]),
        end=(end["line"], end["column"]),
        replacement=entry["replacement"],
        returns=(entry["function"] or {}).get("return_type", ""),
    )


def position(entry: dict[str, Any]) -> tuple[str, int, int, str]:
    """Returns the file and the position of a mutant of the list, for its order."""
    start = entry["span"]["start"]
    return entry["file"], start["line"], start["column"], entry["name"]


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs git in the repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def commit() -> str:
    """Returns the commit of the repository, marked if files have changed since."""
    name = git("rev-parse", "--short=10", "HEAD").stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    return f"{name} with changes" if changed else name
