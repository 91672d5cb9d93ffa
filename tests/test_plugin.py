"""The text of a failed check runs, and fails in the same way; and pytest prints it."""

from __future__ import annotations

import collections
import doctest
import functools
import linecache
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tracegrad as tg
from tracegrad.op import OPS, Sample
from tracegrad.ops.families import elementwise
from tracegrad.testing import (
    GradientError,
    check_grads,
    check_jit,
    check_rule,
    check_vmap,
    plugin,
    reproduce,
    strategies,
)
from tracegrad.trace import Tracer

ROOT = Path(__file__).resolve().parent.parent
X = np.array([0.5, 1.0, -0.3])
QUICK = hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)


def failure(check: Callable[..., Any], *args: Any, **kwargs: Any) -> AssertionError:
    with pytest.raises(AssertionError) as caught:
        check(*args, **kwargs)
    return caught.value


def message(error: BaseException) -> str:
    """An error's text without what tells where a function stands: file, line, the function around it, a sample's number."""
    text = re.sub(r"at \S+:\d+ \(in [^)]*\)", "at HERE", str(error))
    text = re.sub(r"\([^()\s]+:\d+\)", "(HERE)", text)
    text = re.sub(r"[\w.<>]*<locals>\.", "", text)
    # A random program is an object there, a function in its reproducer.
    text = text.replace("'Program'", "'program' (HERE)").replace("'grad(f)'", "'grad(program)' (HERE)")
    return re.sub(r"on sample \d+", "on sample N", text)


def reproduced(error: Any, complete: bool = True) -> str:
    """The error's reproducer, having been run and having failed as the error did."""
    text = error.reproducer
    assert ("# not complete" not in text) == complete, text
    if complete:
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


# ---------------------------------------------------------------------------------------------------------------------
# Each check.


def test_check_grads() -> None:
    text = reproduced(failure(check_grads, lambda p: np.sum(doubled(p["w"])), ({"w": X},)))
    assert text.endswith('\nargs = ({"w": np.array([0.5, 1.0, -0.3], dtype="float64")},)\ncheck_grads(f, args)\n')
    assert 'f = lambda p: np.sum(doubled(p["w"]))' in text
    assert "from test_plugin import doubled" in text
    text = reproduced(
        failure(check_grads, doubled, [X.astype("float32")], 1, "fwd", seed=3, directions=1, eps=1e-3, jitted=False)
    )
    assert text.endswith('\ncheck_grads(doubled, args, order=1, modes="fwd", eps=0.001, seed=3, directions=1)\n')


def test_check_vmap() -> None:
    text = reproduced(
        failure(check_vmap, lambda x, y: more_when_traced(x) + y["a"][0], (np.ones((2, 3)), {"a": [X]}), (0, None), -1)
    )
    assert text.endswith("check_vmap(f, args, in_axes=(0, None), out_axes=-1)\n")


def test_check_jit() -> None:
    text = reproduced(failure(check_jit, more_when_traced, (X,)))
    assert text.endswith("check_jit(more_when_traced, args)\n")
    pytest.importorskip("jax")
    text = reproduced(
        failure(check_jit, more_when_traced, (tg.device_put(X.astype("float32")),), backends=("xla",), rtol=1e-9)
    )
    assert "args = (tg.device_put(np.array([0.5, 1.0, -0.3]" in text
    assert text.endswith('check_jit(more_when_traced, args, backends=("xla",), rtol=1e-09)\n')


def test_check_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPS["minimum"], "jvp", lambda p, t, out, params: 3.0 * t[1])
    monkeypatch.setattr(OPS["cumsum"], "batch", lambda size, batched, inputs, params: inputs[0])
    for name in ("minimum", "cumsum"):
        error = failure(check_rule, OPS[name], order=1)
        text = reproduced(error)
        assert f'OPS["{name}"]' in text
        assert "from tracegrad.op import OPS, Sample\n" in text
        assert "order=1" in text
        assert text.count("Sample(") == 1


def test_every_sample_of_the_registry_can_be_written() -> None:
    for op in OPS.values():
        text = reproduce.reproducer(check_rule, (op, list(op.samples())), {})
        assert "# not complete" not in text, text
        compile(text, "<reproducer>", "exec")


def test_an_op_that_no_module_has() -> None:
    op = elementwise("local_for_test", np.positive, lambda d, out, x: 2.0 * d, samples=lambda: [Sample((X,))])
    try:
        text = reproduced(failure(check_rule, op), complete=False)
    finally:
        del OPS["local_for_test"]
    assert "# not complete: `op` is the op 'local_for_test', which is in no module that could be imported" in text


