# %% [markdown]
# # 2. Perceptrons
#
# **After this chapter you can** classify points by a line, turn scores into probabilities, and say what a single perceptron cannot do.
#
# Classification means to say to which of a few classes something belongs: whether a picture shows a cat, whether a message is spam. What is given is a list of numbers (brightness of pixels, counts of words), that is, a
# point in space. We begin with two classes in the plane, where everything can be seen.

# %%
import matplotlib.pyplot as plt
import numpy as np
from course import attempt, draw_graph, quick, show

import tracegrad as tg

rng = np.random.default_rng(0)
red = rng.normal(size=(50, 2)) - 2
blue = rng.normal(size=(50, 2)) + 2
points = np.concatenate([red, blue])
is_blue = np.repeat([False, True], 50)

# %% [markdown]
# Fifty red points lie around $(-2, -2)$, fifty blue ones around $(2, 2)$. A line is drawn between them, and whatever lies to one side of it is called blue. How does one write down a line and its two sides?
#
# ## A line as a classifier
#
# Take a vector $w$ and a number $b$. For each point $x$ there is the **score**
#
# $$ s(x) = w \cdot x + b = w_1 x_1 + w_2 x_2 + b . $$
#
# The points with $s(x) = 0$ form a line: $w$ is perpendicular to it. On the side to which $w$ points, the score is positive, on the other negative. More precisely, a step of length 1 in the direction of $w$ changes the score by $|w|$, so that
# $s(x) / |w|$ is the **distance** of $x$ from the line, with a sign for the side.
#
# The vector $w$ says how much each of the numbers counts, so its entries are called **weights**; $b$ is the **bias**, which moves the line away from the origin.
#
# With $w = (1, 1)$ and $b = 0$ the line is $x_1 + x_2 = 0$, and a point is called blue if $x_1 + x_2 > 0$. This was guessed by looking at the picture.


# %%
def score(w, b, x):
    """w · x + b. For several points, x has a row for each, and so many scores come out."""
    return x @ w + b


w, b = np.array([1.0, 1.0]), 0.0
accuracy = np.mean((score(w, b, points) > 0) == is_blue)
print(f"accuracy: {accuracy:.2f}")
assert accuracy == 1.0

assert np.isclose(score(w, b, np.array([1.0, 1.0])) / np.linalg.norm(w), np.sqrt(2))  # (1, 1) is √2 from the line


def scatter(axes, points, is_blue):
    axes.scatter(*points[~is_blue].T, c="#c0392b", s=22, edgecolor="white", linewidth=0.5, label="red", zorder=3)
    axes.scatter(
        *points[is_blue].T, c="#2471a3", s=22, edgecolor="white", linewidth=0.5, label="blue", marker="s", zorder=3
    )


figure, axes = plt.subplots(figsize=(5, 4.6))
scatter(axes, points, is_blue)
axes.axline((0, 0), slope=-1, color="black", lw=1.5, label="w · x + b = 0")
axes.annotate("", (1, 1), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.5})
axes.text(1.05, 0.55, "w")
axes.set(xlabel="x₁", ylabel="x₂", xlim=(-5, 6.5), ylim=(-5, 6.5), aspect="equal")
axes.legend(loc="upper right")
show(figure, "02_line")

# %% [markdown]
# The accuracy, the fraction of points that get their right colour, is 1.
#
# ## From a score to a probability
#
# A point far on the blue side is blue without doubt. One close to the line could well be of the other kind. So a classifier should not only decide but say how sure it is: we want a probability $p$ that the point is blue, between 0 and 1, which
# is ½ on the line and grows with the score.
#
# Probabilities that a bet is about are often given as *odds*: $p / (1 - p)$, as in "three to one". Odds go from 0 to infinity, and their logarithm over all numbers. So let the score be the logarithm of the odds,
#
# $$ s = \ln \frac{p}{1 - p} , $$
#
# and solve for $p$. Multiplying out, $e^s (1 - p) = p$, hence $p = e^s / (1 + e^s)$, or
#
# $$ p = \sigma(s) = \frac{1}{1 + e^{-s}} . $$
#
# This is the **sigmoid**. Each unit of score multiplies the odds by $e \approx 2.7$.
#
# The slope of the curve will matter later. `tg.grad(f)` is the derivative of the function `f`, as a function again; `tg.vmap(f)` applies `f` to each
# entry of an array.


