"""The integration tests that are run with mutants, the most related ones first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .build import Binary
from .listing import ROOT
from .runs import Stage

# Not run, and why.
LEFT_OUT = {
    "compliance": "reads the source",
    "conversions": "reads the source",
    "dependencies": "reads `Cargo.toml`",
    "figures": "reads the source",
    "hostile_table": "reads the source",
    "large": "takes minutes",
    "left_out": "has no tests",
}
# The programs of the first two groups, by the rooms that they are about. A group is built if mutants survive those
# before it.
GROUPS = [
    {
        "handshake": ["handshake_server", "handshake_client"],
        "stream": ["split", "tasks"],
        "proto": ["hostile_frames", "closing", "deflate_sending", "parts"],
    },
    {
        "handshake": ["handshake_http", "handshake_deflate", "handshake_release", "bearer", "http2"],
        "stream": ["room", "waiting", "sink", "hub"],
        "proto": [
            "proto", "hostile_caller", "hostile_peer", "deflate", "deflate_parts", "deflate_strides", "memory_deflate",
            "outgoing", "private", "stream", "timers",
        ],
    },
]  # fmt: skip


def groups() -> list[list[str]]:
    """Returns the names of all programs that are run, in groups that are built together."""
    first = [[name for names in group.values() for name in names] for group in GROUPS]
    all_names = sorted(path.stem for path in (ROOT / "tests").glob("*.rs"))
    rest = [name for name in all_names if name not in (*first[0], *first[1], *LEFT_OUT)]
    return [*first, rest]


def stages(file: str, names: list[str], seconds: Mapping[Stage, float]) -> list[Stage]:
    """Returns the stages of some programs, those related to a file first, and of those the shortest.

    `seconds` is how long each takes without a mutant.
    """
    room = Path(file).parts[1]
    related = [Stage(binary(name)) for group in GROUPS for name in group.get(room, [])]
    return sorted(map(Stage, map(binary, names)), key=lambda stage: (stage not in related, seconds[stage]))


def binary(name: str) -> Binary:
    return ("test", name)
