"""Stores what came of each mutant, and writes the report."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .listing import ROOT, Mutant
from .programs import LEFT_OUT
from .runs import Verdict

REPORT = ROOT / "tests" / "mutants.md"
# Why mutants survive, by their keys.
REASONS = ROOT / "tests" / "mutants" / "survivors.toml"
# What is stored of a mutant that no unit test catches, until the other tests are run.
PASSED_UNITS = "passed units"
COLUMNS = ["unviable", "unit", "integration", "doc", "timeout", "survived", "not run"]


# The module with the unit tests of a file, which is at its bottom.
TESTS = re.compile(r"\n#\[cfg\([^\n]*\btest\b[^\n]*\)\]\nmod tests \{.*", re.DOTALL)


def digest(source: str) -> str:
    """Returns a hash of the source of a file, without its tests."""
    return hashlib.sha256(TESTS.sub("", source).encode()).hexdigest()[:16]


@cache
def digest_of(file: str) -> str:
    """Returns the hash of a file, or nothing if there is no such file."""
    path = ROOT / file
    return digest(path.read_text()) if path.exists() else ""


@dataclass(frozen=True)
class Result:
    verdict: Verdict
    # The commit at which it was run.
    commit: str


class Results:
    """The results of a run, in a file, so that a run that was interrupted continues.

    The results of mutants in a file that has changed since, except for its tests, are not used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.by_key: dict[str, Result] = {}
        # The mutants that have to be built on their own, and why.
        self.single: dict[str, str] = {}
        # Test programs that do not pass in the copy, and how they end.
        self.left_out: dict[str, str] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            entry = json.loads(line)
            if "left_out" in entry:
                self.left_out[entry["left_out"]] = entry["how"]
            elif "single" in entry:
                self.single[entry["single"]] = entry["why"]
            elif entry.get("source") == digest_of(entry["key"].partition(": ")[0]):
                self.by_key[entry["key"]] = Result(Verdict(entry["what"], entry["by"]), entry["commit"])

    def store(self, mutant: Mutant, verdict: Verdict, commit: str) -> None:
        """Appends a result. The last one of a mutant counts."""
        entry = {
            "key": mutant.key, "what": verdict.what, "by": verdict.by, "commit": commit, "source": digest_of(mutant.file)
        }  # fmt: skip
        with self._lock:
            self.by_key[mutant.key] = Result(verdict, commit)
            self._append(entry)

    def leave_out(self, name: str, how: str) -> None:
        """Stores that a test program is not run."""
        with self._lock:
            self.left_out[name] = how
            self._append({"left_out": name, "how": how})

    def build_alone(self, mutant: Mutant, why: str) -> None:
        """Stores that a mutant has to be built on its own."""
        if mutant.key not in self.single:
            self.single[mutant.key] = why
            self._append({"single": mutant.key, "why": why})

    def of(self, mutant: Mutant) -> str:
        """Returns what came of a mutant, or nothing if it was not run."""
        result = self.by_key.get(mutant.key)
        return result.verdict.what if result is not None else ""

    def verdict(self, mutant: Mutant) -> Verdict:
        """Returns the final verdict of a mutant, which is `not run` as long as there is none."""
        if self.of(mutant) in ("", PASSED_UNITS):
            return Verdict("not run")
        return self.by_key[mutant.key].verdict

    def _append(self, entry: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def reasons() -> dict[str, str]:
    """Returns why mutants survive."""
    if not REASONS.exists():
        return {}
    return {entry["mutant"]: entry["why"].strip() for entry in tomllib.loads(REASONS.read_text()).get("survivor", [])}


def equivalent() -> frozenset[str]:
    """Returns the keys of the mutants that do nothing else than the source."""
    return frozenset(key for key, why in reasons().items() if why.startswith("Equivalent: "))


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


@dataclass(frozen=True)
class Sums:
    """The figures of a run."""

    drawn: int
    by_what: Counter[str]

    @staticmethod
    def of(verdicts: Iterable[Verdict]) -> Sums:
        by_what = Counter(verdict.what for verdict in verdicts)
        return Sums(by_what.total(), by_what)

    @property
    def viable(self) -> int:
        return self.drawn - self.by_what["unviable"]

    @property
    def caught(self) -> int:
        return self.viable - self.by_what["survived"] - self.by_what["not run"]

    def row(self, name: str) -> str:
        cells = [name, str(self.drawn), *(str(self.by_what[what] or "") for what in COLUMNS)]
        return f"| {' | '.join(cells)} |"


def report(mutants: list[Mutant], listed: int, results: Results, command: str, seed: int) -> str:
    """Returns the report of a run as Markdown."""
    verdicts = {mutant: results.verdict(mutant) for mutant in mutants}
    sums = Sums.of(verdicts.values())
    by_file = {file: [verdicts[mutant] for mutant in mutants if mutant.file == file] for file in files(mutants)}
    rows = [Sums.of(found).row(f"`{file}`") for file, found in by_file.items()]
    return "\n".join(
        [
            *introduction(sums, listed, commits(mutants, results), LEFT_OUT | results.left_out, command, seed),
            "",
            "| file | drawn | unviable | unit tests | integration tests | examples in docs | timeouts | survived | not finished |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
            *rows,
            sums.row("all"),
            "",
            "## Survivors",
            "",
            *survivors(mutants, results),
            "",
        ]
    )


def files(mutants: list[Mutant]) -> list[str]:
    return sorted({mutant.file for mutant in mutants})


def commits(mutants: list[Mutant], results: Results) -> str:
    """Returns at which commits the mutants were run, with how many at each."""
    counts = Counter(results.by_key[mutant.key].commit for mutant in mutants if results.of(mutant))
    return ", ".join(f"{commit} ({count})" for commit, count in counts.most_common())


def introduction(
    sums: Sums, listed: int, commits: str, left_out: dict[str, str], command: str, seed: int
) -> list[str]:
    return [
        "# Mutation testing",
        "",
        "Mutants of `src/proto`, `src/handshake` and `src/stream/split`, as cargo-mutants lists them: a function",
        "returns a fixed value, an operator is another one, an arm of a `match` or a field is missing. A mutant is",
        "caught if a test fails with it, twice, or if the tests take more than five times as long. One is",
        "unviable if it does not compile. The integration tests are not run with those that survive the unit tests",
        "and are equivalent to the source, which is the reason that is listed.",
        "",
        f"- {sums.drawn} mutants, drawn from {listed} by the seed {seed}: {sums.viable} viable, {sums.caught} caught, which is",
        f"  {percent(sums.caught, sums.viable)}.",
        f"- Command: `{command}`. It writes this file.",
        f"- Commits: {commits}. Where a file has changed since, except for its tests, its mutants were run again.",
        f"- Test programs that are not run: {', '.join(f'`{name}` ({why})' for name, why in left_out.items())}.",
    ]


def survivors(mutants: list[Mutant], results: Results) -> list[str]:
    """Returns a line for each mutant that no test catches, with the reason."""
    known, lines = reasons(), []
    for mutant in sorted(mutants, key=lambda mutant: (mutant.file, mutant.start)):
        if results.of(mutant) == PASSED_UNITS:
            lines.append(f"- `{mutant.name}`: no unit test fails; the other tests have not been run.")
        elif not results.of(mutant):
            lines.append(f"- `{mutant.name}`: has not been run.")
        elif results.of(mutant) == "survived":
            lines.append(f"- `{mutant.name}`: {known.get(mutant.key, 'no reason is known.')}")
    return lines or ["None."]
