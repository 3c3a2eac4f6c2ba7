"""When a model thinks: counted on one that was taught when to, beside one that was not; against answers word by word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from cogumi.lm.chat import PLAIN, Encoded, encode_example, response_text
from cogumi.lm.tokenizer import TrainingTokenizer, train_tokenizer
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import write_jsonl
from cogumi.training.clusters import read_items
from cogumi.training.draft.answers import prompt_of
from cogumi.training.merged import _outputs, _thinking, held_out_of
from cogumi.training.thinking import Prompts, prompts_of, thinking
from tests.unit.evaluate.models import chat_model
from tests.unit.training.draft.models import model as small

EASY, HARD = "name the colour {}", "prove the claim {}"
DRAFTED = response_text("yes", "first", "then", PLAIN)


@pytest.fixture(scope="module")
def words() -> TrainingTokenizer:
    return train_tokenizer([EASY, HARD, DRAFTED, "red"], 280)


def rows(words: TrainingTokenizer, numbers: range) -> list[tuple[str, Encoded]]:
    made = [("easy", encode_example(words, EASY.format(number), "red")) for number in numbers]
    return made + [("hard", encode_example(words, HARD.format(number), DRAFTED)) for number in numbers]


@pytest.fixture(scope="module")
def taught(words: TrainingTokenizer) -> LlamaForCausalLM:
    """Direct on easy questions, with a draft on hard ones."""
    torch.manual_seed(0)
    made = small().requires_grad_(True).train()
    made.resize_token_embeddings(words.vocab_size)
    optimizer, chosen = torch.optim.AdamW(made.parameters(), 3e-3), rows(words, range(12))
    for _ in range(150):
        losses = []
        for _, row in chosen:
            logits = made(torch.tensor([row.ids[:-1]])).logits[0]
            asked = torch.tensor(row.mask[1:], dtype=torch.bool)
            losses.append(functional.cross_entropy(logits[asked], torch.tensor(row.ids[1:])[asked]))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
    return made.requires_grad_(False).eval()


def asked(words: TrainingTokenizer) -> Prompts:
    found: dict[str, list[list[int]]] = {"easy": [], "hard": []}
    for difficulty, row in rows(words, range(20, 30)):
        found[difficulty].append(prompt_of(row))
    return found


def test_what_it_was_taught_is_counted_and_what_it_was_not_is_not(
    words: TrainingTokenizer, taught: LlamaForCausalLM
) -> None:
    fresh = small()
    fresh.resize_token_embeddings(words.vocab_size)
    told = thinking({"base": lambda: fresh, "merged": lambda: taught}, asked(words), words)
    shares = {(row["model"], row["difficulty"]): row["thinks"] for row in told}
    assert shares == {("base", "easy"): 0, ("base", "hard"): 0, ("merged", "easy"): 0, ("merged", "hard"): 1}
    assert all(row["direct"] == 1 - row["thinks"] and row["prompts"] == 10 for row in told)
    assert all(row["thinks_ci95"][0] <= row["thinks"] <= row["thinks_ci95"][1] for row in told)


def test_it_agrees_with_answers_made_word_by_word(words: TrainingTokenizer, taught: LlamaForCausalLM) -> None:
    questions = asked(words)
    for row in thinking({"m": lambda: taught}, questions, words):
        count = 0
        for prompt in questions[row["difficulty"]]:
            ids = list(prompt)
            while len(ids) < len(prompt) + 24 and (len(ids) == len(prompt) or ids[-1] != words.eot):
                ids.append(int(taught(torch.tensor([ids])).logits[0, -1].argmax()))
            count += words.decode(ids[len(prompt) :]).startswith("<draft>")
        assert row["thinks"] == count / len(questions[row["difficulty"]])


def test_a_dataset_without_held_out_rows_has_neither_rows_nor_prompts(tmp_path: Path) -> None:
    """A part of a small dataset may have no row, and so no file."""
    base = chat_model(tmp_path / "base")
    row = {"prompt": "What?", "response": "That.",
           "metadata": {"domain": "Math", "task_type": "word problems", "difficulty": "easy"}}  # fmt: skip
    assert held_out_of(tmp_path / "none", str(base), PLAIN) is None
    for parts, rows, prompts in (
        ((), 0, 0),
        (("test",), 0, 1),
        (("validation",), 1, 1),
        (("validation", "test"), 1, 2),
    ):
        place = tmp_path / "-".join(("dataset", *parts))
        with new_artifact(place, "generate_dataset", "x", {}, 1) as made:
            for part in parts:
                write_jsonl(made.path / f"{part}.jsonl", [row])
        found = held_out_of(place, str(base), PLAIN)
        assert found is not None and len(found.rows) == rows and sum(map(len, found.asked.values())) == prompts
        if not prompts:
            assert _outputs(base, base, base, found) == {"outputs_not_compared": "too few held-out rows (0)"}
            assert _thinking(base, base, found) == {"thinking_not_measured": "too few held-out prompts (0)"}


def test_prompts_are_those_that_nothing_was_trained_on(words: TrainingTokenizer, tmp_path: Path) -> None:
    def row(prompt: str, difficulty: str) -> dict[str, object]:
        more = {"draft": "a", "thinking": "b"} if difficulty == "hard" else {}
        metadata = {"domain": "Math", "task_type": "sum", "difficulty": difficulty}
        return {"prompt": prompt, "response": "red", "metadata": metadata, **more}

    write_jsonl(tmp_path / "train.jsonl", [row("trained", "easy")])
    write_jsonl(tmp_path / "validation.jsonl", [row("one", "easy"), row("two", "hard")])
    write_jsonl(tmp_path / "test.jsonl", [row("three", "hard"), row("four " * 100, "hard")])
    found = prompts_of(read_items(tmp_path, words, PLAIN, 100, parts=("validation", "test"), drop_long=True))
    assert {difficulty: len(prompts) for difficulty, prompts in found.items()} == {"easy": 1, "hard": 2}
    assert "one" in words.decode(found["easy"][0]) and words.decode(found["hard"][1]).count("<|eot_id|>") == 1