# %%
def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def probability_of_blue(w, b, x):
    """The perceptron."""
    return sigmoid(score(w, b, x))


p = probability_of_blue(w, b, np.array([3.0, 2.0]))
print(f"the point (3, 2) has the score 5 and is blue with probability {p:.6f}")
assert np.isclose(p, 0.993307, atol=5e-7)

s = np.linspace(-6, 6, 121)
assert np.allclose(sigmoid(-s), 1 - sigmoid(s))  # what is not blue is red: the same curve from the other side
assert np.allclose(tg.vmap(tg.grad(sigmoid))(s), sigmoid(s) * (1 - sigmoid(s)))  # its slope

figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(s, sigmoid(s), lw=2)
axes.plot(s, 0.5 + s / 4, color="grey", lw=1, ls="--", label="slope ¼ at 0")
axes.axhline(0.5, color="lightgrey", lw=0.8, zorder=0)
axes.axvline(0, color="lightgrey", lw=0.8, zorder=0)
axes.set(xlabel="score s", ylabel="probability σ(s)", ylim=(-0.05, 1.05))
axes.legend()
show(figure, "02_sigmoid")

# %% [markdown]
# Two facts that will be needed again are asserted above: $\sigma(-s) = 1 - \sigma(s)$, and the slope is $\sigma'(s) = \sigma(s)\,(1 - \sigma(s))$. It is ¼ at the most, and nearly zero far out on both sides.
#
# The score, the sigmoid, and a decision at ½: that is a **perceptron**, the only building block that we shall need. (The first ones had no sigmoid, only the decision.) Here it is as a graph, and drawn for the point (3, 2). The point goes in (grey), the parameters are blue, and each arrow carries its value.

# %%
graph = tg.make_graph(probability_of_blue)(w, np.float64(b), np.array([3.0, 2.0]))
print(graph)


def values_of(graph, *arguments):
    """The forward pass, as in chapter 1."""
    values = dict(zip(graph.inputs, arguments, strict=True))
    for eqn in graph.eqns:
        operands = [v.value if hasattr(v, "value") else values[v] for v in eqn.inputs]
        values[eqn.outputs[0]] = getattr(np, eqn.op.name)(*operands)
    return values


values = values_of(graph, w, b, np.array([3.0, 2.0]))
assert np.isclose(values[graph.outputs[0]], p)

figure, axes = plt.subplots(figsize=(10, 2.8))
draw_graph(
    axes,
    graph,
    lambda v: np.array2string(np.asarray(values[v]), precision=3),
    "a perceptron at the point (3, 2)",
    parameters="wb",
)
show(figure, "02_perceptron")

# %% [markdown]
# The same as the library draws it, as a page for a browser, with the operations of each function in a frame, and with one thing more: the orange number
# after ∂ is the derivative of the probability with respect to the blue one above it. At the bias it is $\sigma(5)\,(1 - \sigma(5)) = 0.00665$: if the bias grew by a little, the probability would grow by 0.00665 times as much. Where these
# numbers come from is the subject of chapter 4.

# %%
show(tg.draw(probability_of_blue, w, np.float64(b), np.array([3.0, 2.0]), gradients=True), "02_perceptron_page")
by_bias = tg.grad(probability_of_blue, argnums=1)(w, b, np.array([3.0, 2.0]))
assert np.isclose(by_bias, sigmoid(5.0) * (1 - sigmoid(5.0))) and abs(by_bias - 0.00665) < 5e-6

# %% [markdown]
# And this is what it says of each point of the plane. The lines of equal probability are parallel to the line in the middle. Since $|w| = \sqrt 2$, the change from certainly red to certainly blue takes place within about three units on either side; a longer $w$
# would make it sharper, at the same place.

