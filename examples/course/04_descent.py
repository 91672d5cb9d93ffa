# %% [markdown]
# # 4. Gradient descent and backpropagation
#
# **After this chapter you can** derive and write both: the method that walks downhill, and the method that finds out
# which way downhill is, for any function that is made of known operations. You can also check a derivative that
# somebody else wrote.
#
# Chapter 3 ended with a function $J$ of the parameters that is to be made small. With two parameters we could try a
# grid of values. With six that is tedious, and with a million impossible: a grid of only ten values each has
# $10^{1000000}$ places. This chapter looks at one place at a time, and asks there which way is down.

# %%
import math
import time

import matplotlib.pyplot as plt
import numpy as np
from course import attempt, draw_graph, quick, show

import tracegrad as tg

# %% [markdown]
# ## Which way is down
#
# Let $f$ be a smooth function of a vector $x$ of $n$ numbers. The **gradient** $\nabla f(x)$ is the vector of its partial
# derivatives. Near $x$, Taylor's formula says
#
# $$f(x + d) = f(x) + \nabla f(x)\cdot d + \text{something of the order of } |d|^2 .$$
#
# Take steps $d$ of one small length. Which of them lowers $f$ most? The one that makes $\nabla f\cdot d$ most negative.
# By the Cauchy–Schwarz inequality, $\nabla f\cdot d \ge -|\nabla f|\,|d|$, with equality exactly if $d$ points against
# the gradient. So the direction of **steepest descent** is $-\nabla f(x)$. **Gradient descent** repeats this step:
#
# $$x \leftarrow x - \eta\,\nabla f(x).$$
#
# The number $\eta > 0$ is the **step size** (also: learning rate). In the library, `tg.grad(f)` is the function
# $\nabla f$.


# %%
def f(x):
    return np.sin(x[0]) * x[1] + x[1] ** 2


x0, small = np.array([0.4, 0.9]), 1e-4
directions = np.linspace(0, 2 * math.pi, 3601)
around = [f(x0 + small * np.array([np.cos(t), np.sin(t)])) for t in directions]
lowest = directions[np.argmin(around)]
down = -tg.grad(f)(x0)
print(
    f"tried: lowest at the angle {lowest:.3f}; minus the gradient points to {math.atan2(down[1], down[0]) % math.tau:.3f}"
)
assert abs(lowest - math.atan2(down[1], down[0]) % math.tau) < 0.005

# %% [markdown]
# ## How far? The step size on a valley
#
# Near a minimum nearly every smooth function looks like a quadratic one. So let us understand one completely: a valley that is
# ten times steeper across than along,
#
# $$f(x) = \tfrac12\,(c_1 x_1^2 + c_2 x_2^2),\qquad c_1 = 1,\ c_2 = 10 .$$
#
# The $c_i$ are the **curvatures** (second derivatives). The gradient is $(c_1 x_1, c_2 x_2)$, and a step multiplies each
# coordinate by a number:
#
# $$x_i \leftarrow (1 - \eta c_i)\, x_i .$$
#
# After $T$ steps $x_i$ has been multiplied by $(1 - \eta c_i)^T$. It goes to zero exactly if $|1 - \eta c_i| < 1$, that
# is $\eta < 2 / c_i$. **The largest curvature sets the limit**, here $\eta < 0.2$. And with a step small enough for the
# steep direction, the flat direction is slow: its factor is $1 - \eta c_1$, near to 1.


# %%
def valley(x, curvatures=(1, 10)):
    return 0.5 * np.sum(np.array(curvatures) * x**2)


def descend(f, x, step, steps):
    """Gradient descent. Returns all places, (steps + 1, n)."""
    slope = tg.grad(f)
    path = [x]
    for _ in range(steps):
        x = x - step * slope(x)
        path.append(x)
    return np.stack(path)


start = np.array([1.0, 1.0])
paths = {step: descend(valley, start, step, 100) for step in (0.05, 0.19, 0.21)}
for step, path in paths.items():
    print(f"step {step}: distance from the minimum after 100 steps {np.linalg.norm(path[-1]):.2e}")
    predicted = np.array([(1 - step) ** 100, (1 - 10 * step) ** 100])
    assert np.allclose(path[-1], predicted, rtol=1e-9, atol=1e-25)
ends = [np.linalg.norm(path[-1]) for path in paths.values()]
assert np.allclose(ends, [5.9e-3, 2.7e-5, 1.4e4], rtol=0.05)


# %%
def contours(axes, g, x_range, y_range, levels):
    xs, ys = np.linspace(*x_range, 121), np.linspace(*y_range, 121)
    values = [[g(np.array([x, y])) for x in xs] for y in ys]
    axes.contour(xs, ys, values, levels=levels, colors="0.75", linewidths=0.8)
    axes.set(xlim=x_range, ylim=y_range)


figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
for axes, (step, path) in zip(panels, paths.items(), strict=True):
    contours(axes, valley, (-1.2, 1.2), (-1.7, 1.7), np.geomspace(0.01, 15, 14))
    axes.plot(*path[:9].T, "C0o-", markersize=3.5, linewidth=1)
    axes.plot(*start, "ko", markersize=6)
    axes.set(title=f"step {step}, first 8 steps", xlabel="x₁, curvature 1")
panels[0].set_ylabel("x₂, curvature 10")
show(figure, "04_valley")

