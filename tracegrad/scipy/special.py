"""scipy.special's names: values are SciPy's, derivatives are formulas in these same functions.

A ufunc of SciPy's own, called on what is traced (`scipy.special.gammaln(t)`), is the function here; those of SciPy's functions
that are written in Python have to be called here. SciPy is loaded when the first of them is called. On XLA they have jax's
functions or formulas where these hold float64's accuracy, and otherwise call SciPy on the host; docs/scipy_coverage.md says which, and
how accurate values and derivatives are. In parameters without a derivative (whole orders and
degrees) forward mode raises, and reverse mode, which cannot know who asks, has NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.core.boxes import accept_jax
from tracegrad.core.trace import SCIPY_FUNCTIONS, as_array, bind
from tracegrad.core.types import number_kind, type_of
from tracegrad.ops import softmax as over_axes
from tracegrad.ops.elementwise.activations import logistic as expit
from tracegrad.ops.elementwise.error_function import erf as erf
from tracegrad.ops.elementwise.error_function import erfc as erfc
from tracegrad.ops.elementwise.error_function import ndtr as ndtr
from tracegrad.ops.reduce.logsumexp import logsumexp as _logsumexp
from tracegrad.ops.special.bessel import i0 as i0
from tracegrad.ops.special.bessel import i1 as i1
from tracegrad.ops.special.bessel import iv as iv
from tracegrad.ops.special.bessel import ive as ive
from tracegrad.ops.special.bessel import j0 as j0
from tracegrad.ops.special.bessel import j1 as j1
from tracegrad.ops.special.bessel import jn as jn
from tracegrad.ops.special.bessel import jv as jv
from tracegrad.ops.special.bessel import k0 as k0
from tracegrad.ops.special.bessel import k0e as k0e
from tracegrad.ops.special.bessel import k1 as k1
from tracegrad.ops.special.bessel import k1e as k1e
from tracegrad.ops.special.bessel import kv as kv
from tracegrad.ops.special.bessel import kve as kve
from tracegrad.ops.special.bessel import spherical_in as spherical_in
from tracegrad.ops.special.bessel import spherical_jn as spherical_jn
from tracegrad.ops.special.bessel import spherical_kn as spherical_kn
from tracegrad.ops.special.bessel import spherical_yn as spherical_yn
from tracegrad.ops.special.bessel import y0 as y0
from tracegrad.ops.special.bessel import y1 as y1
from tracegrad.ops.special.bessel import yn as yn
from tracegrad.ops.special.bessel import yv as yv
from tracegrad.ops.special.bessel_i import bessel_i0e as i0e
from tracegrad.ops.special.bessel_i import bessel_i1e as i1e
from tracegrad.ops.special.declared import scipy_special
from tracegrad.ops.special.entropy import boxcox as boxcox
from tracegrad.ops.special.entropy import boxcox1p as boxcox1p
from tracegrad.ops.special.entropy import entr as entr
from tracegrad.ops.special.entropy import huber as huber
from tracegrad.ops.special.entropy import inv_boxcox as inv_boxcox
from tracegrad.ops.special.entropy import kl_div as kl_div
from tracegrad.ops.special.entropy import rel_entr as rel_entr
from tracegrad.ops.special.entropy import xlog1py as xlog1py
from tracegrad.ops.special.entropy import xlogy as xlogy
from tracegrad.ops.special.gamma import beta as beta
from tracegrad.ops.special.gamma import betaln as betaln
from tracegrad.ops.special.gamma import binom as binom
from tracegrad.ops.special.gamma import comb as comb
from tracegrad.ops.special.gamma import factorial as factorial
from tracegrad.ops.special.gamma import gamma as gamma
from tracegrad.ops.special.gamma import gammasgn as gammasgn
from tracegrad.ops.special.gamma import loggamma as loggamma
from tracegrad.ops.special.gamma import multigammaln as multigammaln
from tracegrad.ops.special.gamma import poch as poch
from tracegrad.ops.special.gamma import rgamma as rgamma
from tracegrad.ops.special.gamma import riemann_zeta
from tracegrad.ops.special.hypergeometric import ellipe as ellipe
from tracegrad.ops.special.hypergeometric import ellipk as ellipk
from tracegrad.ops.special.hypergeometric import hyp1f1 as hyp1f1
from tracegrad.ops.special.hypergeometric import hyp2f1 as hyp2f1
from tracegrad.ops.special.hypergeometric import lambertw as lambertw
from tracegrad.ops.special.incomplete_beta import betainc as betainc
from tracegrad.ops.special.incomplete_gamma import igamma as gammainc
from tracegrad.ops.special.incomplete_gamma import igammac as gammaincc
from tracegrad.ops.special.integrals import exp1 as exp1
from tracegrad.ops.special.integrals import expi as expi
from tracegrad.ops.special.integrals import expn as expn
from tracegrad.ops.special.integrals import fresnel as fresnel
from tracegrad.ops.special.integrals import sici as sici
from tracegrad.ops.special.normal import dawsn as dawsn
from tracegrad.ops.special.normal import erf_inv as erfinv
from tracegrad.ops.special.normal import erfcinv as erfcinv
from tracegrad.ops.special.normal import erfcx as erfcx
from tracegrad.ops.special.normal import log_expit as log_expit
from tracegrad.ops.special.normal import log_ndtr as log_ndtr
from tracegrad.ops.special.normal import logit as logit
from tracegrad.ops.special.normal import ndtri as ndtri
from tracegrad.ops.special.normal import wofz as wofz
from tracegrad.ops.special.polygamma import digamma as digamma
from tracegrad.ops.special.polygamma import digamma as psi
from tracegrad.ops.special.polygamma import lgamma as gammaln
from tracegrad.ops.special.polygamma import polygamma as polygamma
from tracegrad.ops.special.polygamma import zeta as _hurwitz
from tracegrad.ops.special.polynomials import eval_chebyt as eval_chebyt
from tracegrad.ops.special.polynomials import eval_chebyu as eval_chebyu
from tracegrad.ops.special.polynomials import eval_gegenbauer as eval_gegenbauer
from tracegrad.ops.special.polynomials import eval_genlaguerre as eval_genlaguerre
from tracegrad.ops.special.polynomials import eval_hermite as eval_hermite
from tracegrad.ops.special.polynomials import eval_hermitenorm as eval_hermitenorm
from tracegrad.ops.special.polynomials import eval_jacobi as eval_jacobi
from tracegrad.ops.special.polynomials import eval_laguerre as eval_laguerre
from tracegrad.ops.special.polynomials import eval_legendre as eval_legendre
from tracegrad.ops.special.polynomials import sph_harm_y as sph_harm_y
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.typing import Array, ArrayLike, Axis

sinc = np.sinc
__all__ = [
    "bernoulli",
    "beta",
    "betainc",
    "betaln",
    "binom",
    "boxcox",
    "boxcox1p",
    "comb",
    "dawsn",
    "digamma",
    "ellipe",
    "ellipk",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfinv",
    "eval_chebyt",
    "eval_chebyu",
    "eval_gegenbauer",
    "eval_genlaguerre",
    "eval_hermite",
    "eval_hermitenorm",
    "eval_jacobi",
    "eval_laguerre",
    "eval_legendre",
    "exp1",
    "expi",
    "expit",
    "expn",
    "factorial",
    "fresnel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "huber",
    "hyp1f1",
    "hyp2f1",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "inv_boxcox",
    "iv",
    "ive",
    "j0",
    "j1",
    "jn",
    "jv",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "kv",
    "kve",
    "lambertw",
    "legendre",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "poch",
    "polygamma",
    "psi",
    "rel_entr",
    "rgamma",
    "sici",
    "sinc",
    "softmax",
    "sph_harm_y",
    "spherical_in",
    "spherical_jn",
    "spherical_kn",
    "spherical_yn",
    "wofz",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "yn",
    "yv",
    "zeta",
]


def zeta(x: ArrayLike, q: ArrayLike | None = None) -> Array:
    """Riemann's zeta function, or Hurwitz': the sum of (k + q)**-x over k = 0, 1, ...

    >>> bool(abs(zeta(2.0) - np.pi**2 / 6) < 1e-14)
    True
    """
    return riemann_zeta(x) if q is None else _hurwitz(x, q)


def bernoulli(n: int) -> Array:
    """Bernoulli's numbers B_0 to B_n, a constant.

    >>> bernoulli(2).round(4).tolist()
    [1.0, -0.5, 0.1667]
    """
    return scipy_special().bernoulli(n)


def legendre(n: int, monic: bool = False) -> Any:
    """Legendre's polynomial of degree `n`, SciPy's object, which may be called on what is traced; `eval_legendre` is more accurate.

    >>> float(legendre(1)(0.5))
    0.5
    """
    return scipy_special().legendre(n, monic)


# ---------------------------------------------------------------------------------------------------------------------
# Over axes.


def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """log(sum(b * exp(a))) over `axis` (default: all); with `return_sign` the logarithm of the absolute value, and the sign. Of complex numbers
    it is the principal logarithm, and the sign of absolute value 1.

    >>> bool(logsumexp(np.array([0.0, -np.inf])) == 0.0)
    True
    """
    a, b = as_array(a), None if b is None else as_array(b)
    if any([number_kind(type_of(x).dtype) == "c" for x in (a, b) if x is not None]):
        return _complex_logsumexp(a, b, axis, keepdims, return_sign)
    return _logsumexp(a, axis, b=b, keepdims=keepdims, return_sign=return_sign)


def _complex_logsumexp(a: Any, b: Any, axis: Any, keepdims: bool, return_sign: bool) -> Any:
    largest = np.max(np.real(a), axis, keepdims=True)
    level = bind(stop_gradient_op, (np.where(np.isfinite(largest), largest, 0),))
    terms = np.exp(a - level)
    total = np.sum(terms if b is None else b * terms, axis, keepdims=True)
    found = [np.log(np.abs(total)) + level, total / np.abs(total)] if return_sign else [np.log(total) + level]
    found = [x if keepdims else np.squeeze(x, axis) for x in found]
    return tuple(found) if return_sign else found[0]


def softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """exp(x) / sum(exp(x)) over `axis` (default: all).

    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    return over_axes.softmax(x, axis)


def log_softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """The logarithm of `softmax`, accurate where that underflows.

    >>> log_softmax(np.array([0.0, -1000.0])).tolist()
    [0.0, -1000.0]
    """
    return over_axes.log_softmax(x, axis)


SCIPY_FUNCTIONS.update(
    _zeta=zeta,
    **{
        f.__name__: f
        for f in (
            comb, factorial, lambertw, log_softmax, logsumexp, multigammaln, polygamma, softmax, sph_harm_y, spherical_in,
            spherical_jn, spherical_kn, spherical_yn,
        )
    },
)  # fmt: skip

accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
