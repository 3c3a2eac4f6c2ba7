"""Meta-gradients, in fp64: against finite differences, against the plain loop, and by what must hold of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, Inner, MetaWeights, meta_loss
from cogumi.training.attention import plain
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head, LastLayers, OutputHead
from cogumi.training.inner import new_rates
from cogumi.training.lora import LoraShape, Weights, layer_of, new_lora
from cogumi.training.packing import pack
from tests.unit.training.models import episode, llama, stirred

HEADS = ("lm_head_lora", "final_hidden", "last_layers")
ALL = [(algorithm, head) for algorithm in Algorithm if not algorithm.all_fast for head in HEADS]
ALL += [(algorithm, "all") for algorithm in Algorithm if algorithm.all_fast]
EPISODES = [episode(n) for n in range(4)]
STEPS, CLIP = 3, 2.0
RATES = {"lm_head_lora": 0.5, "final_hidden": 0.5, "last_layers": 0.2, "all": 0.005}  # above, the loss is a cliff


def made(algorithm: Algorithm, kind: str) -> tuple[LlamaBody, Head, MetaWeights]:
    body = LlamaBody(llama(), LoraShape(4, 8), plain)
    heads: dict[str, Head] = {
        "lm_head_lora": OutputHead(body, 4, 8),
        "final_hidden": OutputHead(body, 4, 8, on_hidden=True),
        "last_layers": LastLayers(body, 2),
        "all": LastLayers(body, 0),
    }
    head = heads[kind]
    lora = stirred(new_lora(body.config, body.shape, 0), 5)
    slow = {name: weight for name, weight in lora.items() if layer_of(name) < head.cut}
    fast = stirred(head.new(1), 6)
    rates = {name: rate.double().requires_grad_() for name, rate in new_rates(fast, STEPS, RATES[kind]).items()}
    return body, head, MetaWeights(slow, fast, rates)


def leaves(weights: MetaWeights) -> list[Tensor]:
    return [*weights.slow.values(), *weights.head.values(), *weights.rates.values()]


def gradient(loss: Tensor, weights: MetaWeights) -> list[Tensor]:
    found = torch.autograd.grad(loss, leaves(weights), allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(leaves(weights), found, strict=True)]


def relative(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    a, b = (torch.cat([part.detach().flatten() for part in parts]) for parts in (one, other))
    return float((a - b).norm() / b.norm())


def naive_loss(body: LlamaBody, head: Head, weights: MetaWeights, episodes: Sequence[Episode], inner: Inner) -> Tensor:
    """The algorithms as they are written: one example at a time, the whole model at every step, torch's own losses."""

    def loss_of(examples: Sequence[Encoded], fast: Weights) -> Tensor:
        logits, targets = [], []
        for one in examples:
            packed = pack([one])
            lora = {**weights.slow, **{n: w for n, w in fast.items() if not n.startswith("head")}}
            h = body.normed(body.run(packed, body.prepared(lora))[packed.rows_R])
            if isinstance(head, OutputHead):
                a, b, scale = fast["head.A"], fast["head.B"], head.scale
                if head.on_hidden:
                    logits.append((h + scale * (h @ a.T) @ b.T) @ body.vocabulary_VD.T)
                else:
                    logits.append(h @ body.vocabulary_VD.T + scale * (h @ a.T) @ b.T)
            else:
                logits.append(h @ body.vocabulary_VD.T)
            targets.append(packed.targets_R)
        return functional.cross_entropy(torch.cat(logits), torch.cat(targets))

    def adapted(examples: Sequence[Encoded]) -> Weights:
        fast, second = weights.head, inner.algorithm.second_order
        for step in range(inner.steps):
            g = torch.autograd.grad(loss_of(examples, fast), list(fast.values()), create_graph=second)
            norm = torch.sqrt(sum((part**2).sum() for part in g))
            factor = CLIP / norm if norm > CLIP else torch.ones(())
            fast = {n: w - weights.rates[n][step] * factor * part for (n, w), part in zip(fast.items(), g, strict=True)}
        return fast

    losses = []
    for one in episodes:
        if inner.algorithm is Algorithm.SFT:
            losses.append(loss_of(one.query, weights.head))
        elif inner.algorithm is Algorithm.REPTILE:
            fast = adapted([*one.support, *one.query])
            losses.append(sum((w * (w - fast[n]).detach()).sum() for n, w in weights.head.items()))
        elif inner.algorithm is Algorithm.ANIL_CROSS:
            losses += [loss_of(one.query, adapted(one.support)), loss_of(one.support, adapted(one.query))]
        else:
            losses.append(loss_of(one.query, adapted(one.support)))
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("algorithm", "kind"), ALL)
def test_cached_and_packed_is_the_plain_loop(algorithm: Algorithm, kind: str) -> None:
    body, head, weights = made(algorithm, kind)
    inner = Inner(algorithm, STEPS, CLIP, bucket=16)
    fast, _ = meta_loss(body, head, weights, EPISODES[:2], inner)
    slow = naive_loss(body, head, weights, EPISODES[:2], inner)
    assert abs(float((fast - slow).detach())) <= 1e-12 * abs(float(slow.detach()))
    assert relative(gradient(fast, weights), gradient(slow, weights)) <= 1e-12


