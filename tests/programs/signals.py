"""Signals, sound and pictures."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(17)


def fft_convolution(x, h):
    """Linear convolution by zero-padded real transforms, and the error against what np.convolve gives."""
    n = len(x) + len(h) - 1
    size = 1 << (n - 1).bit_length()
    y = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(h, size), size)[:n]
    return y, np.sum((y - np.convolve(x, h)) ** 2) + np.max(y)


def iir_filter(b, a, x):
    """A biquad in direct form II transposed, sample after sample."""
    b, a = b / a[0], a / a[0]
    z1 = z2 = 0.0
    y = []
    for sample in x:
        out = b[0] * sample + z1
        z1 = b[1] * sample - a[1] * out + z2
        z2 = b[2] * sample - a[2] * out
        y.append(out)
    return np.stack(y)


def haar_wavelet(x, threshold, levels=2):
    """A Haar transform in place, soft thresholding, and back."""
    c = x.copy()
    n = len(c)
    for _ in range(levels):
        even, odd = c[0:n:2].copy(), c[1:n:2].copy()
        c[: n // 2] = (even + odd) / np.sqrt(2)
        c[n // 2 : n] = (even - odd) / np.sqrt(2)
        n //= 2
    detail = c[n:]
    c[n:] = np.sign(detail) * np.maximum(np.abs(detail) - threshold, 0)
    for _ in range(levels):
        s, d = c[:n].copy(), c[n : 2 * n].copy()
        c[0 : 2 * n : 2] = (s + d) / np.sqrt(2)
        c[1 : 2 * n : 2] = (s - d) / np.sqrt(2)
        n *= 2
    return c


def beamformer(angle, positions, snapshots, wavelength=1.0):
    """Power of a delay-and-sum and of a Capon beamformer on an array of sensors."""
    steering = np.exp(-2j * np.pi / wavelength * positions * np.sin(angle))
    R = snapshots @ snapshots.conj().T / snapshots.shape[1] + 0.1 * np.eye(len(positions))
    bartlett = np.real(steering.conj() @ R @ steering) / len(positions) ** 2
    capon = 1.0 / np.real(steering.conj() @ np.linalg.solve(R, steering))
    return bartlett, capon


def spectrogram(x, frame=8, hop=4):
    """Windowed frames by an index matrix, their power in decibels, and the spectral centroid."""
    starts = np.arange(0, len(x) - frame + 1, hop)
    frames = x[starts[:, None] + np.arange(frame)] * np.hanning(frame)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    freqs = np.fft.rfftfreq(frame)
    centroid = (power * freqs).sum(1) / power.sum(1)
    return 10 * np.log10(power + 1e-6), centroid


def linear_prediction(x, order=3):
    """Levinson and Durbin's recursion on the autocorrelation, the coefficients in place."""
    n = len(x)
    r = np.correlate(x, x, mode="full")[n - 1 : n + order]
    a = np.zeros_like(r)
    a[0] = 1.0
    error = r[0]
    for i in range(1, order + 1):
        k = -np.dot(a[:i], r[i:0:-1]) / error
        a[1 : i + 1] += k * a[i - 1 :: -1][:i]
        error *= 1 - k**2
    return a, error


def karplus_strong(burst, damping, length=20):
    """A plucked string: a delay line that is read and written in a ring."""
    buffer = burst.copy()
    n = len(buffer)
    out = []
    for i in range(length):
        j = i % n
        out.append(buffer[j])
        buffer[j] = damping * 0.5 * (buffer[j] + buffer[(j + 1) % n])
    return np.stack(out)


