"""Which backends there are, and what is said where one is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.transforms.jit.test_xla import run

jax = pytest.importorskip("jax")

import tracegrad as tg  # noqa: E402
import tracegrad.numpy as tnp  # noqa: E402

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")


def test_unknown_backends() -> None:
    with pytest.raises(ValueError, match="'numpy', 'xla' or 'auto'"):
        tg.jit(np.sin, backend="cuda")


def test_without_jax() -> None:
    out = run("""
import sys
sys.modules["jax"] = None                                   # not installed
import numpy as np, tracegrad as tg, tracegrad.numpy as tnp
assert tg.jit(tg.grad(lambda x: np.sum(np.sin(x))))(np.zeros(2)).tolist() == [1.0, 1.0]
assert tnp.sin(np.zeros(1))[0] == 0
for f in (lambda: tg.jit(np.sin, backend="xla"), tg.devices, lambda: tg.to_jax(np.sin), lambda: tg.device_put(1.0),
          lambda: tg.from_jax(np.sin)):
    try:
        f()
    except ImportError as error:
        assert "pip install 'tracegrad[xla]'" in str(error), error
    else:
        raise AssertionError
print("ok")
""")
    assert out == "ok\n"


def test_xla_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each op on a jax array asks for it, and to look through all modules takes longer than the op."""
    x = jax.numpy.ones(3)
    tnp.sin(x)
    monkeypatch.setattr(tg, "_loaded", None)
    assert float(tnp.sin(x)[0]) == float(jax.numpy.sin(1.0))


def test_the_environment_chooses_the_default_backend() -> None:
    code = "import numpy as np, tracegrad as tg; print(type(tg.jit(np.sin)(np.zeros(2))).__name__)"
    assert run(code, TRACEGRAD_BACKEND="xla") == "ArrayImpl\n"
    assert run(code, TRACEGRAD_BACKEND="numpy") == "ndarray\n"
    refused = """
import numpy as np, tracegrad as tg
try:
    tg.jit(np.sin)
except ValueError as error:
    print(error)
"""
    assert "TRACEGRAD_BACKEND=tpu" in run(refused, TRACEGRAD_BACKEND="tpu")
    assert run("import sys, tracegrad; print('jax' in sys.modules)") == "False\n"
