"""Reading ahead: images come from the disk while the processor works on earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A disk answers several requests sooner than one after another. The threads mostly wait for it, and NumPy
# holds no lock while it copies.
THREADS = 2
AHEAD = 4  # results that are kept until they are asked for


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `map(work, items)` gives, in the same order; the next results are worked out in the meantime.

    The items are taken in the caller's thread. An error of `work` is raised where its result is due. When the
    iterator is closed, work that has not begun is given up.

    Args:
        work: what to do with an item; several calls run at the same time.
        items: its arguments.
    """
    threads = ThreadPoolExecutor(THREADS, "read-ahead")
    coming: deque[Future[Result]] = deque()
    try:
        for item in items:
            coming.append(threads.submit(work, item))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
