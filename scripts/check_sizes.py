#!/usr/bin/env python3
"""Functions have at most 70 lines, files at most 500: what fits on a screen, and what one reads at once."""
import ast
import re
import sys
from pathlib import Path

FUNCTION_MAX, FILE_MAX = 70, 500
TOP = Path(__file__).resolve().parent.parent
FOLDERS = ["src", "test/unit", "test/explorer", "test/fuzz", "test/chaos", "scripts"]

# Comments, literals and preprocessor lines: their braces do not count.
NOISE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | (?<!\w)'(?:\\.|[^'\\\n])+' | ^[ \t]*\#(?:\\\n|[^\n])*""",
    re.DOTALL | re.MULTILINE | re.VERBOSE)


def is_function(head):
    """Whether a { after head opens a function: there is a ), and no = but in the parameters."""
    outside = re.sub(r"\(.*\)|operator\S+", "", head, flags=re.DOTALL)
    return ")" in head and "=" not in outside


def cpp_functions(text):
    """Yields the first line and the number of lines of each function."""
    text = NOISE.sub(lambda noise: "\n" * noise[0].count("\n"), text)
    opened, end = [], 0
    for mark in re.finditer(r"[{};]", text):
        head = text[end:mark.start()]
        if mark[0] == "{":
            opened.append(mark.start() - len(head.lstrip()) if is_function(head) else None)
        elif mark[0] == "}" and opened:
            start = opened.pop()
            if start is not None and not any(opened):  # the outermost: not a loop or a lambda in it
                yield text.count("\n", 0, start) + 1, text.count("\n", start, mark.start()) + 1
        end = mark.end()


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            yield node.lineno, node.end_lineno - node.lineno + 1


def shell_functions(text):
    for function in re.finditer(r"^\w+\(\) \{$.*?^\}$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, function.start()) + 1, function[0].count("\n") + 1


MEASURES = {".cpp": cpp_functions, ".hpp": cpp_functions, ".py": python_functions, ".sh": shell_functions}


def main():
    problems, functions = [], 0
    files = sorted(file for folder in FOLDERS for file in (TOP / folder).rglob("*") if file.suffix in MEASURES)
    for file in files:
        name, text = file.relative_to(TOP), file.read_text()
        if text.count("\n") > FILE_MAX:
            problems.append(f"{name}: {text.count(chr(10))} lines, at most {FILE_MAX}")
        for line, length in MEASURES[file.suffix](text):
            functions += 1
            if length > FUNCTION_MAX:
                problems.append(f"{name}:{line}: a function of {length} lines, at most {FUNCTION_MAX}")
    print(*problems, f"# {len(files)} files, {functions} functions, {len(problems)} too long", sep="\n")
    return bool(problems)


sys.exit(main())