def dynamic_time_warping(a, b):
    """The cost of aligning two series: each cell is the least of three."""
    n, m = len(a), len(b)
    D = np.full((n + 1, m + 1), np.inf)
    D[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost = np.abs(a[i - 1] - b[j - 1])
            D[i, j] = cost + min(D[i - 1, j], D[i, j - 1], D[i - 1, j - 1])
    return D[n, m]


def soft_dtw(a, b, gamma):
    """The same with a soft minimum, rows of cells kept in a dict."""
    D = {(0, 0): 0.0}
    for i in range(1, len(a) + 1):
        D[i, 0] = 1e3
    for j in range(1, len(b) + 1):
        D[0, j] = 1e3
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            near = np.stack([D[i - 1, j], D[i, j - 1], D[i - 1, j - 1]])
            low = near.min()
            D[i, j] = (a[i - 1] - b[j - 1]) ** 2 + low - gamma * np.log(np.exp(-(near - low) / gamma).sum())
    return D[len(a), len(b)]


def savitzky_golay(x, weights, window=5, degree=2):
    """Smoothing by a local polynomial, edges reflected; total variation of the result."""
    half = window // 2
    powers = np.vander(np.arange(-half, half + 1), degree + 1, increasing=True)
    coefficients = np.linalg.pinv(powers * weights[:, None])[0] * weights
    padded = np.pad(x, half, mode="reflect")
    smooth = np.convolve(padded, coefficients[::-1], mode="valid")
    return smooth, np.abs(np.diff(smooth)).sum()


def dft_by_hand(x, keep=3):
    """A recursive radix-2 transform; the strongest bins are kept and the rest filtered out."""

    def fft(v):
        n = len(v)
        if n == 1:
            return v.astype(complex)
        even, odd = fft(v[::2]), fft(v[1::2])
        twiddle = np.exp(-2j * np.pi * np.arange(n // 2) / n) * odd
        return np.concatenate([even + twiddle, even - twiddle])

    spectrum = fft(x)
    strongest = np.argsort(np.abs(spectrum[: len(x) // 2 + 1]))[::-1][:keep]
    mask = np.zeros(len(x))
    mask[strongest] = 1.0
    mask[-strongest] = 1.0
    return np.real(np.fft.ifft(spectrum * mask))


def bilinear_warp(img, matrix, shift):
    """An affine warp of a picture with bilinear interpolation and clipped borders."""
    h, w = img.shape
    ys, xs = np.mgrid[0:h, 0:w]
    coords = matrix @ np.stack([ys.ravel(), xs.ravel()]).astype(float) + shift[:, None]
    y, x = coords
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = y - y0, x - x0
    y0c, y1c = np.clip(y0, 0, h - 1), np.clip(y0 + 1, 0, h - 1)
    x0c, x1c = np.clip(x0, 0, w - 1), np.clip(x0 + 1, 0, w - 1)
    top = img[y0c, x0c] * (1 - fx) + img[y0c, x1c] * fx
    bottom = img[y1c, x0c] * (1 - fx) + img[y1c, x1c] * fx
    return (top * (1 - fy) + bottom * fy).reshape(h, w)


def median_filter(img, size=3):
    """Medians of windows, edges repeated."""
    padded = np.pad(img, size // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return np.median(windows, axis=(-2, -1))


def histogram_matching(source, reference):
    """The greys of one picture in the order of another: sorted values interpolated by rank."""
    order = np.argsort(source.ravel())
    ranks = np.empty(source.size, int)
    ranks[order] = np.arange(source.size)
    quantiles = (ranks + 0.5) / source.size
    ref = np.sort(reference.ravel())
    positions = (np.arange(ref.size) + 0.5) / ref.size
    return np.interp(quantiles, positions, ref).reshape(source.shape)


def harris_corners(img, k=0.05):
    """Sobel gradients by slices, smoothed products, the corner response with the weak ones set to zero."""
    gx = np.zeros_like(img)
    gy = np.zeros_like(img)
    gx[1:-1, 1:-1] = (
        img[:-2, 2:] + 2 * img[1:-1, 2:] + img[2:, 2:] - img[:-2, :-2] - 2 * img[1:-1, :-2] - img[2:, :-2]
    ) / 8
    gy[1:-1, 1:-1] = (
        img[2:, :-2] + 2 * img[2:, 1:-1] + img[2:, 2:] - img[:-2, :-2] - 2 * img[:-2, 1:-1] - img[:-2, 2:]
    ) / 8

    def box(a):
        p = np.pad(a, 1)
        s = p.cumsum(0).cumsum(1)
        s = np.pad(s, ((1, 0), (1, 0)))
        return s[3:, 3:] - s[:-3, 3:] - s[3:, :-3] + s[:-3, :-3]

    xx, yy, xy = box(gx * gx), box(gy * gy), box(gx * gy)
    response = xx * yy - xy**2 - k * (xx + yy) ** 2
    response[response < 0.05 * response.max()] = 0
    return response


def total_variation_denoising(noisy, lam, steps=4, tau=0.2):
    """Chambolle's projections for the dual field, in place."""
    px, py = np.zeros_like(noisy), np.zeros_like(noisy)

    def divergence(px, py):
        d = px.copy()
        d[:, 1:] -= px[:, :-1]
        d += py
        d[1:] -= py[:-1]
        return d

    for _ in range(steps):
        u = divergence(px, py) - noisy / lam
        gx, gy = np.zeros_like(u), np.zeros_like(u)
        gx[:, :-1] = u[:, 1:] - u[:, :-1]
        gy[:-1] = u[1:] - u[:-1]
        norm = 1 + tau * np.sqrt(gx**2 + gy**2 + 1e-12)
        px = (px + tau * gx) / norm
        py = (py + tau * gy) / norm
    return noisy - lam * divergence(px, py)


def poisson_blending(target, source, mask=None):
    """The source's gradients pasted into the target: a linear system with one row for each pixel of the mask."""
    ys, xs = np.nonzero(mask)
    index = -np.ones(mask.shape, int)
    index[ys, xs] = np.arange(len(ys))
    A = np.zeros((len(ys), len(ys)))
    rhs = []
    for k, (y, x) in enumerate(zip(ys, xs, strict=True)):
        A[k, k] = 4
        b = 0.0
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            v, u = y + dy, x + dx
            b = b + source[y, x] - source[v, u]
            if mask[v, u]:
                A[k, index[v, u]] = -1
            else:
                b = b + target[v, u]
        rhs.append(b)
    out = target.copy()
    out[mask] = np.linalg.solve(A, np.stack(rhs))
    return out


def structural_similarity(a, b, window=3):
    """SSIM of two pictures by uniform windows of an integral image."""
    c1, c2 = 0.01**2, 0.03**2

    def mean(img):
        s = np.cumsum(np.cumsum(np.pad(img, ((1, 0), (1, 0))), axis=0), axis=1)
        return (s[window:, window:] - s[:-window, window:] - s[window:, :-window] + s[:-window, :-window]) / window**2

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    ssim = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return ssim.mean()


def rgb_to_hsv(rgb, gain):
    """Colours to hue, saturation and value with a boolean mask for each sector, as matplotlib does it."""
    arr = np.clip(rgb * gain, 0, 1)
    out = np.zeros_like(arr)
    arr_max = arr.max(-1)
    delta = np.ptp(arr, -1)
    s = np.zeros_like(delta)
    ipos = arr_max > 0
    s[ipos] = delta[ipos] / arr_max[ipos]
    ipos = delta > 0
    idx = (arr[..., 0] == arr_max) & ipos
    out[idx, 0] = (arr[idx, 1] - arr[idx, 2]) / delta[idx]
    idx = (arr[..., 1] == arr_max) & ipos
    out[idx, 0] = 2.0 + (arr[idx, 2] - arr[idx, 0]) / delta[idx]
    idx = (arr[..., 2] == arr_max) & ipos
    out[idx, 0] = 4.0 + (arr[idx, 0] - arr[idx, 1]) / delta[idx]
    out[..., 0] = (out[..., 0] / 6.0) % 1.0
    out[..., 1] = s
    out[..., 2] = arr_max
    return out


def bilateral_filter(img, sigma_space, sigma_range, radius=1):
    """Each pixel a mean of those around, weighted by place and by grey."""
    h, w = img.shape
    padded = np.pad(img, radius, mode="symmetric")
    total = np.zeros((h, w))
    norm = np.zeros((h, w))
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            shifted = padded[radius + dy : radius + dy + h, radius + dx : radius + dx + w]
            weight = np.exp(-(dy**2 + dx**2) / (2 * sigma_space**2) - (shifted - img) ** 2 / (2 * sigma_range**2))
            total = total + weight * shifted
            norm += weight
    return total / norm


def tomography(img, angles):
    """Projections at some angles by rotated sampling, and the back-projection of them."""
    n = img.shape[0]
    t = np.arange(n) - (n - 1) / 2
    s, r = np.meshgrid(t, t, indexing="ij")
    sinogram = []
    back = np.zeros_like(img)
    for angle in angles:
        x = np.clip(r * np.cos(angle) - s * np.sin(angle) + (n - 1) / 2, 0, n - 1.001)
        y = np.clip(r * np.sin(angle) + s * np.cos(angle) + (n - 1) / 2, 0, n - 1.001)
        x0, y0 = x.astype(int), y.astype(int)
        wx, wy = x - x0, y - y0
        rotated = (1 - wy) * ((1 - wx) * img[y0, x0] + wx * img[y0, x0 + 1]) + wy * (
            (1 - wx) * img[y0 + 1, x0] + wx * img[y0 + 1, x0 + 1]
        )
        sinogram.append(rotated.sum(axis=0))
        back = back + rotated.sum(axis=0)[x0]
    return np.stack(sinogram), back / len(angles)


def jpeg_block(block, quality):
    """A discrete cosine transform, coefficients shrunk by a table, and back: error and rate."""
    n = block.shape[0]
    k = np.arange(n)
    C = np.sqrt(2 / n) * np.cos(np.pi * (2 * k[None, :] + 1) * k[:, None] / (2 * n))
    C[0] /= np.sqrt(2)
    table = 1 + k[:, None] + k[None, :]
    coef = C @ block @ C.T
    step = table / quality
    soft = step * np.tanh((coef / step) ** 3)
    restored = C.T @ soft @ C
    return np.mean((restored - block) ** 2), np.log2(1 + np.abs(coef / step)).sum()


wave = np.sin(np.arange(16) * 0.7) + 0.3 * rng.normal(size=16)
picture = rng.random((6, 7))
blob = np.exp(-((np.arange(5)[:, None] - 2.2) ** 2 + (np.arange(5) - 1.7) ** 2) / 3)
hole = np.zeros((5, 6), bool)
hole[1:4, 2:4] = True
snapshots = rng.normal(size=(4, 6)) + 1j * rng.normal(size=(4, 6))

PROGRAMS = [
    Program("signal processing", fft_convolution, (wave[:11], rng.normal(size=4))),
    Program("signal processing", iir_filter, (np.array([0.2, 0.3, 0.1]), np.array([1.1, -0.4, 0.2]), wave[:8])),
    Program("wavelets", haar_wavelet, (wave, 0.3)),
    Program("radar and sonar", beamformer, (0.3, np.arange(4) * 0.45, snapshots)),
    Program("sound", spectrogram, (wave,)),
    Program("speech", linear_prediction, (wave,), rounds="sums of products, on some processors"),
    Program("sound", karplus_strong, (rng.uniform(-1, 1, 6), 0.97), {"length": 14}),
    Program(
        "time series",
        dynamic_time_warping,
        (wave[:4], wave[3:8] * 1.1),
        creates=True,
        refused={"jit": "np.minimum(a, b)", "vmap": "np.minimum(a, b)"},
    ),
    Program("time series", soft_dtw, (wave[:3], wave[5:8], 0.5)),
    Program("signal processing", savitzky_golay, (wave[:9], np.array([0.5, 0.9, 1.0, 0.8, 0.6])), rtol=1e-8),
    Program("signal processing", dft_by_hand, (wave[:8],), creates=True),
    Program(
        "image processing", bilinear_warp, (picture, np.array([[0.9, 0.2], [-0.15, 1.05]]), np.array([0.37, -0.21]))
    ),
    Program("image processing", median_filter, (picture[:5, :5],)),
    Program("image processing", histogram_matching, (picture[:3, :4], rng.random((4, 3))), creates=True),
    Program("image processing", harris_corners, (picture,)),
    Program("image processing", total_variation_denoising, (picture[:5, :5], 0.3)),
    Program("image processing", poisson_blending, (picture[:5, :6], rng.random((5, 6))), {"mask": hole}),
    Program("image processing", structural_similarity, (picture, picture[::-1])),
    Program("image processing", rgb_to_hsv, (rng.uniform(0.1, 0.8, (3, 2, 3)), 0.9)),
    Program("image processing", bilateral_filter, (picture[:5, :4], 1.2, 0.3), creates=True),
    Program("tomography", tomography, (blob, np.array([0.3, 1.1]))),
    Program("image processing", jpeg_block, (rng.random((4, 4)), 3.0)),
]
