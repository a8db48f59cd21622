import numpy as np
import pytest

from models.embedding import PatchEmbedding, split

STAGES = (4, 6, 8)


def maps(sizes, batch=2):
    rng = np.random.default_rng(1)
    return [
        rng.random((batch, c, *size)).astype(np.float32)
        for c, size in zip(STAGES, sizes, strict=True)
    ]


@pytest.mark.parametrize(
    "sizes",
    [((8, 8), (4, 4), (2, 2)), ((7, 9), (4, 5), (2, 3)), ((4, 4), (4, 4), (1, 1)), ((9, 9),) * 3],
)
def test_an_embedding_splits_into_the_maps_it_was_made_of(sizes):
    embedding = PatchEmbedding.draw(STAGES, 9, seed=3)
    drawn = maps(sizes)
    chosen = [drawn[i][:, embedding.by_stage[i]] for i in embedding.used]
    stages = embedding.stages(sizes)
    assert [channels for channels, _ in stages] == [stage.shape[1] for stage in chosen]
    up, rows, columns, finer = [], *(np.arange(side) for side in sizes[0]), sizes[0]
    for stage, (_, grid) in zip(chosen, stages, strict=True):
        rows, columns = rows * grid[0] // finer[0], columns * grid[1] // finer[1]
        up.append(stage[:, :, rows[:, None], columns])
        finer = grid
    for ours, theirs in zip(split(np.concatenate(up, axis=1), stages), chosen, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_stages_without_a_chosen_channel_are_left_out():
    embedding = PatchEmbedding(STAGES, [4, 5, 9])
    assert embedding.used == [1]
    assert embedding.stages([(8, 8), (4, 4), (2, 2)]) == [(3, (4, 4))]


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
