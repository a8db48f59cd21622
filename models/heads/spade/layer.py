"""The scores of SPADE as a Paddle layer, for a fused graph."""

import numpy as np
import paddle
from paddle import nn

from models.grids import covering
from models.layers import constant


class Scores(nn.Layer):
    """Stage maps [B,c,h,w], finest first → image scores [B] or None, and patch scores [B,h,w].

    The computation of `SPADEHead.score`, one picture of the gallery after the other. Its constants
    contain the maps of all training pictures.
    """

    def __init__(self, head):
        super().__init__()
        self.pools = head.settings.image_score == "pooled"
        self.k, self.kappa = min(head.settings.gallery, head.n), head.settings.kappa
        self.levels = [(level.stages, level.channels, level.grid) for level in head.levels]
        self.register_buffer("pooled", constant(head.pooled.astype(np.float32)))
        for i, level in enumerate(head.levels):
            # (g, |g|²), so that its product with (−2x, 1) is |x − g|² − |x|².
            extended = np.concatenate([level.gallery, level.norms[:, None]], axis=1)
            self.register_buffer(f"gallery{i}", constant(extended))
            self.register_buffer(f"centre{i}", constant(level.centre[:, None]))
            if i:
                parent = covering(head.levels[i - 1].grid, level.grid)
                self.register_buffer(f"parent{i}", constant(parent))

    def forward(self, maps):
        pooled = maps[-1].mean(axis=[2, 3])
        away = pooled.unsqueeze(1) - self.pooled
        distances = (away * away).sum(axis=2)
        nearest, chosen = paddle.topk(distances, self.k, axis=1, largest=False)
        factors, squares = self._queries(maps)
        best = None
        for k in range(self.k):
            found = self._smallest(self._distances(factors, chosen[:, k]))
            if best is None:
                best = found
            elif self.kappa == 1:
                best = paddle.minimum(best, found)
            else:
                best = self._smallest(paddle.concat([best, found], axis=2))
        scores = paddle.clip(best.mean(axis=2) + squares, min=0.0)
        image = nearest.mean(axis=1) if self.pools else None
        return image, scores.reshape([-1, *self.levels[0][2]])

    def _queries(self, maps):
        """Of each level, the patches as (−2x, 1) [B,P,c+1]; |x|² [B,P] of all levels together."""
        factors, squares = [], None
        for i in range(len(self.levels) - 1, -1, -1):
            stages, channels, grid = self.levels[i]
            parts = [maps[j] for j in stages]
            stage = parts[0] if len(parts) == 1 else paddle.concat(parts, axis=1)
            x = stage.reshape([-1, channels, grid[0] * grid[1]]) - getattr(self, f"centre{i}")
            # With oneDNN, Paddle 3.3's `square` of a tensor that is used again gives wrong sums.
            own = (x * x).sum(axis=1, keepdim=True)
            factors.append(paddle.concat([-2.0 * x, paddle.ones_like(own)], axis=1))
            if squares is not None:
                own = own + squares.index_select(getattr(self, f"parent{i + 1}"), axis=2)
            squares = own
        turned = [factor.transpose([0, 2, 1]) for factor in factors[::-1]]
        return turned, squares.squeeze(1)

    def _distances(self, factors, picture):
        """|x − g|² − |x|² of all patches and those of one training picture each: [B,P,P]."""
        distances = None
        for i in range(len(self.levels) - 1, -1, -1):
            gallery = getattr(self, f"gallery{i}").index_select(picture, axis=0)
            own = paddle.matmul(factors[i], gallery)
            if distances is not None:
                parent = getattr(self, f"parent{i + 1}")
                own = own + distances.index_select(parent, axis=1).index_select(parent, axis=2)
            distances = own
        return distances

    def _smallest(self, distances):
        """The `kappa` smallest [B,P,κ] of distances [B,P,N]; all if there are not more."""
        if self.kappa == 1:
            return distances.min(axis=2, keepdim=True)
        if distances.shape[2] <= self.kappa:
            return distances
        return paddle.topk(distances, self.kappa, axis=2, largest=False)[0]
