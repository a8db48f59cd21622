"""Leaves pictures out that a text file names."""

import stat
from pathlib import Path, PurePath

from common.errors import UsageError, printable, shortened
from datasets.samples import Sample

MOST_BYTES = 2**24  # of the file


def excluded(samples: list[Sample], file: Path, several: bool) -> list[Sample]:
    """`samples` without those that `file` names, one per line: a name or the end of a path.

    UsageError if the file cannot be read, or if a line names no picture. With `several` categories,
    the line may name a picture of another one.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait, a device never end
            raise UsageError(f"{file}: not a regular file", "exclude")
        if status.st_size > MOST_BYTES:
            raise UsageError(f"{file}: more than {MOST_BYTES >> 20} MB", "exclude")
        lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', error)}", "exclude") from error
    wanted = {PurePath(line.strip()).parts for line in lines if line.strip()}
    found, kept = set(), []
    for sample in samples:
        parts = PurePath(sample.path).parts
        ends = {parts[i:] for i in range(len(parts))} & wanted
        found |= ends
        if not ends:
            kept.append(sample)
    if not several and (unknown := sorted(wanted - found)):
        name = shortened(printable("/".join(unknown[0])), 200)
        raise UsageError(
            f"{file}: {name}: no such training picture; expected one name or path per line",
            "exclude",
        )
    return kept
