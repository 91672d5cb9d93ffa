"""What tests of trees share: a function of a tree library, of ours and of jax's; the text of an error; classes that register with both."""

from __future__ import annotations

import pytest

from tracegrad import tree


class Plain:
    """Registered without keys. Equality is by parts, so that a round trip can be compared."""

    def __init__(self, *children, aux="aux"):
        self.children, self.aux = children, aux

    def __eq__(self, other):
        return type(self) is type(other) and (self.children, self.aux) == (other.children, other.aux)

    def __repr__(self):
        return f"{type(self).__name__}{self.children}[{self.aux}]"

    def tree_flatten(self):
        return self.children, self.aux

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children, aux=aux)


class Keyed(Plain):
    """Registered with keys, in each library of its own kind."""

    def tree_flatten_with_keys(self):
        import jax

        key = (tree if Keyed.library == "tracegrad" else jax.tree_util).GetAttrKey
        return [(key(f"c{i}"), child) for i, child in enumerate(self.children)], self.aux


def with_jax(function, *args):
    """`function(jax.tree_util)`, in which Keyed makes jax's keys."""
    import jax

    Keyed.library = "jax"
    try:
        return function(jax.tree_util, *args)
    finally:
        Keyed.library = "tracegrad"


def both(function):
    """What a function of a tree library gives, having checked that jax's gives the same."""
    ours = function(tree)
    assert ours == with_jax(function)
    return ours


def describe(library, x, **options):
    """All that a library says of a tree, in comparable form."""
    leaves, treedef = library.tree_flatten(x, **options)
    pairs, again = library.tree_flatten_with_path(x, **options)
    assert again == treedef and hash(again) == hash(treedef) and [leaf for _, leaf in pairs] == leaves
    return {
        "leaves": leaves,
        "structure": str(treedef),
        "sizes": (treedef.num_leaves, treedef.num_nodes),
        "is_leaf": library.treedef_is_leaf(treedef),
        "children": [str(child) for child in library.treedef_children(treedef)],
        "paths": [library.keystr(path) for path, _ in pairs],
        "names": [library.keystr(path, simple=True, separator="/") for path, _ in pairs],
        "keys": [[repr(key) for key in path] for path, _ in pairs],
        "up_to": treedef.flatten_up_to(x),
        "all_leaves": library.all_leaves(leaves),
    }


def refusal(error, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)
