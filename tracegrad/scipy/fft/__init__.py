"""`scipy.fft`'s names, with its arguments in its order. Plain arrays go to SciPy's own functions; what is traced has derivatives, on
both backends, by the ops of `numpy.fft`. There `overwrite_x` and `workers` have no effect, and `plan` is not read.

SciPy itself does not hand these to what is traced: `scipy.fft.dct(t)` is `tg.scipy.fft.dct(t)` here. Without SciPy plain arrays, too,
are computed by what is written here.
"""

from tracegrad.core.boxes import accept_jax
from tracegrad.scipy.fft.cosine import dct, dctn, dst, dstn, idct, idctn, idst, idstn
from tracegrad.scipy.fft.fourier import (
    fft,
    fft2,
    fftfreq,
    fftn,
    fftshift,
    hfft,
    hfft2,
    hfftn,
    ifft,
    ifft2,
    ifftn,
    ifftshift,
    ihfft,
    ihfft2,
    ihfftn,
    irfft,
    irfft2,
    irfftn,
    rfft,
    rfft2,
    rfftfreq,
    rfftn,
)

__all__ = [
    "dct", "dctn", "dst", "dstn", "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "idct", "idctn", "idst",
    "idstn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2",
    "rfftfreq", "rfftn",
]  # fmt: skip

accept_jax(globals(), __all__)


def __dir__() -> list[str]:
    return list(__all__)
