"""Heads that learn on: reopened, merged, with pictures taken out, restored after a kill."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.errors import UsageError
from models.detector import reopened
from models.heads.padim import PaDiMHead
from models.heads.patchcore import PatchCoreHead
from models.heads.patchcore.learned import EVERY, Learned
from models.heads.spade import SPADEHead
from models.methods import METHODS, Method, PaDiMSettings, PatchCoreSettings, SPADESettings
from models.states import require_states

ONE = [(6, (4, 4))]
SEVERAL = [(3, (8, 8)), (5, (4, 4)), (4, (2, 2))]
N, MORE = 60, 20
HEADS = {
    "one level": lambda: PaDiMHead(PaDiMSettings(0.01, "joint"), ONE),
    "several levels": lambda: PaDiMHead(PaDiMSettings(0.01, "joint"), SEVERAL),
    "several Gaussians": lambda: PaDiMHead(PaDiMSettings(0.01, "multiscale"), SEVERAL),
    "patches": lambda: PatchCoreHead(PatchCoreSettings(0.2), SEVERAL),
    "pictures": lambda: SPADEHead(SPADESettings(10), SEVERAL),
}
SUMS = list(HEADS)[:3]
everyone = pytest.mark.parametrize("name", HEADS)
of_sums = pytest.mark.parametrize("name", SUMS)


def maps_of(name: str, n: int = N + MORE) -> list[np.ndarray]:
    """Channels that depend on each other and on the position, with means far from 0."""
    rng, maps = np.random.default_rng(3), []
    for c, grid in ONE if name == "one level" else SEVERAL:
        mix = np.eye(c) + 0.3 * rng.standard_normal((c, c))
        x = np.einsum("ij,njhw->nihw", mix, rng.standard_normal((n, c, *grid)))
        maps.append((x + 3 * rng.standard_normal((1, c, *grid))).astype(np.float32))
    return maps


def part(maps, start, stop=None):
    return [stage[start:stop] for stage in maps]


def fitted(name: str, *parts):
    head = HEADS[name]()
    for maps in parts:
        head.update(maps)
    head.finish()
    return head


def loaded(head):
    """The head as another process finds it in a file."""
    stages = ONE if head.arrays().get("mean0", np.empty(0)).shape == (16, 6) else SEVERAL
    return type(head).from_arrays(head.arrays(), head.settings, stages, head.n)


def assert_same(ours, theirs, maps, rtol: float):
    """The same scores of pictures that were learned first, left out, and of new ones."""
    new = [2 * stage[::-1] for stage in maps]
    for found, wanted in (
        (ours.score(new), theirs.score(new)),
        (ours.leave_one_out(maps), theirs.leave_one_out(maps)),
    ):
        np.testing.assert_allclose(found[1], wanted[1], rtol=rtol)
        if wanted[0] is not None:
            np.testing.assert_allclose(found[0], wanted[0], rtol=rtol)


@pytest.mark.parametrize("name", [*SUMS, "pictures"])
def test_a_model_that_is_updated_equals_one_trained_on_all(name):
    maps = maps_of(name)
    head = loaded(fitted(name, part(maps, 0, N))).reopened()
    head.update(part(maps, N))
    head.finish()
    assert head.n == N + MORE
    assert_same(head, fitted(name, maps), part(maps, 0, 9), 1e-5)


@pytest.mark.parametrize("name", [*SUMS, "pictures"])
def test_three_models_that_are_merged_equal_one_trained_on_all(name):
    maps, cuts = maps_of(name), (0, 30, 43, N)
    shards = [fitted(name, part(maps, *pair)) for pair in zip(cuts, cuts[1:], strict=False)]
    head = loaded(shards[0]).reopened()
    for other in shards[1:]:
        head.merge(loaded(other).reopened())
    head.finish()
    assert_same(head, fitted(name, part(maps, 0, N)), part(maps, 0, 9), 1e-5)


@of_sums
def test_pictures_that_are_taken_out_leave_no_trace(name):
    maps = maps_of(name)
    before = fitted(name, part(maps, 0, N))
    head = loaded(fitted(name, maps))
    assert not head.foreign(part(maps, N)).any()
    head = head.reopened()
    head.forget(part(maps, N, N + 7))
    head.forget(part(maps, N + 7))
    head.finish()
    assert head.n == N
    assert_same(head, before, part(maps, 0, 9), 1e-4)


@of_sums
def test_the_model_that_is_reopened_stays(name):
    maps = maps_of(name)
    head = fitted(name, part(maps, 0, N))
    before = {key: array.copy() for key, array in head.arrays().items()}
    other = head.reopened()
    other.update(part(maps, N))
    for key, array in head.arrays().items():
        np.testing.assert_array_equal(array, before[key])


@of_sums
def test_a_picture_that_was_not_learned_is_noticed(name):
    maps = maps_of(name)
    odd = [stage.copy() for stage in part(maps, 0, 3)]
    odd[0][1] += 100
    found = fitted(name, part(maps, 0, N)).foreign(odd)
    assert found.tolist() == [False, True, False]


@of_sums
def test_two_pictures_must_remain(name):
    maps = maps_of(name, 4)
    head = fitted(name, maps).reopened()
    with pytest.raises(ValueError, match="4 pictures without 3: at least 2 must remain"):
        head.forget(part(maps, 0, 3))


def test_an_epsilon_that_is_raised_for_one_gaussian_is_that_of_all():
    """Otherwise a model could not be turned back into sums: its file has one epsilon."""
    maps = maps_of("several Gaussians", 12)
    maps[0] *= 3000
    head = fitted("several Gaussians", maps)
    assert head.settings.epsilon > 0.01
    assert {gaussian.epsilon for gaussian in head.gaussians} == {head.settings.epsilon}


def test_banks_that_are_merged_have_the_patches_and_numbers_of_both():
    maps = maps_of("patches")
    maps[0][:, :, :4], maps[1][:, :, :2], maps[2][:, :, :1] = 0, 0, 0  # outside a region
    first, second = (PatchCoreHead(PatchCoreSettings(1.0), SEVERAL) for _ in range(2))
    for head, learned in ((first, part(maps, 0, N)), (second, part(maps, N))):
        head.update(learned)
        head.finish()
    assert [EVERY in head.search.pictures for head in (first, second)] == [True, True]
    head = loaded(first).reopened()
    head.merge(loaded(second).reopened())
    head.finish()

    def entries(head, shift):
        numbers = [p if p == EVERY else p + shift for p in head.search.pictures.tolist()]
        return {(*row, n) for row, n in zip(head.search.bank.tolist(), numbers, strict=True)}

    assert entries(head, 0) == entries(first, 0) | entries(second, N)
    assert head.unit == pytest.approx(np.average([first.unit, second.unit], weights=[N, MORE]))


def test_a_bank_that_is_updated_has_the_size_of_all_pictures():
    maps = maps_of("patches")
    head = loaded(fitted("patches", part(maps, 0, N))).reopened()
    head.update(part(maps, N))
    head.finish()
    assert len(head.search.bank) == len(fitted("patches", maps).search.bank)
    assert head.search.pictures.max() >= N  # the new pictures follow those that were there


def test_banks_that_are_merged_or_updated_find_as_many_defects():
    maps = maps_of("patches", 360)
    test = [stage.copy() for stage in part(maps, 160)]
    test[0][100:, :, 3, 4] += 3.5
    labels = np.arange(200) >= 100
    whole = fitted("patches", part(maps, 0, 160))
    first, second = (fitted("patches", p) for p in (part(maps, 0, 80), part(maps, 80, 160)))
    merged, updated = first.reopened(), first.reopened()
    merged.merge(second.reopened())
    updated.update(part(maps, 80, 160))
    wanted = roc_auc_score(labels, whole.score(test)[1].max(axis=(1, 2)))
    assert 0.98 < wanted < 0.9995
    for head in (merged, updated):
        head.finish()
        found = roc_auc_score(labels, head.score(test)[1].max(axis=(1, 2)))
        assert found == pytest.approx(wanted, abs=0.003)


@everyone
def test_a_state_that_is_restored_goes_on_as_if_nothing_had_happened(name):
    maps = maps_of(name)
    head, other = HEADS[name](), HEADS[name]()
    for start in (0, 20):
        head.update(part(maps, start, start + 20))
    other.restore({key: array.copy() for key, array in head.state().items()}, head.n)
    for one in (head, other):
        one.update(part(maps, 40))
        one.finish()
    for key, array in head.arrays().items():
        np.testing.assert_allclose(other.arrays()[key], array, rtol=1e-6, atol=1e-6)


@everyone
def test_a_state_of_other_shapes_is_refused(name):
    head = HEADS[name]()
    head.update(part(maps_of(name), 0, 4))
    state = head.state()
    for key in state:
        for wrong in (state[key][1:], state[key].astype(np.uint8)):
            with pytest.raises(ValueError):
                HEADS[name]().restore(state | {key: wrong}, 4)
        with pytest.raises(KeyError):
            HEADS[name]().restore({k: v for k, v in state.items() if k != key}, 4)


def test_heads_of_other_shapes_do_not_merge():
    one, several = HEADS["one level"](), HEADS["several levels"]()
    with pytest.raises(ValueError, match="maps of other shapes"):
        one.merge(several)


def test_entries_of_a_bank_survive_reductions_while_more_is_learned():
    rng = np.random.default_rng(5)
    bank, more = (rng.standard_normal((n, 4)).astype(np.float32) for n in (40, 400))
    learned = Learned(4, 0.1, budget=4 * 4 * 100)
    learned.reopen(bank, np.zeros(40, np.int32), 400)
    for start in range(0, 400, 50):
        learned.add(more[start : start + 50], np.full(50, 1 + start, np.int32))
    assert sum(map(len, learned.patches)) < 440  # there was a reduction
    found, pictures = learned.coreset()
    assert len(found) == 80
    np.testing.assert_array_equal(found[:40], bank)
    assert (pictures[:40] == 0).all() and (pictures[40:] > 0).all()


def test_banks_that_are_larger_than_their_share_are_cut():
    """A bank has at least one entry, however small the ratio."""
    learned = Learned(4, 0.001)
    for value in (1, 2, 3):
        other = Learned(4, 0.001)
        other.reopen(np.full((1, 4), value, np.float32), np.zeros(1, np.int32), 10)
        learned.merge(other, value)
    assert learned.coreset()[0].tolist() == [[1, 1, 1, 1]]


def test_a_method_that_cannot_learn_on_says_so(monkeypatch):
    class Toy:
        pass

    with pytest.raises(UsageError, match="a model of toy cannot learn on"):
        reopened(Toy(), "toy")
    row = Method(__name__, "Toy", SPADESettings)
    monkeypatch.setitem(METHODS, "toy", row)
    monkeypatch.setattr(Method, "head_class", lambda self: Toy)
    with pytest.raises(UsageError, match="a model of toy cannot be kept while it learns"):
        require_states("toy")


@everyone
def test_one_picture_is_not_enough(name):
    head = HEADS[name]()
    head.update(part(maps_of(name), 0, 1))
    with pytest.raises(UsageError, match="at least 2"):
        head.finish()