# %%
grid = np.stack(np.meshgrid(np.linspace(-5, 5, 201), np.linspace(-5, 5, 201)), axis=-1)
figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True)
for axes, scale in zip(panels, (1.0, 4.0), strict=True):
    shown = axes.pcolormesh(
        grid[..., 0], grid[..., 1], probability_of_blue(scale * w, b, grid), cmap="RdBu", vmin=0, vmax=1, alpha=0.6
    )
    scatter(axes, points, is_blue)
    axes.axline((0, 0), slope=-1, color="black", lw=1)
    axes.set(xlabel="x₁", title=f"w = ({scale:g}, {scale:g})", xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
panels[0].set_ylabel("x₂")
figure.colorbar(shown, ax=panels, label="probability of blue", shrink=0.8)
show(figure, "02_plane")

# %% [markdown]
# Which length is right? Both have accuracy 1. The question cannot be answered by counting mistakes, and chapter 3 is about what to ask in its place.
#
# ## More than two classes: softmax
#
# With three classes each gets a score of its own, $s_c = w_c \cdot x + b_c$. Written together, the vectors $w_c$ are the columns of a matrix $W$, and
#
# $$ s = x W + b . $$
#
# To make probabilities of them: take exponentials, so that all are positive, and divide by their sum, so that they add up to 1. This is **softmax**:
#
# $$ p_c = \frac{e^{s_c}}{\sum_k e^{s_k}} . $$
#
# As written here it is not fit for a computer.


# %%
def naive_softmax(s):
    return np.exp(s) / np.sum(np.exp(s), axis=-1, keepdims=True)


with np.errstate(over="ignore", invalid="ignore"):  # NumPy would warn
    broken = naive_softmax(np.array([1000.0, 0.0]))
print("naive softmax of [1000, 0]:", broken)
assert np.isnan(broken[0]) and broken[1] == 0.0

# %% [markdown]
# $e^{1000}$ is larger than any floating-point number: it becomes infinity, and infinity divided by infinity is not a number (NaN). The way out is a property of the formula. If the same number $m$ is subtracted from all scores, numerator and denominator are both multiplied by $e^{-m}$, and the
# probabilities stay as they are. Subtract the largest score: then the largest exponent is 0, and nothing overflows.


# %%
def softmax(s):
    """Probabilities from scores, along the last axis."""
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


assert np.array_equal(softmax(np.array([1000.0, 0.0])), [1.0, 0.0])
scores = rng.normal(size=(20, 3))
assert np.allclose(softmax(scores), naive_softmax(scores), rtol=1e-13)
assert np.allclose(softmax(scores + 7.0), softmax(scores), rtol=1e-13)
assert np.allclose(np.sum(softmax(scores), axis=1), 1.0)

# %% [markdown]
# Two classes are no special case. Our perceptron as one with two scores, $x_1 + x_2$ for blue and $-(x_1 + x_2)$ for red:

# %%
W = np.array([[1.0, -1.0], [1.0, -1.0]])
both = softmax(points @ W)  # a row for each point; blue, red
accuracy = np.mean((np.argmax(both, axis=1) == 0) == is_blue)
assert accuracy == 1.0
assert np.allclose(both[:, 0], sigmoid(2 * score(w, b, points)), rtol=1e-12)  # only the difference of the scores counts

# %% [markdown]
# ## Where softmax comes from
#
# Softmax may look like one of many ways to make positive numbers that add up to 1. But there is a situation in which it is exactly right. Let the points of class $c$ be scattered around a centre $m_c$ by a normal distribution, of the same width in all directions and for all classes, say 1; and let all classes be equally frequent. Then the
# density of class $c$ at $x$ is proportional to $e^{-|x - m_c|^2 / 2}$, and Bayes' rule says
#
# $$ P(c \mid x) = \frac{e^{-|x - m_c|^2/2}}{\sum_k e^{-|x - m_k|^2/2}} . $$
#
# Multiply out the square: $-\tfrac12 |x - m_c|^2 = m_c \cdot x - \tfrac12 |m_c|^2 - \tfrac12 |x|^2$. The last term is the same for all classes and cancels. What is left is softmax of scores with $w_c = m_c$ and $b_c = -\tfrac12 |m_c|^2$.

# %%
centres = np.array([[0.0, 2.0], [-1.8, -1.0], [1.8, -1.0]])
labels = np.repeat(np.arange(3), 60)
three = centres[labels] + rng.normal(size=(180, 2))

W3, b3 = centres.T, -np.sum(centres**2, axis=1) / 2
densities = np.exp(-np.sum((three[:, None] - centres) ** 2, axis=2) / 2)
bayes = densities / np.sum(densities, axis=1, keepdims=True)
assert np.allclose(softmax(three @ W3 + b3), bayes, rtol=1e-12)

accuracy = np.mean(np.argmax(three @ W3 + b3, axis=1) == labels)
print(f"three overlapping classes: accuracy {accuracy:.3f}, and nobody can do better in the long run")
assert 0.85 < accuracy < 1.0

colours = np.array([[0.75, 0.22, 0.17], [0.14, 0.44, 0.64], [0.2, 0.6, 0.3]])
mixed = 1 - 0.55 * (
    1 - softmax(grid @ W3 + b3) @ colours
)  # each pixel's colours in the proportions of its probabilities
figure, axes = plt.subplots(figsize=(5, 4.6))
axes.imshow(mixed, extent=(-5, 5, -5, 5), origin="lower")
for c, marker in enumerate("osD"):
    axes.scatter(
        *three[labels == c].T,
        color=colours[c],
        marker=marker,
        s=20,
        edgecolor="white",
        linewidth=0.5,
        label=f"class {c}",
    )
axes.set(xlabel="x₁", ylabel="x₂", title="three classes by softmax", xlim=(-5, 5), ylim=(-5, 5))
axes.legend(loc="upper left", frameon=True)
show(figure, "02_three")

# %% [markdown]
# The borders between two classes are straight lines again, since there $s_c = s_k$, which is a linear equation in $x$.
#
# ## The perceptron algorithm of 1958
#
# So far the line was guessed, or computed from knowledge of how the points were made. Frank Rosenblatt's perceptron *learns* it from examples, in the simplest way that one can think of. Let the class be $y = 1$ for blue and $y = -1$ for red. Begin with $w = 0$, $b = 0$. Look at one point after
# the other. If its score has the right sign, do nothing. If not, move the weights towards it, or away from it:
#
# $$ w \leftarrow w + y\,x , \qquad b \leftarrow b + y . $$
#
# The score of that very point then changes by $y\,(|x|^2 + 1)$, that is, in the right direction. Go through all points again and again, until a pass has no mistake.


# %%
def perceptron_algorithm(points, classes, passes):
    """w, b, and the number of mistakes in each pass. Stops after a pass without any."""
    w, b, mistakes = np.zeros(2), 0.0, []
    for _ in range(passes):
        mistakes.append(0)
        for x, y in zip(points, classes, strict=True):
            if y * (w @ x + b) <= 0:
                w, b = w + y * x, b + y
                mistakes[-1] += 1
        if mistakes[-1] == 0:
            break
    return w, b, mistakes


classes = np.where(is_blue, 1, -1)
w_learnt, b_learnt, mistakes = perceptron_algorithm(points, classes, passes=100)
print("mistakes in each pass:", mistakes)
assert mistakes[-1] == 0 and len(mistakes) == 2
assert np.mean((score(w_learnt, b_learnt, points) > 0) == is_blue) == 1.0

for seed in range(5):
    other = np.random.default_rng(seed)
    again = np.concatenate([other.normal(size=(50, 2)) - 2, other.normal(size=(50, 2)) + 2])
    found = perceptron_algorithm(again, classes, passes=100)[2]
    assert found[-1] == 0 and len(found) <= 3

# %% [markdown]
# No mistake in the second pass. It is no luck that it ends. Write $b$ as one more weight, of a coordinate that is always 1, and suppose that *some* line separates the classes: there is a vector $u$ of length 1 such that $y\,(u \cdot x) \ge \gamma > 0$ for all points. Let $R$ be the length of the longest
# of these extended points. Each mistake
#
# - makes $w \cdot u$ larger by $y\,(x \cdot u) \ge \gamma$;
# - makes $|w|^2$ larger by $2 y\,(w \cdot x) + |x|^2 \le R^2$, since $y\,(w \cdot x) \le 0$: it was a mistake.
#
# So after $k$ mistakes $k \gamma \le w \cdot u \le |w| \le \sqrt{k}\, R$, hence $k \le (R / \gamma)^2$. The number of mistakes is finite, however often one goes through the points. For the line that we guessed:

# %%
extended = np.concatenate([points, np.ones((100, 1))], axis=1)
u = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
gamma, R = np.min(classes * (extended @ u)), np.max(np.linalg.norm(extended, axis=1))
print(f"at most {(R / gamma) ** 2:.0f} mistakes; it made {sum(mistakes)}")
assert gamma > 0 and sum(mistakes) <= (R / gamma) ** 2

# %% [markdown]
# ## What a perceptron cannot do
#
# The proof needs a line that separates. Now four small clusters at the corners of a square, of which opposite ones have the same colour. The problem is called **XOR**, "exclusive or": red is where exactly one of the coordinates is 1.
#
# No line separates the corners. Red at $(0, 1)$ and $(1, 0)$ asks for $w_2 + b < 0$ and $w_1 + b < 0$, which add up to $w_1 + w_2 + 2 b < 0$. Blue at $(0, 0)$ and $(1, 1)$ asks for $b > 0$ and $w_1 + w_2 + b > 0$, which add up to $w_1 + w_2 + 2b > 0$.

# %%
rng = np.random.default_rng(0)
corners = np.repeat([[0, 0], [1, 1], [0, 1], [1, 0]], 25, axis=0)
xor = 0.2 * rng.normal(size=(100, 2)) + corners
xor_is_blue = np.repeat([True, False], 50)

passes = 100 if quick else 1000
w_xor, b_xor, xor_mistakes = perceptron_algorithm(xor, np.where(xor_is_blue, 1, -1), passes)
accuracy = np.mean((score(w_xor, b_xor, xor) > 0) == xor_is_blue)
print(f"mistakes in pass {passes}: {xor_mistakes[-1]}; the line that is left has an accuracy of {accuracy:.2f}")
assert len(xor_mistakes) == passes and min(xor_mistakes) > 0
assert quick or xor_mistakes[-1] == 10
assert accuracy < 0.7


def best_line(points, is_blue, angles=360):
    """The largest accuracy that any line reaches, with its direction and threshold: tries directions, and all places in each."""
    best = (0.0, None, None)
    for angle in np.linspace(0, 2 * np.pi, angles, endpoint=False):
        direction = np.array([np.cos(angle), np.sin(angle)])
        along = points @ direction
        cuts = np.sort(along) + 1e-9
        right = np.mean((along[None, :] > cuts[:, None]) == is_blue, axis=1)
        if np.max(right) > best[0]:
            best = (np.max(right), direction, cuts[np.argmax(right)])
    return best


reached, direction, cut = best_line(xor, xor_is_blue, angles=90 if quick else 360)
print(f"the best of all lines has {reached:.2f}")
assert 0.7 < reached < 0.8

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4))
scatter(left, xor, xor_is_blue)
left.axline(cut * direction, cut * direction + [-direction[1], direction[0]], color="black", lw=1.2)
left.set(
    xlabel="x₁",
    ylabel="x₂",
    aspect="equal",
    xlim=(-0.7, 1.6),
    ylim=(-0.7, 1.6),
    title=f"XOR, and the best line: {reached:.0%} right",
)
right.plot(np.arange(1, 101), xor_mistakes[:100], color="#7d3c98", label="XOR")
right.plot(np.arange(1, len(mistakes) + 1), mistakes, "o-", color="black", label="the two clusters")
right.set(xlabel="pass", ylabel="mistakes", title="the perceptron algorithm", ylim=(-0.5, None))
right.legend()
show(figure, "02_xor")

