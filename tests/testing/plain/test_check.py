"""Random NumPy programs on exotic operands, held against plain NumPy (tracegrad.testing.plain)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.core.errors import TracerArrayConversionError
from tracegrad.testing import fuzz
from tracegrad.testing.plain import Case, check_case
from tracegrad.testing.plain import check as plain
from tracegrad.testing.plain.other_ways import stirred
from tracegrad.testing.plain.programs import Operand


def test_cases_give_what_numpy_gives() -> None:
    done = [check_case(Case(seed)) for seed in range(250)]
    assert done.count("ran") > 120


def test_cases_give_what_numpy_gives_on_xla() -> None:
    pytest.importorskip("jax")
    done = [check_case(Case(seed), ("numpy", "xla")) for seed in range(250, 275)]
    assert done.count("ran") > 10


@pytest.mark.parametrize("factor", [2.0, 1 + 1e-9])
def test_a_wrong_value_is_found(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """However little wrong, where rounding is no reason."""

    def wrong(function: Any, *primals: Any) -> Any:
        out, pull = tg.vjp(function, *primals)
        return factor * out if np.asarray(out).dtype == np.float64 else out, pull

    monkeypatch.setattr(plain, "vjp", wrong)
    with pytest.raises(AssertionError, match="a traced function gives"):
        [check_case(Case(seed)) for seed in range(50)]


def test_a_reverse_derivative_that_is_nan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of loops too, which know nothing of masks, where there is no mask."""

    def wrong(function: Any, *primals: Any) -> Any:
        out, pull = tg.vjp(function, *primals)
        return out, lambda ct: [c * np.nan for c in pull(ct)]

    monkeypatch.setattr(plain, "vjp", wrong)
    loops = [case for case in map(Case, range(600000000, 600001000)) if case.mild and "lax.cond" in case.source]
    loops = [case for case in loops if not re.search(r"where|[<>!] ?\d.*\]", case.source)]
    assert loops
    with pytest.raises(AssertionError, match="the reverse derivative nan is not the forward one"):
        [check_case(case) for case in loops]


def test_a_wrong_last_bit_under_jit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any, backend: str) -> Any:
        return lambda *args: np.nextafter(out, 9) if (out := np.asarray(function(*args))).dtype == np.float64 else out

    monkeypatch.setattr(plain, "jit", wrong)
    with pytest.raises(AssertionError, match="jit gives"):
        [check_case(Case(seed)) for seed in range(50)]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--plain", "--minutes", "0"]) == 0
    assert "1 cases" in capsys.readouterr().out


def test_what_it_found() -> None:
    """The dtype of an outer sum with a Python number, and squares of complex numbers to the bit, written over them too."""
    x = np.array([1.9409129619598389 + 2j, 1.501717448234558 - 0.5310875177383423j], np.complex64)

    def squared(x: Any) -> Any:
        y = np.copy(x)
        y **= 2
        return y

    for run in (tg.jit, lambda f: lambda x: tg.vjp(f, x)[0]):
        np.testing.assert_array_equal(run(squared)(x), squared(x))
        found = run(lambda y: np.add.outer(0.5, y))(np.float32([0.25, 1.0]))
        assert found.dtype == np.float64 and found.tolist() == [0.75, 1.5]
    # A power of integers beside one that is differentiated.
    n = np.array([2, 3])
    assert tg.vjp(lambda x, n: x * np.power(n, n - 2), np.ones(2), n)[1](np.ones(2))[0].tolist() == [1.0, 3.0]
    assert tg.vjp(lambda x, n: x * n.astype(float) ** (-n), np.ones(2), n)[1](np.ones(2))[0].tolist() == [0.25, 1 / 27]


EITHER_WAY = (tg.jit, lambda f: lambda *args: tg.vjp(f, *args)[0])

