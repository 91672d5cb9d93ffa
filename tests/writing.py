"""Random programs that make views of arrays and write into them, as plain NumPy code: to hold what is traced against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tracegrad.numpy as tnp

Pool = list[Any]
Statement = Callable[[Pool], Any]


class Writing:
    """A program of one array, drawn from a seed: statements that make arrays of those in a pool, or write into these. It is
    drawn while it runs on NumPy, since what fits depends on shapes. `listing` is what it does, a line a statement."""

    def __init__(self, seed: int, length: int = 12) -> None:
        self.rng = np.random.default_rng(seed)
        self.listing: list[str] = []
        self.statements: list[Statement] = []
        shapes = [(5,), (3, 4), (2, 3, 2), (4, 4), (1, 6), (3, 3)]
        self.x = self.rng.uniform(0.5, 2.0, shapes[self.rng.integers(len(shapes))])
        pool: Pool = [self.x.copy()]
        while len(self.statements) < length:
            draw = self.view if self.rng.random() < 0.45 else self.write if self.rng.random() < 0.75 else self.new
            drawn = draw(pool)
            if drawn is None:
                continue
            text, statement = drawn
            made = statement(pool)
            if made is not None:
                text = f"{self.name(len(pool))} = {text}"
                pool.append(made)
            self.listing.append(text)
            self.statements.append(statement)

    def __call__(self, x: Any) -> Any:
        """All that is in the pool at the end."""
        pool: Pool = [x]
        for statement in self.statements:
            made = statement(pool)
            if made is not None:
                pool.append(made)
        return tuple(pool)

    def loss(self, x: Any) -> Any:
        total = 0.0
        for i, a in enumerate(self(x)):
            total = total + np.sum(a * np.cos(np.arange(math.prod(a.shape)).reshape(a.shape) + i))
        return total

    def __repr__(self) -> str:
        return "\n".join([f"x0 = array of shape {self.x.shape}", *self.listing])

    @staticmethod
    def name(i: int) -> str:
        return f"x{i}"

    def pick(self, pool: Pool, fits: Callable[[Any], bool] = lambda a: True) -> int | None:
        found = [i for i, a in enumerate(pool) if a.size and fits(a)]
        return None if not found else int(found[self.rng.integers(len(found))])

    def basic_index(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        index: list[Any] = []
        for n in shape:
            kind = self.rng.integers(5)
            if kind == 0:
                index.append(int(self.rng.integers(-n, n)))
            elif kind == 1:
                index.append(slice(int(self.rng.integers(0, n)), None))
            elif kind == 2:
                index.append(slice(None, None, int(self.rng.choice([-1, 2, -2]))))
            else:
                index.append(slice(None))
        if self.rng.random() < 0.15:
            index.insert(int(self.rng.integers(len(index) + 1)), None)
        if self.rng.random() < 0.2:
            index.append(Ellipsis)
        return tuple(index)

    def any_index(self, shape: tuple[int, ...]) -> Any:
        kind = self.rng.integers(5)
        n = shape[0]
        if kind == 0:
            return [int(i) for i in self.rng.integers(-n, n, 2)]
        if kind == 1:
            return self.rng.random(shape) < 0.5
        if kind == 2 and len(shape) > 1:
            return (slice(None), self.rng.integers(0, shape[1], 3))
        return self.basic_index(shape)

    def view(self, pool: Pool) -> Any:
        i = self.pick(pool, lambda a: a.ndim > 0)
        if i is None:
            return None
        a, me = pool[i], self.name(i)
        match self.rng.integers(13):
            case 0 | 1 | 2:
                index = self.basic_index(a.shape)
                return f"{me}[{index}]", lambda p: p[i][index]
            case 3:
                return f"{me}.T", lambda p: p[i].T
            case 4:
                return f"{me}.reshape(-1)", lambda p: p[i].reshape(-1)
            case 5:
                return f"{me}.ravel()", lambda p: np.ravel(p[i])
            case 6 if a.ndim > 1:
                shape = (a.shape[0] * a.shape[1], *a.shape[2:])
                return f"{me}.reshape({shape})", lambda p: p[i].reshape(shape)
            case 7:
                return f"{me}[:, None].swapaxes(0, 1)", lambda p: p[i][:, None].swapaxes(0, 1)
            case 8:
                return f"np.squeeze({me})", lambda p: np.squeeze(p[i])
            case 9:
                return f"np.flip({me})", lambda p: np.flip(p[i], 0)
            case 10:
                return f"np.array_split({me}, 2)[0]", lambda p: np.array_split(p[i], 2)[0]
            case 11:
                return f"list({me})[-1][...]", lambda p: list(p[i])[-1] * 1.0 if p[i].ndim == 1 else list(p[i])[-1]
            case 12 if a.ndim > 1:
                return f"np.diagonal({me})", lambda p: np.diagonal(p[i])
        return None

    def new(self, pool: Pool) -> Any:
        i = self.pick(pool, lambda a: a.ndim > 0)
        if i is None:
            return None
        me = self.name(i)
        match self.rng.integers(9):
            case 0:
                return f"{me}.copy()", lambda p: p[i].copy()
            case 1:
                return f"{me} * 1.5", lambda p: p[i] * 1.5
            case 2:
                return f"np.sin({me})", lambda p: np.sin(p[i])
            case 3:
                return f"{me}[[0, -1]]", lambda p: p[i][[0, -1]]
            case 4:
                return f"np.asarray({me})", lambda p: tnp.asarray(p[i])
            case 5:
                return f"{me}.flatten()", lambda p: p[i].flatten()
            case 6:
                return f"np.ascontiguousarray({me})", lambda p: tnp.ascontiguousarray(p[i])
            case 7:
                return f"{me}.astype(float)", lambda p: p[i].astype(float)
            case 8:
                return f"{me} + {me}[::-1]", lambda p: p[i] + p[i][::-1]
        return None

    def value(self, pool: Pool) -> tuple[str, Callable[[Pool], Any]]:
        """A number that depends on what is in the pool."""
        j = self.pick(pool)
        assert j is not None
        c = round(float(self.rng.uniform(0.5, 1.5)), 2)
        return f"{c} * np.sin(np.sum({self.name(j)}))", lambda p: c * np.sin(np.sum(p[j]))

    def write(self, pool: Pool) -> Any:
        i = self.pick(pool, lambda a: a.ndim > 0 and a.flags.writeable)
        if i is None:
            return None
        a, me = pool[i], self.name(i)
        text, value = self.value(pool)

        def done(statement: Callable[[Pool], Any]) -> Statement:
            def run(p: Pool) -> None:
                statement(p)

            return run

        def op_all(p: Pool) -> None:
            u = p[i]
            u *= value(p)

        def op_part(index: Any) -> Callable[[Pool], None]:
            def run(p: Pool) -> None:
                p[i][index] += value(p)

            return run

        def set_part(index: Any) -> Callable[[Pool], None]:
            def run(p: Pool) -> None:
                p[i][index] = value(p)

            return run

        def set_from(index: Any, j: int) -> Callable[[Pool], None]:
            def run(p: Pool) -> None:
                p[i][index] = p[j] * 0.5

            return run

        def op_from(j: int) -> Callable[[Pool], None]:
            def run(p: Pool) -> None:
                u = p[i]
                u -= 0.3 * p[j]

            return run

        def rows(p: Pool) -> None:
            for row in p[i]:
                row -= np.mean(row)

        def flat_from(k: int) -> Callable[[Pool], None]:
            def run(p: Pool) -> None:
                p[i].flat[k] *= value(p)

            return run

        match self.rng.integers(18):
            case 0 | 1:
                return f"{me} *= {text}", done(op_all)
            case 2 | 3:
                index = self.any_index(a.shape)
                return f"{me}[{index}] = {text}", done(set_part(index))
            case 4 | 5:
                index = self.any_index(a.shape)
                return f"{me}[{index}] += {text}", done(op_part(index))
            case 6:
                j = self.pick(pool, lambda b: b.shape == a.shape)
                assert j is not None
                return f"{me} -= 0.3 * {self.name(j)}", done(op_from(j))
            case 7:
                index = self.any_index(a.shape)
                j = self.pick(pool, lambda b: b.shape == a[index].shape)
                return j if j is None else (f"{me}[{index}] = {self.name(j)} * 0.5", done(set_from(index, j)))
            case 8:
                return f"np.add({me}, v, out={me})", done(lambda p: np.add(p[i], value(p), out=p[i]))
            case 9:
                at = [0, -1, 0]
                return f"np.add.at({me}, {at}, {text})", done(lambda p: np.add.at(p[i], at, value(p)))
            case 10:
                k = int(self.rng.integers(a.size))
                return f"np.put({me}, [{k}], {text})", done(lambda p: np.put(p[i], [k], value(p)))
            case 11 if a.ndim == 2:
                return f"np.fill_diagonal({me}, {text})", done(lambda p: np.fill_diagonal(p[i], value(p)))
            case 12:
                mask = self.rng.random(a.shape) < 0.5
                return f"np.copyto({me}, {text}, where={mask.tolist()})", done(
                    lambda p: np.copyto(p[i], value(p), where=mask)
                )
            case 13:
                return f"{me}.sort(0)", done(lambda p: p[i].sort(axis=0))
            case 14:
                return f"{me}.fill({text})", done(lambda p: p[i].fill(value(p)))
            case 15:
                k = int(self.rng.integers(a.size))
                return f"{me}.flat[{k}] *= {text}", done(flat_from(k))
            case 16 if a.ndim > 1:
                return f"for row in {me}: row -= np.mean(row)", done(rows)
            case 17:
                j = self.pick(pool, lambda b: b.shape == a.shape)
                assert j is not None
                return f"np.multiply({me}, {self.name(j)}, out={me}, where={me} > 0.7)", done(
                    lambda p: np.multiply(p[i], p[j], out=p[i], where=p[i] > 0.7)
                )
        return None
