# %% [markdown]
# # 7. Convolution, from the formula
#
# **After this chapter you can** write a convolution as a loop, as a matrix, as one product and by Fourier transforms,
# know that they are the same and which costs what, derive its two gradients, and say why images are read with it.
#
# This is an annex. Chapter 6 used `nn.Conv` as it comes. Here is what is inside. You need chapters 1 and 4.

# %%
import time

import numpy as np
from course import attempt, plt, quick, show

import tracegrad as tg

rng = np.random.default_rng(0)

# %% [markdown]
# ## The formula
#
# Lay a short row of weights $w_0, \dots, w_{k-1}$, the **kernel**, upon a long row of numbers $x_0, \dots, x_{n-1}$.
# Multiply what lies upon each other, and add up. That is the first result. Move the kernel on by one place and do the
# same again:
#
# $$ y_i = \sum_{j=0}^{k-1} x_{i+j}\, w_j, \qquad i = 0, \dots, n-k. $$
#
# There are $n-k+1$ places where the kernel fits, so that many results. As Python it is two loops, one over the places
# and one over the kernel. The inner one is written as a sum:


# %%
def by_loops(x, w):
    return np.stack([np.sum(x[i : i + len(w)] * w) for i in range(len(x) - len(w) + 1)])


x = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 2.0, 0.0])
print("x           ", x)
print("differences ", by_loops(x, np.array([-1.0, 1.0])))
print("means of two", by_loops(x, np.array([0.5, 0.5])))
np.testing.assert_array_equal(by_loops(x, np.array([-1.0, 1.0])), np.diff(x))

# %% [markdown]
# The same few lines find steps, or smooth, or look for a shape: the kernel says what. In a network nobody writes the
# kernel down. It is a parameter, and is learnt.
#
# One word of warning. In mathematics and in signal processing *convolution* turns the kernel round, $\sum_j x_{i-j}
# w_j$, and what is written above is called *cross-correlation*. People who build networks call the one above
# convolution: a learnt kernel may as well be learnt the other way round. NumPy has both, under their proper names:

# %%
w = np.array([1.0, 2.0, 3.0])
np.testing.assert_array_equal(by_loops(x, w), np.correlate(x, w, "valid"))
np.testing.assert_array_equal(by_loops(x, w[::-1]), np.convolve(x, w, "valid"))

# %% [markdown]
# ## It is a matrix
#
# Each $y_i$ is a weighted sum of the $x_j$. So for a fixed kernel the whole is a matrix times $x$. Which matrix? The
# derivative of a linear function is its matrix, so the library can tell us: `tg.jacrev` gives all $\partial y_i /
# \partial x_j$.

# %%
matrix = tg.jacrev(lambda x: by_loops(x, w))(x)
print(matrix)
np.testing.assert_allclose(matrix @ x, by_loops(x, w), atol=1e-12)

# %% [markdown]
# A matrix whose diagonals are constant is called a **Toeplitz** matrix. Two things make a convolution different from
# the dense layers of chapter 5, and both can be seen here. Most entries are zero: a result looks at its neighbourhood
# only. And all rows hold the same numbers: each place is looked at in the same way. For $n$ inputs a free matrix has
# about $n^2$ weights, and this one has $k$.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6))
for axes, shown, title in (
    (left, rng.normal(size=(22, 24)), "any linear layer: 528 weights"),
    (right, tg.jacrev(lambda x: by_loops(x, w))(np.zeros(24)), "a convolution: 3 weights"),
):
    axes.imshow(shown, cmap="PuOr", vmin=-3, vmax=3)
    axes.set(title=title, xlabel="input j", ylabel="result i", xticks=range(0, 24, 4), yticks=range(0, 22, 4))
show(figure, "07_matrix")

