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
from tracegrad.core.functions import SCIPY_FUNCTIONS
from tracegrad.core.trace import as_array, bind
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
from tracegrad.ops.special.distributions import bdtr as bdtr
from tracegrad.ops.special.distributions import bdtrc as bdtrc
from tracegrad.ops.special.distributions import bdtri as bdtri
from tracegrad.ops.special.distributions import betaincc as betaincc
from tracegrad.ops.special.distributions import chdtr as chdtr
from tracegrad.ops.special.distributions import chdtrc as chdtrc
from tracegrad.ops.special.distributions import chdtri as chdtri
from tracegrad.ops.special.distributions import fdtr as fdtr
from tracegrad.ops.special.distributions import fdtrc as fdtrc
from tracegrad.ops.special.distributions import fdtri as fdtri
from tracegrad.ops.special.distributions import gdtr as gdtr
from tracegrad.ops.special.distributions import gdtrc as gdtrc
from tracegrad.ops.special.distributions import gdtrix as gdtrix
from tracegrad.ops.special.distributions import nbdtr as nbdtr
from tracegrad.ops.special.distributions import nbdtrc as nbdtrc
from tracegrad.ops.special.distributions import nbdtri as nbdtri
from tracegrad.ops.special.distributions import nrdtrimn as nrdtrimn
from tracegrad.ops.special.distributions import nrdtrisd as nrdtrisd
from tracegrad.ops.special.distributions import pdtr as pdtr
from tracegrad.ops.special.distributions import pdtrc as pdtrc
from tracegrad.ops.special.distributions import pdtri as pdtri
from tracegrad.ops.special.elliptic import agm as agm
from tracegrad.ops.special.elliptic import ellipeinc as ellipeinc
from tracegrad.ops.special.elliptic import ellipj as ellipj
from tracegrad.ops.special.elliptic import ellipkinc as ellipkinc
from tracegrad.ops.special.elliptic import ellipkm1 as ellipkm1
from tracegrad.ops.special.entropy import boxcox as boxcox
from tracegrad.ops.special.entropy import boxcox1p as boxcox1p
from tracegrad.ops.special.entropy import entr as entr
from tracegrad.ops.special.entropy import huber as huber
from tracegrad.ops.special.entropy import inv_boxcox as inv_boxcox
from tracegrad.ops.special.entropy import inv_boxcox1p as inv_boxcox1p
from tracegrad.ops.special.entropy import kl_div as kl_div
from tracegrad.ops.special.entropy import rel_entr as rel_entr
from tracegrad.ops.special.entropy import xlog1py as xlog1py
from tracegrad.ops.special.entropy import xlogy as xlogy
from tracegrad.ops.special.further import airy as airy
from tracegrad.ops.special.further import erfi as erfi
from tracegrad.ops.special.further import hyp0f1 as hyp0f1
from tracegrad.ops.special.further import hyperu as hyperu
from tracegrad.ops.special.further import modstruve as modstruve
from tracegrad.ops.special.further import owens_t as owens_t
from tracegrad.ops.special.further import spence as spence
from tracegrad.ops.special.further import struve as struve
from tracegrad.ops.special.further import voigt_profile as voigt_profile
from tracegrad.ops.special.further import wrightomega as wrightomega
from tracegrad.ops.special.further import zetac as zetac
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
from tracegrad.ops.special.hankel import h1vp as h1vp
from tracegrad.ops.special.hankel import h2vp as h2vp
from tracegrad.ops.special.hankel import hankel1 as hankel1
from tracegrad.ops.special.hankel import hankel1e as hankel1e
from tracegrad.ops.special.hankel import hankel2 as hankel2
from tracegrad.ops.special.hankel import hankel2e as hankel2e
from tracegrad.ops.special.hankel import ivp as ivp
from tracegrad.ops.special.hankel import jve as jve
from tracegrad.ops.special.hankel import jvp as jvp
from tracegrad.ops.special.hankel import kn as kn
from tracegrad.ops.special.hankel import kvp as kvp
from tracegrad.ops.special.hankel import yve as yve
from tracegrad.ops.special.hankel import yvp as yvp
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
from tracegrad.ops.special.normal import ndtri_exp as ndtri_exp
from tracegrad.ops.special.normal import wofz as wofz
from tracegrad.ops.special.polygamma import digamma as digamma
from tracegrad.ops.special.polygamma import digamma as psi
from tracegrad.ops.special.polygamma import lgamma as gammaln
from tracegrad.ops.special.polygamma import polygamma as polygamma
from tracegrad.ops.special.polygamma import zeta as _hurwitz
from tracegrad.ops.special.polynomials import eval_chebyc as eval_chebyc
from tracegrad.ops.special.polynomials import eval_chebys as eval_chebys
from tracegrad.ops.special.polynomials import eval_chebyt as eval_chebyt
from tracegrad.ops.special.polynomials import eval_chebyu as eval_chebyu
from tracegrad.ops.special.polynomials import eval_gegenbauer as eval_gegenbauer
from tracegrad.ops.special.polynomials import eval_genlaguerre as eval_genlaguerre
from tracegrad.ops.special.polynomials import eval_hermite as eval_hermite
from tracegrad.ops.special.polynomials import eval_hermitenorm as eval_hermitenorm
from tracegrad.ops.special.polynomials import eval_jacobi as eval_jacobi
from tracegrad.ops.special.polynomials import eval_laguerre as eval_laguerre
from tracegrad.ops.special.polynomials import eval_legendre as eval_legendre
from tracegrad.ops.special.polynomials import eval_sh_chebyt as eval_sh_chebyt
from tracegrad.ops.special.polynomials import eval_sh_chebyu as eval_sh_chebyu
from tracegrad.ops.special.polynomials import eval_sh_legendre as eval_sh_legendre
from tracegrad.ops.special.polynomials import sph_harm_y as sph_harm_y
from tracegrad.ops.special.quantiles import betainccinv as betainccinv
from tracegrad.ops.special.quantiles import betaincinv as betaincinv
from tracegrad.ops.special.quantiles import gammainccinv as gammainccinv
from tracegrad.ops.special.quantiles import gammaincinv as gammaincinv
from tracegrad.ops.special.quantiles import stdtr as stdtr
from tracegrad.ops.special.quantiles import stdtrit as stdtrit
from tracegrad.ops.special.simple import cosdg as cosdg
from tracegrad.ops.special.simple import cosm1 as cosm1
from tracegrad.ops.special.simple import cotdg as cotdg
from tracegrad.ops.special.simple import exp10 as exp10
from tracegrad.ops.special.simple import exprel as exprel
from tracegrad.ops.special.simple import perm as perm
from tracegrad.ops.special.simple import powm1 as powm1
from tracegrad.ops.special.simple import pseudo_huber as pseudo_huber
from tracegrad.ops.special.simple import radian as radian
from tracegrad.ops.special.simple import sindg as sindg
from tracegrad.ops.special.simple import softplus as softplus
from tracegrad.ops.special.simple import tandg as tandg
from tracegrad.ops.structural import stop_gradient_op
from tracegrad.typing import Array, ArrayLike, Axis

