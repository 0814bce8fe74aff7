"""Charts as inline SVG: drawn from data, coloured by the page's style sheet, readable without it.

Sizes are SVG units; the page scales the picture. Series are told apart by colour (classes s0..s7,
Okabe and Ito's palette), marker shape and dash, never by colour alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 52
LOOKS = 8  # colours and markers; the ninth series has the first colour and the second marker
DASHES = ("", "7 3", "9 3 2 3", "2 3")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One method's points, the look of its row everywhere on the page, and lines behind it."""

    title: str
    look: int
    points: Sequence[tuple[float, float]]
    behind: Sequence[Sequence[tuple[float, float]]] = ()  # e.g. one line per clip


@dataclass(frozen=True, kw_only=True)
class Dots:
    """One row of a distribution: a value per clip, their mean and its interval."""

    title: str
    look: int
    values: Sequence[tuple[str, float]]  # (clip, value)
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """Maps values to SVG units, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / count))
    step *= next(f for f in (1, 2, 5, 10) if (high - low) / (step * f) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """Print a tick's number without needless zeros."""
    return f"{value:,.4g}" if abs(value) < 10000 else f"{value:,.0f}"


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return a range that holds all finite values with some air; (0, 1) if there are none."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    air = 0.06 * (high - low) or max(abs(high) * 0.01, 0.01)
    return low - air, high + air


def line_chart(series: Sequence[Series], *, name: str, x_label: str, y_label: str) -> str:
    """Draw one line per method over whole-numbered x; lines behind are drawn thin."""
    xs = [x for s in series for x, _ in s.points]
    low, high = padded([y for s in series for _, y in s.points])
    every = padded([y for s in series for line in s.behind for _, y in line] or [low, high])
    x = Axis(min(xs), max(*xs, min(xs) + 1), LEFT + 10, WIDTH - RIGHT - 8)
    step = 4 if max(xs) > 16 else 1
    marks = sorted({min(xs), *(v for v in xs if v % step == 0)})
    close = _lines(series, x, Axis(low, high, HEIGHT - BOTTOM, TOP), "mean", step)
    wide = _lines(series, x, Axis(*every, HEIGHT - BOTTOM, TOP), "clips", step)
    frame = _x_axis(x, marks, x_label)
    body = (
        f'<g class="when-mean">{_y_axis(Axis(low, high, HEIGHT - BOTTOM, TOP), y_label)}{close}</g>'
    )
    if any(s.behind for s in series):
        axis = _y_axis(Axis(*every, HEIGHT - BOTTOM, TOP), y_label)
        body += f'<g class="when-clips">{axis}{wide}</g>'
    return _svg(name, frame + body)


def _lines(series: Sequence[Series], x: Axis, y: Axis, what: str, step: int) -> str:
    out = []
    for s in reversed(series):  # the best on top
        behind = ""
        if what == "clips":
            paths = "".join(_path(line, x, y) for line in s.behind)
            behind = f'<path class="thin" d="{paths}"/>'
        dots = "".join(
            marker(s.look, x(a), y(b), f"{s.title}: frame {number(a)}, {b:.2f} dB")
            for a, b in s.points
            if math.isfinite(b) and (step == 1 or a % step == 0 or a == 1)
        )
        out.append(
            f'<g class="series {colour(s.look)}" data-series="{escape(s.title)}">{behind}'
            f'<path class="line" d="{_path(s.points, x, y)}"{_dash(s.look)}/>{dots}</g>'
        )
    return "".join(out)


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    parts, pen = [], "M"
    for a, b in points:
        if not math.isfinite(b):
            pen = "M"
            continue
        parts.append(f"{pen}{x(a):g} {y(b):g}")
        pen = "L"
    return "".join(parts)


