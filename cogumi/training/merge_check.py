"""Whether a merged model is base and adapter and nothing else, looked at without PEFT.

    found = check_weights(base, adapter, merged)                    # every tensor, one at a time
    found = check_outputs(base, adapter, merged, rows, "cpu")       # what both say on these rows

Of weights: each target is W + s B A, computed here in fp32, within the rounding of the precision it is stored in; all
others are the base's, bit for bit. Of outputs: base with adapter against base with W + s B A, both in fp32; and the
folder as it is stored against that, where the tolerance is what storing costs the unmerged model.

Shape suffixes: R response rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.errors import InputError, RunError
from cogumi.lm.chat import Encoded
from cogumi.lm.model import load_llama
from cogumi.lm.stored import EMBEDDING, StoredTensors
from cogumi.phases import report_phase
from cogumi.training.adapt import as_trained
from cogumi.training.adaptable import Adaptable, open_adaptable
from cogumi.training.merge import stored_dtype, untie

_PREFIX = "base_model.model."
_SAME = 1e-4
"""Largest difference of fp32 logits, as a share of the largest logit."""


@dataclass(frozen=True, slots=True)
class WeightsCheck:
    """Tensors that the adapter changes, tensors that it does not, and the largest error of a changed one as a share of
    its largest entry.
    """

    targets: int
    untouched: int
    max_rel_err: float


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one model's rows from another's: mean KL divergence (nats), share of rows with another argmax, mean absolute
    difference of the target's log-probability (nats).
    """

    kl: float
    argmax: float
    nll: float
    rows: int

    def within(self, other: Distance, eps: float) -> bool:
        """At most twice the other, and what rounding makes of nothing: two rows whose best two were nearly equal."""
        floors = (eps, 0.01 + 2 / self.rows, 100 * eps)
        mine, theirs = (self.kl, self.argmax, self.nll), (other.kl, other.argmax, other.nll)
        return all(one <= 2 * two + floor for one, two, floor in zip(mine, theirs, floors, strict=True))


@dataclass(frozen=True, slots=True)
class OutputsCheck:
    """`exact`: base and adapter against W + s B A, both in fp32, as a share of the largest logit. `stored`: the folder
    as it is stored, from that; `unmerged`: base and adapter in the same precision, from that.
    """

    exact: float
    stored: Distance
    unmerged: Distance


def check_weights(base: Path, adapter: Path, merged: Path) -> WeightsCheck:
    """Raises RunError merge-differs, which names the tensors; InputError adapter-unreadable, model-unreadable."""
    wrong: list[str] = []
    targets = untouched = 0
    worst = 0.0
    with ExitStack() as files:
        before, after = (StoredTensors(folder, files) for folder in (base, merged))
        changes = _changes(adapter)
        names = set(before.names) | {f"{module}.weight" for module in changes}
        wrong += sorted(f"{name}: in one of both only" for name in names ^ set(after.names))
        for name in sorted(names & set(after.names)):
            old, new = before.read(name if name in before.names else EMBEDDING), after.read(name)
            change = changes.get(name.removesuffix(".weight"))
            if change is None:
                untouched += 1
                wrong += [] if _same(old, new) else [f"{name}: not the base's"]
                continue
            targets += 1
            expected, allowed = _expected(old, new.dtype, change)
            error = (new.float() - expected).abs()
            worst = max(worst, float(error.max() / expected.abs().max()))
            wrong += [f"{name}: off by up to {float(error.max()):.3g}"] if not bool((error <= allowed).all()) else []
    if wrong:
        raise RunError("merge-differs", "; ".join(wrong[:3]) + (f"; {len(wrong) - 3} more" if len(wrong) > 3 else ""))
    return WeightsCheck(targets, untouched, worst)


def check_outputs(base: Path, adapter: Path, merged: Path, rows: Sequence[Encoded], device: str) -> OutputsCheck:
    """Raises RunError merge-differs, and as check_weights and open_adaptable."""
    dtype = stored_dtype(base)
    of = open_adaptable(str(base), adapter, torch.float32, device)
    found = _as_trained(of, rows)
    reference = _rows_of(_folded(of.model, _changes(adapter)), rows)
    del of  # the base in fp32
    exact = float((found - reference).abs().max() / reference.abs().max())
    targets = torch.cat([torch.tensor(row.ids[1:])[_trained(row)] for row in rows])
    stored = distance(reference, _rows_of(load_llama(str(merged), dtype, device), rows), targets)
    unmerged = distance(reference, _as_trained(open_adaptable(str(base), adapter, dtype, device), rows), targets)
    if not exact <= _SAME or not stored.within(unmerged, torch.finfo(dtype).eps):
        raise RunError("merge-differs", f"logits by {exact:.2g} in fp32; as stored {stored}, unmerged {unmerged}")
    return OutputsCheck(exact, stored, unmerged)


