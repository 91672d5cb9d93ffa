# %% [markdown]
# # 3. The training criterion
#
# **After this chapter you can** say which number a classifier is trained to make small, derive that number from
# probability, and read off its surface whether there is a best line at all.
#
# In chapter 2 a perceptron told red points from blue ones. Its weights were guessed, or found by Rosenblatt's rule,
# which never comes to rest where no line is perfect, and cannot say how sure to be. From here on they are to be
# *computed*. For that we need one number that says how badly given weights do: the **training criterion**, also called
# the **loss**. Training is then a problem of calculus: find the weights for which the number is smallest. This chapter
# chooses the number. Chapter 4 finds the smallest value.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
from course import attempt, show
from matplotlib.colors import LogNorm

import tracegrad as tg

# %% [markdown]
# ## The points, and a guess
#
# There are $n = 100$ points in the plane, fifty of each colour. Point $i$ is a row $x_i$ of the matrix $X$, of shape
# $(n, 2)$. Its **label** $y_i$ is its class as an integer: 0 for blue, 1 for red. As in chapter 2, the perceptron gives
# each point two **scores**, one a class,
#
# $$s_i = x_i W + b,\qquad W \text{ of shape } (2, 2),\quad b \text{ of shape } (2,),$$
#
# and the softmax makes probabilities of them: $p_{ik} = e^{s_{ik}} / \sum_j e^{s_{ij}}$ is the probability that the
# perceptron gives to class $k$ for point $i$. The parameters $W$ and $b$ are kept in a dict, so that a loss is a function
# of one dict. The guess of chapter 2 was $W = \begin{pmatrix}1 & -1\\ 1 & -1\end{pmatrix}$, $b = (0, 0)$.

# %%
rng = np.random.default_rng(0)
red = rng.normal(size=(50, 2)) - 2
blue = rng.normal(size=(50, 2)) + 2
X = np.concatenate([blue, red])
y = np.repeat([0, 1], 50)

guess = {"W": np.array([[1.0, -1.0], [1.0, -1.0]]), "b": np.zeros(2)}


def scores(params, X):
    """Two scores for each point, (n, 2)."""
    return X @ params["W"] + params["b"]


# %% [markdown]
# ## Why not count the mistakes?
#
# What we want in the end is few mistakes. So the first idea is to take the number of mistakes itself as the criterion:
# the perceptron decides for the class with the larger score, and we count how often that is not the label.


# %%
def mistakes(params, X, y):
    """The share of points whose larger score is not that of their class."""
    return np.mean(np.argmax(scores(params, X), axis=1) != y)


print(f"share of mistakes with the guess: {mistakes(guess, X, y)}")
assert mistakes(guess, X, y) == 0

# %% [markdown]
# To see what goes wrong, take points of which some do lie on the wrong side: the same two clusters, but nearer to each
# other and wider. The middles are at $\pm(1, 1)$ and the standard deviation is 2. There are 500 of each colour. Now turn
# the line through the origin. Its normal vector is $(\cos\theta, \sin\theta)$, and for each angle $\theta$ we count the
# mistakes. The picture shows the count in grey, and in colour the criterion that this chapter arrives at.

# %%
near_red = 2 * rng.normal(size=(500, 2)) - 1
near_blue = 2 * rng.normal(size=(500, 2)) + 1
X_near = np.concatenate([near_blue, near_red])
y_near = np.repeat([0, 1], 500)


def line(theta, scale=0.25):
    """Parameters whose line through the origin has the normal vector (cos θ, sin θ), with blue on its side."""
    normal = scale * math.sqrt(2) * np.stack([np.cos(theta), np.sin(theta)])
    return {"W": np.stack([normal, -normal], axis=1), "b": np.zeros(2)}


assert np.allclose(line(math.pi / 4, scale=1)["W"], guess["W"])  # the guess is this line at 45 degrees

# %% [markdown]
# The count is a staircase. It changes only where the line runs over a point; between two points it is **flat**. The
# derivative of a flat function is zero. So at almost every place the derivatives with respect to all the weights are
# zero, and nothing tells in which direction the weights should be moved. The library says the same. `tg.grad` gives
# zeros, and `tg.debug.why_zero` names the operation that cuts the parameters off: `argmax`, whose result jumps and is
# otherwise constant.

