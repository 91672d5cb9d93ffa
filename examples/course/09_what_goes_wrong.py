# %% [markdown]
# # 9. What goes wrong
#
# **After this chapter you can** tell the common failures of training from each other, find the line that is to blame,
# and write what does not fail.
#
# This is an annex, and a collection. Each section plants one fault on purpose, shows how it looks from outside, finds
# it with a tool of the library, and mends it. Most programs that do not learn have one of these. You need chapters 3 to
# 5, and `tg.fit` from chapter 6.

# %%
import warnings
from itertools import pairwise

import numpy as np
from course import attempt, plt, quick, show

import tracegrad as tg
from tracegrad import nn

points, arms = data = tg.data.spirals(0, 600)  # points in the plane, and which of three arms they are of
rng = np.random.default_rng(0)


def init(rng, sizes, scale=1.0):
    """Kernels of variance scale² / inputs, biases of zero."""
    return [{"kernel": rng.normal(size=(n, m)) * scale / np.sqrt(n), "bias": np.zeros(m)} for n, m in pairwise(sizes)]


# %% [markdown]
# ## NaN in the loss
#
# `nan` is what NumPy gives for $0/0$, $\infty - \infty$, $0 \cdot \infty$ and the logarithm of a negative number. It
# spreads: whatever is computed with a NaN is NaN. One step later all parameters are NaN, and nothing is left that would
# say where it began.
#
# *Planted:* the loss of chapter 3 as its formula says it, probabilities first and then their logarithm. Scores grow in
# training (the factor 4,000 stands for a long one), and $e^{710}$ is larger than the largest float64.


# %%
def written_out(params, batch):
    points, arms = batch
    hidden = np.tanh(points @ params[0]["kernel"] + params[0]["bias"])
    scores = 4000 * (hidden @ params[1]["kernel"] + params[1]["bias"])
    e = np.exp(scores)
    probabilities = e / np.sum(e, axis=1, keepdims=True)
    return -np.mean(np.log(probabilities[np.arange(len(arms)), arms]))


params = init(rng, (2, 16, 3))
with np.errstate(all="ignore"):
    print("the loss is", written_out(params, data))
    explanation = tg.debug.explain_nan(written_out, params, data)
print(explanation)
assert explanation.first.op == "exp" and explanation.first.phase == "forward"

# %% [markdown]
# The report goes back to the *first* value that was not finite: the loss is NaN at its end, but the trouble began in
# `np.exp`. The mend is to compute the logarithm of the probability at once. Then no large exponential is ever made:


# %%
def scores_of(params, points):
    hidden = np.tanh(points @ params[0]["kernel"] + params[0]["bias"])
    return 4000 * (hidden @ params[1]["kernel"] + params[1]["bias"])


def sound(params, batch):
    points, arms = batch
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(scores_of(params, points), arms))


assert np.isfinite(sound(params, data)) and tg.debug.explain_nan(tg.grad(sound), params, data) is None

# %% [markdown]
# In a run there is nothing to call: `tg.fit` looks at each loss. When one is not finite it stops and says the same.

# %%
step = tg.jit(tg.train.make_step(written_out, tg.optim.sgd(0.1)))
opt = tg.optim.sgd(0.1)
state = tg.train.TrainState(np.int32(0), params, opt.init(params), {}, tg.random.PRNGKey(0))
try:
    with np.errstate(all="ignore"):
        tg.fit(step, state, [data], epochs=5, progress=False, check=False)
except tg.train.NanError as error:
    seen = error
print("NanError:", str(seen).splitlines()[0])
assert seen.explanation.first.op == "exp"

# %% [markdown]
# ## NaN in the gradient alone
#
# Worse is a loss that looks healthy while its gradient is not. *Planted:* a distance, of two points that may coincide.
# $\sqrt{x}$ has the value 0 at 0, and the slope $1/(2\sqrt{0}) = \infty$ there. Times the slope 0 of the square inside
# it is $0 \cdot \infty$.