def distance(reference_RV: Tensor, other_RV: Tensor, targets_R: Tensor) -> Distance:
    """Of the second from the first, both logits."""
    p, q = reference_RV.double().log_softmax(-1), other_RV.double().log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).mean()
    argmax = (reference_RV.argmax(-1) != other_RV.argmax(-1)).double().mean()
    nll = (p - q).gather(1, targets_R[:, None]).abs().mean()
    return Distance(float(kl), float(argmax), float(nll), len(targets_R))


@dataclass(frozen=True, slots=True)
class _Lora:
    """Of one module: A (L x inputs) and B (outputs x L) in fp32, and s."""

    a: Tensor
    b: Tensor
    scale: float

    def moved(self) -> Tensor:
        """s B A."""
        return self.scale * (self.b @ self.a)

    def rounding(self) -> Tensor:
        """A bound of the rounding of s B A in fp32 (Higham 2002, equation 3.13)."""
        return torch.finfo(torch.float32).eps * (len(self.a) + 1) * self.scale * (self.b.abs() @ self.a.abs())


def _changes(adapter: Path) -> dict[str, _Lora]:
    """The LoRA of an adapter's folder, by module."""
    try:
        config: dict[str, Any] = orjson.loads((adapter / "adapter_config.json").read_bytes())
        with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
            read = {name.removeprefix(_PREFIX): file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        found = {}
        for module in sorted(name.removesuffix(".lora_A.weight") for name in read if name.endswith(".lora_A.weight")):
            last = module.rpartition(".")[2]
            alpha = config["alpha_pattern"].get(last, config["lora_alpha"])
            rank = config["rank_pattern"].get(last, config["r"])
            a, b = read.pop(f"{module}.lora_A.weight"), read.pop(f"{module}.lora_B.weight")
            found[module] = _Lora(a, b, alpha / rank)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError("adapter-unreadable", f"{adapter}: {error}") from None
    if read or config.get("use_rslora") or config.get("use_dora"):
        raise InputError("adapter-unreadable", f"{adapter}: more than LoRA ({', '.join(sorted(read)[:3])})")
    return found


def _expected(old: Tensor, stored: torch.dtype, change: _Lora) -> tuple[Tensor, Tensor]:
    """W + s B A in fp32, and how far rounding may take it from there: that of the change, then of the sum."""
    moved = change.moved()
    expected = old.float() + moved
    return expected, torch.finfo(stored).eps * (moved.abs() + expected.abs()) + change.rounding()


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _rows_of(model: LlamaForCausalLM, rows: Sequence[Encoded]) -> Tensor:
    """Logits where the loss is, of one row after another (RV, fp32, on the CPU)."""
    found = []
    with torch.no_grad():
        for number, row in enumerate(rows):
            report_phase("merge check: outputs", number, len(rows), "rows")
            logits = model(input_ids=torch.tensor([row.ids], device=model.device), use_cache=False).logits[0, :-1]
            found.append(logits[_trained(row).to(logits.device)].float().cpu())
    return torch.cat(found)


def _trained(row: Encoded) -> Tensor:
    """Of all places but the last: those whose next token carries the loss."""
    return torch.tensor(row.mask[1:], dtype=torch.bool)


def _as_trained(of: Adaptable, rows: Sequence[Encoded]) -> Tensor:
    with as_trained(of) as model:
        return _rows_of(model, rows)


def _folded(model: LlamaForCausalLM, changes: dict[str, _Lora]) -> LlamaForCausalLM:
    """The model itself, each target replaced by W + s B A."""
    if model.config.tie_word_embeddings and "lm_head" in changes:
        untie(model)
    with torch.no_grad():
        for module, change in changes.items():
            model.get_parameter(f"{module}.weight").add_(change.moved().to(model.device))
    return model
