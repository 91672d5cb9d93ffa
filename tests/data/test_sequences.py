"""Padding, buckets, packing, windows, characters."""

from __future__ import annotations

import numpy as np
import pytest

from tracegrad import data
from tracegrad.core.errors import ShapeError

RNG = np.random.default_rng(1)
SEQUENCES = [RNG.integers(1, 50, n) for n in RNG.integers(0, 16, 40)]


def test_pad_to() -> None:
    (x, y), where = data.pad_to((np.ones((3, 2)), np.arange(3)), 5, 7)
    assert x.shape == (5, 2) and y.tolist() == [0, 1, 2, 7, 7] and where.sum() == 3
    with pytest.raises(ValueError, match="a batch of 3 examples is longer than 2"):
        data.pad_to(np.ones(3), 2)


@pytest.mark.parametrize("key", [None, 3])
def test_buckets(key: int | None) -> None:
    buckets = data.bucket(SEQUENCES, [16, 4, 8], 3, key=key)
    found = list(buckets(2))
    assert len(found) == len(buckets)
    assert {batch["tokens"].shape[1] for batch in found} == {4, 8, 16}
    back = [tuple(row[:n]) for batch in found for row, n in zip(batch["tokens"], batch["lengths"], strict=True)]
    assert sorted(back) == sorted(map(tuple, SEQUENCES))
    assert [b["lengths"].tolist() for b in buckets(2, start=3)] == [b["lengths"].tolist() for b in found[3:]]
    others = [batch["lengths"].tolist() for batch in buckets(1)]
    assert (others == [batch["lengths"].tolist() for batch in found]) == (key is None)
    with pytest.raises(ValueError, match=r"sequence 0 has 9 elements, more than the lengths \[4, 8\]"):
        data.bucket([np.ones(9)], [4, 8], 2)


def test_pack() -> None:
    packed = data.pack(SEQUENCES, 16)
    back = []
    for tokens, segments, positions in zip(*packed.values(), strict=True):
        for i in range(1, segments.max() + 1):
            back.append(tuple(tokens[segments == i]))
            assert positions[segments == i].tolist() == list(range((segments == i).sum()))
        assert not tokens[segments == 0].any()
    assert sorted(back) == sorted([tuple(x) for x in SEQUENCES if len(x)])
    assert len(packed["tokens"]) < 40 * 0.7
    with pytest.raises(ValueError, match="sequence 1 has 4 elements, more than a row of 3"):
        data.pack([[1], [1, 2, 3, 4]], 3)


def test_windows() -> None:
    tokens = np.arange(100)
    inputs, targets = data.windows(tokens, 7)
    assert inputs.shape == (14, 7) and (targets == inputs + 1).all() and inputs.base is not None
    inputs, _ = data.windows(tokens, 7, stride=1)
    assert inputs[:, 0].tolist() == list(range(93))
    starts = {int(data.windows(tokens, 7, key)[0][0, 0]) for key in range(20)}
    assert len(starts) > 3 and starts <= set(range(7))
    assert data.windows(np.arange(3), 2, 1)[1].tolist() == [[1, 2]]
    with pytest.raises(ShapeError, match=r"n above length=3, got shape \(3,\)"):
        data.windows(np.arange(3), 3)
    with pytest.raises(ValueError, match="length is a whole number from 1 on, got 0"):
        data.windows(np.arange(3), 0)


def test_characters() -> None:
    text = "naïve 🙂 text\n"
    characters = data.Characters(text)
    ids = characters.encode(text)
    assert ids.dtype == np.int32 and ids.max() == len(characters) - 1
    assert characters.decode(ids) == text
    with pytest.raises(ValueError, match=r"character 1 of the text, 'z', is none of the 10 of the vocabulary"):
        characters.encode("nz")
    with pytest.raises(ValueError, match="numbers must be from 0 to 9, got -1 to 3"):
        characters.decode([-1, 3])
    with pytest.raises(ValueError, match="is none of the 0"):
        data.Characters("").encode("a")
    assert data.Characters("").encode("").tolist() == []
