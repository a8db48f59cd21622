"""The scores as a Paddle layer, for a fused graph and for a GPU."""

import numpy as np
import paddle
from paddle import nn

from models.heads.patchcore.patches import Patches
from models.heads.patchcore.search import AXES, Search
from models.layers import constant

# Of the bank, whose distances from all patches of a batch are in memory at a time: 13 MB for a
# picture with 28 × 28 places.
ENTRIES = 4096


class BankScores(nn.Layer):
    """Stage maps [B,c,h,w], finest first → image scores [B] and patch scores [B,h,w].

    The same as `models.heads.patchcore.PatchCoreHead.score`. The exact search computes all
    distances; the approximate one all lower bounds, as `search.nearest` does.
    """

    def __init__(self, patches: Patches, search: Search, neighbours: int):
        super().__init__()
        bank, mean = search.bank, search.mean
        self.grid, self.upsampled = patches.grid, sorted(patches.matrices)
        for i, pair in patches.matrices.items():
            for side, matrix in zip(("rows", "columns"), pair, strict=True):
                self.register_buffer(f"{side}{i}", constant(matrix))
        centred = bank - mean
        self.entries, self.neighbours = len(bank), min(neighbours, len(bank))
        self.register_buffer("mean", constant(mean))
        self.register_buffer("bank", constant(centred))
        self.register_buffer("halves", constant(np.einsum("md,md->m", centred, centred) / 2))
        self.exact, self.tails = search.exact, patches.dims >= AXES
        if not self.exact:
            self._keep_short(search)

    def _keep_short(self, search: Search) -> None:
        """The short vectors of the entries and the axes that they are on, as in `Search`."""
        self.register_buffer("axes", constant(search.axes[:, : AXES - 1]))
        short = -search.factors[0][:, :-1]
        if self.tails:
            self.register_buffer("rest", constant(search.axes[:, AXES - 1 :]))
        else:
            short = short[:, :-1]  # without the norm of no coordinates, which is 0
        self.register_buffer("short", constant(short))

    def forward(self, maps):
        h, w = self.grid
        patches = self._patches(maps)
        flat = patches.reshape([-1, patches.shape[2]])
        if self.exact:
            nearest = self._nearest(patches, self.bank)
        else:
            nearest = self._nearest(self._shortened(patches), self.short)
        distances = _norm(flat - self.bank.index_select(nearest.flatten(), axis=0))
        distances = distances.reshape([-1, h * w])
        return self._image(patches, nearest, distances), distances.reshape([-1, h, w])

    def _patches(self, maps):
        """Patches [B,h·w,D], centred."""
        seen = []
        for i in range(len(maps)):
            stage = maps[i]
            if i in self.upsampled:
                stage = paddle.matmul(stage, getattr(self, f"columns{i}"))
                stage = paddle.matmul(getattr(self, f"rows{i}"), stage)
            seen.append(stage)
        joined = paddle.concat(seen, axis=1) if len(seen) > 1 else seen[0]
        return joined.flatten(2).transpose([0, 2, 1]) - self.mean

    def _shortened(self, patches):
        """The short vectors [B,h·w,·] of centred patches."""
        kept = paddle.matmul(patches, self.axes)
        if not self.tails:
            return kept
        tail = _norm(paddle.matmul(patches, self.rest)).unsqueeze(2)
        return paddle.concat([kept, tail], axis=2)

    def _nearest(self, vectors, entries):
        """Indices [B,h·w] of those of `entries` [M,·] that are nearest to `vectors` [B,h·w,·]."""
        smallest = index = None
        for start in range(0, self.entries, ENTRIES):
            stop = min(start + ENTRIES, self.entries)
            products = paddle.matmul(vectors, entries[start:stop], transpose_y=True)
            halves = self.halves[start:stop] - products
            value, place = halves.min(axis=2), halves.argmin(axis=2) + start
            if smallest is None:
                smallest, index = value, place
            else:
                index = paddle.where(value < smallest, place, index)
                smallest = paddle.minimum(value, smallest)
        return index

    def _image(self, patches, nearest, distances):
        """Equation 7, as `weighted` computes it."""
        largest = distances.max(axis=1)
        if self.entries == 1:
            return largest
        worst = nn.functional.one_hot(distances.argmax(axis=1), distances.shape[1])
        query = paddle.matmul(worst.unsqueeze(1), patches)  # [B,1,D]
        entry = (worst * nearest.astype("float32")).sum(axis=1).round().astype("int64")
        centre = self.bank.index_select(entry, axis=0)
        halves = self.halves - paddle.matmul(centre, self.bank, transpose_y=True)
        _, near = paddle.topk(halves, self.neighbours, axis=1, largest=False)
        others = self.bank.index_select(near.flatten(), axis=0)
        others = _norm(others.reshape([-1, self.neighbours, patches.shape[2]]) - query)
        top = others.max(axis=1, keepdim=True)
        part = paddle.exp(largest - top.squeeze(1)) / paddle.exp(others - top).sum(axis=1)
        return (1 - part) * largest


def _norm(difference):
    return paddle.sqrt((difference * difference).sum(axis=-1))
