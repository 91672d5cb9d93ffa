"""Own types as nodes of trees."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tracegrad.tree.nodes import KINDS, REGISTERED, Apart, Node, clip, full_name, named, with_keys

T = TypeVar("T")
C = TypeVar("C", bound=type)


def register(cls: type, node: Node) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"only a class can be registered as a tree node, got {clip(cls)}")
    if cls in REGISTERED:
        raise ValueError(
            f"{full_name(cls)} is registered as a tree node already, and each class is so only once: drop this"
            " registration, or register a subclass."
        )
    REGISTERED[cls] = KINDS[cls] = node


def is_registered(cls: type) -> bool:
    """Whether objects of a class are nodes, not leaves.

    >>> is_registered(dict), is_registered(float)
    (True, False)
    """
    return cls in REGISTERED


def register_pytree_node(
    nodetype: type[T],
    flatten_func: Callable[[T], Apart],
    unflatten_func: Callable[[Any, Any], T],
    flatten_with_keys_func: Callable[[T], Apart] | None = None,
) -> None:
    """Make a class a tree node: `flatten_func(x) -> (children, aux_data)`, `unflatten_func(aux_data, children) -> x`.

    `aux_data` is static: part of the structure, to be hashable and comparable. `unflatten_func` is given any objects as
    children, so it must not check or convert them. Subclasses are not registered along. ValueError on a second time.

    >>> import tracegrad as tg
    >>> class Interval:
    ...     def __init__(self, low, high):
    ...         self.low, self.high = low, high
    >>> register_pytree_node(Interval, lambda x: ((x.low, x.high), None), lambda _, xs: Interval(*xs))
    >>> tg.tree.leaves([Interval(1.0, 2.0)])
    [1.0, 2.0]
    """
    register(nodetype, Node(flatten_func, unflatten_func, flatten_with_keys_func or with_keys(flatten_func)))


def register_dataclass(
    nodetype: C,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> C:
    """Make a dataclass a tree node with the children `data_fields` and static `meta_fields`; also as a decorator.

    With neither given, every field is data but those with `metadata={"static": True}`. What `drop_fields` names is not
    kept: the constructor must fill it in. A class that is no dataclass needs both, and a constructor by keywords.
    TypeError if one is given without the other; ValueError if they overlap or are not what the constructor takes.

    >>> import tracegrad as tg
    >>> import dataclasses
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     w: float
    ...     name: str = dataclasses.field(metadata={"static": True})
    >>> tg.tree.flatten(Layer(1.5, "dense"))
    ([1.5], PyTreeDef(CustomNode(Layer[('dense',)], [*])))
    """
    dataclasses = sys.modules.get("dataclasses")  # which whoever has made one has imported
    is_dataclass = dataclasses is not None and dataclasses.is_dataclass(nodetype)
    fields = (
        [f for f in dataclasses.fields(nodetype) if f.name not in drop_fields] if dataclasses and is_dataclass else []
    )
    if data_fields is None and meta_fields is None and is_dataclass:
        data_fields = [f.name for f in fields if not f.metadata.get("static", False)]
        meta_fields = [f.name for f in fields if f.metadata.get("static", False)]
    if data_fields is None or meta_fields is None:
        raise TypeError(
            "register_dataclass needs data_fields and meta_fields, or neither of them and a dataclass; for"
            f" {nodetype!r} it got {data_fields=}, {meta_fields=}."
        )
    data, meta = tuple(data_fields), tuple(meta_fields)
    if both := sorted({*data} & {*meta}):
        raise ValueError(f"register_dataclass: {both} are in data_fields and in meta_fields; leave each in one.")
    needed = {f.name for f in fields if f.init}
    if is_dataclass and {*data, *meta} != needed:
        raise ValueError(
            f"register_dataclass: data_fields and meta_fields must be the fields of {nodetype.__name__} with init=True;"
            f" missing {sorted(needed - {*data, *meta})}, unexpected {sorted({*data, *meta} - needed)}. Name in"
            " drop_fields those that its constructor fills in."
        )

    def flatten(x: Any) -> Apart:
        return [getattr(x, name) for name in data], tuple([getattr(x, name) for name in meta])

    def flatten_with_keys(x: Any) -> Apart:
        children, aux = flatten(x)
        return named(data, children), aux

    def unflatten(aux: Any, children: Any) -> Any:
        return nodetype(**dict(zip(meta + data, (*aux, *children), strict=True)))

    register(nodetype, Node(flatten, unflatten, flatten_with_keys))
    return nodetype


class Partial(functools.partial[Any]):
    """A `functools.partial` that is a tree: the bound arguments are children, the function is static.

    >>> import tracegrad as tg
    >>> scale = Partial(lambda factor, x: factor * x, 3.0)
    >>> tg.tree.map(lambda leaf: leaf + 1, scale)(10.0)
    40.0
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Partial:
        self = super().__new__(cls, func, *args, **kwargs)
        # functools has merged into this one a func that is a partial, but its arguments are not to be leaves: undo.
        self.__setstate__((func, args, kwargs, None))  # type: ignore[attr-defined]
        return self


register_pytree_node(Partial, lambda p: ((p.args, p.keywords), p.func), lambda f, xs: Partial(f, *xs[0], **xs[1]))
