#!/usr/bin/env python3
"""Every test is run, and every file beside the tests belongs to one: what a wildcard misses is found here."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

# Inputs and what they are expected to print (name.out, or name_1.out and so on).
PAIRS = [("sql/*.sql", "expected"), ("test/isolation/specs/*.spec", "test/isolation/expected")]

# Folders all files of which are tests, or are needed by tests (in brackets).
NAMES = {
    "sql": r".*\.sql",
    "test/isolation/specs": r".*\.spec",
    "test/pgtap": r".*\.sql",
    "test/tap": r"\d\d\d_\w+\.pl|(\w+\.pm)",
    "test/fuzz": r"\w+_fuzz\.cpp|(fuzz\.hpp)",
    "test/unit": r"\w+_test\.cpp|(\w+\.hpp)",
    "test/chaos": r"(?:run|checker_test)\.py|(\w+\.(?:py|md))",
}


def main():
    problems, tests = [], 0
    for folder, name in NAMES.items():
        for file in sorted((TOP / folder).glob("*")):
            if file.is_dir():
                continue
            match = re.fullmatch(name, file.name)
            tests += bool(match and not match.groups()[-1:] == (file.name,))
            if not match:
                problems.append(f"{folder}/{file.name}: not the name of a test, so nothing runs it")

    for inputs, folder in PAIRS:
        names = {file.stem for file in TOP.glob(inputs)}
        outputs = {re.sub(r"_\d$", "", file.stem) if file.stem not in names else file.stem
                   for file in (TOP / folder).glob("*.out")}
        problems += [f"{inputs}: {name} has no {folder}/{name}.out" for name in sorted(names - outputs)]
        problems += [f"{folder}/{name}.out belongs to no test" for name in sorted(outputs - names)]

    makefile = (TOP / "Makefile").read_text()
    for inputs, _ in PAIRS:
        if f"$(top){inputs}" not in makefile:
            problems.append(f"Makefile: no $(top){inputs}: make installcheck does not run them all")

    order = TOP / "sql/install/ORDER"
    parts = {file.name for file in (TOP / "sql/install").glob("*.sql")}
    listed = order.read_text().split() if order.exists() else []
    problems += [f"sql/install/ORDER: {name} is not listed" for name in sorted(parts - set(listed))]
    problems += [f"sql/install/ORDER: {name} is not there" for name in listed if name not in parts]
    problems += [f"sql/install/ORDER: {name} is listed twice" for name in set(listed) if listed.count(name) > 1]

    print(*problems, f"# {tests} files of tests, {len(problems)} problems", sep="\n")
    return bool(problems)


sys.exit(main())