# %%
flat = tg.grad(mistakes)(line(0.0), X_near, y_near)
print(flat)
assert not np.any(flat["W"]) and not np.any(flat["b"])

why = tg.debug.why_zero(mistakes, line(0.0), X_near, y_near)
print(why)
assert [why[path].op for path in ("params['W']", "params['b']")] == ["argmax", "argmax"]

# %% [markdown]
# A useful criterion must therefore change a little when the weights change a little. The probabilities do. A mistake by
# a hair and a mistake by a mile count the same above; with probabilities they will not.
#
# ## Likelihood
#
# A perceptron with given weights makes a claim about each point: "with probability $p_{i0}$ it is blue, with
# probability $p_{i1}$ it is red". The label says what it was. So we can ask: **if the claims were true, how probable
# were the labels that we have seen?** For one point it is the probability of its own class, $p_{i\,y_i}$. The points
# were drawn independently of each other, so that the probabilities multiply:
#
# $$\mathcal L(W, b) = \prod_{i=1}^{n} p_{i\,y_i}.$$
#
# This is the **likelihood** of the parameters. The parameters to choose are those that make the observed labels most
# probable: **maximum likelihood**.
#
# A product of many numbers below 1 is awkward. It soon is smaller than any number that a computer holds, and the
# derivative of a product of $n$ factors has $n$ terms of $n$ factors. The logarithm mends both, because it turns the
# product into a sum. It is increasing, so the largest value stays at the same place. A minus sign makes the largest the
# smallest, as it is the custom to minimise:
#
# $$J(W, b) = -\ln \mathcal L(W, b) = -\sum_{i=1}^{n} \ln p_{i\,y_i}.$$

# %%
p_half = np.full(2000, 0.5)  # 2,000 points, to each of which the perceptron gives probability 1/2
print(f"likelihood {np.prod(p_half)}, minus its logarithm {-np.sum(np.log(p_half)):.3f}")
assert np.prod(p_half) == 0.0  # 0.5**2000 is too small for a 64-bit number
assert np.isclose(-np.sum(np.log(p_half)), 2000 * math.log(2))

# %% [markdown]
# Each point contributes $-\ln p$, where $p$ is the probability that was given to what was true. Probability 1 costs
# nothing. Probability ½ costs $\ln 2 = 0.693$. Whoever says "impossible" of something that happens pays without bound.

# %%
figure, axes = plt.subplots(figsize=(5.5, 3.6))
p = np.linspace(0.002, 1, 500)
axes.plot(p, -np.log(p))
for at in (0.01, 0.5, 0.9):
    axes.plot(at, -math.log(at), "o", color="C3")
    axes.annotate(f"p = {at}: {-math.log(at):.3f}", (at, -math.log(at)), xytext=(8, 6), textcoords="offset points")
axes.set(xlabel="probability p given to the true class", ylabel="cost  −ln p", xlim=(-0.02, 1.2), ylim=(-0.2, 6.5))
show(figure, "03_minus_log")

# %% [markdown]
# ## The same number under its usual name: cross-entropy
#
# Write the label of point $i$ as a row $c_i$ of zeros with a one at the place of its class (a **one-hot** vector). Then
# $\ln p_{i\,y_i} = \sum_k c_{ik} \ln p_{ik}$, since all terms but one vanish, and
#
# $$J = -\sum_i \sum_k c_{ik} \ln p_{ik}.$$
#
# For two probability distributions $q$ and $p$ over the same classes, the number $H(q, p) = -\sum_k q_k \ln p_k$ is
# called the **cross-entropy** of $p$ relative to $q$. So $J$ is a sum of cross-entropies, between what was the case
# ($c_i$) and what was claimed ($p_i$).
#
# Cross-entropy rewards honesty. Suppose that, at some place of the plane, 70 % of the points are blue and 30 % red:
# $q = (0.7, 0.3)$. Which claim $p$ costs least there, on average? *It is $p = q$.* For the proof use $\ln t \le t - 1$,
# with equality only for $t = 1$ (the logarithm lies below its tangent at 1):
#
# $$H(q, q) - H(q, p) = \sum_k q_k \ln\frac{p_k}{q_k} \le \sum_k q_k\left(\frac{p_k}{q_k} - 1\right)
# = \sum_k p_k - \sum_k q_k = 0.$$
#
# Hence $H(q, q) \le H(q, p)$ for every claim $p$, and equality holds only if all $p_k/q_k$ are 1. So a claim cannot be
# made cheaper by exaggerating or by hedging. That is why the outputs of a trained classifier can be read as
# probabilities, and we shall measure below that they can.
#
# In code one never takes the logarithm of a softmax in two steps: for scores like $(1000, 0)$ the exponential
# overflows. The logarithm of the quotient is $\ln p_k = s_k - \ln\sum_j e^{s_j}$. And in $\ln\sum_j e^{s_j}$ the
# largest score $m$ can be taken out, $= m + \ln\sum_j e^{s_j - m}$, after which no exponent is above 0.


