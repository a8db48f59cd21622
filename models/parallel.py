"""Threads for NumPy's products: one BLAS thread in each thread of a pool.

BLAS is limited to one thread for the whole process: its threads would wait for each other at every
small matrix, and would keep processors busy that the network needs.
"""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import ThreadpoolController

from models.device import cpu_threads


def each(work: Callable, parts: Iterable) -> list:
    """The results of `work` for each of `parts`, in order; threads share them."""
    limit_blas()
    return list(pool().map(work, parts))


def pieces(length: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover 0 to `length`."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


@functools.cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpu_threads(), thread_name_prefix="heads")


@functools.cache
def limit_blas() -> None:
    ThreadpoolController().limit(limits=1, user_api="blas")
