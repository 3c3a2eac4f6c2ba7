"""Packs: examples one after another without padding between them, with the rows that carry the loss.

A pack is one long sequence to every layer but attention, which keeps to the bounds of each example. Shape suffixes:
E examples, N tokens, R response rows: positions whose next token is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cogumi.errors import InputError
from cogumi.lm.chat import Encoded


@dataclass(frozen=True, slots=True)
class Pack:
    """Tensors of a pack, on one device.

    `positions_N` begin at 0 in each example. `starts` are the bounds of the segments, E+1 of them, one more where
    padding follows the last example; `bounds` the same as the kernel wants them (int32). `rows_R` index the tokens,
    `targets_R` are the tokens that follow them; `row_starts` bound the rows of each example, E+1 of them.
    """

    ids_N: Tensor
    positions_N: Tensor
    bounds: Tensor
    starts: list[int]
    rows_R: Tensor
    targets_R: Tensor
    row_starts: list[int]

    @property
    def examples(self) -> int:
        return len(self.row_starts) - 1

    @property
    def longest(self) -> int:
        """Tokens of the longest segment."""
        return max(after - before for before, after in zip(self.starts, self.starts[1:], strict=False))

    @property
    def tokens(self) -> int:
        """Tokens of the examples, without padding."""
        return self.starts[self.examples]

    def tokens_of(self, first: int, after: int) -> slice:
        """The tokens of the examples `first` up to `after`."""
        return slice(self.starts[first], self.starts[after])

    def rows_of(self, first: int, after: int) -> slice:
        """The rows of the examples `first` up to `after`."""
        return slice(self.row_starts[first], self.row_starts[after])

    def part(self, first: int, after: int) -> Pack:
        """The examples `first` up to `after` as a pack of their own, without padding; tensors are shared."""
        tokens, rows = self.tokens_of(first, after), self.rows_of(first, after)
        return Pack(
            self.ids_N[tokens],
            self.positions_N[tokens],
            self.bounds[first : after + 1] - tokens.start,
            [start - tokens.start for start in self.starts[first : after + 1]],
            self.rows_R[rows] - tokens.start,
            self.targets_R[rows],
            [start - rows.start for start in self.row_starts[first : after + 1]],
        )


def pack(examples: Sequence[Encoded], device: str = "cpu", bucket: int = 1) -> Pack:
    """One pack of these examples in their order, padded at its end to a multiple of `bucket` tokens.

    The padding is a segment of its own without rows, so that it touches nothing. Raises InputError example-without-loss
    for an example that has no token to train on.
    """
    if not examples:
        raise InputError("example-without-loss", "no example at all")
    ids: list[int] = []
    positions: list[int] = []
    rows: list[int] = []
    starts, row_starts = [0], [0]
    for number, example in enumerate(examples):
        rows += [len(ids) + at - 1 for at, trained in enumerate(example.mask) if trained and at]
        if len(rows) == row_starts[-1]:
            raise InputError("example-without-loss", f"example {number}: {len(example.ids)} tokens")
        ids += example.ids
        positions += range(len(example.ids))
        starts.append(len(ids))
        row_starts.append(len(rows))
    padding = -len(ids) % bucket
    if padding:
        ids += [0] * padding
        positions += range(padding)
        starts.append(len(ids))
    ids_N = torch.tensor(ids)
    rows_R = torch.tensor(rows)
    tensors = (ids_N, torch.tensor(positions), torch.tensor(starts, dtype=torch.int32), rows_R, ids_N[rows_R + 1])
    on_device = [tensor.to(device, non_blocking=True) for tensor in tensors]
    ids_N, positions_N, bounds, rows_R, targets_R = on_device
    return Pack(ids_N, positions_N, bounds, starts, rows_R, targets_R, row_starts)