# %%
def log_softmax(s):
    """Logarithms of the probabilities, for scores of shape (n, classes)."""
    m = np.max(s, axis=1, keepdims=True)
    return s - m - np.log(np.sum(np.exp(s - m), axis=1, keepdims=True))


def J(params, X, y):
    """The criterion: minus the logarithm of the likelihood, summed over the points."""
    log_p = log_softmax(scores(params, X))
    return -np.sum(log_p[np.arange(len(y)), y])


print(f"J of the guess: {J(guess, X, y):.5f}")
assert abs(J(guess, X, y) - 1.38873) < 1e-4
assert np.array_equal(log_softmax(np.array([[1000.0, 0.0]])), [[0.0, -1000.0]])  # the two-step way gives nan here

print(tg.make_graph(J)(guess, X, y))
show(tg.draw(J, guess, X, y, values=True, gradients=True), "03_loss")  # the same, as a page with values and gradients

# %% [markdown]
# The printed graph is the whole calculation, from the two parameters to one number: scores, the largest of each row,
# the exponentials, their sums and logarithms, the pick of each point's own class, the sum, the sign. Every operation in
# it but the maximum is smooth, and $J$ as a whole is smooth too: the maximum was only taken out and put back.
#
# Now the picture that was promised. The count of mistakes over the angle of the line, and cross-entropy per point.

# %%
angles = np.linspace(-math.pi, math.pi, 361)
counted = [mistakes(line(t), X_near, y_near) for t in angles]
smooth = [J(line(t), X_near, y_near) / len(y_near) for t in angles]

close = np.linspace(0.70, 0.74, 401)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
for axes, at in ((left, angles), (right, close)):
    other = axes.twinx()
    (grey,) = axes.plot(at, [mistakes(line(t), X_near, y_near) for t in at], color="0.45", label="share of mistakes")
    (colour,) = other.plot(
        at, [J(line(t), X_near, y_near) / len(y_near) for t in at], color="C1", label="cross-entropy"
    )
    axes.set(xlabel="angle θ of the line's normal vector", ylabel="share of mistakes")
    other.set_ylabel("cross-entropy per point", color="C1")
    other.spines["right"].set_visible(True)
figure.legend(handles=[grey, colour], loc="outside lower center", ncols=2)
left.set_title("all angles")
right.set_title("a short stretch: stairs, and a slope")
show(figure, "03_angle")

best_counted, best_smooth = angles[np.argmin(counted)], angles[np.argmin(smooth)]
print(
    f"fewest mistakes at θ = {best_counted:.2f}, least cross-entropy at θ = {best_smooth:.2f}, 45° is {math.pi / 4:.2f}"
)
assert abs(best_smooth - math.pi / 4) < 0.1
slope = tg.grad(lambda t: J(line(t), X_near, y_near))
assert all([abs(slope(t)) > 1 for t in (-2.0, -1.0, 0.0, 2.0)])  # a slope nearly everywhere

# %% [markdown]
# ## The derivative with respect to the scores
#
# How does the cost of one point change with its scores? Let the point have scores $s_k$, probabilities $p_k$ and the
# class $y$. Its cost is $\ell = -\ln p_y = -s_y + \ln\sum_j e^{s_j}$, and so
#
# $$\frac{\partial \ell}{\partial s_k} = -c_k + \frac{e^{s_k}}{\sum_j e^{s_j}} = p_k - c_k,$$
#
# where $c_k$ is 1 for $k = y$ and 0 otherwise. **Claimed minus observed**: this is the most used formula of the trade. It
# is zero only if the claim was right with certainty, and it never exceeds 1 in size.


