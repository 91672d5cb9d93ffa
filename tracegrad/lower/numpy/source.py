"""A Graph as a Python module that needs NumPy alone, to be read, edited and kept.

It is not what jit runs (`writer.py`), though each line computes the same: variables have the user's names, the user's lines
stand above what comes from them, loops are loops and calls are calls. What an op is beyond NumPy's own function stands once
at the head (`quote.py`).

All that the module defines is named before the first function is written, so that no variable in one hides it.
"""

from __future__ import annotations

import ast
import base64
import collections
import io
import linecache
import operator
import re
import tokenize
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tracegrad.core.errors import Source, UnsupportedFunctionError, at, clip
from tracegrad.core.generated import Names, comment, string
from tracegrad.core.graph import Atom, Eqn, Graph, Literal, Var, graphs_in
from tracegrad.core.op import Written
from tracegrad.core.show import all_letters
from tracegrad.core.types import ArrayType, number_kind
from tracegrad.lower.numpy.lines import assigned, empty, header, laid_out
from tracegrad.lower.numpy.memory import Memory
from tracegrad.lower.numpy.quote import NotQuotableError, Quotes, module
from tracegrad.lower.numpy.words import is_of_python

PART = 1000  # statements of a function, from twice as many on it becomes several
FEW = 64  # elements of a constant that is written as numbers
_AMBIGUOUS = frozenset("lOI")

# Ufuncs that Python has operators for, which NumPy's arrays answer with these ufuncs.
_OPERATORS: dict[Any, str] = {
    np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/", np.less: "<", np.less_equal: "<=", np.greater: ">",
    np.greater_equal: ">=", np.equal: "==", np.not_equal: "!=", np.bitwise_and: "&", np.bitwise_or: "|", np.bitwise_xor: "^",
}  # fmt: skip
_OF_PYTHON: dict[Any, str] = {operator.add: "+", operator.sub: "-", operator.mul: "*"}
# What spellings for generated code (`Op.code`) speak of, in NumPy's words.
_HELPERS = {
    "add_reduce": "np.sum", "add_accumulate": "np.cumsum", "add": "np.add", "blas_matmul": "np.matmul", "chosen": "np.where",
    "add_pooled": "np.sum", "reshaped": "np.reshape",
}  # fmt: skip


# (names, those of variables, the variables that are read, the arguments) -> statements that take inputs out of arguments.
Before = Callable[[Names, dict[Var, str], Collection[Var], Sequence[str]], Iterable[str]]


class Statement(NamedTuple):
    """Lines that may be indented, the variables that they read and make, and a comment that stands above."""

    lines: Sequence[str]
    reads: Collection[str]
    makes: Sequence[str]
    comment: str = ""