# %% [markdown]
# ## Its gradient
#
# A loss $L$ depends on the results, and the backward pass hands us $g_i = \partial L / \partial y_i$. The chain rule of
# chapter 4 asks, for each input and each weight, in which results it is used and with what factor.
#
# *The kernel.* $w_j$ is used in every $y_i$, with the factor $x_{i+j}$:
#
# $$ \frac{\partial L}{\partial w_j} = \sum_i g_i\, x_{i+j}. $$
#
# This is the formula of the convolution again, with $g$ as the kernel.
#
# *The input.* $x_m$ is used in those $y_i$ where $i + j = m$ for some $j$, with the factor $w_j$:
#
# $$ \frac{\partial L}{\partial x_m} = \sum_j g_{m-j}\, w_j, $$
#
# where $g$ counts as zero outside. That is the turned-round one: put $k-1$ zeros on both sides of $g$, and convolve
# with the kernel reversed. In terms of the matrix it is $T^\top g$. So the backward pass of a convolution is made of
# two convolutions.


# %%
def gradients(x, w, g):
    """What the formulas say: the gradient for x, and the one for w."""
    return by_loops(np.pad(g, len(w) - 1), w[::-1]), by_loops(x, g)


def loss(x, w):
    return np.sum(np.sin(by_loops(x, w)))


of_x, of_w = tg.grad(loss, argnums=(0, 1))(x, w)
g = np.cos(by_loops(x, w))  # the derivative of the sum of sines
for found, expected in zip(gradients(x, w, g), (of_x, of_w), strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-12)
np.testing.assert_allclose(matrix.T @ g, of_x, atol=1e-12)

# %% [markdown]
# ## One product instead of loops
#
# Loops in Python are slow, and matrix products are fast. Write the windows below each other, each as a row, and all the
# results are one product. The trick is called **im2col**. In NumPy it is an array of indices: row $i$ has the places
# $i, i+1, \dots, i+k-1$.


# %%
def by_product(x, w):
    places = np.arange(len(x) - len(w) + 1)[:, None] + np.arange(len(w))
    return x[places] @ w


np.testing.assert_allclose(by_product(x, w), by_loops(x, w), atol=1e-12)
print(tg.make_graph(tg.grad(lambda x, w: np.sum(by_product(x, w) ** 2), argnums=(0, 1)))(x, w))

# %% [markdown]
# Read the printed gradient from the top. `gather` copies the windows, `matmul` makes the results. Backward, `outer`
# spreads each $g_i$ over the kernel, and `scatter_add` brings all that came from one input together: inputs that are
# used several times have their gradients **added**, as in chapter 4.
#
# The price is memory. Each input is copied $k$ times, and for images with a kernel of 3 × 3 nine times.
#
# ## And by Fourier transforms
#
# For long kernels there is a third way. The discrete Fourier transform turns a convolution (around a circle) into a
# product, number by number. A transform of length $n$ costs about $n \log n$ products in place of $n k$. So it wins
# where $k$ is much larger than $\log n$.
#
# Two details. The circle has to be so long that the end does not meet the beginning, so both are padded with zeros to
# $n + k - 1$. And the product belongs to the convolution of mathematics, so the kernel is reversed. The library traces
# `np.fft` as anything else, and the gradient, which is made of transforms again, is the one that we have derived.


# %%
def by_fourier(x, w):
    length = len(x) + len(w) - 1
    product = np.fft.rfft(x, length) * np.fft.rfft(w[::-1], length)
    return np.fft.irfft(product, length)[len(w) - 1 : len(x)]