# %%
def cost(s, y):
    return -np.sum(log_softmax(s)[np.arange(len(y)), y])


some_scores = np.array([[2.0, -1.0], [0.5, 0.7], [-3.0, 4.0]])
some_labels = np.array([0, 0, 0])
claimed, observed = np.exp(log_softmax(some_scores)), np.eye(2)[some_labels]
gradient = tg.grad(cost)(some_scores, some_labels)
print(np.round(gradient, 4))
assert np.allclose(gradient, claimed - observed, rtol=0, atol=1e-12)

# %% [markdown]
# ## Why not the squared error?
#
# Another smooth criterion comes to mind: the square of "claimed minus observed". Take two classes and write the
# probability of the true one as $\sigma(z) = 1/(1 + e^{-z})$, where $z$ is the true class's score minus the other
# one's. Both criteria are smooth and are zero for certainty. But look at their derivatives with respect to $z$. Since
# $\sigma' = \sigma(1 - \sigma)$,
#
# $$\frac{d}{dz}\bigl(-\ln\sigma(z)\bigr) = \sigma(z) - 1,\qquad
# \frac{d}{dz}\bigl(\sigma(z) - 1\bigr)^2 = 2\,(\sigma(z) - 1)\,\sigma(z)\,(1 - \sigma(z)).$$
#
# The second has the factor $\sigma(z)$, which is nearly zero when the perceptron is *surely wrong* ($z$ far below 0).
# Where there is most to learn, the squared error is flat.


# %%
def squared_error(z):
    return (1 / (1 + np.exp(-z)) - 1) ** 2


def cross_entropy(z):
    return np.log(1 + np.exp(-z))


slopes = tg.grad(squared_error)(-10.0), tg.grad(cross_entropy)(-10.0)
print(f"slopes at z = -10: squared error {slopes[0]:.3e}, cross-entropy {slopes[1]:.5f}")
assert abs(slopes[0] - -9.08e-5) < 1e-7 and abs(slopes[1] - -0.99995) < 1e-5

z = np.linspace(-10, 6, 400)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
left.plot(z, cross_entropy(z), "C1", label="cross-entropy")
left.plot(z, squared_error(z), "C0", label="squared error")
left.set(xlabel="z, the true class's lead in score", ylabel="cost", ylim=(-0.2, 6))
left.legend()
right.plot(z, tg.vmap(tg.grad(cross_entropy))(z), "C1", label="cross-entropy")
right.plot(z, tg.vmap(tg.grad(squared_error))(z), "C0", label="squared error")
right.set(xlabel="z, the true class's lead in score", ylabel="derivative of the cost", ylim=(-1.1, 0.1))
show(figure, "03_slopes")

# %% [markdown]
# For a point that is wrong by $z = -10$, cross-entropy pulls with almost full strength, the squared error with a
# ten-thousandth of it.
#
# ## The surface: separable points have no best line
#
# The guess makes no mistake on the first hundred points. Is it the best? Multiply $W$ by a factor $k$. The line stays
# where it is; only the probabilities become more extreme.

# %%
along_scale = {k: J({"W": k * guess["W"], "b": guess["b"]}, X, y) for k in (0.25, 0.5, 1, 2, 4)}
for k, value in along_scale.items():
    print(f"{k:5} W   J = {value:.4f}")
assert np.allclose(list(along_scale.values()), [16.527, 5.2515, 1.3887, 0.3616, 0.0482], rtol=0, atol=1e-3)

# %% [markdown]
# $J$ only falls. The reason: for two classes the cost of point $i$ is $\ln(1 + e^{-z_i})$, where $z_i$ is its true
# class's lead in score. With $b = 0$, multiplying $W$ by $k$ multiplies every $z_i$ by $k$. If all points are on their
# right side, all $z_i$ are positive, every cost falls towards 0 as $k$ grows, and **there is no minimum**: $J$ comes as
# near to 0 as one likes and never gets there. Points that a line can separate ask for infinite certainty.
#
# The other set of points is not separable. There an exaggerated claim costs dearly at each point on the wrong side, and
# there is a best scale. The picture shows $J/n$ over two numbers, the scale $k$ of
# $W = k\begin{pmatrix}1 & -1\\ 1 & -1\end{pmatrix}$ and the bias $\beta$ of $b = (\beta, -\beta)$. (We divide by the
# number of points so that sets of different sizes compare.)