class ModuleSource:
    """A module that is being written. `known` are names of arrays, by the arrays' ids."""

    def __init__(self, known: Mapping[int, str]) -> None:
        self._called_by_user = known
        self.quotes = Quotes()
        self.quotes.names.take("np")
        self._names: dict[Graph, str] = {}  # of functions
        self._consts: dict[int, tuple[str, Any]] = {}  # the names of arrays, and these, whose identity stays their own
        self._templates: dict[Eqn, str | tuple[Written, Sequence[str]]] = {}
        self._classes: dict[Any, str] = {}
        self._waiting: list[Graph] = []
        self._files: dict[str, dict[int, tuple[int, Sequence[str]]]] = {}

    def prepare(self, graph: Graph) -> None:
        """Name all that a function of the Graph will speak of, and the functions of the Graphs that it holds."""
        for value in graph.consts.values():
            self._constant(value)
        for eqn in graph.eqns:
            if eqn in self._templates:
                continue
            held = eqn.op.held
            try:
                if held is not None and held.write is not None:
                    written = held.write([a.type for a in eqn.inputs], eqn.params)
                    self._templates[eqn] = written, [self._function(g) for g in written.graphs]
                    for a in eqn.inputs:
                        if type(a) is Literal:
                            self.quotes.expression(a.value)
                else:
                    self._templates[eqn] = self._template(eqn)
            except NotQuotableError as error:
                raise UnsupportedFunctionError(
                    f"to_numpy_source: the op {eqn.op.name}{at(eqn.raw_source)} cannot be written as NumPy: {_why(eqn, error)}"
                ) from error

    def _function(self, graph: Graph) -> str:
        """The name of the function of a Graph that another one calls; equal Graphs have one."""
        found = self._names.get(graph)
        if found is None:
            self.prepare(graph)
            found = self._names[graph] = self.quotes.names.fresh(tidy(graph.name), "function")
            self._waiting.append(graph)
        return found

    def named_tuple(self, cls: Any) -> str:
        """The name of a class of the same name and fields as a namedtuple."""
        found = self._classes.get(cls)
        if found is None:
            found = self._classes[cls] = self.quotes.names.fresh(cls.__name__)
            fields = self.quotes.expression(list(cls._fields))
            self.quotes.define(
                laid_out(f"{found} = {self.quotes.expression(collections)}.namedtuple({string(found)}, {fields})")
            )
        return found

    def text(self, parts: Sequence[str]) -> str:
        """The module: its docstring, imports, constants and functions, then further `parts`."""
        inner: list[str] = []
        for graph in self._waiting:
            inner += self.function(graph, self._names[graph])
        consts = []
        for name, value in self._consts.values():
            consts.append(laid_out(f"{name} = {array_text(value, self.quotes)}"))
        quoted = self.quotes.imports(), self.quotes.definitions()
        head, *rest = parts
        return module([head, *quoted[0], *quoted[1], *consts, *inner, *rest]) + "\n"

    # -----------------------------------------------------------------------------------------------------------------
    # What stands for an equation.

    def _template(self, eqn: Eqn) -> str:
        """An expression with `__0__` in place of the first input, if that is a variable, and so on."""
        op, types = eqn.op, [a.type for a in eqn.inputs]
        args = [self._number(a, eqn) if type(a) is Literal else f"__{i}__" for i, a in enumerate(eqn.inputs)]
        if is_of_python(eqn):
            if (symbol := _OF_PYTHON.get(op.python)) is not None:
                return f"{args[0]} {symbol} {args[1]}"
            return self._called(op.python, args, eqn.params, op.name)
        out = eqn.outputs[0].type if eqn.outputs else None
        is_array = any([t.shape for t in types]) or (out is not None and number_kind(out.dtype) == "f")
        is_itself = (
            out is not None and out.dtype == bool and args and eqn.inputs[0] is eqn.inputs[-1]
        )  # x != x: isnan, to linters
        if (symbol := _OPERATORS.get(op.evaluate)) is not None and is_array and not is_itself:
            return f"{args[0]} {symbol} {args[1]}"
        if (word := _WORDS.get(op.name)) is not None and (text := word(args, types, eqn.params)) is not None:
            return text
        if op.code is not None and op.name not in _WORDS:
            text = op.code(args, types, lambda k: False, eqn.params)
            if text is not None:
                return self._in_words(text.replace("{out}", ""), eqn)
        return self._called(op.evaluate, args, eqn.params, op.name)

    def _number(self, literal: Literal, eqn: Eqn) -> str:
        """A number: of NumPy's as of Python's, where a ufunc computes in its dtype anyhow."""
        t, value = literal.type, literal.value
        others = [a.type for a in eqn.inputs if type(a) is Var and not a.type.weak]
        if isinstance(eqn.op.evaluate, np.ufunc) and t.dtype == np.float64 and t.dtype in [o.dtype for o in others]:
            value = float(value)
        return self.quotes.expression(value)

    def _in_words(self, text: str, eqn: Eqn) -> str:
        """A spelling with NumPy's names in place of those that generated code has."""
        if product := re.fullmatch(r"blas_matmul\(([\w.]+(?:\(-1, -2\))?), ([\w.]+(?:\(-1, -2\))?)\)", text):
            return f"{product[1]} @ {product[2]}"

        def word(found: re.Match[str]) -> str:
            name = found[1]
            if name == eqn.op.name:
                return f"{self.quotes.expression(eqn.op.evaluate, name)}("
            return f"{_HELPERS.get(name, name)}("

        return re.sub(r"(?<![\w.])([a-z_]\w*)\(", word, text)

    def _called(self, function: Any, args: Sequence[str], params: Mapping[str, Any], name: str) -> str:
        """A call; of a partial function with what that has bound."""
        before: list[str] = []
        after = dict(params)
        while isinstance(function, partial):
            before = [self.quotes.expression(x) for x in function.args] + before
            after = {**function.keywords, **after}
            function = function.func
        named = [f"{k}={self.quotes.expression(x, k)}" for k, x in after.items()]
        return f"{self.quotes.expression(function, name)}({', '.join([*before, *args, *named])})"

    def _constant(self, value: Any) -> str:
        """The name of an array that the module holds."""
        if (found := self._consts.get(id(value))) is None:
            array_text(value, self.quotes)
            name = self.quotes.names.fresh(self._called_by_user.get(id(value), "CONSTANT"), "CONSTANT")
            found = self._consts[id(value)] = name, value
        return found[0]

    # -----------------------------------------------------------------------------------------------------------------
    # Functions.

    def function(
        self,
        graph: Graph,
        name: str,
        arguments: Sequence[str] | None = None,
        before: Before | None = None,
        returned: Callable[[Sequence[str]], str] | None = None,
        docstring: Sequence[str] = (),
    ) -> list[str]:
        """The sources of functions of which the last is that of the Graph. Of the public one somebody else says what its
        arguments are, and which statements take the inputs `before` all others out of them, and what is `returned`."""
        wanted = self._wanted(graph)
        names = self.quotes.names.inner(_AMBIGUOUS)
        local: dict[Var, str] = {v: self._consts[id(x)][0] for v, x in graph.consts.items()}
        uses = self._uses(graph)
        statements: list[Statement] = []
        if arguments is None:
            for v in graph.inputs:
                local[v] = names.fresh(tidy(v.name or "x"), "x")
            arguments = [local[v] for v in graph.inputs]
        else:
            arguments = [names.fresh(x, "x") for x in arguments]
        if before is not None:
            for text in before(names, local, uses, arguments):
                statements.append(Statement([text], arguments, [text.partition(" = ")[0]]))
        given = set(wanted.values())
        letters = (x for x in all_letters() if x not in given and names.take(x))

        def fresh(v: Var) -> str:
            return names.fresh(wanted[v]) if v in wanted else next(letters)

        def said(a: Atom) -> str:
            return local.get(a, "") if type(a) is Var else self.quotes.expression(a.value)  # type: ignore[union-attr]

        latest = ""
        for eqn in graph.eqns:
            if not any([v in uses for v in eqn.outputs]):
                continue
            template = self._templates[eqn]
            if isinstance(template, str) and re.fullmatch(r"__\d+__", template):  # the same array
                local[eqn.outputs[0]] = said(eqn.inputs[int(template[2:-2])])
                continue
            inputs = list(map(said, eqn.inputs))
            reads = [local[a] for a in eqn.inputs if type(a) is Var and a in uses]
            for v in eqn.outputs:
                if v in uses:
                    local[v] = fresh(v)
            outputs = [local[v] if v in uses else "_" for v in eqn.outputs]
            if isinstance(template, str):
                lines = _filled(template, inputs, outputs, eqn.op.multiple_results)
            else:
                written, functions = template
                lines = written.lines(functions, inputs, outputs, names.fresh)
            heading = self._heading(eqn)
            statements.append(
                Statement(lines, reads, [x for x in outputs if x != "_"], "" if heading == latest else heading)
            )
            latest = heading or latest
        texts = list(map(said, graph.outputs)) if returned is None else _own(graph, said)
        result = returned(texts) if returned is not None else ", ".join(texts)
        if result[:1] == "(" and returned is not None and len(graph.outputs) > 1:
            result = _bare(result)
        ends = Statement([f"return {result}"], [local[a] for a in graph.outputs if type(a) is Var], [])
        if any(["np." in text for statement in (*statements, ends) for text in statement.lines]):
            self.quotes.expression(np)
        return self._in_parts(name, arguments, [*statements, ends], docstring, set(self._consts_names()))

    def _consts_names(self) -> Iterator[str]:
        for name, _ in self._consts.values():
            yield name

    def _uses(self, graph: Graph) -> set[Var]:
        """The variables that results need, by what is written of the equations."""
        uses = {a for a in graph.outputs if type(a) is Var}
        for eqn in reversed(graph.eqns):
            if not uses.isdisjoint(eqn.outputs):
                template = self._templates[eqn]
                for i, a in enumerate(eqn.inputs):
                    if type(a) is Var and (not isinstance(template, str) or f"__{i}__" in template):
                        uses.add(a)
        return uses

    def _in_parts(
        self,
        name: str,
        arguments: Sequence[str],
        statements: Sequence[Statement],
        docstring: Sequence[str],
        known: set[str],
    ) -> list[str]:
        """A long function as several, since Python's compiler takes longer for each line the more there are."""
        if len(statements) <= 2 * PART:
            return ["\n".join([header(name, arguments), *docstring, *_body(statements)])]
        *body, ends = statements
        chunks = [body[i : i + PART] for i in range(0, len(body), PART)]
        last_read: dict[str, int] = dict.fromkeys(ends.reads, len(chunks))
        for number in range(len(chunks) - 1, -1, -1):
            for statement in chunks[number]:
                for variable in statement.reads:
                    last_read.setdefault(variable, number)
        sources, calls = [], []
        for number, chunk in enumerate(chunks):
            made = [v for statement in chunk for v in statement.makes]
            own = set(made)
            taken = dict.fromkeys([v for s in chunk for v in s.reads if v not in own and v not in known])
            given = [v for v in made if last_read.get(v, -1) > number]
            part = self.quotes.names.fresh(f"{name}_part_{number + 1}")
            lines = [*chunk, Statement([f"return {', '.join(given)}"], given, [])] if given else chunk
            sources.append("\n".join([header(part, list(taken)), *_body(lines)]))
            call = assigned(given, part, list(taken)) if given else f"{part}({', '.join(taken)})"
            calls.append(Statement([call], [], []))
        return [*sources, "\n".join([header(name, arguments), *docstring, *_body([*calls, ends])])]

    # -----------------------------------------------------------------------------------------------------------------
    # The user's lines.

    def _heading(self, eqn: Eqn) -> str:
        """The user's line that an equation comes from, as a comment."""
        source = eqn.source
        if source is None:
            return ""
        what = "the derivative of " if eqn.phase else ""
        found = _code_of(source.text)
        text = f"{what}{source.short}" + (f": {found}" if found else "")
        return comment(text if len(text) <= 100 else f"{text[:97]}...")

    def _wanted(self, graph: Graph) -> dict[Var, str]:
        """The variables that an assignment of the user's gives a name: those of the last equations of its line."""
        found: dict[Var, str] = {}
        latest: tuple[Any, Sequence[str]] | None = None
        last: Any = None  # which instruction of the line makes the value that is assigned,
        done = False  # and whether that has been found
        for eqn in reversed(graph.eqns):
            source = eqn.source if not eqn.phase else None
            target = self._target(source) if source is not None else None
            if target != latest:
                latest, last, done = target, eqn.raw_source, False
            if target is None or eqn.raw_source != last:
                done = False  # in a loop once for each time
            elif not done and len(eqn.outputs) == len(target[1]):
                found.update(zip(eqn.outputs, target[1], strict=True))
                done = True
        return found

    def _target(self, source: Source) -> tuple[Any, Sequence[str]] | None:
        """The assignment to names that a line belongs to: where it is, and the names."""
        lines = self._files.get(source.file)
        if lines is None:
            lines = self._files[source.file] = _targets(linecache.getlines(source.file))
        found = lines.get(source.line)
        return None if found is None else ((source.file, found[0]), found[1])


