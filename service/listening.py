"""The socket that accepts connections."""

import ctypes
import logging
import socket
import struct
import sys

from common.errors import UsageError

SO_ATTACH_FILTER = 26  # of Linux, which Python does not name
# Classic BPF over a TCP segment: (code, jump if true, jump if false, number).
NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x45, 0, 1, 0x02),  # SYN?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF),  # keep
)

logger = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; UsageError if that is impossible."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise UsageError(f"{host}: no such address ({error.strerror})", "host") from error
    # asyncio sends without delay (TCP_NODELAY) only where the protocol is named.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise UsageError(
            f"{host}:{port}: cannot be listened on ({error.strerror}); choose another", "port"
        ) from error
    return found


def refuse(listening: socket.socket) -> None:
    """Accept no new connection, without losing those that the system has accepted already.

    If the socket was closed instead, the system would reset the connections that it has accepted
    and this process has not. Where the system has no filters for that, the race remains.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in NO_SYN)
    memory = ctypes.create_string_buffer(program, len(program))
    filter = struct.pack("HP", len(NO_SYN), ctypes.addressof(memory))
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter)
    except OSError as error:
        logger.debug("no filter for new connections: %s", error)
