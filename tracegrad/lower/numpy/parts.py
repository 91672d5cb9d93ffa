"""A long straight-line function as several short ones: Python's compiler takes longer for each line the more there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tracegrad.core.generated import Names

PART = 2000  # lines


class Line(NamedTuple):
    """A statement, the variables that occur in it, and a comment."""

    code: str
    variables: Sequence[str] = ()
    comment: str = ""


def in_parts(
    name: str, arguments: Sequence[str], lines: Sequence[Line], names: Names, known: Collection[str] = ()
) -> list[str]:
    """The sources of functions of which the last does what the lines do, one after the other.

    The last line may return. Each variable is assigned once, but for those that are `known` to all functions. What one
    part makes for later ones it returns in lists, one for each set of parts that read it, and the last of these empties
    the list, so that an array lives no longer than it would in one function.
    """
    if len(lines) <= 2 * PART:
        return [_function(name, arguments, lines)]
    chunks = [lines[i : i + PART] for i in range(0, len(lines), PART)]
    given = {argument: i for i, argument in enumerate(arguments)}
    inputs: list[list[str]] = []  # the arguments that each part reads
    read: dict[str, list[int]] = {}  # the parts in which any other variable occurs, the one that makes it first
    for number, chunk in enumerate(chunks):
        found = dict.fromkeys([v for line in chunk for v in line.variables])
        inputs.append(sorted([v for v in found if v in given], key=given.__getitem__))
        for variable in found:
            if variable not in given and variable not in known:
                read.setdefault(variable, []).append(number)
    groups: dict[tuple[int, ...], list[str]] = {}
    for variable, places in read.items():
        if len(places) > 1:
            groups.setdefault(tuple(places), []).append(variable)

    returned: list[list[str]] = [[] for _ in chunks]  # what each part returns, lists of variables,
    made: list[list[str]] = [[] for _ in chunks]  # by these names,
    taken: list[list[str]] = [[] for _ in chunks]  # which it takes,
    bodies: list[list[Line]] = [[] for _ in chunks]  # and takes apart
    for i, (group, variables) in enumerate(groups.items()):
        listed = names.fresh(f"list{i}")
        returned[group[0]].append(f"[{', '.join(variables)}]")
        made[group[0]].append(listed)
        for number in group[1:]:
            taken[number].append(listed)
            bodies[number].append(Line(f"[{', '.join(variables)}] = {listed}"))
        bodies[group[-1]].append(Line(f"{listed}.clear()"))

    sources, calls = [], []
    for number, chunk in enumerate(chunks):
        body = [*bodies[number], *chunk]
        if made[number]:
            body.append(Line(f"return {', '.join(returned[number])},"))
        passed = ", ".join([*inputs[number], *taken[number]])
        part = names.fresh(f"{name}_part{number + 1}")
        sources.append(_function(part, [passed], body))
        targets = f"{', '.join(made[number])}, = " if made[number] else ""
        calls.append(Line(f"{targets}{part}({passed})"))
    calls[-1] = Line(f"return {calls[-1].code}")
    return [*sources, _function(name, arguments, calls)]


def _function(name: str, arguments: Sequence[str], lines: Sequence[Line]) -> str:
    width = min(max([len(line.code) for line in lines if line.comment], default=0), 72)
    body = [f"    {x.code:<{width}}  # {x.comment}" if x.comment else f"    {x.code}" for x in lines]
    return "\n".join([f"def {name}({', '.join(arguments)}):", *body]) + "\n"
