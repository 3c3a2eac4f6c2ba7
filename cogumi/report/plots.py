"""Two small plots as inline SVG: stacked bars by domain, and a histogram on a logarithmic axis.

No script, no library.
"""

from __future__ import annotations

from collections import Counter
from math import log10

from markupsafe import Markup, escape

_WIDTH = 640
_ROW = 24


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