# Cases in which something was found: by now each gives what NumPy gives, or has a rule in tracegrad/testing/plain/.
FOUND = (
    1001453, 1002482, 1004242, 1005386, 1005441, 1010639, 1011840, 1012529, 1015041, 1015112, 1015152, 1016103, 1016836, 1017621,
    1018386, 1019651, 1019833, 1023545, 1024939, 1026131, 1034046, 1034065, 1036726, 1040023, 1040817, 1045616, 1050370, 1051642,
    1052749, 1061752, 1067393, 1073174, 1077685, 1087727, 1088673, 2025159, 3001670, 4021398, 4029505, 5004308, 6018332, 6021835,
    6044715, 8023348, 11047345, 11055743, 11056875, 11095966, 12002579, 13011380, 13025108, 14171123,
    14178626, 70007554, 410000598, 410000707, 410001363, 410009432, 410015695, 410018359, 440015644, 441006131, 460000825, 480007901, 500000484,
    500001268, 500003163, 500003710, 500006292, 502000485, 503002014, 503002155, 503002531, 520018449, 520021440, 520045924, 530005401,
    613005364, 613005734, 613019877, 614013188, 777030709, 777058701,
)  # fmt: skip


@pytest.mark.parametrize("seed", FOUND)
def test_cases_that_found_something(seed: int) -> None:
    check_case(Case(seed))


# The same on XLA.
FOUND_ON_XLA = (
    1000020, 1000085, 5000236, 5000371, 5003591, 5003952, 5004168, 7000832, 7001159, 7001615, 12000512, 12000693, 12002212, 90002262,
    20001607, 30000106, 40000384, 15000155, 50001789, 60000438, 80003790, 100000766, 310004714, 310012156,
    310022045, 420001599, 420003534, 430000419, 450002897, 480003244, 480003789, 480010874, 490004278, 490007656,
    520000114, 520000424, 520002850, 520007471, 520012592, 520019784, 520026537,
)  # fmt: skip


def test_cases_that_found_something_on_xla() -> None:
    pytest.importorskip("jax")
    for seed in FOUND_ON_XLA:
        check_case(Case(seed), ("numpy", "xla"))


def test_numbers_on_xla_are_numpys() -> None:
    """Signs of infinities, False times infinity, powers of no integers."""
    pytest.importorskip("jax")
    on_xla = lambda f, *args: np.asarray(tg.jit(f, backend="xla")(*args))
    ends = np.array(
        [complex(np.inf, 1), complex(-2, -np.inf), complex(np.inf, np.nan), complex(np.inf, np.inf), 3 - 4j]
    )
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(on_xla(np.sign, ends), np.sign(ends))
    assert np.isnan(on_xla(lambda b, x: b * x, np.array([False]), np.inf)).all()
    assert on_xla(lambda n: n**-1, np.zeros((2, 0), int)).shape == (2, 0)
    n = np.array([5, -3])
    for divided in (
        np.floor_divide,
        np.remainder,
        np.fmod,
        lambda x, y: np.reciprocal(y),
    ):  # by what is known to be zero
        assert on_xla(lambda n, f=divided: f(np.ones(2, int), np.imag(n)), n).tolist() == [0, 0]


def test_limits_that_a_dtype_has_not() -> None:
    """A traced Python int may limit what is clipped as an int in the program may."""
    for run in EITHER_WAY:
        assert run(lambda x, high: np.clip(x, None, high))(np.array([3, 200], np.uint8), 2**40).dtype == np.uint8
        assert run(lambda x, low: np.clip(x, low, 100))(np.array([3, 200], np.uint8), -3).tolist() == [3, 100]
        with pytest.raises(OverflowError):
            run(lambda x, low: np.clip(x, low, None))(np.array([3, 200], np.uint8), 2**40)


def test_a_python_int_that_a_dtype_has_not_is_not_written() -> None:
    def copied(x: Any, v: Any) -> Any:
        y = np.copy(x)
        np.copyto(y, v)
        return y

    def assigned(x: Any, v: Any) -> Any:
        y = np.copy(x)
        y[0] = v
        return y

    x = np.array([1, 2], np.uint8)
    for run in (lambda f: f, *EITHER_WAY):
        for write in (copied, assigned):
            assert run(write)(x, 7)[0] == 7
            with pytest.raises(OverflowError, match="out of bounds for uint8"):
                run(write)(x, -3)


