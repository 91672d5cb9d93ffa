"""Trees of containers (pytrees): taken apart into a list of leaves and a structure, and put together again.

A tree is a dict, list, tuple, namedtuple, None, OrderedDict, defaultdict or registered type whose children are trees;
everything else is a leaf. What is registered with jax alone is a node here too. Names, order of leaves (dict keys sorted) and None as a tree without leaves are as in
`jax.tree_util`. `tg.tree.map`, `tg.tree.leaves` and their kin are the aliases at the end of the file.

A dict keeps the order of its keys on the way through: `unflatten` and all that builds on it (every transform's call of
its function) put it together in the order in which it came. Structures compare without it, and leaves stand by sorted keys.

Inside, a structure is a nest of plain tuples, `(type, data, *children)` with None for a leaf, so that comparing and
hashing structures, which every call of a jitted function does, never leaves C.
"""

import builtins
import contextlib
import functools
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound=type)
KeyPath = tuple[Any, ...]
IsLeaf = Callable[..., bool | None]
_Spec = tuple[Any, ...] | None
_Apart = tuple[Iterable[Any], Any]  # a node taken apart: its children (or pairs of key and child), and its data
_MISSING: Any = object()

# -- Key paths. The keys are values; `frozen` would triple the time to make one, and every `grad` makes some.


