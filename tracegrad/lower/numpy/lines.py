"""Statements as a formatter leaves them: on one line where it fits, else broken at their brackets, the outermost first."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from tracegrad.core.generated import string

WIDTH = 120


def laid_out(text: str) -> str:
    """A statement of one line, with its indentation, as lines of at most `WIDTH` characters where brackets allow it.

    >>> print(laid_out("    total = add(" + ", ".join([f"number_{i}" for i in range(11)]) + ")"))
        total = add(
            number_0, number_1, number_2, number_3, number_4, number_5, number_6, number_7, number_8, number_9, number_10
        )
    """
    if len(text) <= WIDTH or "\n" in text:  # a string of several lines stays as it is
        return text
    bare = text.lstrip()
    return "\n".join(_Layout(bare).statement(len(text) - len(bare)))


def header(name: str, arguments: Sequence[str], indent: int = 0) -> str:
    """The first line of a function, or the first lines."""
    return "\n".join(_bracketed(f"def {name}(", list(arguments), "):", indent))


def _bracketed(head: str, items: list[str], tail: str, indent: int) -> list[str]:
    """What a call or a function's parameters become: all on one line, or on a line of their own, or each on one."""
    pad, joined = " " * indent, ", ".join(items)
    if indent + len(head) + len(joined) + len(tail) <= WIDTH:
        return [f"{pad}{head}{joined}{tail}"]
    if indent + 4 + len(joined) <= WIDTH:
        return [f"{pad}{head}", f"{pad}    {joined}", f"{pad}{tail}"]
    return [f"{pad}{head}", *[f"{pad}    {item}," for item in items], f"{pad}{tail}"]


def assigned(outputs: Sequence[str], function: str, inputs: Sequence[str]) -> str:
    """A call of a function that returns one output as it is, and several as a tuple."""
    return f"{', '.join(outputs)} = {function}({', '.join(inputs)})"


def empty(shape: Sequence[int], dtype: Any) -> str:
    """Room for an array."""
    return f"np.empty({tuple(shape)}, {string(dtype.name)})"


def zeros(shape: Sequence[int], dtype: Any) -> str:
    """An array of zeros, without axes a number."""
    return f"np.zeros({tuple(shape)}, {string(dtype.name)})" if shape else f"np.{dtype.name}(0)"


class _Layout:
    """Lays out one statement, which stands on one line."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        self.node = ast.parse(text).body[0]

    def text(self, node: ast.expr | ast.keyword) -> str:
        return self.bytes[node.col_offset : node.end_col_offset].decode()

    def statement(self, indent: int) -> list[str]:
        node = self.node
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            left, right = node.targets[0], node.value
            if isinstance(left, ast.Tuple) and indent + len(self.text(left)) > WIDTH // 2:
                pad = " " * indent
                lines = [f"{pad}(", *[f"{pad}    {self.text(x)}," for x in left.elts]]
                return [*lines, *self.expression(right, ") = ", "", indent)]
            return self.expression(right, f"{self.text(left)} = ", "", indent)
        if isinstance(node, ast.Return) and node.value is not None:
            return self.expression(node.value, "return ", "", indent)
        if isinstance(node, ast.Expr):
            return self.expression(node.value, "", "", indent)
        return [" " * indent + self.bytes.decode()]

    def expression(self, node: ast.expr, before: str, after: str, indent: int) -> list[str]:
        pad, text = " " * indent, self.text(node)
        if indent + len(before) + len(text) + len(after) <= WIDTH:
            return [f"{pad}{before}{text}{after}"]
        if isinstance(node, ast.Call) and (node.args or node.keywords):
            given: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
            parts = sorted(given, key=lambda part: part.col_offset)
            joined = ", ".join(map(self.text, parts))
            head, tail = f"{pad}{before}{self.text(node.func)}(", f"{pad}){after}"
            if indent + 4 + len(joined) <= WIDTH:
                return [head, f"{pad}    {joined}", tail]
            lines = [head]
            for part in parts:
                if isinstance(part, ast.keyword):
                    lines += self.expression(part.value, f"{part.arg}=" if part.arg else "**", ",", indent + 4)
                else:
                    lines += self.expression(part, "", ",", indent + 4)
            return [*lines, tail]
        if isinstance(node, ast.Tuple | ast.List | ast.Set) and node.elts:
            start, end = (
                ("(", ")") if isinstance(node, ast.Tuple) else ("[", "]") if isinstance(node, ast.List) else ("{", "}")
            )
            lines = [f"{pad}{before}{start}"]
            for x in node.elts:
                lines += self.expression(x, "", ",", indent + 4)
            return [*lines, f"{pad}{end}{after}"]
        if isinstance(node, ast.Dict) and node.keys:
            lines = [f"{pad}{before}{{"]
            for key, x in zip(node.keys, node.values, strict=True):
                lines += self.expression(x, f"{self.text(key)}: " if key is not None else "**", ",", indent + 4)
            return [*lines, f"{pad}}}{after}"]
        return [f"{pad}{before}{text}{after}"]
