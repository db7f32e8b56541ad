#!/usr/bin/env python3
"""What users meet is explained: SQL objects have comments, and doc/reference names every function,
setting and SQLSTATE. The parts of the install script create, and never replace or skip."""
import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
KINDS = "FUNCTION|PROCEDURE|VIEW|TYPE|TABLE|DOMAIN|AGGREGATE"


def text_of(pattern, noise=None):
    """The files of a pattern as one text, without noise."""
    text = "\n".join(file.read_text() for file in sorted(TOP.glob(pattern)))
    return re.sub(noise, " ", text, flags=re.DOTALL | re.MULTILINE) if noise else text


def sqlstates(source):
    """The SQLSTATEs that ereport raises, by ERRCODE_ name; our own ones whether raised or not."""
    pg_config = [os.environ.get("PG_CONFIG", "pg_config"), "--includedir-server"]
    headers = subprocess.run(pg_config, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    errcodes = Path(headers, "utils/errcodes.h")
    known = source + (errcodes.read_text() if errcodes.is_file() else "")
    codes = {name: re.sub(r"\W", "", code) for name, code in
             re.findall(r"\b(ERRCODE_\w+)\W+MAKE_SQLSTATE\(([^)]*)\)", known)}
    raised = " ".join(re.findall(r"\berrcode\(([^)]*)\)", source))
    used = set(re.findall(r"ERRCODE_\w+", raised)) | {name for name in codes if "_ONCEQ_" in name}
    return {name: codes.get(name, name) for name in used}


def main():
    problems = []
    install = text_of("sql/install/*.sql", r"--[^\n]*|'(?:[^']|'')*'|(\$\w*\$).*?\1")
    source = text_of("src/**/*.[ch]pp", r"//[^\n]*|/\*.*?\*/|^#ifdef ONCEQ_TESTING\b.*?^#(?:else|endif)")
    reference = text_of("doc/reference/*.md")
    settings, errors = text_of("doc/reference/settings.md"), text_of("doc/reference/errors.md")

    created = re.findall(rf"\bCREATE\s+(?:UNLOGGED\s+)?({KINDS})\s+([\w.]+)", install, re.IGNORECASE)
    comments = re.findall(rf"\bCOMMENT\s+ON\s+({KINDS})\s+([\w.]+)", install, re.IGNORECASE)
    for kind, name in sorted(set(created)):
        if "." not in name:
            problems.append(f"sql/install: {kind} {name} is created without naming its schema")
        if created.count((kind, name)) > comments.count((kind, name)):
            problems.append(f"sql/install: {kind} {name} has no COMMENT ON (each overload needs one)")
        schema, _, base = name.rpartition(".")
        public = schema == "onceq" and kind.upper() != "TABLE"
        if reference and public and not re.search(rf"\bonceq\.{base}\b|`{base}\(", reference):
            problems.append(f"doc/reference: {kind} {name} is not named")
    for phrase in re.findall(r"OR\s+REPLACE|IF\s+NOT\s+EXISTS", install, re.IGNORECASE):
        problems.append(f"sql/install: {phrase}: install parts create what is not there")

    defined = set(re.findall(r'(?:\{|\.name\s*=|DefineCustom\w+\()\s*"(onceq\.\w+)"', source))
    problems += [f"doc/reference/settings.md: {name} is not named" for name in sorted(defined)
                 if reference and f"{name}" not in re.findall(r"onceq\.\w+", settings)]
    states = sqlstates(source)
    problems += [f"doc/reference/errors.md: {code} ({name}) is not listed" for name, code in sorted(states.items())
                 if reference and not re.search(rf"\b({code}|{name})\b", errors)]

    if not reference:
        print("# doc/reference is not there yet: nothing compared with it")
    print(*problems, f"# {len(created)} SQL objects, {len(defined)} settings, {len(states)} SQLSTATEs", sep="\n")
    return bool(problems)


sys.exit(main())