class _Key:
    """A step of a key path. Those of one kind are equal if what they hold is."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def _held(self) -> Any:
        return getattr(self, self.__match_args__[0])

    def __eq__(self, other: object) -> bool:
        return self._held() == other._held() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._held(),))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__match_args__[0]}={self._held()!r})"


class DictKey(_Key):
    """A step of a key path into a dict: `['name']`.

    >>> import tracegrad as tg
    >>> tg.tree.leaves_with_path({"a": 1})[0][0]
    (DictKey(key='a'),)
    """

    __slots__ = __match_args__ = ("key",)

    def __init__(self, key: Hashable) -> None:
        self.key = key

    def __str__(self) -> str:
        return f"[{self.key!r}]"


class SequenceKey(_Key):
    """A step of a key path into a list or tuple: `[0]`.

    >>> import tracegrad as tg
    >>> tg.tree.leaves_with_path([1])[0][0]
    (SequenceKey(idx=0),)
    """

    __slots__ = __match_args__ = ("idx",)

    def __init__(self, idx: int) -> None:
        self.idx = idx

    def __str__(self) -> str:
        return f"[{self.idx}]"


class GetAttrKey(_Key):
    """A step of a key path into a namedtuple or dataclass: `.name`."""

    __slots__ = __match_args__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f".{self.name}"


class FlattenedIndexKey(_Key):
    """A step of a key path into a type that was registered without keys: the number of the child."""

    __slots__ = __match_args__ = ("key",)

    def __init__(self, key: int) -> None:
        self.key = key

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """A key path as text: as one would index (`['a'][0].x`), or with `simple=True` the bare names.

    >>> path = (DictKey("layer"), SequenceKey(0))
    >>> keystr(path), keystr(path, simple=True, separator="/")
    ("['layer'][0]", 'layer/0')
    """

    def bare(key: Any) -> str:
        match key:
            case DictKey(name) | SequenceKey(name) | GetAttrKey(name) | FlattenedIndexKey(name):
                return str(name)
        return str(key)

    return separator.join([bare(key) if simple else str(key) for key in keys])


# -- The registry: how each type is taken apart


class _Node:
    """`flatten(x) -> (children, data)`, `unflatten(data, children) -> x`, `keyed(x) -> ([(key, child), ...], data)`."""

    __slots__ = ("flatten", "keyed", "unflatten")

    def __init__(
        self,
        flatten: Callable[[Any], _Apart],
        unflatten: Callable[[Any, tuple[Any, ...]], Any],
        keyed: Callable[[Any], _Apart],
    ) -> None:
        self.flatten = flatten
        self.unflatten = unflatten
        self.keyed = keyed


class _Kinds(dict[type, Any]):
    """The `_Node` of every type met so far, None for a type of leaves: what a walk asks about each value."""

    def __missing__(self, cls: Any) -> _Node | None:
        node = _REGISTERED.get(cls)
        if is_namedtuple(cls):
            node = _Node(lambda x: (x, None), lambda _, xs: cls(*xs), lambda x: (_named(cls._fields, x), None))
        elif node is None and _is_node_of_jax(cls):
            node = _NODE_OF_JAX
        if len(self) >= 10_000:  # types made in a loop must not pile up for ever
            self.clear()
        self[cls] = node
        return node


def is_namedtuple(cls: type) -> bool:
    """Whether it is the type of a namedtuple, and nobody has said that it is to be taken apart in another way.

    >>> from collections import namedtuple
    >>> is_namedtuple(namedtuple("Point", "x y")), is_namedtuple(tuple)
    (True, False)
    """
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and cls not in _REGISTERED


def _named(names: Iterable[str], children: Iterable[Any]) -> list[tuple[GetAttrKey, Any]]:
    return [(GetAttrKey(name), child) for name, child in zip(names, children, strict=True)]


class _Keys(tuple[Any, ...]):
    """The sorted keys of a dict that has them in another order, which does not count where they are compared."""

    order: tuple[Any, ...]


def _sorted_keys(mapping: dict[Any, Any]) -> tuple[Any, ...]:
    order = tuple(mapping)
    try:
        keys = tuple(sorted(order))
        if keys == order:
            return keys
        found = _Keys(keys)
        found.order = order
        return found
    except Exception as why:
        raise _Fault(
            f"its keys cannot be sorted: {_clip(list(mapping))} ({why}). Leaves stand in the order of their sorted"
            " keys. Use keys of one type, or an OrderedDict, which keeps its own order"
        ) from None


def _in_order(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    return keys.order if type(keys) is _Keys else keys


def _dict_of(keys: tuple[Any, ...], values: Iterable[Any]) -> dict[Any, Any]:
    """The dict of sorted keys and their values, in the order in which it was taken apart."""
    found = dict(zip(keys, values, strict=True))
    return {k: found[k] for k in keys.order} if type(keys) is _Keys else found


def _keyed_mapping(d: dict[Any, Any], keys: tuple[Any, ...]) -> _Apart:
    return [(DictKey(k), d[k]) for k in keys], keys


def _keyed_sequence(xs: Sequence[Any]) -> _Apart:
    return [(SequenceKey(i), x) for i, x in enumerate(xs)], None


def _keyed_defaultdict(d: defaultdict[Any, Any]) -> _Apart:
    items, keys = _keyed_mapping(d, _sorted_keys(d))
    return items, (d.default_factory, keys)


def _with_keys(flatten: Callable[[Any], _Apart]) -> Callable[[Any], _Apart]:
    def keyed(x: Any) -> _Apart:
        children, data = _checked(type(x), flatten(x))
        return [(FlattenedIndexKey(i), child) for i, child in enumerate(children)], data

    return keyed


def _without_keys(keyed: Callable[[Any], _Apart]) -> Callable[[Any], _Apart]:
    def flatten(x: Any) -> _Apart:
        items, data = _checked(type(x), keyed(x))
        return [child for _, child in items], data

    return flatten


def _checked(cls: type, apart: Any) -> _Apart:
    if type(apart) is tuple and len(apart) == 2:
        return apart
    raise _Fault(f"the flatten function of {cls.__name__} must return (children, aux_data), it returned {_clip(apart)}")


# -- Types that are registered with jax alone: an equinox module, a flax struct. Who has one has imported jax; this does not.


def _is_node_of_jax(cls: type) -> bool:
    """Whether jax takes instances of a class apart. It is asked about an empty one, since it goes by the type."""
    all_leaves = getattr(sys.modules.get("jax.tree_util"), "all_leaves", None)
    if all_leaves is None or hasattr(cls, "__del__"):
        return False
    for base in (object, dict, list, tuple):
        with contextlib.suppress(TypeError):  # which is what an array's class, say, is not made by
            return not all_leaves([base.__new__(cls)])
    return False


def _flatten_of_jax(x: Any) -> _Apart:
    found: _Apart = sys.modules["jax.tree_util"].tree_flatten(x, is_leaf=lambda y: y is not x)
    return found


def _keyed_of_jax(x: Any) -> _Apart:
    found, data = sys.modules["jax.tree_util"].tree_flatten_with_path(x, is_leaf=lambda y: y is not x)
    return [(_own_key(path[0]), child) for path, child in found], data


def _own_key(key: Any) -> Any:
    """A key of jax's as one of ours."""
    kind = next(
        (k for k in (DictKey, SequenceKey, GetAttrKey, FlattenedIndexKey) if k.__name__ == type(key).__name__), None
    )
    return key if kind is None else kind(getattr(key, kind.__match_args__[0]))


_NODE_OF_JAX = _Node(_flatten_of_jax, lambda structure, children: structure.unflatten(children), _keyed_of_jax)


# -- Walks, each one recursion over the tree


