"""Puts mutations behind switches, so that one build of the crate contains many mutants.

A mutation of an expression becomes

    (if crate::mutants::on(17) { MUTATED } else { ORIGINAL })

The value of a function that is replaced is returned at the start of its body, and a match arm that is
deleted gets a guard. Where a mutation cannot be switched, it has to be built on its own: `find_switch`
returns `None`, or the compiler rejects the result.

A function is no longer `const` if it contains switches, because they are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import tree_sitter_rust
from tree_sitter import Language, Node, Parser

from .listing import Mutant, Position

PARSER = Parser(Language(tree_sitter_rust.language()))

# The module with the switches. The variable has the number of the mutant that is on.
VARIABLE = "FULLDUPLEX_MUTANT"
MODULE = f'''//! The switches of mutants.

use std::sync::OnceLock;

static ON: OnceLock<u32> = OnceLock::new();

/// Returns whether a mutant is on.
#[inline]
pub(crate) fn on(mutant: u32) -> bool {{
    *ON.get_or_init(|| std::env::var("{VARIABLE}").map_or(0, |number| number.parse().expect("a number"))) == mutant
}}
'''


@dataclass(frozen=True)
class Insertion:
    """Code that is inserted, and has an effect only if its mutant is on."""

    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start


@dataclass(frozen=True)
class Choice:
    """An expression, and the one in its place if the mutant is on."""

    start: int
    end: int
    text: str


Switch = Insertion | Choice


@dataclass(frozen=True)
class Region:
    """A part of the rewritten text: the code of a mutant, or, if `whole`, its whole switch."""

    start: int
    end: int
    mutant: int
    whole: bool

    def contains(self, start: int, end: int) -> bool:
        return self.start <= start and end <= self.end


@dataclass
class Rewritten:
    """A file with switches."""

    text: bytes
    regions: list[Region]
    # The names of functions that are no longer `const`, and the mutants in them.
    no_longer_const: dict[str, set[int]] = field(default_factory=dict)


class Source:
    """A file of the source, parsed."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.root = PARSER.parse(text).root_node
        self._lines = [0]
        for line in text.split(b"\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)

    def offset(self, position: Position) -> int:
        """Returns the offset in bytes of a position."""
        line, column = position
        start, end = self._lines[line - 1 : line + 1]
        return start + len(self.text[start:end].decode()[: column - 1].encode())

    def range(self, mutant: Mutant) -> tuple[int, int]:
        """Returns what a mutant replaces, as offsets in bytes."""
        return self.offset(mutant.start), self.offset(mutant.end)

    def node(self, start: int, end: int) -> Node:
        """Returns the smallest node of a range."""
        node = self.root.descendant_for_byte_range(start, end)
        assert node is not None, "the range is in the file"
        return node


def replace(source: Source, mutant: Mutant) -> bytes:
    """Returns the text of a file with a mutation, without a switch."""
    start, end = source.range(mutant)
    return source.text[:start] + mutant.replacement.encode() + source.text[end:]


# --- where a switch is

OPERATIONS = ("binary_expression", "compound_assignment_expr")


def find_switch(source: Source, mutant: Mutant, number: int) -> Switch | None:
    """Returns the switch of a mutant, or `None` if it has to be built on its own."""
    start, end = source.range(mutant)
    match mutant.genre:
        case "FnValue":
            return Insertion(start, f"if {on(number)} {{ return {mutant.replacement}; }} ")
        case "MatchArm":
            return guard_of_arm(source, start, end, number)
        case "MatchArmGuard":
            return Choice(start, end, mutant.replacement)
        case "BinaryOperator":
            site = operation(source.node(start, end), mutant.replacement)
        case "UnaryOperator":
            site = ancestor(source.node(start, end), "unary_expression")
        case "StructField":
            site = ancestor(source.node(start, end), "struct_expression")
        case _:
            return None
    if site is None:
        return None
    text = source.text[site.start_byte : start] + mutant.replacement.encode() + source.text[end : site.end_byte]
    return Choice(site.start_byte, site.end_byte, text.decode())


def on(number: int) -> str:
    """Returns the expression that is true if a mutant is on."""
    return f"crate::mutants::on({number})"


def ancestor(node: Node | None, *kinds: str) -> Node | None:
    """Returns the closest node of some kinds that contains a node, or is it."""
    while node is not None and node.type not in kinds:
        node = node.parent
    return node


def operation(operator: Node, replacement: str) -> Node | None:
    """Returns the expression that changes if an operator is replaced.

    It contains all operations of which this one is an operand, because the operator in its place may
    bind less tightly.
    """
    node = operator.parent
    if node is None or node.type not in OPERATIONS:
        return None
    while node.parent is not None and node.parent.type in OPERATIONS[:1]:
        node = node.parent
    if replacement in ("&&", "||") and node.parent is not None and node.parent.type == "let_chain":
        # The parts of a chain are no expressions.
        return None
    return node


def guard_of_arm(source: Source, start: int, end: int, number: int) -> Insertion | None:
    """Returns a guard that skips a match arm."""
    arm = ancestor(source.node(start, end), "match_arm")
    pattern = arm.child_by_field_name("pattern") if arm is not None else None
    if pattern is None or pattern.child_by_field_name("condition") is not None:
        return None
    return Insertion(pattern.end_byte, f" if !{on(number)}")


# --- rewriting

def rewrite(source: Source, switches: Mapping[int, Switch]) -> Rewritten:
    """Returns a file with switches, each with the number of its mutant."""
    text, names = remove_const(source, switches)
    writer = Writer(text)
    writer.copy(0, len(text), sorted(switches.items(), key=order))
    return Rewritten(bytes(writer.text), writer.regions, names)


def order(item: tuple[int, Switch]) -> tuple[int, bool, int, int]:
    """Orders switches by their starts, with insertions and long choices first."""
    number, switch = item
    return switch.start, isinstance(switch, Choice), -switch.end, number


def remove_const(source: Source, switches: Mapping[int, Switch]) -> tuple[bytes, dict[str, set[int]]]:
    """Replaces `const` by spaces in functions with switches. Returns their names as well."""
    text, names = bytearray(source.text), dict[str, set[int]]()
    for number, switch in switches.items():
        function = ancestor(source.node(switch.start, switch.end), "function_item")
        token, name = const_token(function)
        if token is not None:
            text[token.start_byte : token.end_byte] = b" " * (token.end_byte - token.start_byte)
            names.setdefault(name, set()).add(number)
    return bytes(text), names


def const_token(function: Node | None) -> tuple[Node | None, str]:
    """Returns the `const` of a function and its name."""
    if function is None:
        return None, ""
    for modifiers in function.children:
        if modifiers.type == "function_modifiers":
            for token in modifiers.children:
                if token.type == "const":
                    name = function.child_by_field_name("name")
                    return token, name.text.decode() if name is not None and name.text is not None else ""
    return None, ""


class Writer:
    """Writes a file with switches, and where each of them is."""

    def __init__(self, source: bytes) -> None:
        self.text = bytearray()
        self.regions: list[Region] = []
        self._source = source

    def copy(self, start: int, end: int, items: list[tuple[int, Switch]]) -> None:
        """Copies a range with its switches, which are in order."""
        while items:
            switch = items[0][1]
            self.text += self._source[start : switch.start]
            if isinstance(switch, Insertion):
                self._insert(items[0][0], switch)
                items = items[1:]
            else:
                same = [item for item in items if (item[1].start, item[1].end) == (switch.start, switch.end)]
                inner = [item for item in items if item not in same and item[1].start < switch.end]
                self._choose(same, inner)
                items = items[len(same) + len(inner) :]
            start = switch.end
        self.text += self._source[start:end]

    def _insert(self, number: int, switch: Insertion) -> None:
        start = len(self.text)
        self._mutated(number, switch.text)
        self.regions.append(Region(start, len(self.text), number, True))

    def _choose(self, same: list[tuple[int, Switch]], inner: list[tuple[int, Switch]]) -> None:
        """Writes an expression that has mutants, and other switches inside of it."""
        start, switch = len(self.text), same[0][1]
        self.text += b"("
        for number, mutated in same:
            self.text += f"if {on(number)} {{ ".encode()
            self._mutated(number, mutated.text)
            self.text += b" } else "
        self.text += b"{ "
        self.copy(switch.start, switch.end, inner)
        self.text += b" })"
        self.regions += [Region(start, len(self.text), number, True) for number, _ in same]

    def _mutated(self, number: int, text: str) -> None:
        start = len(self.text)
        self.text += text.encode()
        self.regions.append(Region(start, len(self.text), number, False))
