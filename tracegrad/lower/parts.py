"""A long straight-line function as several short ones: Python's compiler takes longer for each line the more there are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

PART = 2000  # lines
_WORD = re.compile(r"[a-z_]\w*")


def in_parts(
    name: str,
    arguments: Sequence[str],
    lines: Sequence[tuple[str, str]],
    variables: Collection[str],
    mentioned: Sequence[Sequence[str]] = (),
) -> list[str]:
    """The sources of functions of which the last does what the lines do, one after the other.

    Each line is a statement and the text of a comment; the last one may return. Each variable is assigned once;
    `mentioned` has for the first so many lines the variables in them, for which the others are searched. What one
    part makes for later ones it returns in lists, one for each set of parts that read it, and the last of these empties
    the list, so that an array lives no longer than it would in one function.
    """
    if len(lines) <= 2 * PART:
        return [_function(name, arguments, lines)]
    chunks = [lines[i : i + PART] for i in range(0, len(lines), PART)]
    given = set(arguments)
    known = given | set(variables)
    read: dict[str, list[int]] = {}  # the parts in which a variable occurs, the one that makes it first
    for number, chunk in enumerate(chunks):
        told = mentioned[number * PART : (number + 1) * PART]
        words = dict.fromkeys(itertools.chain.from_iterable(told))
        words |= dict.fromkeys(_WORD.findall("\n".join([code for code, _ in chunk[len(told) :]])))
        for word in words:
            if word in known:
                read.setdefault(word, []).append(number)
    groups: dict[tuple[int, ...], list[str]] = {}
    for variable, places in read.items():
        if variable not in given and len(places) > 1:
            groups.setdefault(tuple(places), []).append(variable)
    lists = {group: f"list{i}" for i, group in enumerate(groups)}

    sources, calls = [], []
    for number, chunk in enumerate(chunks):
        taken = [group for group in groups if number in group[1:]]
        made = [lists[group] for group in groups if group[0] == number]
        body: list[tuple[str, str]] = []
        for group in taken:
            body.append((f"[{', '.join(groups[group])}] = {lists[group]}", ""))
            if group[-1] == number:
                body.append((f"{lists[group]}.clear()", ""))
        body += chunk
        if made:
            returned = [f"[{', '.join(groups[group])}]" for group in groups if group[0] == number]
            body.append((f"return {', '.join(returned)},", ""))
        inputs = [a for a in arguments if number in read.get(a, ())] + [lists[group] for group in taken]
        part = f"{name}_part{number + 1}"
        sources.append(_function(part, inputs, body))
        call = f"{part}({', '.join(inputs)})"
        calls.append((f"{', '.join(made)}, = {call}" if made else call, ""))
    calls[-1] = (f"return {calls[-1][0]}", "")
    return [*sources, _function(name, arguments, calls)]


def _function(name: str, arguments: Sequence[str], lines: Sequence[tuple[str, str]]) -> str:
    width = min(max([len(code) for code, comment in lines if comment], default=0), 72)
    body = [f"    {code:<{width}}  # {comment}" if comment else f"    {code}" for code, comment in lines]
    return "\n".join([f"def {name}({', '.join(arguments)}):", *body]) + "\n"