class _Fault(ValueError):
    """What is wrong at one node. A walk notes the number of the child at each level that it leaves, innermost first."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.indices: list[int] = []

    def refused(self, tree: Any) -> ValueError:
        return ValueError(f"cannot flatten the tree, at tree{self.path(tree)}: {self.args[0]}.")

    def mismatch(self, who: str, ours: str, theirs: str, advice: str, tree: Any) -> ValueError:
        if len(self.args) == 1:
            return self.refused(tree)
        mine, other, hint = self.args
        return ValueError(
            f"{who}: the structures differ at {ours}{self.path(tree)}\n"
            f"  {ours} has {mine}\n  {theirs} has {other}\n{hint}{advice}"
        )

    def path(self, tree: Any) -> str:
        path: KeyPath = ()
        for i in reversed(self.indices):
            key, tree = [*_KINDS[type(tree)].keyed(tree)[0]][i]
            path = (*path, key)
        return keystr(path)


def _stops(is_leaf: IsLeaf, *args: Any) -> bool:
    answer = is_leaf(*args)
    if answer is not None and type(answer) is not bool:
        raise _Fault(f"is_leaf must return True or False, it returned {_clip(answer)}; wrap its result in bool()")
    return answer is True


def _take_apart(x: Any, cls: type, leaves: list[Any], is_leaf: IsLeaf | None) -> _Spec:
    children: Iterable[Any]
    if cls is tuple or cls is list:
        children, data = x, None
    elif cls is dict:
        data = _sorted_keys(x)
        children = [x[k] for k in data]
    else:
        children, data = _checked(cls, _KINDS[cls].flatten(x))
    spec = [cls, data]
    try:
        for child in children:
            kind = type(child)
            if (is_leaf is not None and _stops(is_leaf, child)) or _KINDS[kind] is None:
                leaves.append(child)
                spec.append(None)
            else:
                spec.append(_take_apart(child, kind, leaves, is_leaf))
    except _Fault as fault:
        fault.indices.append(len(spec) - 2)
        raise
    return tuple(spec)


def _take_apart_with_path(x: Any, path: KeyPath, leaves: list[tuple[KeyPath, Any]], is_leaf: IsLeaf | None) -> _Spec:
    cls = type(x)
    if (is_leaf is not None and _stops(is_leaf, path, x)) or (node := _KINDS[cls]) is None:
        leaves.append((path, x))
        return None
    items, data = _checked(cls, node.keyed(x))
    spec = [cls, data]
    try:
        for key, child in items:
            spec.append(_take_apart_with_path(child, (*path, key), leaves, is_leaf))
    except _Fault as fault:
        fault.indices.append(len(spec) - 2)
        raise
    return tuple(spec)


def _put_together(spec: _Spec, leaves: Iterator[Any]) -> Any:
    if spec is None:
        return next(leaves)
    children = []
    for child in spec[2:]:  # not a comprehension, which would halve the depth of trees that fit on the stack
        children.append(next(leaves) if child is None else _put_together(child, leaves))
    cls = spec[0]
    if cls is tuple:
        return tuple(children)
    if cls is list:
        return children
    if cls is dict:
        return _dict_of(spec[1], children)
    if (node := _KINDS[cls]) is None:  # the structure was unpickled where its type is unknown
        raise TypeError(f"{_name(cls)} is no tree node in this process; first import the module that registers it")
    return node.unflatten(spec[1], tuple(children))


def _is_deep(x: Any) -> bool:
    """Whether a tree takes a good part of what Python's recursion limit allows."""
    waiting = [(x, 0)]
    while waiting:
        x, depth = waiting.pop()
        node = _KINDS[type(x)]
        if node is not None:
            if depth == _DEEP:
                return True
            waiting.extend([(child, depth + 1) for child in _checked(type(x), node.flatten(x))[0]])
    return False


_DEEP = 100


def _cut(spec: tuple[Any, ...], x: Any, subtrees: list[Any]) -> None:
    """The subtrees of `x` that stand where `spec` has leaves."""
    cls, data = spec[:2]
    children: Any = x
    if same := type(x) is cls:
        if cls is dict:
            children = [x[k] for k in data if k in x]
            same = len(children) == len(x)
        elif cls is not tuple and cls is not list:
            children, theirs = _checked(cls, _KINDS[cls].flatten(x))
            children = tuple(children)
            same = _equal(data, theirs)
    if not same or len(children) != len(spec) - 2:
        raise _differ(spec, None, x)
    i = 2
    try:
        for child in children:
            if spec[i] is None:
                subtrees.append(child)
            else:
                _cut(spec[i], child, subtrees)
            i += 1
    except _Fault as fault:
        fault.indices.append(i - 2)
        raise


def _spread(prefix: _Spec, full: _Spec, leaves: Iterator[Any], out: list[Any]) -> None:
    """Each leaf of `prefix` as many times as there are leaves of `full` under it."""
    if prefix is None:
        out.extend([next(leaves)] * _count(full)[0])
        return
    if full is None or len(full) != len(prefix) or not _equal(prefix[:2], full[:2]):
        raise _differ(prefix, full)
    for i in range(2, len(prefix)):
        try:
            _spread(prefix[i], full[i], leaves, out)
        except _Fault as fault:
            fault.indices.append(i - 2)
            raise


