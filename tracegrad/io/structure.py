"""What a tree is besides its arrays, as JSON: containers by kind and keys, Python's own numbers and strings.

No class is named that loading would have to find: a namedtuple or a dataclass is written by its fields and comes back as a
dict, and with `like=` as what stands there. The grammar, in JSON:

    tree  = null | true | false | integer | number | name | {kind: ...}
    name  = string                                the tensor of this name in the file
    kinds   {"dict": [[key ...], [tree ...]]}     in the order of the dict; also "OrderedDict"
            {"list": [tree ...]}, {"tuple": [tree ...]}
            {"fields": [[key ...], [tree ...]], "class": text}     namedtuples, dataclasses, registered types; the text is for readers
            {"str": text}, {"float": "nan" | "inf" | "-inf"}, {"complex": [text, text]}, {"scalar": name}     the last is one of NumPy's
    key   = string | integer | true | false | null | {"float": text} | {"tuple": [key ...]}
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tracegrad import tree
from tracegrad.core.errors import clip
from tracegrad.core.jax_arrays import is_jax_array, is_jax_tracer
from tracegrad.core.plain import require_plain
from tracegrad.core.tracer import Tracer
from tracegrad.core.types import ShapeDtypeStruct, type_of
from tracegrad.io.names import joined

Spec = Any  # what json makes and takes
_SCALARS = (type(None), bool, int, float, complex, str)


class Leaf(NamedTuple):
    """A leaf of a tree: its name in a file, its key path as one would index, and what stands there."""

    name: str
    path: str
    value: Any


class Found(NamedTuple):
    """A tree taken apart: its structure, and all its leaves by name, those among them that are no arrays too."""

    spec: Spec
    leaves: dict[str, Leaf]

    @property
    def arrays(self) -> dict[str, Leaf]:
        return {name: leaf for name, leaf in self.leaves.items() if not is_scalar(leaf.value)}


def is_scalar(x: Any) -> bool:
    """Whether it is None, one of Python's numbers or a string, which are written into the structure."""
    kind = type(x)  # isinstance would ask a tracer what it stands for
    return issubclass(kind, _SCALARS) and (not issubclass(kind, np.generic) or issubclass(kind, str))


def taken_apart(x: Any) -> Found:
    """The structure and the leaves of a tree. TypeError for a leaf or a key that files have no form for, with its path."""
    leaves: dict[str, Leaf] = {}

    def walk(x: Any, path: tuple[Any, ...]) -> Spec:
        kind = type(x)
        if kind is list or kind is tuple:
            return {kind.__name__: [walk(item, (*path, tree.SequenceKey(i))) for i, item in enumerate(x)]}
        if kind is dict or kind is OrderedDict or kind is defaultdict:
            name = "OrderedDict" if kind is OrderedDict else "dict"
            keys = [_key_spec(key, path) for key in x]
            return {name: [keys, [walk(item, (*path, tree.DictKey(key))) for key, item in x.items()]]}
        if x is not None and (items := children(x)) is not None:
            specs = [walk(item, (*path, key)) for key, item in items]
            return {"fields": [[_text(key) for key, _ in items], specs], "class": kind.__name__}
        name, shown = name_of(path), tree.keystr(path)
        if name in leaves:
            raise ValueError(
                f"tree{leaves[name].path} and tree{shown} would both be called {name!r} in a file; use keys that differ as text"
            )
        leaves[name] = Leaf(name, shown, x)
        if is_scalar(x):
            return scalar_spec(x)
        _require_array(x, shown)
        return {"scalar": name} if isinstance(x, np.generic) else name

    return Found(walk(x, ()), leaves)


def children(x: Any) -> list[tuple[Any, Any]] | None:
    """The keys and children of a node, None for a leaf."""
    if type(x) in _SCALARS or isinstance(x, np.ndarray):
        return None
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return [(tree.GetAttrKey(name), item) for name, item in zip(x._fields, x, strict=True)]
    if tree.all_leaves([x]):
        return None
    return [(path[0], item) for path, item in tree.tree_flatten_with_path(x, is_leaf=lambda y: y is not x)[0]]


def name_of(path: tuple[Any, ...]) -> str:
    return joined([_text(key) for key in path])


def _text(key: Any) -> str:
    return tree.keystr((key,), simple=True)


