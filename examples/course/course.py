"""What the chapters share: their two options, where their pictures go, and how an answer to an exercise is tried.

    python examples/course/02_perceptrons.py [--quick] [--out FOLDER]

A chapter is one file in cells, which runs as a script and opens as a notebook. In a notebook there are no options: `quick` is
False, and pictures are shown as well as saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files; needs no screen
import matplotlib.pyplot as plt

_parser = argparse.ArgumentParser(description="A chapter of the course.")
_parser.add_argument("--quick", action="store_true", help="shorter experiments, as the tests run them")
_parser.add_argument(
    "--out", type=Path, default=Path(__file__).parent.parent / "output", help="where the pictures go (examples/output)"
)
# The command line of a notebook's kernel is not ours.
_options = _parser.parse_args([] if "ipykernel" in sys.argv[0] else sys.argv[1:])

quick: bool = _options.quick
out: Path = _options.out

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "figure.figsize": (7, 4),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "font.size": 10,
        "legend.frameon": False,
    }
)


def show(figure: Any, name: str) -> None:
    """Saves a figure as course_<name>.png in `out`, shows it in a notebook, and closes it.

    The name begins with the chapter's number: `show(figure, "02_clusters")`.
    """
    out.mkdir(parents=True, exist_ok=True)
    picture = out / f"course_{name}.png"
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display(ipython.display.Image(filename=str(picture)))
    print(f"picture: {picture}")


def attempt(check: Callable[..., None], *answers: Callable[..., Any]) -> None:
    """Tries a check on the reader's answer, and says what came of it. A wrong answer raises the check's AssertionError."""
    name = check.__name__.removeprefix("check_")
    try:
        check(*answers)
    except NotImplementedError:
        print(f"exercise {name}: not written yet")
    else:
        print(f"exercise {name}: right")
