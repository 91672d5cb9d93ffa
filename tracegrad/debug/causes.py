"""Why an operation gives NaN or an infinity, in words, and what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def shown(x: Any) -> str:
    """A number in few digits."""
    x = np.asarray(x)[()]
    if x.dtype.kind == "c":
        return f"{complex(x):.6g}"
    return f"{float(x):.6g}" if x.dtype.kind not in "biu" else str(x)


_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@"}


def applied(op: str, operands: Sequence[Any]) -> str:
    """`0 / 0`, `log of -0.3`."""
    texts = [shown(x) for x in operands]
    if op in _SIGNS and len(texts) == 2:
        return f" {_SIGNS[op]} ".join(
            [f"({t})" if t.startswith("-") and (i or op == "power") else t for i, t in enumerate(texts)]
        )
    return f"{op} of {', '.join(texts)}"


def overflows(operands: Sequence[Any], result: Any) -> bool:
    """Whether an infinity is the mark of a number that is too large, and not one of a pole."""
    return bool(operands) and all([bool(np.isfinite(x)) and x != 0 for x in operands]) and bool(np.isinf(result))


def largest(dtype: np.dtype[Any]) -> str:
    """The largest number of a dtype of floats."""
    return shown(np.finfo(dtype).max if dtype.kind in "fc" else np.inf)


_OUTSIDE = "keep its argument in {domain}: `np.{op}(np.where(ok, x, {safe}))` with `ok = {ok}`, inside an outer `np.where(ok, ..., otherwise)`"
_DOMAINS = {
    "log": ("x > 0", "1.0", "x > 0"), "log2": ("x > 0", "1.0", "x > 0"), "log10": ("x > 0", "1.0", "x > 0"),
    "log1p": ("x > -1", "0.0", "x > -1"), "sqrt": ("x >= 0", "1.0", "x > 0"), "rsqrt": ("x > 0", "1.0", "x > 0"),
    "arccos": ("-1 <= x <= 1", "0.0", "np.abs(x) < 1"), "arcsin": ("-1 <= x <= 1", "0.0", "np.abs(x) < 1"),
    "arctanh": ("-1 < x < 1", "0.0", "np.abs(x) < 1"), "arccosh": ("x >= 1", "2.0", "x > 1"),
}  # fmt: skip


def forward_advice(op: str, operands: Sequence[Any], result: Any) -> str:
    """What to write instead of an operation that gave this."""
    if overflows(operands, result) and np.asarray(result).dtype.itemsize < 4:
        return "compute it in float32: `x.astype(np.float32)`"
    if op in ("exp", "exp2", "expm1", "sinh", "cosh", "square") or (op == "power" and overflows(operands, result)):
        more = (
            "; for softmax and logsumexp there are tg.nn.softmax and tg.nn.logsumexp, which do so"
            if "exp" in op
            else ""
        )
        return f"subtract the maximum before it, or bound the argument by np.clip{more}"
    if op in ("divide", "reciprocal", "remainder", "fmod") and operands[-1] == 0:
        return "keep the divisor from zero: `np.where(y != 0, x / np.where(y != 0, y, 1.0), 0.0)`, or add a small number to it"
    if op == "log" and np.size(operands[0]) and operands[0] == 0:
        return "add a small number, np.log(x + 1e-12), or compute the logarithm at once: tg.nn.log_softmax, tg.nn.log_sigmoid, np.logaddexp"
    if op in _DOMAINS:
        domain, safe, ok = _DOMAINS[op]
        return _OUTSIDE.format(domain=domain, op=op, safe=safe, ok=ok)
    if op == "power" and operands[0] == 0:
        return "keep the base from zero: `np.where(x != 0, np.where(x != 0, x, 1.0) ** y, 0.0)`"
    if op == "power":
        return "a negative number has no real power that is no whole number: write np.abs(x) ** y, or np.sign(x) * np.abs(x) ** y"
    if op in ("add", "subtract", "multiply", "divide"):
        return "keep infinities out of it: bound what makes them, or use a large finite number in place of np.inf"
    return ""


# op -> (what is wrong with its slope, what to write).
_SLOPES = {
    "sqrt": ("the slope of sqrt at 0 is infinite", "`np.sqrt(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.sqrt(x + 1e-12)`"),
    "rsqrt": ("the slope of 1 / sqrt at 0 is infinite", "`x + 1e-12` in place of x"),
    "cbrt": ("the slope of cbrt at 0 is infinite", "`np.cbrt(np.where(x != 0, x, 1.0))` inside `np.where(x != 0, ..., 0.0)`"),
    "norm": ("a norm has no slope at 0", "`np.sqrt(np.sum(x**2) + 1e-12)`, or `np.sum(x**2)` without the root"),
    "hypot": ("hypot has no slope at (0, 0)", "`np.sqrt(x**2 + y**2 + 1e-12)`"),
    "arctan2": ("the slopes of arctan2 at (0, 0) are 0/0", "`np.arctan2(np.where(ok, y, 0.0), np.where(ok, x, 1.0))` with `ok = (x != 0) | (y != 0)`"),
    "log": ("the slope of log at 0 is infinite", "`np.log(np.where(x > 0, x, 1.0))` inside `np.where(x > 0, ..., 0.0)`, or `np.log(x + 1e-12)`"),
    "divide": ("the slope of a quotient at a divisor of 0 is infinite", "`x / np.where(y != 0, y, 1.0)` inside `np.where(y != 0, ..., 0.0)`"),
    "power": ("the slope of this power at 0 is infinite, or that of its exponent", "`np.where(x > 0, x, 1.0) ** y` inside `np.where(x > 0, ..., 0.0)`"),
    "arccos": ("the slope of arccos at 1 and -1 is infinite", "`np.clip(x, -1 + 1e-7, 1 - 1e-7)` in place of x"),
    "arcsin": ("the slope of arcsin at 1 and -1 is infinite", "`np.clip(x, -1 + 1e-7, 1 - 1e-7)` in place of x"),
    "arctanh": ("the slope of arctanh at 1 and -1 is infinite", "`np.clip(x, -1 + 1e-7, 1 - 1e-7)` in place of x"),
    "arccosh": ("the slope of arccosh at 1 is infinite", "`np.maximum(x, 1 + 1e-7)` in place of x"),
}  # fmt: skip


def slope(op: str, operands: Sequence[Any] | None = None) -> tuple[str, str]:
    """What is wrong with the slope of an op where it is not finite, and what to write instead; nothing where it is finite, and what
    came back was not."""
    if op == "power" and operands and np.isrealobj(operands[-1]) and operands[-1] >= 1:
        return "", ""
    wrong, instead = _SLOPES.get(op, ("", ""))
    return wrong, f"write {instead}" if instead else ""
