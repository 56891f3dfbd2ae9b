"""One curve as inline SVG. The style sheet of the page sets its colours, for light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch_rechub.report.text import escape, format_number

__all__ = ["draw_chart", "format_tick_labels", "thin_points", "ticks"]

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 346, 14, 178
MAX_POINTS, MAX_DOTS = 240, 40

Point = tuple[float, float]


@dataclass(frozen=True)
class _Scale:
    """The linear map from data to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        fraction = (value - self.low) / (self.high - self.low)
        return round(self.start + fraction * (self.end - self.start), 1)


def draw_chart(
    title: str,
    points: Sequence[Point],
    best: Point | None = None,
    stopped_at: float | None = None,
    epochs: Sequence[tuple[int, int]] = (),
    position: str = "at the best validation",
) -> str:
    """A curve of ``(step, value)``, with gaps at values that are not finite.

    Args:
        title: what is drawn.
        points: in the order of their steps.
        best: the validation that a circle marks.
        stopped_at: the step that a dashed line marks.
        epochs: epoch and step of each mark on the upper edge.
        position: what the value at the circle is.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return f'<figure><figcaption>{escape(title)}</figcaption><p class="muted">no finite value</p></figure>'
    x_scale, y_scale = _scales(points, finite)
    parts = [_grid(x_scale, y_scale), *(_line(segment, x_scale, y_scale) for segment in _segments(points))]
    if len(points) <= MAX_DOTS:
        parts += [_dot(point, x_scale, y_scale) for point in finite]
    parts += [_epoch_mark(epoch, x_scale(step)) for epoch, step in epochs]
    if stopped_at is not None:
        parts.append(f'<path class="stop" d="M{x_scale(stopped_at)} {TOP}V{BOTTOM}"/>')
    if best is not None and math.isfinite(best[1]):
        tooltip = f"<title>best: {format_number(best[1])}</title>"
        parts.append(f'<circle class="best" cx="{x_scale(best[0])}" cy="{y_scale(best[1])}" r="6">{tooltip}</circle>')
    caption_value = format_number(best[1] if best is not None else finite[-1][1])
    position = "last" if best is None else position
    caption = f'<figcaption>{escape(title)} <b>{caption_value}</b><span class="muted"> {position}</span></figcaption>'
    label = f'role="img" aria-label="{escape(title)}, {len(points)} points"'
    return f'<figure>{caption}<svg viewBox="0 0 {WIDTH} {HEIGHT}" {label}>{"".join(parts)}</svg></figure>'


def _scales(points: Sequence[Point], finite: Sequence[Point]) -> tuple[_Scale, _Scale]:
    first, last = points[0][0], points[-1][0]
    if first == last:
        first, last = first - 1, last + 1
    low, high = min(y for _, y in finite), max(y for _, y in finite)
    margin = (high - low) * 0.07 or abs(high) * 0.05 or 1.0
    return _Scale(first, last, LEFT, RIGHT), _Scale(low - margin, high + margin, BOTTOM, TOP)


def _grid(x_scale: _Scale, y_scale: _Scale) -> str:
    y_ticks = ticks(y_scale.low, y_scale.high)
    rows = "".join(
        f'<path class="grid" d="M{LEFT} {y_scale(y)}H{RIGHT}"/><text class="tick end" x="{LEFT - 6}" y="{y_scale(y) + 4}">{label}</text>'
        for y, label in zip(y_ticks, format_tick_labels(y_ticks), strict=True)
    )
    columns = "".join(
        f'<text class="tick middle" x="{x_scale(x)}" y="{BOTTOM + 16}">{format_number(x)}</text>'
        for x in ticks(x_scale.low, x_scale.high, 5)
    )
    x_label = f'<text class="tick middle" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 2}">optimizer step</text>'
    return f'{rows}{columns}{x_label}<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>'


def _segments(points: Sequence[Point]) -> list[list[Point]]:
    """The segments of the curve between its gaps, thinned if they have too many points for a screen."""
    segments: list[list[Point]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            segments[-1].append((x, y))
        elif segments[-1]:
            segments.append([])
    segments = [segment for segment in segments if segment]
    return [thin_points(segment, max(4, MAX_POINTS // len(segments))) for segment in segments[:MAX_POINTS]]


def _line(points: Sequence[Point], x_scale: _Scale, y_scale: _Scale) -> str:
    path = "L".join(f"{x_scale(x)} {y_scale(y)}" for x, y in points)
    return f'<path class="curve" d="M{path}{"h.1" if len(points) == 1 else ""}"/>'


def _dot(point: Point, x_scale: _Scale, y_scale: _Scale) -> str:
    x, y = point
    tooltip = f"<title>step {format_number(x)}: {format_number(y)}</title>"
    return f'<circle class="dot" cx="{x_scale(x)}" cy="{y_scale(y)}" r="2.6">{tooltip}</circle>'


def _epoch_mark(epoch: int, x: float) -> str:
    return f'<path class="grid" d="M{x} {TOP}v4"/><text class="tick middle" x="{x}" y="{TOP - 4}">{epoch}</text>'


def format_tick_labels(values: Sequence[float]) -> list[str]:
    """The labels of one axis, all with the same number of decimals.

    Example:
        >>> format_tick_labels([0.5, 0.525, 0.55]), format_tick_labels([0.0, 20000.0])
        (['0.500', '0.525', '0.550'], ['0', '20k'])
    """
    n_decimal = next((n for n in range(6) if all(abs(round(value, n) - value) < 1e-9 for value in values)), None)
    if n_decimal is None or max(map(abs, values), default=0) >= 1e4:
        return [format_number(value) for value in values]
    return [f"{value:.{n_decimal}f}" for value in values]


def thin_points(points: Sequence[Point], max_points: int) -> list[Point]:
    """About ``max_points`` of the points at most: the first, the last, and the lowest and highest point of each interval.

    Example:
        >>> thin_points([(0, 0.0), (1, 9.0), (2, 1.0), (3, -5.0), (4, 2.0), (5, 3.0)], 4)
        [(0, 0.0), (1, 9.0), (3, -5.0), (5, 3.0)]
    """
    if len(points) <= max_points:
        return list(points)
    size = math.ceil((len(points) - 2) / max(1, (max_points - 2) // 2))
    thinned = [points[0]]
    for start in range(1, len(points) - 1, size):
        interval = points[start : min(start + size, len(points) - 1)]
        thinned += sorted({min(interval, key=lambda p: p[1]), max(interval, key=lambda p: p[1])})
    return [*thinned, points[-1]]


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About ``n`` round numbers within a range.

    Example:
        >>> ticks(0.703, 0.748)
        [0.71, 0.72, 0.73, 0.74]
    """
    ideal_width = (high - low) / n
    power = 10.0 ** math.floor(math.log10(ideal_width))
    width = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= ideal_width * 0.7)
    first = math.ceil(low / width)
    return [round((first + i) * width, 12) for i in range(int(high / width - first) + 1)]