# %%
def lines(k, beta):
    return {"W": k * guess["W"], "b": beta * np.array([1.0, -1.0])}


def surface(ks, betas, X, y):
    """J / n over a grid: one row a bias, one column a scale."""
    over_scales = tg.vmap(lambda k, beta: J(lines(k, beta), X, y) / len(y), in_axes=(0, None))
    return tg.vmap(over_scales, in_axes=(None, 0))(ks, betas)


ks_wide, betas_wide = np.linspace(-0.5, 4, 91), np.linspace(-4, 4, 81)
ks_near, betas_near = np.linspace(-0.1, 1.0, 111), np.linspace(-1, 1, 101)
apart, overlapping = surface(ks_wide, betas_wide, X, y), surface(ks_near, betas_near, X_near, y_near)

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4))
for axes, ks, betas, values, ticks in (
    (left, ks_wide, betas_wide, apart, (0.001, 0.01, 0.1, 1)),
    (right, ks_near, betas_near, overlapping, (0.5, 0.6, 0.8, 1, 1.2)),
):
    levels = np.geomspace(max(values.min(), 1e-3), values.max(), 25)
    filled = axes.contourf(ks, betas, values, levels=levels, norm=LogNorm(), cmap="viridis", extend="min")
    axes.contour(ks, betas, values, levels=levels, colors="w", linewidths=0.3)
    axes.set(xlabel="scale k of the weights", ylabel="bias β")
    bar = figure.colorbar(filled, ax=axes, label="J / n", ticks=ticks, format="%g")
    bar.ax.minorticks_off()
row, column = np.unravel_index(np.argmin(overlapping), overlapping.shape)
k_best, beta_best = ks_near[column], betas_near[row]
right.plot(k_best, beta_best, "r*", markersize=12, label=f"least: {overlapping.min():.4f}")
right.legend(loc="upper right", labelcolor="w")
left.set_title("separable: downhill for ever to the right")
right.set_title("overlapping: one minimum")
show(figure, "03_surface")

assert np.all(np.diff(apart[40]) < 0)  # along β = 0, with growing k
best = lines(k_best, beta_best)
print(f"overlapping points: J/n = {overlapping.min():.4f} at k = {k_best:.2f}, β = {beta_best:.2f}")
assert abs(overlapping.min() - 0.4780) < 0.005

# %% [markdown]
# How good is the best line? Nobody can do better than to know the two clouds themselves. Their middles are
# $2\sqrt 2$ apart, and along the line through both, each cloud is a normal distribution of standard deviation 2. The best
# border is half-way, $\sqrt 2$ from each middle, and a point is on its right side with probability
# $\Phi(\sqrt 2 / 2) = 0.7602$, where $\Phi$ is the distribution function of the standard normal distribution. This best
# possible accuracy is the **Bayes accuracy**. It is a property of the points, not of the classifier.

# %%
bayes = 0.5 * (1 + math.erf(math.sqrt(2) / 2 / math.sqrt(2)))
accuracy = 1 - mistakes(best, X_near, y_near)
print(f"Bayes accuracy {bayes:.4f}, the best line on these 1,000 points {accuracy:.3f}")
assert abs(bayes - 0.7602) < 1e-4
assert abs(accuracy - 0.764) < 0.005

# %% [markdown]
# (A share of 1,000 points scatters by $\sqrt{0.76 \cdot 0.24 / 1000} \approx 0.0135$ around its expectation, so 0.765
# on these points and 0.760 in the long run agree.)
#
# And the promise about honesty: take all points to which the best line gives a probability of blue between 0.6 and 0.7.
# About two thirds of them should be blue.

# %%
p_blue = np.exp(log_softmax(scores(best, X_near)))[:, 0]
print("claimed        points   of which blue")
for low in np.arange(0, 1, 0.1):
    chosen = (p_blue >= low) & (p_blue < low + 0.1)
    share = np.mean(y_near[chosen] == 0)
    print(f"{low:.1f} to {low + 0.1:.1f}     {chosen.sum():4}     {share:.2f}")
    assert abs(share - np.mean(p_blue[chosen])) < 0.15