# %%
def mean_distance(centre, points):
    return np.mean(np.sqrt(np.sum((points - centre) ** 2, axis=1)))


few = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])
centre = np.zeros(2)
with np.errstate(all="ignore"):
    print("value", mean_distance(centre, few), "  gradient", tg.grad(mean_distance)(centre, few))
    explanation = tg.debug.explain_nan(tg.grad(mean_distance), centre, few)
print(explanation)
assert explanation.first.phase == "backward" and explanation.first.of == "sqrt"


def safe_distance(centre, points):
    square = np.sum((points - centre) ** 2, axis=1)
    apart = square > 0
    return np.mean(np.where(apart, np.sqrt(np.where(apart, square, 1.0)), 0.0))


assert np.isfinite(tg.grad(safe_distance)(centre, few)).all()
np.testing.assert_allclose(safe_distance(centre, few), mean_distance(centre, few))


def outer_alone(centre, points):
    square = np.sum((points - centre) ** 2, axis=1)
    return np.mean(np.where(square > 0, np.sqrt(square), 0.0))


np.testing.assert_allclose(tg.grad(outer_alone)(centre, few), tg.grad(safe_distance)(centre, few))

# %% [markdown]
# Note the two `where`. The outer one chooses the value. The inner one keeps the root away from zero, so that its slope
# is finite. In most libraries the outer one alone does not help, since the infinite slope is still computed, and then
# multiplied by 0. Here it does: tracegrad takes what a `where` did not choose as absent. Write both all the same.
#
# ## No gradient at all
#
# *Planted:* three mistakes in one loss. A parameter is not used, one is behind a rounding, and one is behind a sigmoid
# that is so far out that its slope is zero in every digit.


# %%
def silent(params, x):
    h = nn.sigmoid(x * params["behind a sigmoid"] - 800)
    steps = np.round(x * params["behind a rounding"])
    return np.mean((h + steps + x * params["sound"]) ** 2)


weights = {name: 1.0 for name in ("behind a sigmoid", "behind a rounding", "sound", "not used")}
x = np.linspace(0.1, 1, 10)
found = tg.debug.why_zero(silent, weights, x)
print(found)
status = {name: found[f"params['{name}']"].status for name in weights}
assert status == {
    "behind a sigmoid": "zero",
    "behind a rounding": "cut",
    "sound": "connected",
    "not used": "disconnected",
}

# %% [markdown]
# The gradient is zero in all three cases, and nothing in its value tells them apart. `why_zero` looks at the graph.
# "Cut" means that there is no derivative, at whatever values. "Zero" means that there is one, but not here. `tg.fit`
# asks this question once, after the first step, and warns.

# %%
step = tg.train.make_step(silent, tg.optim.sgd(0.1))
start = tg.train.TrainState(np.int32(0), weights, tg.optim.sgd(0.1).init(weights), {}, tg.random.PRNGKey(0))
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    tg.fit(step, start, [x], epochs=1, progress=False)
print(*[str(w.message) for w in heard], sep="\n")
assert any("behind a rounding" in str(w.message) for w in heard)

# %% [markdown]
# ## Vanishing and exploding
#
# Send numbers through thirty layers. Each layer multiplies with a matrix. If that makes vectors shorter by a fifth,
# thirty of them make them $0.8^{30} \approx 0.001$ times as long. If it makes them longer by a fifth, it is $1.2^{30}
# \approx 237$. The gradient goes the same way back, through the transposed matrices, and has the same fate. So the
# first layers learn a thousand times too slowly, or everything blows up.
#
# How long does a matrix make a vector? If the $n \times n$ entries have variance $s^2/n$, then each entry of $Wx$ is a
# sum of $n$ terms of variance $s^2 x_j^2/n$ each, so it has the variance $s^2 \lvert x \rvert^2/n$, and the vector is
# about $s$ times as long. Hence the rule: **variance $1/n$ for weights of $n$ inputs**. A relu lets half of the square
# pass, so behind relus it is $2/n$.