np.testing.assert_allclose(by_fourier(x, w), by_loops(x, w), atol=1e-12)
found = tg.grad(lambda x, w: np.sum(np.sin(by_fourier(x, w))), argnums=(0, 1))(x, w)
for ours, theirs in zip(found, gradients(x, w, g), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
tg.testing.check_grads(by_fourier, (x, w), order=2)

# %% [markdown]
# How long does each take? The picture is measured on your machine, so nothing about seconds is asserted. The counts of
# products are facts: $k(n-k+1)$ for the first two.

# %%
length = 2_000 if quick else 20_000
signal = rng.normal(size=length)
sizes = [2, 8, 32, 128] if quick else [2, 4, 8, 16, 32, 64, 128, 256, 512]
ways = {"loops": by_loops, "one product": by_product, "Fourier": by_fourier}
seconds = {name: [] for name in ways}
for size in sizes:
    kernel = rng.normal(size=size)
    expected = np.correlate(signal, kernel, "valid")
    for name, way in ways.items():
        tries = []
        for _ in range(1 if way is by_loops else 5):  # the shortest is the one that others disturbed least
            start = time.perf_counter()
            found = way(signal, kernel)
            tries.append(time.perf_counter() - start)
        seconds[name].append(min(tries))
        np.testing.assert_allclose(found, expected, atol=1e-9)

figure, axes = plt.subplots()
for name, times in seconds.items():
    axes.plot(sizes, np.multiply(times, 1e3), "o-", label=name)
axes.set(xscale="log", yscale="log", xlabel="length of the kernel", ylabel="milliseconds")
axes.set_title(f"a convolution of {length:,} numbers")
axes.legend()
show(figure, "07_costs")

# %% [markdown]
# ## Images
#
# An image has two directions, so the kernel is a small square that moves in both:
#
# $$ y_{r,c} = \sum_{a} \sum_{b} x_{r+a,\,c+b}\; w_{a,b}. $$
#
# Here are four kernels on a photograph that comes with scikit-learn. Each was thought out by a person.


# %%
def image_by_loops(x, w):
    rows, columns = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    return np.stack(
        [np.stack([np.sum(x[r : r + w.shape[0], c : c + w.shape[1]] * w) for c in range(columns)]) for r in range(rows)]
    )


def image_by_product(x, w):
    rows, columns = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    r = np.arange(rows)[:, None, None, None] + np.arange(w.shape[0])[:, None]
    c = np.arange(columns)[:, None, None] + np.arange(w.shape[1])
    return x[r, c].reshape(rows, columns, -1) @ w.reshape(-1)


photograph = tg.data.china().mean(axis=-1)[::3, ::3].astype(float)  # grey, and every third pixel
kernels = {
    "mean of 5 × 5": np.full((5, 5), 1 / 25),
    "upright edges": np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "level edges": np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]),
    "sharper": np.array([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
}
small = photograph[:12, :14]
for kernel in kernels.values():
    np.testing.assert_allclose(image_by_product(small, kernel), image_by_loops(small, kernel), atol=1e-12)
    ours = image_by_product(photograph, kernel)
    theirs = tg.lax.conv(photograph[None, None], kernel[None, None], (1, 1), "VALID")[0, 0]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)

figure, all_axes = plt.subplots(2, 3, figsize=(7.2, 3.6))
shown = {"the photograph": photograph, **{name: image_by_product(photograph, k) for name, k in kernels.items()}}
for axes, (name, image) in zip(all_axes.flat, shown.items(), strict=False):
    edges = "edges" in name
    axes.imshow(image, cmap="PuOr" if edges else "gray", vmin=-1.5 if edges else 0, vmax=1.5 if edges else 1)
    axes.set(title=name)
for axes in all_axes.flat:
    axes.axis("off")
show(figure, "07_kernels")

# %% [markdown]
# Three more words are used about convolutions in networks.
#
# * **Padding**: $p$ zeros on each side, so that the image need not shrink.
# * **Stride**: the kernel moves on by $s$ places in place of one.
# * **Channels**: a colour image has three numbers at each place. The kernel then is a block, $k \times k \times
#   \text{channels}$, and sums over all of them. As many kernels as one likes lie side by side, and each makes one
#   channel of the result.
#
# The number of results along a direction is $\lfloor (n + 2p - k) / s \rfloor + 1$: the last start is at $n + 2p - k$,
# and every $s$-th place up to there is taken. Parameters of a layer from $a$ to $b$ channels: $k^2 a b$, and $b$
# biases, whatever the size of the image.

# %%
for n, k, p, s in ((28, 5, 2, 1), (28, 5, 0, 1), (28, 3, 1, 2), (8, 3, 1, 1), (9, 4, 3, 3)):
    layer = tg.nn.Conv(6, k, strides=s, padding=p)
    image = np.ones((1, n, n, 3), np.float32)
    params = layer.init(0, image)
    size = (n + 2 * p - k) // s + 1
    assert layer(params, image).shape == (1, size, size, 6)
    assert sum(leaf.size for leaf in tg.tree.leaves(params)) == k * k * 3 * 6 + 6
    print(f"image of {n:2} × {n:2}, kernel of {k}, padding {p}, stride {s}: {size:2} × {size:2} results")

