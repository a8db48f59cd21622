"""The models that serve: opened at the start and at a reload, never because of a request's name."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from common.errors import UsageError, listed
from inspection import Inspector
from service.batching import Batcher
from service.networks import NetworkDetector, Networks, noise
from service.settings import Settings
from tasks.collecting import collecting
from tasks.verdicts import describe

PROBE_SECONDS = 5.0  # until a probe counts as failed; and how long its result is kept

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """An inspector for each category; `networks` is the process that scores for all of them."""

    inspectors: dict[str, Inspector]
    networks: Networks


def open_all(settings: Settings) -> Opened:
    """The models in `settings.model_dir`; each has judged a test picture.

    Raises UsageError if there is no model, or two of one category, or --stats cannot be used;
    WorkError if a model is damaged.
    """
    chosen = {
        "batch_size": settings.batch_size,
        "max_pixels": settings.limits.pixels,
        "min_area": settings.min_area,
        **vars(settings.wanted),
    }
    found: dict[str, tuple[Path, Inspector]] = {}
    for folder in _folders(settings.model_dir):
        inspector = Inspector.open(folder, settings.engine, **chosen)
        category = inspector.record.category
        if category in found:
            raise UsageError(
                f"{found[category][0]} and {folder}: both have a model of category {category}; "
                "keep one of them in this folder",
                "model_dir",
            )
        with collecting(settings.stats, inspector):
            pass  # it can be written to, and the model has scores of good pictures
        found[category] = folder, inspector
    models = [(folder, inspector.record) for folder, inspector in found.values()]
    networks = Networks(models, settings.engine, settings.batch_size).start()
    try:
        known = {category: inspector for category, (_, inspector) in found.items()}
        return Opened(_tried(known, networks, chosen), networks)
    except BaseException:
        networks.close()
        raise


def _tried(found: dict[str, Inspector], networks: Networks, chosen: dict) -> dict[str, Inspector]:
    """Inspectors that let `networks` score; each has judged a test picture."""
    inspectors = {}
    for index, (category, known) in enumerate(found.items()):
        logger.info("%s: %s (%s)", category, describe(known.rule), known.path)
        detector = NetworkDetector(known.record, networks, index)
        opened = Inspector(known.record, lambda _, it=detector: it, known.path, **chosen)
        judged = opened.judge([opened.decode(noise(opened))])
        logger.debug("regions of noise: %d", len(judged[0].regions))  # imports what they need
        inspectors[category] = opened
    return inspectors


def _folders(root: Path) -> list[Path]:
    if Inspector.is_model(root):
        return [root]
    try:
        inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({error.strerror})", "model_dir") from error
    folders = [path for path in inside if Inspector.is_model(path)]
    if not folders:
        raise UsageError(
            f"{root}: neither a model nor a folder of models; train.py and export_model.py write "
            "them",
            "model_dir",
        )
    if others := [path.name for path in inside if path.is_dir() and path not in folders]:
        logger.info("%s: folders without a model: %s", root, listed(others))
    return folders


class Model:
    """A model that serves. It ends when it is retired and no request uses it any more."""

    def __init__(
        self,
        inspector: Inspector,
        window: float,
        observe: Callable[[str, int], None],
        ended: Callable[[str], None],
    ):
        """`observe` is called with the category and the size of each batch, `ended` at the end;
        both in another thread."""
        self.inspector, self.record = inspector, inspector.record
        category = self.record.category
        self.batcher = Batcher(
            inspector, window, partial(observe, category), partial(ended, category)
        )
        self.version = self.record.arrays_sha256[:12]
        self.loaded = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._users, self._retired = 0, False
        self._probe = inspector.decode(noise(inspector))
        self._probed, self._answers = -PROBE_SECONDS, True

    @contextmanager
    def used(self) -> Iterator["Model"]:
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._end_if_unused()

    def retire(self) -> None:
        self._retired = True
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._retired and self._users == 0:
            self.batcher.stop()

    async def answers(self) -> bool:
        """Whether the model judges a test picture now; the result is kept for PROBE_SECONDS."""
        if time.monotonic() - self._probed < PROBE_SECONDS:
            return self._answers
        self._probed = time.monotonic()
        try:
            await asyncio.wait_for(self.batcher.judge(self._probe), PROBE_SECONDS)
            self._answers = True
        except Exception:  # whatever it is, the model does not answer
            logger.exception("%s: the test picture was not judged", self.record.category)
            self._answers = False
        return self._answers


class Models:
    """All models by category. Use it in the thread of the event loop only."""

    def __init__(
        self,
        settings: Settings,
        opened: Opened,
        observe: Callable[[str, int], None],
    ):
        """`observe` is called with the category and the size of each batch."""
        self._settings, self._observe = settings, observe
        self._reloading = asyncio.Lock()
        self.by_category = self._served(opened)

    def _served(self, opened: Opened) -> dict[str, Model]:
        left = set(opened.inspectors)

        def ended(category: str) -> None:
            """The networks end with the last of their models."""
            left.discard(category)
            if not left:
                opened.networks.close()

        return {
            category: Model(inspector, self._settings.window, self._observe, ended)
            for category, inspector in opened.inspectors.items()
        }

    async def reload(self) -> None:
        """Open all models anew and use them from now on; requests under way keep the former ones.

        Raises as `open_all`; the former models stay then.
        """
        async with self._reloading:
            opened = await asyncio.to_thread(open_all, self._settings)
            former, self.by_category = self.by_category, self._served(opened)
            for model in former.values():
                model.retire()

    async def ready(self) -> bool:
        """Whether every model answers."""
        models = list(self.by_category.values())
        with ExitStack() as held:
            for model in models:
                held.enter_context(model.used())
            return all([await model.answers() for model in models])

    def close(self, seconds: float) -> None:
        """End all models and wait for it, for at most `seconds`."""
        for model in self.by_category.values():
            model.retire()
        end = time.monotonic() + seconds
        for category, model in self.by_category.items():
            if not model.batcher.join(max(0.0, end - time.monotonic())):
                logger.error("%s: a batch has not ended in time", category)