# %% [markdown]
# With 0.05 the steep coordinate is soon at rest and the flat one creeps. With 0.19 the steep coordinate jumps from side
# to side, and falls. With 0.21 each jump is larger than the one before. A little too much is not a little worse: it is
# the difference between learning and nonsense.
#
# ## A perceptron that finds its line
#
# Now for the real thing: the hundred points of chapter 3 and the criterion $J$. The start is random. A hundred steps of
# 0.01.

# %%
rng = np.random.default_rng(0)
red = rng.normal(size=(50, 2)) - 2
blue = rng.normal(size=(50, 2)) + 2
X = np.concatenate([blue, red])
y = np.repeat([0, 1], 50)
one_hot = np.eye(2)[y]


def scores(params, X):
    return X @ params["W"] + params["b"]


def J(params, X, one_hot):
    """Cross-entropy, summed over the points: minus the logarithm of the probability of each point's own class."""
    s = scores(params, X)
    return -np.sum(one_hot * (s - np.log(np.sum(np.exp(s), axis=1, keepdims=True))))


# %% [markdown]
# The parameters are a dict of two arrays, and so is the gradient. `tg.tree.map` applies a function to matching arrays
# of both.

# %%
start_rng = np.random.default_rng(1)
params = {"W": start_rng.normal(size=(2, 2)), "b": start_rng.normal(size=2)}
history, stages = [J(params, X, one_hot)], {0: params}
slope = tg.grad(J)
for step in range(1, 101):
    params = tg.tree.map(lambda p, g: p - 0.01 * g, params, slope(params, X, one_hot))
    history.append(J(params, X, one_hot))
    stages[step] = params

accuracy = np.mean(np.argmax(scores(params, X), axis=1) == y)
print(f"J at the start {history[0]:.3f}, after 100 steps {history[-1]:.4f}; accuracy {accuracy}")
assert abs(history[0] - 24.722) < 1e-3 and abs(history[-1] - 0.8788) < 1e-3
assert accuracy == 1.0

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
left.plot(history)
left.set(xlabel="step", ylabel="J", yscale="log")
right.plot(*blue.T, "C0o", markersize=3, label="blue")
right.plot(*red.T, "C3o", markersize=3, label="red")
ends = np.array([-5.0, 5.0])
for step, style, name in ((0, "k:", "at the start"), (1, "k--", "after 1 step"), (100, "k-", "after 100 steps")):
    # The line is where both scores are equal: x · (W₀ - W₁) + (b₀ - b₁) = 0.
    (w0, w1), bias = stages[step]["W"] @ [1, -1], stages[step]["b"] @ [1, -1]
    right.plot(ends, -(bias + w0 * ends) / w1, style, linewidth=1.2, label=f"line {name}")
right.set(xlim=(-5, 5), ylim=(-5, 5), xlabel="x₁", ylabel="x₂", aspect="equal")
right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
show(figure, "04_learnt")

# %% [markdown]
# The line was found, not guessed. $J$ is even smaller than with the guess of chapter 3 (1.389): the points are
# separable, and larger weights are always better there.
#
# On points that overlap there is a minimum to arrive at. Here is the surface of chapter 3 once more, over the scale $k$
# and the bias $\beta$, with three step sizes. It has no exact formula for its step limit, but the curvature at the
# minimum gives it: the largest eigenvalue of the Hessian there.

# %%
near_red = 2 * rng.normal(size=(500, 2)) - 1
near_blue = 2 * rng.normal(size=(500, 2)) + 1
X_near = np.concatenate([near_blue, near_red])
one_hot_near = np.repeat(np.eye(2), 500, axis=0)


def overlap(v):
    """J / n of the overlapping points for v = (k, β): W = k [[1, -1], [1, -1]], b = (β, -β)."""
    params = {"W": v[0] * np.array([[1.0, -1.0], [1.0, -1.0]]), "b": v[1] * np.array([1.0, -1.0])}
    return J(params, X_near, one_hot_near) / len(X_near)


corner = np.array([0.9, 0.85])
settled = descend(overlap, corner, 0.3, 100)[-1]
curvatures = np.linalg.eigvalsh(tg.hessian(overlap)(settled))
print(
    f"minimum at k = {settled[0]:.3f}, β = {settled[1]:.3f}; curvatures {curvatures.round(3)}; limit {2 / curvatures[-1]:.2f}"
)
assert abs(overlap(settled) - 0.4780) < 0.005
assert np.linalg.norm(tg.grad(overlap)(settled)) < 1e-6

figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
limit = 2 / curvatures[-1]
for axes, share in zip(panels, (0.1, 0.5, 1.1), strict=True):
    path = descend(overlap, corner, share * limit, 30)
    contours(axes, overlap, (-0.2, 1.1), (-0.9, 1.1), np.geomspace(0.479, 1.3, 14))
    axes.plot(*path.T, "C0o-", markersize=3, linewidth=1)
    axes.plot(*corner, "ko", markersize=6)
    axes.plot(*settled, "r*", markersize=10)
    axes.set(title=f"step {share * limit:.2f}, 30 steps", xlabel="scale k")
    resting = np.linalg.norm(path[-1] - settled) < 0.05
    assert resting == (share == 0.5), (share, path[-1])
panels[0].set_ylabel("bias β")
show(figure, "04_surface")

