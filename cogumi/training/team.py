"""Team: the processes that train one adapter together, a device each, as torchrun starts them.

    with joined(device) as team:                     # or ALONE
        mine = team.share(episodes)                  # every size-th, from the process's own rank
        team.sum_gradients(parameters)

Each process has the frozen base, or a part of it, and all LoRA weights; the tasks of a step are shared out, and of what
comes back only LoRA gradients travel. As all add up the same numbers in the same order, all take the same step, and
none needs to be told what another decided.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from cogumi.errors import RunError

Thing = TypeVar("Thing")
_PATIENCE = timedelta(minutes=30)  # the longest that one process works while the others wait


@dataclass(frozen=True, slots=True)
class Team:
    """Process `rank` of `size`; `device` is where what is exchanged lies. A team of one exchanges nothing."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether it is this process that writes files and speaks for the team."""
        return self.rank == 0

    def share(self, things: Sequence[Thing]) -> list[Thing]:
        return list(things[self.rank :: self.size])

    def joined(self, rows: Tensor, count: int) -> Tensor:
        """The rows of everyone's share in the order that they were dealt from, as `share` deals them."""
        if self.size == 1:
            return rows
        whole = torch.zeros((count, *rows.shape[1:]), dtype=rows.dtype, device=self.device)
        whole[self.rank :: self.size] = rows.to(self.device)
        dist.all_reduce(whole)
        return whole.to(rows.device)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up everyone's gradients, in one exchange; those that nobody has stay away."""
        if self.size == 1:
            return
        own = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in own])
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in own])
        torch._foreach_copy_(own, [part.view_as(gradient) for part, gradient in zip(parts, own, strict=True)])

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Of everyone's numbers, place by place."""
        if self.size == 1:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(told)
        return [float(number) for number in told.tolist()]

    def most(self, number: int) -> int:
        """The largest of everyone's."""
        if self.size == 1:
            return number
        told = torch.tensor(number, device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return int(told)

    def any(self, here: bool) -> bool:
        """Whether it is so anywhere."""
        return bool(self.most(int(here)))

    def wait(self) -> None:
        """Until everyone has come here."""
        self.most(0)

    def in_step(self, groups: Iterable[Thing]) -> Iterator[tuple[Thing, bool]]:
        """The groups, and after them the last one again, not to be counted, until everyone is through: where the base
        is in parts, all must ask for them as often.
        """
        found = list(groups)
        for number in range(self.most(len(found))):
            yield found[min(number, len(found) - 1)], number < len(found)


ALONE = Team()


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team that torchrun's environment tells of; NCCL between GPUs, Gloo between CPUs."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Team(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()


def check_same(team: Team, weights: Iterable[Tensor]) -> None:
    """Raises RunError processes-differ where two processes of a team hold other weights."""
    if team.size == 1:
        return
    told = torch.stack([weight.detach().double().sum() for weight in weights]).to(team.device)
    low, high = told.clone(), told.clone()
    dist.all_reduce(low, dist.ReduceOp.MIN)
    dist.all_reduce(high, dist.ReduceOp.MAX)
    if not torch.equal(low, high):
        raise RunError("processes-differ", f"by up to {float((high - low).abs().max()):.2g} in the sum of a tensor")