def test_other_errors_than_failed_comparisons_have_one_too() -> None:
    def crashes(x: Any) -> Any:
        return x if np.sum(x) > 0 else -x

    with pytest.raises(tg.errors.ConcretizationTypeError) as caught:
        check_jit(crashes, (X,))
    reproduced(caught.value)


def test_the_error_is_the_one_that_was_raised() -> None:
    mine = AssertionError("mine")

    def f(x: Any) -> Any:
        raise mine

    assert failure(check_vmap, f, (X,)) is mine
    assert mine.args == ("mine",)
    assert mine.__traceback__ is not None
    assert "...  # " not in mine.reproducer  # type: ignore[attr-defined]
    assert "# not complete: `mine` is a <class 'AssertionError'>: AssertionError('mine')" in mine.reproducer  # type: ignore[attr-defined]


def test_what_cannot_be_written_hides_nothing() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    broken = Broken()
    error = failure(check_jit, lambda x: (more_when_traced(x), broken)[0], (X,))
    assert error.reproducer == "# A reproducer could not be written: RuntimeError: no repr\n"  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------------------------------
# Functions.


def test_local_functions() -> None:
    factor, depth = np.float32(1.5), 2

    @tg.custom_jvp
    def wrong(x: Any) -> Any:
        "A docstring\n        of two lines."
        return np.sin(x) * factor

    @wrong.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return wrong(x), t  # not the cosine

    def repeated(x: Any, times: int = depth, *, scale: float = float(factor), shift: float = 0.5) -> Any:
        return x * scale + shift if times == 0 else repeated(wrong(x), times - 1)

    error = failure(check_grads, repeated, (X,), order=1)
    text = reproduced(error)
    assert "from __future__ import annotations" in text
    assert "@tg.custom_jvp\ndef wrong(x: Any) -> Any:" in text
    assert "return wrong(x), t  # not the cosine" in text
    assert "factor = np.float32(1.5)" in text
    assert "times: int=2, *, scale: float=1.5, shift: float=0.5" in text


def test_custom_rules_in_other_forms() -> None:
    first = tg.custom_jvp(lambda x, y: x * y)
    first.defjvps(lambda t, out, x, y: t * y, None)
    second = tg.custom_vjp(lambda n, x: x**n, nondiff_argnums=(0,))
    second.defvjp(lambda n, x: (x**n, x), lambda n, x, ct: (ct * x,))
    text = reproduced(failure(check_grads, lambda x, y: first(x, y), (X, X), order=1))
    assert "first.defjvps(" in text
    text = reproduced(failure(check_grads, lambda x: second(3, x), (X,), modes=("rev",), order=1))
    assert "functools.partial(tg.custom_vjp, nondiff_argnums=(0,))" in text


def test_transforms_of_functions() -> None:
    @tg.jit
    def inner(x: Any) -> Any:
        return np.sum(doubled(x) ** 2)

    outer = tg.jit(lambda x, n: doubled(x) * n, static_argnums=1, fast=True)
    for f, args, written in [
        (tg.grad(inner), (X,), "tg.grad(inner)"),
        (tg.value_and_grad(inner, (0,)), (X,), "tg.value_and_grad(inner, argnums=(0,))"),
        (tg.vmap(lambda x, y: doubled(x) * y, (0, None), axis_name="i"), (X, 2.0), "tg.vmap(f, in_axes=(0, None), axis_name=\"i\")"),
        (tg.jacrev(inner), (X,), "tg.jacrev(inner)"),
        (tg.jacfwd(inner), (X,), "tg.jacfwd(inner)"),
        (tg.hessian(inner), (X,), "tg.hessian(inner)"),
        (tg.checkpoint(inner, memory=1000), (X,), "tg.checkpoint(inner, memory=1000)"),
        (inner, (X,), "@tg.jit\ndef inner("),
        (lambda x: outer(x, 3), (X,), "functools.partial(tg.jit, static_argnums=(1,), fast=True)"),
        (functools.partial(lambda k, x, s: doubled(x) * k * s, 2, s=X), (X,), "functools.partial(f, 2, s=np.array("),
    ]:  # fmt: skip
        text = reproduced(failure(check_grads, f, args, order=1))
        assert written in text


def test_names_that_stand_for_several_things() -> None:
    def scaled(k: float) -> Callable[..., Any]:
        return lambda x: doubled(x) * k

    first, second = scaled(2.0), scaled(3.0)
    np_ = np
    count = 0

    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        args = np_.cos(x)
        return first(x) + second(args)

    text = reproduced(failure(check_grads, f, (X,), order=1))
    assert "k=3.0" in text
    assert "    nonlocal count" in text


