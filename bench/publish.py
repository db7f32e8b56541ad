#!/usr/bin/env python3
"""Puts a report and its plots into the documents, between the marks that are there: publish.py build/bench doc"""
import shutil
import sys
from pathlib import Path

BEGIN, END = "<!-- report: begin -->\n", "<!-- report: end -->\n"


def main():
    out, doc = map(Path, sys.argv[1:])
    page = doc / "benchmarks.md"
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    report = (out / "report.md").read_text().partition("\n")[2]  # without its title
    page.write_text(f"{before}{BEGIN}\n{report.strip()}\n\n{END}{after}")
    shutil.rmtree(doc / "plots", ignore_errors=True)
    shutil.copytree(out / "plots", doc / "plots")


main()
