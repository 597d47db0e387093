"""Finds circles among the modules of src/proto: files that import each other, directly or through others.

A `use` or a path is an import of the file that defines the name, however many `mod.rs` re-export it.
A re-export is an import only if the file uses the name as well. Unit tests may import anything.

`circles.txt` lists the known circles, each as a line of modules. All others fail the check.
`-v` prints the imports of the known ones too.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "src" / "proto"
KNOWN = ROOT / "tests" / "circles.txt"

COMMENT = re.compile(r"//.*")
# Unit tests are the last item of a file.
TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod tests\b.*", re.MULTILINE | re.DOTALL)
USE = re.compile(r"^(?P<public>pub(?:\([a-z]+\))? )?use (?P<tree>[^;]+);", re.MULTILINE)
PATH = re.compile(r"\b(?:crate::proto|super)(?:::\w+)+")
DEFINITION = re.compile(r"\b(?:struct|enum|union|trait|type|fn|const|static|macro_rules!|mod) (?:mut )?(\w+)")


def read():
    """Returns the source of each module, without comments and tests, by path: `("mask", "payload")`."""
    modules = {}
    for file in sorted(PROTO.rglob("*.rs")):
        path = file.relative_to(PROTO).with_suffix("").parts
        # It replaces a directory in builds without the feature.
        if path[-1].startswith("no_"):
            continue
        if path[-1] == "mod":
            path = path[:-1]
        modules[path] = COMMENT.sub("", TESTS.sub("", file.read_text()))
    return modules


def leaves(tree):
    """Returns all paths of a use tree: `a::b` and `a::c::d` of `a::{b, c::d as e}`."""
    tree = tree.strip()
    if "{" not in tree:
        return [tree.split(" as ")[0].strip()] if tree else []
    prefix, rest = tree.split("{", 1)
    inner, depth, parts, part = rest.rsplit("}", 1)[0], 0, [], ""
    for char in inner:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts, part = [*parts, part], ""
        else:
            part += char
    return [prefix + leaf for each in [*parts, part] for leaf in leaves(each)]


def absolute(path, module):
    """Resolves a path in a module to one below src/proto, or to `None`."""
    names = path.split("::")
    if names[:2] == ["crate", "proto"]:
        return tuple(names[2:])
    base = module
    if names[0] not in ("self", "super") and (*module, names[0]) not in MODULES:
        return None
    while names and names[0] in ("self", "super"):
        if names.pop(0) == "super":
            if not base:
                return None
            base = base[:-1]
    return (*base, *names)


def uses(module):
    """Yields the imports of a module: whether each is a re-export, and its path below src/proto."""
    for use in USE.finditer(MODULES[module]):
        for leaf in leaves(use["tree"]):
            if (path := absolute(leaf, module)) is not None:
                yield bool(use["public"]), path


def defining(path, seen=()):
    """Returns the module that defines the item at a path."""
    module = path
    while module not in MODULES:
        module = module[:-1]
    rest = path[len(module) :]
    if not rest or rest[0] in DEFINITION.findall(MODULES[module]) or path in seen:
        return module
    for public, target in uses(module):
        if public and target and target[-1] in (rest[0], "*") and target != path:
            return defining((*target, *rest[1:]) if target[-1] != "*" else target[:-1] + rest, (*seen, path))
    return module


def imports(module):
    """Returns the modules that a module imports."""
    without = USE.sub("", MODULES[module])
    words = set(re.findall(r"\w+", without))
    paths = [path for public, path in uses(module) if path and (not public or path[-1] in words)]
    paths += [path for match in PATH.finditer(without) if (path := absolute(match[0], module)) is not None]
    return {defining(path) for path in paths} - {module}


def circles(graph):
    """Returns the groups of two or more modules that all reach each other."""

    def reached(start):
        found, todo = set(), [start]
        while todo:
            for to in graph[todo.pop()] - found:
                found.add(to)
                todo.append(to)
        return found

    reach = {module: reached(module) for module in graph}
    groups = {frozenset(to for to in reach[module] if module in reach[to]) for module in graph}
    return [group for group in groups if len(group) > 1]


def name(module):
    return "::".join(module) or "mod"


def main():
    graph = {module: imports(module) for module in MODULES}
    known = [set(line.split()) for line in KNOWN.read_text().splitlines()] if KNOWN.exists() else []
    failed = False
    for group in sorted(circles(graph), key=sorted):
        names = sorted(map(name, group))
        new = not any(set(names) <= circle for circle in known)
        failed |= new
        print(f"{'a circle' if new else 'known'}: {' '.join(names)}")
        for module in sorted(group) if new or "-v" in sys.argv else []:
            print(f"  {name(module)} imports {' '.join(sorted(name(to) for to in graph[module] & group))}")
    if known and not failed:
        print(f"{KNOWN.relative_to(ROOT)} lists these; remove a line once its circle is gone")
    return failed


MODULES = read()
if __name__ == "__main__":
    sys.exit(main())
