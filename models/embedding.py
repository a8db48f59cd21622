"""Stage maps → one d-channel patch embedding (Defard et al. 2020, section 3.1).

Channels are chosen stage by stage before anything is upsampled: the other 348 of
ResNet-18's 448 are never copied.
"""

from collections.abc import Sequence

import numpy as np


class PatchEmbedding:
    """A random choice of `dims` channels of the concatenated stages.

    Parameters
    ----------
    stage_channels : channels of each stage, in order, e.g. (64, 128, 256)
    channels : chosen indices into the concatenation of all stages, ascending
    """

    def __init__(self, stage_channels: Sequence[int], channels: Sequence[int]):
        self.channels = np.asarray(channels, np.int64)
        ends = np.cumsum(stage_channels)
        if len(self.channels) == 0 or (np.diff(self.channels) <= 0).any():
            raise ValueError("channels must be ascending, without repetition, and not empty")
        if self.channels[0] < 0 or self.channels[-1] >= ends[-1]:
            raise ValueError(f"channels must lie in 0…{ends[-1] - 1}")
        starts = ends - np.asarray(stage_channels)
        self.by_stage = [
            self.channels[(self.channels >= start) & (self.channels < end)] - start
            for start, end in zip(starts, ends, strict=True)
        ]

    @classmethod
    def draw(cls, stage_channels: Sequence[int], dims: int, seed: int) -> "PatchEmbedding":
        """A draw of `dims` channels by `seed`; kept with the model, never drawn again."""
        total = sum(stage_channels)
        if not 1 <= dims <= total:
            raise ValueError(f"dims must be 1…{total} (the channels there are), got {dims}")
        chosen = np.random.default_rng(seed).permutation(total)[:dims]
        return cls(stage_channels, np.sort(chosen))

    @property
    def dims(self) -> int:
        return len(self.channels)

    def assemble(self, maps: Sequence[np.ndarray], grid: tuple[int, int]) -> np.ndarray:
        """Chosen stage maps [B,c_i,H_i,W_i] → embedding [B,P,d], P = h·w of `grid`, float32.

        Each place of the grid takes the nearest place of every stage, so that a coarse
        stage is repeated, not blurred.
        """
        h, w = grid
        out = np.empty((len(maps[0]), h, w, self.dims), np.float32)
        start = 0
        for stage in maps:
            b, c, stage_h, stage_w = stage.shape
            if h % stage_h == 0 and w % stage_w == 0:
                tall, wide = h // stage_h, w // stage_w
                tiles = out.reshape(b, stage_h, tall, stage_w, wide, self.dims)
                source = stage.transpose(0, 2, 3, 1)[:, :, None, :, None]
                tiles[..., start : start + c] = source
            else:
                rows = np.arange(h) * stage_h // h
                columns = np.arange(w) * stage_w // w
                source = stage.transpose(0, 2, 3, 1)[:, rows[:, None], columns]
                out[..., start : start + c] = source
            start += c
        return out.reshape(len(out), h * w, self.dims)
