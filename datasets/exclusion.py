"""Leaves pictures out that a text file names."""

from pathlib import Path, PurePath

from common.errors import UsageError, printable
from datasets.samples import Sample

MOST_BYTES = 2**24  # of the file


def excluded(samples: list[Sample], file: Path, several: bool) -> list[Sample]:
    """`samples` without those that `file` names, one per line: a name or the end of a path.

    UsageError if the file cannot be read, or if a line names no picture. With `several` categories,
    the line may name a picture of another one.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file}: more than {MOST_BYTES >> 20} MB", "exclude")
        lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", "exclude") from error
    wanted = {PurePath(line.strip()).parts for line in lines if line.strip()}
    found, kept = set(), []
    for sample in samples:
        parts = PurePath(sample.path).parts
        ends = {parts[i:] for i in range(len(parts))} & wanted
        found |= ends
        if not ends:
            kept.append(sample)
    if not several and (unknown := sorted(wanted - found)):
        name = printable("/".join(unknown[0]))
        raise UsageError(
            f"{file}: {name}: no such training picture; expected one name or path per line",
            "exclude",
        )
    return kept
