"""Builds a copy of the tree with switches, and finds the mutants that cannot be built in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from defences import FEATURES, copy_tree

from .listing import ROOT, Mutant
from .rewrite import MODULE, PARSER, Rewritten, Source, Switch, ancestor, find_switch, replace, rewrite

# Where the crate's copies are.
COPIES = ROOT / "target" / "mutants"
# The number of units into which each copy of the crate is compiled. They differ, because cargo would otherwise
# write the programs of all copies to the same files.
UNITS = {"tree": 201, "changed": 202, "single": 203}
# Errors of types. If the compiler reports one in the code of a mutation, it reports the same error
# without the switches.
TYPE_ERRORS = {"E0277", "E0308", "E0369", "E0599", "E0600", "E0604", "E0605", "E0606", "E0614"}
# A function that is called in a constant, which only `const` functions can be.
NOT_CONST = "E0015"

# A program to build: `("lib", "")`, or `("test", "split")`.
Binary = tuple[str, str]
LIB: Binary = ("lib", "")


class BuildError(Exception):
    """The copy could not be built, for a reason that no mutant explains."""


@dataclass(frozen=True)
class Span:
    """A place that an error of the compiler names."""

    file: str
    start: int
    end: int
    primary: bool


@dataclass(frozen=True)
class CompileError:
    code: str
    text: str
    spans: tuple[Span, ...]


@dataclass
class Settings:
    """How cargo builds."""

    target: Path
    environment: dict[str, str]
    # When to give up, as `time.monotonic` counts.
    deadline: float = float("inf")

    def remaining(self, most: float) -> float:
        """Returns how many seconds something may take, at most `most`."""
        return max(0.0, min(most, self.deadline - time.monotonic()))


@dataclass
class Tree:
    """A copy of the tree, in which some files are changed."""

    path: Path
    settings: Settings

    def build(self, binaries: Iterable[Binary]) -> tuple[dict[Binary, str], list[CompileError]]:
        """Builds test programs. Returns their paths, or the errors of the compiler."""
        binaries = sorted(set(binaries))
        chosen = [word for kind, name in binaries for word in ([f"--{kind}", name] if name else [f"--{kind}"])]
        command = ["cargo", "test", "--no-run", "--features", FEATURES, *chosen, "--message-format=json"]
        if os.environ.get("CI") == "true":
            command.append("--locked")
        environment = dict(os.environ, **self.settings.environment, CARGO_TARGET_DIR=str(self.settings.target))
        limit = self.settings.remaining(3600)
        try:
            done = subprocess.run(
                command, cwd=self.path, env=environment, capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"not built in {limit:.0f} s") from None
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        errors = list(compile_errors(messages))
        if done.returncode != 0:
            if not errors:
                raise BuildError(done.stderr[-4000:])
            return {}, errors
        return {binary: executable(messages, binary) for binary in binaries}, []


def executable(messages: list[dict[str, Any]], binary: Binary) -> str:
    """Returns the path of a test program that was built."""
    kind, name = binary
    for message in messages:
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            target = message["target"]
            if kind in target["kind"] and (not name or target["name"] == name):
                return str(message["executable"])
    raise BuildError(f"cargo built no {kind} {name}")


def compile_errors(messages: list[dict[str, Any]]) -> Iterator[CompileError]:
    """Yields the errors among the messages of cargo."""
    for message in messages:
        if message["reason"] != "compiler-message" or message["message"]["level"] != "error":
            continue
        error = message["message"]
        spans = tuple(span for part in error["spans"] for span in flatten(part))
        if spans:
            yield CompileError((error["code"] or {}).get("code", ""), error["rendered"], spans)


def flatten(span: dict[str, Any] | None) -> Iterator[Span]:
    """Yields a place, and the macro calls that it was expanded from."""
    while span is not None:
        yield Span(span["file_name"], span["byte_start"], span["byte_end"], span["is_primary"])
        span = (span["expansion"] or {}).get("span")


# --- with switches

@dataclass
class Switched:
    """A copy of the tree with switches for many mutants, by their numbers."""

    tree: Tree
    mutants: dict[int, Mutant]
    # The mutants that the compiler rejects, and those that have to be built on their own, each with
    # the reason.
    unviable: dict[int, str] = field(default_factory=dict)
    single: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._switches: dict[str, dict[int, Switch]] = {}
        for number, mutant in self.mutants.items():
            source = self._sources.setdefault(mutant.file, Source((ROOT / mutant.file).read_bytes()))
            switch = find_switch(source, mutant, number)
            if switch is None:
                self.single[number] = "no place for a switch"
            else:
                self._switches.setdefault(mutant.file, {})[number] = switch

    def on(self) -> dict[int, Mutant]:
        """Returns the mutants that have switches."""
        numbers = {number for switches in self._switches.values() for number in switches}
        return {number: mutant for number, mutant in self.mutants.items() if number in numbers}

    def build(self, binaries: Iterable[Binary]) -> dict[Binary, str]:
        """Builds test programs with all mutants that can be switched."""
        binaries = list(binaries)
        while True:
            files = {file: rewrite(self._sources[file], switches) for file, switches in self._switches.items()}
            self._write(files)
            programs, errors = self.tree.build(binaries)
            if not errors:
                return programs
            self._remove(files, errors)

    def _write(self, files: Mapping[str, Rewritten]) -> None:
        changed = {file: rewritten.text for file, rewritten in files.items()}
        changed["src/mutants.rs"] = MODULE.encode()
        changed["src/lib.rs"] = (ROOT / "src/lib.rs").read_bytes() + b"\nmod mutants;\n"
        changed["Cargo.toml"] = manifest((ROOT / "Cargo.toml").read_text(), UNITS[self.tree.path.name]).encode()
        copy_tree(self.tree.path, changed)

    def _remove(self, files: Mapping[str, Rewritten], errors: list[CompileError]) -> None:
        """Removes the switches of mutants that errors are about."""
        removed: dict[int, str] = {}
        unviable: dict[int, bool] = {}
        for error in errors:
            for number in blamed(files, error):
                removed.setdefault(number, first_line(error.text))
                unviable[number] = unviable.get(number, True) and self._is_unviable(files, error, number)
        if not removed:
            raise BuildError("\n".join(error.text for error in errors[:5]))
        for number, reason in removed.items():
            del self._switches[self.mutants[number].file][number]
            (self.unviable if unviable[number] else self.single)[number] = reason
        print(f"    {len(removed)} of the switches do not compile", flush=True)

    def _is_unviable(self, files: Mapping[str, Rewritten], error: CompileError, number: int) -> bool:
        """Returns whether an error would be the same without the switch."""
        mutant = self.mutants[number]
        # The type of a switched value has to be that of the original one, which `impl` hides.
        if error.code not in TYPE_ERRORS or re.search(r"\bimpl\b", mutant.returns):
            return False
        regions = [region for region in files[mutant.file].regions if region.mutant == number and not region.whole]
        primary = [span for span in error.spans if span.primary and span.file == mutant.file]
        return any(region.contains(span.start, span.end) for region in regions for span in primary)


def blamed(files: Mapping[str, Rewritten], error: CompileError) -> set[int]:
    """Returns the mutants whose switches an error is about."""
    if error.code == NOT_CONST:
        if numbers := called(files, error.text):
            return numbers
    for whole in (False, True):
        for primary in (True, False):
            if numbers := containing(files, error, whole, primary):
                return numbers
    return in_function(files, error)


def called(files: Mapping[str, Rewritten], text: str) -> set[int]:
    """Returns the mutants in the function that is called in a constant."""
    found = re.search(r"cannot call non-const (?:associated )?(?:function|method) `(?:[^`]*::)?(\w+)(?:::<[^`]*>)?`", text)
    names = [file.no_longer_const.get(found[1], set()) for file in files.values()] if found else []
    return {number for numbers in names for number in numbers}


def containing(files: Mapping[str, Rewritten], error: CompileError, whole: bool, primary: bool) -> set[int]:
    """Returns the mutants with a region that contains a place of an error."""
    numbers = set()
    for span in error.spans:
        if span.file in files and span.primary == primary:
            regions = [region for region in files[span.file].regions if region.whole == whole]
            found = [region for region in regions if region.contains(span.start, span.end)]
            # The innermost ones.
            size = min((region.end - region.start for region in found), default=0)
            numbers |= {region.mutant for region in found if region.end - region.start == size}
    return numbers


def in_function(files: Mapping[str, Rewritten], error: CompileError) -> set[int]:
    """Returns the mutants in the functions that an error is about."""
    numbers = set()
    for span in error.spans:
        if rewritten := files.get(span.file):
            root = PARSER.parse(rewritten.text).root_node
            function = ancestor(root.descendant_for_byte_range(span.start, span.end), "function_item")
            if function is not None:
                start, end = function.start_byte, function.end_byte
                numbers |= {region.mutant for region in rewritten.regions if start <= region.start and region.end <= end}
    return numbers


def first_line(text: str) -> str:
    """Returns the message of an error, without its place."""
    return text.strip().splitlines()[0]


def manifest(original: str, units: int) -> str:
    """Returns the manifest of a copy: no lint is an error, and the crate is built for speed, with its assertions.

    The dependencies are the same as those of the tree itself, so they are not built again.
    """
    kept, skip = [], False
    for line in original.splitlines(keepends=True):
        if line.startswith("["):
            skip = line.startswith("[lints.")
        if not skip:
            kept.append(line)
    profile = f"debug = 0\nopt-level = 1\ncodegen-units = {units}\n"
    return "".join(kept) + "\n[profile.dev.package.fullduplex]\n" + profile


# --- without switches

def apply_single(tree: Tree, mutant: Mutant) -> None:
    """Writes a copy of the tree with one mutation."""
    text = replace(Source((ROOT / mutant.file).read_bytes()), mutant)
    changed = manifest((ROOT / "Cargo.toml").read_text(), UNITS[tree.path.name])
    copy_tree(tree.path, {mutant.file: text, "Cargo.toml": changed.encode()})
