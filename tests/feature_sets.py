"""Prints sets of features, one per line: each feature, each pair, with and without the default ones, and all.

A pair of which one enables the other is the same set as that one, and is printed once.
"""

import itertools
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def closed(features, names):
    """Returns the features that these enable, themselves included."""
    names = frozenset(names)
    more = names.union(*([name for name in features[feature] if name in features] for feature in names))
    return names if more == names else closed(features, more)


def main():
    features = tomllib.loads((ROOT / "Cargo.toml").read_text())["features"]
    default = features.pop("default")
    chosen = [names for count in range(3) for names in itertools.combinations(features, count)]
    sets = {}
    for names in [*chosen, *((*names, *default) for names in chosen), tuple(features)]:
        sets.setdefault(closed(features, names), names)
    print("\n".join(",".join(names) for names in sets.values()))


if __name__ == "__main__":
    main()
