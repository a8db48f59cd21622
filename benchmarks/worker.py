"""Measures one contender on request: `python benchmarks/worker.py CONTENDER SETTINGS`.

CONTENDER is a Python file with a class `Contender`, SETTINGS the arguments of its constructor as
JSON. Each request is a line of JSON on stdin, `{"do": NAME, …}`, each answer one on stdout:
`{"ok": {…}}`, `{"unavailable": reason}` or `{"error": text}`. Between requests the process waits
without using a processor, so that other contenders can be measured in turn.

All times are taken in this file, so that the same code measures every contender. It imports the
standard library only, because each contender has its own interpreter. A Contender has

    about                       text: versions and peculiarities
    fit(paths)                  fit a new model to picture files
    score_file(path)            image score and map of one file, as fast as possible
    score_files(paths, batch)   image scores of many files, as fast as possible
    decode(paths)               normalised pictures, in the form that score_arrays accepts
    score_arrays(images)        image scores (and maps) of a slice of the result of decode
    save(folder)                write the model; {name: path} of the files or folders written

and raises NotImplementedError where this machine cannot run it.
"""

import importlib.util
import json
import math
import os
import resource
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

WARM_UP = 3  # scorings before the measured ones


class Worker:
    """Measures `contender`; each public method is a request that the driver can send."""

    def __init__(self, contender):
        self.contender = contender

    def hello(self):
        return {"about": self.contender.about}

    def fit(self, pictures):
        seconds = _seconds(self.contender.fit, pictures)
        return {"seconds": seconds, "rate": len(pictures) / seconds}

    def predict_png(self, pictures):
        return self._latency(pictures, self.contender.score_file)

    def predict_decoded(self, pictures):
        images = self.contender.decode(pictures)
        singles = [images[i : i + 1] for i in range(len(images))]
        return self._latency(singles, self.contender.score_arrays)

    def throughput_png(self, pictures, batch):
        self.contender.score_files(pictures[:batch], batch)
        return {"rate": len(pictures) / _seconds(self.contender.score_files, pictures, batch)}

    def throughput_decoded(self, pictures, batch):
        images = self.contender.decode(pictures)

        def score_all():
            for start in range(0, len(pictures), batch):
                self.contender.score_arrays(images[start : start + batch])

        self.contender.score_arrays(images[:batch])
        return {"rate": len(pictures) / _seconds(score_all)}

    def scores(self, pictures, batch):
        return {"scores": [float(x) for x in self.contender.score_files(pictures, batch)]}

    def save(self):
        with tempfile.TemporaryDirectory() as folder:
            files = self.contender.save(Path(folder))
            return {name: _size(path) for name, path in files.items()}

    def memory(self):
        """Peak memory of this process, without the processes that it started."""
        unit = 1 if sys.platform == "darwin" else 1024
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}

    def _latency(self, items, score):
        for item in items[:WARM_UP]:
            score(item)
        taken = sorted(_seconds(score, item) * 1000 for item in items)
        p95 = taken[math.ceil(0.95 * len(taken)) - 1]
        return {"median": statistics.median(taken), "p95": p95}


def _size(path):
    """Bytes of a file, or of all files in a folder."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _seconds(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def serve(build, requests, answers):
    """Write answers to `requests` (lines) into a text file; `build` gives the contender."""
    worker = None

    def answer(request):
        nonlocal worker
        worker = worker or Worker(build())
        return getattr(worker, request.pop("do"))(**request)

    for line in requests:
        try:
            reply = {"ok": answer(json.loads(line))}
        except NotImplementedError as error:
            reply = {"unavailable": str(error)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def load(path):
    """The class `Contender` of a Python file."""
    spec = importlib.util.spec_from_file_location("contender", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["contender"] = module  # processes that it starts look up its classes there
    spec.loader.exec_module(module)
    return module.Contender


def main():
    path, settings = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not get between the answers
    serve(lambda: load(path)(**json.loads(settings)), sys.stdin, answers)


if __name__ == "__main__":
    main()
