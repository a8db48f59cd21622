"""The tests for drift on drawn scores: false alarms stay below alpha, changes are found."""

import numpy as np
import pytest

from common.calibration import NormalScores
from evaluation.drift import betting
from evaluation.drift.check import Drift, Question, p_values


def drawn(random, n: int, m: int, defective=0.0, change=lambda scores: scores, **question) -> Drift:
    """`m` pictures after `n` of training; a share of them is defective."""
    scores = change(random.normal(size=m))
    scores[random.random(m) < defective] += 7
    training = NormalScores.of(random.normal(size=n).tolist())
    return Drift(training, scores, Question(**question))


def alarms(trials: int, *arguments, **settings) -> int:
    random = np.random.default_rng(0)
    found = [drawn(random, *arguments, **settings) for _ in range(trials)]
    return sum(drift.alarm is not None for drift in found)


@pytest.mark.parametrize(
    ("n", "defective", "leave_out"), [(8, 0.2, True), (30, 0.2, True), (30, 0.0, False)]
)
def test_false_alarms_stay_below_alpha_at_every_look(n, defective, leave_out):
    # An alarm is one at any of the 300 pictures. With alpha 0.2, 30 of 150 are allowed.
    settings = {"defective": defective, "leave_out": leave_out, "alpha": 0.2}
    assert alarms(150, n, 300, **settings) <= 30


def test_p_values_among_the_same_few_training_pictures_would_give_false_alarms():
    random, false = np.random.default_rng(1), 0
    for _ in range(40):
        training, scores = np.sort(random.normal(size=20)), random.normal(size=1000)
        among = p_values(training, scores)
        factors = betting.factors(among, np.zeros(1000, bool), 1.0)
        false += betting.log_capital(factors).max() >= np.log(1 / 0.05)
    assert false > 20  # 2 are allowed: why online p-values are used
    assert alarms(40, 20, 1000, leave_out=False, alpha=0.05) <= 2


def test_online_p_values_are_uniform_also_with_ties():
    random = np.random.default_rng(2)
    for draw in (random.normal, lambda size: random.integers(0, 4, size).astype(float)):
        found = np.concatenate(
            [betting.online_p_values(draw(size=5), draw(size=40), random) for _ in range(100)]
        )
        counts, _ = np.histogram(found, 10, (0, 1))
        assert np.abs(counts - 400).max() < 4 * np.sqrt(400 * 0.9)
        assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(len(found))


def test_an_online_p_value_by_hand():
    class Half:
        def random(self, n):
            return np.full(n, 0.5)

    found = betting.online_p_values([1.0, 2.0, 3.0], [2.5, 2.5, 9.0], Half())
    # One above and itself; then one above, one equal and itself; then itself.
    assert found == pytest.approx([1.5 / 4, 2.0 / 5, 0.5 / 6])


def test_no_bet_expects_a_gain():
    p = (np.arange(10**5) + 0.5) / 10**5
    out = np.arange(10**5) < 3 * 10**4
    means = betting.factors(p, np.zeros(10**5, bool), 0.3)[:, :5].mean(axis=0)
    assert means == pytest.approx(np.ones(5), abs=1e-6)
    assert betting.factors(p, out, 0.3)[:, 5].mean() == pytest.approx(1, abs=1e-6)
    assert (betting.factors(p, out, 1.0)[:, 5] == 1).all()
    assert (betting.factors(p, out, 0.3) > 0).all()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda scores: scores + 1, "higher scores"),
        (lambda scores: scores - 1, "lower scores"),
        (lambda scores: scores * 0.25, "less spread of the scores"),
        (lambda scores: scores + 9, "too many pictures called defective"),
    ],
)
def test_a_change_is_found_and_named(change, what):
    random = np.random.default_rng(3)

    def late(scores):
        scores[400:] = change(scores[400:])
        return scores

    for _ in range(3):
        drift = drawn(random, 64, 600, defective=0.05, change=late)
        assert 400 < drift.alarm < 600
        assert drift.change[1] == what
        assert abs(drift.change[0] - 400) < 100


def test_more_spread_is_found_where_all_pictures_are_compared():
    drift = drawn(
        np.random.default_rng(4), 64, 400, change=lambda scores: 2.5 * scores, leave_out=False
    )
    assert drift.change[1] == "more spread of the scores"


def test_defective_pictures_are_no_drift_but_would_be_without_leaving_out():
    assert alarms(10, 64, 300, defective=0.15) == 0
    assert alarms(10, 64, 300, defective=0.4, leave_out=False) >= 8
    assert alarms(10, 64, 300, defective=0.5) == 10
    assert alarms(10, 64, 300, defective=0.5, most=1.0) == 0


def test_the_cut_is_the_highest_score_that_is_not_called_defective():
    training = NormalScores.of([float(i) for i in range(1, 21)])
    scores = np.array([18.0, 17.9, 19.0])
    drift = Drift(training, scores, Question(fpr=0.2))
    assert drift.cut == 17.0  # threshold: above the ⌈0.8 · 21⌉-th score
    assert drift.left_out.tolist() == [True, True, True]
    assert len(drift.reference) == 16
    assert drift.distance is None and drift.evidence.shape == (3,)
    assert Drift(training, scores, Question(fpr=0.001)).cut == 20.0
    assert Drift(training, scores, Question(leave_out=False)).cut == np.inf


def test_ks_among_scores_below_the_cut_has_its_level():
    random = np.random.default_rng(5)
    chances = [drawn(random, 25, 200, defective=0.2).distance[1] for _ in range(150)]
    assert sum(chance <= 0.2 for chance in chances) <= 42  # 30 expected, 4.9 deviation
    assert sum(chance <= 0.2 for chance in chances) >= 10


def test_a_reference_of_earlier_pictures():
    """Left-out scores may be biased; pictures judged before are not."""
    random, trials = np.random.default_rng(8), 40
    found = {True: 0, False: 0}
    for _ in range(trials):
        training = NormalScores.of(random.normal(0.8, 1, 64).tolist())
        scores = random.normal(size=400)
        for late in (True, False):
            question = Question(alpha=0.05)
            drift = Drift(training, scores[200:], question, scores[:200] if late else None)
            found[late] += drift.alarm is not None
    assert found[True] <= 2 and found[False] > 30
    later = Drift(training, scores[200:] + 1, Question(), scores[:200])
    assert later.change[1] == "higher scores"


def test_looking_again_later_changes_nothing_before():
    drift = drawn(np.random.default_rng(6), 20, 200)
    early = Drift(drift.normal, drift.scores[:120], drift.question)
    assert early.evidence == pytest.approx(drift.evidence[:120])


def test_a_model_that_keeps_only_some_scores():
    random = np.random.default_rng(7)
    scores = random.normal(size=3000)
    drift = Drift(NormalScores.of(scores.tolist()), random.normal(size=300))
    assert len(drift.reference) == np.ceil(0.99 * 3001) - 1
    shares = np.searchsorted(drift.reference, np.sort(scores)[:2970]) / 3000
    assert np.abs(shares - np.arange(2970) / 3000).max() < 0.002
    assert drift.alarm is None and drift.distance[1] > 0.01
