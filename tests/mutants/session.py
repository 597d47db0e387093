"""Runs mutants: all that can be switched from one build, and the others one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from . import programs
from .build import COPIES, LIB, BuildError, Settings, Switched, Tree, apply_single, first_line
from .listing import Failed, Mutant, commit
from .results import PASSED_UNITS, Results
from .runs import Reference, Runner, Stage, Verdict, described, doc_passes, unit_stages

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Session:
    """Runs mutants, by their numbers."""

    mutants: dict[int, Mutant]
    results: Results
    settings: Settings
    # How many run at a time.
    jobs: int = 2
    # Integration tests, in groups that are built together.
    groups: list[list[str]] = field(default_factory=list)
    # Whether to run the examples in the documentation.
    examples: bool = False
    # The keys of mutants that no test can fail with. They survive without the integration tests.
    equivalent: frozenset[str] = frozenset()
    # The name of the copy of the tree.
    copy: str = "tree"

    def __post_init__(self) -> None:
        self._commit = commit()
        self._tree = Tree(COPIES / self.copy, self.settings)
        # Also those that have been run, so that the copy is the same and not built again.
        self._switched = Switched(self._tree, self._switchable())
        self._reference = Reference(self._tree.path, self.settings, {})

    def run_units(self) -> None:
        """Runs the unit tests with the mutants that have no result yet."""
        print(f"{len(self._left())} mutants to run", flush=True)
        if not self._left():
            return
        self._build([])
        self._check_units()
        self._run_units()

    def run_integration(self) -> None:
        """Runs the integration tests with the mutants that no unit test has caught."""
        for number in self._alive():
            if self.mutants[number].key in self.equivalent:
                self._store(number, Verdict("survived"))
        for number in range(len(self.groups)):
            self._run_group(number)
        self._finish_survivors()

    def singles(self) -> dict[int, str]:
        """Returns the mutants that have to be built on their own, with the reasons."""
        known = self.results.single
        return {number: known[mutant.key] for number, mutant in self._left().items() if mutant.key in known}

    def run_singles(self) -> None:
        """Builds and runs the mutants that cannot be switched."""
        for number, why in self.singles().items():
            print(f"single: {self.mutants[number].name}\n    {why}", flush=True)
            self._run_single(number)

    def _left(self) -> dict[int, Mutant]:
        """Returns the mutants without a final result."""
        return {
            number: mutant for number, mutant in self.mutants.items() if self.results.of(mutant) in ("", PASSED_UNITS)
        }

    def _switchable(self) -> dict[int, Mutant]:
        """Returns the mutants that are not known to be impossible to switch."""
        return {
            number: mutant
            for number, mutant in self.mutants.items()
            if mutant.key not in self.results.single and self.results.of(mutant) != "unviable"
        }

    def _alive(self) -> list[int]:
        """Returns the mutants that are switched and that no unit test has caught."""
        return [number for number, mutant in self._switched.on().items() if self.results.of(mutant) == PASSED_UNITS]

    def _store(self, number: int, verdict: Verdict) -> None:
        if verdict.what == "not run":
            return
        self.results.store(self.mutants[number], verdict, self._commit)
        by = f"  ({verdict.by})" if verdict.by else ""
        print(f"{verdict.what:12} {self.mutants[number].name}{by}", flush=True)

    # --- from one build

    def _build(self, names: Iterable[str]) -> None:
        """Builds the unit tests, or some integration tests, with switches."""
        binaries = [programs.binary(name) for name in names] or [LIB]
        self._reference.programs |= self._switched.build(binaries)
        for number, why in self._switched.unviable.items():
            if number in self._left():
                self._store(number, Verdict("unviable", why))
        for number, why in self._switched.single.items():
            self.results.build_alone(self.mutants[number], why)

    def _check_units(self) -> None:
        """Runs the unit tests without a mutant, as often at a time as later with mutants."""
        stage = Stage(LIB)
        for ending in self._each(lambda _: self._reference.measure(stage), range(self.jobs)):
            if ending.how == "stopped":
                raise BuildError("no time is left")
            if ending.how != "passed":
                raise Failed(f"without a mutant: {described(stage, ending)}: {ending.how}")
        print(f"without a mutant, the unit tests take {self._reference.seconds[stage]:.0f} s", flush=True)

    def _run_units(self) -> None:
        runner = self._runner()

        def run(number: int) -> None:
            verdict = runner.verdict(number, unit_stages(self.mutants[number].file))
            self._store(number, verdict if verdict.what != "survived" else Verdict(PASSED_UNITS))

        self._each(run, [number for number, mutant in self._switched.on().items() if not self.results.of(mutant)])

    def _run_group(self, number: int) -> None:
        """Runs a group of integration tests with the mutants that are left."""
        if not self._alive():
            return
        names, runner = self._prepare_group(number), self._runner()

        def run(mutant: int) -> None:
            verdict = runner.verdict(mutant, self._stages(mutant, names))
            if verdict.caught:
                self._store(mutant, verdict)

        self._each(run, self._alive())

    def _prepare_group(self, number: int) -> list[str]:
        """Builds a group of integration tests. Returns those that pass without a mutant."""
        self._build(self.groups[number])
        stages = [Stage(programs.binary(name)) for name in self.groups[number]]
        stages = [stage for stage in stages if stage not in self._reference.seconds]
        # Twice, because a test that fails by chance still tests something.
        failing = stages
        for _ in range(2):
            endings = self._each(self._reference.measure, failing)
            failing = [stage for stage, ending in zip(failing, endings) if ending.how != "passed"]
        for stage in failing:
            print(f"left out: {described(stage)} does not pass without a mutant", flush=True)
            self.results.leave_out(stage.binary[1], "does not pass in the copy")
        passed = [name for name in self.groups[number] if Stage(programs.binary(name)) in self._reference.seconds]
        seconds = sum(self._reference.seconds[Stage(programs.binary(name))] for name in passed)
        print(f"without a mutant, {len(passed)} integration tests take {seconds:.0f} s", flush=True)
        return passed

    def _stages(self, mutant: int, names: list[str]) -> list[Stage]:
        return programs.stages(self.mutants[mutant].file, names, self._reference.seconds)

    def _finish_survivors(self) -> None:
        """Runs the examples in the documentation, and stores what survives."""
        pass_without = dict[str, bool]()
        for number in self._alive() if self.groups else []:
            file = self.mutants[number].file
            if self.examples and file not in pass_without:
                pass_without[file] = doc_passes(self._tree.path, self.settings, file, 0)
                if not pass_without[file]:
                    print(f"left out: the examples in {file} do not pass without a mutant", flush=True)
            caught = pass_without.get(file, False) and not doc_passes(self._tree.path, self.settings, file, number)
            self._store(number, Verdict("doc", file) if caught else Verdict("survived"))

    def _runner(self) -> Runner:
        return Runner(self._tree.path, self.settings, self._reference.programs, self._reference)

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(function, items))

    # --- one at a time

    def _run_single(self, number: int) -> None:
        mutant, tree = self.mutants[number], Tree(COPIES / "single", self.settings)
        apply_single(tree, mutant)
        built, errors = tree.build([LIB])
        if errors:
            self._store(number, Verdict("unviable", first_line(errors[0].text)))
            return
        runner = Runner(tree.path, self.settings, built, self._reference)
        verdict = runner.verdict(number, unit_stages(mutant.file))
        for group in range(len(self.groups)):
            if verdict.what != "survived":
                break
            names = self._prepare_group(group)
            built, errors = tree.build([programs.binary(name) for name in names])
            if errors:
                verdict = Verdict("integration", f"does not compile: {first_line(errors[0].text)}")
                break
            runner.programs |= built
            verdict = runner.verdict(number, self._stages(number, names))
        self._store(number, verdict)