# %% [markdown]
# The star is the minimum. At a tenth of the limit the walk is smooth and slow. At half the limit it arrives. A tenth
# above the limit it comes near and cannot rest: the steep direction, $k$, throws it from side to side for ever.
#
# ## The same for a line through numbers: linear regression
#
# The method does not care what the function is. The squares of chapter 3, for a line through 30 noisy values: descent
# arrives at the solution that linear algebra has for this one problem, `np.linalg.lstsq`.

# %%
t_line = np.linspace(0, 4, 30)
values = 0.7 * t_line + 1 + 0.3 * rng.normal(size=30)


def mean_square(v):
    return np.mean((v[0] * t_line + v[1] - values) ** 2)


by_descent = descend(mean_square, np.zeros(2), 0.08, 1000)[-1]
by_algebra, *_ = np.linalg.lstsq(np.stack([t_line, np.ones(30)], axis=1), values, rcond=None)
print(f"descent {by_descent}, algebra {by_algebra}")
assert np.allclose(by_descent, by_algebra, rtol=0, atol=1e-6)

# %% [markdown]
# ## Two improvements: momentum, and a step size for each coordinate
#
# In a long valley plain descent must keep its step small for the sake of the steep direction. Two remedies are in every
# library.
#
# **Momentum** keeps a velocity $v$, as a heavy ball does. With $0 \le \mu < 1$:
#
# $$v \leftarrow \mu v - \eta\nabla f(x),\qquad x \leftarrow x + v .$$
#
# Along the valley the gradients agree and the velocity builds up, to as much as $1/(1-\mu)$ times a single step. Across
# it they alternate in sign and cancel. For a quadratic with the curvatures $c_1$ and $c_2$ the best pair is known (Polyak
# 1964): $\eta = \big(2 / (\sqrt{c_1} + \sqrt{c_2})\big)^2$ and $\mu = \big((\sqrt{c_2} - \sqrt{c_1}) / (\sqrt{c_2} +
# \sqrt{c_1})\big)^2$. For 1 and 100, as below, they are 0.033 and 0.67.
#
# **Adam** (Kingma and Ba 2014) keeps running means of the gradient, $m$, and of its square, $u$, coordinate by
# coordinate, and divides one by the root of the other:
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\, g,\quad u \leftarrow \beta_2 u + (1-\beta_2)\, g^2,\quad
# x \leftarrow x - \eta\,\frac{m/(1-\beta_1^t)}{\sqrt{u/(1-\beta_2^t)} + \epsilon},$$
#
# where $g$ is the gradient and $t$ counts the steps from 1. (The means start at 0 and are too small at first; the
# factors $1-\beta^t$ correct that.) Multiply one coordinate of the gradient by 100: $m$ and $\sqrt u$ both grow by 100,
# and the step stays what it was. **Adam does not see the curvatures' scales.**


# %%
def momentum(f, x, step, steps, mu):
    slope, v, path = tg.grad(f), np.zeros_like(x), [x]
    for _ in range(steps):
        v = mu * v - step * slope(x)
        x = x + v
        path.append(x)
    return np.stack(path)


def adam(f, x, step, steps, beta1=0.9, beta2=0.999, epsilon=1e-8):
    slope, m, u, path = tg.grad(f), np.zeros_like(x), np.zeros_like(x), [x]
    for t in range(1, steps + 1):
        g = slope(x)
        m = beta1 * m + (1 - beta1) * g
        u = beta2 * u + (1 - beta2) * g**2
        x = x - step * (m / (1 - beta1**t)) / (np.sqrt(u / (1 - beta2**t)) + epsilon)
        path.append(x)
    return np.stack(path)


assert np.allclose([(2 / (1 + 10)) ** 2, ((10 - 1) / (10 + 1)) ** 2], [0.033, 0.67], rtol=0.01)


def gorge(x):
    return valley(x, curvatures=(1, 100))  # a hundred times steeper across than along


runs = {
    "plain, step 0.0198": descend(gorge, start, 0.0198, 100),  # 2 / (1 + 100): no step size is better here
    "momentum 0.67, step 0.03": momentum(gorge, start, 0.03, 100, mu=0.67),
    "Adam, step 0.1": adam(gorge, start, 0.1, 100),
}
for name, path in runs.items():
    print(f"{name}: distance after 100 steps {np.linalg.norm(path[-1]):.1e}")
assert np.linalg.norm(runs["plain, step 0.0198"][-1]) > 0.1
assert np.linalg.norm(runs["momentum 0.67, step 0.03"][-1]) < 1e-5
assert np.linalg.norm(runs["Adam, step 0.1"][-1]) < 0.01
assert np.allclose(
    adam(valley, start, 0.1, 100), runs["Adam, step 0.1"], rtol=0, atol=1e-6
)  # curvatures 1, 10: same path

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
contours(left, gorge, (-0.6, 1.2), (-2.6, 2.6), np.geomspace(0.01, 400, 14))
for (name, path), colour in zip(runs.items(), ("C0", "C1", "C2"), strict=True):
    left.plot(*path[:40].T, "o-", color=colour, markersize=2.5, linewidth=0.9, label=name)
    right.plot(np.linalg.norm(path, axis=1), color=colour, label=name)
left.plot(*start, "ko", markersize=6)
left.set(xlabel="x₁, curvature 1", ylabel="x₂, curvature 100", title="the first 40 steps")
right.set(xlabel="step", ylabel="distance from the minimum", yscale="log")
right.legend(loc="lower left", fontsize=8)
show(figure, "04_momentum_adam")

