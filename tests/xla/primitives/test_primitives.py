"""What is bound for each of jax's primitives, held against jax: values, eagerly and jitted, and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax import lax, nn  # noqa: E402
from jax import random as jr  # noqa: E402
from jax.ad_checkpoint import checkpoint_name  # noqa: E402
from jax.extend.core import jaxprs_in_params  # noqa: E402
from jax.extend.random import threefry_2x32  # noqa: E402
from jax.scipy import special, stats  # noqa: E402

import tracegrad as tg  # noqa: E402
from tracegrad.xla.primitives.table import EQUATIONS, PRIMITIVES  # noqa: E402

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(4, 5))
P = np.abs(X) + 0.5
Q = P[::-1].copy()
U = np.tanh(X) * 0.9
N = _RNG.integers(1, 9, (4, 5))
I = _RNG.integers(-9, 9, (4, 5))
J = I[::-1].copy()
B = X > 0
C = X + 1j * Q
S = X @ X.T + 3 * np.eye(4)
KEY = np.array([1, 2], np.uint32)
ORDER = np.array([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan])
ONE_DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])
SIDES = (((0,), (0,)), ((), ()))
POOL = ((2, 2), (1, 2), "SAME")

Case = tuple[Any, ...]  # a function, and its arguments


def same_name(names: str, *args: Any) -> dict[str, Case]:
    return {name: (getattr(lax, name), *args) for name in names.split()}


def _wide(x: Any, y: Any) -> tuple[Any, Any]:
    """Numbers of which the high halves of products say something."""
    return x * 2**58 + 1, y * 2**50 + 7


FAMILIES: dict[str, dict[str, Case]] = {
    "of one float": {
        **same_name("abs asinh atan bessel_i0e bessel_i1e cbrt ceil cos cosh erf erfc exp exp2 expm1 floor is_finite", X),
        **same_name("logistic neg round sign sin sinh square tanh", X),
        **same_name("digamma lgamma log log1p rsqrt sqrt", P),
        **same_name("acos asin atanh erf_inv tan", U),
        **same_name("acosh", P + 1),
        "fft": (lambda x: lax.fft(x, "RFFT", (x.shape[-1],)), X),
        "integer_pow": (lambda x: lax.integer_pow(x, -3), P),
        "polygamma": (lambda x: lax.polygamma(jnp.full(x.shape, 1.0), x), P),
        "reduce_precision": (lambda x: lax.reduce_precision(x, 5, 10), X),
        "round to even": (lambda x: lax.round(x * 2, lax.RoundingMethod.TO_NEAREST_EVEN), X),
        "stop_gradient": (lambda x: lax.stop_gradient(x) * x, X),
        "name": (lambda x: checkpoint_name(jnp.sin(x), "sine") + jnp.cos(x), X),
    },
    "of several floats": {
        **same_name("add atan2 div eq ge gt le lt max min mul ne nextafter rem sub complex igamma_grad_a", X, P),
        **same_name("igamma igammac igamma_grad_a random_gamma_grad", P, Q),
        "zeta": (lax.zeta, P + 1, P),
        "pow": (lax.pow, P, X),
        "pow of integers": (lax.pow, P, N),
        "betainc": (lambda a, b, x: lax.betainc(a, b, jnp.abs(x)), P, Q, U),
        "clamp": (lambda x: lax.clamp(-0.5, x, 0.5), X),
        "select_n": (lax.select_n, B, X, P),
        "one of three": (lambda i, x, y: lax.select_n((i % 3).astype(np.int32), x, y, x + y), N, X, P),
        "total order": (lambda x, y: [p.bind(x, y) for p in (lax.eq_to_p, lax.le_to_p, lax.lt_to_p)], *np.meshgrid(ORDER, ORDER)),
        "sharding_constraint": (lambda x: lax.with_sharding_constraint(x, ONE_DEVICE), X),
        "optimization_barrier": (lambda x: lax.optimization_barrier((x, x * 2)), X),
        "device_put": (lambda x: jax.device_put(x) + jnp.copy(x), X),
    },
    "of integers, booleans and complex numbers": {
        **{f"{k} of integers": v for k, v in same_name("add sub mul div rem max min eq lt", I, N).items()},
        **{f"{k} of integers": v for k, v in same_name("bitwise_and bitwise_or bitwise_xor", I, N).items()},
        **same_name("shift_left shift_right_logical shift_right_arithmetic", I, N),
        **{f"{k} of booleans": v for k, v in same_name("bitwise_and bitwise_or bitwise_xor eq", B, ~B).items()},
        **{f"{k} of an integer": v for k, v in same_name("bitwise_not population_count clz abs sign neg", I).items()},
        **{f"{k} of complex": v for k, v in same_name("abs neg sin exp log tanh real imag conj sqrt square", C).items()},
        "not": (lax.bitwise_not, B),
        "mulhi": (lambda x, y: lax.mulhi(*_wide(x, y)), I, J),
        "mulhi of unsigned": (lambda x, y: lax.mulhi(*_wide(x.astype(np.uint64), y.astype(np.uint64))), N, I),
        "mulhi of i32": (lambda x, y: lax.mulhi((x * 2**27).astype(np.int32), (y * 2**20).astype(np.int32)), I, J),
        "to integers": (lambda x: lax.convert_element_type(x * 1e3, np.int32), X),
        "out of range": (lambda x: [lax.convert_element_type(y, np.int32) for y in (x * 1e30, x * np.nan, x)], X),
        "to u8": (lambda x: lax.convert_element_type(x * 200, np.uint8), X),
        "to i64": (lambda x: lax.convert_element_type(x * 1e19, np.int64), X),
        "to f32": (lambda x: lax.convert_element_type(x, np.float32), X),
        "to booleans": (lambda x: lax.convert_element_type(x, bool), X),
        "bitcast_convert_type": (lambda x: lax.bitcast_convert_type(x, np.int64), X),
    },
    "reductions": {
        "reduce_sum": (lambda x: lax.reduce_sum(x, (0,)), X),
        "reduce_prod": (lambda x: lax.reduce_prod(x, (0, 1)), X),
        "reduce_max": (lambda x: lax.reduce_max(x, (1,)), X),
        "reduce_min": (lambda x: lax.reduce_min(x, (1,)), X),
        "reduce_and": (lambda x: lax.reduce_and(x, (1,)), B),
        "reduce_or": (lambda x: lax.reduce_or(x, (0,)), B),
        "reduce_xor": (lambda x: lax.reduce_xor(x, (0,)), I),
        "argmax": (lambda x: lax.argmax(x, 1, np.int32), X),
        "argmin": (lambda x: lax.argmin(x, 0, np.int64), X),
        "reduce": (lambda x: lax.reduce(x, 1.0, lambda a, b: a * b, (0,)), X),
        "reduce two": (lambda x, y: lax.reduce((x, y), (1.0, 0.0), lambda a, b: (a[0] * b[0], a[1] + b[1]), (0,)), X, P),
        "cumsum": (lambda x: lax.cumsum(x, 1), X),
        "cumprod": (lambda x: lax.cumprod(x, 1, reverse=True), X),
        "cummax": (lambda x: lax.cummax(x, 0), X),
        "cummin": (lambda x: lax.cummin(x, 0), X),
        "cumlogsumexp": (lambda x: lax.cumlogsumexp(x, 0), X),
        "sort": (lambda x: lax.sort(x, 0), X),
        "sort two": (lambda x, y: lax.sort((x, y), 1), X, P),
        "sort by two": (lambda x, y: lax.sort((x % 3, y, y * 2), 1, num_keys=2), N, X),
        "top_k": (lambda x: lax.top_k(x, 2), X),
        "dot_general": (lambda x, y: lax.dot_general(x, y, SIDES), X, P),
        "dot in a batch": (lambda x, y: lax.dot_general(x, y, (((), ()), ((0,), (0,)))), X, P),
        "dot of integers": (lambda x, y: x @ y.T, I, N),
        "dot as wide": (lambda x: lax.dot_general(x, x, SIDES, preferred_element_type=np.float64), X.astype(np.float32)),
        "conv": (lambda x: lax.conv_general_dilated(x[None, None], x[None, None, :2, :2], (1, 2), "SAME"), X),
        "conv in groups": (
            lambda x: lax.conv_general_dilated(
                jnp.stack([x, x])[None], x[None, None, :2, :2].repeat(4, 0), (1, 1), "VALID", feature_group_count=2
            ),
            X,
        ),
        "conv_transpose": (lambda x: lax.conv_transpose(x[None, :, :, None], x[:3, :3, None, None], (2, 2), "SAME"), X),
        "reduce_window_max": (lambda x: lax.reduce_window(x, -np.inf, lax.max, *POOL), X),
        "reduce_window_min": (lambda x: lax.reduce_window(x, np.inf, lax.min, *POOL, window_dilation=(2, 1)), X),
        "reduce_window_sum": (lambda x: lax.reduce_window(x, 0.0, lax.add, *POOL, base_dilation=(2, 1)), X),
        "reduce_window": (lambda x: lax.reduce_window(x, 2.0, lax.mul, *POOL), X),
        "windows of integers": (lambda x: lax.reduce_window(x, np.iinfo(np.int64).min, lax.max, *POOL), I),
        "select_and_scatter_add": (
            jax.grad(lambda x: jnp.sum(lax.reduce_window(jnp.maximum(x, 0), -np.inf, lax.max, *POOL) ** 2)),
            X,
        ),
        "select_and_gather_add": (
            lambda x: jax.jvp(lambda x: lax.reduce_window(x, -np.inf, lax.max, *POOL), (x,), (x * 2,)),
            X,
        ),
    },
    "shapes": {
        "iota": (lambda x: x + lax.broadcasted_iota(np.float64, (4, 5), 1), X),
        "broadcast_in_dim": (lambda x: lax.broadcast_in_dim(x, (2, 4, 3, 5), (1, 3)), X),
        "reshape": (lambda x: lax.reshape(x, (10, 2), (1, 0)), X),
        "squeeze": (lambda x: lax.squeeze(x[None], (0,)), X),
        "expand_dims": (lambda x: lax.expand_dims(x, (1,)), X),
        "transpose": (lambda x: lax.transpose(x, (1, 0)), X),
        "rev": (lambda x: lax.rev(x, (0,)), X),
        "concatenate": (lambda x, y: lax.concatenate([x, y], 1), X, P),
        "stack": (lambda x, y: jnp.stack([x, y], 1), X, P),
        "unstack": (lambda x: jnp.unstack(x, axis=1), X),
        "split": (lambda x: lax.split(x, (1, 3), 0), X),
        "tile": (lambda x: jnp.tile(x, (2, 3)), X),
        "pad": (lambda x: lax.pad(x, 1.5, [(1, -1, 2), (0, 2, 0)]), X),
        "slice": (lambda x: lax.slice(x, (1, 0), (4, 5), (2, 3)), X),
        "empty": (lambda x: lax.empty((2,), np.float64).shape[0] * x, X),
        "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i[0, 0], i[1, 1]), (2, 2)), X, I),
        "dynamic_update_slice": (lambda x, i: lax.dynamic_update_slice(x, x[:2, :2] * 9, (i[0, 0], i[1, 1])), X, I),
        "gather": (lambda x, i: x[i[0] % 4, i[1] % 5], X, I),
        "gather and clip": (lambda x, i: x.at[i].get(mode="clip"), X, I),
        "gather and fill": (lambda x, i: x.at[i].get(mode="fill", fill_value=7.0), X, I),
        "gather and wrap": (lambda x, i: jnp.take(x, i, axis=1, mode="wrap"), X, I),
        "take_along_axis": (lambda x, i: jnp.take_along_axis(x, abs(i) % 4, 0), X, I),
        "scatter": (lambda x, y: x.at[jnp.array([0, 2])].set(y[:2]), X, P),
        "scatter-add": (lambda x, i: x.at[i[0]].add(2.0), X, I),
        "scatter-sub": (lambda x, i: x.at[i[0]].subtract(x[:5, 0].sum()), X, I),
        "scatter-mul": (lambda x, i: x.at[jnp.array([3, 0]), i[0, :2]].multiply(2.0), X, I),
        "scatter-min": (lambda x: x.at[jnp.array([3, 0])].min(0.1, mode="clip"), X),
        "scatter-max": (lambda x: x.at[jnp.array([1, 9])].max(0.1, mode="drop"), X),
        "scatter as promised": (lambda x, i: x.at[abs(i[0]) % 4].add(1.0, mode="promise_in_bounds"), X, I),
    },
    "linear algebra": {
        "cholesky": (jnp.linalg.cholesky, S),
        "triangular_solve": (lambda s, x: lax.linalg.triangular_solve(s, x, left_side=True, lower=True), S, X),
        "triangular_solve from the right": (
            lambda s, x: lax.linalg.triangular_solve(s, x.T, lower=False, transpose_a=True, unit_diagonal=True),
            S,
            X,
        ),
        "triangular_solve of complex ones": (
            lambda s, x: jnp.abs(
                lax.linalg.triangular_solve(
                    jnp.stack([s, 2 * s]) + 1j, jnp.stack([x, x]) + 0j, left_side=True, transpose_a=True, conjugate_a=True
                )
            ),
            S,
            X,
        ),
        "eigh": (lambda s: (jnp.linalg.eigvalsh(s), jnp.abs(jnp.linalg.eigh(s)[1])), S),
        "svd": (lambda x: (jnp.linalg.svd(x, compute_uv=False), jnp.abs(jnp.linalg.svd(x[:, :4])[0])), X),
        "qr": (lambda x: jnp.abs(jnp.linalg.qr(x[:, :4])[1]), X),
        "lu": (lax.linalg.lu, X),
        "lu of several": (lambda x: lax.linalg.lu(jnp.stack([x.T, 2 * x.T[::-1]])), X),
        "custom_linear_solve": (jnp.linalg.solve, S, X),
        "inv": (jnp.linalg.inv, S),
        "slogdet": (jnp.linalg.slogdet, S),
        "lu_pivots_to_permutation": (lambda p: lax.linalg.lu_pivots_to_permutation(p, 5), np.array([2, 2, 3], np.int32)),
        "lu_pivots of several": (lambda p: lax.linalg.lu_pivots_to_permutation(jnp.stack([p, p[::-1] + 1]), 5), N[0, :3].astype(np.int32) % 2 + 2),
        "eig": (lambda x: jnp.sort(jnp.abs(jnp.linalg.eigvals(x))), S),
    },
    "random numbers": {
        "random_bits": (lambda k: [jr.bits(k, (9,), t) for t in (np.uint8, np.uint16, np.uint32, np.uint64)], KEY),
        "random_fold_in": (lambda k: jr.fold_in(k, 7), KEY),
        "random_seed": (lambda s: jr.normal(jr.fold_in(jr.key(s), 3), (2,)), np.int64(-5)),
        "random_seed of 32 bits": (lambda s: jr.bits(jr.key(s), (2,)), np.int32(-5)),
        "keys in a batch": (lambda k: jax.vmap(lambda k, i: jr.normal(jr.fold_in(jr.split(k)[0], i), (2,)))(jr.split(k, 3), jnp.arange(3)), KEY),
        "keys that are carried": (
            lambda k: lax.scan(lambda k, _: (jr.split(k)[0], jr.normal(k)), jr.wrap_key_data(k), length=4)[1],
            KEY,
        ),
        "keys that are indexed": (lambda k, i: jr.bits(jr.split(jr.wrap_key_data(k), 4)[i]), KEY, np.int64(2)),
        "random_clone": (lambda k: jr.key_data(jr.clone(jr.wrap_key_data(k))), KEY),
        "threefry2x32": (lambda k: threefry_2x32(k, jnp.arange(6, dtype=np.uint32)), KEY),
        "uniform": (lambda k: jr.uniform(k, (3,)), KEY),
        "normal of f32": (lambda k: jr.normal(k, (3, 2), np.float32), KEY),
        "randint": (lambda k: jr.randint(k, (5,), 0, 17), KEY),
        "permutation": (lambda k: jr.permutation(k, 7), KEY),
        "choice": (lambda k: jr.choice(k, 7, (3,), replace=False), KEY),
        "categorical": (lambda k: jr.categorical(k, jnp.log(jnp.array([0.1, 0.2, 0.7])), shape=(9,)), KEY),
        "truncated_normal": (lambda k: jr.truncated_normal(k, -1, 1, (5,)), KEY),
    },
    "control flow": {
        "scan": (lambda x: lax.scan(lambda c, r: (c * r + 1, jnp.sin(c)), x[0], x, reverse=True), X),
        "scan with constants": (lambda x, y: lax.scan(lambda c, r: (c * y[0] + r, None), x[0], x), X, P),
        "fori_loop": (lambda x: lax.fori_loop(0, 5, lambda i, c: c * 0.9 + i, x), X),
        "cond": (lambda x: lax.cond(x[0, 0] > 0, lambda x: x * 2, jnp.sin, x), X),
        "switch": (lambda x, i: lax.switch(i[0, 0], [lambda x: x * 2, jnp.sin, lambda x: -x], x), X, I),
        "map": (lambda x: lax.map(lambda r: r.sum(), x), X),
        "associative_scan": (lambda x: lax.associative_scan(jnp.add, x), X),
        "platform_dependent": (lambda x: lax.platform_dependent(x, cpu=lambda x: x * 2, default=lambda x: x), X),
        "checkpoint": (
            lambda x: jax.checkpoint(lambda x: jnp.sin(x @ x.T), policy=jax.checkpoint_policies.dots_saveable)(x),
            X,
        ),
        "custom_jvp_call": (lambda x: nn.relu(x) + nn.silu(x) + nn.softplus(x) + jnp.logaddexp(x, 2.0), X),
        "custom_vjp_call": (lambda x: _clipped(x)[0] * x, X),
        "composite": (lambda x: lax.composite(lambda x: jnp.sin(x) * 2, "tests.twice")(x), X),
        "while_loop in a batch": (
            lambda n: jax.vmap(lambda r: lax.while_loop(lambda c: c[0] < 20, lambda c: (c[0] * 2, c[1] + c[0]), (r[0], r)))(n),
            N,
        ),
        "while_loop": (lambda n: lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 2 + n), (0, n)), N),
    },
    "what is made of them": {
        "softmax": (nn.softmax, X),
        "logsumexp": (nn.logsumexp, X),
        "median": (lambda x: jnp.median(x, 0), X),
        "interp": (lambda x: jnp.interp(x, jnp.linspace(-3, 3, 7), jnp.arange(7.0)), X),
        "einsum": (lambda x: jnp.einsum("ij,kj->ik", x, x), X),
        "var": (lambda x: x.var(), X),
        "unique": (lambda i: jnp.unique(i, size=6), I),
        "nonzero": (lambda b: jnp.nonzero(b, size=5), B),
        "bincount": (lambda i: jnp.bincount(abs(i[0]), length=10), I),
        "multivariate_normal": (lambda s: stats.multivariate_normal.logpdf(s[0], s[1], s), S),
        "norm.logcdf": (stats.norm.logcdf, X),
        "beta.logpdf": (lambda a, b: stats.beta.logpdf(jnp.abs(a) / 4, b, b), U, P),
        "gammaln": (special.gammaln, P),
        "segment_sum": (lambda x: jax.ops.segment_sum(x, jnp.array([0, 1, 0, 2]), 3), X),
        "expm": (lambda x: jax.scipy.linalg.expm(x[:4, :4] * 0.1), X),
        "gradients": (jax.grad(lambda x: jnp.sum(jnp.cumsum(x[1:] * x[:-1]) ** 3)), X),
        "hessians": (lambda x: jax.hessian(lambda x: jnp.sum(jnp.sin(x) * x.sum()))(x[0]), X),
    },
}  # fmt: skip


@jax.custom_vjp
def _clipped(x: Any, n: Any = 3) -> Any:
    return x * 2, n


_clipped.defvjp(lambda x, n=3: (_clipped(x), x), lambda x, cts: (jnp.clip(cts[0], -0.1, 0.1) + x, None))


def close(found: Any, expected: Any, tolerance: float, name: str) -> None:
    found, expected = [list(map(np.asarray, jax.tree.leaves(x))) for x in (found, expected)]
    assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in expected], name
    for a, b in zip(found, expected, strict=True):
        if a.dtype.kind in "fc":
            least = 1e-5 if a.dtype == np.float32 else tolerance
            np.testing.assert_allclose(a, b, least, least, err_msg=name)
        else:
            np.testing.assert_array_equal(a, b, name)


def _floats(x: Any, ours: bool) -> Any:
    """The sum of what is differentiated."""
    return sum(
        [(np if ours else jnp).sum((np if ours else jnp).sin(y)) for y in jax.tree.leaves(x) if y.dtype == np.float64]
    )


@pytest.mark.filterwarnings("ignore::tracegrad.core.errors.KeyReuseWarning")  # bits of several sizes of one key
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_are_those_of_jax(family: str) -> None:
    """All of a family in one program for jax, since XLA's compiler takes most of the time."""
    cases = FAMILIES[family]
    places = {
        name: tuple([i for i, a in enumerate(args) if np.asarray(a).dtype == np.float64])
        for name, (_, *args) in cases.items()
    }

    def of_jax(arguments: Any) -> Any:
        values, gradients = {}, {}
        for name, (f, *_) in cases.items():
            values[name] = f(*arguments[name])
            wanted = [y for y in jax.tree.leaves(values[name]) if y.dtype == np.float64]
            if places[name] and wanted and name not in FORWARD_ONLY:
                gradients[name] = jax.grad(lambda *a: _floats(f(*a), False), places[name])(*arguments[name])
        return values, gradients

    with jax.enable_x64(True):
        fast: Any = {"xla_backend_optimization_level": 0}
        expected, gradients = jax.jit(of_jax, compiler_options=fast)({name: args for name, (_, *args) in cases.items()})
    for name, (f, *args) in cases.items():
        imported = tg.from_jax(f)
        close(imported(*args), expected[name], 1e-9, name)
        close(tg.jit(imported)(*args), expected[name], 1e-9, f"jit of {name}")
        if name in gradients:
            found = tg.grad(lambda *a: _floats(imported(*a), True), places[name])(*args)
            close(found, gradients[name], 1e-7, f"gradient of {name}")