def _targets(lines: Sequence[str]) -> dict[int, tuple[int, Sequence[str]]]:
    """For the lines of assignments to names where each begins, and the names."""
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, tuple[int, Sequence[str]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target: ast.expr = node.targets[0]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            target = node.target
        else:
            continue
        names = [x.id for x in (target.elts if isinstance(target, ast.Tuple) else [target]) if isinstance(x, ast.Name)]
        is_all = len(names) == (len(target.elts) if isinstance(target, ast.Tuple) else 1)
        if is_all and not isinstance(node.value, ast.Lambda):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[number] = node.lineno, names
    return found


def _code_of(text: str) -> str:
    """A line without its comment, which might mean something to tools where it comes to stand."""
    if "#" not in text:
        return text
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                return text[: token.start[1]].rstrip()
    except (tokenize.TokenError, SyntaxError):  # half a statement
        return text.partition("#")[0].rstrip()
    return text


def _why(eqn: Eqn, error: Exception) -> str:
    """What an op has that NumPy has not, and what to write instead."""
    if eqn.op.collective is not None:
        return (
            "it is of all devices or rows of a named axis; write the sum, maximum or gather over an axis of the array"
        )
    if any(True for _ in graphs_in(Graph((), (eqn,), (), {}))):
        return (
            "which of the functions that it holds is run each row of a batch decides by itself; write np.where of both, or "
            "leave tg.vmap out"
        )
    return clip(str(error))


def _filled(template: str, inputs: Sequence[str], outputs: Sequence[str], is_tuple: bool) -> Sequence[str]:
    """The statements of an equation."""

    def given(found: re.Match[str]) -> str:
        return inputs[int(found[1])]

    text = re.sub(r"__(\d+)__", given, template)
    if "__out__" in text:
        return text.replace("__out__", outputs[0]).split("\n")
    return [f"({outputs[0]},) = {text}" if is_tuple and len(outputs) == 1 else f"{', '.join(outputs)} = {text}"]


def _body(statements: Iterable[Statement]) -> Iterator[str]:
    for statement in statements:
        if statement.comment:
            yield f"    {statement.comment}"
        for text in statement.lines:
            yield laid_out(f"    {text}")


def _own(graph: Graph, said: Callable[[Atom], str]) -> list[str]:
    """The results of the public function, those in memory of their own that might lie in an argument's or another's."""
    memory = Memory(graph, None)
    texts = []
    # A loop of no steps gives what it had.
    seen: set[Any] = {v for eqn in graph.eqns if eqn.op.held is not None for v in eqn.outputs}
    for a in graph.outputs:
        text = said(a)
        is_shared = type(a) is not Var or a in seen or a in memory.given or len(memory.roots[a]) > 1
        seen.add(a)
        texts.append(f"np.array({text})" if is_shared and a.type.shape else text)
    return texts


def _bare(text: str) -> str:
    """A tuple that is returned, without its brackets."""
    node = ast.parse(text, mode="eval").body
    return text[1:-1] if isinstance(node, ast.Tuple) and len(node.elts) > 1 else text


def tidy(name: str) -> str:
    """A key path or a function's name as a name: `params['w'][0]` is params_w_0, `<lambda>_vjp` is lambda_vjp."""
    found = re.sub(r"[\W_]+", "_", re.sub("^(the|an?) ", "", name)).strip("_")
    return f"_{found}" if found[:1].isdigit() else found


def array_text(value: Any, quotes: Quotes) -> str:
    """An array as source: of its numbers, or of the bytes of a .npy file."""
    array = np.asarray(value)
    if type(value) is not np.ndarray or array.dtype.kind not in "biufc" or array.dtype.isbuiltin != 1:
        return quotes.expression(value)
    is_in_order = array.flags.c_contiguous
    if array.size <= FEW and is_in_order and not (array.dtype.kind in "fc" and np.isnan(array).any()) and array.size:
        return quotes.expression(array)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    text = base64.b64encode(file.getvalue()).decode()
    rows = [text[i : i + 112] for i in range(0, len(text), 112)]
    return "\n".join([f'{quotes.expression(_array)}("""', *rows, '""")'])


def _array(text: str) -> Any:
    """The array of these bytes, a .npy file in base64."""
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)


