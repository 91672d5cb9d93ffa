"""Files: trees of arrays saved and loaded, and checkpoints of a training run. Nothing is pickled, no class is imported
because a file names it, and a file is whole or not there."""

from tracegrad.io.checkpoints import Checkpoint as Checkpoint
from tracegrad.io.checkpoints import Checkpoints as Checkpoints
from tracegrad.io.checkpoints import CheckpointWarning as CheckpointWarning
from tracegrad.io.checkpoints import Restored as Restored
from tracegrad.io.files import CorruptFileError as CorruptFileError
from tracegrad.io.trees import Difference as Difference
from tracegrad.io.trees import MismatchError as MismatchError
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
    "read_metadata",
    "save",
]


def __dir__() -> list[str]:
    return list(__all__)
