#!/usr/bin/env python3
"""Draws what single runs left, as SVG for light and dark pages: plot.py build/bench/detail build/bench/plots"""
import sys
from math import floor, log10
from pathlib import Path

NAMES = {"onceq": "onceq", "skip_locked": "SKIP LOCKED", "pgmq": "pgmq", "rabbitmq": "RabbitMQ", "bullmq": "BullMQ",
         "graphile_worker": "graphile-worker", "pg_boss": "pg-boss"}
# Light and dark: distinct also to those who do not see red and green alike.
COLOURS = {"onceq": ("#0b62c4", "#6cb2ff"), "skip_locked": ("#b45309", "#fbab4a"), "pgmq": ("#6d28d9", "#c4a5ff"),
           "rabbitmq": ("#0f766e", "#4fd1c0"), "bullmq": ("#be185d", "#ff8fc0"), "graphile_worker": ("#4d7c0f", "#b5e35a"),
           "pg_boss": ("#57534e", "#d6d3d1")}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 320, 64, 150, 36, 46


def style(systems):
    rules = [lambda shade, one=one: f".{one}{{stroke:{COLOURS[one][shade]}}}text.{one}{{fill:{COLOURS[one][shade]};stroke:none}}"
             for one in systems]
    light, dark = ("".join(rule(shade) for rule in rules) for shade in (0, 1))
    return (f"<style>text{{font:13px sans-serif;fill:#24292f}}.grid{{stroke:#d0d7de}}polyline{{fill:none;stroke-width:2}}{light}"
            f"@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.grid{{stroke:#3d444d}}{dark}}}</style>")


def ticks_to(top):
    """Round steps, four to eight of them."""
    step = 10 ** floor(log10(top))
    step = next(step * part for part in (1, 0.5, 0.2, 0.1) if top / (step * part) >= 4)
    return [i * step for i in range(floor(top / step * 1.0001) + 1)]


class Axis:
    """From values to the page; a logarithmic one is told by ticks that begin above 0."""

    def __init__(self, ticks, top, begin, end):
        self.ticks, self.begin, self.end = ticks, begin, end
        self.scale = log10 if ticks[0] > 0 else float
        self.low, self.high = self.scale(ticks[0]), self.scale(top)

    def at(self, value):
        value = min(max(self.scale(max(value, 1e-9) if self.scale is log10 else value), self.low), self.high)
        return round(self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin), 1)


def apart(wanted, gap=16):
    """Moves labels away from each other, in their order."""
    placed = {}
    for name, at in sorted(wanted.items(), key=lambda item: item[1]):
        placed[name] = max(at, max(placed.values(), default=-gap) + gap)
    return placed


def chart(title, x_label, x, y, lines):
    """lines: system to its points. The name of a line stands beside its end."""
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
           f'role="img"><title>{title}</title>')
    yield style(lines)
    yield f'<text x="{LEFT}" y="20" style="font-weight:bold">{title}</text>'
    for tick in y.ticks:
        yield f'<path class="grid" d="M{LEFT} {y.at(tick)}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 8}" y="{y.at(tick) + 4}" text-anchor="end">{tick:,g}</text>'
    for tick in x.ticks:
        yield f'<text x="{x.at(tick)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:,g}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_label}</text>'
    for system, points in lines.items():
        path = " ".join(f"{x.at(at)},{y.at(value)}" for at, value in points)
        yield f'<polyline class="{system}" points="{path}"/>'
    for system, at in apart({system: y.at(points[-1][1]) for system, points in lines.items()}).items():
        yield f'<text class="{system}" x="{WIDTH - RIGHT + 8}" y="{at + 4}">{NAMES[system]}</text>'
    yield "</svg>"


def read(folder, section, kind):
    """System to the pairs of numbers of that kind: t for time and rate, l for latency and count."""
    found = {}
    for system in NAMES:
        file = folder / f"{section}.{system}"
        if file.exists():
            words = (line.split() for line in file.read_text().splitlines())
            found[system] = [(float(one), float(two)) for letter, one, two in words if letter == kind]
    return {system: points for system, points in found.items() if points}


def course(folder):
    """Rates over time, each the mean of a second or, in long runs, of more."""
    lines = {}
    for system, points in read(folder, "held", "t").items():
        group = max(len(points) // 120, 4)
        parts = [points[i:i + group] for i in range(0, len(points) - group + 1, group)]
        lines[system] = [(part[0][0], sum(rate for _, rate in part) / group) for part in parts]
    lines = {system: points for system, points in lines.items() if points}
    if not lines:
        return None
    top, end = (max(point[i] for points in lines.values() for point in points) for i in (1, 0))
    y = Axis(ticks_to(top), top, HEIGHT - BOTTOM, TOP)
    return chart("Jobs a second while another session holds a snapshot", "seconds",
                 Axis(ticks_to(max(end, 1)), max(end, 1), LEFT, WIDTH - RIGHT), y, lines)


def distribution(folder):
    """The share of jobs (%) that waited longer than that, both axes logarithmic."""
    lines = {}
    for system, buckets in read(folder, "latency", "l").items():
        total, seen, points = sum(count for _, count in buckets), 0, []
        for us, count in buckets:
            share = 100 * (total - seen) / total
            seen += count
            if not points or share < points[-1][1] * 0.97:
                points.append((us / 1000, share))
        lines[system] = points
    if not lines:
        return None
    x = Axis([0.1, 1, 10, 100, 1000], 1000, LEFT, WIDTH - RIGHT)
    y = Axis([0.1, 1, 10, 100], 100, HEIGHT - BOTTOM, TOP)
    return chart("Jobs (%) that reached a waiting client later than …", "milliseconds after they were sent", x, y, lines)


def main():
    folder, out = map(Path, sys.argv[1:])
    for name, drawn in ("held", course(folder)), ("latency", distribution(folder)):
        if drawn:
            (out / f"{name}.svg").write_text("\n".join(drawn) + "\n")


main()
