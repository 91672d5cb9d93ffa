"""Sequences of different lengths as arrays of one shape, and text as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tracegrad import random, tree
from tracegrad.core.arguments import whole
from tracegrad.core.errors import ShapeError, at, clip, user_source
from tracegrad.data.batches import key_of
from tracegrad.metrics import batch_size


def pad_to(batch: Any, size: int, value: Any = 0) -> tuple[Any, np.ndarray[Any, Any]]:
    """A batch made as long as others, so that a step is traced once: the last one of an epoch, say.

    Args:
        batch: a pytree of arrays that have one leading size.
        size: the leading size it shall have.
        value: what stands in the rows that are added.

    Returns:
        The batch, and a mask [size], True where there is an example.

    Raises:
        ValueError: the batch is longer than that.

    >>> pad_to(np.array([5, 6]), 3)
    (array([5, 6, 0]), array([ True,  True, False]))
    """
    count = batch_size(batch)
    whole(size, "data.pad_to", "size")
    if count > size:
        raise ValueError(f"data.pad_to{at(user_source())}: a batch of {count} examples is longer than {size}")
    pad = lambda x: np.pad(x, [(0, size - count), *[(0, 0)] * (np.ndim(x) - 1)], constant_values=value)
    return tree.tree_map(pad, batch), np.arange(size) < count


class Buckets:
    """What `bucket` returns: call it with an epoch, or iterate over it, which is epoch 0."""

    def __init__(self, sequences: list[Any], lengths: list[int], size: int, key: Any, value: Any) -> None:
        self._sequences, self._size, self._key, self._value = sequences, size, key, value
        counts = [len(x) for x in sequences]
        self._places = [
            (n, np.flatnonzero([a < c <= n for c in counts])) for a, n in zip([-1, *lengths], lengths, strict=False)
        ]

    def __len__(self) -> int:
        return sum([-(-len(places) // self._size) for _, places in self._places])

    def __call__(self, epoch: int, start: int = 0) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        key = None if self._key is None else random.fold_in(self._key, epoch)
        groups = []
        for i, (length, places) in enumerate(self._places):
            if key is not None:
                places = places[np.asarray(random.permutation(random.fold_in(key, i + 1), len(places)))]
            groups += [(length, places[j : j + self._size]) for j in range(0, len(places), self._size)]
        order = (
            range(len(groups)) if key is None else np.asarray(random.permutation(random.fold_in(key, 0), len(groups)))
        )
        for i in order[start:]:
            length, places = groups[i]
            found = [np.asarray(self._sequences[j]) for j in places]
            tokens = np.full((len(found), length), self._value, found[0].dtype)
            for row, x in zip(tokens, found, strict=True):
                row[: len(x)] = x
            yield {"tokens": tokens, "lengths": np.array([len(x) for x in found], np.int32)}

    def __iter__(self) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        return self(0)


def bucket(sequences: Sequence[Any], lengths: Sequence[int], size: int, *, key: Any = None, value: Any = 0) -> Buckets:
    """Sequences in batches of others about as long, padded to one of a few lengths: so many times is a step traced.

    Args:
        sequences: arrays or lists of numbers.
        lengths: to which they are padded, each to the next one.
        size: how many a batch has, but for the last of each length.
        key: a random key, or an int for `tg.random.PRNGKey` of it, of the order in each epoch.
        value: what stands after the end.

    Returns:
        What can be called with an epoch for an iterator of batches: dicts of "tokens" [size, length] and "lengths" [size].

    Raises:
        ValueError: a sequence is longer than all lengths.

    >>> for batch in bucket([[1, 2], [3], [4, 5, 6]], [2, 4], 2):
    ...     print(batch["tokens"].tolist(), batch["lengths"].tolist())
    [[1, 2], [3, 0]] [2, 1]
    [[4, 5, 6, 0]] [3]
    """
    whole(size, "data.bucket", "size", 1)
    sequences, lengths = list(sequences), sorted(lengths)
    for i, x in enumerate(sequences):
        if not lengths or len(x) > lengths[-1]:
            raise ValueError(
                f"data.bucket{at(user_source())}: sequence {i} has {len(x)} elements, more than the lengths {lengths}"
            )
    return Buckets(sequences, lengths, size, None if key is None else key_of(key), value)


def pack(sequences: Sequence[Any], length: int, value: Any = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Sequences put one after another into rows of one length, each into the first row that has room for it. Empty ones leave no
    trace.

    Args:
        sequences: arrays or lists of numbers.
        length: of a row.
        value: what stands after the end of a row.

    Returns:
        A dict of arrays [rows, length]: "tokens"; "segments", which number the sequences in a row from 1, with 0 for what is
        empty (so attention is masked by `segments[:, :, None] == segments[:, None, :]`); "positions" in the sequence.

    Raises:
        ValueError: a sequence is longer than a row.

    >>> for name, x in pack([[1, 2], [3, 4, 5], [6]], 3).items():
    ...     print(name, x.tolist())
    tokens [[1, 2, 6], [3, 4, 5]]
    segments [[1, 1, 2], [1, 1, 1]]
    positions [[0, 1, 0], [0, 1, 2]]
    """
    found = [np.asarray(x) for x in sequences]
    rows: list[list[Any]] = []
    room: list[int] = []
    for i, x in enumerate(found):
        if len(x) > length:
            raise ValueError(
                f"data.pack{at(user_source())}: sequence {i} has {len(x)} elements, more than a row of {length}"
            )
        if not len(x):
            continue
        row = next((j for j, left in enumerate(room) if left >= len(x)), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(length)
        rows[row].append(x)
        room[row] -= len(x)
    dtype = np.result_type(*found) if found else np.dtype(int)
    out = {
        "tokens": np.full((len(rows), length), value, dtype),
        "segments": np.zeros((len(rows), length), np.int32),
        "positions": np.zeros((len(rows), length), np.int32),
    }
    for i, row_of in enumerate(rows):
        start = 0
        for segment, x in enumerate(row_of):
            place = i, slice(start, start + len(x))
            out["tokens"][place], out["segments"][place], out["positions"][place] = x, segment + 1, np.arange(len(x))
            start += len(x)
    return out


def windows(
    tokens: Any, length: int, key: Any = None, *, stride: int | None = None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A long text cut into windows, and for each the same one token later: what a language model is to predict.

    Args:
        tokens: [n].
        length: of a window.
        key: a random key, or an int for `tg.random.PRNGKey` of it: the first window begins at a drawn place below `stride`.
        stride: how far windows are apart; `length` by default, 1 for all that there are.

    Returns:
        Inputs and targets, each [windows, length]: views of `tokens`, which take no memory.

    Raises:
        ShapeError: `tokens` is not one-dimensional, or too short for one window.

    >>> [x.tolist() for x in windows(np.arange(6), 2)]
    [[[0, 1], [2, 3]], [[1, 2], [3, 4]]]
    """
    tokens = np.asarray(tokens)
    stride = length if stride is None else stride
    for name, x in (("length", length), ("stride", stride)):
        whole(x, "data.windows", name, 1)
    if tokens.ndim != 1 or len(tokens) <= length:
        raise ShapeError(
            f"data.windows{at(user_source())}: tokens must be [n] with n above length={length}, got shape {tokens.shape}"
        )
    room = min(stride, len(tokens) - length)
    start = 0 if key is None else int(random.randint(key_of(key), (), 0, room))
    views = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[start::stride]
    return views[:, :-1], views[:, 1:]


class Characters:
    """The characters of a text, numbered in the order of their code points.

    >>> characters = Characters("hello")
    >>> characters.vocabulary, len(characters)
    ('ehlo', 4)
    >>> characters.encode("hole").tolist(), characters.decode([1, 3, 2, 0])
    ([1, 3, 2, 0], 'hole')
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"Characters{at(user_source())}: a text is due, got {clip(repr(text))}")
        self.vocabulary = "".join(sorted({*text}))
        self._codes = np.array([ord(c) for c in self.vocabulary], np.uint32)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __repr__(self) -> str:
        return f"Characters({self.vocabulary!r})"

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """int32[len(text)]; ValueError for a character that is none of these."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        found = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(found, len(self) - 1)] == codes if len(self) else np.zeros(len(codes), bool)
        if not known.all():
            place = int(np.argmin(known))
            raise ValueError(
                f"Characters.encode{at(user_source())}: character {place} of the text, {text[place]!r}, is none of the {len(self)} of the "
                "vocabulary"
            )
        return found.astype(np.int32)

    def decode(self, ids: Any) -> str:
        """The text of such numbers."""
        ids = np.asarray(ids).reshape(-1)
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise ValueError(
                f"Characters.decode{at(user_source())}: numbers must be from 0 to {len(self) - 1}, got {ids.min()} to {ids.max()}"
            )
        return "".join([self.vocabulary[i] for i in ids.tolist()])
