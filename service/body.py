"""Reads the body of a request within limits, and the pictures in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message

from starlette.requests import ClientDisconnect, Request

from service.refusals import RefusedRequestError, overloaded

LONGEST_NAME = 255  # characters of a picture's name
PART_HEAD = 8192  # bytes of the headers of a part
WRONG_TYPE = (
    "expected the Content-Type image/png (jpeg, bmp, tiff, webp), application/octet-stream or "
    "multipart/form-data"
)


@dataclass(frozen=True)
class Part:
    """A picture of a request, not decoded."""

    name: str | None
    content: bytes


class Budget:
    """A number of bytes or pictures that all requests share."""

    def __init__(self, most: int):
        self.most, self.taken = most, 0

    def take(self, number: int) -> bool:
        """Whether `number` was free, and is taken now."""
        if self.taken + number > self.most:
            return False
        self.taken += number
        return True

    @contextmanager
    def holding(self, number: int, text: str) -> Iterator[None]:
        """Take `number` until the context ends; refuse the request with `text` if it cannot be."""
        if not self.take(number):
            raise overloaded(text)
        try:
            yield
        finally:
            self.taken -= number


class Body:
    """The body of one request; use it as a context, which gives its bytes back to `budget`."""

    def __init__(self, request: Request, most: int, budget: Budget):
        self.request, self.most, self.budget = request, most, budget
        self.held = 0

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_) -> None:
        self.budget.taken -= self.held

    async def read(self) -> bytes:
        """The whole body. Raises RefusedRequestError for a wrong length, before it is in memory."""
        pieces = []
        self._require_allowed(self._announced())
        try:
            async for piece in self.request.stream():
                self._hold(len(piece))
                pieces.append(piece)
        except ClientDisconnect as error:
            raise RefusedRequestError(400, "the body ended too early", close=True) from error
        if self.held == 0:
            raise RefusedRequestError(400, "the body is empty; expected a picture")
        return b"".join(pieces)

    def _announced(self) -> int:
        """Content-Length, or 0 for a body in chunks."""
        headers = self.request.headers
        if "transfer-encoding" in headers:
            return 0
        if "content-length" not in headers:
            raise RefusedRequestError(411, "expected a Content-Length header, or a chunked body")
        return int(headers["content-length"])  # h11 has checked that it is a number

    def _require_allowed(self, length: int) -> None:
        if length > self.most:
            raise RefusedRequestError(
                413, f"the body is larger than the {self.most} bytes allowed", close=True
            )

    def _hold(self, more: int) -> None:
        """Count what is in memory. What is only announced is not: it would shut out others."""
        self._require_allowed(self.held + more)
        if not self.budget.take(more):
            raise overloaded("too many pictures are being sent", close=True)
        self.held += more


def pictures_in(body: bytes, content_type: str | None, most: int) -> list[Part]:
    """The pictures, 1 to `most`, of a body: one, or the files of multipart/form-data."""
    message = Message()
    message["content-type"] = content_type or "application/octet-stream"
    kind = message.get_content_type()
    if kind == "multipart/form-data":
        boundary = message.get_param("boundary")
        return _parts(body, boundary, most)
    if kind == "application/octet-stream" or message.get_content_maintype() == "image":
        return [Part(None, body)]
    raise RefusedRequestError(415, WRONG_TYPE)


def _parts(body: bytes, boundary: object, most: int) -> list[Part]:
    """Of multipart/form-data (RFC 7578), which has no other structure inside."""
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70 or not boundary.isascii():
        raise RefusedRequestError(400, "multipart/form-data: the boundary is missing or wrong")
    marker = b"\r\n--" + boundary.encode("ascii")
    # One piece more than allowed shows that there are too many; the last one is the end.
    pieces = (b"\r\n" + body).split(marker, most + 2)[1:]
    if len(pieces) > most + 1:
        raise RefusedRequestError(413, f"more than the {most} pictures allowed per request")
    if not pieces or not pieces[-1].startswith(b"--"):
        raise RefusedRequestError(400, "multipart/form-data: the body is incomplete")
    if len(pieces) == 1:
        raise RefusedRequestError(400, "multipart/form-data: expected at least one picture")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> Part:
    piece = piece.lstrip(b" \t") if piece[:1] in (b" ", b"\t") else piece
    end = piece.find(b"\r\n\r\n", 0, PART_HEAD)
    if not piece.startswith(b"\r\n") or end < 0:
        raise RefusedRequestError(400, "multipart/form-data: the headers of a part are wrong")
    name = _file_name(piece[2:end])
    if name is None:
        raise RefusedRequestError(
            422,
            "multipart/form-data: a part is not a file; parameters go into the address, "
            "for example ?fpr=0.01",
        )
    return Part(name[:LONGEST_NAME], piece[end + 4 :])


def _file_name(head: bytes) -> str | None:
    """The file name in the headers of a part; None if it has none."""
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            message["content-disposition"] = value.strip()
    return message.get_filename()
