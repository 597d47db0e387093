"""Checks the tables of DEPENDENCIES.md against the dependency trees of the features, or renews them.

The versions are those of Cargo.lock, for x86-64 Linux. `--write` renews the tables from the manifests and the index that
cargo has downloaded. It keeps the column "what for", which is written by hand.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "DEPENDENCIES.md"
TARGET = "x86_64-unknown-linux-gnu"

# Owners of repositories that are persons. All others are organisations.
PERSONS = {
    "BurntSushi", "briansmith", "comex", "dtolnay", "kornelski", "marshallpierce", "matklad", "paholg", "pyfisch",
    "seanmonstar", "taiki-e", "webdesus",
}  # fmt: skip



def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def tree(*arguments):
    """Returns the crates that a set of features needs, also for building, as names with versions."""
    lines = cargo("tree", "--locked", "-e", "normal,build", "--target", TARGET, "--prefix", "none", "-f", "{p}", *arguments)
    crates = {tuple(line.split()[:2]) for line in lines.splitlines() if line}
    return {(name, version.removeprefix("v")) for name, version in crates if name != "fullduplex"}


def implied(features, feature):
    """Returns the features that one enables, itself not included."""
    names = [name for name in features[feature] if name in features]
    return set(names).union(*(implied(features, name) for name in names))


def users(features):
    """Returns the features that need each crate; of several that enable each other, the first."""
    found = {crate: ["always"] for crate in tree("--no-default-features")}
    by_feature = {name: tree("--no-default-features", "--features", name) for name in features if name != "default"}
    for feature, crates in by_feature.items():
        below = implied(features, feature)
        for crate in crates:
            if found.get(crate) != ["always"] and not any(crate in by_feature[name] for name in below):
                found.setdefault(crate, []).append(feature)
    return found


def published(name):
    """Returns the dates of all versions of a crate that are not withdrawn, by the index that cargo has downloaded."""
    lower = name.lower()
    path = f"{len(lower)}/{lower}" if len(lower) < 3 else f"3/{lower[0]}/{lower}" if len(lower) == 3 else None
    path = path or f"{lower[:2]}/{lower[2:4]}/{lower}"
    dates = {}
    for cache in sorted((Path.home() / ".cargo/registry/index").glob(f"*/.cache/{path}")):
        entries = [json.loads(part) for part in cache.read_bytes().split(b"\0") if part.startswith(b"{")]
        dates |= {entry["vers"]: entry.get("pubtime", "")[:10] for entry in entries if not entry["yanked"]}
    return dates


def keeper(package):
    """Returns who keeps a crate: the owner of its repository, and the authors that its manifest names."""
    owner = re.match(r"https://[^/]+/([^/]+)/", (package["repository"] or "") + "/")
    owner = owner[1] if owner else "unknown"
    authors = [re.sub(r"\s*<.*?>", "", author) for author in package["authors"]]
    kind = "a person" if owner in PERSONS else "an organisation"
    return f"{owner}, {kind}" + (f" ({'; '.join(authors)})" if authors else "")


def newest(dates, version):
    """Returns the newest version with its date, if that is not the one in use."""
    stable = [name for name, date in dates.items() if "-" not in name and date]
    last = max(stable, key=lambda name: [int(part) for part in name.split("+")[0].split(".")], default=version)
    return "" if last == version else f"{last}, {dates[last]}"


def rows(purposes):
    """Returns the rows of both tables."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    arguments = ("--locked", "--format-version=1", "--all-features", "--filter-platform", TARGET)
    metadata = json.loads(cargo("metadata", *arguments))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    direct, behind = "", ""
    for (name, version), features in sorted(users(manifest["features"]).items()):
        package, dates = packages[name, version], published(name)
        named = [f"`{feature}`" if feature != "always" else feature for feature in features]
        last = f"{keeper(package)} | {dates.get(version, '')} | {newest(dates, version)} |\n"
        if name in manifest["dependencies"] and is_direct(metadata, package):
            enabled_by = [f"`{feature}`" for feature, list in manifest["features"].items() if f"dep:{name}" in list]
            direct += f"| `{name}` | {version} | {', '.join(enabled_by) or 'always'} | {purposes.get(name, '')} | {last}"
        else:
            behind += f"| `{name}` | {version} | {', '.join(named)} | {package['license']} | {last}"
    return direct, behind


def is_direct(metadata, package):
    """Returns whether the crate itself depends on this version."""
    nodes = metadata["resolve"]["nodes"]
    own = next(node for node in nodes if node["id"] == metadata["resolve"]["root"])
    kinds = [kind["kind"] for dep in own["deps"] if dep["pkg"] == package["id"] for kind in dep["dep_kinds"]]
    return None in kinds


def table_after(heading, text):
    """Returns the part before the rows of the first table after a heading, the rows, and the rest."""
    start = text.index("\n|---", text.index(heading))
    start = text.index("\n", start + 1) + 1
    lines = re.match(r"(?:\|.*\n)*", text[start:])[0]
    return text[:start], lines, text[start + len(lines) :]


def without_dates(rows):
    """Returns rows without the last two columns, which change with the index."""
    return [row.rsplit("|", 3)[0] for row in rows.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the tables")
    write = parser.parse_args().write
    text = DOCUMENT.read_text()
    purposes = {}
    for line in table_after("## Direct", text)[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        purposes[cells[0].strip("`")] = cells[3]
    for heading, wanted in zip(("## Direct", "## Behind"), rows(purposes), strict=True):
        before, found, after = table_after(heading, text)
        if write:
            text = before + wanted + after
        elif without_dates(found) != without_dates(wanted):
            differ = set(without_dates(found)) ^ set(without_dates(wanted))
            sys.exit("\n".join([f"{DOCUMENT.name} is out of date: python3 tests/dependencies.py --write", *sorted(differ)]))
    if write:
        text = re.sub(r"As of \d{4}-\d\d-\d\d", f"As of {datetime.date.today()}", text)
        DOCUMENT.write_text(text)
    missing = [name for name, purpose in purposes.items() if not purpose]
    if missing:
        sys.exit(f"{DOCUMENT.name}: say what for: {', '.join(missing)}")


if __name__ == "__main__":
    main()