cbrt, exp2, expm1, log1p, round, sinc = np.cbrt, np.exp2, np.expm1, np.log1p, np.rint, np.sinc
__all__ = [
    "agm",
    "airy",
    "bdtr",
    "bdtrc",
    "bdtri",
    "bernoulli",
    "beta",
    "betainc",
    "betaincc",
    "betainccinv",
    "betaincinv",
    "betaln",
    "binom",
    "boxcox",
    "boxcox1p",
    "cbrt",
    "chdtr",
    "chdtrc",
    "chdtri",
    "comb",
    "cosdg",
    "cosm1",
    "cotdg",
    "dawsn",
    "digamma",
    "ellipe",
    "ellipeinc",
    "ellipj",
    "ellipk",
    "ellipkinc",
    "ellipkm1",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfi",
    "erfinv",
    "eval_chebyc",
    "eval_chebys",
    "eval_chebyt",
    "eval_chebyu",
    "eval_gegenbauer",
    "eval_genlaguerre",
    "eval_hermite",
    "eval_hermitenorm",
    "eval_jacobi",
    "eval_laguerre",
    "eval_legendre",
    "eval_sh_chebyt",
    "eval_sh_chebyu",
    "eval_sh_legendre",
    "exp1",
    "exp2",
    "exp10",
    "expi",
    "expit",
    "expm1",
    "expn",
    "exprel",
    "factorial",
    "fdtr",
    "fdtrc",
    "fdtri",
    "fresnel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammainccinv",
    "gammaincinv",
    "gammaln",
    "gammasgn",
    "gdtr",
    "gdtrc",
    "gdtrix",
    "h1vp",
    "h2vp",
    "hankel1",
    "hankel1e",
    "hankel2",
    "hankel2e",
    "huber",
    "hyp0f1",
    "hyp1f1",
    "hyp2f1",
    "hyperu",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "inv_boxcox",
    "inv_boxcox1p",
    "iv",
    "ive",
    "ivp",
    "j0",
    "j1",
    "jn",
    "jv",
    "jve",
    "jvp",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "kn",
    "kv",
    "kve",
    "kvp",
    "lambertw",
    "legendre",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "modstruve",
    "multigammaln",
    "nbdtr",
    "nbdtrc",
    "nbdtri",
    "ndtr",
    "ndtri",
    "ndtri_exp",
    "nrdtrimn",
    "nrdtrisd",
    "owens_t",
    "pdtr",
    "pdtrc",
    "pdtri",
    "perm",
    "poch",
    "polygamma",
    "powm1",
    "pseudo_huber",
    "psi",
    "radian",
    "rel_entr",
    "rgamma",
    "round",
    "sici",
    "sinc",
    "sindg",
    "softmax",
    "softplus",
    "spence",
    "sph_harm_y",
    "spherical_in",
    "spherical_jn",
    "spherical_kn",
    "spherical_yn",
    "stdtr",
    "stdtrit",
    "struve",
    "tandg",
    "voigt_profile",
    "wofz",
    "wrightomega",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "yn",
    "yv",
    "yve",
    "yvp",
    "zeta",
    "zetac",
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
            comb, factorial, h1vp, h2vp, ivp, jvp, kvp, lambertw, log_softmax, logsumexp, multigammaln, perm, polygamma, softmax, softplus, sph_harm_y, spherical_in,
            spherical_jn, spherical_kn, spherical_yn, yvp,
        )
    },
)  # fmt: skip

accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