# %% [markdown]
# ## Convex: the only minimum there is
#
# A function is **convex** if the straight line between two points of its graph never runs below the graph. A smooth
# function is convex exactly if its matrix of second derivatives, the **Hessian**, has no negative eigenvalue anywhere.
# Convexity is worth much: a place where the gradient vanishes is then a minimum of the whole function, since the graph
# lies above each of its tangent planes. There are no false valleys.
#
# *$J$ is convex in $(W, b)$.* The scores are linear in $(W, b)$, a sum of convex functions is convex, and a convex
# function of a linear one is convex. So it is enough to look at one point's cost as a function of its scores,
# $\ell(s) = -s_y + \ln\sum_j e^{s_j}$. Its gradient is $p - c$. Differentiate once more:
# $\partial p_k/\partial s_j = p_k(\delta_{kj} - p_j)$, where $\delta_{kj}$ is 1 for $k = j$ and 0 otherwise. For any
# direction $v$,
#
# $$\sum_{k,j} v_k\,p_k(\delta_{kj} - p_j)\,v_j = \sum_k p_k v_k^2 - \Bigl(\sum_k p_k v_k\Bigr)^2 \ge 0,$$
#
# because this is the variance of a random variable that takes the value $v_k$ with probability $p_k$.
#
# The Hessian of all six parameters, of the library's making, agrees. It has three eigenvalues that are zero, and there
# is a reason: adding one number to both scores of a point changes no probability. So adding the same amount to both
# columns of $W$ (two numbers) or to both biases (one number) leaves $J$ as it is.


# %%
def J_of_vector(v, X, y):
    return J({"W": v[:4].reshape(2, 2), "b": v[4:]}, X, y)


for seed in range(3):
    at = np.random.default_rng(seed).normal(size=6)
    eigenvalues = np.linalg.eigvalsh(tg.hessian(J_of_vector)(at, X_near, y_near))
    print(np.array2string(eigenvalues, precision=2, suppress_small=True))
    assert np.all(eigenvalues > -1e-9 * eigenvalues[-1])
    assert np.sum(np.abs(eigenvalues) < 1e-9 * eigenvalues[-1]) == 3

# %% [markdown]
# Chapter 5 puts a second layer under the scores. The scores are then no longer linear in the parameters, $J$ is no
# longer convex, and false valleys do appear.
#
# ## When a number is wanted instead of a class: least squares is maximum likelihood too
#
# Let the label be a real number $t_i$, and the claim a normal distribution with the middle $f_i = x_i w + b$ and some
# standard deviation $\varsigma$. The density at what was observed is
# $\frac{1}{\varsigma\sqrt{2\pi}}\, e^{-(t_i - f_i)^2 / 2\varsigma^2}$, and minus the logarithm of the product of these
# is
#
# $$\frac{1}{2\varsigma^2}\sum_i (t_i - f_i)^2 + n \ln\bigl(\varsigma\sqrt{2\pi}\bigr).$$
#
# For a fixed $\varsigma$ its minimum is where the **sum of squares** is least. So there is one principle: state how the
# labels come about, as a distribution; the criterion is minus the logarithm of its probability. Classes give
# cross-entropy, numbers with normal errors give squares. The check: at the solution of least squares, the gradient of
# the likelihood vanishes.


# %%
x_line = np.linspace(0, 4, 30)
t_line = 0.7 * x_line + 1 + rng.normal(size=30) * 0.3


def minus_log_density(params, x, t, deviation=0.3):
    residual = t - (params["w"] * x + params["b"])
    return np.sum(residual**2 / (2 * deviation**2) + np.log(deviation * np.sqrt(2 * np.pi)))


(w_ls, b_ls), *_ = np.linalg.lstsq(np.stack([x_line, np.ones(30)], axis=1), t_line, rcond=None)
gradient = tg.grad(minus_log_density)({"w": w_ls, "b": b_ls}, x_line, t_line)
print(f"least squares: w = {w_ls:.3f}, b = {b_ls:.3f}; gradient there {gradient['w']:.1e}, {gradient['b']:.1e}")
assert abs(gradient["w"]) < 1e-8 and abs(gradient["b"]) < 1e-8