def _key_spec(key: Any, path: tuple[Any, ...]) -> Spec:
    if key is None or isinstance(key, bool):
        return key
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int):
        return int(key)
    if type(key) is float:
        return {"float": repr(key)}
    if type(key) is tuple:
        return {"tuple": [_key_spec(part, path) for part in key]}
    raise TypeError(
        f"tree{tree.keystr(path)} has the key {clip(repr(key))} of type {type(key).__name__}, for which files have no form; "
        "use strings, Python's numbers, or tuples of these"
    )


def scalar_spec(x: Any) -> Spec:
    """None, one of Python's numbers or a string, in a structure."""
    if x is None or isinstance(x, bool):
        return x
    if isinstance(x, str):
        return {"str": str.__str__(x)}
    if isinstance(x, int):
        return int(x)
    if isinstance(x, float):
        return float(x) if math.isfinite(x) else {"float": float.__repr__(x)}
    return {"complex": [float.__repr__(x.real), float.__repr__(x.imag)]}


def _require_array(x: Any, path: str) -> None:
    """Raise unless a leaf is an array with values."""
    if isinstance(x, Tracer) or (is_jax_array(x) and is_jax_tracer(x)):
        raise TypeError(
            f"tree{path} is an array that is being traced, which has no value to save; call save outside of jit, grad and vmap, "
            "with what they return"
        )
    try:
        require_plain(x)
        type_of(x)
    except TypeError as error:
        advice = "" if isinstance(x, np.ndarray | np.generic) or is_jax_array(x) else _ADVICE
        raise TypeError(f"tree{path} cannot be saved: {clip(str(error), 400)}{advice}") from None
    if isinstance(x, ShapeDtypeStruct):
        raise TypeError(f"tree{path} is the type {x}, which has no values to save")


_ADVICE = (
    "; files hold arrays, Python's numbers and strings, and containers of them: leave it out, write np.asarray(x) for what is "
    "like an array, or register its class (tg.tree_util.register_dataclass)"
)


def tensor_name(spec: Spec) -> str | None:
    """The name of the tensor that stands at a leaf of a structure, None for what is in the structure itself."""
    return spec if isinstance(spec, str) else spec.get("scalar") if isinstance(spec, dict) else None


def leaf_specs(spec: Spec, part: str | None = None) -> Iterator[tuple[str, Spec]]:
    """The leaves of a structure, which stands under the key `part`, by name."""

    def walk(spec: Spec, keys: tuple[str, ...]) -> Iterator[tuple[str, Spec]]:
        if isinstance(spec, dict):
            for kind, content in spec.items():
                if kind in ("list", "tuple"):
                    for i, item in enumerate(content):
                        yield from walk(item, (*keys, str(i)))
                    return
                if kind in ("dict", "OrderedDict", "fields"):
                    for key, item in zip(*content, strict=True):
                        yield from walk(item, (*keys, str(_key_of(key))))
                    return
        yield tensor_name(spec) or joined(keys), spec

    return walk(spec, () if part is None else (part,))


def put_together(spec: Spec, tensor: Callable[[str], Any]) -> Any:
    """The tree of a structure, of plain containers, with what `tensor` gives for each name."""
    if isinstance(spec, str):
        return tensor(spec)
    if not isinstance(spec, dict):
        return spec
    for kind, content in spec.items():
        if kind == "list":
            return [put_together(item, tensor) for item in content]
        if kind == "tuple":
            return tuple([put_together(item, tensor) for item in content])
        if kind in ("dict", "OrderedDict", "fields"):
            keys, items = content
            made = [(_key_of(k), put_together(item, tensor)) for k, item in zip(keys, items, strict=True)]
            return OrderedDict(made) if kind == "OrderedDict" else dict(made)
        if kind == "scalar":
            return tensor(content)[()]
        if kind == "str":
            return content
        if kind == "float":
            return float(content)
        if kind == "complex":
            return complex(*map(float, content))
    raise ValueError(f"the structure has {clip(repr(spec))}, which this version of tracegrad does not know")


def _key_of(spec: Spec) -> Any:
    if isinstance(spec, dict):
        ((kind, content),) = spec.items()
        return float(content) if kind == "float" else tuple(map(_key_of, content))
    return spec


def by_dots(names: dict[str, list[str]], tensor: Callable[[str], Any]) -> dict[str, Any]:
    """Nested dicts for names that are given with their keys; a flat one where a name is the beginning of another."""
    made: dict[str, Any] = {}
    for name, keys in names.items():
        inner = made
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
            if type(inner) is not dict:
                break
        if type(inner) is not dict or keys[-1] in inner:
            return {name: tensor(name) for name in names}
        inner[keys[-1]] = tensor(name)
    return made
