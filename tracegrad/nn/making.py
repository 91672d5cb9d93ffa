"""What makes layers and initialisers is remembered with them: by which call, so that they print as it and can be pickled as it."""

from __future__ import annotations

import functools
import importlib
import operator
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from tracegrad.core.arguments import looking_over
from tracegrad.core.errors import name_of
from tracegrad.core.names import made_again
from tracegrad.core.tracebacks import trimming


class Call(NamedTuple):
    """A call of a function that makes things: str() is the expression."""

    maker: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        parts = [*map(shown, self.args), *[f"{name}={shown(value)}" for name, value in self.kwargs.items()]]
        return f"{self.maker.__name__}({', '.join(parts)})"

    def reduced(self) -> tuple[Any, ...]:
        """How what was made is pickled."""
        return made_again, (
            self.maker,
            tuple(map(_sent, self.args)),
            {name: _sent(x) for name, x in self.kwargs.items()},
        )


class _Public:
    """One of our functions, which in a public module is another object than where it is defined, `nn.relu`, in a pickle."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __reduce__(self) -> Any:
        return named, (self.module, self.name)


def named(module: str, name: str) -> Any:
    """What is found by a name, with dots, in a module: what a pickle calls that has nothing but this."""
    return operator.attrgetter(name)(importlib.import_module(module))


def _sent(x: Any) -> Any:
    """An argument, as it is pickled."""
    name, home = getattr(x, "__name__", None), str(getattr(x, "__module__", None))
    if not callable(x) or not isinstance(name, str) or getattr(sys.modules.get(home), name, None) is x:
        return x
    ours = [module for module in sys.modules if module.partition(".")[0] == "tracegrad"]
    return next((_Public(m, name) for m in ours if vars(sys.modules[m]).get(name) is x), x)


def shown(x: Any) -> str:
    """An argument as it is written: a function by its name."""
    return name_of(x).strip("<>") if callable(x) and not hasattr(x, "made") else repr(x)


class _Remembers(Protocol):
    made: Call | None


P = ParamSpec("P")
Made = TypeVar("Made", bound=_Remembers)


def maker(function: Callable[P, Made]) -> Callable[P, Made]:
    """A function that makes layers, as a decorator: a layer remembers of which call it is. It prints as that, and nets of such
    layers can be pickled if the arguments can, and the function by its name in its module.

    >>> import pickle
    >>> from tracegrad import nn
    >>> @nn.maker
    ... def Twice(features):
    ...     return nn.serial(nn.Dense(features), nn.Dense(features))
    >>> pickle.loads(pickle.dumps(nn.serial(nn.Dense(features=3), nn.relu)))
    serial(Dense(features=3), relu)
    """

    look = looking_over(function)

    @trimming
    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Made:
        look(args, kwargs)
        found = function(*args, **kwargs)
        if found.made is None:  # else it is of another one, which can make it too
            found.made = Call(make, args, kwargs)
        return found

    make.makes_layers = True  # type: ignore[attr-defined]
    return make


class Drawing:
    """An initialiser, with the call that made it."""

    __slots__ = ("__wrapped__", "made")

    def __init__(self, function: Callable[..., Any], made: Call) -> None:
        self.__wrapped__ = function  # for `inspect.signature`
        self.made = made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> Any:
        return self.made.reduced()

    def __repr__(self) -> str:
        return str(self.made)


def draws(function: Callable[P, Callable[..., Any]]) -> Callable[P, Callable[..., Any]]:
    """A function that makes initialisers, as a decorator: they print as the call, and can be pickled."""

    look = looking_over(function)

    @trimming
    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Callable[..., Any]:
        look(args, kwargs)
        found = function(*args, **kwargs)
        return Drawing(found.__wrapped__ if isinstance(found, Drawing) else found, Call(make, args, kwargs))

    return make
