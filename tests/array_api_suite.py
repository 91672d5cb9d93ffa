"""data-apis' suite for array libraries, array-api-tests, on `tracegrad.numpy`:

    python -m tests.array_api_suite CHECKOUT [--on plain|traced|jit|numpy] [arguments of pytest]

CHECKOUT is a clone of https://github.com/data-apis/array-api-tests with its submodule, whose requirements.txt is installed. The
suite is tried on plain arrays, on traced ones whose values are known (`traced`, as under `tg.grad`), or in jitted functions
(`jit`); `numpy` shows what NumPy itself makes of it. Of what fails, tests/array_api_xfails.txt names all that may, which NumPy's
own arrays fail too, with reasons. The suite is no part of the gate: there tests/numpy/test_array_api.py stands for it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import ROOT

XFAILS = ROOT / "tests" / "array_api_xfails.txt"
SOURCE = "https://github.com/data-apis/array-api-tests"
# The module that is tried, and what pytest gets besides.
ON: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "plain": ("tracegrad.numpy", {}, []),
    "traced": ("tests.array_api_traced", {"ARRAY_API_TRACED": "values"}, []),
    "jit": ("tests.array_api_traced", {"ARRAY_API_TRACED": "jit"}, ["--disable-data-dependent-shapes"]),
    "numpy": ("numpy", {}, []),
}


def what_is_missing(checkout: Path) -> str | None:
    """Why there is no suite in a folder, if there is none."""
    if not (checkout / "array_api_tests" / "__init__.py").is_file() or not (checkout / "conftest.py").is_file():
        return (
            f"{checkout} is no checkout of {SOURCE}: a folder with conftest.py and array_api_tests/ was expected. "
            f"`git clone --recurse-submodules {SOURCE}` makes one"
        )
    submodule = checkout / "array-api"
    if submodule.is_dir() and not any(submodule.iterdir()):
        return f"{submodule} is empty: `git submodule update --init` in {checkout} fetches what the suite reads there"
    if importlib.util.find_spec("ndindex") is None:
        return f"the suite needs ndindex: `{sys.executable} -m pip install -r {checkout / 'requirements.txt'}`"
    return None


def run(checkout: Path, on: str, arguments: Sequence[str]) -> int:
    """The exit status of pytest."""
    module, variables, more = ON[on]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {"ARRAY_API_TESTS_VERSION": "2024.12", **os.environ, **variables}
    environment |= {"ARRAY_API_TESTS_MODULE": module, "PYTHONPATH": path}
    # In one word: to what pytest reads first, before the suite's options, a second one is a path, where it looks for settings.
    command = [sys.executable, "-m", "pytest", "array_api_tests", f"--xfails-file={XFAILS}", *more, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, check=False).returncode


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.array_api_suite", description="array-api-tests on tracegrad.numpy"
    )
    parser.add_argument("checkout", type=Path, help=f"a clone of {SOURCE}, with its submodule")
    parser.add_argument("--on", choices=ON, default="plain", help="the arrays that are tried (plain)")
    options, arguments = parser.parse_known_args(given)
    checkout = options.checkout.resolve()
    if missing := what_is_missing(checkout):
        parser.error(missing)
    return run(checkout, options.on, arguments)


if __name__ == "__main__":
    sys.exit(main())
