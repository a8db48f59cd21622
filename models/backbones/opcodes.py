"""An interpreter of the pickle instructions that tensors need, with bounds on all of them.

Python's own unpickler hashes, compares and copies what the file tells it to, and takes memory for
lengths that the file only declares: 100 bytes are enough to keep it busy for minutes. This one
knows the instructions that PyTorch and Paddle write, and refuses others. The number of steps is
bounded, steps that cost more count more, and large bytes stay in the file (`contents.Source`).
"""

import pickletools
import struct
from collections.abc import Callable

import numpy as np

from common.errors import shortened
from models.backbones.contents import Content, Source

MOST_STEPS = 1_000_000  # a tensor needs about 40
INLINE = 255  # bytes of a text that is a string at once; tensor names are shorter


class UnsafePickleError(Exception):
    """The file asks for something that tensors do not need."""


class LongText:
    """A text that is still in the file: bytes, as protocol 2 writes them."""

    def __init__(self, content: Content):
        self.content = content
        self.latin1 = Content(None, self._read)  # the bytes that the text stands for

    def _read(self) -> np.ndarray:
        raw = self.content.read()
        if raw.size and raw.max() > 0xC3:  # beyond latin1, Python needs up to 4 bytes per letter
            raise ValueError("a text in place of the bytes of an array")
        text = str(memoryview(raw), "utf-8")
        del raw
        return np.frombuffer(text.encode("latin1"), np.uint8)


class Interpreter:
    """Reads one pickle after the other from `source`.

    `name(module, name)` gives what stands for a name, `storage(identity)` what stands for a
    reference to something outside the pickle. Dictionaries keep the entries whose keys are texts.
    """

    def __init__(
        self,
        source: Source,
        name: Callable[[str, str], object],
        storage: Callable[[object], object] | None = None,
    ):
        self.source, self.name, self.storage = source, name, storage
        self.left = MOST_STEPS

    def load(self) -> object:
        """The object that the next pickle describes; objects may contain themselves."""
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, object] = {}
        try:
            while (code := self.source.take(1)) != b".":
                self.spend(1)
                if code not in STEPS:
                    raise _refused(code)
                STEPS[code](self)
            return self.stack.pop()
        except (LookupError, TypeError, AttributeError, UnicodeError) as error:
            raise ValueError("a damaged pickle") from error

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise ValueError(f"a pickle of more than {MOST_STEPS} steps")

    def number(self, form: str):
        return struct.unpack(form, self.source.take(struct.calcsize(form)))[0]

    def push(self, value) -> None:
        self.stack.append(value)

    def text(self, length: int, encoding: str = "utf-8") -> None:
        self.spend(length // 32 if length <= INLINE else 10)
        if length > INLINE:
            self.push(LongText(self.source.content(length)))
        else:
            self.push(self.source.take(length).decode(encoding, "strict"))

    def binary(self, length: int) -> None:
        self.spend(10)
        self.push(self.source.content(length))

    def integer(self) -> None:
        self.push(int.from_bytes(self.source.take(self.number("<B")), "little", signed=True))

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def marked(self) -> list:
        """What was pushed since the last mark."""
        found, self.stack = self.stack, self.marks.pop()
        return found

    def pack(self, count: int) -> None:
        items = tuple(self.pop() for _ in range(count))
        self.push(items[::-1])

    def pop(self):
        return self.stack.pop()

    def append(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("a damaged pickle")
        self.stack[-1].extend(items)

    def set_items(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("a damaged pickle")
        # The hash of other keys may take forever, and no tensor has such a name.
        target.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if _is_text(k))

    def name_of_two(self) -> None:
        name, module = self.pop(), self.pop()
        if not _is_text(module) or not _is_text(name):
            raise ValueError("a damaged pickle")
        self.push(self.name(module, name))

    def name_of_lines(self) -> None:
        module = self.source.line()
        self.push(self.name(module, self.source.line()))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not callable(function) or type(arguments) is not tuple:
            raise UnsafePickleError("a call of something else than a function")
        self.spend(10 + sum(len(a) for a in arguments if type(a) in (tuple, list)))
        self.push(function(*arguments))

    def build(self) -> None:
        state = self.pop()
        target = self.stack[-1]
        if type(target) is dict:
            return  # the attributes of an OrderedDict: PyTorch's `_metadata`
        if not hasattr(target, "build"):
            raise UnsafePickleError("the state of an unknown object")
        self.spend(20)
        target.build(state)

    def refer(self) -> None:
        if self.storage is None:
            raise UnsafePickleError("a reference to something outside the file")
        self.push(self.storage(self.pop()))

    def protocol(self) -> None:
        if self.number("<B") > 5:
            raise ValueError("a pickle of an unknown protocol")

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


def _is_text(value) -> bool:
    return type(value) is str


def _refused(code: bytes) -> Exception:
    known = pickletools.code2op.get(code.decode("latin1"))
    if known is None:
        return ValueError("a damaged pickle")
    return UnsafePickleError(f"the pickle instruction {known.name}")


def unknown_name(module: str, name: str) -> UnsafePickleError:
    return UnsafePickleError(shortened(f"{module}.{name}", 80))


# Sets are never looked into: lists stand for them.
STEPS: dict[bytes, Callable[[Interpreter], None]] = {
    b"\x80": Interpreter.protocol,
    b"\x95": lambda i: i.number("<Q"),  # a frame, which only helps buffers
    b"N": lambda i: i.push(None),
    b"\x88": lambda i: i.push(True),
    b"\x89": lambda i: i.push(False),
    b"J": lambda i: i.push(i.number("<i")),
    b"K": lambda i: i.push(i.number("<B")),
    b"M": lambda i: i.push(i.number("<H")),
    b"\x8a": Interpreter.integer,
    b"G": lambda i: i.push(i.number(">d")),
    b"U": lambda i: i.text(i.number("<B"), "ascii"),  # Python 2's strings
    b"T": lambda i: i.text(i.number("<I"), "ascii"),
    b"\x8c": lambda i: i.text(i.number("<B")),
    b"X": lambda i: i.text(i.number("<I")),
    b"\x8d": lambda i: i.text(i.number("<Q")),
    b"C": lambda i: i.binary(i.number("<B")),
    b"B": lambda i: i.binary(i.number("<I")),
    b"\x8e": lambda i: i.binary(i.number("<Q")),
    b"(": Interpreter.mark,
    b")": lambda i: i.push(()),
    b"t": lambda i: i.push(tuple(i.marked())),
    b"\x85": lambda i: i.pack(1),
    b"\x86": lambda i: i.pack(2),
    b"\x87": lambda i: i.pack(3),
    b"]": lambda i: i.push([]),
    b"a": lambda i: i.append([i.pop()]),
    b"e": lambda i: i.append(i.marked()),
    b"\x8f": lambda i: i.push([]),
    b"\x90": lambda i: i.append(i.marked()),
    b"\x91": lambda i: i.push(i.marked()),
    b"}": lambda i: i.push({}),
    b"s": lambda i: i.set_items([i.pop(), i.pop()][::-1]),
    b"u": lambda i: i.set_items(i.marked()),
    b"q": lambda i: i.put(i.number("<B")),
    b"r": lambda i: i.put(i.number("<I")),
    b"\x94": lambda i: i.put(len(i.memo)),
    b"h": lambda i: i.push(i.memo[i.number("<B")]),
    b"j": lambda i: i.push(i.memo[i.number("<I")]),
    b"c": Interpreter.name_of_lines,
    b"\x93": Interpreter.name_of_two,
    b"R": Interpreter.call,
    b"b": Interpreter.build,
    b"Q": Interpreter.refer,
}
