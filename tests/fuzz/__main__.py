"""Fuzz the readers of files, guided by coverage.

    python3.11 -m venv .venv-fuzz
    .venv-fuzz/bin/pip install atheris numpy msgspec safetensors threadpoolctl tqdm pillow pytest
    .venv-fuzz/bin/python -m tests.fuzz --seconds 1500 --folder /tmp/fuzz

Each target runs in a process of its own, with 10 s for one input and 2 GB of memory. An input that
makes a reader raise anything but its documented errors, crash or hang is left in FOLDER/TARGET, and
the exit code is 1.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1"]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=1500, help="of all targets together")
    parser.add_argument("--folder", type=Path, default=Path("fuzz"), help="for corpora and logs")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--run", help=argparse.SUPPRESS)  # one target, in this process
    return parser.parse_args()


def run(name: str, folder: Path, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["common", "datasets", "models"]):
        from tests.fuzz.targets import TARGETS, checked

    target, corpus = TARGETS[name], folder / name
    seeds = folder / f"{name}.seeds"
    for made in (corpus, seeds):
        made.mkdir(parents=True, exist_ok=True)
    for number, make in enumerate(target.seeds):
        make(seeds / str(number))
    arguments = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={corpus}.found-"]
    if target.words:
        dictionary = folder / f"{name}.dict"
        dictionary.write_text("".join(f'"{_quoted(word)}"\n' for word in target.words))
        arguments.append(f"-dict={dictionary}")
    arguments += [str(corpus), str(seeds)]
    # The file that readers open is in memory where that is possible.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as place:
        file = Path(place) / "input"
        atheris.Setup([name, *arguments], lambda data: checked(target, data, file))
        atheris.Fuzz()


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> int:
    options = parse_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.run:
        run(options.run, options.folder, options.seconds)
        return 0
    from tests.fuzz.targets import TARGETS

    names, wrong = options.target or list(TARGETS), 0
    print(f"{'target':20s} {'seconds':>8s} {'runs':>10s} {'edges':>7s}  result", flush=True)
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", "--run", name, "--folder", options.folder]
        command += ["--seconds", str(max(1, options.seconds // len(names)))]
        log = options.folder / f"{name}.log"
        start = time.monotonic()
        with log.open("wb") as file:
            done = subprocess.run([str(part) for part in command], stdout=file, stderr=file)
        text = log.read_text(errors="replace")
        runs = re.findall(r"number_of_executed_units: (\d+)", text) or ["?"]
        edges = re.findall(r"cov: (\d+)", text) or ["?"]
        result = "nothing found" if done.returncode == 0 else f"FOUND, see {log}"
        wrong += done.returncode != 0
        seconds = time.monotonic() - start
        print(f"{name:20s} {seconds:8.0f} {runs[-1]:>10s} {edges[-1]:>7s}  {result}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
