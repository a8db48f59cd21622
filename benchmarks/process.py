"""The driver's side of a worker process, which measures one contender."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import WorkError

ROOT = Path(__file__).parent.parent
WORKER = ROOT / "benchmarks/worker.py"


class Unavailable(Exception):  # noqa: N818 - not an error
    """This machine cannot run the contender; the text gives the reason."""


class Process:
    """`python worker.py contender settings`, which runs until `close` or the end of the block."""

    def __init__(self, python: str | Path, contender: Path, settings: dict, imports_ours: bool):
        self.contender = contender
        self._messages = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - `close`
        self._process = subprocess.Popen(
            [str(python), str(WORKER), str(contender), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            env=_environment(os.environ, imports_ours),
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def ask(self, do: str, **arguments) -> dict:
        """The answer of worker.py. Raises Unavailable, or WorkError where the request failed."""
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline() or "{}")
        except BrokenPipeError:
            reply = {}
        if "unavailable" in reply:
            raise Unavailable(reply["unavailable"])
        if "ok" not in reply:
            raise WorkError(f"{self.contender.name}: {do}: {reply.get('error') or self._last()}")
        return reply["ok"]

    def _last(self) -> str:
        """The last line that the process wrote to stderr."""
        self._messages.seek(0)
        lines: Sequence[str] = self._messages.read().split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no message")

    def close(self) -> None:
        self._process.kill()  # it has nothing to save
        self._process.communicate()
        self._messages.close()


def _environment(ours: Mapping[str, str], imports_ours: bool) -> dict[str, str]:
    """Without `imports_ours` our packages (`datasets`, `models`) must not hide a peer's own."""
    environment = {key: value for key, value in ours.items() if key != "PYTHONPATH"}
    return environment | ({"PYTHONPATH": str(ROOT)} if imports_ours else {})
