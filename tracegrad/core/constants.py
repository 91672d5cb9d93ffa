"""Arrays that a traced function closed over, held read-only while traces are open: an inner transform that ends must not free what
an outer one, or another thread, still needs."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy import ndarray

SMALL = 2048  # bytes that are copied in less time than it takes to set a flag and set it back

# What a trace holds: the array by its id, and whether it is for this trace to give it back.
Locked = dict[int, tuple[np.ndarray[Any, Any], bool]]

# The arrays that traces hold, each with the number of traces that do. `_waiting` are views that are free but for their owner.
_held: dict[int, list[Any]] = {}
_waiting: list[np.ndarray[Any, Any]] = []
_holding = threading.Lock()


def _can_be_given_back(array: np.ndarray[Any, Any]) -> bool:
    """Whether NumPy will let us make the array writeable again: not if its memory is a foreign object's."""
    owner = array.base
    if owner is None:
        return True
    if isinstance(owner, np.ndarray):
        return owner.flags.writeable or id(owner) in _held
    try:
        return not memoryview(owner).readonly
    except TypeError:
        return False


def is_immutable(array: np.ndarray[Any, Any]) -> bool:
    """Whether nobody can write into an array: neither it nor the array that owns its memory is writeable, and not just
    because a trace holds them."""
    owner: Any = array
    while type(owner) is ndarray:
        if owner.flags.writeable or id(owner) in _held:
            return False
        owner = owner.base
    return owner is None


def hold(array: np.ndarray[Any, Any], locked: Locked) -> None:
    """Make an array read-only, and the arrays that own its memory, and note it in what a trace holds."""
    with _holding:
        _hold(array, locked)


def _hold(array: np.ndarray[Any, Any], locked: Locked) -> None:
    owner = array.base
    if isinstance(owner, np.ndarray) and id(owner) not in locked:
        _hold(owner, locked)
    holding = True
    if id(array) in _held:
        _held[id(array)][1] += 1
    elif array.flags.writeable and _can_be_given_back(array):
        _held[id(array)] = [array, 1]
        array.flags.writeable = False
    else:
        holding = False
    locked[id(array)] = array, holding


def give_back(locked: Locked) -> None:
    """Let go of what a trace held."""
    with _holding:
        _give_back([array for array, holding in locked.values() if holding])


def _give_back(arrays: list[np.ndarray[Any, Any]]) -> None:
    """Let go of arrays, owners before their views: NumPy makes no view writeable before its owner is."""
    global _waiting
    for array in arrays:
        _held[id(array)][1] -= 1
    arrays, _waiting = arrays + _waiting, []
    for array in arrays:
        if id(array) in _held and _held[id(array)][1] == 0:
            if isinstance(array.base, np.ndarray) and not array.base.flags.writeable:
                _waiting.append(array)
            else:
                array.flags.writeable = True
                del _held[id(array)]
