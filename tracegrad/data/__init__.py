"""Batches of arrays, in an order that is a function of a key and the epoch; data that come inside packages; images made anew.

data = tg.data.digits()
train, test = tg.data.split(data, 0.8, key=0, stratify=data[1])
for images, labels in tg.data.batches(train, 32, key=1)(epoch):
    ...
"""

from tracegrad.data import augment as augment
from tracegrad.data.batches import Batches as Batches
from tracegrad.data.batches import Stream as Stream
from tracegrad.data.batches import batches as batches
from tracegrad.data.batches import device_put as device_put
from tracegrad.data.batches import map as map
from tracegrad.data.batches import prefetch as prefetch
from tracegrad.data.batches import split as split
from tracegrad.data.datasets import auto_mpg as auto_mpg
from tracegrad.data.datasets import breast_cancer as breast_cancer
from tracegrad.data.datasets import china as china
from tracegrad.data.datasets import co2 as co2
from tracegrad.data.datasets import diabetes as diabetes
from tracegrad.data.datasets import digits as digits
from tracegrad.data.datasets import elnino as elnino
from tracegrad.data.datasets import flower as flower
from tracegrad.data.datasets import iris as iris
from tracegrad.data.datasets import mnist5k as mnist5k
from tracegrad.data.datasets import names as names
from tracegrad.data.datasets import nile as nile
from tracegrad.data.datasets import penguins as penguins
from tracegrad.data.datasets import python_docs as python_docs
from tracegrad.data.datasets import sunspots as sunspots
from tracegrad.data.datasets import titanic as titanic
from tracegrad.data.datasets import wine as wine
from tracegrad.data.made import checkerboard as checkerboard
from tracegrad.data.made import moons as moons
from tracegrad.data.made import spirals as spirals
from tracegrad.data.made import two_clusters as two_clusters
from tracegrad.data.made import xor_clusters as xor_clusters
from tracegrad.data.sequences import Characters as Characters
from tracegrad.data.sequences import bucket as bucket
from tracegrad.data.sequences import pack as pack
from tracegrad.data.sequences import pad_to as pad_to
from tracegrad.data.sequences import windows as windows

__all__ = [
    "Batches",
    "Characters",
    "Stream",
    "augment",
    "auto_mpg",
    "batches",
    "breast_cancer",
    "bucket",
    "checkerboard",
    "china",
    "co2",
    "device_put",
    "diabetes",
    "digits",
    "elnino",
    "flower",
    "iris",
    "map",
    "mnist5k",
    "moons",
    "names",
    "nile",
    "pack",
    "pad_to",
    "penguins",
    "prefetch",
    "python_docs",
    "spirals",
    "split",
    "sunspots",
    "titanic",
    "two_clusters",
    "windows",
    "wine",
    "xor_clusters",
]


def __dir__() -> list[str]:
    return list(__all__)