def _axes(axes: Sequence[int]) -> str:
    return repr(axes[0]) if len(axes) == 1 else repr(tuple(axes))


def _sum(args: Sequence[str], types: Sequence[ArrayType], params: Mapping[str, Any]) -> str | None:
    """np.sum is np.add.reduce with what it says of keywords."""
    if not types[0].shape:
        return None
    return f"np.sum({args[0]}, axis={_axes(params['axes'])}{', keepdims=True' if params['keepdims'] else ''})"


def _mean(args: Sequence[str], types: Sequence[ArrayType], params: Mapping[str, Any]) -> str | None:
    total = None if types[0].dtype.char == "e" else _sum(args, types, params)
    return total and f"{total} / {int(np.prod([types[0].shape[i] for i in params['axes']], dtype=np.int64))}"


def _minus(args: Sequence[str], types: Sequence[ArrayType], params: Mapping[str, Any]) -> str | None:
    return f"-{args[0]}" if args[0].startswith("_") else None


def _cumsum(args: Sequence[str], types: Sequence[ArrayType], params: Mapping[str, Any]) -> str | None:
    """np.cumsum, which has other dtypes for small integers only."""
    if types[0].dtype.kind not in "fc" or not types[0].shape:
        return None
    axis = params["axis"]
    backward = f"[{':, ' * axis}::-1]" if params["reverse"] else ""
    return f"np.cumsum({args[0]}{backward}, axis={axis}){backward}"


