#!/usr/bin/env python3
"""Prints which share of src/ was run, by room, and the functions that never were.

    scripts/coverage.py FOLDER    where the programs left their counters, each below the path of its object

Counters of a server that was killed are lost: crash tests show less here than they do.
"""
import collections
import json
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def collect(folder):
    """Puts the counters beside their objects, of which all former ones are removed."""
    objects = sorted(TOP.glob("build/*-coverage"))
    for old in (file for build in objects for file in build.rglob("*.gcda")):
        old.unlink()
    for file in folder.rglob("*.gcda"):
        shutil.copyfile(file, "/" / file.relative_to(folder))
    return objects


def measure(objects):
    report = subprocess.run(
        ["gcovr", "--root", TOP, "--filter", f"{TOP}/src/", "--exclude-throw-branches", "--json", "-", *objects],
        stdout=subprocess.PIPE, check=True)
    return json.loads(report.stdout)["files"]


def share(counts):
    reached = sum(count > 0 for count in counts)
    return f"{reached:6} of {len(counts):6} {100 * reached / max(len(counts), 1):6.1f} %"


def main():
    rooms = collections.defaultdict(lambda: ([], []))
    never = []
    for file in measure(collect(Path(sys.argv[1]))):
        room = Path(file["file"]).parent.name
        lines = [line for line in file["lines"] if not line.get("gcovr/noncode")]
        for name in (room, "all"):
            rooms[name][0].extend(line["count"] for line in lines)
            rooms[name][1].extend(branch["count"] for line in lines for branch in line["branches"])
        never += [f'{file["file"]}:{function["lineno"]} {function["name"]}'
                  for function in file.get("functions", []) if function["execution_count"] == 0]
        (TOP / "build/coverage").mkdir(exist_ok=True)
        lost = [str(line["line_number"]) for line in lines if line["count"] == 0]
        half = [str(line["line_number"]) for line in lines
                if line["count"] > 0 and any(branch["count"] == 0 for branch in line["branches"])]
        (TOP / "build/coverage" / (file["file"].replace("/", "_") + ".txt")).write_text(
            f"lines: {' '.join(lost)}\nbranches of lines: {' '.join(half)}\n")

    print(f"{'room':12} {'lines':^25} {'branches':^25}")
    for room in sorted(set(rooms) - {"all"}) + ["all"]:
        print(f"{room:12} {share(rooms[room][0])} {share(rooms[room][1])}")
    print("", "never run:", *never, sep="\n")


main()
