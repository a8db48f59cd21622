"""What a request for an inspection does, from its body to its answer."""

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from common.calibration import Rule
from common.errors import shortened
from datasets.transforms import BadPictureError
from inspection import Decoded
from service.answers import Wanted, answer, described, described_rule
from service.body import Body, Budget, Part, pictures_in
from service.metrics import Metrics
from service.models import Model
from service.refusals import RefusedRequestError
from service.settings import Limits
from service.stats import Collector
from service.webhook import Reporter

BODIES = 4  # largest bodies that may be in memory at once
UNREADABLE = "does not decode; expected a whole PNG, JPEG, BMP, TIFF or WebP file"

Found = TypeVar("Found")


class Inspecting:
    """Answers requests for an inspection, within limits that they share."""

    def __init__(
        self,
        limits: Limits,
        workers: int,
        metrics: Metrics,
        reporter: Reporter | None,
        collector: Collector | None,
    ):
        self.limits, self.metrics = limits, metrics
        self.reporter, self.collector = reporter, collector
        self.bytes, self.queue = Budget(BODIES * limits.body), Budget(limits.queue)
        metrics.queue.set_function(lambda: self.queue.taken)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")

    async def __call__(self, request: Request, model: Model, wanted: Wanted) -> bytes:
        """The JSON of the answer; raises RefusedRequestError."""
        start = time.monotonic()
        rule = wanted.rule(model)
        with Body(request, self.limits.body, self.bytes) as body:
            late = RefusedRequestError(408, "the body did not arrive in time", close=True)
            content = await self._timed(body.read(), start, late)
            parts = pictures_in(content, request.headers.get("content-type"), self.limits.pictures)
            request.state.notes = f", pictures: {len(parts)}"
            with self.queue.holding(len(parts), f"{self.queue.taken} pictures are waiting"):
                late = RefusedRequestError(504, "the pictures were not judged in time")
                work = (self._judged(part, i, model, rule, wanted) for i, part in enumerate(parts))
                found = await self._timed(all_of(work), start, late)
        self._count(model, rule, found)
        self.metrics.latency.labels(model.record.category).observe(time.monotonic() - start)
        return answer(model, rule, found)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def _timed(
        self, work: Awaitable[Found], start: float, late: RefusedRequestError
    ) -> Found:
        """The result of `work`, if it comes within the time of a request; else raises `late`."""
        try:
            left = start + self.limits.seconds - time.monotonic()
            return await asyncio.wait_for(work, left)
        except asyncio.TimeoutError:
            raise late from None

    async def _judged(
        self, part: Part, index: int, model: Model, rule: Rule, wanted: Wanted
    ) -> dict:
        """One picture of the answer."""
        loop = asyncio.get_running_loop()
        decoded = await loop.run_in_executor(self._pool, _decoded, part, index, model)
        judgement = await model.batcher.judge(decoded)
        if rule is not model.inspector.rule or wanted.min_area is not None:
            judgement = judgement.under(rule, model.record.unit, wanted.min_area)
        if not wanted.takes_long(judgement):
            return described(judgement, part.name, wanted)
        return await loop.run_in_executor(self._pool, described, judgement, part.name, wanted)

    def _count(self, model: Model, rule: Rule, found: list[dict]) -> None:
        """Count and collect the pictures of an answer, and report the defective ones."""
        category = model.record.category
        if self.collector is not None:
            self.collector.add(model.inspector, found)
        for picture in found:
            self.metrics.judged(category, picture["verdict"], picture["normalised"])
            if picture["verdict"] == "defective" and self.reporter is not None:
                known = {key: picture[key] for key in picture if key not in ("map", "mask")}
                source = {"category": category, "model": model.version, "time": time.time()}
                self.reporter.report({**source, **described_rule(rule), **known})


def _decoded(part: Part, index: int, model: Model) -> Decoded:
    try:
        return model.inspector.decode(part.content)
    except BadPictureError as error:
        status = 413 if error.setting == "max_pixels" else 422
        name = "" if part.name is None else f" ({shortened(part.name, 80)})"
        reason = error.reason or UNREADABLE
        raise RefusedRequestError(status, f"picture {index + 1}{name}: {reason}") from error


async def all_of(work: Iterable[Coroutine]) -> list:
    """The results of all coroutines; the first error cancels the others and is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
