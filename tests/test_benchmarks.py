"""All contenders of a workload give the same result, and the harness does what it says. Nothing is timed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu, timing
from benchmarks.jitted import JITTED
from benchmarks.on_xla import ON_XLA
from benchmarks.science import SCIENCE
from benchmarks.timing import Contender, Target, Workload
from benchmarks.two_tiers import TWO_TIERS
from benchmarks.workloads import WORKLOADS, float64_in_jax

LIGHT = [*WORKLOADS, *[w for w in (*JITTED, *SCIENCE) if w.name.startswith("eager_") or w.name == "jit_perceptron"]]
HEAVY = [w for w in (*JITTED, *ON_XLA, *SCIENCE, *TWO_TIERS) if w not in LIGHT and not w.name.startswith("first_")]


@pytest.mark.parametrize(
    "workload",
    [*LIGHT, *[pytest.param(w, marks=pytest.mark.slow) for w in HEAVY]],
    ids=lambda workload: workload.name,
)
def test_contenders_of_every_workload_agree(workload: Workload) -> None:
    with float64_in_jax():
        assert workload.contenders[0].name in workload.check()


def test_training_steps_of_a_gpt_on_both_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    """The same losses in bfloat16, which is asserted before the times are printed."""
    assert gpu.main(["gpt", "--device", "cpu", "--small", "--rounds", "1"]) == 0
    assert "GPT, 0 M parameters, 2 × 16 words, bfloat16, training step, ms" in capsys.readouterr().out


def test_without_a_gpu_the_benchmark_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    import jax

    if jax.default_backend() != "gpu":
        assert gpu.main([]) == 0
        assert "jax finds no gpu here, only cpu: nothing was run" in capsys.readouterr().out


def test_peaks_of_devices() -> None:
    assert gpu.peak_of("NVIDIA H200") == gpu.peak_of("NVIDIA H100 80GB HBM3") == 989e12
    assert gpu.peak_of("NVIDIA H100 PCIe") == 756e12
    assert gpu.peak_of("cpu") is None


class Clock:
    """Time that passes only when a thunk says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def thunk() -> None:
            self.now += seconds

        return thunk


@pytest.mark.parametrize("cost, calls", [(1.0, 1), (0.005, 1), (0.004, 2), (0.001, 8)])
def test_loop_sampler_calls_as_often_as_fills_its_time(cost: float, calls: int) -> None:
    clock = Clock()
    sample = timing.loop_sampler(clock.work(cost), seconds=0.01, clock=clock)
    before = clock.now
    assert sample() == pytest.approx(cost)
    assert clock.now - before == pytest.approx(cost * calls)


def test_rounds_are_interleaved_and_their_minimum_is_kept() -> None:
    order: list[str] = []

    def sampler(name: str, samples: list[float]) -> Callable[[], float]:
        values: Iterator[float] = iter(samples)

        def sample() -> float:
            order.append(name)
            return next(values)

        return sample

    samplers = {"a": sampler("a", [3.0, 1.0, 2.0]), "b": sampler("b", [5.0, 6.0, 4.0])}
    assert timing.minimum_of_rounds(samplers, rounds=3) == {"a": 1.0, "b": 4.0}
    assert order == ["a", "b"] * 3


def test_a_slow_contender_sits_out_but_for_three_rounds() -> None:
    clock, calls = Clock(), {"slow": 0, "fast": 0}

    def sampler(name: str, seconds: float) -> Callable[[], float]:
        def sample() -> float:
            calls[name] += 1
            clock.now += seconds
            return seconds

        return sample

    timing.minimum_of_rounds({"slow": sampler("slow", 10), "fast": sampler("fast", 0.01)}, 20, limit=3.0, clock=clock)
    assert calls == {"slow": 3, "fast": 20}


def gives(name: str, result: Any, **options: Any) -> Contender:
    return Contender(name, lambda: lambda: result, **options)


X = np.array([1.0, 2.0, 0.0])


@pytest.mark.parametrize(
    "result, message",
    [
        (X + 1e-6, "w: ours: result['x'] is off by 1e-06, more than 2e-10"),
        (X * np.nan, "w: ours: result['x'] is off by nan, more than 2e-10"),
        (X[:2], "w: ours: result['x'] has shape (2,), expected (3,)"),
        (X.astype("f"), "w: ours: result['x'] has dtype float32, expected float64"),
        ([X], "w: ours: leaves [\"['x'][0]\"], expected [\"['x']\"]"),
    ],
    ids=["value", "nan", "shape", "dtype", "structure"],
)
def test_unequal_results_are_an_error(result: Any, message: str) -> None:
    workload = Workload("w", "", (gives("ours", {"x": result}), gives("numpy", {"x": X})))
    with pytest.raises(AssertionError) as error:
        workload.check()
    assert str(error.value) == message
    with pytest.raises(AssertionError):  # nor is anything timed then
        workload.measure()