def test_names_of_tracegrads_numpy() -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("import tracegrad.numpy as np, numpy\nargs = numpy.ones(3)", names)
    source = "f = lambda x: np.sin(more(x)) * args"
    path = "<test_plugin>"
    names["more"] = more_when_traced
    exec(compile(source, path, "exec"), names)
    linecache.cache[path] = (len(source), None, [source], path)
    text = reproduced(failure(check_jit, names["f"], (X,)))
    assert "import tracegrad.numpy as np" in text
    assert "import numpy as np_" in text


def test_several_lambdas_in_a_line() -> None:
    first, second = (lambda x: doubled(x)), (lambda x: more_when_traced(x) * 2.0)
    assert "f = lambda x: doubled(x)\n" in reproduced(failure(check_grads, first, (X,)))
    assert "f = lambda x: more_when_traced(x) * 2.0\n" in reproduced(failure(check_jit, second, (X,)))
    text = reproduced(
        failure(
            check_jit,
            lambda x: (
                more_when_traced(x)
                # of two lines
                + 1.0
            ),
            (X,),
        )
    )
    assert "# of two lines" in text


def test_numpys_functions_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = OPS["tanh"].vjp
    assert rule is not None
    monkeypatch.setattr(OPS["tanh"], "vjp", lambda *args: [2 * d for d in rule(*args)])
    assert "check_grads(np.tanh, args)" in reproduced(failure(check_grads, np.tanh, (X,)))
    program = strategies.Program.of(["x2 = np.tanh(x1)"], ["x0", "x2"])
    args = (X, np.ones((3, 3)))
    assert "def program(x0, x1):\n    x2 = np.tanh(x1)" in reproduced(failure(check_grads, program, args))
    assert "check_grads(tg.grad(program, argnums=(0, 1)), args)" in reproduced(
        failure(check_grads, tg.grad(program, (0, 1)), args)
    )


def test_what_is_missing_is_said() -> None:
    class Model:
        def __call__(self, x: Any) -> Any:
            return more_when_traced(x)

        def __repr__(self) -> str:
            return "Model()"

    model = Model()
    text = reproduced(failure(check_jit, lambda x: model(x), (X,)), complete=False)
    assert text.startswith(
        "# not complete: `model` is a <class 'test_plugin.test_what_is_missing_is_said.<locals>.Model'>:"
    )
    assert "\nmodel = ...\n" in text
    assert "# not complete: `f` is a <class 'test_plugin" in reproduced(failure(check_jit, model, (X,)), complete=False)
    names: dict[str, Any] = {"more": more_when_traced}
    exec("def f(x): return more(x)", names)
    text = reproduced(failure(check_jit, names["f"], (X,)), complete=False)
    assert (
        "# not complete: `f` is the function 'f' (<string>:1), whose source cannot be taken from there; write" in text
    )
    large = np.random.default_rng(0).normal(size=(200, 100))
    text = reproduced(failure(check_jit, lambda p: more_when_traced(p["w"][0]), ({"w": [large]},)), complete=False)
    assert (
        "# not complete: args[0]['w'][0] is an array of shape (200, 100) and dtype float64 whose 160,000 bytes" in text
    )


# ---------------------------------------------------------------------------------------------------------------------
# Values.


class Point(NamedTuple):
    x: Any
    y: Any


def written_and_read(x: Any) -> Any:
    script = reproduce.Script()
    expression = script.value(x, "x")
    assert not script.notes
    names: dict[str, Any] = {}
    imports = [*script.imports, *[line + ", ".join(names) for line, names in script.members.items()]]
    exec("\n".join([*imports, *script.body, f"found = {expression}"]), names)
    return names["found"]


def assert_identical(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray | np.generic):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert_identical(list(a.values()), list(b.values()))
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
    else:
        assert repr(a) == repr(b)


DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "g", "F", "D", "G", ">f8", ">i4"]
SPECIAL = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-320, 0.1, 1 / 3, -2.5e30]


