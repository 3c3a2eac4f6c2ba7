"""Parsing what models return: golden cases by kind of damage, and properties that hold for any text."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.parse import clean, parse_questions, parse_verdicts
from cogumi.dataset.tags import parse_tagged
from cogumi.dataset.tolerant_json import objects_in
from cogumi.teachers.procedural.phrasing import phrase_hard_answer, phrase_list

TWO = "What is two plus two?"
THREE = "What is three plus three?"
CASES = {
    "plain": (json.dumps([{"question": TWO}]), [TWO]),
    "fenced": (f'```json\n[{{"question": "{TWO}"}}]\n```', [TWO]),
    "fence without end": (f'```json\n[{{"question": "{TWO}"}}]', [TWO]),
    "prose around, brackets in it": (f'Sure [1]:\n[{{"question": "{TWO}"}}]\nBye [ok]', [TWO]),
    "trailing commas": (f'[{{"question": "{TWO}",}}, {{"question": "{THREE}"}},]', [TWO, THREE]),
    "single quotes": ("[{'question': 'What\\'s \"two\" plus two?', 'topic': None}]", ['What\'s "two" plus two?']),
    "raw backslashes": ('[{"question": "Compute \\alpha + \\sum_i x_i now"}]', ["Compute \\alpha + \\sum_i x_i now"]),
    "backslash f": ('[{"question": "Compute \\frac{1}{2} for me"}]', ["Compute \\frac{1}{2} for me"]),
    "backslash t": ('[{"question": "Compute 3 \\times 4 for \\theta"}]', ["Compute 3 \\times 4 for \\theta"]),
    "cut off": (f'[{{"question": "{TWO}"}}, {{"question": "What is thr', [TWO]),
    "two arrays": (f'[{{"question": "{TWO}"}}] and [{{"question": "{THREE}"}}]', [TWO, THREE]),
    "objects by line": (f'{{"question": "{TWO}"}}\n{{"question": "{THREE}"}}', [TWO, THREE]),
    "NaN": (f'[{{"question": "{TWO}", "score": NaN}}]', [TWO]),
    "doubled keys keep the first": (f'[{{"question": "{TWO}", "question": "{THREE}"}}]', [TWO]),
    "control characters": ('[{"question": "What is \x01two\nplus two?"}]', ["What is two\nplus two?"]),
    "escaped control characters": ('[{"question": "What is\\u0000 two plus two?"}]', [TWO]),
    "half a surrogate": ('[{"question": "What is \\ud83d two?"}]', ["What is \ufffd two?"]),
    "numbered list": (f"Here:\n1. {TWO}\n2) {THREE}\n", [TWO, THREE]),
    "bullet list": (f"- {TWO}\n* {THREE}\n", [TWO, THREE]),
    "list of texts": (json.dumps([TWO, THREE]), [TWO, THREE]),
    "wrapped in an object": (json.dumps({"questions": [{"question": TWO}]}), [TWO]),
    "one object": (json.dumps({"question": TWO, "tags": ["a"]}), [TWO]),
    "another key": (json.dumps([{"prompt": TWO}]), [TWO]),
    "Python's words": (f"[{{'question': '{TWO}', 'ok': True, 'x': None}}]", [TWO]),
    "byte order mark": ("\ufeff" + json.dumps([{"question": TWO}]), [TWO]),
}
REJECTED = {
    "prose": ("I cannot help with that.", "not-a-list"),
    "nothing": ("  \n", "empty-reply"),
    "a number": ("42", "not-a-list"),
    "no field": ('[{"answer": "4"}]', "no-question-field"),
    "not text": ('[{"question": 42}]', "question-not-text"),
    "too short": ('[{"question": "Why?"}]', "too-short"),
    "too long": (json.dumps([{"question": "x" * 13_000}]), "too-long"),
    "not an object": ("[[1, 2]]", "not-an-object"),
    "deep arrays": ("[" * 50_000, "not-a-list"),
    "deep objects": ('{"a":' * 20_000, "not-a-list"),
    "huge": ("[" + "x" * (1 << 21), "not-a-list"),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_can_be_read_is_read(kind: str) -> None:
    reply, expected = CASES[kind]
    assert [(q.text, q.reason) for q in parse_questions(reply)] == [(text, "") for text in expected]


@pytest.mark.parametrize("kind", REJECTED)
def test_the_rest_is_rejected_with_a_reason(kind: str) -> None:
    reply, reason = REJECTED[kind]
    assert [q.reason for q in parse_questions(reply)] == [reason]


@given(st.text(max_size=400))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_parsers(reply: str) -> None:
    assert parse_questions(reply)
    parse_verdicts(reply)
    parse_tagged(reply)
    objects_in(reply)


@given(
    st.lists(
        st.text(
            alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs")), min_size=9, max_size=60
        ).filter(lambda t: len(t.strip()) >= 8),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_sound_json_gives_back_its_texts(texts: list[str]) -> None:
    assert [q.text for q in parse_questions(json.dumps([{"question": text} for text in texts]))] == [
        clean(text) for text in texts
    ]


@given(st.integers(0, 10_000), st.integers(2, 10))
@settings(max_examples=200, deadline=None)
def test_untidy_forms_lose_at_most_what_was_cut_off(seed: int, count: int) -> None:
    rows = [{"question": f"What is {n} plus {seed}, times 'two' and \"three\"?", "topic": "sum"} for n in range(count)]
    found = [q.text for q in parse_questions(phrase_list(rows, Random(seed))) if not q.reason]
    asked = [row["question"] for row in rows]
    assert found == asked[: len(found)] and len(found) >= int(count * 0.8) - 1


def test_scores_are_read_and_impossible_ones_left_out() -> None:
    reply = """```json
[{"id": 1, "clarity": "8/10", "relevance": 9, "difficulty": 7.5, "quality": "8"},
 {"id": 2, "clarity": 11, "relevance": 9, "difficulty": 7, "quality": 8},
 {"id": "3", "clarity": 1, "relevance": 2, "difficulty": 3, "quality": 4},
 {"id": 4, "clarity": 1, "relevance": 2, "difficulty": 3},
 {"id": 5, "clarity": true, "relevance": 2, "difficulty": 3, "quality": 4},
 {"id": 3, "clarity": 9, "relevance": 9, "difficulty": 9, "quality": 9}]
```"""
    assert {number: verdict.scores for number, verdict in parse_verdicts(reply).items()} == {
        1: {"clarity": 8.0, "relevance": 9.0, "difficulty": 7.5, "quality": 8.0},
        3: {"clarity": 1.0, "relevance": 2.0, "difficulty": 3.0, "quality": 4.0},
    }


BODY = "<thinking>\n[DRAFT]\nd\n[CRITIQUE]\nc\n[REVISED]\nr\n</thinking>\n\n<answer>\na\n</answer>"
TAGGED = {
    "as asked": BODY,
    "other case": BODY.replace("thinking", "Thinking").replace("answer", "ANSWER").replace("DRAFT", "Draft"),
    "no closing answer": BODY.removesuffix("\n</answer>"),
    "no closing thinking": BODY.replace("\n</thinking>", ""),
    "no thinking tags": BODY.replace("<thinking>\n", "").replace("\n</thinking>", ""),
    "marked up": BODY.replace("[DRAFT]", "**[DRAFT]**").replace("[CRITIQUE]", "## [Critique]:"),
    "tags for sections": BODY.replace("[DRAFT]\nd", "<draft>d</draft>")
    .replace("[CRITIQUE]", "<critique>")
    .replace("[REVISED]", "<revised>"),
    "nested answer": BODY.replace("<answer>\na\n</answer>", "<answer>\n<answer>a</answer>\n</answer>"),
    "spaces in tags": BODY.replace("<answer>", "< answer >").replace("</answer>", "< / answer >"),
    "words around": "Of course!\n" + BODY + "\nHope it helps.",
}


@pytest.mark.parametrize("kind", TAGGED)
def test_tags_are_found_however_they_are_written(kind: str) -> None:
    found = parse_tagged(TAGGED[kind])
    assert found.reason == "" and found.reasoning is not None
    assert (found.reasoning.draft, found.reasoning.critique, found.reasoning.revised, found.answer) == (
        "d",
        "c",
        "r",
        "a",
    )


def test_tags_inside_code_are_code() -> None:
    code = "```html\n<answer>no</answer>\n[DRAFT]\n```"
    found = parse_tagged(
        BODY.replace("\nd\n", f"\n{code}\n").replace("\na\n", "\nUse `</answer>` and:\n```\n</answer>\n```\n")
    )
    assert found.reasoning is not None and found.reasoning.draft == code
    assert found.answer == "Use `</answer>` and:\n```\n</answer>\n```"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("just words", "no-answer-tag"),
        (BODY.replace("\na\n", "\n"), "empty-answer"),
        (BODY.replace("[CRITIQUE]\nc\n", ""), "no-critique"),
        (BODY.replace("\nd\n", "\n"), "no-draft"),
        ("<answer>a</answer>", "no-draft"),
    ],
)
def test_what_is_missing_is_named(text: str, reason: str) -> None:
    assert parse_tagged(text).reason == reason


@given(st.integers(0, 5000))
@settings(max_examples=100, deadline=None)
def test_untidy_answers_are_read(seed: int) -> None:
    found = parse_tagged(phrase_hard_answer(("one", "two"), "check it", "41", "42", Random(seed), untidy=True))
    assert (found.reason, found.answer) == ("", "42")


@pytest.mark.parametrize(
    "same", ["what is  two plus two", "WHAT IS TWO PLUS TWO?!", " What is two plus two? ", "What is\ntwo plus two."]
)
def test_fingerprints_ignore_case_space_and_final_marks(same: str) -> None:
    assert fingerprint(same) == fingerprint(TWO)


def test_fingerprints_keep_numbers_and_words_apart() -> None:
    assert len({fingerprint(text) for text in (TWO, THREE, "What is 2 + 2?", "What is 2 - 2?", "What is 22?")}) == 5