# %%
def forward(params, h, act):
    for layer in params[:-1]:
        h = act(h @ layer["kernel"] + layer["bias"])
    return h @ params[-1]["kernel"] + params[-1]["bias"]


def through_thirty(act, scale, depth=30, width=64):
    """For each layer, how large the values are that leave it, and how large what comes back to it is.

    To look at a gradient in the middle of a function, add an array of zeros there, and differentiate for that.
    """
    *hidden, last = init(np.random.default_rng(1), [2, *[width] * depth, 3], scale)

    def loss(zeros):
        h, values = points, []
        for layer, zero in zip(hidden, zeros, strict=True):
            h = act(h @ layer["kernel"] + layer["bias"] + zero)
            values.append(np.sqrt(np.mean(h**2)))
        scores = h @ last["kernel"] + last["bias"]
        return np.sum(nn.softmax_cross_entropy_with_integer_labels(scores, arms)), values

    zeros = [np.zeros((len(points), width))] * depth
    back, values = tg.grad(loss, has_aux=True)(zeros)
    return np.array(values), np.array([np.sqrt(np.mean(g**2)) for g in back])


ways = {
    "tanh, s = 0.5": through_thirty(np.tanh, 0.5),
    "tanh, s = 1": through_thirty(np.tanh, 1.0),
    "relu, s = 1": through_thirty(nn.relu, 1.0),
    "relu, s = √2": through_thirty(nn.relu, np.sqrt(2)),
    "relu, s = 2": through_thirty(nn.relu, 2.0),
    "sigmoid, s = 1": through_thirty(nn.sigmoid, 1.0),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
ratio = {}
for name, (values, back) in ways.items():
    left.semilogy(range(1, 31), values)
    right.semilogy(range(1, 31), back, label=name)
    ratio[name] = back[0] / back[-1]
    print(f"{name:16} what comes back to the first layer is {ratio[name]:.1e} times what comes back to the last")
left.set(xlabel="layer", ylabel="size of the values", title="forward")
right.set(xlabel="layer", ylabel="size of what comes back", title="backward: read from the right")
right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
show(figure, "09_vanishing")

assert ratio["sigmoid, s = 1"] < 1e-14  # each sigmoid's slope is at most 1/4
assert ratio["tanh, s = 0.5"] < 1e-6 and ratio["relu, s = 1"] < 1e-2
assert ratio["relu, s = 2"] > 1e2
products = {name: values[:-1] * back[1:] for name, (values, back) in ways.items()}
assert products["relu, s = 1"].max() < 10 * products["relu, s = 1"].min()
assert products["relu, s = 1"].max() < 0.01 * products["relu, s = √2"].min()
assert 0.02 < ratio["relu, s = √2"] < 50 and 0.02 < ratio["tanh, s = 1"] < 50

# %% [markdown]
# With the right variance both curves are level, and all layers learn at one pace. Sigmoids would want weights four
# times as large, for their slope is at most a quarter, and such weights drive them to where the slope is smaller still.
# That is one reason why deep networks came when people left the sigmoid.
#
# The gradient for a *kernel* is a product of both: the values that reach the layer times what comes back to it. In
# "relu, s = 1" the values shrink from left to right, and what comes back shrinks from right to left, by the same factor
# a layer. Their product is level, and tiny everywhere. So look at both curves, and at their height.

# %% [markdown]
# Two other cures are built into large networks. A **residual** connection computes $x + f(x)$, whose derivative is $1 +
# f'$: the one cannot vanish. A **norm** layer sets mean and variance anew in each layer.

# %%


def residual(params, h):
    h = h @ params[0]["kernel"]
    for layer in params[1:-1]:
        h = h + nn.sigmoid(h @ layer["kernel"] + layer["bias"]) - 0.5
    return h @ params[-1]["kernel"]


deep = init(np.random.default_rng(1), [2, *[64] * 30, 3])
loss = lambda params: np.mean(nn.softmax_cross_entropy_with_integer_labels(residual(params, points), arms))
lengths = [np.sqrt(np.sum(g["kernel"] ** 2)) for g in tg.grad(loss)(deep)]
print(
    f"sigmoid with residual connections: the kernel of layer 2 gets {lengths[1] / lengths[-2]:.2f} times what that of layer 30 gets"
)
assert 0.01 < lengths[1] / lengths[-2] < 100

# %% [markdown]
# ## Too long a step
#
# Chapter 4 found that a step beyond $2/\text{curvature}$ climbs instead of descending. *Planted:* a recurrence $h
# \leftarrow w h$, twenty times. The loss $(w^{20} - 1)^2$ is flat for small $w$, and a wall at $w > 1$. One step from
# the wall throws the weight far away.
#
# The cure is to bound the length of the step: **clip** the gradient. Its direction stays as it is, its length is at
# most 1.


# %%
def cliff(w):
    h = 1.0
    for _ in range(20):
        h = w * h
    return (h - 1) ** 2


def descend(steps, clip):
    w, path = 1.25, [1.25]
    for _ in range(steps):
        slope = tg.grad(cliff)(w)
        if clip:
            slope = slope / max(1.0, abs(slope))
        w = w - 0.002 * slope
        path.append(w)
    return np.array(path)


wild, clipped = descend(1, clip=False), descend(200, clip=True)
print(f"slope at 1.25: {tg.grad(cliff)(1.25):.3g}")
print(f"not clipped: after one step w = {wild[-1]:.3g} and the loss {cliff(wild[-1]):.1e}")
print(f"clipped: after 200 steps w = {clipped[-1]:.4f} and the loss {cliff(clipped[-1]):.1e}")
assert cliff(wild[-1]) > 1e50 and cliff(clipped[-1]) < 1e-6

grid = np.linspace(0, 1.27, 200)
figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(grid, [cliff(w) for w in grid], color="gray")
axes.plot(clipped[::10], [cliff(w) for w in clipped[::10]], "o", label="clipped, each tenth step")
axes.set(
    xlabel="w",
    ylabel="(w²⁰ - 1)²",
    yscale="symlog",
    title=f"a wall: one step without clipping ends at w = {wild[-1]:.0f}",
)
axes.legend()
show(figure, "09_cliff")

# %% [markdown]
# In a step of `tg.train` it is one word, `make_step(loss, opt, clip=1.0)`, and the history then has a column
# `gradient_norm`. A jump in that column is the first sign.
#
# ## A wrong broadcast
#
# The most expensive mistake of NumPy's makes no noise. *Planted:* predictions of shape `[n, 1]`, as a layer with one
# unit gives them, and targets of shape `[n]`. Their difference broadcasts to `[n, n]`: every prediction is compared
# with every target. The loss falls in training, and then stays where it is. The best answer to "be close to all
# targets" is their mean.

# %%
x = np.linspace(-1, 1, 100)[:, None]
y = np.sin(3 * x[:, 0])  # [100]


def careless(params, batch):
    x, y = batch
    return np.mean((forward(params, x, np.tanh) - y) ** 2)


def careful(params, batch):
    x, y = batch
    return np.mean((forward(params, x, np.tanh)[:, 0] - y) ** 2)


def fitted(loss, steps):
    opt = tg.optim.adam(0.02)

    @tg.jit
    def step(params, state):
        value, gradient = tg.value_and_grad(loss)(params, (x, y))
        params, state = tg.optim.step(opt, gradient, state, params)
        return params, state, value

    params = init(np.random.default_rng(0), (1, 16, 1))
    state = opt.init(params)
    losses = []
    for _ in range(steps):
        params, state, value = step(params, state)
        losses.append(value)
    return params, losses


steps = 300 if quick else 1000
(bad, bad_losses), (good, good_losses) = fitted(careless, steps), fitted(careful, steps)
print(f"careless: loss {bad_losses[0]:.2f} → {bad_losses[-1]:.4f}; the variance of the targets is {np.var(y):.4f}")
print(f"careful:  loss {good_losses[0]:.2f} → {good_losses[-1]:.4f}")
np.testing.assert_allclose(bad_losses[-1], np.var(y), rtol=0.02)
assert good_losses[-1] < 0.05 * np.var(y)

figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(x, y, color="gray", lw=4, alpha=0.4, label="targets")
axes.plot(x, forward(bad, x, np.tanh), label="[100, 1] - [100]")
axes.plot(x, forward(good, x, np.tanh), label="[100] - [100]")
axes.set(xlabel="x", ylabel="prediction")
axes.legend()
show(figure, "09_broadcast")

# %% [markdown]
# A loss that ends at the variance of the targets is one that has learnt the mean and nothing else. To find the place,
# print the graph. Every line says its type, and `f64[100,100]` has no business here:

# %%
graph = tg.make_graph(careless)(bad, (x, y))
for line in str(graph).splitlines():
    if "[100,100]" in line:
        print(line.strip())
suspects = [eqn.op.name for eqn in graph.eqns if eqn.outputs[0].type.shape == (100, 100)]
assert suspects[0] == "subtract"
print(tg.debug.residuals(careless, bad, (x, y)))

# %% [markdown]
# `tg.debug.residuals` shows it as well: what is kept for the backward pass has one array of 80,000 bytes among small
# ones. And the library's own losses do not let it happen:

# %%
try:
    nn.squared_error(forward(bad, x, np.tanh), y)
except ValueError as error:
    print(error)
else:
    raise AssertionError("shapes that differ were taken")

# %% [markdown]
# ## Dead units
#
# A relu whose input is negative for every example puts out zeros, and its slope is zero for every example. So nothing
# ever moves it again: it is **dead**. *Planted:* one step with a much too large rate, which throws the lines of some
# units beyond all points.


# %%
def relu_loss(params, batch):
    points, arms = batch
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(forward(params, points, nn.relu), arms))