def test_results_may_differ_within_the_tolerance_and_have_their_own_expectation() -> None:
    chains = [gives(f"{n}", X * n, expected=lambda n=n: X * n) for n in (1, 2)]
    workload = Workload("w", "", (gives("ours", (X + 1e-11, [3])), gives("numpy", (X, [3])), *chains))
    assert list(workload.check()) == ["ours", "numpy", "1", "2"]


def test_a_contender_that_is_not_installed_is_reported_and_a_broken_one_raises() -> None:
    def broken() -> Callable[[], Any]:
        raise ImportError("broken")

    absent = Contender("absent", broken, requires="no_such_module_anywhere")
    workload = Workload("w", "some work", (gives("ours", X), absent), (Target("ours", 0.5, of="absent"),))
    assert list(workload.check()) == ["ours"]
    text, all_met = workload.report({"ours": 2e-6})
    assert "absent  not installed" in text
    assert "target: ours ÷ absent at most 0.500: not measured" in text
    assert all_met
    with pytest.raises(ImportError, match="broken"):
        Workload("w", "", (Contender("broken", broken, requires="numpy"),)).check()


def test_report() -> None:
    workload = Workload(
        "w",
        "some work",
        (gives("ours", X), gives("peer", X), gives("numpy", X)),
        (Target("ours", 1 / 3, of="peer"), Target("ours", 2, of="numpy"), Target("ours", 30)),
    )
    text, all_met = workload.report({"ours": 12e-6, "peer": 48e-6, "numpy": 4e-6})
    assert not all_met
    assert text.splitlines() == [
        "w: some work",
        "                µs     ÷ ours     ÷ peer    ÷ numpy",
        "  ours        12.0       1.00      0.250       3.00",
        "  peer        48.0       4.00       1.00       12.0",
        "  numpy       4.00      0.333     0.0833       1.00",
        "  target: ours ÷ peer at most 0.333: 0.250, met",
        "  target: ours ÷ numpy at most 2.00: 3.00, MISSED",
        "  target: ours, µs at most 30.0: 12.0, met",
    ]


def test_peaks_of_memory_are_a_column() -> None:
    """What a call allocates, its result among that, or what the contender says itself."""
    made = Contender("made", lambda: lambda: np.ones(250_000) + np.ones(250_000)[:1])
    said = Contender("said", lambda: lambda: np.full(250_000, 2.0), peak=lambda: 3e6)
    workload = Workload("w", "some work", (made, said), reference="made", with_peaks=True)
    peaks = workload.peaks(workload.check())
    assert 5.9e6 < peaks["made"] < 6.1e6 and peaks["said"] == 3e6
    text, _ = workload.report({"made": 2e-6, "said": 1e-6}, {"made": 6e6, "said": 3e6})
    assert text.splitlines()[1:] == [
        "               µs     ÷ made     ÷ said    peak MB",
        "  made       2.00       1.00       2.00       6.00",
        "  said       1.00      0.500       1.00       3.00",
    ]
    assert replace(workload, with_peaks=False).peaks(workload.check()) == {}


def test_a_target_of_a_ratio_or_a_time() -> None:
    target = Target("ours", 1 / 20, of="peer", or_units=5.0)
    assert target.judge({"ours": 4e-3, "peer": 8e-3}, "ms") == (
        "target: ours ÷ peer at most 0.0500, or 5.00 ms: 4.00 ms, met",
        True,
    )
    assert target.judge({"ours": 6e-3, "peer": 0.2}, "ms")[1] is True
    assert target.judge({"ours": 6e-3, "peer": 0.1}, "ms")[1] is False


def test_time_is_divided_by_the_units_of_work() -> None:
    ten = gives("ten", X, per=10, sampler=lambda: lambda: 50.0)
    assert Workload("w", "", (ten,)).measure(rounds=2) == {"ten": 5.0}


def test_a_workload_with_a_target_of_a_stranger_is_refused() -> None:
    with pytest.raises(ValueError, match=r"w: contenders \['ours'\], targets speak of \['ours', 'theirs'\], unit 'µs'"):
        Workload("w", "", (gives("ours", X),), (Target("ours", 1, of="theirs"),))


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def workload(name: str, seconds: float) -> Workload:
        return Workload(name, "work", (gives("ours", X, sampler=lambda: lambda: seconds),), (Target("ours", 3),))

    workloads = [workload("fine", 2e-6), workload("missed", 4e-6)]
    assert timing.main(["--list"], workloads) == 0
    assert capsys.readouterr().out == "fine: work\n  ours\nmissed: work\n  ours\n"
    assert timing.main(["--rounds", "1"], workloads) == 0
    printed = capsys.readouterr().out
    assert "at most 3.00: 2.00, met" in printed
    assert "at most 3.00: 4.00, MISSED" in printed
    assert timing.main(["--strict"], workloads) == 1
    capsys.readouterr()
    assert timing.main(["fine", "--strict"], workloads) == 0
    assert "missed" not in capsys.readouterr().out
    for wrong, message in (
        (["other"], "no workload named other; there are fine, missed"),
        (["--rounds", "0"], "got 0"),
    ):
        with pytest.raises(SystemExit):
            timing.main(wrong, workloads)
        assert message in capsys.readouterr().err
