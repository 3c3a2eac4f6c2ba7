"""Acceptance: how many of a draft's proposals a target takes in speculative decoding, without decoding.

    found = acceptance(target_logits_TV, draft_logits_TV, tokens_T, proposals=5, temperature=1.0)
    found.alpha, found.length, found.share

The draft proposes K tokens; each is taken with probability min(1, p/q), up to the first that is not; then comes one
token of the target's own (Leviathan et al. 2023; Chen et al. 2023). Measured on text that the target wrote: since a
token y is proposed and taken with probability min(p(y), q(y)) and written with probability p(y), what is written came
from a proposal with probability min(1, q(y)/p(y)), independently at each place that a round gets to. So the rounds
that a text takes are expected exactly, by recursion from its end. Greedy (temperature 0): it did where the draft's
first choice is what was written.

Shape suffixes: T tokens of a text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Accepted:
    """Of one text. `alpha`: the probability that a proposal is taken, mean over its places: 1 - TV(p, q), or the share
    of equal first choices where decoding is greedy. The others are expected numbers of speculative decoding.
    """

    tokens: int
    alpha: float
    rounds: float
    proposed: float
    accepted: float

    @property
    def length(self) -> float:
        """Tokens a round: what was taken and the target's own."""
        return 1 + self.accepted / self.rounds

    @property
    def share(self) -> float:
        """Proposals taken, those after a refused one counted as refused."""
        return self.accepted / self.proposed


def acceptance(
    target_logits_TV: Tensor, draft_logits_TV: Tensor, tokens_T: Tensor, proposals: int, temperature: float
) -> Accepted:
    """What `proposals` tokens a round are worth on a text that the target wrote at `temperature`.

    Logits at a place are those that its token was drawn from; words that one model lacks are -inf there.
    """
    if temperature == 0:
        same_T = draft_logits_TV.argmax(-1) == tokens_T
        taken_T, alpha = same_T.double(), float(same_T.double().mean())
    else:
        p_TV, q_TV = ((logits.double() / temperature).softmax(-1) for logits in (target_logits_TV, draft_logits_TV))
        alpha = float(torch.minimum(p_TV, q_TV).sum(-1).mean())
        p_T, q_T = (x.gather(-1, tokens_T[:, None].long())[:, 0] for x in (p_TV, q_TV))
        taken_T = (q_T / p_T).clamp(max=1)
    return Accepted(len(tokens_T), alpha, *expected_rounds(taken_T.tolist(), proposals))


def expected_rounds(taken: Sequence[float], proposals: int) -> tuple[float, float, float]:
    """(rounds, proposed, accepted) that a text takes, where a proposal of its token i is taken with probability
    `taken[i]`. No more is proposed than the text has left.
    """
    end = len(taken)
    rounds, proposed, accepted = ([0.0] * (end + 1) for _ in range(3))
    for start in range(end - 1, -1, -1):
        most = min(proposals, end - start)
        rounds[start], proposed[start] = 1.0, float(most)
        reached = 1.0
        for count in range(most + 1):
            refused = 1 - taken[start + count] if count < most else 1.0
            after = min(start + count + 1, end)
            share = reached * refused
            rounds[start] += share * rounds[after]
            proposed[start] += share * proposed[after]
            accepted[start] += share * (count + accepted[after])
            reached *= 1 - refused
    return rounds[0], proposed[0], accepted[0]
