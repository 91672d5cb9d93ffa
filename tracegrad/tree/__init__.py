"""Trees of containers (pytrees): taken apart into a list of leaves and a structure, and put together again.

A tree is a dict, list, tuple, namedtuple, None, OrderedDict, defaultdict or registered type whose children are trees;
everything else is a leaf. What is registered with jax alone is a node here too. Names, order of leaves (dict keys sorted) and None as a tree without leaves are as in
`jax.tree_util`. `tg.tree.map`, `tg.tree.leaves` and their kin are the aliases at the end of the file.

A dict keeps the order of its keys on the way through: `unflatten` and all that builds on it (every transform's call of
its function) put it together in the order in which it came. Structures compare without it, and leaves stand by sorted keys.
"""

from tracegrad.tree.functions import all_leaves as all_leaves
from tracegrad.tree.functions import broadcast_prefix as broadcast_prefix
from tracegrad.tree.functions import flatten_axes as flatten_axes
from tracegrad.tree.functions import tree_all as tree_all
from tracegrad.tree.functions import tree_broadcast as tree_broadcast
from tracegrad.tree.functions import tree_flatten as tree_flatten
from tracegrad.tree.functions import tree_flatten_with_path as tree_flatten_with_path
from tracegrad.tree.functions import tree_leaves as tree_leaves
from tracegrad.tree.functions import tree_leaves_with_path as tree_leaves_with_path
from tracegrad.tree.functions import tree_map as tree_map
from tracegrad.tree.functions import tree_map_with_path as tree_map_with_path
from tracegrad.tree.functions import tree_reduce as tree_reduce
from tracegrad.tree.functions import tree_structure as tree_structure
from tracegrad.tree.functions import tree_transpose as tree_transpose
from tracegrad.tree.functions import tree_unflatten as tree_unflatten
from tracegrad.tree.keys import DictKey as DictKey
from tracegrad.tree.keys import FlattenedIndexKey as FlattenedIndexKey
from tracegrad.tree.keys import GetAttrKey as GetAttrKey
from tracegrad.tree.keys import KeyPath as KeyPath
from tracegrad.tree.keys import SequenceKey as SequenceKey
from tracegrad.tree.keys import keystr as keystr
from tracegrad.tree.nodes import is_namedtuple as is_namedtuple
from tracegrad.tree.registering import Partial as Partial
from tracegrad.tree.registering import is_registered as is_registered
from tracegrad.tree.registering import register_dataclass as register_dataclass
from tracegrad.tree.registering import register_pytree_node as register_pytree_node
from tracegrad.tree.structure import PyTreeDef as PyTreeDef
from tracegrad.tree.structure import treedef_children as treedef_children
from tracegrad.tree.structure import treedef_is_leaf as treedef_is_leaf
from tracegrad.tree.structure import treedef_tuple as treedef_tuple

# Short names, tg.tree.map as jax.tree.map. From here on `map` and `all` are not the builtins in this file.

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

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "Partial", "PyTreeDef", "SequenceKey", "all", "all_leaves",
    "broadcast", "broadcast_prefix", "flatten", "flatten_axes", "flatten_with_path", "is_namedtuple",
    "is_registered", "keystr", "leaves", "leaves_with_path", "map", "map_with_path", "reduce", "register_dataclass",
    "register_pytree_node", "structure", "transpose", "tree_all", "tree_broadcast", "tree_flatten",
    "tree_flatten_with_path", "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_with_path",
    "tree_reduce", "tree_structure", "tree_transpose", "tree_unflatten", "treedef_children", "treedef_is_leaf",
    "treedef_tuple", "unflatten",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)
