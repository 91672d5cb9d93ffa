"""Ops that hold Graphs: calls, checkpoints, branches, loops."""