# %% [markdown]
# ## Why images
#
# A cat is a cat at the left and at the right. If the image is moved, the results of a convolution move with it, and are
# otherwise the same (away from the border). A matrix of free weights knows nothing of the kind: it has to see cats in
# every place.

# %%
kernel = rng.normal(size=(3, 3))
image = np.zeros((12, 12))
image[3:7, 2:6] = rng.normal(size=(4, 4))
moved = np.roll(image, (2, 3), axis=(0, 1))
np.testing.assert_allclose(
    image_by_product(moved, kernel), np.roll(image_by_product(image, kernel), (2, 3), (0, 1)), atol=1e-12
)

# %% [markdown]
# A kernel of 3 × 3 sees little. But layers upon layers see more: a result of the second layer sees 3 × 3 results of the
# first, which together see 5 × 5 of the image, and so on, $2\ell + 1$ after $\ell$ layers. This **receptive field** can
# be measured. The gradient of one result differs from zero exactly where that result looks.


# %%
def one_result(image, layers):
    for _ in range(layers):
        image = np.tanh(image_by_product(np.pad(image, 1), kernel))
    return image[7, 7]


figure, all_axes = plt.subplots(1, 4, figsize=(9, 2.6))
for layers, axes in enumerate(all_axes, 1):
    seen = tg.grad(lambda image, layers=layers: one_result(image, layers))(0.1 * rng.normal(size=(15, 15)))
    rows = np.flatnonzero(seen.any(axis=1))
    assert len(rows) == 2 * layers + 1
    axes.imshow(np.abs(seen) / np.abs(seen).max(), cmap="Purples", norm="asinh")
    axes.spines[:].set_visible(True)
    axes.set(title=f"{layers} layer{'s' * (layers > 1)}: {len(rows)} × {len(rows)}", xticks=[], yticks=[])
show(figure, "07_receptive_field")

# %% [markdown]
# ## Learning a kernel
#
# Somebody has treated the photograph with a kernel that we do not know. We have the image before and the image after.
# Which kernel was it? Start from zeros, take the mean squared error, and walk downhill as in chapter 4. Nothing is new
# but that the parameter is a kernel.

# %%
hidden = kernels["upright edges"]
before = photograph - photograph.mean()
after = image_by_product(before, hidden)
error = tg.jit(tg.value_and_grad(lambda w: np.mean((image_by_product(before, w) - after) ** 2)))

steps = 150 if quick else 400
guess, velocity, errors, path = np.zeros((3, 3)), np.zeros((3, 3)), [], []
for _ in range(steps):
    value, slope = error(guess)
    velocity = 0.9 * velocity - 0.3 * slope
    guess = guess + velocity
    errors.append(value)
    path.append(guess)
print(np.round(guess, 2) + 0)
print(f"error {errors[0]:.3f} at first, {errors[-1]:.2e} after {steps} steps; largest difference of a weight", end=" ")
print(f"{np.abs(guess - hidden).max():.1e}")
assert errors[-1] < 1e-3 * errors[0]
assert quick or np.abs(guess - hidden).max() < 0.05

figure, (left, *rest) = plt.subplots(1, 4, figsize=(9.5, 2.6), width_ratios=(1.6, 1, 1, 1))
left.semilogy(errors)
left.set(xlabel="step", ylabel="mean squared error")
for axes, title, shown in zip(
    rest, ("after 10 steps", f"after {steps} steps", "the hidden one"), (path[9], guess, hidden), strict=True
):
    axes.imshow(shown, cmap="PuOr", vmin=-2, vmax=2)
    axes.set(title=title, xticks=[], yticks=[])
    for (r, c), value in np.ndenumerate(shown):
        colour = "white" if abs(value) > 1.5 else "black"
        axes.text(c, r, f"{np.round(value, 1) + 0:.1f}", ha="center", va="center", fontsize=9, color=colour)
