"""Whether the numbers of a backbone can be weights at all."""

import numpy as np

from common.errors import listed

SHOWN = 3  # names in each message


def problems(state: dict[str, np.ndarray]) -> list[str]:
    """What is wrong with the arrays of a backbone under our names; empty if they are sane.

    Half-precision files have single variances of 0, which became too small; a running_var or a
    kernel that is 0 throughout was never filled.
    """
    floats = {key: array for key, array in state.items() if array.dtype.kind == "f"}
    variances = {key: a for key, a in floats.items() if key.endswith("running_var")}
    filled = {key: a for key, a in floats.items() if a.ndim > 1} | variances
    found = {
        "not floats": [key for key in state if key not in floats],
        "not finite": [key for key, array in floats.items() if not np.isfinite(array).all()],
        "negative": [key for key, array in variances.items() if (array < 0).any()],
        "zero throughout": [key for key, array in filled.items() if not array.any()],
    }
    return summary(found)


def summary(found: dict[str, list[str]]) -> list[str]:
    """`2 missing: conv1.weight, bn1.bias` for each kind of problem that has names."""
    return [f"{len(keys)} {kind}: {listed(keys, SHOWN)}" for kind, keys in found.items() if keys]
