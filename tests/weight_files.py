"""Compares weights in tests; the fixtures are in conftest."""

import numpy as np


def same(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(found[key], expected[key]) for key in expected
    )
