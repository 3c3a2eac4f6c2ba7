"""What a draft is trained to lower: how far its next-token distribution q is from the target's p.

    loss = chunked_loss(hidden_ND, output_VD, Divergence.LK.of(soft))

A target's distribution is kept as its most probable words and the mass of all others together, so both are compared on
K+1 events; with K = V that is the whole distribution. On fewer events no divergence is larger (data processing).

    KL   sum p log(p/q)        cold start: its gradient is large where q is far from p (Hinton et al. 2015)
    TV   1 - sum min(p, q)     one less the probability that a proposal is taken (Leviathan et al. 2023, corollary 3.6)
    LK   -log sum min(p, q)    the logarithm of that probability: the gradient of TV over the acceptance, which does
                               not vanish where little is taken

Shape suffixes: N places, C places of a chunk, V vocabulary, D width, K words kept, E = K+1 events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from cogumi.training.output_loss import OfChunk, shares

_LEAST = 1e-30


@dataclass(frozen=True, slots=True)
class Soft:
    """The target's distribution at N places: words, their log-probabilities, and the log-probability of all others."""

    words_NK: Tensor
    log_p_NK: Tensor
    log_rest_N: Tensor

    def __len__(self) -> int:
        return len(self.words_NK)

    @staticmethod
    def joined(parts: Sequence[Soft]) -> Soft:
        """One after the other."""
        words, log_p, log_rest = ([getattr(part, name) for part in parts] for name in Soft.__slots__)
        return Soft(torch.cat(words), torch.cat(log_p), torch.cat(log_rest))

    def to(self, device: str) -> Soft:
        return Soft(self.words_NK.to(device), self.log_p_NK.to(device), self.log_rest_N.to(device))

    @property
    def log_p_NE(self) -> Tensor:
        return torch.cat([self.log_p_NK.float(), self.log_rest_N[:, None].float()], -1)


def soften(logits_NV: Tensor, keep: int, temperature: float = 1.0) -> Soft:
    """The `keep` most probable words of each place; all, and a rest of nothing, where the vocabulary is no larger."""
    log_p_NV = (logits_NV.float() / temperature).log_softmax(-1)
    keep = min(keep, log_p_NV.shape[-1])
    log_p_NK, words_NK = log_p_NV.topk(keep, dim=-1)
    return Soft(words_NK, log_p_NK, _rest(log_p_NV, words_NK))


class Divergence(StrEnum):
    """One of the three above, by the name that recipes use."""

    KL = "kl"
    TV = "tv"
    LK = "lk"

    def of(self, soft: Soft) -> OfChunk:
        """For `chunked_loss`: the loss of each place, in nats but for TV, and its gradient by the draft's logits."""
        log_p_NE = soft.log_p_NE

        def of_chunk(places: slice, logits_CV: Tensor) -> tuple[Tensor, Tensor]:
            words_CK = soft.words_NK[places].long()
            kept_CK = logits_CV.gather(-1, words_CK)
            rest_C1, share_CV = _rest_of(logits_CV, words_CK)
            events_CE = torch.cat([kept_CK.to(share_CV.dtype), rest_C1], -1)
            log_q_CE = events_CE - events_CE.logsumexp(-1, keepdim=True)
            loss_C, slope_CE = self._at(log_p_NE[places], log_q_CE)
            slope_CE = slope_CE - log_q_CE.exp() * slope_CE.sum(-1, keepdim=True)
            return loss_C, share_CV.mul_(slope_CE[:, -1:]).scatter_(-1, words_CK, slope_CE[:, :-1])

        return of_chunk

    def _at(self, log_p_CE: Tensor, log_q_CE: Tensor) -> tuple[Tensor, Tensor]:
        """Of each place the loss (C), and its derivative by each log q (CE)."""
        p_CE = log_p_CE.exp()
        if self is Divergence.KL:
            possible_CE = p_CE > 0
            difference_CE = torch.where(possible_CE, log_p_CE, 0.0) - torch.where(possible_CE, log_q_CE, 0.0)
            return (p_CE * difference_CE).sum(-1), -p_CE
        q_CE = log_q_CE.exp()
        taken_C = torch.minimum(p_CE, q_CE).sum(-1)
        less_CE = torch.where(q_CE < p_CE, -q_CE, 0.0)
        if self is Divergence.TV:
            return 1 - taken_C, less_CE
        taken_C = taken_C.clamp(min=_LEAST)
        return -taken_C.log(), less_CE / taken_C[:, None]


def _rest_of(logits_CV: Tensor, words_CK: Tensor) -> tuple[Tensor, Tensor]:
    """Of all other words, which go on alone: log of the sum of exp(logit), -inf where there are none, and the share of
    each.
    """
    if words_CK.shape[-1] == logits_CV.shape[-1]:
        share_CV = torch.zeros_like(logits_CV, dtype=torch.promote_types(logits_CV.dtype, torch.float32))
        return share_CV.new_full((len(share_CV), 1), -math.inf), share_CV
    return shares(logits_CV.scatter_(-1, words_CK, -math.inf))


def _rest(log_p_NV: Tensor, words_NK: Tensor) -> Tensor:
    """log of the mass of all other words; -inf where there are none."""
    if words_NK.shape[-1] == log_p_NV.shape[-1]:
        return log_p_NV.new_full(log_p_NV.shape[:1], -math.inf)
    return log_p_NV.scatter(-1, words_NK, -math.inf).logsumexp(-1)
