"""Tests. The folders are those of tracegrad/: what `tracegrad/x/y.py` does is tested in `tests/x/test_y.py`; what crosses rooms, here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Functions that NumPy has got since 2.0, the first that will do. Tests that call them are skipped where they are missing.
LATER = {"cumulative_prod", "cumulative_sum", "matvec", "unstack", "vecmat"}