def _broadcast(args: Sequence[str], types: Sequence[ArrayType], params: Mapping[str, Any]) -> str | None:
    return f"np.broadcast_to({args[0]}, {params['shape']})" if params["shape"] else None


def _unslice(args: Sequence[str], types: Sequence[ArrayType], params: Mapping[str, Any]) -> str | None:
    """Zeros, but for a slice."""
    t = types[0]
    if t.weak or not params["index"]:
        return None
    index = ", ".join(map(str, params["index"]))
    return f"__out__ = {empty(params['shape'], t.dtype).replace('empty', 'zeros')}\n__out__[{index}] = {args[0]}"


def _given(place: int) -> Callable[[Sequence[str], Sequence[ArrayType], Mapping[str, Any]], str | None]:
    """What has been computed, and is an input beside that which its derivative is of."""
    return lambda args, types, params: args[place]


# What reads better than the op's own function, to the same bits.
_WORDS: dict[str, Callable[[Sequence[str], Sequence[ArrayType], Mapping[str, Any]], str | None]] = {
    "sum": _sum,
    "mean": _mean,
    "cumsum": _cumsum,
    "negative": _minus,
    "broadcast_to": _broadcast,
    "unslice": _unslice,
    "eigenvalues": _given(1),
    "singular_values": _given(1),
    "columns": _given(-1),
    "spectral": lambda args, types, params: args[3 if params["kind"] == "eigh" else 4],
}
