"""Small plots as inline SVG: stacked bars by domain, a histogram on a logarithmic axis, a curve over steps.

No script, no library. `image_url` makes one that stands by itself, for a page with a style of its own.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from math import log10

from markupsafe import Markup, escape

from cogumi.metrics.formatting import Sample, is_known, number

ARMS = {
    "meta": "Meta-training: query loss after adaptation, by step",
    "sft": "Plain SFT on the same rows: loss by step",
}
"""What the curves of an adapter's training are called, by arm."""
_WIDTH = 640
_ROW = 24
_MOST_POINTS = 200
_STYLE = (
    "svg{background:#fff;color:#1f2937;font:12px sans-serif}.easy{fill:#7aa6c2}.hard{fill:#2f5d7c}"
    "text{fill:#1f2937}.line{fill:none;stroke:#2f5d7c;stroke-width:1.5}.control{stroke:#b4552d;stroke-dasharray:4 3}"
)


def domain_bars(cells: dict[str, int]) -> Markup:
    """Easy and hard rows by domain; `cells` counts rows by "domain/difficulty"."""
    domains = list(dict.fromkeys(cell.split("/")[0] for cell in cells))
    most = max((cells.get(f"{d}/easy", 0) + cells.get(f"{d}/hard", 0) for d in domains), default=0) or 1
    parts = []
    for place, domain in enumerate(domains):
        easy, hard = cells.get(f"{domain}/easy", 0), cells.get(f"{domain}/hard", 0)
        top, scale = place * _ROW, (_WIDTH - 240) / most
        parts.append(_text(128, top + 16, domain.replace("_", " "), "end"))
        parts.append(f'<rect class="easy" x="136" y="{top + 4}" width="{easy * scale:.1f}" height="15"/>')
        parts.append(
            f'<rect class="hard" x="{136 + easy * scale:.1f}" y="{top + 4}" width="{hard * scale:.1f}" height="15"/>'
        )
        parts.append(_text(142 + (easy + hard) * scale, top + 16, f"{easy:,} + {hard:,}", "start"))
    return _svg("Rows by domain, easy and hard", len(domains) * _ROW + 6, parts)


def paired_bars(
    title: str, rows: Sequence[tuple[str, Sequence[tuple[float | None, Sample]]]], names: Sequence[str]
) -> Markup:
    """Two values of each row, one below the other, named by a line above; one that is null has no bar and says why."""
    most = max((_length(value) for _, pair in rows for value, _ in pair), default=0) or 1
    scale, kinds = (_WIDTH - 240) / most, ("easy", "hard")
    parts = []
    for place, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        parts.append(f'<rect class="{kind}" x="{136 + 150 * place}" y="4" width="12" height="12"/>')
        parts.append(_text(154 + 150 * place, 14, name, "start"))
    for place, (label, pair) in enumerate(rows):
        top = (place + 1) * _ROW
        parts.append(_text(128, top + 16, label, "end"))
        for line, (kind, (value, _)) in enumerate(zip(kinds, pair, strict=True)):
            wide = _length(value) * scale
            parts.append(f'<rect class="{kind}" x="136" y="{top + 2 + 10 * line}" width="{wide:.1f}" height="9"/>')
        told = " / ".join(number(value, ".3f", of) for value, of in pair)
        parts.append(_text(142 + max(_length(value) for value, _ in pair) * scale, top + 16, told, "start"))
    return _svg(title, (len(rows) + 1) * _ROW + 6, parts)


def length_histogram(values: dict[str, Counter[int]]) -> Markup:
    """Rows by characters of questions and answers, ten bins a decade; `values` counts rows by length."""
    binned = {name: _binned(column) for name, column in values.items()}
    places = [place for column in binned.values() for place in column]
    if not places:
        return Markup("")
    bins = range(min(places), max(places) + 1)
    counts = {name: [column[place] for place in bins] for name, column in binned.items()}
    most = max(max(column) for column in counts.values()) or 1
    height, left = 150, 50
    step = (_WIDTH - left - 20) / len(bins)
    parts = [_text(left - 6, 14, f"{most:,}", "end"), _text(left - 6, height, "0", "end")]
    for place, b in enumerate(bins):
        for offset, (name, column) in enumerate(counts.items()):
            tall = column[place] / most * (height - 10)
            kind = "easy" if name == "question" else "hard"
            where = f'x="{left + (place + offset / 2) * step:.1f}" y="{height - tall:.1f}"'
            parts.append(f'<rect class="{kind}" {where} width="{step / 2 - 1:.1f}" height="{tall:.1f}"/>')
        if b % 5 == 0:
            parts.append(_text(left + place * step, height + 16, f"{10 ** (b / 10):,.0f}", "middle"))
    parts.append(_text(_WIDTH - 20, height + 32, "characters (log scale)", "end"))
    return _svg("Length of questions and answers", height + 40, parts)


def curve(points: Sequence[tuple[int, float]], title: str, control: tuple[str, float | None] = ("", None)) -> Markup:
    """Values by step, each point the mean of its share of at most 200; `control` is a named level to compare with."""
    if not points:
        return Markup("")
    shown = _means(points)
    name, level = control[0], control[1] if is_known(control[1]) else None
    levels = [value for _, value in shown] + ([] if level is None else [level])
    low, high = min(levels), max(levels)
    first, last = shown[0][0], max(shown[-1][0], shown[0][0] + 1)
    height, left = 180, 60

    def at(step: float, value: float) -> str:
        x = left + (step - first) / (last - first) * (_WIDTH - left - 20)
        return f"{x:.1f},{10 + (high - value) / ((high - low) or 1) * (height - 20):.1f}"

    parts = [f'<polyline class="line" points="{" ".join(at(*point) for point in shown)}"/>']
    if level is not None:
        parts.append(f'<polyline class="line control" points="{at(first, level)} {at(last, level)}"/>')
        parts.append(_text(_WIDTH - 20, float(at(last, level).split(",")[1]) - 5, name, "end"))
    parts += [_text(left - 6, 14, f"{high:.2f}", "end"), _text(left - 6, height - 8, f"{low:.2f}", "end")]
    parts += [
        _text(left, height + 14, f"{first:,.0f}", "start"),
        _text(_WIDTH - 20, height + 14, f"step {last:,.0f}", "end"),
    ]
    return _svg(title, height + 24, parts)


def image_url(plot: Markup) -> str:
    """A plot as a data URL that an <img> shows."""
    alone = str(plot).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    alone = alone.replace(">", f"><style>{_STYLE}</style>", 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(alone.encode()).decode()}"


def _length(value: float | None) -> float:
    """Of a bar: none for a value that is null."""
    return value if is_known(value) else 0.0


def _means(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    share = -(-len(points) // _MOST_POINTS)
    parts = [points[start : start + share] for start in range(0, len(points), share)]
    return [(sum(s for s, _ in part) / len(part), sum(v for _, v in part) / len(part)) for part in parts]


def _binned(lengths: Counter[int]) -> Counter[int]:
    bins: Counter[int] = Counter()
    for length, count in lengths.items():
        if length > 0:
            bins[int(log10(length) * 10)] += count
    return bins


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(title: str, height: int, parts: list[str]) -> Markup:
    body = "".join(parts)
    # Every text inside went through escape(); the rest are numbers.
    return Markup(f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {height}">{body}</svg>')  # nosec B704
