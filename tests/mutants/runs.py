"""Runs the tests with a mutant, until one fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from defences import FEATURES

from .build import LIB, Binary, Settings
from .listing import Failed
from .rewrite import VARIABLE

# A test counts as hanging after so many times as long as without a mutant, but not before so many seconds.
TIMES, LEAST = 5.0, 20.0
# Seconds without a mutant.
CLEAN = 600.0
# Kilobytes of address space: a mutant that allocates without end fails early.
MEMORY = 8_000_000
FAILED = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. FAILED$")

# Rooms of the crate, and those below them, on which a change of the room has no effect. The codec depends on
# nothing else, the protocol on nothing but the codec.
ROOMS = {
    "proto::deflate::": (),
    "proto::": ("proto::deflate::",),
    "handshake::": ("proto::",),
    "stream::": ("proto::",),
}


@dataclass(frozen=True)
class Stage:
    """Tests that are run together: those of a program whose names contain `only`, and none of `skip`."""

    binary: Binary
    only: str = ""
    skip: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        return ([self.only] if self.only else []) + [word for name in self.skip for word in ("--skip", name)]

    @property
    def kind(self) -> str:
        return "unit" if self.binary == LIB else "integration"


@dataclass(frozen=True)
class Ending:
    """How tests ended: `passed`, `failed`, `crashed`, `hangs` or `stopped`; and the test that failed."""

    how: str
    test: str = ""


@dataclass(frozen=True)
class Verdict:
    """What came of a mutant.

    `what` is `unit`, `integration`, `doc` or `timeout` if it was caught, and otherwise `survived`,
    `unviable` or `not run`.
    """

    what: str
    by: str = ""

    @property
    def caught(self) -> bool:
        return self.what in ("unit", "integration", "doc", "timeout")


def unit_stages(file: str) -> list[Stage]:
    """Returns the stages of the unit tests: the module of a file first, then its room, then the others.

    Rooms that do not depend on the file are left out.
    """
    parts = list(Path(file).with_suffix("").parts[1:])
    if parts[-1] == "mod":
        parts.pop()
    module = "::".join(parts) + "::"
    room, below = next((room, below) for room, below in ROOMS.items() if module.startswith(room))
    stages = [Stage(LIB, only=module), Stage(LIB, only=room, skip=(module, *below)), Stage(LIB, skip=(room, *below))]
    return stages[:1] + stages[2:] if module == room else stages


@dataclass
class Reference:
    """The tests without a mutant: they have to pass, and say how long each stage may take."""

    tree: Path
    settings: Settings
    programs: dict[Binary, str]
    seconds: dict[Stage, float] = field(default_factory=dict)

    def measure(self, stage: Stage) -> Ending:
        """Runs a stage without a mutant."""
        start = time.monotonic()
        command = [self.programs[stage.binary], *stage.arguments()]
        ending = execute(self.tree, self.settings, command, 0, CLEAN)
        if ending.how == "passed":
            self.seconds[stage] = time.monotonic() - start
        return ending

    def limit(self, stage: Stage) -> float:
        """Returns after how many seconds a stage counts as hanging.

        Of tests that have names in common, all are measured, so that few stages have to be.
        """
        if stage.only:
            stage = Stage(stage.binary, stage.only)
        if stage not in self.seconds:
            ending = self.measure(stage)
            if ending.how == "stopped":
                return 0.0
            if ending.how != "passed":
                raise Failed(f"without a mutant: {described(stage, ending)}: {ending.how}")
        return max(LEAST, TIMES * self.seconds[stage])


@dataclass
class Runner:
    """Runs test programs with mutants."""

    tree: Path
    settings: Settings
    programs: dict[Binary, str]
    reference: Reference

    def verdict(self, number: int, stages: list[Stage]) -> Verdict:
        """Runs stages with a mutant, until a test fails."""
        for stage in stages:
            ending = self._confirmed(number, stage)
            if ending.how == "stopped":
                return Verdict("not run")
            if ending.how == "hangs":
                return Verdict("timeout", described(stage))
            if ending.how != "passed":
                return Verdict(stage.kind, described(stage, ending))
        return Verdict("survived")

    def _confirmed(self, number: int, stage: Stage) -> Ending:
        """Runs a stage. A test that fails has to fail a second time, on its own."""
        limit = self.reference.limit(stage)
        program = self.programs[stage.binary]
        command = [program, *stage.arguments()]
        ending = self._execute(command, number, limit)
        if ending.how == "crashed":
            # The test is not known.
            again = self._execute(command, number, limit)
            return ending if again.how in ("crashed", "failed", "hangs") else again
        if ending.how != "failed" or self._execute([program, "--exact", ending.test], number, limit).how != "passed":
            return ending
        # It failed by chance: the others decide.
        return self._execute([*command, "--skip", ending.test], number, limit)

    def _execute(self, command: list[str], number: int, limit: float) -> Ending:
        return execute(self.tree, self.settings, command, number, limit)


def execute(tree: Path, settings: Settings, command: list[str], number: int, limit: float) -> Ending:
    """Runs a test program, and ends it at the first test that fails."""
    allowed = settings.remaining(limit)
    # In a group of its own, so that what it starts ends with it.
    process = subprocess.Popen(
        ["bash", "-c", f'ulimit -v {MEMORY}; exec "$@"', "-", *command],
        cwd=tree, env=environment(number), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    late = threading.Event()

    def end_late() -> None:
        late.set()
        end(process)

    timer = threading.Timer(allowed, end_late)
    timer.start()
    try:
        assert process.stdout is not None, "it is piped"
        with process.stdout as lines:
            for line in lines:
                if failed := FAILED.match(line.rstrip("\n")):
                    return Ending("failed", failed[1])
        code = process.wait()
    finally:
        timer.cancel()
        end(process)
    if late.is_set():
        return Ending("hangs" if allowed == limit else "stopped")
    return Ending("passed" if code == 0 else "crashed")


def end(process: subprocess.Popen[str]) -> None:
    """Ends a program and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def environment(number: int) -> dict[str, str]:
    """Returns the environment of tests. Property tests use the same input each time, and store none."""
    return dict(
        os.environ,
        RUST_BACKTRACE="0",
        RUST_TEST_THREADS="2",
        PROPTEST_DISABLE_FAILURE_PERSISTENCE="1",
        PROPTEST_MAX_SHRINK_ITERS="1",
        PROPTEST_RNG_SEED="1",
        **{VARIABLE: str(number)},
    )


def described(stage: Stage, ending: Ending | None = None) -> str:
    """Returns which test ended a stage."""
    kind, name = stage.binary
    where = f"tests/{name}.rs" if kind == "test" else f"unit tests {stage.only}".rstrip()
    if ending is not None and ending.test:
        return f"{where}: {ending.test}"
    return where if ending is None else f"{where}: {ending.how}"


# --- the code in the documentation

def doc_passes(tree: Path, settings: Settings, file: str, number: int) -> bool:
    """Returns whether the examples in the documentation of a file pass with a mutant."""
    command = ["cargo", "test", "--quiet", "--doc", "--features", FEATURES, "--", file]
    built = dict(settings.environment, CARGO_TARGET_DIR=str(settings.target))
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment(number) | built, capture_output=True, timeout=settings.remaining(CLEAN)
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
