"""The text of a failed check runs, and fails in the same way."""

from __future__ import annotations

import collections
import linecache
import re
import sys
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core import errors
from tracegrad.core.op import OPS, Sample
from tracegrad.core.tracer import Tracer
from tracegrad.ops.families import elementwise
from tracegrad.testing import check_grads, check_jit, check_rule, check_vmap, reproduce, strategies

X = np.array([0.5, 1.0, -0.3])


def message(error: BaseException) -> str:
    """An error's text without what tells where a function stands: file, line, the function around it, a sample's number."""
    text = re.sub(r"at \S+:\d+ \(in [^)]*\)|\([^()\s]+:\d+\)", "HERE", str(error))
    text = text.replace("'Program'", "'program' HERE")  # an object there, a function in its reproducer
    return re.sub(r"on sample \d+", "on sample N", re.sub(r"[\w.<>]*<locals>\.", "", text))


def reproduced(check: Callable[..., Any], *args: Any, missing: str = "", **options: Any) -> str:
    """The reproducer of a check that fails, having been run and having failed in the same way; or one that has only a note
    of what is missing."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- the second error is held against it
        check(*args, **options)
    error, text = caught.value, caught.value.reproducer  # type: ignore[attr-defined]
    assert text.count("# not complete: ") == text.count(f"# not complete: {missing}") == bool(missing), text
    if not missing:
        linecache.cache["<reproducer>"] = (len(text), None, text.splitlines(keepends=True), "<reproducer>")
        with pytest.raises(type(error)) as again:
            exec(compile(text, "<reproducer>", "exec"), {"__name__": "reproducer"})
        assert message(again.value) == message(error)
    return text


def more_when_traced(x: Any) -> Any:
    """Differs from itself under vmap and jit."""
    return x * (2.0 if isinstance(x, Tracer) else 1.0)


@tg.custom_jvp
def doubled(x: Any) -> Any:
    return np.sin(x)


doubled.defjvp(lambda p, t: (doubled(p[0]), 2.0 * np.cos(p[0]) * t[0]))


def test_check_grads_and_check_vmap_and_check_jit() -> None:
    text = reproduced(check_grads, lambda p: np.sum(doubled(p["w"])), ({"w": X},))
    assert (
        "from tests.testing.test_reproduce import doubled\n" in text
        and 'f = lambda p: np.sum(doubled(p["w"]))\n' in text
    )
    assert """args = ({'w': np.array([0.5, 1.0, -0.3], dtype="float64")},)\ncheck_grads(f, args)\n""" in text
    text = reproduced(check_grads, doubled, [X], 1, "fwd", seed=3, directions=1, eps=1e-3, jitted=False)
    assert text.endswith("\ncheck_grads(doubled, args, order=1, modes='fwd', eps=0.001, seed=3, directions=1)\n")
    x = (np.ones((2, 3)), {"a": [X]})
    text = reproduced(check_vmap, lambda x, y: more_when_traced(x) + y["a"][0], x, (0, None), -1)
    assert text.endswith("check_vmap(f, args, in_axes=(0, None), out_axes=-1)\n")
    assert reproduced(check_jit, more_when_traced, (X,)).endswith("\ncheck_jit(more_when_traced, args)\n")
    pytest.importorskip("jax")
    text = reproduced(check_jit, more_when_traced, (tg.device_put(X.astype("float32")),), backends=("xla",), rtol=1e-9)
    assert "args = (tg.device_put(np.array([0.5, 1.0, -0.3]" in text
    assert text.endswith("check_jit(more_when_traced, args, backends=('xla',), rtol=1e-09)\n")


def test_check_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPS["minimum"], "jvp", lambda p, t, out, params: 3.0 * t[1])
    monkeypatch.setattr(OPS["cumsum"], "batch", lambda size, batched, inputs, params: inputs[0])
    for name in ("minimum", "cumsum"):
        text = reproduced(check_rule, OPS[name], order=1)
        assert f'check_rule(OPS["{name}"], samples, order=1)' in text and text.count("Sample(") == 1
    for op in OPS.values():
        text = reproduce.reproducer(check_rule, (op, list(op.samples())), {})
        assert "# not complete" not in text, text
        compile(text, "<reproducer>", "exec")


def test_the_error_is_the_one_that_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise mine or broken

    mine, broken = ValueError("mine"), Broken()
    with pytest.raises(ValueError, match="mine") as caught:
        check_vmap(lambda x: repr(broken), (X,))
    assert caught.value is mine
    text: str = mine.reproducer  # type: ignore[attr-defined]
    assert text.startswith("# not complete: `broken` is a <class") and "its repr raises ValueError; write it" in text
    assert "broken = ...\n" in text
    monkeypatch.setattr(reproduce, "reproducer", lambda *args: 1 / 0)
    with pytest.raises(ValueError, match="mine"):
        check_vmap(lambda x: repr(broken), (X,))
    said = "# A reproducer could not be written: ZeroDivisionError: division by zero\n"
    assert mine.reproducer == said  # type: ignore[attr-defined]
    monkeypatch.setattr(reproduce, "attach", None)
    for check in (check_grads, check_vmap, check_jit):
        check(np.sin, (X,))


def test_local_functions() -> None:
    factor, apply = np.float32(1.5), more_when_traced

    @tg.custom_jvp
    def wrong(x: Any) -> Any:
        "A docstring\n        of two lines."
        return np.sin(x) * factor

    @wrong.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return wrong(x), t  # not the cosine

    def repeated(x: Any, times: int = 2, *, scale: float = 0.5) -> Any:
        return x * scale if times == 0 else repeated(wrong(x), times - 1)

    faculty = lambda n: 1.0 if n == 0 else n * faculty(n - 1)
    f = lambda x: repeated(x) + faculty(3)
    text = reproduced(check_grads, lambda x: f(apply(x)), (X,), order=1)
    assert "@tg.custom_jvp\ndef wrong(x: Any) -> Any:" in text
    assert "return wrong(x), t  # not the cosine\n\n\nwrong.defjvp(_)" in text and "factor = np.float32(1.5)" in text
    assert "f_2 = lambda x: f(apply(x))\n" in text and "\napply = more_when_traced\n" in text


def test_custom_rules_in_other_forms() -> None:
    first = tg.custom_jvp(lambda x, y: x * y)
    first.defjvps(lambda t, out, x, y: t * y, None)
    second = tg.custom_vjp(lambda n, x: x**n, nondiff_argnums=(0,))
    second.defvjp(lambda n, x: (x**n, x), lambda n, x, ct: (ct * x,))
    assert "first.defjvps(first_defjvps, None)" in reproduced(check_grads, lambda x, y: first(x, y), (X, X), order=1)
    text = reproduced(check_grads, lambda x: second(3, x), (X,), modes=("rev",), order=1)
    assert "second = partial(tg.custom_vjp, nondiff_argnums=(0,))(lambda n, x: x**n)" in text
    assert "second_defvjp_2 = lambda n, x, ct: (ct * x,)\n" in text


def test_lambdas_and_other_numpys() -> None:
    import tracegrad.numpy as np

    numpy, args = sys.modules["numpy"], np.ones(3)
    longer = lambda x: (
        (lambda y: np.sin(more_when_traced(y)))(x)
        # of two lines
        + numpy.abs(args)
    )
    text = reproduced(check_jit, longer, (X,))
    assert "(lambda y: np.sin(more_when_traced(y)))(x)\n        # of two lines\n" in text
    assert "import numpy\n" in text and "import tracegrad.numpy as np\n" in text and "check_jit(f, args_2)\n" in text


def test_numpys_functions_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPS["tanh"], "vjp", lambda wanted, ct, out, primals, params: [2.0 * ct])
    assert "check_grads(np.tanh, args)" in reproduced(check_grads, np.tanh, (X,))
    program = strategies.Program.of(["x2 = np.tanh(x1)"], ["x0", "x2"])
    assert "def program(x0, x1):\n    x2 = np" in reproduced(check_grads, program, (X, np.ones((3, 3))))


def test_what_is_missing_is_said() -> None:
    class Model:
        __repr__ = lambda self: "Model()"
        __call__ = lambda self, x: more_when_traced(x)

    def counting(x: Any) -> Any:
        nonlocal count
        count += 1
        return doubled(x)

    default = lambda x, by=X: doubled(x)
    scaled = lambda k: lambda x: more_when_traced(x) * k
    count, model, first, second, large = 0, Model(), scaled(2.0), scaled(3.0), np.arange(2e4).reshape(200, 100)
    op = elementwise("local_for_test", np.positive, lambda d, out, x: 2.0 * d, samples=lambda: [Sample((X,))])
    del OPS["local_for_test"]
    reproduced(
        check_rule, op, missing="`op` is a <class 'tracegrad.core.op.Op'>: Op(local_for_test); write it in place of"
    )
    named = f"is a {Model}: Model(); write it in place of `...`\n"
    assert "\nmodel = ...\n" in reproduced(check_jit, lambda x: model(x), (X,), missing=f"`model` {named}")
    reproduced(check_jit, model, (X,), missing=f"`f` {named}")
    reproduced(check_jit, lambda x: first(x) + second(x), (X,), missing="`k` stands for several things")
    for f in (counting, default, eval("lambda x: doubled(x)", globals()), tg.vmap(doubled)):
        said = f"`f` is {errors.described(f)}, whose source cannot stand by itself"
        assert "\ncheck_grads(..., args)\n" in reproduced(check_grads, f, (X,), missing=said)
    said = "args[0]['w'][0] is an array of shape (200, 100) and dtype float64 whose 160,000 bytes"
    reproduced(check_jit, lambda p: more_when_traced(p["w"][0]), ({"w": [large]},), missing=said)


def written_and_read(x: Any) -> Any:
    script, names = reproduce.Script(), {}
    script.body.append(f"found = {script.value(x, 'x')}")
    exec(script.text(), names)
    return names["found"]


def contents(a: Any) -> Any:
    """The bytes of an array; of a long double the number, since some of its bytes are no part of it, and anything."""
    return a.tobytes() if a.dtype.char not in "gG" else a.tolist()


def bits(x: Any) -> str:
    """What tells trees apart, to the last bit of their leaves."""
    kinds = (np.ndarray, np.generic)
    of = lambda a: (type(a), a.dtype, a.shape, contents(a)) if isinstance(a, kinds) else (type(a), repr(a))
    return f"{type(x)} {tg.tree.tree_map(of, x)}"


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.data())
def test_values_are_written_exactly(data: Any) -> None:
    names = [*"bBhHiIlLefdFD", ">f8", ">i4", *["bfloat16", "float8_e4m3fn"] * ("ml_dtypes" in sys.modules)]
    dtype, shape = np.dtype(data.draw(st.sampled_from(names))), data.draw(strategies.shapes(max_side=3))
    size = int(np.prod(shape)) * dtype.itemsize
    x = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape).copy()
    other = st.integers() | st.floats() | st.complex_numbers() | st.booleans() | st.text() | st.none()
    tree = data.draw(strategies.pytrees(other | st.sampled_from([x, x[()]] if dtype.isnative else [x])))
    with np.errstate(all="ignore"):
        assert bits(written_and_read(tree)) == bits(tree)


def test_values_of_more_kinds() -> None:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-320, 0.1, 1 / 3, -2.5e30])
    for x in [
        special, special.astype("float32"), special - 1j, special != 0, *special, np.bool_(True), np.full((40, 40), -np.nan),
        rng.normal(size=(20, 30)), rng.normal(size=5000).astype("float32"), rng.normal(size=3000) * 1j,
        np.zeros(100_000), np.zeros((3, 0, 2), "complex64"), np.arange(9, dtype="m8[s]"), np.array("text"),
        np.longdouble(1) / 3, Sample((1.0, X), {}), collections.OrderedDict(b=1, a=X), slice(None, 2), range(3),
        ..., {1, 2}, np.dtype("float32"), np.float32, float, (1,), ((), [], {}),
    ]:  # fmt: skip
        assert bits(written_and_read(x)) == bits(x)
    fortran = written_and_read(np.asfortranarray(rng.normal(size=(3, 4))))
    assert fortran.flags.f_contiguous and written_and_read(rng.normal(size=5000)).flags.writeable