def _composed(spec: _Spec, inner: _Spec) -> _Spec:
    return inner if spec is None else (*spec[:2], *[_composed(child, inner) for child in spec[2:]])


def _walk(spec: _Spec, f_node: Callable[[tuple[Any, ...], Any], Any], leaves: Iterator[Any]) -> Any:
    if spec is None:
        return next(leaves)
    children = tuple([_walk(child, f_node, leaves) for child in spec[2:]])
    return f_node(children, list(spec[1]) if spec[0] is dict else spec[1])


def _count(spec: _Spec) -> tuple[int, int]:
    """How many leaves there are, and how many nodes, leaves among them."""
    leaves = nodes = 0
    stack: list[_Spec] = [spec]
    while stack:
        top = stack.pop()
        nodes += 1
        leaves += top is None
        stack.extend((top or ())[2:])
    return leaves, nodes


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except ValueError as why:
        raise ValueError(
            f"the aux data of two tree nodes cannot be compared ({why}). Aux data (meta_fields) must be hashable and"
            " compare to a bool: an array there belongs among the children (data_fields)."
        ) from None


def _add_details(spec: tuple[Any, ...], found: list[Any]) -> None:
    cls, data = spec[:2]
    if data is not None:
        found.append((data[0], _in_order(data[1])) if cls is defaultdict else _in_order(data))
    for child in spec[2:]:
        if child is not None:
            _add_details(child, found)


def _with_data(spec: _Spec, change: Callable[[Any], Any]) -> _Spec:
    return spec and (spec[0], change(spec[1]), *[_with_data(child, change) for child in spec[2:]])


def _is_sorted(spec: tuple[Any, ...]) -> bool:
    if type(spec[1][1] if spec[0] is defaultdict else spec[1]) is _Keys:
        return False
    return builtins.all([child is None or _is_sorted(child) for child in spec[2:]])


# -- How structures are shown


def _show(spec: _Spec) -> str:
    if spec is None:
        return "*"
    cls, data = spec[:2]
    texts = []
    for child in spec[2:]:  # no comprehension: its frame would halve the depth that can be shown
        texts.append(_show(child))
    inside = ", ".join(texts)
    if cls is dict:
        return "{" + ", ".join([f"{key!r}: {text}" for key, text in zip(data, texts, strict=True)]) + "}"
    if cls is tuple:
        return f"({inside},)" if len(texts) == 1 else f"({inside})"
    if cls is list:
        return f"[{inside}]"
    if cls is type(None):
        return "None"
    label = f"namedtuple[{cls.__name__}]" if is_namedtuple(cls) else f"{cls.__name__}[{data}]"
    return f"CustomNode({label}, [{inside}])"


def _clip(x: Any, show: Callable[[Any], str] = repr) -> str:
    text = show(x)
    return text if len(text) <= 100 else text[:97] + "..."


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _side(spec: _Spec, value: Any) -> str:
    if spec is not None:
        shown = "an empty tree" if spec[0] is type(None) else _clip(spec, _show)
        return f"{spec[0].__name__} of {len(spec) - 2}: {shown}"
    if value is _MISSING:
        return "a leaf"
    shape = f" of shape {value.shape}" if hasattr(value, "shape") else ""
    return f"{'a leaf, ' if _KINDS[type(value)] is None else ''}{type(value).__name__}{shape}"


def _differ(mine: tuple[Any, ...], other: _Spec, value: Any = _MISSING) -> _Fault:
    if value is not _MISSING:
        with contextlib.suppress(ValueError):  # what is wrong further down is not what this error is about
            other = tree_structure(value)._spec
    hint = ""
    if mine[0] is type(None):
        hint = "To have None as a leaf, pass is_leaf=lambda x: x is None. "
    elif mine[0] is dict and other is not None and other[0] is dict:
        hint = f"Missing keys: {_clip([k for k in mine[1] if k not in other[1]])}; "
        hint += f"unexpected keys: {_clip([k for k in other[1] if k not in mine[1]])}. "
    return _Fault(_side(mine, _MISSING), _side(other, value), hint)


# -- The structure


