"""Solutions of chapter 7, each beside a wrong answer that its check has to refuse."""

import numpy as np


def strided(x, w, s):
    """Windows that begin at each s-th place: an array of indices of which the rows are s apart."""
    starts = np.arange(0, len(x) - len(w) + 1, s)
    return x[starts[:, None] + np.arange(len(w))] @ w


def wrong_strided(x, w, s):
    """Strides between the elements of the window in place of strides between windows, which is called dilation."""
    starts = np.arange(len(x) - s * (len(w) - 1)) if len(x) > s * (len(w) - 1) else np.arange(1)
    return x[np.minimum(starts[:, None] + s * np.arange(len(w)), len(x) - 1)] @ w


def transposed(g, w, n):
    """Zeros around g, and the kernel turned round: each x[m] collects g[m - j] w[j]."""
    k = len(w)
    padded = np.pad(g, k - 1)
    return np.stack([np.sum(padded[m : m + k] * w[::-1]) for m in range(n)])


def wrong_transposed(g, w, n):
    """The kernel is not turned round."""
    k = len(w)
    padded = np.pad(g, k - 1)
    return np.stack([np.sum(padded[m : m + k] * w) for m in range(n)])


def separable(x, u, v):
    """Sums over a are the same for all b, so they are made first: down the columns by u, and then along the rows by v."""
    rows, columns = len(x) - len(u) + 1, x.shape[1] - len(v) + 1
    down = sum(x[a : a + rows] * u[a] for a in range(len(u)))
    return sum(down[:, b : b + columns] * v[b] for b in range(len(v)))


def wrong_separable(x, u, v):
    """Both along the first direction."""
    rows = len(x) - len(u) - len(v) + 2
    down = sum(x[a : a + rows + len(v) - 1] * u[a] for a in range(len(u)))
    return sum(down[b : b + rows] * v[b] for b in range(len(v)))