def scatter(
    points: Sequence[tuple[str, int, float, float, float]],
    *,
    name: str,
    x_label: str,
    y_label: str,
) -> str:
    """Draw (title, look, x > 0, y, weight) on a logarithmic x axis; the area grows with weight."""
    xs = [p[2] for p in points]
    x_low, x_high = min(xs) / 1.6, max(xs) * 1.6
    x = Axis(x_low, x_high, LEFT + 10, WIDTH - RIGHT - 8, log=True)
    y = Axis(*padded([p[3] for p in points]), HEIGHT - BOTTOM - 12, TOP + 18)
    most = max(p[4] for p in points) or 1.0
    decades = range(math.floor(math.log10(x_low)), math.ceil(math.log10(x_high)) + 1)
    steps = (1, 3) if len(decades) > 3 else (1, 2, 5)
    marks = [m * 10.0**e for e in decades for m in steps if x_low <= m * 10.0**e <= x_high]
    radii = [20 * math.sqrt(max(p[4], 0) / most) for p in points]
    taken = [_bubble_box(x(p[2]), y(p[3]), r) for p, r in zip(points, radii, strict=True)]
    out = []
    for (title, look, a, b, _), radius in zip(points, radii, strict=True):
        left, top = x(a), y(b)
        at_x, at_y, anchor = _label_place(left, top, radius, len(title), taken)
        out.append(
            f'<g class="series {colour(look)}" data-series="{escape(title)}">'
            f'<circle class="bubble" cx="{left:g}" cy="{top:g}" r="{radius:.1f}"/>'
            f"{marker(look, left, top, f'{title}: {number(a)}, {b:.2f} dB')}"
            f'<text x="{at_x:g}" y="{at_y:g}" text-anchor="{anchor}">{escape(title)}</text></g>'
        )
    axes = _x_axis(x, marks, x_label) + _y_axis(y, y_label)
    return _svg(name, axes + "".join(out))


Box = tuple[float, float, float, float]  # x0, y0, x1, y1


def _bubble_box(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def _label_place(
    x: float, y: float, radius: float, letters: int, taken: list[Box]
) -> tuple[float, float, str]:
    """Find a place for a label that hides no bubble and no other label; adds it to `taken`."""
    width, height, air = 8.2 * letters, 15.0, radius + 5
    places = (
        (x, y - air, "middle", x - width / 2, y - air - height),
        (x, y + air + 11, "middle", x - width / 2, y + air - 2),
        (x + air, y + 4.5, "start", x + air, y - height / 2),
        (x - air, y + 4.5, "end", x - air - width, y - height / 2),
    )
    best, least = places[0], math.inf
    for place in places:
        box = (place[3], place[4], place[3] + width, place[4] + height)
        hidden = sum(_overlap(box, other) for other in taken)
        hidden += 1e4 * (box[0] < LEFT or box[2] > WIDTH - 2)
        if hidden < least:
            best, least = place, hidden
    taken.append((best[3], best[4], best[3] + width, best[4] + height))
    return round(best[0], 1), round(best[1], 1), best[2]


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high)


def dot_rows(rows: Sequence[Dots], *, name: str, x_label: str) -> str:
    """Draw a row per method: a dot per clip, the mean with its interval, a line at zero."""
    pitch = 62
    height = TOP + pitch * len(rows) + BOTTOM
    values = [v for r in rows for _, v in r.values] + [r.low for r in rows] + [r.high for r in rows]
    low, high = padded([*values, 0.0])
    x = Axis(low, high, 14, WIDTH - 14)
    out = [_x_axis(x, ticks(low, high), x_label, height, left=14)]
    out.append(f'<path class="zero" d="M{x(0):g} {TOP}V{height - BOTTOM}"/>')
    for place, row in enumerate(rows):
        top = TOP + pitch * place + 16
        dots = "".join(
            f'<circle cx="{x(v):g}" cy="{top + 16 + (i * 7 % 5 - 2) * 3.2:g}" r="3.4">'
            f"<title>{escape(clip)}: {v:+.3f}</title></circle>"
            for i, (clip, v) in enumerate(row.values)
            if math.isfinite(v)
        )
        bar = top + 34
        whole = ""
        if math.isfinite(row.low):
            whole = (
                f'<path class="interval" d="M{x(row.low):g} {bar}H{x(row.high):g}'
                f'M{x(row.low):g} {bar - 4}v8M{x(row.high):g} {bar - 4}v8"/>'
            )
        out.append(
            f'<g class="series {colour(row.look)}" data-series="{escape(row.title)}">'
            f'<text class="row" x="14" y="{top}">{escape(row.title)}</text>{dots}{whole}'
            f'<path class="mean" d="M{x(row.mean):g} {bar - 7}v14"/></g>'
        )
    return _svg(name, "".join(out), height)