# %% [markdown]
# The algorithm never comes to rest. (A pass has few mistakes, since the points come sorted by colour: after a few mistakes the line is right for the rest of that colour, and wrong for the other.) The best of all lines gets three corners right and one wrong: 75 %.
#
# This, shown in a book by Minsky and Papert in 1969, put an end to the first enthusiasm. The way out is to let several perceptrons draw several lines, and another one decide by their answers. But it was not clear how to *train* such a thing, as the
# algorithm above says nothing about perceptrons in the middle, of which no right answer is known. Chapters 3 and 4 prepare what is needed; chapter 5 solves XOR.
#
# ## Exercises
#
# **1. The geometry of w and b.** Find the line through two given points.


# %%
def line_through(p, q):
    """w of length 1 and b, such that the score is 0 at p and at q, and positive to the left of who walks from p to q."""
    raise NotImplementedError


def check_line_through(line_through):
    for p, q in [((0.0, 0.0), (1.0, 0.0)), ((1.0, 2.0), (4.0, 6.0)), ((-1.0, 3.0), (-1.0, -2.0))]:
        p, q = np.array(p), np.array(q)
        w, b = line_through(p, q)
        assert np.isclose(np.linalg.norm(w), 1), f"w = {w} has the length {np.linalg.norm(w):.3f}"
        assert np.allclose([w @ p + b, w @ q + b], 0), "the score is 0 on the line"
        left = p + np.array([-(q - p)[1], (q - p)[0]])
        assert np.isclose(w @ left + b, np.linalg.norm(q - p)), "left of the line the score is the distance from it"


