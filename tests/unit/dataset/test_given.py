"""Files of questions in which no row can be used: the reasons in words, the unknown domains by name, the known ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cogumi.dataset.given import read_questions
from cogumi.domain import DOMAINS
from cogumi.errors import InputError
from cogumi.recipe import GivenSection


def refused(tmp_path: Path, rows: list[Any], defaults: GivenSection | None = None) -> InputError:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(row if isinstance(row, str) else f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(InputError) as caught:
        read_questions([file], defaults or GivenSection())
    return caught.value


def row(**more: Any) -> dict[str, Any]:
    return {"question": "How long is an egg boiled?", "domain": "math", "difficulty": "easy", **more}


def test_unknown_domains_are_named_most_frequent_first_with_the_known_ones(tmp_path: Path) -> None:
    error = refused(tmp_path, [row(domain="law"), row(domain="Cookery"), row(domain="Cookery")])
    assert error.code == "domain-unknown"
    assert error.detail == (
        "3 rows read, none usable: 3 rows of an unknown domain; unknown domains: Cookery, law; "
        f"there are {', '.join(DOMAINS)}"
    )


def test_of_many_unknown_domains_the_rest_is_counted(tmp_path: Path) -> None:
    error = refused(tmp_path, [row(domain=f"field {number}") for number in range(13)])
    assert "field 9, and 3 more; there are" in error.detail and "field 10" not in error.detail


def test_every_reason_is_said_in_words_with_its_count(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"prompt_": 1}, row(domain=""), row(domain=""), row(difficulty=""), row(difficulty="medium"), row(question="short"),
        row(question="x" * 12_001), row(domain="cookery"), "{broken\n", "[1]\n",
    ]  # fmt: skip
    error = refused(tmp_path, rows)
    assert error.code == "questions-unreadable" and "{" not in error.detail
    for words in (
        "10 rows read, none usable: 2 rows without a domain; ",
        "1 row without a question",
        "1 row without a difficulty",
        "1 row of an unknown difficulty (known: easy, hard)",
        "1 row with a question of less than 8 characters",
        "1 row with a question of more than 12,000 characters",
        "1 row of an unknown domain",
        "1 row of broken JSON",
        "1 row without a JSON object",
        "unknown domain: cookery; there are coding, ",
    ):
        assert words in error.detail, (words, error.detail)


def test_a_file_without_rows_is_said_to_hold_none(tmp_path: Path) -> None:
    error = refused(tmp_path, [])
    assert error.code == "questions-unreadable" and error.detail == "0 rows read, none usable: the files hold no row"


def test_a_recipes_domain_for_rows_without_one_may_be_spelled_as_rows_spell_it() -> None:
    assert GivenSection(domain="Common Sense").domain == "Common Sense"
