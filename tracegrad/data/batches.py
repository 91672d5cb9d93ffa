"""Arrays cut into batches, in an order that is a function of a key and the epoch, and what is made of batches."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from tracegrad import random, tree
from tracegrad.core.arguments import require_function, shown, whole
from tracegrad.core.errors import ShapeError, at, clip, user_source
from tracegrad.core.jax_arrays import is_jax_array
from tracegrad.core.late import imported

_OF_TRANSFORMS = (
    0x7472616E  # folded into the key of transforms, which draw other numbers than the order of batches does
)


class Stream:
    """Batches that come anew in every epoch: call it with the epoch, and with how many batches of that to leave out; or iterate
    over it, which is epoch 0. `len` is how many an epoch has.

    >>> import numpy as np, tracegrad as tg
    >>> doubled = tg.data.map([np.ones(2), np.zeros(2)], lambda x: 2 * x)
    >>> [x.tolist() for x in doubled(0)]
    [[2.0, 2.0], [0.0, 0.0]]
    """

    def __init__(self, source: Any, through: Callable[[Iterator[Any]], Iterator[Any]]) -> None:
        self._source = source
        self._through = through

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Any]:
        return self._through(epoch_of(self._source, epoch, start))

    def __iter__(self) -> Iterator[Any]:
        return self._through(iter(self._source) if hasattr(self._source, "__iter__") else epoch_of(self._source, 0))

    def __len__(self) -> int:
        return len(self._source)


class Batches(Stream):
    """What `batches` returns. Nothing in it changes: the same epoch is the same batches, however often it is asked for.

    >>> import numpy as np, tracegrad as tg
    >>> batches = tg.data.batches((np.arange(6.0), np.arange(6)), 3, key=0)
    >>> len(batches), [x.shape for x, y in batches(0)]
    (2, [(3,), (3,)])
    """

    def __init__(
        self, arrays: Any, size: int, key: Any, drop_last: bool, transform: Callable[..., Any] | None, start: int
    ) -> None:
        if not isinstance(size, int | np.integer):
            raise TypeError(
                f"data.batches{at(user_source())}: size is how many examples a batch has, got {shown(size)}; arrays that "
                "belong together are one tree: batches((x, y), 32)"
            )
        self.arrays, self.count = _aligned(arrays, "batches")
        if transform is not None:
            require_function(
                transform, "data.batches", "transform", "(key, batch) -> batch, as tg.data.augment makes them", 2
            )
        whole(start, "data.batches", "start")
        self.size, self.key, self.drop_last, self.transform, self.start = size, key, drop_last, transform, start
        if size < 1:
            raise ValueError(f"data.batches{at(user_source())}: size must be at least 1, got {size}")
        if not len(self):
            advice = "; write drop_last=False, or a smaller size" if self.count else ""
            raise ValueError(
                f"data.batches{at(user_source())}: no batch of {size} can be made of {self.count} examples{advice}"
            )

    def __len__(self) -> int:
        return self.count // self.size if self.drop_last else -(-self.count // self.size)

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from number `start` on. What comes before is not read."""
        epoch, start = whole(epoch, "data.batches", "epoch"), whole(start, "data.batches", "start")
        order = (
            None if self.key is None else np.asarray(random.permutation(random.fold_in(self.key, epoch), self.count))
        )
        keys = None
        if self.transform is not None:
            keys = random.fold_in(random.fold_in(self.key, _OF_TRANSFORMS), epoch)
        for i in range(start, len(self)):
            chosen = slice(i * self.size, min((i + 1) * self.size, self.count))
            places = chosen if order is None else order[chosen]
            batch = tree.tree_map(lambda x, places=places: x[places], self.arrays)
            yield batch if self.transform is None else self.transform(random.fold_in(keys, i), batch)

    def __iter__(self) -> Iterator[Any]:
        return self(0, self.start)

    def shuffled(self, key: Any) -> Batches:
        """The same with another key."""
        return Batches(self.arrays, self.size, key_of(key), self.drop_last, self.transform, self.start)