attempt(check_line_through, line_through)

# %% [markdown]
# **2. Sigmoid is softmax of two.** A softmax of two classes has the weights $W$ (2 × 2, a column for each class) and $b$ (two numbers). Which single perceptron gives the same probability for the first class?


# %%
def as_one_perceptron(W, b):
    """w (a vector) and one number, such that sigmoid(x · w + number) is softmax(x W + b)'s first entry, for all x."""
    raise NotImplementedError


def check_as_one_perceptron(as_one_perceptron):
    rng = np.random.default_rng(1)
    W, b, x = rng.normal(size=(2, 2)), rng.normal(size=2), rng.normal(size=(30, 2))
    w, number = as_one_perceptron(W, b)
    assert np.shape(w) == (2,) and np.shape(number) == ()
    assert np.allclose(sigmoid(x @ w + number), softmax(x @ W + b)[:, 0])


attempt(check_as_one_perceptron, as_one_perceptron)

# %% [markdown]
# **3. Temperature.** Softmax of $s / T$ is more decided for small $T$ and less for large. Programs that write texts offer it as a setting. It has to work for a very small temperature as well, where $s / T$ is huge.


# %%
def softmax_at(s, temperature):
    """Softmax of s / temperature, for a vector s and any temperature above 0."""
    raise NotImplementedError


