"""Prints a baseline made from a report of the Autobahn test suite: `baseline.py target/autobahn/server/index.json`.

The committed baseline was made from the suite's own testee, which is strict: all but three cases are OK. Those three
(7.1.6, 7.13.1, 7.13.2) set both of their outcomes to INFORMATIONAL themselves, whatever the peer does.
"""

import json
import sys


def key(case):
    return [int(part) for part in case.split(".")]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        (cases,) = json.load(file).values()
    lines = [
        '  "%s": ["%s", "%s"]' % (case, cases[case]["behavior"], cases[case]["behaviorClose"])
        for case in sorted(cases, key=key)
    ]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