@st.composite
def any_array(draw: st.DrawFn) -> Any:
    """An array of any bits."""
    names = [*DTYPES, *(["bfloat16", "float8_e4m3fn"] if "ml_dtypes" in sys.modules else [])]
    dtype = np.dtype(draw(st.sampled_from(names)))
    shape = draw(strategies.shapes(max_side=3))
    size = int(np.prod(shape))
    if dtype.kind in "fcV" and draw(st.booleans()):
        with np.errstate(all="ignore"):
            found = np.array(draw(st.lists(st.sampled_from(SPECIAL), min_size=size, max_size=size))).astype(dtype)
    elif dtype.kind == "b":
        found = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype)
    elif dtype.char in "gG":  # not all bits of a long double are part of it
        found = np.array(draw(st.lists(st.floats(), min_size=size, max_size=size)), dtype) / 3
    else:
        n = size * dtype.itemsize
        found = np.frombuffer(draw(st.binary(min_size=n, max_size=n)), dtype).copy()
    found = found.reshape(shape)
    return found[()] if draw(st.booleans()) and found.ndim == 0 and dtype.isnative else found


@QUICK
@hypothesis.given(st.data())
def test_values_are_written_exactly(data: Any) -> None:
    leaves = any_array() | st.integers() | st.floats() | st.complex_numbers() | st.booleans() | st.text() | st.none()
    x = data.draw(strategies.pytrees(leaves))
    with np.errstate(all="ignore"):
        assert_identical(written_and_read(x), x)


def test_values_of_more_kinds() -> None:
    rng = np.random.default_rng(0)
    for x in [
        rng.normal(size=(20, 30)), rng.normal(size=5000).astype("float32"), rng.normal(size=3000) * 1j,
        np.full((40, 40), np.nan), np.zeros(100_000), np.zeros((3, 0, 2), "complex64"), np.arange(9, dtype="m8[s]"),
        np.array("text"), Point(1.0, X), collections.OrderedDict(b=1, a=X), collections.defaultdict(list, a=[X]),
        slice(None, 2), range(3), ..., {1, 2}, np.dtype("float32"), np.float32, float, (1,), ((), [], {}),
    ]:  # fmt: skip
        assert_identical(written_and_read(x), x)
    fortran = written_and_read(np.asfortranarray(rng.normal(size=(3, 4))))
    assert fortran.flags.f_contiguous
    assert fortran.flags.writeable
    assert written_and_read(rng.normal(size=5000)).flags.writeable
    jax = pytest.importorskip("jax")
    x = tg.device_put(X)
    found = written_and_read(x)
    assert isinstance(found, jax.Array)
    assert_identical(np.asarray(found), X)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(reproduce) == (0, 3)


# ---------------------------------------------------------------------------------------------------------------------
# pytest.

