"""Changes the source in small ways, and checks that a test fails each time.

    PYTHONPATH=tests target/test-venv/bin/python -m mutants            400 mutants, drawn by a seed
    PYTHONPATH=tests target/test-venv/bin/python -m mutants --changed  those in lines of the last commit, in two minutes

cargo-mutants lists the mutants. Building the tests for each of them would take days, so most are in one
build, behind switches that an environment variable sets (`rewrite.py`). Those that cannot be switched
are built one at a time. The unit tests are run first, then the integration tests, until one fails; the
file of the mutant determines the order. If survivors.toml says that a mutant is equivalent, it survives
without the integration tests, none of which can fail.

A run that was interrupted continues, and a new one runs only the mutants in files that have changed since,
except for their tests. `--again` also runs the survivors again, with all tests, and the
unit tests with the mutants that passed them; `--fresh` runs all again. The report is tests/mutants.md; the
reasons in it are from survivors.toml.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time

from . import programs
from .build import COPIES, BuildError, Settings
from .listing import ROOT, Failed, Mutant, changed_since, draw, list_mutants
from .results import PASSED_UNITS, REPORT, Results, Sums, equivalent, percent, report
from .session import Session

COMMAND = "bash tests/all.sh setup mutants_long"


def main() -> None:
    arguments = parse()
    os.nice(10)
    if arguments.changed:
        run_changed(arguments.since, arguments.seconds)
        return
    mutants = list_mutants()
    drawn = draw(mutants, arguments.seed, arguments.count)
    numbers = {number: mutant for number, mutant in enumerate(drawn, 1) if re.search(arguments.only, mutant.name)}
    if arguments.list:
        print("\n".join(f"{number:4} {mutant.name}" for number, mutant in numbers.items()))
        return
    results = open_results(arguments, drawn)
    if not arguments.report:
        run(numbers, results, arguments.jobs, frozenset() if arguments.again else equivalent())
    if len(numbers) < len(drawn):
        return
    REPORT.write_text(report(drawn, len(mutants), results, COMMAND, arguments.seed))
    sums = Sums.of(results.verdict(mutant) for mutant in drawn)
    print(f"\n{sums.caught} of {sums.viable} viable mutants caught, {percent(sums.caught, sums.viable)}")
    if sums.by_what["not run"]:
        sys.exit(f"{sums.by_what['not run']} were not run")
    if 100 * sums.caught < arguments.at_least * sums.viable:
        sys.exit(f"fewer than {arguments.at_least} %")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changed", action="store_true", help="only mutants in changed lines, with the unit tests")
    parser.add_argument("--since", default="HEAD^", metavar="COMMIT", help="what --changed compares with")
    parser.add_argument("--seconds", type=int, default=120, help="how long a run of changed lines may take")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400, help="how many mutants to draw")
    parser.add_argument("--jobs", type=int, default=2, help="how many to run at a time")
    parser.add_argument("--only", default="", metavar="REGEX", help="only drawn mutants with such names; no report")
    parser.add_argument("--again", action="store_true", help="also run survivors again")
    parser.add_argument("--fresh", action="store_true", help="run all again")
    parser.add_argument("--at-least", type=float, default=95.0, metavar="PERCENT", help="fail if fewer are caught")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--report", action="store_true", help="only write the report, also of a run that has not finished")
    return parser.parse_args()


def open_results(arguments: argparse.Namespace, drawn: list[Mutant]) -> Results:
    """Returns the results of earlier runs with the same seed, without those to run again."""
    path = COPIES / f"results-{arguments.seed}.jsonl"
    if arguments.fresh:
        path.unlink(missing_ok=True)
    results = Results(path)
    for mutant in drawn if arguments.again else []:
        if re.search(arguments.only, mutant.name) and results.of(mutant) in ("survived", PASSED_UNITS):
            del results.by_key[mutant.key]
    return results


def run(mutants: dict[int, Mutant], results: Results, jobs: int, equivalent: frozenset[str]) -> None:
    """Runs mutants with all tests."""
    settings = Settings(ROOT / "target", {"CARGO_INCREMENTAL": "1"})
    groups = programs.groups()
    session = Session(mutants, results, settings, jobs, groups, examples=True, equivalent=equivalent)
    session.run_units()
    # Before the integration tests, which take longest: most of these do not compile or are caught at once.
    session.run_singles()
    session.run_integration()


def run_changed(since: str, seconds: int) -> None:
    """Runs the unit tests with the mutants in lines changed since a commit, as many as there is time for."""
    settings = Settings(ROOT / "target", {}, deadline=time.monotonic() + seconds)
    try:
        mutants = changed_since(since)
    except Failed as error:
        print(f"mutants: {error}")
        return
    print(f"{len(mutants)} mutants in changed lines", flush=True)
    if not mutants:
        return
    path = COPIES / "changed.jsonl"
    path.unlink(missing_ok=True)
    results = Results(path)
    numbers = dict(enumerate(draw(mutants, 1, len(mutants)), 1))
    # In a copy of its own, so that the one of a longer run is not built again.
    session = Session(numbers, results, settings, copy="changed")
    try:
        session.run_units()
    except BuildError as error:
        print(f"mutants: {error}")
    show_changed(mutants, results, session.singles())


def show_changed(mutants: list[Mutant], results: Results, singles: dict[int, str]) -> None:
    """Prints what came of the mutants in changed lines."""
    left = {what: [m.name for m in mutants if results.of(m) == what] for what in (PASSED_UNITS, "")}
    for title, names in (("no unit test fails with", left[PASSED_UNITS]), ("not run for lack of time", left[""])):
        if names:
            print(f"\n{title}:\n  " + "\n  ".join(names))
    caught = sum(results.of(mutant) in ("unit", "timeout") for mutant in mutants)
    print(f"\n{caught} of {len(mutants)} mutants caught by unit tests, {len(left[PASSED_UNITS])} not,")
    print(f"{len(left[''])} not run, of which {len(singles)} have to be built on their own")


if __name__ == "__main__":
    try:
        main()
    except (BuildError, Failed) as error:
        sys.exit(f"mutants: {error}")