# What jax does not differentiate.
FORWARD_ONLY = {
    "betainc", "composite", "igamma_grad_a", "nextafter", "random_gamma_grad", "reduce_window", "reduce_window_min", "zeta",
}  # fmt: skip


_RING = [(0, 1), (1, 2), (2, 3), (3, 0)]
COLLECTIVES: dict[str, Any] = {
    "psum": lambda x: lax.psum(x, "i") * lax.psum(1, "i"),
    "pmean": lambda x: lax.pmean(x, "i") * x,
    "pmax": lambda x: lax.pmax(x, "i"),
    "pmin": lambda x: lax.pmin(x, "i"),
    "axis_index": lambda x: x * lax.axis_index("i") + lax.axis_size("i"),
    "all_gather": lambda x: lax.all_gather(x, "i", axis=1),
    "all_to_all": lambda x: lax.all_to_all(x, "i", 0, 0),
    "ppermute": lambda x: lax.ppermute(x, "i", _RING),
    "reduce_scatter": lambda x: lax.psum_scatter(x, "i"),
}


def test_collectives() -> None:
    """Under our vmap, which binds the axis for jax too; and what there is said where nobody does."""
    x = S
    with jax.enable_x64(True):
        expected = {name: jax.vmap(f, axis_name="i")(x) for name, f in COLLECTIVES.items()}
        slopes = jax.grad(lambda x: jnp.sum(jax.vmap(COLLECTIVES["pmean"], axis_name="i")(x) ** 2))(x)
    for name, f in COLLECTIVES.items():
        imported = tg.from_jax(f)
        close(tg.vmap(imported, axis_name="i")(x), expected[name], 1e-12, name)
        close(tg.jit(tg.vmap(imported, axis_name="i"))(x), expected[name], 1e-12, name)
    imported = tg.from_jax(COLLECTIVES["pmean"])
    close(tg.grad(lambda x: np.sum(tg.vmap(imported, axis_name="i")(x) ** 2))(x), slopes, 1e-12, "pmean")
    with pytest.raises(NameError, match="unbound axis name: i"):
        imported(1.0)