def test_a_copy_without_axes_is_an_array() -> None:
    """It keeps its dtype where it is written into, as a number does not, and afterwards."""

    def subtracted(x: Any, y: Any) -> Any:
        z = np.copy(x)
        z -= y
        return z

    def overwritten(x: Any) -> Any:
        z = np.copy(x > 0)
        z[...] = 0.5
        return z**2

    for run in EITHER_WAY:
        assert run(subtracted)(np.float16(1.5), np.int64(2)).dtype == np.float16
        assert run(lambda x, y: subtracted(x, y) + y)(np.float16(1.5), np.float32(2)).dtype == np.float32
        assert run(overwritten)(np.float64(-1.0)).dtype == np.int8
        assert run(lambda x: -(x != None))(np.float64(1.0)) == -1  # noqa: E711
        assert np.asarray(run(lambda x: np.imag(x != None))(np.float64(1.0))).dtype == np.int64  # noqa: E711
        assert np.asarray(run(lambda x: np.transpose(x) * np.float32(2))(1.5)).dtype == np.float64


def test_zeros_beside_what_is_added_keep_their_signs() -> None:
    def added(x: Any, i: Any) -> Any:
        y = x.copy()
        np.add.at(y, i, 2.0)
        return y

    x = np.array([[-0.0, 0.0, -0.0], [1.0, -0.0, np.inf]])
    for index in (0, [0, 0], (slice(None), 1), ([0, 0, 1], [1, 1, 2])):
        expected = added(x, index)
        for run in EITHER_WAY:
            found = run(lambda x, i=index: added(x, i))(x)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_no_zero_is_multiplied_by_infinity() -> None:
    """In a batch of convolutions, and in cross products of vectors in the plane, as not in NumPy's."""
    a, v = np.array([[np.inf, 3.0, 1.0], [1.0, 2.0, -np.inf]]), np.array([[2.0, np.inf], [1.0, -1.0]])
    expected = np.stack([np.convolve(*rows) for rows in zip(a, v, strict=True)])
    np.testing.assert_array_equal(tg.vmap(np.convolve)(a, v), expected)
    np.testing.assert_array_equal(tg.vmap(lambda a: np.convolve(v[0], a))(a), [np.convolve(v[0], row) for row in a])
    space, plane = np.array([1.0, -2.0, np.inf]), np.array([np.inf, 0.0])
    products = [
        (space, plane, [np.nan, np.inf, np.inf]),
        (plane, space, [np.nan, -np.inf, -np.inf]),
        (plane, plane[::-1], np.inf),
    ]
    for x, y, product in products:
        for run in EITHER_WAY:
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(run(np.cross)(x, y), product)


def test_masks_go_through_steps_and_parts_of_floats() -> None:
    """What is not taken adds nothing, though its derivative be infinite: in both modes."""
    x = np.array([-1.0, 4.0])
    for part in (lambda y: np.modf(y)[0], lambda y: np.frexp(y)[0]):
        f = lambda x, part=part: np.sum(np.where(x > 0, part(np.sqrt(np.where(x > 0, x, 0.0 * x))), 1.0))
        with np.errstate(all="ignore"):
            assert np.isfinite(tg.grad(f)(x)).all() and np.isfinite(tg.jvp(f, (x,), (np.ones(2),))[1])
    stepped = lambda h: np.sum(np.cbrt(np.heaviside(x, h)))
    with np.errstate(all="ignore"):
        assert tg.grad(stepped)(0.5) == 0.0 == tg.jvp(stepped, (0.5,), (1.0,))[1]
        assert not np.isfinite(tg.grad(lambda y: np.fmod(1.5, y))(0.0))  # of Python floats, which raise


def test_small_things_of_numpys() -> None:
    for run in EITHER_WAY:
        high = run(np.nan_to_num)(np.array([np.inf, np.nan], np.longdouble))
        assert high.tolist() == [np.finfo(np.longdouble).max, 0.0]
        assert run(lambda x: x[np.zeros(0, bool)])(np.ones((3, 2))).shape == (0, 2)  # an empty mask is of any length
    with pytest.raises(TracerArrayConversionError):
        tg.jit(lambda i: np.ones(3)[i])(True)
    assert tg.vjp(lambda i: np.arange(3.0)[i], True)[0].tolist() == [[0, 1, 2]]  # not element 1: a bool adds an axis