class PyTreeDef:
    """The structure of a tree, without its leaves. Immutable, equal and hashable by structure, picklable.

    `hash` raises TypeError where the aux data of a registered type are not hashable.

    >>> tree_structure({"b": (1, 2), "a": 3.0})
    PyTreeDef({'a': *, 'b': (*, *)})
    """

    __slots__ = ("_num_leaves", "_spec")

    def __init__(self, spec: _Spec, num_leaves: int) -> None:
        self._spec = spec
        self._num_leaves = num_leaves

    @property
    def num_leaves(self) -> int:
        return self._num_leaves

    @property
    def num_nodes(self) -> int:
        """The number of containers, Nones and leaves together."""
        return _count(self._spec)[1]

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree of this structure with these leaves; ValueError if they are too few or too many."""
        return _put_together(self._spec, iter(self._counted(leaves)))

    def _counted(self, leaves: Iterable[Any]) -> list[Any]:
        leaves = list(leaves)
        if len(leaves) != self._num_leaves:
            raise ValueError(
                f"Too {'few' if len(leaves) < self._num_leaves else 'many'} leaves for {_clip(self)}; expected"
                f" {self._num_leaves}, got {len(leaves)}. Pass one for each *, in the order of tree_leaves."
            )
        return leaves

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of `tree` that stand where this structure has leaves; ValueError if `tree` differs above."""
        return _subtrees(self._spec, tree, "flatten_up_to", "treedef", "tree")

    def compose(self, inner: "PyTreeDef") -> "PyTreeDef":
        """This structure with `inner` in the place of each leaf.

        >>> tree_structure([0, (0,)]).compose(tree_structure({"a": 0}))
        PyTreeDef([{'a': *}, ({'a': *},)])
        """
        if not isinstance(inner, PyTreeDef):
            raise TypeError(f"compose takes a PyTreeDef, got {_clip(inner)}; write tree_structure(tree)")
        return PyTreeDef(_composed(self._spec, inner._spec), self._num_leaves * inner._num_leaves)

    def walk(
        self,
        f_node: Callable[[tuple[Any, ...], Any], Any],
        f_leaf: Callable[[Any], Any] | None,
        leaves: Iterable[Any],
    ) -> Any:
        """Call `f_leaf` of each leaf, and `f_node(children, data)` of each node with what that made of its children and with
        what it needs besides (of a dict the sorted keys, as a list); what it makes of the root. `f_leaf=None` hands the
        leaves on as they are. ValueError if they are too few or too many.

        >>> tree_structure({"a": 0, "b": (0, 0)}).walk(lambda children, data: sum(children), lambda x: 10 * x, [1, 2, 3])
        60
        """
        leaves = self._counted(leaves)
        return _walk(self._spec, f_node, iter(leaves) if f_leaf is None else (f_leaf(x) for x in leaves))

    def children(self) -> list["PyTreeDef"]:
        """The structures of the root's children."""
        return [PyTreeDef(child, _count(child)[0]) for child in (self._spec or ())[2:]]

    def node_data(self) -> tuple[type, Any] | None:
        """The root's type and what it needs besides its children (of a dict the sorted keys); None for a leaf."""
        return None if self._spec is None else self._spec[:2]

    def keys_in_order(self) -> tuple[Any, ...]:
        """The keys of a dict at the root, in the order in which they stood."""
        return () if self._spec is None else _in_order(self._spec[1])

    def details(self) -> list[Any]:
        """What each node needs besides its children, where that is anything, the keys of dicts in the order in which they
        stood. Structures that compare equal have as many, but may differ here: by that order, and by 1, 1.0 and True."""
        found: list[Any] = []
        if self._spec is not None:
            _add_details(self._spec, found)
        return found

    def with_data(self, change: Callable[[Any], Any]) -> "PyTreeDef":
        """The structure with `change(data)` for what each node needs besides its children."""
        return PyTreeDef(_with_data(self._spec, change), self._num_leaves)

    def is_sorted(self) -> bool:
        """Whether all dicts have their keys in sorted order."""
        return self._spec is None or _is_sorted(self._spec)

    def __eq__(self, other: object) -> bool:
        return _equal(self._spec, other._spec) if isinstance(other, PyTreeDef) else NotImplemented

    def __hash__(self) -> int:
        try:
            return hash(self._spec)
        except TypeError as why:
            raise TypeError(
                f"{_clip(self)} cannot be hashed ({why}): aux data (meta_fields) of registered types must be hashable,"
                " for they tell one compiled function from another. Use a tuple for a list."
            ) from None

    def __repr__(self) -> str:
        return f"PyTreeDef({_show(self._spec)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PyTreeDef, (self._spec, self._num_leaves)


_LEAF = PyTreeDef(None, 1)