@pytest.mark.parametrize(("algorithm", "kind"), [p for p in ALL if p[0].second_order or p[0] is Algorithm.SFT])
def test_the_gradient_is_the_slope_of_the_whole_objective(algorithm: Algorithm, kind: str) -> None:
    """Directional finite difference through the inner loop: what is left out of a gradient shows here."""
    body, head, weights = made(algorithm, kind)
    inner = Inner(algorithm, STEPS, None)
    loss, _ = meta_loss(body, head, weights, EPISODES[:2], inner)
    found = gradient(loss, weights)
    chance = torch.Generator().manual_seed(0)
    along = [torch.randn(w.shape, dtype=torch.float64, generator=chance) for w in leaves(weights)]
    expected = sum(float((g * d).sum()) for g, d in zip(found, along, strict=True))

    def at(step: float) -> float:
        moved = iter([(w.detach() + step * d).requires_grad_() for w, d in zip(leaves(weights), along, strict=True)])
        there = MetaWeights(*({name: next(moved) for name in part} for part in
                              (weights.slow, weights.head, weights.rates)))  # fmt: skip
        return float(meta_loss(body, head, there, EPISODES[:2], inner)[0].detach())

    h = 1e-5  # five points, error of order h^4
    slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    assert abs(slope - expected) <= 1e-6 * abs(expected)


@pytest.mark.parametrize("algorithm", [Algorithm.ANIL1, Algorithm.FOMAML])
def test_the_first_order_is_not_the_slope(algorithm: Algorithm) -> None:
    """The control of the test above: it can tell a gradient with terms left out."""
    kind = "all" if algorithm.all_fast else "final_hidden"
    body, head, weights = made(algorithm, kind)
    exact = Algorithm.MAML if algorithm.all_fast else Algorithm.ANIL
    first, _ = meta_loss(body, head, weights, EPISODES[:2], Inner(algorithm, STEPS))
    second, _ = meta_loss(body, head, weights, EPISODES[:2], Inner(exact, STEPS))
    assert float(first.detach()) == pytest.approx(float(second.detach()), rel=1e-12)
    assert relative(gradient(first, weights), gradient(second, weights)) > 1e-3


@pytest.mark.parametrize(("algorithm", "kind"), ALL)
def test_the_gradient_of_four_tasks_is_the_mean_of_theirs_in_any_order(algorithm: Algorithm, kind: str) -> None:
    body, head, weights = made(algorithm, kind)
    inner = Inner(algorithm, STEPS, CLIP)
    together = gradient(meta_loss(body, head, weights, EPISODES, inner)[0], weights)
    singles = [gradient(meta_loss(body, head, weights, [one], inner)[0], weights) for one in EPISODES]
    mean = [torch.stack(parts).mean(0) for parts in zip(*singles, strict=True)]
    assert relative(together, mean) <= 1e-12
    backwards = gradient(meta_loss(body, head, weights, EPISODES[::-1], inner)[0], weights)
    assert relative(together, backwards) <= 1e-12