MODEL = """
    import hypothesis, hypothesis.strategies as st, numpy as np, pytest, tracegrad as tg
    from tracegrad.op import Sample
    from tracegrad.ops.families import elementwise
    from tracegrad.testing import check_grads, check_jit, check_rule

    @tg.custom_jvp
    def wrong(x):
        return np.sin(x)

    wrong.defjvp(lambda p, t: (wrong(p[0]), 2.0 * np.cos(p[0]) * t[0]))

    op = elementwise("wrong_op", lambda x: np.sin(x), lambda d, out, x: d, infer=lambda types, params: types[0],
                     samples=lambda: [Sample((np.zeros(2),)), Sample((np.ones(2),))])

    def more_when_traced(x):
        return x * (2.0 if isinstance(x, tg.trace.Tracer) else 1.0)

    def loss(w):
        return np.sum(wrong(w["a"]))
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """pytest on a test module in a folder of its own, with the plugin installed as pip would have it, or given by name."""

    def run(tests: str, *options: str, installed: bool = True, model: str = MODEL) -> str:
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-config\n")
        (tmp_path / "test_model.py").write_text(textwrap.dedent(model) + textwrap.dedent(tests))
        paths = [str(ROOT)]
        if installed:
            about = tmp_path / "installed" / "tracegrad-0.dist-info"
            about.mkdir(parents=True, exist_ok=True)
            (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tracegrad\nVersion: 0\n")
            entry = re.search(r'pytest11\]\ntracegrad = "(.*)"', (ROOT / "pyproject.toml").read_text())
            assert entry is not None
            (about / "entry_points.txt").write_text(f"[pytest11]\ntracegrad = {entry[1]}\n")
            paths.append(str(about.parent))
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PY_COLORS": "0"}
        env = {k: v for k, v in env.items() if not k.startswith("PYTEST_")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--tb=short",
            *options,
            str(tmp_path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    return run


def sections(output: str) -> list[str]:
    """The reproducers that pytest printed."""
    return re.findall(rf"^-+ {plugin.TITLE} -+\n(.*?)(?=^[-_=]{{3,}}.*[-_=]{{3,}}$)", output, re.MULTILINE | re.DOTALL)


def run_alone(text: str, folder: Path) -> str:
    """What a script fails with, run from elsewhere."""
    script = folder / "elsewhere" / "reproducer.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(text)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 1
    return done.stderr


def test_pytest_prints_what_runs(run: Callable[..., str], tmp_path: Path) -> None:
    output = run("""
        def test_gradient():
            check_grads(loss, ({"a": np.array([0.1, 0.2])},), order=1)

        def test_rule():
            check_rule(op)

        def test_passes():
            check_grads(np.sin, (1.0,))

        @pytest.mark.xfail
        def test_expected():
            check_grads(loss, ({"a": 1.0},))
    """)
    assert "2 failed, 1 passed, 1 xfailed" in output
    gradient, rule = sections(output)
    assert "from test_model import loss" in gradient
    assert "check_grads(loss, args, order=1)" in gradient
    assert 'check_rule(op, [Sample((np.array([1.0, 1.0], dtype="float64"),))])' in rule
    for text, said in (
        (gradient, "GradientError: check_grads: the derivative of order 1 of 'loss'"),
        (rule, "GradientError: check_grads: the derivative of order 1 of"),
    ):
        assert said in run_alone(text, tmp_path)


def test_the_section_in_the_documents(run: Callable[..., str], tmp_path: Path) -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    last = next(i for i, block in enumerate(blocks) if "def test_softsign" in block)
    (printed,) = sections(run("".join(blocks[: last + 1]), model=""))
    shown = re.search(rf"^-+ {plugin.TITLE} -+\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert printed.strip() == shown[1].strip().replace("/home/me/model", str(tmp_path))


@pytest.mark.slow
def test_hypothesis_and_xdist(run: Callable[..., str], tmp_path: Path) -> None:
    output = run(
        """
        @hypothesis.settings(database=None, derandomize=True, deadline=None)
        @hypothesis.given(st.floats(0.0, 4.0), st.integers(0, 9))
        def test_shrinks(x, n):
            check_grads(lambda x: wrong(x) if n > 3 else np.sin(x), (x,), order=1)

        @hypothesis.settings(database=None, derandomize=True, deadline=None)
        @hypothesis.given(st.integers(0, 9))
        def test_several(n):
            if n == 7:
                check_grads(loss, ({"a": 7.0},), order=1)
            if n > 7:
                check_jit(more_when_traced, (1.5,))
        """,
        "-n1",
    )
    assert "2 failed" in output
    shrunk, *several = sorted(sections(output), key=lambda text: "n = 4" not in text)
    assert "n = 4" in shrunk
    assert "args = (0.0,)" in shrunk
    assert "GradientError" in run_alone(shrunk, tmp_path)
    assert len(several) == 2
    assert {"check_jit(more_when_traced, args)", "check_grads(loss, args, order=1)"} == {
        t.split("\n")[-2] for t in several
    }


BY_NAME = ("-p", "tracegrad.testing.plugin")


@pytest.mark.parametrize(
    "options, installed, active",
    [((), True, 1), (BY_NAME, True, 1), (("-p", "no:tracegrad", *BY_NAME), True, 1), (("-p", "no:tracegrad"), True, 0),
     (BY_NAME, False, 1)],
)  # fmt: skip
def test_registration(run: Callable[..., str], options: tuple[str, ...], installed: bool, active: int) -> None:
    output = run("""
        def test_cause():
            try:
                check_grads(wrong, (1.0,), order=1)
            except AssertionError as error:
                raise RuntimeError("because of") from error
    """, *options, installed=installed)  # fmt: skip
    assert len(sections(output)) == active
    assert "1 failed" in output


def test_reproducers_of_chains() -> None:
    class Known(Exception):
        def __init__(self, text: str) -> None:
            self.reproducer = text

    assert list(
        plugin.reproducers(ExceptionGroup("", [Known("a"), ValueError(), ExceptionGroup("", [Known("b")])]))
    ) == ["a", "b"]
    handled = ValueError()
    handled.__context__ = Known("c")
    assert list(plugin.reproducers(handled)) == ["c"]
    handled.__context__.__context__ = handled
    handled.__suppress_context__ = True
    assert list(plugin.reproducers(handled)) == []


def test_the_plugin_loads_neither_hypothesis_nor_jax() -> None:
    code = (
        "import sys, tracegrad.testing.plugin; print([m for m in ('jax', 'hypothesis', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_nothing_is_written_where_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "attach", None)
    check_grads(np.sin, (X,))
    check_vmap(np.sin, (X,))
    check_jit(np.sin, (X,))
    assert not hasattr(GradientError("plain"), "reproducer")
