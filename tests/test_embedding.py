import numpy as np
import pytest

from models.embedding import PatchEmbedding

STAGES = (4, 6, 8)


def maps(sizes, batch=2):
    rng = np.random.default_rng(1)
    return [
        rng.random((batch, c, *size)).astype(np.float32)
        for c, size in zip(STAGES, sizes, strict=True)
    ]


def selected(embedding, stages):
    return [
        stage[:, chosen]
        for stage, chosen in zip(stages, embedding.by_stage, strict=True)
        if len(chosen)
    ]


def upsampled(stages, grid):
    """All channels at the grid, by Paddle's own nearest neighbour."""
    import paddle.nn.functional as F  # noqa: N812
    from paddle import concat, to_tensor

    up = [F.interpolate(to_tensor(s), size=grid, mode="nearest") for s in stages]
    return concat(up, axis=1).numpy()


@pytest.mark.parametrize("sizes", [((8, 8), (4, 4), (2, 2)), ((7, 9), (4, 5), (2, 3))])
def test_assembled_is_chosen_channels_of_all_stages_upsampled(sizes):
    embedding = PatchEmbedding.draw(STAGES, 9, seed=3)
    stages, grid = maps(sizes), sizes[0]
    out = embedding.assemble(selected(embedding, stages), grid)
    expected = upsampled(stages, grid)[:, embedding.channels]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, expected.reshape(2, 9, -1).transpose(0, 2, 1))


def test_positions_run_along_rows_first():
    embedding = PatchEmbedding((1,), [0])
    stage = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    assert embedding.assemble([stage], (2, 3)).ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_the_draw_depends_on_the_seed_alone():
    first, again, other = (PatchEmbedding.draw(STAGES, 9, seed).channels for seed in (7, 7, 8))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert len(set(first.tolist())) == 9


def test_all_channels_may_be_drawn():
    assert PatchEmbedding.draw(STAGES, 18, 0).channels.tolist() == list(range(18))


@pytest.mark.parametrize("dims", [0, 19])
def test_more_channels_than_there_are_is_an_error(dims):
    with pytest.raises(ValueError, match="1…18"):
        PatchEmbedding.draw(STAGES, dims, 0)


@pytest.mark.parametrize("channels", [[], [3, 2], [1, 1], [-1, 2], [0, 18]])
def test_channels_that_no_draw_gives_are_refused(channels):
    with pytest.raises(ValueError, match="channels"):
        PatchEmbedding(STAGES, channels)
