"""Reloads the models, on SIGHUP or on request."""

import logging

from common.errors import UsageError, WorkError, message
from service.metrics import Metrics
from service.models import Models
from service.refusals import RefusedRequestError
from service.stats import Collector

logger = logging.getLogger(__name__)


class Reloading:
    """`by_request`: whether `POST /v1/reload` is allowed.

    Without a token it is not: a page in a browser on this machine could send it.
    """

    def __init__(
        self, models: Models, metrics: Metrics, by_request: bool, collector: Collector | None
    ):
        self.models, self.metrics, self.by_request = models, metrics, by_request
        self.collector = collector

    async def requested(self) -> None:
        """Raises RefusedRequestError if it is not allowed, or failed."""
        if not self.by_request:
            raise RefusedRequestError(
                403, "needs a token: start the service with one, or send SIGHUP to its process"
            )
        if not await self():
            raise RefusedRequestError(
                409, "the models cannot be opened and the former ones stay; see the log"
            )

    async def __call__(self) -> bool:
        """Whether the models were opened anew; else the former ones stay, and the log says why."""
        try:
            await self.models.reload()
        except (UsageError, WorkError, OSError) as error:
            logger.error("no reload, the former models stay: %s", message(error))
            self.metrics.reloads.labels("failed").inc()
            return False
        if self.collector is not None:
            self.collector.reopen()
        self.metrics.reloads.labels("done").inc()
        logger.info("reloaded: %s", ", ".join(sorted(self.models.by_category)))
        return True
