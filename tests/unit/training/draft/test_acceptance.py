"""Acceptance against speculative decoding itself, played out with a Markov chain for each of the two models."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
import torch
from torch import Tensor

from cogumi.training.draft.acceptance import Accepted, acceptance, expected_rounds

WORDS, LENGTH, END = 5, 9, 0
Chain = list[list[float]]


def chains(seed: int, apart: float) -> tuple[Tensor, Tensor]:
    """Logits of the next word by the last one: the target's, and a draft's that differs by `apart`."""
    chance = torch.Generator().manual_seed(seed)
    target = torch.randn(WORDS, WORDS, generator=chance) * 1.5
    return target, target + apart * torch.randn(WORDS, WORDS, generator=chance)


def drawn(weights: list[float], chance: Random) -> int:
    return chance.choices(range(WORDS), weights)[0]


def decode(p: Chain, q: Chain, proposals: int, chance: Random) -> tuple[list[int], Counter[str]]:
    """Speculative sampling as it is published, until the end word or LENGTH words."""
    text, count = [1], Counter[str]()

    def ended() -> bool:
        return text[-1] == END or len(text) > LENGTH

    while not ended():
        count["rounds"] += 1
        proposed, last = [], text[-1]
        for _ in range(proposals):
            last = drawn(q[last], chance)
            proposed.append(last)
        for word in proposed:
            count["reached"] += 1
            if chance.random() < p[text[-1]][word] / q[text[-1]][word]:
                text.append(word)
                count["accepted"] += 1
                if ended():
                    break
            else:
                text.append(drawn([max(0, a - b) for a, b in zip(p[text[-1]], q[text[-1]], strict=True)], chance))
                break
        else:
            text.append(drawn(p[text[-1]], chance))
    return text[1:], count


@pytest.mark.parametrize(("proposals", "apart"), [(1, 1.0), (3, 1.0), (5, 0.4)])
def test_rounds_and_what_is_taken_are_those_of_decoding(proposals: int, apart: float) -> None:
    """Both sides on texts of their own: decoded ones, and ones that the target wrote by itself. The control, the other
    way round (the target proposes to the draft), is another number.
    """
    chance = Random(1)
    target, draft = chains(3, apart)
    p, q = target.softmax(-1).tolist(), draft.softmax(-1).tolist()
    played = Counter[str]()
    for _ in range(3000):
        played += decode(p, q, proposals, chance)[1]
    found, other = [], []
    for _ in range(3000):
        text = [1]
        while text[-1] != END and len(text) <= LENGTH:
            text.append(drawn(p[text[-1]], chance))
        before, tokens = torch.tensor(text[:-1]), torch.tensor(text[1:])
        found.append(acceptance(target[before], draft[before], tokens, proposals, 1.0))
        other.append(acceptance(draft[before], target[before], tokens, proposals, 1.0))

    def per_round(all_of: list[Accepted]) -> float:
        return sum(a.accepted for a in all_of) / sum(a.rounds for a in all_of)

    assert sum(a.rounds for a in found) / 3000 == pytest.approx(played["rounds"] / 3000, rel=0.03)
    assert per_round(found) == pytest.approx(played["accepted"] / played["rounds"], rel=0.03)
    assert per_round(other) != pytest.approx(played["accepted"] / played["rounds"], rel=0.06)


def test_greedy_rounds_are_those_of_a_walk() -> None:
    """Each text and each pattern of agreement, walked through round by round."""
    for length in range(1, 8):
        for pattern in range(2**length):
            agrees = [bool(pattern >> place & 1) for place in range(length)]
            for proposals in (1, 2, 5):
                rounds = proposed = accepted = place = 0
                while place < length:
                    most = min(proposals, length - place)
                    taken = 0
                    while taken < most and agrees[place + taken]:
                        taken += 1
                    rounds, proposed, accepted = rounds + 1, proposed + most, accepted + taken
                    place += taken + 1
                found = expected_rounds([float(a) for a in agrees], proposals)
                assert found == (rounds, proposed, accepted)


def test_alpha_is_one_less_total_variation_and_words_may_be_missing() -> None:
    target, draft = chains(0, 0.7)
    draft[:, 4] = -math.inf
    tokens = torch.tensor([1, 4, 2, 3, 0])
    p, q = target.double().softmax(-1), draft.double().softmax(-1)
    found = acceptance(target, draft, tokens, 3, 1.0)
    assert found.alpha == pytest.approx(float(1 - (p - q).abs().sum(-1).mean() / 2), abs=1e-12)
    hot = acceptance(target, draft, tokens, 3, 2.0)
    p, q = (target.double() / 2).softmax(-1), (draft.double() / 2).softmax(-1)
    assert hot.alpha == pytest.approx(float(1 - (p - q).abs().sum(-1).mean() / 2), abs=1e-12)


def test_a_draft_that_is_the_target_is_taken_whole_and_one_that_is_always_wrong_never() -> None:
    target, _ = chains(0, 0)
    tokens = target.argmax(-1)
    same, never = (acceptance(target, draft, tokens, 4, 0.0) for draft in (target, -target))
    assert (same.alpha, same.rounds, same.accepted, same.proposed) == (1, 1, 4, 4) and same.length == 5
    assert (never.alpha, never.rounds, never.length, never.share) == (0, 5, 1, 0)
    assert acceptance(target, target, tokens, 4, 1.0).share == pytest.approx(1)
