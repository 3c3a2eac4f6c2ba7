"""The body: transformers' logits, PEFT's LoRA, packs that do not leak."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AttentionInterface

from cogumi.errors import InputError
from cogumi.training.attention import by_example, for_windows, plain
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.lora import ATTENTION, MODULES, LoraShape, fused, new_lora, prepared, sizes
from cogumi.training.packing import Pack, pack
from tests.unit.training.models import VOCABULARY, example, llama, stirred

EXAMPLES = [example(n, prompt=2 + n, response=7 - n) for n in range(5)]


def logits_of(body: LlamaBody, packed: Pack, lora: dict[str, Tensor]) -> Tensor:
    hidden_ND = body.run(packed, body.prepared(lora))
    return body.normed(hidden_ND) @ body.vocabulary_VD.T


@pytest.mark.parametrize("scaled", [False, True], ids=["rope", "llama3-rope"])
@pytest.mark.parametrize("attention", [plain, by_example])
def test_packed_logits_are_those_of_transformers_on_a_padded_batch(attention, scaled: bool) -> None:  # type: ignore[no-untyped-def]
    model = llama(torch.float32, scaled=scaled)
    packed = pack(EXAMPLES, bucket=16)
    ours = logits_of(LlamaBody(model, LoraShape(4, 8), attention), packed, {})
    longest = max(len(e.ids) for e in EXAMPLES)
    ids = torch.tensor([e.ids + [0] * (longest - len(e.ids)) for e in EXAMPLES])
    seen = torch.tensor([[1] * len(e.ids) + [0] * (longest - len(e.ids)) for e in EXAMPLES])
    theirs = model(input_ids=ids, attention_mask=seen).logits
    for number, (start, end) in enumerate(pairwise(packed.starts[: len(EXAMPLES) + 1])):
        assert (ours[start:end] - theirs[number, : end - start]).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("attention", [plain, by_example])
def test_over_windows_it_is_transformers_own(attention) -> None:  # type: ignore[no-untyped-def]
    """How a base is trained on a card: logits and gradients are those of the attention that transformers brings."""
    AttentionInterface.register("tried", for_windows(attention))
    model = llama(torch.float64)
    windows = torch.randint(0, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(0))

    def logits_and_gradients() -> list[Tensor]:
        logits = model(input_ids=windows, use_cache=False).logits
        return [logits, *torch.autograd.grad(logits.pow(2).mean(), list(model.parameters()))]

    theirs = logits_and_gradients()
    model.set_attn_implementation("tried")
    for found, expected in zip(logits_and_gradients(), theirs, strict=True):
        assert (found - expected).abs().max() <= 1e-10 * (1 + expected.abs().max())


@pytest.mark.parametrize("modules", [MODULES, ATTENTION, ("k_proj", "down_proj")])
def test_lora_is_pefts(modules: tuple[str, ...]) -> None:
    model = llama(torch.float32)
    shape = LoraShape(4, 8, modules=modules)
    lora = {name: w.float().detach() for name, w in stirred(new_lora(model.config, shape, 0), 5).items()}
    packed = pack(EXAMPLES[:1])
    ours = logits_of(LlamaBody(model, shape), packed, lora)
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=list(modules)))
    state = dict(wrapped.named_parameters())
    assert sum(w.numel() for w in lora.values()) == sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    with torch.no_grad():
        for name, weight in lora.items():
            _, layer, module, part = name.split(".")
            where = "self_attn" if module in ATTENTION else "mlp"
            state[f"base_model.model.model.layers.{layer}.{where}.{module}.lora_{part}.default.weight"].copy_(weight)
        theirs = wrapped(input_ids=packed.ids_N[None]).logits[0]
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("attention", [plain, by_example])
def test_no_example_sees_another(attention) -> None:  # type: ignore[no-untyped-def]
    """Change one and the others stay as they are, to the last bit, and get no gradient from its loss."""
    body = LlamaBody(llama(), LoraShape(4, 8), attention)
    packed = pack(EXAMPLES, bucket=16)
    x_ND = body.embed(packed).detach().requires_grad_()
    before = body.run(packed, {}, hidden_ND=x_ND)
    middle = packed.tokens_of(2, 3)
    (gradient,) = torch.autograd.grad(before[middle].pow(2).sum(), x_ND)
    outside = torch.ones(len(x_ND), dtype=torch.bool)
    outside[middle] = False
    assert not gradient[outside].any() and gradient[middle].any()
    after = body.run(packed, {}, hidden_ND=torch.where(outside[:, None], x_ND, x_ND + 1))
    assert torch.equal(after[outside], before[outside])


def test_a_pack_is_what_its_parts_are() -> None:
    packed = pack(EXAMPLES, bucket=16)
    assert packed.tokens == sum(len(e.ids) for e in EXAMPLES) and len(packed.ids_N) % 16 == 0
    assert packed.targets_R.tolist() == [i for e in EXAMPLES for i, t in zip(e.ids, e.mask, strict=True) if t]
    part, alone = packed.part(1, 3), pack(EXAMPLES[1:3])
    for name in ("ids_N", "positions_N", "bounds", "rows_R", "targets_R"):
        assert torch.equal(getattr(part, name), getattr(alone, name)), name
    assert (part.starts, part.row_starts, part.longest) == (alone.starts, alone.row_starts, alone.longest)


def test_layers_can_be_run_in_two_parts() -> None:
    body = LlamaBody(llama(), LoraShape(4, 8))
    lora, packed = stirred(new_lora(body.config, body.shape, 0), 5), pack(EXAMPLES)
    halfway = body.run(packed, body.prepared(lora), after=2)
    assert torch.equal(
        body.run(packed, body.prepared(lora), first=2, hidden_ND=halfway), body.run(packed, body.prepared(lora))
    )


def test_what_is_kept_changes_memory_alone() -> None:
    gradients = []
    for keep in Keep:
        body = LlamaBody(llama(), LoraShape(4, 8, dropout=0.1), keep=keep)
        lora = stirred(new_lora(body.config, body.shape, 0), 5)
        torch.manual_seed(3)
        squares = body.run(pack(EXAMPLES), body.prepared(lora)).pow(2).sum()
        gradients.append(torch.autograd.grad(squares, list(lora.values())))
    assert all(
        torch.equal(one, other) for found in gradients[1:] for one, other in zip(gradients[0], found, strict=True)
    )


@pytest.mark.parametrize("modules", [MODULES, ATTENTION, ("k_proj", "down_proj")])
def test_weights_prepared_by_one_operation_are_those_prepared_by_many(modules: tuple[str, ...]) -> None:
    body = LlamaBody(llama(), LoraShape(4, 8, modules=modules))
    lora = stirred(new_lora(body.config, body.shape, 0), 5)
    found = []
    assert prepared({}, body.shape, body.arithmetic) == fused({}, body.shape, body.arithmetic) == {}
    for prepare in (prepared, fused):
        squares = body.run(pack(EXAMPLES), prepare(lora, body.shape, body.arithmetic)).pow(2).sum()
        found.append([squares.detach(), *torch.autograd.grad(squares, list(lora.values()))])
    assert all(((one - other).abs() <= 1e-6 * one.abs().max()).all() for one, other in zip(*found, strict=True))


def test_dropout_is_of_training_alone_and_of_what_lora_reads() -> None:
    body = LlamaBody(llama(), LoraShape(4, 8, dropout=0.5))
    lora, packed = stirred(new_lora(body.config, body.shape, 0), 5), pack(EXAMPLES)
    one, other = body.run(packed, body.prepared(lora)), body.run(packed, body.prepared(lora))
    assert not torch.equal(one, other)
    assert torch.equal(body.run(packed, {}), body.run(packed, {}))
    body.training = False
    assert torch.equal(body.run(packed, body.prepared(lora)), body.run(packed, body.prepared(lora)))


@pytest.mark.parametrize("layers", [1, 2])
def test_fresh_lora_changes_nothing(layers: int) -> None:
    body = LlamaBody(llama(layers=layers), LoraShape(4, 8))
    assert torch.equal(
        body.run(pack(EXAMPLES), body.prepared(new_lora(body.config, body.shape, 0))), body.run(pack(EXAMPLES), {})
    )


def test_a_model_that_is_no_plain_llama_is_refused() -> None:
    model = llama()
    model.config.attention_bias = True
    with pytest.raises(InputError, match="model-unsupported"):
        LlamaBody(model, LoraShape(4, 8))
    with pytest.raises(InputError, match="lora-bad-shape"):
        LoraShape(4, 8, modules=("q_proj", "lm_head"))
    with pytest.raises(InputError, match="example-without-loss"):
        pack([example(1, prompt=3, response=0)])


def test_shapes_of_the_presets_have_the_sizes_that_arithmetic_gives() -> None:
    """SPEC_NOTES: r=64 on 7 modules of the 8B is 167.8M, not 62M; r=16 is 41.9M."""
    config = llama().config
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 4096, 14336, 32
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 32, 8, 128
    a_layer = sum(sum(size) for _, size in sizes(config))
    assert round(64 * 32 * a_layer / 1e6, 1) == 167.8 and round(16 * 32 * a_layer / 1e6, 1) == 41.9