# %% [markdown]
# Momentum pays on a valley like this one. Adam with a fixed step does not come to rest quickly, but it needs no tuning
# by the curvatures. `tg.optim` has both and many more (chapter 6).
#
# ## Where do gradients come from? First try: differences
#
# So far `tg.grad` has been a black box. We open it now. The simplest idea first: by definition the derivative is a
# limit of quotients, so take a small $h$ and compute
#
# $$\frac{f(x + h) - f(x - h)}{2h} .$$
#
# How wrong is it? Taylor's formula for $f(x \pm h)$ gives $f'(x) + \frac{h^2}{6} f'''(x) + \dots$, so smaller steps are
# better, by the square. But a 64-bit number has only 16 digits, and $f(x+h)$ and $f(x-h)$ agree in more and more of
# them as $h$ shrinks. Each is rounded by about $10^{-16}$, and the quotient magnifies that to about $10^{-16}/h$. The
# two errors pull in opposite directions, and the best step is where they meet: $h^2 \approx 10^{-16}/h$, so
# $h \approx 10^{-5}$.

# %%
quotient_errors = {}
for h in 10.0 ** -np.arange(1, 13):
    quotient = (np.sin(1 + h) - np.sin(1 - h)) / (2 * h)
    quotient_errors[h] = abs(quotient - np.cos(1))
    print(f"h = {h:.0e}: error {quotient_errors[h]:.1e}")
errors = np.array(list(quotient_errors.values()))
assert np.allclose(errors[:3], [9.0e-4, 9.0e-6, 9.0e-8], rtol=0.01)  # cos(1) h² / 6
assert errors[4] < 1e-10 and errors[6] < 1e-8  # 1.1e-11 at 1e-5, 1.9e-10 at 1e-7
assert max(errors[9:]) > 1e-7  # 1.2e-6 at 1e-11: rounding, which may differ a little from one machine to another

figure, axes = plt.subplots(figsize=(6, 3.8))
hs = np.geomspace(1e-13, 1e-1, 300)
axes.loglog(
    hs, [abs((np.sin(1 + h) - np.sin(1 - h)) / (2 * h) - np.cos(1)) + 1e-17 for h in hs], lw=0.8, label="measured"
)
axes.loglog(hs, np.cos(1) * hs**2 / 6, "C2--", lw=1, label="h² / 6 · |f‴|")
axes.loglog(hs, 1e-16 / hs, "C3--", lw=1, label="10⁻¹⁶ / h")
axes.set(xlabel="h", ylabel="error of the difference quotient", ylim=(1e-14, 1e-1))
axes.legend()
show(figure, "04_differences")

# %% [markdown]
# Eleven digits at best, and worse: **one derivative costs two evaluations of $f$**. With a million parameters a single
# gradient takes two million evaluations. Differences are good for checking a derivative, not for training. Chain rule
# instead.
#
# ## Backpropagation
#
# As chapter 1 showed, a calculation is a graph. Write its values in order of evaluation: $v_1, \dots, v_N$. The first
# few are inputs; each later one is a known operation on earlier ones; the last, $v_N = L$, is the result, one number.
# We want $\partial L/\partial v_i$ for the inputs. The trick is to ask for more: for **every** $v_i$, how much $L$
# changes if that value is changed and everything after it is computed from it. Call it the **cotangent** of $v_i$:
#
# $$\bar v_i = \frac{\partial L}{\partial v_i} .$$
#
# *The rule.* A change of $v_i$ reaches $L$ only through those $v_j$ that take $v_i$ as an operand. By the chain rule
# for functions of several variables, the contributions add:
#
# $$\bar v_N = 1,\qquad \bar v_i = \sum_{j\ \text{uses}\ i} \bar v_j\,\frac{\partial v_j}{\partial v_i} .$$
#
# Every $j$ in the sum is later than $i$. So **going through the operations in reverse order**, all $\bar v_j$ that are
# needed are ready in time. Each operation is visited once, and must know one thing only: its own partial derivatives.
# That is backpropagation. It is the chain rule, in the right order, with each result kept and used again.
#
# An example with a value that is used twice: $L = x\,y + \sin x$ at $x = 2$, $y = 3$. Here are its operations: $a = x y$,
# $s = \sin x$, $L = a + s$.
#
# | step | | |
# |---|---|---|
# | forward | $a = 6$, $s = 0.909$, $L = 6.909$ | |
# | start | $\bar L = 1$ | |
# | $L = a + s$ | $\bar a = \bar L \cdot 1 = 1$, $\bar s = \bar L\cdot 1 = 1$ | a sum hands its cotangent to both |
# | $s = \sin x$ | $\bar x = \bar s \cos x = -0.416$ | first contribution |
# | $a = x y$ | $\bar x = -0.416 + \bar a\, y = 2.584$, $\bar y = \bar a\, x = 2$ | the second one is **added** |


# %%
def small(x, y):
    a = x * y
    s = np.sin(x)
    return a + s


gradient = tg.grad(small, argnums=(0, 1))(2.0, 3.0)
print(f"dL/dx = {gradient[0]:.4f}, dL/dy = {gradient[1]:.4f}")
assert np.allclose(gradient, [3 + math.cos(2), 2])
print(tg.make_graph(small)(2.0, 3.0))
print(tg.make_graph(tg.grad(small, argnums=(0, 1)))(2.0, 3.0))

