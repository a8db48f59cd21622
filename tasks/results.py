"""What a model does on the test pictures of a category: files, table, thresholds."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from common.calibration import Rule
from common.errors import printable
from common.timing import phase
from evaluation import report
from evaluation.confusion import Confusion
from evaluation.figures import Figures, measure
from evaluation.html import write_html
from evaluation.promise import Promise, effect
from evaluation.testing import ScoredPicture
from models.detector import Detector
from models.ensemble import EnsembleDetector, EnsembleRecord
from models.record import Record
from tasks.settings import Validation
from tasks.verdicts import describe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Results:
    """The test pictures of a category, scored by the model of `record`, which is at `model_path`.

    rule : for verdicts
    promised : of the false-alarm rate, also where verdicts are by another rule
    """

    record: Record | EnsembleRecord
    model_path: Path | str
    tested: list[ScoredPicture]
    figures: Figures
    rule: Rule
    promised: Rule

    @classmethod
    def of(
        cls,
        validation: Validation,
        detector: Detector | EnsembleDetector,
        tested: list[ScoredPicture],
        model_path: Path | str,
    ) -> "Results":
        """The results of `detector`, whose record gets the thresholds of best F1."""
        figures, record = measure(tested), detector.record
        calibration = replace(record.calibration, best_f1=figures.best_f1(tested))
        detector.record = replace(record, calibration=calibration)
        rule = validation.wanted.rule(calibration, model_path)
        promised = calibration.rule(validation.wanted.fpr)
        return cls(detector.record, model_path, tested, figures, rule, promised)

    @property
    def promise(self) -> Promise | None:
        return Promise.of(self.promised, self.tested)

    def write(self, folder: Path, category: str, skipped: int, seconds: dict[str, float]) -> None:
        """Write all files but the sheets into `folder`. `seconds`: see evaluation.report."""
        more = {
            "seconds": {"fit": None, **seconds},
            "skipped": skipped,
            "model": {"path": str(self.model_path), **self.record.summary()},
        }
        rules = self.rule, more, self.promised
        report.write_figures(folder, category, self.tested, self.figures, *rules)

    def say(self, folder: Path, category: str) -> None:
        """Print the table and what the threshold does, and write them to the log."""
        said = f"{category}: {len(self.tested)} test pictures, results in {printable(folder)}"
        said += f"\n{report.table(self.figures)}\n{self._effects()}"
        print(said)
        logger.info("%s", said, extra={"file_only": True, "lines": True})

    def _effects(self) -> str:
        """What the threshold of the rule and that of best F1 do on the test pictures."""
        rule, best = self.rule, self.record.calibration.best_f1
        lines = [describe(rule)]
        if rule.threshold is not None:
            lines.append(f"  {effect(rule.threshold, self.tested)}")
            known = Confusion.of(rule.threshold, self.tested)
            lines += [f"  {printable(line)}" for line in known.lines()]
        if best is not None and rule.origin != "f1":
            lines.append(f"threshold {best.image:.6g}, of best F1 on these pictures")
            lines.append(f"  {effect(best.image, self.tested)}")
        return "\n".join(lines)


def write_report(validation: Validation, folder: Path) -> None:
    """Write report.html from the other files in `folder`, if it is wanted."""
    if validation.drawing.html:
        with phase("report.html"):
            write_html(folder)