def dead(params):
    """Which hidden units of the first layer are zero for all points."""
    return ~np.any(points @ params[0]["kernel"] + params[0]["bias"] > 0, axis=0)


params = init(np.random.default_rng(2), (2, 32, 3), np.sqrt(2))
before = dead(params)
after = tg.tree.map(lambda p, g: p - 100.0 * g, params, tg.grad(relu_loss)(params, data))
print(f"dead units: {before.sum()} of 32 at first, {dead(after).sum()} after one step of rate 100")
assert before.sum() == 0 and dead(after).sum() >= 3

# %% [markdown]
# The gradient of the kernel as a whole is not zero, as long as some units live. So ask for each unit by itself: hand
# `why_zero` a dict of units, and compute each of them by itself.


# %%
def by_units(units, batch):
    points, arms = batch
    hidden = [nn.relu(points @ unit["weights"] + unit["bias"]) for unit in units.values()]
    scores = np.stack(hidden, axis=1) @ after[1]["kernel"] + after[1]["bias"]
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(scores, arms))


units = {i: {"weights": after[0]["kernel"][:, i], "bias": after[0]["bias"][i]} for i in range(32)}
found = tg.debug.why_zero(by_units, units, data)
unmoved = sorted({int(c.path.split("[")[1].split("]")[0]) for c in found.zero})
print(str(found).splitlines()[0])
print("units without a gradient:", unmoved)
assert set(np.flatnonzero(dead(after))) <= set(unmoved)

