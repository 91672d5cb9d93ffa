"""Linear algebra: `numpy.linalg`, with derivatives.

Values come from NumPy's LAPACK; leading axes are batches throughout, which is how vmap runs them. Derivatives are written
in matrix products and these same functions, so they can be differentiated again. Where a decomposition is not unique
(signs, phases, bases of equal eigenvalues), its derivative is that of the choice which moves least, and a function that
depends on the choice has no derivative to be had; gaps between equal values count as infinite, not as zero, so that a
sum of equal eigenvalues, say, keeps its finite derivative.

Sources, named by the functions below:
    Giles: M. Giles, "Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation", 2008
    Walter: S. Walter, L. Lehmann, "Algorithmic Differentiation of Linear Algebra Functions with Application in Optimum
        Experimental Design", 2010, arXiv:1001.1654
    Townsend: J. Townsend, "Differentiating the Singular Value Decomposition", 2016
    Murray: I. Murray, "Differentiation of the Cholesky decomposition", 2016, arXiv:1602.07527
    Golub: G. Golub, V. Pereyra, "The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems Whose
        Variables Separate", SIAM J. Numer. Anal. 10 (1973)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from tracegrad.errors import ConcretizationTypeError, DtypeError
from tracegrad.op import BatchRule, Op, Params, Sample, Wanted
from tracegrad.ops.contract import (
    column,
    conjugate_of_complex,
    linalg_cross,
    linalg_outer,
    matmul,
    matrix_transpose,
    multi_dot,
    tensordot,
    transposed,
    vecdot,
)
from tracegrad.ops.elementwise import astype
from tracegrad.ops.families import (
    broadcast_shapes,
    cast,
    conform,
    implements,
    linear,
    normalize_axes,
    normalize_axis,
    reject,
    safe_divide,
    shape_of,
)
from tracegrad.ops.reduce import expand_reduced, reduced_shape
from tracegrad.trace import as_array, bind, concrete
from tracegrad.types import ArrayType, type_of
