"""Judges pictures with a trained or exported model:

from inspection import Inspector

for judgement in Inspector.open("output/bottle").inspect(["a.png", "b.png"]):
    print(judgement.source, judgement.score, judgement.verdict)
"""

from inspection.fitting import Fitted, fit
from inspection.inspector import Decoded, Inspector
from inspection.judgement import Judgement
from inspection.regions import Region

__all__ = ["Decoded", "Fitted", "Inspector", "Judgement", "Region", "fit"]
