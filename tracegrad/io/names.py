"""Names of tensors in files: key paths joined by dots, `params.block_0.up.kernel`. A "." or "\\" within a key stands after a
"\\"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

_RESERVED = "__metadata__"  # what both formats keep for themselves


def joined(keys: Iterable[str]) -> str:
    """The name for a path of keys.

    >>> joined(["params", "block_0", "v1.5"])
    'params.block_0.v1\\\\.5'
    """
    name = ".".join([key.replace("\\", "\\\\").replace(".", "\\.") for key in keys])
    return f"\\{name}" if name == _RESERVED else name


def parted(name: str) -> list[str]:
    """The keys of a name, what `joined` made it of.

    >>> parted("params.block_0.v1\\\\.5")
    ['params', 'block_0', 'v1.5']
    """
    return [plain(key) for key in re.findall(r"(?:^|\.)((?:[^\\.]|\\.)*)", name, re.DOTALL)]


def plain(name: str) -> str:
    """A name as one would write it who knows of no escapes."""
    return re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL) if "\\" in name else name


def nearest(name: str, names: Iterable[str]) -> str | None:
    """That of some names which is most like a name, if one is."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def renamed(names: Iterable[str], rules: Mapping[str, str]) -> dict[str, str]:
    """The new name of each of these: that of the first rule, `{"old.*": "new.*"}`, that it fits. A `*` stands for any
    text, dots included, and the nth in the new name for what the nth in the old one was.

    Raises ValueError for a rule that fits no name, and where two names become one.

    >>> renamed(["body.w", "head.w"], {"body.*": "trunk.*"})
    {'body.w': 'trunk.w', 'head.w': 'head.w'}
    """
    patterns = []
    for old, new in rules.items():
        if new.count("*") > old.count("*"):
            raise ValueError(f"rename={{{old!r}: {new!r}}}: each * of the new name must be one of the old name")
        patterns.append((old, re.compile("(.*)".join(map(re.escape, old.split("*"))), re.DOTALL), new.split("*")))
    unused = dict(rules)
    found: dict[str, str] = {}
    origins: dict[str, str] = {}
    for name in names:
        new = name
        for old, pattern, parts in patterns:
            match = pattern.fullmatch(name)
            if match:
                unused.pop(old, None)
                new = parts[0] + "".join([text + part for text, part in zip(match.groups(), parts[1:], strict=False)])
                break
        if new in origins:
            raise ValueError(f"rename: {origins[new]!r} and {name!r} both become {new!r}")
        origins[new] = name
        found[name] = new
    for old in unused:
        near = nearest(old, found)
        raise ValueError(f"rename: no name fits {old!r}{f'; the nearest one is {near!r}' if near else ''}")
    return found