def batches(
    arrays: Any,
    size: int,
    *,
    key: Any = None,
    drop_last: bool = True,
    transform: Callable[..., Any] | None = None,
    start: int = 0,
) -> Batches:
    """Arrays cut into batches along their first axis.

    Args:
        arrays: a pytree of arrays that have one leading size, of examples. Other leaves than arrays go through `np.asarray`.
        size: how many examples a batch has.
        key: a random key, or an int for `tg.random.PRNGKey` of it: each epoch comes in an order of its own, which is
            `tg.random.permutation(tg.random.fold_in(key, epoch), n)`. Without, batches come in the order of the arrays.
        drop_last: leave out the rest that makes no whole batch, so that all have one shape and a step is traced once.
        transform: (key, batch) -> batch, such as those of `tg.data.augment`; jitted, if it is given jitted. Its key is a
            function of `key`, the epoch and the number of the batch.
        start: how many batches of epoch 0 iteration leaves out, unread.

    Returns:
        What can be called with an epoch (and `start=`) for an iterator of its batches, and iterated over for epoch 0.

    Raises:
        ShapeError: leaves of different leading sizes.  ValueError: no batch can be made.
        TypeError: a transform without a key.

    >>> data = {"x": np.arange(10.0), "y": np.arange(10)}
    >>> [batch["y"].tolist() for batch in batches(data, 4)]
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    >>> shuffled = batches(data, 4, key=0)
    >>> len(shuffled), [batch["y"].tolist() for batch in shuffled(1)] == [batch["y"].tolist() for batch in shuffled(1)]
    (2, True)
    """
    if transform is not None and key is None:
        raise TypeError(
            f"data.batches{at(user_source())}: a transform draws random numbers; pass key=, for example key=0"
        )
    return Batches(arrays, size, None if key is None else key_of(key), drop_last, transform, start)


def split(arrays: Any, fractions: float | Sequence[float], *, key: Any, stratify: Any = None) -> tuple[Any, ...]:
    """Arrays in parts, drawn at random: to train with, to validate, to test.

    Args:
        arrays: a pytree of arrays that have one leading size, of examples.
        fractions: of each part, adding up to 1; or that of the first of two.
        key: a random key, or an int for `tg.random.PRNGKey` of it.
        stratify: classes [examples], of which each part has a share as near as can be to what the whole has.

    Returns:
        A tuple of pytrees as `arrays`.

    Raises:
        ValueError: fractions that do not add up to 1, or a part that would be empty.

    >>> train, test = split(np.arange(10), 0.7, key=0)
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (7, 3, True)
    """
    arrays, count = _aligned(arrays, "split")
    shares = [fractions, 1 - fractions] if isinstance(fractions, float | int) else fractions
    if (
        not isinstance(shares, Sequence)
        or not all([isinstance(x, float | int | np.number) for x in shares])
        or not len(shares)
    ):
        raise TypeError(
            f"data.split{at(user_source())}: fractions are numbers that add up to 1, or that of the first of two parts, got "
            f"{clip(repr(fractions))}; write 0.8, or (0.7, 0.2, 0.1)"
        )
    if abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
        raise ValueError(f"data.split{at(user_source())}: fractions must be positive and add up to 1, got {fractions}")
    order = np.asarray(random.permutation(key_of(key), count))
    place = np.arange(count)
    if stratify is not None:
        classes = np.asarray(stratify)
        if classes.shape != (count,):
            raise ShapeError(
                f"data.split{at(user_source())}: stratify must have a class for each of {count} examples, got shape "
                f"{classes.shape}"
            )
        # Each example by how far it is through its own class: cut anywhere, each class is cut in the same proportion.
        _, classes, counts = np.unique(classes[order], return_inverse=True, return_counts=True)
        by_class = np.argsort(classes, kind="stable")
        rank = np.empty(count)
        rank[by_class] = place - np.repeat(np.cumsum(counts) - counts, counts)
        place = np.argsort((rank + 0.5) / counts[classes], kind="stable")
    edges = np.round(np.cumsum([0.0, *shares]) * count).astype(int)
    if (np.diff(edges) == 0).any():
        raise ValueError(
            f"data.split{at(user_source())}: of {count} examples, fractions {fractions} leave a part with none"
        )
    parts = [order[np.sort(place[a:b])] for a, b in itertools.pairwise(edges)]
    return tuple([tree.tree_map(lambda x, part=part: x[part], arrays) for part in parts])


def map(batches: Any, function: Callable[[Any], Any]) -> Stream:
    """Batches with a function applied to each.

    Args:
        batches: an iterable, or a callable of an epoch, such as what `tg.data.batches` returns.
        function: batch -> batch.

    >>> list(map(batches(np.arange(4), 2), lambda x: (x * 10).tolist()))
    [[0, 10], [20, 30]]
    """
    require_function(function, "data.map", "function", "tg.data.map(batches, lambda batch: ...)", 1)
    return Stream(_batches(batches, "map"), lambda found: (function(batch) for batch in found))


def prefetch(batches: Any, n: int = 2) -> Stream:
    """Batches made ahead by a thread, while the step before is computed.

    An exception comes out where its batch would have. The thread ends, and closes what it reads from, when the last batch is
    taken, or when whoever takes them leaves off (an exception, `break`, `close()`).

    Args:
        batches: an iterable, or a callable of an epoch, such as what `tg.data.batches` returns.
        n: how many are held ready at most.

    >>> [x.tolist() for x in prefetch(batches(np.arange(4), 2))]
    [[0, 1], [2, 3]]
    """
    whole(n, "data.prefetch", "n", 1)
    return Stream(_batches(batches, "prefetch"), lambda found: _ahead(found, n))