revived = tg.grad(
    lambda params: np.mean(nn.softmax_cross_entropy_with_integer_labels(forward(params, points, nn.leaky_relu), arms))
)(after)
assert np.all(np.any(revived[0]["kernel"] != 0, axis=0))
print("with leaky_relu, which keeps a slope of 0.01 below zero, all 32 get one")

# %% [markdown]
# ## A wrong derivative of one's own
#
# Who gives a function a derivative by `tg.custom_vjp` can get it wrong. *Planted:* a sign. Training still runs, uphill
# for that part. Differences find it in one line.


# %%
@tg.custom_vjp
def swish(x):
    return x * nn.sigmoid(x)


def swish_forward(x):
    return swish(x), x


def swish_backward(x, g):
    s = nn.sigmoid(x)
    return (g * (s - x * s * (1 - s)),)  # it is s + x s (1 - s)


swish.defvjp(swish_forward, swish_backward)
try:
    tg.testing.check_grads(swish, (np.array([0.5, -2.0]),), order=1, modes="rev")
except tg.testing.GradientError as error:
    print(str(error).splitlines()[0])
else:
    raise AssertionError("the planted sign was not found")

# %% [markdown]
# ## The data
#
# The last fault is no fault of the program. *Planted:* the labels are in another order than the points, as happens when
# two arrays are shuffled apart. Nothing fails. The loss goes to the entropy of the labels, here $\ln 3$, and stays near
# it: there is nothing to be learnt but how frequent each class is.


