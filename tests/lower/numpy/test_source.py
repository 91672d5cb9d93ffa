"""Every op, as a line of a module that needs NumPy alone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.transforms.jit.test_source import assert_same, formatter
from tracegrad.core.op import OPS
from tracegrad.core.trace import bind
from tracegrad.lower.numpy.source import tidy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ops")


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.kinds])
def test_an_op_is_written(name: str, folder: Path) -> None:
    op = OPS[name]
    for number, sample in enumerate(list(op.samples())[:4]):

        def program(*xs: Any, params: Any = sample.params) -> Any:
            return bind(op, xs, params)

        source = tg.to_numpy_source(program, *sample.inputs)
        (folder / f"{name}_{number}.py").write_text(source, encoding="utf-8")
        namespace: dict[str, Any] = {}
        exec(compile(source, name, "exec"), namespace)
        with np.errstate(all="ignore"):
            assert_same(namespace["program"](*sample.inputs), tg.jit(program)(*sample.inputs))


@pytest.mark.parametrize("command", [["check", "--output-format", "concise"], ["format", "--diff"]])
def test_ruff_finds_nothing(folder: Path, command: list[str]) -> None:
    done = subprocess.run(
        [formatter(), *command, "--no-cache", "--isolated", "--line-length", "120", str(folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_names() -> None:
    assert [tidy(x) for x in ("params['w'][0].b", "<lambda>_vjp", "3d", "value_and_grad(loss)", "??")] == [
        "params_w_0_b",
        "lambda_vjp",
        "_3d",
        "value_and_grad_loss",
        "",
    ]
