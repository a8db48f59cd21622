"""Judges pictures with a trained or exported model:

from inspection import Inspector

for judgement in Inspector.open("output/bottle").inspect(["a.png", "b.png"]):
    print(judgement.source, judgement.score, judgement.verdict)
"""

from inspection.inspector import Decoded, Inspector
from inspection.judgement import Judgement
from inspection.regions import Region

__all__ = ["Decoded", "Fitted", "Inspector", "Judgement", "Region", "fit"]


def __getattr__(name: str):
    """`fit` and `Fitted`, imported at first use: judging starts faster without them."""
    if name not in ("fit", "Fitted"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from inspection import fitting

    return getattr(fitting, name)
