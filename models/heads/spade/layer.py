"""The scores of SPADE as a Paddle layer, for a fused graph and for a GPU."""

import numpy as np
import paddle
from paddle import nn

from models.grids import covering
from models.layers import constant

# Distances of a picture's patches from those of one training picture, in memory at a time: 268 MB.
BAND_ELEMENTS = 2**26


class Scores(nn.Layer):
    """Stage maps [B,c,h,w], finest first → image scores [B] or None, and patch scores [B,h,w].

    The computation of `SPADEHead.score`, one picture of the gallery after the other. Its constants
    contain the maps of all training pictures.
    """

    def __init__(self, head):
        super().__init__()
        self.pools = head.settings.image_score == "pooled"
        self.k, self.kappa = min(head.settings.gallery, head.n), head.settings.kappa
        self.found = min(self.kappa, self.k * head.levels[0].places)
        self.levels = [(level.stages, level.channels, level.grid) for level in head.levels]
        places = head.levels[0].places
        rows = max(1, BAND_ELEMENTS // places)
        self.bands = [(start, min(start + rows, places)) for start in range(0, places, rows)]
        self.register_buffer("pooled", constant(head.pooled.astype(np.float32)))
        for i, level in enumerate(head.levels):
            # (g, |g|²), so that its product with (−2x, 1) is |x − g|² − |x|².
            extended = np.concatenate([level.gallery, level.norms[:, None]], axis=1)
            self.register_buffer(f"gallery{i}", constant(extended.transpose(0, 2, 1)))
            self.register_buffer(f"centre{i}", constant(level.centre[:, None]))
            if i:
                parent = covering(head.levels[i - 1].grid, level.grid)
                self.register_buffer(f"parent{i}", constant(parent))

    def forward(self, maps):
        pooled = maps[-1].mean(axis=[2, 3])
        away = pooled.unsqueeze(1) - self.pooled
        distances = (away * away).sum(axis=2)
        nearest, chosen = paddle.topk(distances, self.k, axis=1, largest=False)
        patches = self._patches(maps)
        factors = [
            paddle.concat([-2.0 * x, paddle.ones_like(x[:, :, :1])], axis=2) for x in patches
        ]
        values, places, pictures = [], [], []
        for k in range(self.k):
            picture = chosen[:, k] + 0  # a copy: Paddle 2.6 reads other columns of a view
            found, place = self._nearest(factors, picture)
            values.append(found)
            places.append(place)
            pictures.append(paddle.zeros_like(place) + picture.reshape([-1, 1, 1]))
        _, best = self._smallest(paddle.concat(values, axis=2))
        place = paddle.take_along_axis(paddle.concat(places, axis=2), best, 2)
        picture = paddle.take_along_axis(paddle.concat(pictures, axis=2), best, 2)
        scores = self._squares(patches, picture, place).mean(axis=2)
        image = nearest.mean(axis=1) if self.pools else None
        return image, scores.reshape([-1, *self.levels[0][2]])

    def _patches(self, maps):
        """The centred patches [B,P,c] of each level, finest first."""
        found = []
        for i in range(len(self.levels)):
            stages, channels, grid = self.levels[i]
            parts = [maps[j] for j in stages]
            stage = parts[0] if len(parts) == 1 else paddle.concat(parts, axis=1)
            centred = stage.reshape([-1, channels, grid[0] * grid[1]]) - getattr(self, f"centre{i}")
            found.append(centred.transpose([0, 2, 1]))
        return found

    def _nearest(self, factors, picture):
        """`_smallest` of |x − g|² − |x|² of all patches and those of one training picture each."""
        coarse, found, places = self._coarse(factors, picture), [], []
        gallery = self.gallery0.index_select(picture, axis=0)
        for i in range(len(self.bands)):
            values, place = self._smallest(self._band(i, factors[0], gallery, coarse))
            found.append(values)
            places.append(place)
        return paddle.concat(found, axis=1), paddle.concat(places, axis=1)

    def _band(self, i: int, factor, gallery, coarse):
        """|x − g|² − |x|² of the patches of a band: [B,rows,P]."""
        above = None if coarse is None else self.parent1
        if len(self.bands) > 1:
            rows = paddle.arange(*self.bands[i])
            factor = factor.index_select(rows, axis=1)
            above = None if coarse is None else above.index_select(rows)
        own = paddle.matmul(factor, gallery, transpose_y=True)
        if coarse is None:
            return own
        return own + coarse.index_select(above, axis=1).index_select(self.parent1, axis=2)

    def _coarse(self, factors, picture):
        """The sum over all levels but the finest, [B,P',P']; None if there is one level."""
        distances = None
        for i in range(len(self.levels) - 1, 0, -1):
            gallery = getattr(self, f"gallery{i}").index_select(picture, axis=0)
            own = paddle.matmul(factors[i], gallery, transpose_y=True)
            if distances is not None:
                parent = getattr(self, f"parent{i + 1}")
                own = own + distances.index_select(parent, axis=1).index_select(parent, axis=2)
            distances = own
        return distances

    def _smallest(self, values):
        """The `kappa` smallest [B,P,κ] of values [B,P,N], and their columns; all if N is less."""
        if self.kappa == 1:
            best = values.argmin(axis=2, keepdim=True)
            return paddle.take_along_axis(values, best, 2), best
        return paddle.topk(values, min(self.kappa, values.shape[2]), axis=2, largest=False)

    def _squares(self, patches, picture, place):
        """`Query.squares`: |x − g|² [B,P,κ] of patches and the chosen ones of the gallery."""
        picture, place, sums = picture.flatten(), place.flatten(), None
        for i in range(len(self.levels)):
            _, channels, (h, w) = self.levels[i]
            x = patches[i]
            for j in range(i, 0, -1):  # repeated on the finest grid
                x = x.index_select(getattr(self, f"parent{j}"), axis=1)
            if i:
                place = getattr(self, f"parent{i}").index_select(place)
            gallery = getattr(self, f"gallery{i}").reshape([-1, channels + 1])
            theirs = gallery.index_select(picture * (h * w) + place)[:, :channels]
            theirs = theirs.reshape([-1, x.shape[1], self.found, channels])
            away = theirs - x.unsqueeze(2)
            own = (away * away).sum(axis=3)
            sums = own if sums is None else sums + own
        return sums
