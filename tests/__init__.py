"""Tests. The folders are those of tracegrad/: what `tracegrad/x/y.py` does is tested in `tests/x/test_y.py`; what crosses rooms, here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
