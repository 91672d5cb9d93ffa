"""Random numbers from explicit keys, the same for the same key as `jax.random` makes (its default generator, threefry, with
64-bit types), on NumPy and on XLA: names, arguments and order are jax's. Floats are float64 unless a dtype is given, as NumPy's.

What is random is a function of its key: call it twice with one key and it gives the same twice, so a key is split into as many
as there are draws. A key is two words of 32 bits; `tg.random.key` makes it as a `KeyArray`, which prints as a key, and
`tg.random.PRNGKey` as a plain array, uint32[2]. Everything here takes both.

    key = tg.random.key(0)
    key, mine = tg.random.split(key)
    noise = tg.random.normal(mine, (3,))
"""

from tracegrad.core.boxes import accept_jax
from tracegrad.random.choices import categorical as categorical
from tracegrad.random.choices import choice as choice
from tracegrad.random.choices import permutation as permutation
from tracegrad.random.choices import randint as randint
from tracegrad.random.counts import binomial as binomial
from tracegrad.random.counts import geometric as geometric
from tracegrad.random.counts import multinomial as multinomial
from tracegrad.random.counts import poisson as poisson
from tracegrad.random.gamma import ball as ball
from tracegrad.random.gamma import beta as beta
from tracegrad.random.gamma import chisquare as chisquare
from tracegrad.random.gamma import dirichlet as dirichlet
from tracegrad.random.gamma import f as f
from tracegrad.random.gamma import gamma as gamma
from tracegrad.random.gamma import generalized_normal as generalized_normal
from tracegrad.random.gamma import loggamma as loggamma
from tracegrad.random.gamma import t as t
from tracegrad.random.keyarray import KeyArray as KeyArray
from tracegrad.random.keyarray import key_dtype as key_dtype
from tracegrad.random.keys import PRNGKey as PRNGKey
from tracegrad.random.keys import bits as bits
from tracegrad.random.keys import clone as clone
from tracegrad.random.keys import fold_in as fold_in
from tracegrad.random.keys import key as key
from tracegrad.random.keys import key_data as key_data
from tracegrad.random.keys import key_impl as key_impl
from tracegrad.random.keys import note_keys as note_keys
from tracegrad.random.keys import split as split
from tracegrad.random.keys import wrap_key_data as wrap_key_data
from tracegrad.random.samplers import bernoulli as bernoulli
from tracegrad.random.samplers import exponential as exponential
from tracegrad.random.samplers import gumbel as gumbel
from tracegrad.random.samplers import laplace as laplace
from tracegrad.random.samplers import logistic as logistic
from tracegrad.random.samplers import normal as normal
from tracegrad.random.samplers import rademacher as rademacher
from tracegrad.random.samplers import truncated_normal as truncated_normal
from tracegrad.random.samplers import uniform as uniform
from tracegrad.random.transformed import cauchy as cauchy
from tracegrad.random.transformed import double_sided_maxwell as double_sided_maxwell
from tracegrad.random.transformed import lognormal as lognormal
from tracegrad.random.transformed import maxwell as maxwell
from tracegrad.random.transformed import pareto as pareto
from tracegrad.random.transformed import rayleigh as rayleigh
from tracegrad.random.transformed import triangular as triangular
from tracegrad.random.transformed import wald as wald
from tracegrad.random.transformed import weibull_min as weibull_min
from tracegrad.random.vectors import multivariate_normal as multivariate_normal
from tracegrad.random.vectors import orthogonal as orthogonal

# Those that draw from their key, or split it, after which it is used up.
note_keys(
    globals(),
    "ball bernoulli beta binomial bits categorical cauchy chisquare choice dirichlet double_sided_maxwell exponential f gamma "
    "generalized_normal geometric gumbel laplace loggamma logistic lognormal maxwell multinomial multivariate_normal normal orthogonal "
    "pareto permutation poisson rademacher randint rayleigh split t triangular truncated_normal uniform wald weibull_min",
)
del note_keys

__all__ = accept_jax(globals())


def __dir__() -> list[str]:
    return list(__all__)