def test_code_that_nothing_reads_is_not_run_under_jit() -> None:
    """As under jax.jit. The fuzz takes that, and no other value where NumPy raises."""

    def program(n: Any) -> Any:
        power = np.power(n, n)
        return np.ones_like(power)

    n = np.array([2, -1])
    with pytest.raises(ValueError, match="negative integer powers"):
        program(n)
    with pytest.raises(ValueError, match="negative integer powers"):
        tg.vjp(program, n)
    assert tg.jit(program)(n).tolist() == [1, 1]
    case = Case(1016103)
    one = tg.jit(case.program)(*case.args())
    assert plain._is_of_dead_code(case, one) and not plain._is_of_dead_code(case, 2 * one)


def written(lines: str, mild: bool = False, **operands: Any) -> Case:
    """A case with a program of one's own, whose lines each give a value a name."""
    case = Case(0)
    case.mild, case.names = mild, tuple(operands)
    case.operands = [Operand(repr(v), lambda v=v: np.copy(v) if np.ndim(v) else v) for v in operands.values()]
    case.lines = [(re.split(r"\W", line)[0], line) for line in lines.split("; ")]
    case.lines = [(line.split("(")[1].split(",")[0] if target == "np" else target, line) for target, line in case.lines]
    case.source = case.up_to(len(case.lines))
    case.program = case.made(case.source)
    return case


def test_what_numpy_computes_as_float64_is_held_to_that() -> None:
    """`ufunc.at` of a Python number beside uint64; the variance of equal integers, of which their rounded mean is no one."""
    large = np.array([2**63 + 2**10 + 1, 5], np.uint64)
    for call in ("np.maximum.at(y, [0], 1)", "np.add.at(y, 0, 2)"):
        assert check_case(written(f"y = np.copy(x); {call}", x=large)) == "ran"
    y = large.copy()
    np.maximum.at(y, [0], 1)
    assert int(y[0]) != int(large[0]) == int(tg.jit(lambda x: np.maximum(x, 1))(large)[0])
    found = stirred(np.array([[2**62 + 1, 3], [-5, 7]]))
    assert found[0, 0] != 2.0**62 and found.reshape(-1)[1:].tolist() == [3.0, -5.0, 7.0]
    assert stirred(large[1:] > 3).dtype == bool


def test_what_xla_computes_otherwise_is_not_held_against_it() -> None:
    """Its sums begin with zero, and it divides by three by a product."""
    pytest.importorskip("jax")
    on_xla = ("numpy", "xla")
    assert check_case(written("m = np.mean(x); a = np.angle(m)", x=np.array([-0.0, -0.0])), on_xla) == "ran"
    for large in (7613996499038379085, -3694663496263986633):
        assert check_case(written("v = np.var(x)", x=np.full((1, 5), large)), on_xla) == "ran"


def test_a_median_of_three_equal_elements_is_no_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves by the median of what they move by, which is linear in none: the derivative is that of one of them. Of elements
    that differ it is held against differences."""
    x, y = np.array([9.0, 2.0, 2.0, 1.0, 2.0]), np.array([0.5, -1.0, 0.25, 2.0, 1.0])
    for last in ("z = np.median(x)", "s = np.sort(x); z = s[2:3]", "s = np.copy(x); s.sort(); z = s[2:3]"):
        assert check_case(written(last, mild=True, x=x)) == "ran"
    plainly = plain.jvp
    monkeypatch.setattr(plain, "jvp", lambda *args: (plainly(*args)[0], 2 * plainly(*args)[1]))
    with pytest.raises(AssertionError, match="is not"):
        check_case(written("z = np.median(x)", mild=True, x=y))


def test_what_a_mask_selects_is_no_false_alarm() -> None:
    """It is added up among what it leaves out, and multiplied by one in the place of that: infinity times a complex one is NaN."""
    x = np.random.default_rng(0).normal(size=(20, 12))
    for row in x:
        for line in ("s = np.sum(x[x > 0])", "s = np.var(x[~(x > 0)])", "y = x[x != 0]; s = np.std(y)"):
            assert check_case(written(line, x=row)) == "ran"
        assert check_case(written("s = np.sum(x, where=x > 0)", x=row.astype(np.float32).reshape(2, 3, 2))) == "ran"
    z = np.array([[-0.5 + 2j, complex(np.inf, 1.5)], [0.25 - 1.5j, -0.5 + 0.25j], [1.5 - 0.5j, 1 + 0.5j]], np.complex64)
    assert check_case(written("p = np.prod(z[z > 0], axis=0); s = p.imag", z=z)) == "ran"
