import numpy as np


def problems(state):
    return [k for k, a in state.items() if not np.isfinite(a).all()]