def _subtrees(spec: _Spec, tree: Any, who: str, ours: str, theirs: str) -> list[Any]:
    if spec is None:
        return [tree]
    found: list[Any] = []
    try:
        _cut(spec, tree, found)
    except _Fault as fault:
        advice = f"{theirs} must have the containers of {ours}; where {ours} has a leaf, it may have any subtree."
        raise fault.mismatch(who, ours, theirs, advice, tree) from None
    return found


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether the structure is a single node: a leaf or, as in jax, an empty container.

    >>> treedef_is_leaf(tree_structure(1)), treedef_is_leaf(tree_structure([1]))
    (True, False)
    """
    return treedef.num_nodes == 1


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the root's children.

    >>> treedef_children(tree_structure([(1, 2), 3]))
    [PyTreeDef((*, *)), PyTreeDef(*)]
    """
    return treedef.children()


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of these structures.

    >>> treedef_tuple([tree_structure(1), tree_structure([2, 3])])
    PyTreeDef((*, [*, *]))
    """
    parts = list(treedefs)
    return PyTreeDef((tuple, None, *[part._spec for part in parts]), sum([part.num_leaves for part in parts]))


# -- Flatten, unflatten, map


def tree_flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a tree, and its structure.

    `is_leaf(x)` is asked about every value from the root down; where it says True, what stands there is one leaf.
    ValueError, with the key path, if dict keys cannot be sorted or a flatten function returns something else.

    >>> tree_flatten({"b": [1, None], "a": 2.0})
    ([2.0, 1], PyTreeDef({'a': *, 'b': [*, None]}))
    """
    cls = type(tree)
    leaves: list[Any] = []
    try:
        if (is_leaf is not None and _stops(is_leaf, tree)) or _KINDS[cls] is None:
            return [tree], _LEAF
        spec = _take_apart(tree, cls, leaves, is_leaf)
    except _Fault as fault:
        raise fault.refused(tree) from None
    except RecursionError:
        if _is_deep(tree):
            raise RecursionError("the tree is deeper than Python's recursion limit, or contains itself") from None
        raise  # so is the recursion that has come to flatten it
    return leaves, PyTreeDef(spec, len(leaves))


