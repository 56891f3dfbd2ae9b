"""One curve as inline SVG: its colours come from the page, so that it follows light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch_rechub.report.text import escape, number

__all__ = ["alike", "draw_chart", "thin", "ticks"]

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 346, 14, 178
MOST_POINTS, MOST_DOTS = 240, 40

Point = tuple[float, float]


@dataclass(frozen=True)
class _Scale:
    """Data to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def draw_chart(title: str, points: Sequence[Point], best: Point | None = None, stopped_at: float | None = None) -> str:
    """A curve of ``(step, value)``, with gaps where a value is not finite, a circle at the best check and a line at the stop."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return f'<figure><figcaption>{escape(title)}</figcaption><p class="muted">no finite value</p></figure>'
    across, up = _scales(points, finite)
    parts = [_grid(across, up), *(_line(piece, across, up) for piece in _pieces(points))]
    if len(points) <= MOST_DOTS:
        parts += [_dot(point, across, up) for point in finite]
    if stopped_at is not None:
        parts.append(f'<path class="stop" d="M{across(stopped_at)} {TOP}V{BOTTOM}"/>')
    if best is not None and math.isfinite(best[1]):
        parts.append(
            f'<circle class="best" cx="{across(best[0])}" cy="{up(best[1])}" r="6"><title>best: {number(best[1])}</title></circle>'
        )
    shown = number(best[1] if best is not None else finite[-1][1])
    which = "last" if best is None else "at the best check"
    caption = f'<figcaption>{escape(title)} <b>{shown}</b><span class="muted"> {which}</span></figcaption>'
    label = f'role="img" aria-label="{escape(title)}, {len(points)} points"'
    return f'<figure>{caption}<svg viewBox="0 0 {WIDTH} {HEIGHT}" {label}>{"".join(parts)}</svg></figure>'


def _scales(points: Sequence[Point], finite: Sequence[Point]) -> tuple[_Scale, _Scale]:
    first, last = points[0][0], points[-1][0]
    if first == last:
        first, last = first - 1, last + 1
    low, high = min(y for _, y in finite), max(y for _, y in finite)
    margin = (high - low) * 0.07 or abs(high) * 0.05 or 1.0
    return _Scale(first, last, LEFT, RIGHT), _Scale(low - margin, high + margin, BOTTOM, TOP)


def _grid(across: _Scale, up: _Scale) -> str:
    heights = ticks(up.low, up.high)
    rows = "".join(
        f'<path class="grid" d="M{LEFT} {up(y)}H{RIGHT}"/><text class="tick end" x="{LEFT - 6}" y="{up(y) + 4}">{name}</text>'
        for y, name in zip(heights, alike(heights), strict=True)
    )
    columns = "".join(
        f'<text class="tick middle" x="{across(x)}" y="{BOTTOM + 16}">{number(x)}</text>' for x in ticks(across.low, across.high, 5)
    )
    name = f'<text class="tick middle" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 2}">optimizer step</text>'
    return f'{rows}{columns}{name}<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>'


def _pieces(points: Sequence[Point]) -> list[list[Point]]:
    """The curve without its gaps, thinned where it has more points than a screen."""
    pieces: list[list[Point]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    whole = [piece for piece in pieces if piece]
    return [thin(piece, max(4, MOST_POINTS // len(whole))) for piece in whole[:MOST_POINTS]]


def _line(points: Sequence[Point], across: _Scale, up: _Scale) -> str:
    path = "L".join(f"{across(x)} {up(y)}" for x, y in points)
    return f'<path class="curve" d="M{path}{"h.1" if len(points) == 1 else ""}"/>'


def _dot(point: Point, across: _Scale, up: _Scale) -> str:
    x, y = point
    return f'<circle class="dot" cx="{across(x)}" cy="{up(y)}" r="2.6"><title>step {number(x)}: {number(y)}</title></circle>'


def alike(values: Sequence[float]) -> list[str]:
    """Numbers of one axis, all with as many decimals as the longest needs.

    Example:
        >>> alike([0.5, 0.525, 0.55]), alike([0.0, 20000.0])
        (['0.500', '0.525', '0.550'], ['0', '20k'])
    """
    places = next((n for n in range(6) if all(abs(round(value, n) - value) < 1e-9 for value in values)), None)
    if places is None or max(map(abs, values), default=0) >= 1e4:
        return [number(value) for value in values]
    return [f"{value:.{places}f}" for value in values]


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """At most about ``most`` points with the same ends, peaks and troughs: of each stretch its lowest and its highest stay.

    Example:
        >>> thin([(0, 0.0), (1, 9.0), (2, 1.0), (3, -5.0), (4, 2.0), (5, 3.0)], 4)
        [(0, 0.0), (1, 9.0), (3, -5.0), (5, 3.0)]
    """
    if len(points) <= most:
        return list(points)
    size = math.ceil((len(points) - 2) / max(1, (most - 2) // 2))
    kept = [points[0]]
    for start in range(1, len(points) - 1, size):
        stretch = points[start : min(start + size, len(points) - 1)]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return [*kept, points[-1]]


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """Round numbers within a range, at most about ``n``.

    Example:
        >>> ticks(0.703, 0.748)
        [0.71, 0.72, 0.73, 0.74]
    """
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    width = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.7)
    first = math.ceil(low / width)
    return [round((first + i) * width, 12) for i in range(int(high / width - first) + 1)]