def _ahead(found: Iterator[Any], n: int) -> Iterator[Any]:
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(n)
    left = threading.Event()

    def put(kind: str, value: Any) -> bool:
        """Whether somebody still waits for it."""
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((kind, value), timeout=0.05)
                return True
        return False

    def fill() -> None:
        try:
            with contextlib.closing(cast(Any, found)) if hasattr(found, "close") else contextlib.nullcontext():
                for batch in found:
                    if not put("batch", batch):
                        return
        except BaseException as error:  # whoever waits for the batch is to have it
            put("error", error)
        else:
            put("end", None)

    # In the context of whoever asks: np.errstate holds in the thread too.
    worker = threading.Thread(
        target=contextvars.copy_context().run, args=(fill,), name="tracegrad-prefetch", daemon=True
    )
    try:
        worker.start()
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        left.set()
        if worker.ident is not None:
            worker.join()


def device_put(batches: Any, sharding: Any = None) -> Stream:
    """Batches on jax's device or devices, each put there while the one before is computed with.

    Args:
        batches: an iterable, or a callable of an epoch, such as what `tg.data.batches` returns.
        sharding: a `jax.sharding.Sharding` or device, or a pytree of them; jax's default device without.
    """

    def ahead(found: Iterator[Any]) -> Iterator[Any]:
        put = imported("tracegrad.xla.devices").device_put
        moved = (put(batch) if sharding is None else put(batch, sharding) for batch in found)
        waiting = list(itertools.islice(moved, 1))
        for batch in moved:
            waiting.append(batch)
            yield waiting.pop(0)
        yield from waiting

    return Stream(_batches(batches, "device_put"), ahead)


# -- What batches may be


def _batches(x: Any, name: str) -> Any:
    """What can be gone through, or called with an epoch."""
    if not callable(x) and not hasattr(x, "__iter__"):
        raise TypeError(
            f"data.{name}{at(user_source())}: batches are an iterable, or a function of the epoch, got {shown(x)}; write "
            "tg.data.batches((x, y), 32)"
        )
    return x


def epoch_of(batches: Any, epoch: int, start: int = 0) -> Iterator[Any]:
    """The batches of an epoch from number `start` on, of an iterable or of a callable. Whoever takes no `start` has what comes
    before it read, and dropped."""
    if callable(batches):
        if start and _takes_start(batches):
            return iter(batches(epoch, start=start))
        found = iter(batches(epoch))
    else:
        found = iter(batches)
    for _ in range(start):
        next(found, None)
    return found


def length_of(batches: Any) -> int | None:
    """How many batches an epoch has, if that can be told."""
    try:
        return len(batches)
    except TypeError:
        return None


def arrays_of(batch: Any) -> Any:
    """A batch of arrays, which those of other libraries have become."""
    return tree.tree_map(_array, batch)


def _array(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic | bool | int | float | complex) or is_jax_array(x):
        return x
    found = np.asarray(x)
    if found.dtype.kind in "OUSV":
        raise TypeError(f"a batch is a tree of arrays of numbers, and a leaf of it is {type(x).__name__} ({x!r:.60})")
    return found


def _takes_start(function: Callable[..., Any]) -> bool:
    try:
        return "start" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def key_of(key: Any) -> Any:
    """A random key, of which an int is the seed."""
    if isinstance(key, int | np.integer):
        return random.PRNGKey(key)
    if not hasattr(key, "dtype"):
        raise TypeError(f"data{at(user_source())}: key is a random key or an int, got {clip(repr(key))}; write key=0")
    return key


def _aligned(arrays: Any, name: str) -> tuple[Any, int]:
    """Arrays with the leading size that they have in common."""
    if isinstance(arrays, Iterator):
        raise TypeError(
            f"data.{name}{at(user_source())}: arrays are a tree of arrays, got {shown(arrays)}; write np.stack(list(...)) "
            "around what gives examples one by one"
        )
    arrays = tree.tree_map(lambda x: x if isinstance(x, np.ndarray) or is_jax_array(x) else np.asarray(x), arrays)
    leaves = tree.tree_leaves_with_path(arrays)
    sizes: dict[str, Any] = {tree.keystr(path) or "arrays": x.shape[0] if x.shape else None for path, x in leaves}
    if None in sizes.values() or not sizes:
        where = next((path for path, n in sizes.items() if n is None), "arrays")
        raise ShapeError(
            f"data.{name}{at(user_source())}: each leaf must be an array of examples along its first axis, but "
            f"{where} {'is a scalar' if sizes else 'has no leaves'}; write np.asarray(...) around lists of numbers"
        )
    if len({*sizes.values()}) > 1:
        told = ", ".join([f"{path} has {n}" for path, n in sizes.items()])
        raise ShapeError(f"data.{name}{at(user_source())}: arrays of different numbers of examples: {told}")
    return arrays, next(iter(sizes.values()))