# %%
def trained_loss(labels, steps):
    opt = tg.optim.adam(0.01)

    @tg.jit
    def step(params, state):
        value, gradient = tg.value_and_grad(relu_loss)(params, (points, labels))
        params, state = tg.optim.step(opt, gradient, state, params)
        return params, state, value

    params = init(np.random.default_rng(0), (2, 32, 3), np.sqrt(2))
    state = opt.init(params)
    for _ in range(steps):
        params, state, value = step(params, state)
    return float(value)


steps = 150 if quick else 400
in_order, shuffled = trained_loss(arms, steps), trained_loss(rng.permutation(arms), steps)
print(f"after {steps} steps: loss {in_order:.3f}; with shuffled labels {shuffled:.3f}; ln 3 = {np.log(3):.3f}")
assert in_order < 0.75 * np.log(3) < 0.9 * np.log(3) < shuffled

# %% [markdown]
# ## The list
#
# Before a long run, and when something is wrong, in this order:
#
# | look at | expected | otherwise |
# |---|---|---|
# | the loss before training | $\ln$ of the number of classes | scores too large, wrong labels |
# | ten examples | learnt by heart (chapter 6) | the loss, the labels, a cut gradient |
# | `tg.debug.why_zero(loss, params, batch)` | all parameters get a gradient | cut, disconnected or zero, with the line |
# | `tg.debug.explain_nan(tg.grad(loss), params, batch)` | `None` | the first NaN, with the line |
# | `print(tg.make_graph(loss)(params, batch))` | no type that should not be there | a broadcast |
# | length of the gradient, layer by layer | within a factor of ten | variance of weights, activation, norms |
# | `tg.testing.check_grads` of your own rules | silent | a wrong derivative |
# | the loss after training | well below that of guessing frequencies | the data |

# %%
start = init(np.random.default_rng(0), (2, 32, 3))
first_loss = relu_loss(start, data)
print(f"loss before training: {first_loss:.3f}, ln 3 = {np.log(3):.3f}")
assert abs(first_loss - np.log(3)) < 0.5
assert not tg.debug.why_zero(relu_loss, start, data).zero
assert tg.debug.explain_nan(tg.grad(relu_loss), start, data) is None

# %% [markdown]
# ## Exercises
#
# The solutions are in `solutions/s09_what_goes_wrong.py`.


# %%
def cosine(a, b):
    """The cosine of the angle between the rows of a and b, [n, k] each: a · b / (|a| |b|), and 0 where a row is all zeros.

    Its gradient has to be finite everywhere, and zero for the rows of zeros; elsewhere value and gradient are to be exact.
    """
    raise NotImplementedError


