"""The integration tests that are run with mutants, the most related ones first."""

from __future__ import annotations

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
# The programs that are built first. The others are built if mutants survive these.
HANDSHAKE = [
    "handshake_server", "handshake_client", "handshake_http", "handshake_deflate", "handshake_release", "bearer", "http2",
]  # fmt: skip
SPLIT = ["split", "tasks", "room", "waiting", "outgoing", "sink"]
PROTO = [
    "proto", "hostile_frames", "hostile_caller", "closing", "parts", "deflate", "deflate_parts", "deflate_sending",
    "hostile_peer", "stream", "private", "timers",
]  # fmt: skip


def first() -> list[str]:
    return HANDSHAKE + SPLIT + PROTO


def others() -> list[str]:
    """Returns the programs that are not among the first, those that take long at the end."""
    names = sorted(path.stem for path in (ROOT / "tests").glob("*.rs"))
    rest = [name for name in names if name not in (*first(), *LEFT_OUT)]
    return sorted(rest, key=lambda name: name in ("program", "slow_reader", "reconnect_tcp"))


def stages(file: str, binaries: list[str]) -> list[Stage]:
    """Returns the stages of some programs, those related to a file first."""
    room = Path(file).parts[1]
    related = {"handshake": HANDSHAKE, "stream": SPLIT, "proto": PROTO}.get(room, [])
    ordered = sorted(binaries, key=lambda name: name not in related)
    return [Stage(binary(name)) for name in ordered]


def binary(name: str) -> Binary:
    return ("test", name)
