"""Order, resuming, splitting, reading ahead."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import data
from tracegrad.core.errors import ShapeError

X = {"x": np.arange(22.0).reshape(11, 2), "y": np.arange(11)}


def labels(found: Any) -> list[list[int]]:
    return [batch["y"].tolist() for batch in found]


def test_order_is_of_key_and_epoch() -> None:
    batches = data.batches(X, 3, key=5)
    for epoch in (0, 7):
        order = tg.random.permutation(tg.random.fold_in(tg.random.PRNGKey(5), epoch), 11)
        assert np.concatenate(labels(batches(epoch))).tolist() == order[:9].tolist()
    assert labels(batches) == labels(batches(0)) != labels(batches(1))
    assert all((batch["x"][:, 0] == 2 * batch["y"]).all() for batch in batches(3))


def test_the_rest() -> None:
    assert len(data.batches(X, 3)) == 3
    whole = data.batches(X, 3, drop_last=False)
    assert len(whole) == 4 and labels(whole)[-1] == [9, 10]
    assert labels(data.batches(X, 4)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_start_reads_nothing_before_it() -> None:
    read: list[Any] = []

    class Counted(np.ndarray[Any, Any]):
        def __getitem__(self, place: Any) -> Any:
            read.append(np.asarray(place).tolist())
            return np.asarray(self)[place]

    batches = data.batches(X, 2, key=1, transform=lambda key, batch: {**batch, "key": key})
    for found, expected in zip(list(batches(3, start=2)), list(batches(3))[2:], strict=True):
        assert all((a == b).all() for a, b in zip(found.values(), expected.values(), strict=True))
    read.clear()
    assert len(list(data.batches(np.arange(11).view(Counted), 2, key=1)(3, start=2))) == len(read) == 3
    assert labels(data.batches(X, 2, start=3)) == labels(data.batches(X, 2))[3:]


def test_keys_of_transforms_differ() -> None:
    keys: list[Any] = []
    batches = data.batches(np.arange(8), 2, key=0, transform=lambda key, batch: keys.append(key.tolist()))
    for epoch in range(3):
        list(batches(epoch))
    assert len({*map(tuple, keys)}) == 12


def test_the_same_in_another_process() -> None:
    code = "from tracegrad import data; import numpy as np; print([b.tolist() for b in data.batches(np.arange(20), 6, key=3)(2)])"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    here = [b.tolist() for b in data.batches(np.arange(20), 6, key=3)(2)]
    assert [run.stdout.strip() for run in runs] == [str(here)] * 2


def test_wrong_calls() -> None:
    with pytest.raises(ShapeError, match=r"different numbers of examples: \['x'\] has 11, \['y'\] has 10"):
        data.batches({**X, "y": np.arange(10)}, 2)
    with pytest.raises(ShapeError, match=r"\['a'\]\[0\] is a scalar; write np.asarray"):
        data.batches({"a": [1, 2]}, 2)
    with pytest.raises(ShapeError, match="has no leaves"):
        data.batches({}, 2)
    with pytest.raises(
        TypeError, match=r"size is how many examples a batch has, got f64\[11,2\]; .*: batches\(\(x, y\), 32\)"
    ):
        data.batches(X["x"], X["x"])
    with pytest.raises(ValueError, match="no batch of 12 can be made of 11 examples; write drop_last=False"):
        data.batches(X, 12)
    with pytest.raises(ValueError, match=r"no batch of 12 can be made of 0 examples$"):
        data.batches(np.ones(0), 12, drop_last=False)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        data.batches(X, 0)
    with pytest.raises(TypeError, match="a transform draws random numbers; pass key="):
        data.batches(X, 2, transform=lambda key, batch: batch)


@pytest.mark.parametrize("fractions", [0.7, (0.5, 0.3, 0.2)])
@pytest.mark.parametrize("stratify", [False, True])
def test_split(fractions: Any, stratify: bool) -> None:
    classes = np.repeat([0, 1, 2], [60, 30, 11])
    arrays = np.arange(101), classes
    parts = data.split(arrays, fractions, key=2, stratify=classes if stratify else None)
    assert sorted(np.concatenate([part[0] for part in parts])) == list(range(101))
    shares = [0.7, 0.3] if isinstance(fractions, float) else fractions
    for (places, of), share in zip(parts, shares, strict=True):
        assert (classes[places] == of).all()
        assert abs(len(places) - 101 * share) <= 1
        if stratify:
            assert (abs(np.bincount(of, minlength=3) - share * np.array([60, 30, 11])) <= 1.5).all()
            assert (np.diff(of) != 0).sum() > 3  # and not one class after another
    again = data.split(arrays, fractions, key=2, stratify=classes if stratify else None)
    assert all((a[0] == b[0]).all() for a, b in zip(parts, again, strict=True))


def test_split_refuses() -> None:
    with pytest.raises(ValueError, match=r"fractions must be positive and add up to 1, got \(0.5, 0.4\)"):
        data.split(X, (0.5, 0.4), key=0)
    with pytest.raises(ValueError, match=r"of 11 examples, fractions 0.99 leave a part with none"):
        data.split(X, 0.99, key=0)
    with pytest.raises(ShapeError, match=r"a class for each of 11 examples, got shape \(3,\)"):
        data.split(X, 0.5, key=0, stratify=np.ones(3))


def test_map_and_prefetch_keep_epochs_and_starts() -> None:
    batches = data.batches(X, 2, key=4)
    made = data.prefetch(data.map(batches, lambda batch: batch["y"].tolist()), 3)
    assert list(made) == labels(batches) and len(made) == 5
    assert list(made(2, start=1)) == labels(batches(2))[1:]
    assert list(data.prefetch([1, 2, 3])) == [1, 2, 3]
    assert list(data.prefetch(iter([1, 2, 3]))) == [1, 2, 3]
    assert list(data.map(lambda epoch: range(epoch), str)(3, start=1)) == ["1", "2"]


def threads() -> int:
    return sum([thread.name == "tracegrad-prefetch" for thread in threading.enumerate()])


def test_prefetch_delivers_exceptions_in_their_place() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise RuntimeError("disk gone")

    found = iter(data.prefetch(failing()))
    assert next(found) == 1
    with pytest.raises(RuntimeError, match="disk gone") as caught:
        next(found)
    assert "failing" in [frame.name for frame in caught.traceback] and threads() == 0


def test_prefetch_ends_with_whoever_reads() -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield len(closed)
        finally:
            closed.append(threading.current_thread().name)

    for batch in (found := iter(data.prefetch(endless(), 1))):
        assert batch == 0
        break
    assert threads() == 1
    found.close()  # type: ignore[attr-defined]
    assert closed == ["tracegrad-prefetch"] and threads() == 0
    with pytest.raises(ValueError, match="n is a whole number from 1 on, got 0"):
        data.prefetch([1], 0)


def test_prefetch_reads_no_further_than_asked() -> None:
    read: list[int] = []
    found = iter(data.prefetch(data.map(range(100), lambda i: read.append(i) or i), 2))
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert len(read) <= 5


def test_prefetch_works_under_the_errstate_of_whoever_asks() -> None:
    with np.errstate(divide="ignore"):
        assert list(data.prefetch(data.map([1.0], lambda x: np.float64(x) / 0))) == [np.inf]


def test_device_put(jax: Any) -> None:
    device = jax.devices()[-1]
    found = list(data.device_put(data.batches(X, 2, key=4), device))
    assert [batch["y"].tolist() for batch in found] == labels(data.batches(X, 2, key=4))
    assert all(batch["x"].devices() == {device} for batch in found)
    assert [float(x) for x in data.device_put([1.0, 2.0])] == [1.0, 2.0]


def test_jax_arrays_stay_where_they_are(jax: Any) -> None:
    batch = next(iter(data.batches(jax.numpy.arange(6), 2, key=0)))
    assert isinstance(batch, jax.Array)


def test_other_arrays_go_through_numpy() -> None:
    pandas = pytest.importorskip("pandas")
    (batch,) = data.batches({"t": pandas.DataFrame({"a": [1, 2], "b": [3, 4]})}, 2)
    assert batch["t"].tolist() == [[1, 3], [2, 4]]
