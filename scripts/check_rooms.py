#!/usr/bin/env python3
"""The rooms of src/ include only what lies below them, and only files that exist."""
import re
import sys
from pathlib import Path

# What a room may include, besides itself, core/ and metrics/count.hpp.
ARROWS = {
    "core": "",
    "base": "",
    "catalog": "base",
    "store": "base catalog",
    "board": "base catalog store notify",
    "notify": "base",
    "metrics": "base",
    "delivery": "base catalog store board notify",
    "schedule": "base catalog store delivery",
    "ledger": "base catalog store board",
    "archive": "base catalog store board",
    "worker": "base catalog store board notify metrics delivery schedule ledger archive",
    "module": "base catalog store board notify metrics delivery schedule ledger archive worker",
}
SRC = Path(__file__).resolve().parent.parent / "src"


def room_of(path):
    """The room a file lies in; module.cpp is a room of its own."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def wrong_with(file, target):
    """What is wrong with file including target, both relative to src/; None if nothing is."""
    here, there = room_of(file), room_of(Path(target))
    if here not in ARROWS:
        return f'no room "{here}" is known'
    if not (SRC / target).is_file():
        return "no such file below src/"
    if there == here or target == "metrics/count.hpp" and here != "core":
        return None
    if there == "core" or there in ARROWS[here].split():
        return None
    return f'{here}/ may not know {there}/'


def main():
    problems = []
    files = sorted(file for file in SRC.rglob("*.[ch]pp"))
    for file in files:
        name = file.relative_to(SRC)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include\s*"(.*)"', line)
            problem = include and wrong_with(name, include[1])
            if problem:
                problems.append(f'src/{name}:{number}: "{include[1]}": {problem}')
    print(*problems, f"# {len(files)} files, {len(problems)} wrong includes", sep="\n")
    return bool(problems)


sys.exit(main())
