"""Key paths: where in a tree something stands. The keys are values; `frozen` would triple the time to make one, and every `grad` makes some."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

KeyPath = tuple[Any, ...]


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
    """A step of a key path into a namedtuple or dataclass: `.name`.

    >>> import collections, tracegrad as tg
    >>> tg.tree.leaves_with_path(collections.namedtuple("Point", "x")(1))[0][0]
    (GetAttrKey(name='x'),)
    """

    __slots__ = __match_args__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f".{self.name}"


class FlattenedIndexKey(_Key):
    """A step of a key path into a type that was registered without keys: the number of the child.

    >>> import tracegrad as tg
    >>> tg.tree.leaves_with_path(tg.tree.Partial(max, 1))[0][0]
    (FlattenedIndexKey(key=0), SequenceKey(idx=0))
    """

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
