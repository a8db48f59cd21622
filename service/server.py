"""Runs the service until SIGTERM, and reloads its models on SIGHUP."""

import asyncio
import logging
import signal
import socket
from contextlib import contextmanager

import uvicorn

from common.signals import answering
from service.app import build
from service.connection import connections
from service.guard import LONGEST_HEAD, Guard
from service.inspecting import Inspecting
from service.listening import listen, refuse
from service.memory import trim_often
from service.metrics import Metrics
from service.models import Models, Opened, open_all
from service.reloading import Reloading
from service.settings import Settings
from service.stats import Collector
from service.webhook import Reporter

DRAIN_SECONDS = 0.5  # of each of two steps, before connections without a request are closed

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 1 if an accepted request was not answered."""
    with listen(settings.host, settings.port) as listening:
        return asyncio.run(_serve(settings, open_all(settings), listening))


async def _serve(settings: Settings, opened: Opened, listening: socket.socket) -> int:
    metrics, limits = Metrics(), settings.limits
    models = Models(settings, opened, lambda name, n: metrics.batches.labels(name).observe(n))
    reporter = None
    if settings.webhook is not None:
        reporter = Reporter(settings.webhook, lambda result: metrics.webhooks.labels(result).inc())
    collector = None
    if settings.stats is not None:
        collector = Collector(settings.stats, lambda how, n: metrics.collected.labels(how).inc(n))
    inspecting = Inspecting(limits, settings.workers, metrics, reporter, collector)
    reloading = Reloading(models, metrics, settings.token is not None, collector)
    app = build(models, inspecting, reloading, metrics, settings.token is not None)
    config = _config(settings, Guard(app, settings.token, metrics), metrics)
    server = Server(config, reloading, listening)
    host, port = listening.getsockname()[:2]
    logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    trimming = asyncio.ensure_future(trim_often())
    try:
        await server.serve([listening])
    finally:
        trimming.cancel()
        models.close(settings.grace)
        inspecting.close()
        for one in (reporter, collector):
            if one is not None:
                await asyncio.to_thread(one.close, settings.grace)
    return server.result()


def _config(settings: Settings, guard: Guard, metrics: Metrics) -> uvicorn.Config:
    limits = settings.limits
    return uvicorn.Config(
        guard,
        http=connections(limits.connections, limits.seconds, metrics),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_graceful_shutdown=max(1, round(settings.grace)),
    )


class Server(uvicorn.Server):
    """uvicorn's server with our signals: it stops in two steps, and reloads."""

    def __init__(self, config: uvicorn.Config, reloading: Reloading, listening: socket.socket):
        super().__init__(config)
        self.guard, self.reloading, self.listening = config.app, reloading, listening
        self._tasks: set[asyncio.Task] = set()

    def result(self) -> int:
        """The exit code."""
        if self.guard.unanswered:
            logger.error("%d requests were not answered within --grace", self.guard.unanswered)
            return 1
        logger.info("every accepted request was answered")
        return 0

    @contextmanager
    def capture_signals(self):
        """Replaces uvicorn's, which ends the process by the signal afterwards."""
        loop = asyncio.get_running_loop()

        def start(work) -> None:
            loop.call_soon_threadsafe(self._start, work)

        with answering(lambda _: start(self._stop)):
            if not hasattr(signal, "SIGHUP"):
                yield
                return
            former = signal.signal(signal.SIGHUP, lambda *_: start(self.reloading))
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, former)

    def _start(self, work) -> None:
        task = asyncio.ensure_future(work())
        self._tasks.add(task)  # the event loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        """Tell clients to close their connections; then close what is left."""
        if self.guard.draining:
            return
        logger.info("stopping")
        self.guard.draining = True
        await asyncio.sleep(DRAIN_SECONDS)
        refuse(self.listening)
        await asyncio.sleep(DRAIN_SECONDS)  # those that are connected send their requests
        self.should_exit = True