# %% [markdown]
# ## Exercises
#
# Write the body of each function in place of `raise NotImplementedError`, and run the cell: the check says whether it is
# right. The solutions are in `solutions/s03_criterion.py`.


# %%
def coin(heads, tosses):
    """A coin falls on heads with an unknown probability p; `heads` of `tosses` independent tosses were heads.

    Return a pair: a function of p, minus the logarithm of the likelihood; and the p for which it is least, found on paper.
    """
    raise NotImplementedError


def check_coin(coin):
    for heads, tosses in ((7, 10), (1, 3), (50, 80)):
        loss, p = coin(heads, tosses)
        assert abs(loss(0.5) - tosses * math.log(2)) < 1e-9, (
            "a fair coin's sequence of tosses has probability 2^-tosses"
        )
        assert abs(tg.grad(loss)(float(p))) < 1e-9, "the derivative is not zero there"
        assert tg.grad(tg.grad(loss))(float(p)) > 0, "it is no minimum"


attempt(check_coin, coin)


# %%
def smoothed(s, y, epsilon):
    """Label smoothing: labels are sometimes wrong, so instead of the one-hot c take the target (1 - ε) c + ε / K, where K is
    the number of classes, and sum the cross-entropies H(target, p). Scores `s` have the shape (n, K), labels `y` (n,).

    Without it separable points ask for infinite scores. What do they ask for now?
    """
    raise NotImplementedError


def check_smoothed(smoothed):
    s = np.random.default_rng(0).normal(size=(5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    assert np.isclose(smoothed(s, labels, 0.0), cost(s, labels)), "without smoothing it is J"
    target = 0.9 * np.eye(3)[labels] + 0.1 / 3
    slope = tg.grad(smoothed)(s, labels, 0.1)
    assert np.allclose(slope, np.exp(log_softmax(s)) - target), "the gradient is claimed minus target"
    assert np.allclose(tg.grad(smoothed)(np.log(target), labels, 0.1), 0), "finite scores are best now: log(target)"


attempt(check_smoothed, smoothed)


# %%
def weighted(s, y, weights):
    """Class weights: the cost of each point times the weight of its class, divided by the sum of all points' weights.
    Scores `s` (n, K), labels `y` (n,), weights (K,).

    A rare class that must not be overlooked is given a larger weight.
    """
    raise NotImplementedError


def check_weighted(weighted):
    s = np.random.default_rng(1).normal(size=(6, 2))
    labels = np.array([0, 0, 0, 0, 0, 1])
    assert np.isclose(weighted(s, labels, np.ones(2)), cost(s, labels) / 6), "equal weights give the mean"
    repeated = np.concatenate([s, s[5:], s[5:]])  # the last point three times
    as_repeated = cost(repeated, np.append(labels, [1, 1])) / 8
    assert np.isclose(weighted(s, labels, np.array([1.0, 3.0])), as_repeated), "weight 3 is three copies of the point"


attempt(check_weighted, weighted)

# %% [markdown]
# ## Three questions
#
# 1. A classifier of two classes gives every point the probability ½. What is its $J$ on 100 points?
#
# <details><summary>Answer</summary>
#
# $100 \ln 2 = 69.31$. Keep the number in mind: in chapter 5 a perceptron ends there and can get no lower.
#
# </details>
#
# 2. In training, the accuracy has been 1.0 for a while, and $J$ still falls. What is going on?
#
# <details><summary>Answer</summary>
#
# The points are separable. The line is right and the scores grow: each point gets a probability nearer to 1. There is
# no end to that, only a slower and slower fall.
#
# </details>
#
# 3. One label of a thousand is wrong: somebody clicked on the wrong button. Which criterion suffers more from it, cross-entropy or
#    squared error, when the classifier gives the (wrong) label the probability $10^{-6}$?
#
# <details><summary>Answer</summary>
#
# Cross-entropy: it pays $-\ln 10^{-6} = 13.8$ for this point, and the pull on its scores is almost 1. The squared error
# pays less than 1 and hardly pulls. What makes cross-entropy learn from its worst mistakes makes it sensitive to wrong
# labels. Label smoothing is one remedy.
#
# </details>
