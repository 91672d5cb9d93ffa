"""Files: trees of arrays saved and loaded, checkpoints of a training run, Graphs. Nothing is pickled, no class is
imported because a file names it, and a file is whole or not there."""

from tracegrad.io.checkpoints import Checkpoint as Checkpoint
from tracegrad.io.checkpoints import Checkpoints as Checkpoints
from tracegrad.io.checkpoints import CheckpointWarning as CheckpointWarning
from tracegrad.io.checkpoints import Restored as Restored
from tracegrad.io.files import CorruptFileError as CorruptFileError
from tracegrad.io.graphs import load_graph as load_graph
from tracegrad.io.graphs import save_graph as save_graph
from tracegrad.io.matching import Difference as Difference
from tracegrad.io.matching import MismatchError as MismatchError
from tracegrad.io.trees import load as load
from tracegrad.io.trees import read_metadata as read_metadata
from tracegrad.io.trees import save as save

__all__ = [
    "Checkpoint",
    "CheckpointWarning",
    "Checkpoints",
    "CorruptFileError",
    "Difference",
    "MismatchError",
    "Restored",
    "load",
    "load_graph",
    "read_metadata",
    "save",
    "save_graph",
]


def __dir__() -> list[str]:
    return list(__all__)