# %% [markdown]
# The gradient printed by the library has the same operations: $\cos x$, each cotangent 1 times a partial derivative,
# and the sum of the two contributions to $\bar x$. The picture shows the passes, with the value of each node above and
# its cotangent below.

# %%
places = {"x": (0, 1), "y": (0, 0), "s": (1.2, 1.25), "a": (1.2, 0.3), "L": (2.4, 0.8)}
labels = {"x": "x", "y": "y", "s": "s = sin x", "a": "a = x y", "L": "L = a + s"}
edges = [("x", "s"), ("x", "a"), ("y", "a"), ("s", "L"), ("a", "L")]
values_of = {"x": 2.0, "y": 3.0, "s": math.sin(2), "a": 6.0, "L": 6 + math.sin(2)}
passes = [
    ("forward: values", {}, []),
    ("L = a + s hands on its cotangent", {"L": 1, "s": 1, "a": 1}, [("s", "L"), ("a", "L")]),
    ("through sin: the first part of x", {"L": 1, "s": 1, "a": 1, "x": math.cos(2)}, [("x", "s")]),
    (
        "through the product: the second part is added",
        {"L": 1, "s": 1, "a": 1, "x": 3 + math.cos(2), "y": 2},
        edges[1:3],
    ),
]
figure, panels = plt.subplots(2, 2, figsize=(10, 5.6))
for axes, (title, cotangents, active) in zip(panels.flat, passes, strict=True):
    for tail, head in edges:
        now = (tail, head) in active
        arrow = {"arrowstyle": "<|-" if now else "-|>", "color": "C3" if now else "0.6", "lw": 2 if now else 1}
        axes.annotate("", places[head], places[tail], arrowprops=arrow | {"shrinkA": 27, "shrinkB": 27})
    for node, (across, up) in places.items():
        axes.text(
            across, up, labels[node], ha="center", va="center", bbox={"boxstyle": "round", "fc": "0.95", "ec": "0.4"}
        )
        axes.text(across, up + 0.21, f"{values_of[node]:.3f}", ha="center", color="C0")
        if node in cotangents:
            axes.text(across, up - 0.33, f"{cotangents[node]:.3f}", ha="center", color="C3")
    axes.set(xlim=(-0.5, 2.9), ylim=(-0.5, 1.7), title=title)
    axes.axis("off")
figure.suptitle("above each node in blue: its value; below in red: its cotangent, dL / d(node)", fontsize=10)
show(figure, "04_backward")

# %% [markdown]
# ## Backpropagation in fifty lines
#
# For arrays the rule is the same; the cotangent of an array has its shape. What each operation must know is how to turn
# the cotangent of its output into cotangents of its inputs. Here is a registry for what the perceptron needs, and a
# little more. In each entry stands first how to evaluate, then the rule, a function of the cotangent `ct`, the output
# `out` and the inputs.
#
# Most rules are derivatives from school. Two need a thought.
#
# **The matrix product** $Y = A B$, so $Y_{ik} = \sum_j A_{ij} B_{jk}$. By the rule above, sum over everything that uses
# $A_{ij}$:
#
# $$\bar A_{ij} = \sum_k \bar Y_{ik}\,\frac{\partial Y_{ik}}{\partial A_{ij}} = \sum_k \bar Y_{ik} B_{jk},
# \qquad\text{that is}\quad \bar A = \bar Y B^{\mathsf T},\qquad\text{likewise}\quad \bar B = A^{\mathsf T}\,\bar Y .$$
#
# **Broadcasting.** In `X @ W + b`, NumPy repeats the row `b` for each point. What is repeated is used many times, so
# its cotangents are added up: the cotangent is summed along the axes that were repeated. (Exactly this is left out in
# many a toy library: chapter 0.)


# %%
def summed_to(ct, like):
    """The cotangent of an operand that was broadcast: summed along the axes along which it was repeated."""
    shape = np.shape(like)
    ct = np.sum(ct, axis=tuple(range(np.ndim(ct) - len(shape))))
    repeated = tuple(i for i, size in enumerate(shape) if size == 1)
    return np.sum(ct, axis=repeated, keepdims=True)


def spread(ct, a, axes, keepdims):
    """The cotangent of what was summed: the sum's own, for each of the summands."""
    return np.broadcast_to(ct if keepdims else np.expand_dims(ct, axes), np.shape(a))


RULES = {  # name: (how to evaluate, the rule)
    "add": (lambda a, b: a + b, lambda ct, out, a, b: (summed_to(ct, a), summed_to(ct, b))),
    "subtract": (lambda a, b: a - b, lambda ct, out, a, b: (summed_to(ct, a), summed_to(-ct, b))),
    "multiply": (lambda a, b: a * b, lambda ct, out, a, b: (summed_to(ct * b, a), summed_to(ct * a, b))),
    "divide": (lambda a, b: a / b, lambda ct, out, a, b: (summed_to(ct / b, a), summed_to(-ct * out / b, b))),
    "negative": (lambda a: -a, lambda ct, out, a: (-ct,)),
    "exp": (np.exp, lambda ct, out, a: (ct * out,)),
    "log": (np.log, lambda ct, out, a: (ct / a,)),
    "sin": (np.sin, lambda ct, out, a: (ct * np.cos(a),)),
    "tanh": (np.tanh, lambda ct, out, a: (ct * (1 - out**2),)),
    "matmul": (lambda a, b: a @ b, lambda ct, out, a, b: (ct @ b.T, a.T @ ct)),
    "sum": (
        lambda a, axes, keepdims: np.sum(a, axis=axes, keepdims=keepdims),
        lambda ct, out, a, axes, keepdims: (spread(ct, a, axes, keepdims),),
    ),
}