def colour(look: int) -> str:
    """Return the class that colours a look; the ninth has the colour of the first."""
    return f"s{look % LOOKS}"


def _dash(look: int) -> str:
    dashes = DASHES[(look + look // LOOKS) % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def marker(look: int, x: float, y: float, title: str = "", size: float = 4.6) -> str:
    """Draw the marker of a look: circle, square, triangle, diamond and so on."""
    r = size
    shapes = (
        f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
        f"M{x:.1f} {y - 1.2 * r:.1f}l{1.2 * r:.1f} {2.1 * r:.1f}h{-2.4 * r:.1f}z",
        f"M{x:.1f} {y - 1.3 * r:.1f}l{1.3 * r:.1f} {1.3 * r:.1f}l{-1.3 * r:.1f} {1.3 * r:.1f}"
        f"l{-1.3 * r:.1f} {-1.3 * r:.1f}z",
        f"M{x:.1f} {y + 1.2 * r:.1f}l{1.2 * r:.1f} {-2.1 * r:.1f}h{-2.4 * r:.1f}z",
        f"M{x - r:.1f} {y - r / 2:.1f}h{r / 2}v{-r / 2}h{r}v{r / 2}h{r / 2}v{r}h{-r / 2}v{r / 2}"
        f"h{-r}v{-r / 2}h{-r / 2}z",
        f"M{x - r:.1f} {y - r * 0.6:.1f}h{2 * r}v{1.2 * r:.1f}h{-2 * r}z",
        f"M{x - 0.6 * r:.1f} {y - r:.1f}h{1.2 * r:.1f}v{2 * r}h{-1.2 * r:.1f}z",
    )
    text = f"<title>{escape(title)}</title>" if title else ""
    return f'<path class="dot" d="{shapes[(look + look // LOOKS) % LOOKS]}">{text}</path>'


def swatch(look: int) -> str:
    """Draw the key of a legend: a piece of line with its marker."""
    return (
        f'<svg class="swatch {colour(look)}" viewBox="0 0 34 14" aria-hidden="true">'
        f'<path class="line" d="M0 7H34"{_dash(look)}/>{marker(look, 17, 7)}</svg>'
    )


def _x_axis(
    axis: Axis, marks: Sequence[float], label: str, height: int = HEIGHT, left: int = LEFT
) -> str:
    y = height - BOTTOM
    lines = "".join(
        f'<text x="{axis(m):g}" y="{y + 20}" text-anchor="middle">{number(m)}</text>'
        f'<path class="tick" d="M{axis(m):g} {y}v5"/>'
        for m in marks
    )
    middle = (left + WIDTH - RIGHT) / 2
    return (
        f'<g class="axis"><path d="M{left} {y}H{WIDTH - RIGHT}"/>{lines}'
        f'<text class="label" x="{middle:g}" y="{height - 8}" text-anchor="middle">'
        f"{escape(label)}</text></g>"
    )


def _y_axis(axis: Axis, label: str) -> str:
    marks = ticks(axis.low, axis.high)
    lines = "".join(
        f'<path class="grid" d="M{LEFT} {axis(m):g}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 8}" y="{axis(m) + 4.5:g}" text-anchor="end">{number(m)}</text>'
        for m in marks
    )
    middle = (HEIGHT - BOTTOM + TOP) / 2
    return (
        f'<g class="axis">{lines}<text class="label" transform="translate(15 {middle:g}) '
        f'rotate(-90)" text-anchor="middle">{escape(label)}</text></g>'
    )


def _svg(name: str, body: str, height: int = HEIGHT) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(name)}">{body}</svg>'
    )