def tree_unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of this structure with these leaves; ValueError if they are too few or too many.

    >>> tree_unflatten(tree_structure({"a": 0, "b": (0, 0)}), [1, 2, 3])
    {'a': 1, 'b': (2, 3)}
    """
    if not isinstance(treedef, PyTreeDef):
        raise TypeError(f"tree_unflatten(treedef, leaves) takes a PyTreeDef first, got {type(treedef).__name__}")
    return treedef.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree, in the order of `tree_flatten`.

    >>> tree_leaves({"b": [1, None], "a": 2.0})
    [2.0, 1]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf | None = None) -> PyTreeDef:
    """The structure of a tree.

    >>> tree_structure([1, (2,)])
    PyTreeDef([*, (*,)])
    """
    return tree_flatten(tree, is_leaf)[1]


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """Whether every element is a leaf.

    >>> all_leaves([1, 2.0]), all_leaves([1, [2.0]])
    (True, False)
    """
    return builtins.all(tree_structure(x, is_leaf) is _LEAF for x in iterable)


def tree_map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """A tree like `tree` of `f(leaf, *others)`, where `others` are the subtrees of `rest` at the place of the leaf.

    ValueError, with the key path, if a tree of `rest` differs in structure above the leaves of `tree`.

    >>> tree_map(lambda x, y: x + y, {"a": 1, "b": (2, 3)}, {"a": 10, "b": (20, 30)})
    {'a': 11, 'b': (22, 33)}
    """
    leaves, treedef = tree_flatten(tree, is_leaf)
    spec = treedef._spec
    if not rest:
        return _put_together(spec, iter([f(x) for x in leaves]))
    columns = [_subtrees(spec, r, "tree_map", "tree", f"rest[{i}]") for i, r in enumerate(rest)]
    return _put_together(spec, iter([f(*xs) for xs in zip(leaves, *columns, strict=True)]))


def tree_reduce(
    function: Callable[[T, Any], T], tree: Any, initializer: T = _MISSING, is_leaf: IsLeaf | None = None
) -> T:
    """`functools.reduce` over the leaves; TypeError if there are none and no `initializer`.

    >>> tree_reduce(lambda total, x: total + x, {"a": 1, "b": (2, 3)}, 0)
    6
    """
    start = () if initializer is _MISSING else (initializer,)
    return functools.reduce(function, tree_leaves(tree, is_leaf), *start)


def tree_all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """Whether every leaf is true.

    >>> tree_all({"a": True, "b": [True, False]})
    False
    """
    return builtins.all(tree_leaves(tree, is_leaf))


def tree_transpose(outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any) -> Any:
    """A tree of trees turned inside out; `inner_treedef=None` takes the structure of the first inner tree.

    TypeError unless a tree of `inner_treedef` is at each leaf of `outer_treedef`. Of a registered type whose aux data speak
    of what it holds (a structure, say), so that they are others where its leaves are trees, the leaves are counted.

    >>> tree_transpose(tree_structure([0, 0]), tree_structure({"a": 0}), [{"a": 1}, {"a": 2}])
    {'a': [1, 2]}
    """
    who = "tree_transpose"
    try:
        rows = _subtrees(outer_treedef._spec, pytree_to_transpose, who, "outer_treedef", "tree")
        if inner_treedef is None and not rows:
            raise ValueError(f"{who}: outer_treedef has no leaves to take the inner structure from; pass inner_treedef")
        inner = inner_treedef or tree_structure(rows[0])
        table = [_subtrees(inner._spec, row, who, "inner_treedef", f"inner tree {i}") for i, row in enumerate(rows)]
    except ValueError as why:
        leaves, own = tree_flatten(pytree_to_transpose)[0], outer_treedef._spec
        kind = None if own is None else own[0]
        size = 0 if inner_treedef is None else inner_treedef.num_leaves
        has_own_data = kind in _REGISTERED and kind not in _BUILT_IN and kind is type(pytree_to_transpose)
        if not has_own_data or inner_treedef is None or len(leaves) != outer_treedef.num_leaves * size:
            raise TypeError(f"Mismatch: {why}") from None
        inner, table = inner_treedef, [leaves[i : i + size] for i in range(0, len(leaves), size)] if size else []
    return inner.unflatten([outer_treedef.unflatten(column) for column in zip(*table, strict=True)])


def tree_flatten_with_path(
    tree: Any, is_leaf: IsLeaf | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """`tree_flatten` with each leaf as `(key path, leaf)`; `is_leaf_takes_path` calls `is_leaf(path, x)`.

    >>> [(keystr(path), leaf) for path, leaf in tree_flatten_with_path({"a": [1, 2]})[0]]
    [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    ask = is_leaf if is_leaf is None or is_leaf_takes_path else lambda _, x: is_leaf(x)
    leaves: list[tuple[KeyPath, Any]] = []
    try:
        spec = _take_apart_with_path(tree, (), leaves, ask)
    except _Fault as fault:
        raise fault.refused(tree) from None
    return leaves, PyTreeDef(spec, len(leaves))


def tree_leaves_with_path(
    tree: Any, is_leaf: IsLeaf | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """The pairs `(key path, leaf)` of a tree.

    >>> tree_leaves_with_path([7.0])
    [((SequenceKey(idx=0),), 7.0)]
    """
    return tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def tree_map_with_path(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None, is_leaf_takes_path: bool = False
) -> Any:
    """`tree_map` of an `f(path, leaf, *others)`.

    >>> tree_map_with_path(lambda path, x: f"{keystr(path)} = {x}", {"a": [1]})
    {'a': ["['a'][0] = 1"]}
    """
    pairs, treedef = tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    columns = [_subtrees(treedef._spec, r, "tree_map_with_path", "tree", f"rest[{i}]") for i, r in enumerate(rest)]
    return treedef.unflatten([f(*pair, *xs) for pair, *xs in zip(pairs, *columns, strict=True)])


# -- Prefixes: trees whose leaves stand for whole subtrees


def _broadcast(name: str, prefix_tree: Any, value: str, full: PyTreeDef, is_leaf: IsLeaf | None) -> list[Any]:
    leaves, prefix = tree_flatten(prefix_tree, is_leaf)
    out: list[Any] = []
    try:
        _spread(prefix._spec, full._spec, iter(leaves), out)
    except _Fault as fault:
        advice = f"{name} must have the containers of {value} down to its leaves, each of which stands for all below."
        if type(prefix_tree) is not tuple and full == treedef_tuple(full.children()) and len(full.children()) == 1:
            advice += f" For the one element of that tuple, write ({_clip(prefix_tree)},)."
        raise fault.mismatch(f"{name} does not fit {value}", name, value, advice, prefix_tree) from None
    return out


def broadcast_prefix(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a prefix, each once for every leaf of `full_tree` below it; `is_leaf` is asked of the prefix.

    ValueError, with the key path, if `prefix_tree` is not a prefix of `full_tree`.

    >>> broadcast_prefix((1, 2), (0, {"a": 0, "b": 0}))
    [1, 2, 2]
    """
    return _broadcast("prefix_tree", prefix_tree, "full_tree", tree_structure(full_tree), is_leaf)


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> Any:
    """`broadcast_prefix` as a tree of the structure of `full_tree`.

    >>> tree_broadcast((1, 2), (0, {"a": 0, "b": 0}))
    (1, {'a': 2, 'b': 2})
    """
    return tree_structure(full_tree).unflatten(broadcast_prefix(prefix_tree, full_tree, is_leaf))


def flatten_axes(name: str, treedef: PyTreeDef, axes_prefix: Any) -> list[Any]:
    """A prefix like `in_axes`, in which None is a leaf, spread over the leaves of a structure; errors call it `name`.

    ValueError, with the key path, if `axes_prefix` is not a prefix.

    >>> flatten_axes("in_axes", tree_structure(({"w": 1, "b": 2}, 3)), (0, None))
    [0, 0, None]
    """
    return _broadcast(name, axes_prefix, "the value", treedef, lambda x: x is None)


# -- Own types as nodes


def _register(cls: type, node: _Node) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"only a class can be registered as a tree node, got {_clip(cls)}")
    if cls in _REGISTERED:
        raise ValueError(
            f"{_name(cls)} is registered as a tree node already, and each class is so only once: drop this"
            " registration, or register a subclass."
        )
    _REGISTERED[cls] = _KINDS[cls] = node


def is_registered(cls: type) -> bool:
    """Whether objects of a class are nodes, not leaves.

    >>> is_registered(dict), is_registered(float)
    (True, False)
    """
    return cls in _REGISTERED


def register_pytree_node(
    nodetype: type[T],
    flatten_func: Callable[[T], _Apart],
    unflatten_func: Callable[[Any, Any], T],
    flatten_with_keys_func: Callable[[T], _Apart] | None = None,
) -> None:
    """Make a class a tree node: `flatten_func(x) -> (children, aux_data)`, `unflatten_func(aux_data, children) -> x`.

    `aux_data` is static: part of the structure, to be hashable and comparable. `unflatten_func` is given any objects as
    children, so it must not check or convert them. Subclasses are not registered along. ValueError on a second time.

    >>> class Interval:
    ...     def __init__(self, low, high):
    ...         self.low, self.high = low, high
    >>> register_pytree_node(Interval, lambda x: ((x.low, x.high), None), lambda _, xs: Interval(*xs))
    >>> tree_leaves([Interval(1.0, 2.0)])
    [1.0, 2.0]
    """
    _register(nodetype, _Node(flatten_func, unflatten_func, flatten_with_keys_func or _with_keys(flatten_func)))


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

    >>> import dataclasses
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     w: float
    ...     name: str = dataclasses.field(metadata={"static": True})
    >>> tree_flatten(Layer(1.5, "dense"))
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

    def flatten(x: Any) -> _Apart:
        return [getattr(x, name) for name in data], tuple([getattr(x, name) for name in meta])

    def flatten_with_keys(x: Any) -> _Apart:
        children, aux = flatten(x)
        return _named(data, children), aux

    def unflatten(aux: Any, children: Any) -> Any:
        return nodetype(**dict(zip(meta + data, (*aux, *children), strict=True)))

    _register(nodetype, _Node(flatten, unflatten, flatten_with_keys))
    return nodetype


class Partial(functools.partial[Any]):
    """A `functools.partial` that is a tree: the bound arguments are children, the function is static.

    >>> scale = Partial(lambda factor, x: factor * x, 3.0)
    >>> tree_map(lambda leaf: leaf + 1, scale)(10.0)
    40.0
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Partial":
        self = super().__new__(cls, func, *args, **kwargs)
        # functools has merged into this one a func that is a partial, but its arguments are not to be leaves: undo.
        self.__setstate__((func, args, kwargs, None))  # type: ignore[attr-defined]
        return self


_REGISTERED: dict[type, _Node] = {
    type(None): _Node(lambda _: ((), None), lambda *_: None, lambda _: ((), None)),
    tuple: _Node(lambda xs: (xs, None), lambda _, xs: xs, _keyed_sequence),
    list: _Node(lambda xs: (xs, None), lambda _, xs: list(xs), _keyed_sequence),
    dict: _Node(
        _without_keys(lambda d: _keyed_mapping(d, _sorted_keys(d))),
        _dict_of,
        lambda d: _keyed_mapping(d, _sorted_keys(d)),
    ),
    OrderedDict: _Node(
        lambda d: (d.values(), tuple(d)),
        lambda keys, xs: OrderedDict(zip(keys, xs, strict=True)),
        lambda d: _keyed_mapping(d, tuple(d)),
    ),
    defaultdict: _Node(
        _without_keys(_keyed_defaultdict),
        lambda data, xs: defaultdict(data[0], _dict_of(data[1], xs)),
        _keyed_defaultdict,
    ),
}
_BUILT_IN = frozenset(_REGISTERED)
_KINDS = _Kinds()
register_pytree_node(Partial, lambda p: ((p.args, p.keywords), p.func), lambda f, xs: Partial(f, *xs[0], **xs[1]))

# -- Short names, tg.tree.map as jax.tree.map. From here on `map` and `all` are not the builtins, in all of this file.

flatten = tree_flatten
unflatten = tree_unflatten
leaves = tree_leaves
structure = tree_structure
map = tree_map
reduce = tree_reduce
all = tree_all
transpose = tree_transpose
broadcast = tree_broadcast
flatten_with_path = tree_flatten_with_path
leaves_with_path = tree_leaves_with_path
map_with_path = tree_map_with_path


def __dir__() -> list[str]:
    return [name for name, x in globals().items() if callable(x) and x.__module__ == __name__ and name[0] != "_"]