def backpropagate(graph, *inputs):
    """The value of each variable of a Graph with one result, and the cotangent of each that reaches the result."""
    value = dict(graph.consts) | dict(zip(graph.inputs, inputs, strict=True))

    def look_up(operand):  # a variable of the graph, or a number written in it
        if operand in value:
            return value[operand]
        return operand.value

    for eqn in graph.eqns:  # forward, and every value is kept
        evaluate, _ = RULES[eqn.op.name]
        (output,) = eqn.outputs
        value[output] = evaluate(*[look_up(operand) for operand in eqn.inputs], **eqn.params)

    (result,) = graph.outputs
    cotangent = {result: np.ones_like(value[result])}
    for eqn in reversed(graph.eqns):  # backward
        (output,) = eqn.outputs
        if output not in cotangent:
            continue  # does not reach the result
        _, rule = RULES[eqn.op.name]
        operands = [look_up(operand) for operand in eqn.inputs]
        contributions = rule(cotangent[output], value[output], *operands, **eqn.params)
        for operand, contribution in zip(eqn.inputs, contributions, strict=True):
            cotangent[operand] = cotangent.get(operand, 0) + contribution  # the sum over all that use it
    return value, cotangent


def gradient_of(graph, *inputs):
    """The result of a Graph, and its derivatives with respect to the inputs."""
    value, cotangent = backpropagate(graph, *inputs)
    return value[graph.outputs[0]], [cotangent.get(v, np.zeros_like(value[v])) for v in graph.inputs]


# %% [markdown]
# First on single numbers, where everything can be seen: one perceptron at the point $(3, 2)$, which is blue, with the
# weights $w_1 = 0.2$, $w_2 = -0.5$, $b = 0.1$. Its loss is $-\ln\sigma(s) = \ln(1 + e^{-s})$, where
# $s = 3 w_1 + 2 w_2 + b$ (chapter 3). Each arrow in the picture carries two numbers: above the value, below the
# cotangent.


# %%
def loss_of_one(w1, w2, b):
    s = 3.0 * w1 + 2.0 * w2 + b
    return np.log(1 + np.exp(-s))


weights = (0.2, -0.5, 0.1)
graph = tg.make_graph(loss_of_one)(*weights)
value, cotangent = backpropagate(graph, *weights)
print(f"loss {value[graph.outputs[0]]:.4f}; derivatives {', '.join([f'{cotangent[v]:.4f}' for v in graph.inputs])}")
assert np.allclose([cotangent[v] for v in graph.inputs], tg.grad(loss_of_one, argnums=(0, 1, 2))(*weights))

figure, axes = plt.subplots(figsize=(12, 3.6))
ends_with = "value above, cotangent below; the result itself is {:.3f}, its cotangent {:.0f}"
ends_with = ends_with.format(value[graph.outputs[0]], cotangent[graph.outputs[0]])
draw_graph(axes, graph, lambda v: f"{value[v]:.3f}\n{cotangent[v]:.3f}", ends_with, parameters=("w1", "w2", "b"))
show(figure, "04_graph")

# %% [markdown]
# Follow it from the right. The logarithm's slope is one over its argument; adding 1 hands the cotangent on; the
# exponential multiplies it by its own value; the minus turns its sign. What arrives at $s$ is $\sigma(s) - 1 = -0.574$,
# as chapter 3 derived. A sum hands it on to all its operands, so $\bar b$ is the same, and $\bar w_1$, $\bar w_2$ are 3
# and 2 times that: the inputs by which the weights are multiplied.
#
# The library draws the same picture of any function, as a page for a browser: values in blue, gradients in orange. Then
# that of $J$ on the hundred points. A click on a box shows the line of the program that it comes from.

# %%
show(tg.draw(loss_of_one, *weights, values=True, gradients=True), "04_loss_of_one")
show(tg.draw(J, stages[0], X, one_hot, values=True, gradients=True), "04_loss")

# %% [markdown]
# The same fifty lines on the hundred points, with matrices:

# %%
graph = tg.make_graph(lambda W, b: J({"W": W, "b": b}, X, one_hot))(stages[0]["W"], stages[0]["b"])
print(graph)
value, (W_bar, b_bar) = gradient_of(graph, stages[0]["W"], stages[0]["b"])
expected = slope(stages[0], X, one_hot)
print(f"J = {value:.3f}\nours:      {W_bar.round(3).tolist()}, {b_bar.round(3)}")
print(f"tracegrad: {expected['W'].round(3).tolist()}, {expected['b'].round(3)}")
assert np.allclose(W_bar, expected["W"], rtol=1e-10) and np.allclose(b_bar, expected["b"], rtol=1e-10)

# By hand: the cotangent of the scores is claimed minus observed (chapter 3), and then the rule for the matrix product.
s = scores(stages[0], X)
claimed = np.exp(s) / np.sum(np.exp(s), axis=1, keepdims=True)
assert np.allclose(W_bar, X.T @ (claimed - one_hot)) and np.allclose(b_bar, np.sum(claimed - one_hot, axis=0))

