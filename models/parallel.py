"""Threads that share products of matrices, with one BLAS thread each."""

import functools
from collections.abc import Callable, Iterable

from models.device import cpu_threads


def each(work: Callable, items: Iterable) -> list:
    """`work` of all items, in their order, by one thread per processor.

    BLAS is limited to one thread for the whole process: its threads would wait for each other at
    every small matrix, and would keep processors busy that the network needs.
    """
    limit_blas()
    return list(_pool().map(work, items))


@functools.cache
def limit_blas() -> None:
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().limit(limits=1, user_api="blas")


@functools.cache
def _pool():
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(cpu_threads(), thread_name_prefix="matrices")