show(figure, "07_learnt")

# %% [markdown]
# ## Exercises
#
# The solutions are in `solutions/s07_convolution.py`. Each check tries an answer on numbers that you have not seen.


# %%
def strided(x, w, s):
    """The convolution of x with w, of which each s-th result is kept, beginning with the first; compute no others.

    Arrays x [n] and w [k], an integer s of at least 1. It has to be traced: use slices or indices.
    """
    raise NotImplementedError


def check_strided(strided):
    for n, k, s in ((10, 3, 2), (11, 3, 2), (9, 4, 3), (7, 2, 1), (5, 5, 2)):
        x, w = np.random.default_rng(n).normal(size=(2, 12))
        x, w = x[:n], w[:k]
        found = strided(x, w, s)
        assert np.shape(found) == ((n - k) // s + 1,), f"n={n}, k={k}, s={s}: got the shape {np.shape(found)}"
        np.testing.assert_allclose(found, by_loops(x, w)[::s], atol=1e-12)
    made = tg.make_graph(lambda x, w: strided(x, w, 3))(np.zeros(90), np.zeros(3))
    assert max(v.type.size for eqn in made.eqns for v in eqn.outputs) <= 90, "it computes more than it returns"


attempt(check_strided, strided)


# %%
def transposed(g, w, n):
    """T^T g, where T is the matrix of the convolution with w of arrays [n]: what goes back to x. Build no matrix, and do not
    differentiate.

    Arrays g [n - k + 1] and w [k].
    """
    raise NotImplementedError


def check_transposed(transposed):
    for n, k in ((8, 3), (6, 6), (5, 1), (9, 4)):
        g, w = np.random.default_rng(n).normal(size=(2, 12))
        g, w = g[: n - k + 1], w[:k]
        (expected,) = tg.linear_transpose(lambda x, w=w: by_loops(x, w), np.zeros(n))(g)
        np.testing.assert_allclose(transposed(g, w, n), expected, atol=1e-12)


attempt(check_transposed, transposed)


# %%
def separable(x, u, v):
    """The convolution of an image x with the kernel w[a, b] = u[a] v[b], by two convolutions along one direction each.

    It takes 2 k products a result in place of k². Use no kernel of two directions.
    """
    raise NotImplementedError


def check_separable(separable):
    random = np.random.default_rng(5)
    x, u, v = random.normal(size=(9, 11)), random.normal(size=4), random.normal(size=3)
    np.testing.assert_allclose(separable(x, u, v), image_by_loops(x, np.outer(u, v)), atol=1e-12)
    biggest = tg.make_graph(separable)(np.zeros((30, 30)), np.zeros(9), np.zeros(9))
    products = sum(
        v.type.size for eqn in biggest.eqns for v in eqn.outputs if eqn.op.name in ("multiply", "gather", "getitem")
    )
    assert products < 22 * 22 * 81, "that is as many products as the square kernel takes"


attempt(check_separable, separable)

# %% [markdown]
# ## Three questions
#
# 1. A layer has 3 × 3 kernels, 32 channels in and 64 out. How many parameters are there for an image of 8 × 8, and for
#    one of 800 × 800?
#
# <details><summary>Answer</summary>
#
# $3 \cdot 3 \cdot 32 \cdot 64 + 64 = 18{,}496$ for both. The kernel does not know how large the image is. (What grows
# is the work.)
#
# </details>
#
# 2. Why is the backward pass of a convolution about twice as dear as the forward pass?
#
# <details><summary>Answer</summary>
#
# It has two convolutions of that size: one for the gradient of the input, one for that of the kernel. The very first
# layer needs the second only.
#
# </details>
#
# 3. Where would you not use a convolution?
#
# <details><summary>Answer</summary>
#
# Where neighbours mean nothing, or where the place matters in itself. The thirty measurements of a tumour in a table
# have no order: moving all of them by one column gives nonsense, so weights that are shared along the columns are
# wrong.
#
# </details>