# %% [markdown]
# The perceptron's gradient has been found in three ways: by our own fifty lines, by the library, and by
# the formula that one finds with pencil and paper. (`tracegrad` goes one step further, as chapter 0 did. Its rules do
# not compute numbers; they write operations into a new graph. That is why the gradient can be printed, compiled and
# differentiated again.)
#
# ## Check every rule
#
# A wrong rule is a treacherous fault: descent often still works, only worse. So every rule is held against differences.
# `tg.testing.check_grads` does this along random directions with well chosen steps. To hand it *our* rules, each is
# wrapped in `tg.custom_vjp`, which makes a function with a derivative of our own.


# %%
def with_rule(evaluate, rule, **params):
    """A function that is evaluated by `evaluate` and differentiated by `rule`."""

    @tg.custom_vjp
    def wrapped(*inputs):
        return evaluate(*inputs, **params)

    def forward(*inputs):
        out = evaluate(*inputs, **params)
        return out, (out, inputs)

    def backward(kept, ct):
        out, inputs = kept
        return tuple(rule(ct, out, *inputs, **params))

    wrapped.defvjp(forward, backward)
    return wrapped


def examples(name):
    """Inputs to try a rule on, and the parameters of the operation."""
    r = np.random.default_rng(0)
    if name == "matmul":
        return (r.normal(size=(3, 4)), r.normal(size=(4, 2))), {}
    if name == "sum":
        return (r.normal(size=(3, 4)),), {"axes": (1,), "keepdims": False}
    if name in ("add", "subtract", "multiply", "divide"):
        return (r.normal(size=(3, 4)), 1.5 + r.uniform(size=(1, 4))), {}  # broadcast, and nothing divided by 0
    return (0.5 + r.uniform(size=(3, 4)),), {}


for name, (evaluate, rule) in RULES.items():
    inputs, parameters = examples(name)
    tg.testing.check_grads(with_rule(evaluate, rule, **parameters), inputs, order=1, modes="rev")
print(f"{len(RULES)} rules agree with difference quotients: {', '.join(RULES)}")

planted = with_rule(np.sin, lambda ct, out, a: (-ct * np.cos(a),))  # a wrong sign
try:
    tg.testing.check_grads(planted, (np.array([0.5, 1.0]),), order=1, modes="rev")
except tg.testing.GradientError as error:
    print(error)
else:
    raise AssertionError("the planted wrong sign was not found")

# %% [markdown]
# ## What it costs
#
# A backward pass visits each operation once, and a rule costs about as much as its operation does, once for each input.
# So the whole gradient costs a few evaluations of the function, **however many inputs there are**. Differences cost two
# evaluations for each input.

# %%
inputs_many = np.random.default_rng(0).normal(size=1000)


def many(x):
    return np.sum(np.sin(x) * x + np.exp(-(x**2)))


def by_differences(f, x, h=1e-5):
    return np.array([(f(x + step) - f(x - step)) / (2 * h) for step in h * np.eye(len(x))])


reverse = tg.grad(many)
assert np.allclose(reverse(inputs_many), by_differences(many, inputs_many), atol=1e-5)


def seconds(function, repeats):
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return min(taken)


one_pass = seconds(lambda: reverse(inputs_many), 20)
differences = seconds(lambda: by_differences(many, inputs_many), 2)
print(
    f"1,000 inputs: reverse pass {one_pass * 1e3:.2f} ms, differences {differences * 1e3:.1f} ms, {differences / one_pass:.0f} ×"
)
assert quick or differences / one_pass > 50

of_function = len(tg.make_graph(many)(inputs_many).eqns)
of_gradient = len(tg.make_graph(tg.value_and_grad(many))(inputs_many).eqns)
print(f"operations: {of_function} of the function, {of_gradient} of the function and its gradient together")
assert of_gradient <= 4 * of_function

# %% [markdown]
# ## Forward or backward?
#
# For a chain of functions $L = f_3(f_2(f_1(x)))$ the chain rule is a product of matrices of partial derivatives
# (**Jacobians**), $J_3\,J_2\,J_1$. It may be multiplied from either end, and the result is the same. The cost is not. A
# product of an $a\times b$ matrix by a $b\times c$ matrix takes $abc$ multiplications.


# %%
def multiplications(shapes, order):
    """Of a product of matrices with these shapes, left to right ("reverse") or right to left ("forward")."""
    if order == "forward":  # the transposed product takes as many, and is read from its other end
        shapes = [shape[::-1] for shape in reversed(shapes)]
    (rows, columns), total = shapes[0], 0
    for _, next_columns in shapes[1:]:
        total += rows * columns * next_columns
        columns = next_columns
    return total


n = 1000
one_output = [(1, n), (n, n), (n, n)]  # n inputs, one result: the loss of a network
one_input = [(n, n), (n, n), (n, 1)]  # one input, n results
for name, shapes in (("n inputs, 1 result", one_output), ("1 input, n results", one_input)):
    print(f"{name}: reverse {multiplications(shapes, 'reverse'):,}, forward {multiplications(shapes, 'forward'):,}")
assert multiplications(one_output, "reverse") == multiplications(one_input, "forward") == 2 * n**2
assert multiplications(one_output, "forward") == multiplications(one_input, "reverse") == n**3 + n**2

# %% [markdown]
# **Reverse mode for one result of many inputs, forward mode for many results of one input.** A loss is one result of
# many inputs: that is why training goes backward. The library has both, and its graphs show the difference in their
# shapes. Here a function of six inputs: in reverse, single rows are multiplied (`f64[1,6]`); forward, whole matrices
# (`f64[6,6]`).

