"""How many floating-point operations an equation takes, as textbooks count them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tracegrad.core.graph import Eqn, graphs_of
from tracegrad.core.types import ArrayType

# Of n x n matrices, with m columns on the other side where there are any: Golub and Van Loan, Matrix Computations, 4th ed.
_MATRICES: dict[str, Callable[[float, float], float]] = {
    "cholesky": lambda n, m: n**3 / 3,
    "lu": lambda n, m: 2 * n**3 / 3,
    "det": lambda n, m: 2 * n**3 / 3,
    "slogdet": lambda n, m: 2 * n**3 / 3,
    "solve": lambda n, m: 2 * n**3 / 3 + 2 * n**2 * m,
    "inv": lambda n, m: 2 * n**3,
    "triangular_solve": lambda n, m: n**2 * m,
    "qr": lambda n, m: 4 * n**3 / 3,
    "eigh": lambda n, m: 9 * n**3,
    "eigvalsh": lambda n, m: 4 * n**3 / 3,
    "eig": lambda n, m: 25 * n**3,
    "eigvals": lambda n, m: 10 * n**3,
    "svd": lambda n, m: 22 * n**3,
    "svdvals": lambda n, m: 8 * n**3 / 3,
    "expm": lambda n, m: 20 * n**3,
}
_SORTS = {"sort", "argsort", "argpartition", "top_places"}
_FOURIER = {"fft", "ifft", "rfft", "irfft"}


def flops_of(eqn: Eqn) -> int:
    """A multiplication and an addition for each product that is summed; one for each element that an elementwise operation makes,
    whatever it is, and for each that a reduction reads; n log2 n for a sort, 5 n log2 n for a Fourier transform; those of
    textbooks for matrices; none for what moves elements. Of a loop that runs until a condition fails, one step."""
    op, types, outs = eqn.op, [a.type for a in eqn.inputs], [v.type for v in eqn.outputs]
    graphs = graphs_of(eqn.params)
    if graphs:
        times = steps_of_loop(eqn)
        counts = [sum(map(flops_of, g.eqns)) for g in graphs]
        return times * (sum(counts) if "carries" in eqn.params else max(counts))
    found = None if op.contraction is None else op.contraction(types, eqn.params)
    if found is not None:
        return 2 * int(found[0])
    if op.moves or op.view is not None or op.same or op.broadcasts:
        return 0
    if op.name in _MATRICES and types and types[0].ndim > 1:
        return _of_matrices(op.name, types)
    read, made = sum([t.size for t in types]), sum([t.size for t in outs])
    if op.name in _SORTS or op.name in _FOURIER:
        n = types[0].shape[eqn.params.get("axis", -1)] if types[0].shape else 1
        return int((5 if op.name in _FOURIER else 1) * max(read, made) * max(math.log2(max(n, 1)), 1))
    return made if op.elementwise else max(read, made)


def _of_matrices(name: str, types: Sequence[ArrayType]) -> int:
    *batch, rows, columns = types[0].shape
    n = (rows * columns * min(rows, columns)) ** (1 / 3)
    m = types[1].shape[-1] if len(types) > 1 and types[1].ndim > 1 else 1
    return round(math.prod(batch) * _MATRICES[name](n, m))


def steps_of_loop(eqn: Eqn) -> int:
    """How often an equation runs the Graphs that it holds, as far as that is known before."""
    found = eqn.params.get("length", 1)
    return found if type(found) is int else 1