def check_cosine(cosine):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 5, 3))
    exact = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine(a, b), exact, rtol=1e-12)
    tg.testing.check_grads(cosine, (a, b), order=1)
    a[2] = 0
    assert cosine(a, b)[2] == 0
    for g in tg.grad(lambda a, b: np.sum(cosine(a, b)), argnums=(0, 1))(a, b):
        assert np.isfinite(g).all(), "a gradient is not finite at a row of zeros"
        assert not g[2].any(), "the gradient at a row of zeros is not zero"


attempt(check_cosine, cosine)


# %%
def deep_init(rng, sizes):
    """Kernels for layers with relus between them, such that thirty of them neither shrink nor blow up what passes, forward and backward.

    Return a list of dicts with "kernel" [n, m] and "bias" [m], as `init` does.
    """
    raise NotImplementedError


def check_deep_init(deep_init):
    for width in (32, 128):
        sizes = [width] * 31
        params = deep_init(np.random.default_rng(4), sizes)
        h = np.random.default_rng(5).normal(size=(50, width))
        out = forward(params, h, nn.relu)
        ratio = np.sqrt(np.mean(out**2) / np.mean(h**2))
        assert 0.1 < ratio < 10, f"thirty layers of {width} units make values {ratio:.1e} times as large"
        back = tg.grad(lambda h, params=params: np.sum(forward(params, h, nn.relu)))(h)
        ratio = np.sqrt(np.mean(back**2))
        assert 0.1 < ratio < 10, f"and what comes back {ratio:.1e} times"


attempt(check_deep_init, deep_init)


# %%
def mended(params, batch):
    """This loss has two of the faults of this chapter. Write it without them:

        x, y = batch                                            # [n, k] and [n]
        h = np.round(x @ params["first"])                       # [n, h]
        predictions = np.tanh(h) @ params["second"]             # [n, 1]
        return np.mean((predictions - y) ** 2)

    Leave the rounding out, and compare each prediction with its own target.
    """
    raise NotImplementedError


def check_mended(mended):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(20, 3)), random.normal(size=20)
    params = {"first": random.normal(size=(3, 4)), "second": random.normal(size=(4, 1))}
    found = tg.debug.why_zero(mended, params, (x, y))
    assert not found.zero, str(found)
    made = tg.make_graph(mended)(params, (x, y))
    assert all(v.type.shape != (20, 20) for eqn in made.eqns for v in eqn.outputs), "each is compared with every target"
    expected = np.mean(
        [(np.tanh(row @ params["first"]) @ params["second"] - t) ** 2 for row, t in zip(x, y, strict=True)]
    )
    np.testing.assert_allclose(mended(params, (x, y)), expected, rtol=1e-10)


attempt(check_mended, mended)

# %% [markdown]
# ## Three questions
#
# 1. A network for ten classes has a loss of 11.5 before training. What does that say?
#
# <details><summary>Answer</summary>
#
# Guessing evenly costs $\ln 10 = 2.3$. So it does not guess: it is sure, and wrong. Its scores differ by ten and more,
# because the weights or the inputs are too large. Pixels from 0 to 255 in place of 0 to 1 are the usual cause.
#
# </details>
#
# 2. The loss was fine for 3,000 steps, and then NaN. Where do you look?
#
# <details><summary>Answer</summary>
#
# `NanError` has the state and the batch of that step: `tg.debug.explain_nan(step, error.state, error.batch)` names the
# line. Look at `gradient_norm` in the history before it. If that grew for some time, it is the size of the steps: clip,
# or lower the rate. If it did not, it is that one batch: look at the data.
#
# </details>
#
# 3. Why is a gradient of exactly zero more suspicious than a very small one?
#
# <details><summary>Answer</summary>
#
# Sums of many products of floating numbers hardly ever are exactly zero. A zero says that something multiplied by zero,
# chose another branch, or cut the path.
#
# </details>
