"""The models that serve: opened at the start and at a reload, never because of a request's name."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from common.errors import UsageError, keep_termination, listed
from inspection import Decoded, Inspector
from service.batching import Batcher
from service.settings import Settings
from tasks.verdicts import describe

PROBE_SECONDS = 5.0  # until a probe counts as failed; and how long its result is kept

logger = logging.getLogger(__name__)


def open_all(settings: Settings) -> dict[str, Inspector]:
    """An inspector for each category in `settings.model_dir`; each has judged a test picture.

    Raises UsageError if there is no model, or two of one category; WorkError if one is damaged.
    """
    found: dict[str, Inspector] = {}
    for folder in _folders(settings.model_dir):
        inspector = Inspector.open(
            folder,
            settings.engine,
            batch_size=settings.batch_size,
            max_pixels=settings.limits.pixels,
            min_area=settings.min_area,
            **vars(settings.wanted),
        )
        category = inspector.record.category
        if category in found:
            raise UsageError(
                f"{found[category].path} and {inspector.path}: both are of category {category}; "
                "keep one of them in this folder",
                "model_dir",
            )
        found[category] = inspector
    for category, inspector in found.items():
        for size in {1, settings.batch_size}:  # the first batch of a size takes longer
            inspector.judge([probe(inspector)] * size)
        logger.info("%s: %s (%s)", category, describe(inspector.rule), inspector.path)
    return found


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


def probe(inspector: Inspector) -> Decoded:
    """A test picture: noise."""
    noise = np.random.default_rng(0).integers(0, 256, (*inspector.record.size, 3), np.uint8)
    return inspector.decode(noise)


class Model:
    """A model that serves. It ends when it is retired and no request uses it any more."""

    def __init__(self, inspector: Inspector, batcher: Batcher):
        self.inspector, self.batcher = inspector, batcher
        self.record = inspector.record
        self.version = self.record.arrays_sha256[:12]
        self.loaded = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._users, self._retired = 0, False
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
            await asyncio.wait_for(self.batcher.judge(probe(self.inspector)), PROBE_SECONDS)
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
        inspectors: dict[str, Inspector],
        observe: Callable[[str, int], None],
    ):
        """`observe` is called with the category and the size of each batch."""
        self._settings, self._observe = settings, observe
        self._reloading = asyncio.Lock()
        self.by_category = self._served(inspectors)

    def _served(self, inspectors: dict[str, Inspector]) -> dict[str, Model]:
        return {category: self._model(category, found) for category, found in inspectors.items()}

    def _model(self, category: str, inspector: Inspector) -> Model:
        def observe(size: int) -> None:
            self._observe(category, size)

        return Model(inspector, Batcher(inspector, self._settings.window, observe))

    async def reload(self) -> None:
        """Open all models anew and use them from now on; requests under way keep the former ones.

        Raises as `open_all`; the former models stay then.
        """
        async with self._reloading:
            inspectors = await asyncio.to_thread(open_all, self._settings)
            keep_termination()
            former, self.by_category = self.by_category, self._served(inspectors)
            for model in former.values():
                model.retire()

    async def ready(self) -> bool:
        """Whether every model answers."""
        models = list(self.by_category.values())
        with ExitStack() as held:
            for model in models:
                held.enter_context(model.used())
            return all([await model.answers() for model in models])

    def close(self) -> None:
        for model in self.by_category.values():
            model.retire()