@pytest.mark.parametrize(("algorithm", "kind"), [p for p in ALL if p[0] not in (Algorithm.SFT, Algorithm.REPTILE)])
def test_without_a_step_it_is_sft(algorithm: Algorithm, kind: str) -> None:
    body, head, weights = made(algorithm, kind)
    if algorithm is Algorithm.ANIL_CROSS:  # scores both halves
        episodes = [Episode(e.task, (), half) for e in EPISODES for half in (e.support, e.query)]
    else:
        episodes = EPISODES
    sft, _ = meta_loss(body, head, weights, episodes, Inner(Algorithm.SFT, 0))
    still = MetaWeights(weights.slow, weights.head, {n: torch.zeros_like(r) for n, r in weights.rates.items()})
    unmoved, _ = meta_loss(body, head, still, EPISODES, Inner(algorithm, STEPS, CLIP))
    count = len(weights.slow) + len(weights.head)
    assert relative(gradient(unmoved, weights)[:count], gradient(sft, weights)[:count]) <= 1e-12


@pytest.mark.parametrize("kind", ["lm_head_lora", "final_hidden"])
def test_of_fresh_weights_the_step_moves_b_and_then_a(kind: str) -> None:
    """B is zero at first: A gets its gradient from the second step on, and from the query."""
    body, head, _ = made(Algorithm.ANIL, kind)
    fresh = {name: w.double().requires_grad_() for name, w in head.new(1).items()}
    one = head.cache(body.run(pack(EPISODES[0].support), {}), pack(EPISODES[0].support), 0, 3)
    _, first = head.gradient(head.before_steps(one, False), fresh, second_order=False)
    assert not first["head.A"].any() and first["head.B"].any()
    lora = stirred(new_lora(body.config, body.shape, 0), 5)
    rates = {n: r.double() for n, r in new_rates(fresh, STEPS, RATES[kind]).items()}
    loss, _ = meta_loss(body, head, MetaWeights(lora, fresh, rates), EPISODES, Inner(Algorithm.ANIL, STEPS))
    assert all(part.any() for part in torch.autograd.grad(loss, list(fresh.values())))


def test_a_change_of_the_hidden_state_folds_into_the_output_matrix() -> None:
    body, head, weights = made(Algorithm.ANIL, "final_hidden")
    assert isinstance(head, OutputHead)
    folded = OutputHead(body, 4, 8)
    a, b = head.low(weights.head)
    packed = pack(EPISODES[0].query)
    cached = head.cache(body.run(packed, body.prepared(weights.slow)), packed, 0, 3)
    one, other = head.loss(cached, weights.head), folded.loss(cached, {"head.A": a, "head.B": b})
    assert float(one.detach()) == pytest.approx(float(other.detach()), rel=1e-14)


def test_chunks_change_nothing() -> None:
    from cogumi.training.loss import rows_gradient, rows_loss

    chance = torch.Generator().manual_seed(0)
    h, w = (torch.randn(n, 8, dtype=torch.float64, generator=chance).requires_grad_() for n in (13, 21))
    a, b = (torch.randn(*s, dtype=torch.float64, generator=chance).requires_grad_() for s in ((3, 8), (21, 3)))
    targets = torch.randint(0, 21, (13,), generator=chance)
    whole = functional.cross_entropy(h @ w.T + 0.7 * (h @ a.T) @ b.T, targets, reduction="sum") / 13
    expected = torch.autograd.grad(whole, (h, a, b), create_graph=True)
    again = torch.autograd.grad(sum(part.pow(2).sum() for part in expected[1:]), (h, a, b))
    for chunk in (1, 5, 100):
        loss = rows_loss(h, w.detach(), targets, 1 / 13, (a, b), 0.7, chunk)
        assert float((loss - whole).detach().abs()) <= 1e-13
        assert relative(torch.autograd.grad(loss, (h, a, b)), expected) <= 1e-13
        loss, *written = rows_gradient(h @ w.detach().T, h, targets, 1 / 13, (a, b), 0.7, chunk)
        assert relative(written, expected[1:]) <= 1e-13
        twice = torch.autograd.grad(sum(part.pow(2).sum() for part in written), (h, a, b))
        assert relative(twice, again) <= 1e-12