def check_softmax_at(softmax_at):
    s = np.array([1.0, 2.0, 4.0])
    assert np.allclose(softmax_at(s, 1.0), softmax(s)), "at 1 it is softmax"
    assert np.allclose(softmax_at(s, 1e6), 1 / 3, atol=1e-5), "when hot, all classes are alike"
    assert np.allclose(softmax_at(s, 1e-6), [0, 0, 1]), "when cold, the largest score takes all"
    assert np.isclose(softmax_at(s, 2.0)[2] / softmax_at(s, 2.0)[0], np.exp(3 / 2)), "the odds are e^(difference / T)"


attempt(check_softmax_at, softmax_at)

# %% [markdown]
# ## Questions
#
# **Which classifiers have the same line as $w = (1, 1)$, $b = 0$? Which of them give the same probabilities?**
#
# <details><summary>Answer</summary>
#
# All positive multiples: $w = (k, k)$, $b = 0$ with $k > 0$. (Negative ones have the same line but swap the colours.) The probabilities are the same only for $k = 1$: the length of $w$ says how sure the classifier is.
#
# </details>
#
# **A perceptron has a score of −2 for a point. How probable is it that the point is blue, and what are the odds?**
#
# <details><summary>Answer</summary>
#
# The odds are $e^{-2} \approx 0.135$, about one to seven. The probability is $\sigma(-2) = 0.135 / 1.135 \approx 0.119$.
#
# </details>
#
# **Softmax has one set of weights for each class, and sigmoid for two classes only one. Are the two sets wasted?**
#
# <details><summary>Answer</summary>
#
# One of them is: adding the same vector to all $w_c$ adds the same number to all scores, which changes nothing. So $k$ classes need only $k - 1$ sets. One keeps all $k$ since then no class is a special case.
#
# </details>
