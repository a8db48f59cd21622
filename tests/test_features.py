from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn

from common.errors import UsageError
from common.preprocessing import Preprocessing
from models.engine import Engine
from models.factory import build_detector, plan
from models.features import (
    ChannelSelection,
    SemiOrthogonalProjection,
    draw,
    from_arrays,
    split,
)
from models.layers import Averaged, Projection
from models.loading import load_features
from tests.test_checkpoint import RECORD

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
    embedding = ChannelSelection.draw(STAGES, 9, seed=3)
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
    embedding = ChannelSelection(STAGES, [4, 5, 9])
    assert embedding.used == [1]
    assert embedding.stages([(8, 8), (4, 4), (2, 2)]) == [(3, (4, 4))]


def test_the_draw_depends_on_the_seed_alone():
    first, again, other = (ChannelSelection.draw(STAGES, 9, seed).channels for seed in (7, 7, 8))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert len(set(first.tolist())) == 9


def test_all_channels_may_be_drawn():
    assert ChannelSelection.draw(STAGES, 18, 0).channels.tolist() == list(range(18))


@pytest.mark.parametrize("dims", [0, 19])
def test_more_channels_than_there_are_is_an_error(dims):
    with pytest.raises(ValueError, match="1 to 18"):
        ChannelSelection.draw(STAGES, dims, 0)


@pytest.mark.parametrize("channels", [[], [3, 2], [1, 1], [-1, 2], [0, 18]])
def test_channels_that_no_draw_gives_are_refused(channels):
    with pytest.raises(ValueError, match="channels"):
        ChannelSelection(STAGES, channels)


def test_the_projections_rows_are_orthonormal_and_seeded():
    one, again, other = (SemiOrthogonalProjection.draw(STAGES, 5, seed) for seed in (7, 7, 8))
    np.testing.assert_allclose(one.projection @ one.projection.T, np.eye(5), atol=1e-6)
    np.testing.assert_array_equal(one.projection, again.projection)
    assert np.abs(one.projection - other.projection).max() > 0.1


class Maps(nn.Layer):
    """A network that gives what it was told, whatever it sees."""

    def __init__(self, maps):
        super().__init__()
        self.maps = [paddle.to_tensor(stage) for stage in maps]
        self.grids = [stage.shape[2:] for stage in maps]

    def forward(self, _):
        return self.maps


@pytest.mark.parametrize("sizes", [((8, 8), (4, 4), (2, 2)), ((7, 9), (4, 5), (2, 3))])
def test_a_projection_is_that_of_the_upsampled_and_concatenated_stages(sizes):
    drawn = maps(sizes)
    embedding = SemiOrthogonalProjection.draw(STAGES, 5, seed=3)
    (found,) = Projection(Maps(drawn), embedding)(None)
    up, rows, columns, finer = [], *(np.arange(side) for side in sizes[0]), sizes[0]
    for stage, grid in zip(drawn, sizes, strict=True):
        rows, columns = rows * grid[0] // finer[0], columns * grid[1] // finer[1]
        up.append(stage[:, :, rows[:, None], columns])
        finer = grid
    expected = np.einsum("dc,bchw->bdhw", embedding.projection, np.concatenate(up, axis=1))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert embedding.stages(sizes) == [(5, sizes[0])]


@pytest.mark.parametrize("reduction", ["random", "semi_orthogonal", "none"])
def test_an_embedding_comes_back_from_its_arrays(reduction):
    embedding = draw(reduction, STAGES, 5, 7)
    again = from_arrays(STAGES, embedding.arrays)
    assert type(again) is type(embedding) and again.dims == embedding.dims
    assert embedding.dims == (18 if reduction == "none" else 5)
    for key, array in embedding.arrays.items():
        np.testing.assert_array_equal(again.arrays[key], array)


def test_a_projection_of_other_channels_is_refused():
    with pytest.raises(ValueError, match=r"projection is \(5, 17\), expected \[d,18\]"):
        from_arrays(STAGES, {"projection": np.zeros((5, 17), np.float32)})


@pytest.mark.parametrize("side", [3, 5])
def test_maps_are_averaged_over_the_neighbours_that_there_are(side):
    drawn = maps(((7, 9), (4, 4), (2, 2)))
    for found, stage in zip(Averaged(Maps(drawn), side)(None), drawn, strict=True):
        expected, reach = np.empty_like(stage), side // 2
        for y in range(stage.shape[2]):
            for x in range(stage.shape[3]):
                rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (y, x))
                expected[:, :, y, x] = stage[:, :, rows, columns].mean(axis=(2, 3))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("static", [True, False])
def test_patch_size_averages_inside_the_graph_and_comes_back_with_the_record(static):
    settings = {
        "pretrained_backbone": "embedded",
        "layers": ("layer1", "layer2"),
        "preprocessing": Preprocessing(32, (32, 32)),
        "engine": Engine(device="cpu", static=static),
    }
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    plain = build_detector(**settings).features(images)
    built = build_detector(patch_size=3, **settings)
    averaged = built.features(images)
    for found, stage in zip(averaged, Averaged(Maps(plain), 3)(None), strict=True):
        np.testing.assert_allclose(found, stage.numpy(), rtol=1e-4, atol=1e-5)
    assert built.record.features.patch_size == 3
    again = load_features(built.features.arrays(), built.record, settings["engine"])
    for found, stage in zip(again(images), averaged, strict=True):
        np.testing.assert_array_equal(found, stage)


def test_a_patch_size_that_is_not_odd_and_small_is_refused():
    with pytest.raises(UsageError, match="4: expected one of 1, 3, 5, 7"):
        plan(patch_size=4)
    with pytest.raises(ValueError, match="patch_size 9"):
        replace(RECORD.features, patch_size=9)
