"""adapt(): the inner loop on a new task, applied without touching the model, and refused where it does not help."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.errors import InputError, RunError
from cogumi.lm.chat import Encoded
from cogumi.lm.model import load_llama
from cogumi.lm.stored import output_matrix
from cogumi.training.adapt import adapt, lasting, leave_one_out
from cogumi.training.adaptable import Adaptable, open_adaptable
from cogumi.training.adapter import save_adapter
from cogumi.training.algorithms import Algorithm, Episode, Inner, features
from cogumi.training.gain import query_losses
from cogumi.training.inner import adapt_head
from tests.unit.training.models import VOCABULARY, adapter, example, llama

HEADS = ["lm_head_lora", "final_hidden", "last_layers", "all"]
INNER = Inner(Algorithm.ANIL, 3, 1.0)
PROBE = torch.tensor([example(50).ids])


def of_one_task(count: int = 4, words: tuple[int, ...] = (5, 9, 31)) -> list[Encoded]:
    """Answers made of the same few words whatever is asked: a support set says what the others are like."""
    made = []
    for number in range(count):
        prompt = example(number).ids[:4]
        answer = [words[(number + at) % len(words)] for at in range(5 + number % 2)]
        made.append(Encoded([*prompt, *answer], [0] * 4 + [1] * len(answer)))
    return made


def of_no_task(count: int = 4) -> list[Encoded]:
    """Each answer is one word that no other has."""
    return [Encoded([*example(number).ids[:4], *[10 + number] * 6], [0] * 4 + [1] * 6) for number in range(count)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    llama(torch.float32, layers=2).save_pretrained(folder)
    return folder


def opened(base: Path, folder: Path, kind: str) -> Adaptable:
    body, head, weights = adapter(base, kind)
    save_adapter(folder, body, head, weights, INNER, "run/base")
    return open_adaptable(str(base), folder, torch.float32, "cpu")


def logits(model: LlamaForCausalLM) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=PROBE).logits
    return found


def bits(of: Adaptable) -> list[Tensor]:
    parts = (of.weights.slow, of.weights.head, of.weights.rates)
    return [p.detach().clone() for p in (*of.model.parameters(), *(w for part in parts for w in part.values()))]


@pytest.mark.parametrize("kind", HEADS)
def test_what_is_opened_is_what_was_trained(base: Path, tmp_path: Path, kind: str) -> None:
    body, head, weights = adapter(base, kind)
    of = opened(base, tmp_path, kind)
    assert (of.body.shape, of.head.cut, of.inner, of.base) == (body.shape, head.cut, INNER, "run/base")
    episode = Episode("", of_one_task(), of_one_task(2, (7, 8)))
    assert torch.equal(
        query_losses(of.body, of.head, of.weights, [episode], of.inner),
        query_losses(body, head, weights, [episode], INNER),
    )


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("steps", [None, 1, 5])
def test_fast_weights_are_those_of_the_inner_loop_and_nothing_else_moves(
    base: Path, tmp_path: Path, kind: str, steps: int | None
) -> None:
    of = opened(base, tmp_path, kind)
    before, examples, count = bits(of), of_one_task(), steps or 3
    found = adapt(of, examples, steps, check=False)
    with of.body.evaluating():
        (cached,) = features(of.body, of.head, of.body.prepared(of.weights.slow), [examples], of.inner)
        rates = lasting(of.weights.rates, count)
        slow_way, _ = adapt_head(of.head, cached, of.weights.head, rates, count, 1.0, second_order=False)
    assert found.fast.keys() == slow_way.keys() and found.gain is None
    for name, weight in slow_way.items():
        assert (found.fast[name] - weight).abs().max() <= 1e-5
        assert not torch.equal(found.fast[name], of.weights.head[name])
    assert all(map(torch.equal, before, bits(of)))


@pytest.mark.parametrize("kind", HEADS)
def test_the_gain_is_that_of_leaving_each_out_by_hand(base: Path, tmp_path: Path, kind: str) -> None:
    of, examples = opened(base, tmp_path, kind), of_one_task()
    found = adapt(of, examples)
    assert found.gain is not None and found.gain.mean > 0 and found.gain.n == 4
    by_hand = []
    for at in range(4):
        rest = [one for number, one in enumerate(examples) if number != at]
        losses = query_losses(of.body, of.head, of.weights, [Episode("", rest, [examples[at]])], of.inner)
        by_hand.append(float(losses[0, 0] - losses[0, 1]))
    assert found.gain.mean == pytest.approx(sum(by_hand) / 4, abs=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_as_a_context_it_is_what_peft_makes_of_the_saved_folder(base: Path, tmp_path: Path, kind: str) -> None:
    of = opened(base, tmp_path / "adapter", kind)
    before, plain = bits(of), logits(of.model)
    adaptation = adapt(of, of_one_task())
    with adaptation as adapted:
        assert adapted is of.model
        inside = logits(adapted)
    assert torch.equal(logits(of.model), plain) and all(map(torch.equal, before, bits(of)))
    adaptation.save(tmp_path / "saved")
    theirs = PeftModel.from_pretrained(load_llama(str(base), torch.float32, "cpu"), tmp_path / "saved")
    assert (inside - logits(theirs)).abs().max() <= 1e-5 * inside.abs().max()
    assert (inside - plain).abs().max() > 1e-2 * inside.abs().max(), "it does something"
    further = open_adaptable(str(base), tmp_path / "saved", torch.float32, "cpu")
    assert all(torch.equal(weight, further.weights.head[name]) for name, weight in adaptation.fast.items())
    assert adapt(further, of_one_task()).gain is not None, "it can be adapted further"


def test_what_bf16_has_adapted_is_folded_with_the_base_as_it_is_stored(base: Path, tmp_path: Path) -> None:
    opened(base, tmp_path / "adapter", "final_hidden")
    of = open_adaptable(str(base), tmp_path / "adapter", torch.bfloat16, "cpu")
    adaptation = adapt(of, of_one_task(), check=False)
    adaptation.save(tmp_path / "saved")
    folded = load_file(tmp_path / "saved" / "adapter_model.safetensors")["base_model.model.lm_head.lora_B.weight"]
    torch.testing.assert_close(folded, output_matrix(base) @ adaptation.fast["head.B"].float())


def test_an_adapted_model_generates_what_it_was_shown(base: Path, tmp_path: Path) -> None:
    """With a cache and step by step, as whoever uses it would; and the plain model afterwards as before."""
    of = opened(base, tmp_path, "lm_head_lora")
    for rate in of.weights.rates.values():
        rate.fill_(1.0)
    examples = of_one_task()

    def said(model: LlamaForCausalLM) -> list[list[int]]:
        prompts = torch.tensor([one.ids[:4] for one in examples])
        return model.generate(prompts, max_new_tokens=5, do_sample=False, pad_token_id=0)[:, 4:].tolist()  # type: ignore[no-any-return, operator]

    before, shown = said(of.model), [one.ids[4:9] for one in examples]
    with adapt(of, examples, steps=400, check=False) as adapted:
        assert said(adapted) == shown != before
    assert said(of.model) == before


def test_an_error_in_the_block_leaves_the_model_as_it_was(base: Path, tmp_path: Path) -> None:
    of = opened(base, tmp_path, "final_hidden")
    before, plain = bits(of), logits(of.model)
    adaptation = adapt(of, of_one_task())
    for _ in range(2):  # it can be entered again
        with pytest.raises(ZeroDivisionError), adaptation:
            1 / 0  # noqa: B018
        assert torch.equal(logits(of.model), plain) and all(map(torch.equal, before, bits(of)))
    with adaptation as adapted:
        inside = logits(adapted)
        with pytest.raises(RunError, match="adaptation-in-use"), adapt(of, of_one_task(words=(3, 4))):
            pass
        assert torch.equal(logits(adapted), inside), "refused, it changes nothing"
    assert not any(module._forward_hooks for module in of.model.modules())


def test_examples_that_do_not_help_each_other_are_refused(base: Path, tmp_path: Path) -> None:
    of = opened(base, tmp_path, "lm_head_lora")
    with pytest.raises(RunError, match=r"adaptation-no-gain\] -"):
        adapt(of, of_no_task(), steps=20)
    assert adapt(of, of_no_task(), steps=20, check=False).fast


def test_an_example_that_is_there_twice_does_not_vouch_for_itself(base: Path, tmp_path: Path) -> None:
    of = opened(base, tmp_path, "lm_head_lora")
    with pytest.raises(RunError, match=r"adaptation-no-gain.* over 4 examples"):
        adapt(of, of_no_task() * 2, steps=20)


def test_a_loss_that_is_no_number_is_no_gain(base: Path, tmp_path: Path) -> None:
    of = opened(base, tmp_path, "lm_head_lora")
    of.weights.rates["head.B"].fill_(float("nan"))
    with pytest.raises(RunError, match=r"adaptation-no-gain\] the loss is no longer finite"):
        adapt(of, of_one_task())


@pytest.mark.parametrize(
    ("examples", "steps", "told"),
    [
        ([], None, "adaptation-bad-input"),
        (of_one_task(1), None, "adaptation-bad-input"),
        (of_one_task(), 0, "adaptation-bad-input"),
        (of_one_task(1) * 5, None, "adaptation-bad-input"),
        ([*of_one_task(), Encoded([1, 2, 3], [0, 0, 0])], None, "example-without-loss"),
    ],
)
def test_too_little_to_adapt_by_is_told(
    base: Path, tmp_path: Path, examples: list[Encoded], steps: int | None, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        adapt(opened(base, tmp_path, "final_hidden"), examples, steps)


@pytest.mark.parametrize("file", ["meta.json", "adapter_config.json", "meta.safetensors"])
@pytest.mark.parametrize("damage", ["gone", "garbage", "empty"])
def test_an_adapter_that_cannot_be_read_is_told(base: Path, tmp_path: Path, file: str, damage: str) -> None:
    opened(base, tmp_path, "final_hidden")
    if damage == "gone":
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(b"[1" if damage == "garbage" else b"{}")
    with pytest.raises(InputError, match="adapter-unreadable"):
        open_adaptable(str(base), tmp_path, torch.float32, "cpu")


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    opened(base, tmp_path / "adapter", "final_hidden")
    llama(torch.float32, layers=1).save_pretrained(tmp_path / "other")
    config = orjson.loads((tmp_path / "other" / "config.json").read_bytes())
    assert config["vocab_size"] == VOCABULARY
    with pytest.raises(InputError, match="adapter-unreadable"):
        open_adaptable(str(tmp_path / "other"), tmp_path / "adapter", torch.float32, "cpu")


def test_leaving_one_out_is_every_one_once() -> None:
    examples = of_one_task()
    episodes = leave_one_out(examples)
    assert [episode.query for episode in episodes] == [[one] for one in examples]
    assert all(len(e.support) == 3 and e.query[0] not in e.support for e in episodes)