# %%
A, w = np.random.default_rng(0).normal(size=(6, 6)), np.ones(6)


def chain(x):
    return w @ np.tanh(A @ np.tanh(A @ x))


backward, forward = tg.make_graph(tg.jacrev(chain))(w), tg.make_graph(tg.jacfwd(chain))(w)
print(backward, forward, sep="\n")
assert np.allclose(tg.jacrev(chain)(w), tg.jacfwd(chain)(w))


def numbers(graph):
    """How many numbers a graph computes in all."""
    return sum(math.prod(v.type.shape) for eqn in graph.eqns for v in eqn.outputs)


print(f"numbers computed: reverse {numbers(backward)}, forward {numbers(forward)}")
assert numbers(backward) < numbers(forward)

# %% [markdown]
# The price of reverse mode is memory: the values of the forward pass have to be kept until the backward pass has used
# them.
#
# ## Exercises
#
# The solutions are in `solutions/s04_descent.py`.


# %%
def softmax_rule(ct, out):
    """The rule for softmax. `out` is the softmax of scores along the last axis, `ct` its cotangent, both (n, K).

    Return the cotangent of the scores. From chapter 3: ∂p_k/∂s_j = p_k (δ_kj - p_j). Do not build the K × K matrices.
    """
    raise NotImplementedError


def check_softmax_rule(softmax_rule):
    def softmax(s):
        return np.exp(s) / np.sum(np.exp(s), axis=-1, keepdims=True)

    r = np.random.default_rng(0)
    s, ct = r.normal(size=(4, 3)), r.normal(size=(4, 3))
    found = softmax_rule(ct, softmax(s))
    assert np.shape(found) == (4, 3), "the cotangent of the scores has their shape"
    assert np.allclose(found, tg.grad(lambda s: np.sum(ct * softmax(s)))(s))


attempt(check_softmax_rule, softmax_rule)


# %%
def fan_out(x, n):
    """Let y₁ = x and yₖ = yₖ₋₁ · x, so that yₙ = xⁿ. Each yₖ uses x, so that x is used n - 1 times and once more as y₁.

    Return dyₙ/dx by backpropagation: keep the yₖ, go backward from ȳₙ = 1, and add up what arrives at x. Do not use n xⁿ⁻¹.
    The numbers x may be an array.
    """
    raise NotImplementedError


def check_fan_out(fan_out):
    x = np.array([-1.5, 0.0, 2.0])
    for n in (1, 2, 5):
        assert np.allclose(fan_out(x, n), n * x ** (n - 1)), f"wrong for n = {n}"


attempt(check_fan_out, fan_out)


# %%
def find_wrong(rules):
    """A dict like RULES, in which some rules are wrong. Return the set of their names. `examples` and `with_rule` are above."""
    raise NotImplementedError


def check_find_wrong(find_wrong):
    assert find_wrong(RULES) == set(), "all of these are right"
    _, tanh = RULES["tanh"]
    _, divide = RULES["divide"]
    wrong = RULES | {
        "tanh": (np.tanh, lambda ct, out, a: (-tanh(ct, out, a)[0],)),  # a wrong sign
        "divide": (np.divide, lambda ct, out, a, b: (divide(ct, out, a, b)[0], summed_to(ct * out / b, b))),
    }
    assert find_wrong(wrong) == {"tanh", "divide"}


attempt(check_find_wrong, find_wrong)


# %%
def through_sigmoids(x, depth):
    """The sigmoid σ applied `depth` times to the number x. Return its derivative as a product of slopes: σ' = σ (1 - σ).

    A slope of σ is at most 1/4. So through 20 sigmoids at most 0.25²⁰, about 1e-12, is left of a cotangent: it **vanishes**.
    """
    raise NotImplementedError


def check_through_sigmoids(through_sigmoids):
    def repeated(x, depth):
        for _ in range(depth):
            x = 1 / (1 + np.exp(-x))
        return x

    for x, depth in ((0.3, 1), (-2.0, 5), (0.0, 20)):
        derivative = through_sigmoids(x, depth)
        assert np.isclose(derivative, tg.grad(repeated)(x, depth), rtol=1e-9, atol=0)
        assert 0 < derivative <= 0.25**depth


attempt(check_through_sigmoids, through_sigmoids)

# %% [markdown]
# ## Three questions
#
# 1. The step size is doubled, and $J$ goes to infinity. Does that mean that the gradient is wrong?
#
# <details><summary>Answer</summary>
#
# Not necessarily. Beyond $\eta = 2/c$, where $c$ is the largest curvature, every step overshoots by more than it gains,
# with a perfectly right gradient. Check the gradient by differences, then halve the step.
#
# </details>
#
# 2. Why does backpropagation go through the operations in reverse, and not in the order of evaluation?
#
# <details><summary>Answer</summary>
#
# A cotangent is a sum over all later operations that use the value. Only when all of these have been visited is the sum
# complete. In reverse order it always is.
#
# </details>
#
# 3. A function has 3 inputs and 10,000 results, and all derivatives are wanted. Which mode?
#
# <details><summary>Answer</summary>
#
# Forward. It takes one pass for each input, so three; reverse takes one for each result. (`tg.jacfwd` does the three
# together.)
#
# </details>
