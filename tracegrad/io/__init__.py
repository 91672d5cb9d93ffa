"""Files: trees of arrays saved and loaded, checkpoints of a training run, Graphs. Nothing is unpickled, and no class is
imported because a file names it."""
