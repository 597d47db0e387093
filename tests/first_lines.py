"""Finds public functions whose documentation does not begin with a verb in the third person.

The first word counts as a verb if it ends in "s" and is not one of the words below. "Whether", "The"
and names in code formatting do not. `--at-most N` accepts N exceptions; `--list` prints all of them.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Words that end in "s" but are not verbs: pronouns, conjunctions, plural nouns.
NO_VERBS = {
    "as", "its", "this", "thus", "less", "always", "across", "perhaps", "besides", "others", "plus", "minus", "class",
    "access", "address", "addresses", "bits", "bytes", "codes", "connections", "counters", "credentials", "deadlines",
    "details", "events", "extensions", "fields", "fragments", "headers", "keys", "messages", "numbers", "options",
    "origins", "parameters", "parts", "pings", "pongs", "process", "progress", "reasons", "replies", "rows", "seconds",
    "settings", "statistics", "status", "subprotocols", "success", "tasks", "tokens", "values", "wakers", "words",
}  # fmt: skip

FUNCTION = re.compile(r"\s*pub (?:const |async |unsafe |extern \"C\" )*fn (\w+)")
# Lines that may be between the documentation and the function.
ATTRIBUTE = re.compile(r"\s*(?:#!?\[|//[^/!]|//$|\)\]|\]$)")
DOC = re.compile(r"\s*/// ?(.*)")
TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod tests\b.*", re.MULTILINE | re.DOTALL)


def functions(path):
    """Yields line, name and first line of the documentation of each public function of a file."""
    first = None
    for number, line in enumerate(TESTS.sub("", path.read_text()).splitlines(), 1):
        if doc := DOC.match(line):
            first = doc[1] if first is None else first
        elif function := FUNCTION.match(line):
            yield number, function[1], first or ""
            first = None
        elif not ATTRIBUTE.match(line):
            first = None


def has_verb(first):
    word = (first.split() or [""])[0]
    return re.fullmatch(r"[A-Z][a-z]+(?:-[a-z]+)*s", word) is not None and word.lower() not in NO_VERBS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-most", type=int, default=0, metavar="N")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    found, total = [], 0
    for path in sorted((ROOT / "src").rglob("*.rs")):
        for number, name, first in functions(path):
            total += 1
            if not has_verb(first):
                found.append(f"{path.relative_to(ROOT)}:{number}: {name}: {first or 'no documentation'}")
    failed = len(found) > arguments.at_most
    if failed or arguments.list:
        print("\n".join(found))
    print(f"{len(found)} of {total} public functions do not begin with a verb; at most {arguments.at_most} may")
    if len(found) < arguments.at_most:
        print(f"lower the number in tests/all.sh to {len(found)}: it may only fall")
    return failed


if __name__ == "__main__":
    sys.exit(main())