def test_every_rule_is_tried() -> None:
    """By the primitives in the jaxprs of all cases."""
    seen = {"closed_call", "empty2"}  # which no function of jax.lax's makes

    def collect(jaxpr: Any) -> None:
        for eqn in jaxpr.eqns:
            seen.add(eqn.primitive.name)
            for inner in jaxprs_in_params(eqn.params):
                collect(inner)

    with jax.enable_x64(True):
        for cases in FAMILIES.values():
            for f, *args in cases.values():
                collect(jax.make_jaxpr(f)(*args).jaxpr)
        for f in COLLECTIVES.values():
            collect(jax.make_jaxpr(f, axis_env=[("i", 4)])(X[:, 0]).jaxpr)
    assert {*PRIMITIVES, *EQUATIONS} - seen == set()


_ANY = {
    "max": lambda x: x.max(0),
    "sort": lambda x: jnp.sort(x, 0),
    "argmax": lambda x: jnp.argmax(x, 1),
    "where": lambda x: jnp.where(x > 0, x, x[::-1]),
    "gather": lambda x: x[jnp.array([2, 0])],
    "concatenate": lambda x: jnp.concatenate([x, x.T.reshape(4, -1)], 1),
    "to floats": lambda x: x.astype(np.float32) * 2,
    "cond": lambda x: lax.cond(x[0, 0] > 0, lambda x: x, lambda x: x[::-1], x),
    "scan": lambda x: lax.scan(lambda c, r: (r, c), x[0], x),
}
_NUMBERS = {
    "polynomial": lambda x: x * x * 3 - x + 1,
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(1),
    "matmul": lambda x: x @ x.T,
    "cumsum": lambda x: jnp.cumsum(x, 0),
    "abs": lambda x: jnp.abs(x) % 2,
    "scatter": lambda x: x.at[jnp.array([0, 0])].add(x[1]),
    "divide": lambda x: x / 3,
    "floor divide": lambda x: x // 2,
}
_FLOATS = {
    "gelu": nn.gelu,
    "softmax": nn.softmax,
    "norm": lambda x: jnp.sqrt(jnp.sum(x * x)),
    "exp": lambda x: jnp.exp(x) + jnp.log1p(jnp.abs(x)),
    "normal": lambda x: x + jr.normal(jr.key(0), x.shape, x.dtype),
    "max pool": lambda x: lax.reduce_window(x, -np.inf, lax.max, *POOL),
    "power": lambda x: jnp.abs(x) ** 1.5,
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16", "int32", "int64", "uint8", "bool"])
def test_dtypes(dtype: str) -> None:
    numbers = dtype != "bool"
    cases = {**_ANY, **(_NUMBERS if numbers else {}), **(_FLOATS if "float" in dtype else {})}
    x = (X * (3 if "int" in dtype else 1)).astype(np.int64 if "int" in dtype else np.float64).astype(jnp.dtype(dtype))
    with jax.enable_x64(True):
        expected = jax.jit(lambda x: {name: f(x) for name, f in cases.items()})(x)
    imported = tg.from_jax(lambda x: {name: f(x) for name, f in cases.items()})
    for found in (imported(x), tg.jit(imported)(x)):
        for name in cases:
            for a, b in zip(*map(jax.tree.leaves, (found[name], expected[name])), strict=True):
                assert (a.shape, a.dtype) == (b.shape, b.dtype), name
                eps = float(jnp.finfo(a.dtype).eps) if jnp.issubdtype(a.dtype, np.floating) else 0.0
                wide = np.float64 if eps else a.dtype
                far = 8 * eps
                np.testing.assert_allclose(a.astype(wide), np.asarray(b).astype(wide), far, far, err_msg=name)
