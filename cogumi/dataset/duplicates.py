"""Exact duplicates, refused on arrival: same question after case, spacing and outer punctuation are set aside.

Near-duplicates need more care (a blind MinHash would delete half of the valid procedural rows) and are a stage of
their own.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

_SPACE = re.compile(r"\s+")


@lru_cache(maxsize=1 << 12)  # the rows at hand: a large cache would keep every text of a run in memory
def fingerprint(text: str) -> str:
    """16 hex digits; equal for questions that differ only in case, spacing, Unicode form or final punctuation."""
    plain = _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold().rstrip(" .?!")
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
