#!/usr/bin/env python3
"""test/fault_points.txt lists the fault points of the code, and a TAP test arms each of them with a fault that
interrupts: a pause in a spec does not show that anything survives. Whether a point is met is up to that test."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
LIST = TOP / "test/fault_points.txt"


def points_of_code():
    return {name for file in TOP.glob("src/*/*.cpp")
            for name in re.findall(r'FAULT_POINT\("([^"]+)"\)', file.read_text())}


def words_of(arguments):
    """What points_for is called with: 'a phrase', qw(some words)."""
    return re.findall(r"'([^']+)'", arguments) + " ".join(re.findall(r"qw\(([^)]+)\)", arguments)).split()


def is_armed(point, test):
    calls = re.findall(r"points_for\(((?:qw\([^)]+\)|[^()])+)\)", test)
    words = [word for call in calls for word in words_of(call)]
    return point in test.replace(f"pause at {point}", "") or point.split(":")[0].removesuffix(" many") in words


def main():
    listed = LIST.read_text().splitlines()
    code = points_of_code()
    tests = [file.read_text() for file in sorted(TOP.glob("test/tap/*.p[lm]"))]
    problems = [f"{LIST.name}: {point} is not in the code" for point in listed if point not in code]
    problems += [f"{LIST.name}: {point} is missing" for point in sorted(code - set(listed))]
    problems += [f"{point}: no test of test/tap arms it" for point in listed
                 if not any(is_armed(point, test) for test in tests)]
    if listed != sorted(set(listed)):
        problems.append(f"{LIST.name}: not sorted, or a name is there twice")
    print(*problems, f"# {len(listed)} fault points, {len(problems)} problems", sep="\n")
    return bool(problems)


sys.exit(main())
