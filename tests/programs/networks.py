"""Graphs, transport, words, games and fractals."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(53)


def pagerank(weights, damping, iters=8):
    """Power iteration on a column-stochastic matrix; pages without links jump anywhere."""
    n = len(weights)
    out = weights.sum(axis=0)
    dangling = out == 0
    P = np.where(dangling, 1.0 / n, weights / np.where(dangling, 1.0, out))
    r = np.full(n, 1.0 / n)
    for _ in range(iters):
        r = damping * P @ r + (1 - damping) / n
    return r / np.linalg.norm(r, 1)


def pagerank_until(weights, damping, tol=1e-6):
    """The same until it stays."""
    n = len(weights)
    P = weights / weights.sum(axis=0)
    r = np.ones(n) / n
    while True:
        new = damping * P @ r + (1 - damping) / n
        if np.abs(new - r).sum() < tol:
            return new
        r = new


def sinkhorn(a, b, cost, epsilon=0.3, iters=6):
    """Entropic optimal transport by scaling in logarithms: the plan's cost and its margins."""
    f, g = np.zeros_like(a), np.zeros_like(b)

    def softmin(z, axis):
        low = z.min(axis=axis, keepdims=True)
        return low.squeeze(axis) - epsilon * np.log(np.exp((low - z) / epsilon).sum(axis=axis))

    for _ in range(iters):
        f = softmin(cost - g[None, :], 1) + epsilon * np.log(a)
        g = softmin(cost - f[:, None], 0) + epsilon * np.log(b)
    plan = np.exp((f[:, None] + g[None, :] - cost) / epsilon)
    return np.sum(plan * cost), plan.sum(axis=1)


def wasserstein_on_a_line(x, y, wx):
    """Distance between two samples from their sorted values and merged distribution functions."""
    values = np.concatenate((x, y))
    order = np.argsort(values, kind="stable")
    values = values[order]
    mass = np.concatenate([wx / wx.sum(), -np.ones(len(y)) / len(y)])[order]
    return np.sum(np.abs(np.cumsum(mass)[:-1]) * np.diff(values))


def spectral_clustering_loss(X, scale, k=2):
    """How well k groups part: the first eigenvalues of the normalised Laplacian, and the rows of its eigenvectors."""
    d2 = np.sum((X[:, None] - X[None]) ** 2, axis=-1)
    W = np.exp(-d2 / (2 * scale**2))
    W = W - np.diag(np.diag(W))
    d = W.sum(axis=1)
    L = np.identity(len(X)) - W / np.sqrt(np.outer(d, d))
    lam, V = np.linalg.eigh(L)
    U = V[:, :k] * np.sign(V[:1, :k])
    rows = U / np.linalg.norm(U, axis=1)[:, np.newaxis]
    return lam[:k].sum() / lam[k], rows


def shortest_paths(lengths):
    """Floyd and Warshall's relaxations of all pairs, in place."""
    D = lengths.copy()
    for k in range(len(D)):
        D = np.minimum(D, D[:, k, np.newaxis] + D[np.newaxis, k, :])
    np.fill_diagonal(D, 0.0)
    return D, D.max()


def label_propagation(W, labels, alpha=0.8, known=()):
    """Labels spread over a graph and held where they are known; entropy of what comes out."""
    S = W / W.sum(axis=1, keepdims=True)
    F = labels.copy()
    for _ in range(4):
        F = alpha * S @ F
        F[known, :] = labels[known, :]
    p = F / F.sum(axis=1, keepdims=True)
    return p, -np.sum(p * np.log2(p + 1e-12))


def modularity(W, groups, resolution):
    """Newman's modularity of soft groups."""
    k = W.sum(0)
    two_m = W.sum()
    B = W - resolution * np.outer(k, k) / two_m
    return np.trace(groups.T @ B @ groups) / two_m


def crf_loss(unary, pairwise, tags):
    """A linear-chain conditional random field: minus the log likelihood of a tagging."""
    score = unary[np.arange(len(tags)), tags].sum() + pairwise[tags[:-1], tags[1:]].sum()
    alpha = unary[0]
    for u in unary[1:]:
        alpha = u + np.logaddexp.reduce(alpha[:, None] + pairwise, axis=0)
    return np.logaddexp.reduce(alpha) - score


def bigram_entropy(counts, smoothing):
    """Conditional entropy of a smoothed language model in bits, and the perplexity."""
    joint = counts + smoothing
    joint = joint / joint.sum()
    first = joint.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        bits = -np.nansum(joint * (np.log2(joint) - np.log2(first)))
    return bits, 2.0**bits


def mutual_information(logits):
    """Of the joint distribution of two discrete variables, and the divergence from uniform."""
    p = np.exp(logits - logits.max())
    p /= p.sum()
    px, py = p.sum(1, keepdims=True), p.sum(0, keepdims=True)
    js = 0.5 * (p * np.log(2 * p / (p + px * py))).sum() + 0.5 * (px * py * np.log(2 * px * py / (p + px * py))).sum()
    return (p * np.log(p / (px * py))).sum(), js


def tfidf_similarity(counts, query):
    """Cosines of weighted documents with a query, those of the best two first."""
    df = (counts > 0).sum(axis=0)
    idf = np.log((1 + counts.shape[0]) / (1 + df)) + 1
    tf = counts * idf
    tf /= np.sqrt(np.square(tf).sum(axis=1, keepdims=True))
    q = query * idf
    scores = tf @ (q / np.sqrt(q @ q))
    best = np.argpartition(-scores, 2)[:2]
    return np.sort(scores[best])[::-1], scores.mean()


def elo_ratings(ratings, k, games=()):
    """Ratings after a season, game by game in place, and how well each result was foreseen."""
    r = ratings.copy()
    loss = 0.0
    for white, black, score in games:
        expected = 1 / (1 + 10 ** ((r[black] - r[white]) / 400))
        loss -= score * np.log(expected) + (1 - score) * np.log(1 - expected)
        change = k * (score - expected)
        r[white] += change
        r[black] -= change
    return r, loss


def bradley_terry(wins, strength, iters=4):
    """The minorise-maximise iteration for paired comparisons; the likelihood at its end."""
    n = wins + wins.T
    for _ in range(iters):
        s = strength[:, None] + strength
        np.fill_diagonal(s, 1.0)
        strength = wins.sum(axis=1) / (n / s).sum(axis=1)
        strength /= np.exp(np.mean(np.log(strength)))
    p = strength[:, None] / (strength[:, None] + strength[None, :])
    return strength, np.sum(wins * np.log(p))


def tennis_set(p, q):
    """The chance to win a game, from points by Markov's chain, and a set of tennis by recursion over the score."""

    def game(p):
        deuce = p**2 / (p**2 + (1 - p) ** 2)
        return p**4 * (1 + 4 * (1 - p) + 10 * (1 - p) ** 2) + 20 * (p * (1 - p)) ** 3 * deuce

    hold, steal = game(p), 1 - game(q)
    memo = {}

    def win(a, b):
        if (a, b) in memo:
            return memo[a, b]
        if a >= 3 and a - b >= 1:
            return 1.0
        if b >= 3 and b - a >= 1:
            return 0.0
        chance = hold if (a + b) % 2 == 0 else steal
        memo[a, b] = chance * win(a + 1, b) + (1 - chance) * win(a, b + 1)
        return memo[a, b]

    return win(0, 0)


def board_game_chain(p_step, size=6, ladders=()):
    """Expected number of throws to the end of a board: an absorbing Markov chain with ladders."""
    jump = np.arange(size + 3)
    for a, b in ladders:
        jump[a] = b
    P = np.zeros((size, size))
    for s in range(size):
        for throw, p in enumerate(p_step, start=1):
            to = jump[min(s + throw, size)]
            if to < size:
                P[s, to] += p
    t = np.linalg.solve(np.eye(size) - P, np.ones(size))
    return t[0]


def queue_waiting(arrival, service, gaps, works):
    """Lindley's recursion for waiting times, beside the formula for a queue with one server."""
    waits = [np.zeros(())]
    for g, w in zip(gaps / arrival, works / service, strict=True):
        waits.append(np.maximum(waits[-1] + w - g, 0.0))
    return np.mean(np.stack(waits[1:])), arrival / (service * (service - arrival))


def mandelbrot_escape(c, bailout, iters=8):
    """Smoothed escape times: every point goes on, those that have escaped are masked out."""
    z = np.zeros_like(c)
    smooth = np.zeros(c.shape)
    alive = np.ones(c.shape, dtype=bool)
    for i in range(iters):
        z = np.where(alive, z * z + c, z)
        size = np.abs(z)
        escaped = alive & (size > bailout)
        nu = i + 1 - np.log(np.log(np.where(escaped, size, 10.0)) / np.log(bailout)) / np.log(2)
        smooth = np.where(escaped, nu, smooth)
        alive = alive & ~escaped
    return smooth


def newton_fractal(z, relax, roots=None, iters=5):
    """Which root Newton's method comes to, and how close, for a cubic."""
    for _ in range(iters):
        p = (z[:, None] - roots).prod(axis=1)
        dp = sum(np.prod(np.delete(z[:, None] - roots, k, axis=1), axis=1) for k in range(len(roots)))
        z = z - relax * p / dp
    distance = np.abs(z[:, None] - roots)
    return distance.min(axis=1), distance.argmin(axis=1)


def lyapunov_exponent(r, x0, steps=5):
    """Of the logistic map, from the derivative along the path."""
    x = x0
    total = 0.0
    for _ in range(steps):
        x = r * x * (1 - x)
        total = total + np.log(np.abs(r * (1 - 2 * x)))
    return total / steps


def game_of_life_soft(board, sharpness, steps=2):
    """A smooth form of Conway's rule on a torus."""
    kernel = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    for _ in range(steps):
        n = np.zeros(board.shape)
        for shift in kernel:
            n = n + np.roll(board, shift, axis=(0, 1))
        born = np.exp(-sharpness * (n - 3) ** 2)
        stay = np.exp(-sharpness * (n - 2) ** 2)
        board = born + board * stay * (1 - born)
    return board


def recommender(users, items, bias, ratings):
    """Matrix factorisation of ratings with gaps (NaN), each user's mean taken out where there is one."""
    seen = np.isfinite(ratings)
    mean = np.nanmean(ratings, axis=1, keepdims=True)
    error = np.where(seen, np.nan_to_num(ratings) - mean - bias - users @ items.T, 0.0)
    return np.sqrt((error**2).sum() / seen.sum()) + 0.01 * (np.vdot(users, users) + np.linalg.norm(items) ** 2)


W = rng.uniform(0.2, 1, (4, 4))
W = W + W.T
starred = rng.integers(1, 6, (3, 4)).astype(float)
starred[0, 1] = starred[2, 3] = np.nan
season = ((0, 1, 1.0), (1, 2, 0.5), (2, 0, 0.0), (0, 2, 1.0))
cube_roots = np.exp(2j * np.pi * np.arange(3) / 3)

PROGRAMS = [
    Program("web search", pagerank, (rng.uniform(0.1, 1, (4, 4)), 0.85), {"iters": 5}),
    Program(
        "web search",
        pagerank_until,
        (rng.uniform(0.1, 1, (4, 4)), 0.85),
        refused={"jit": "np.where(condition, a, b)", "vmap": "np.where(condition, a, b)"},
    ),
    Program(
        "optimal transport",
        sinkhorn,
        (rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4)), rng.random((3, 4))),
        {"iters": 4},
    ),
    Program(
        "optimal transport", wasserstein_on_a_line, (rng.normal(size=4), rng.normal(size=3), rng.uniform(0.5, 1, 4))
    ),
    Program("clustering", spectral_clustering_loss, (rng.normal(size=(5, 2)), 0.9), rtol=1e-7),
    Program("graphs", shortest_paths, (rng.uniform(0.2, 2, (4, 4)),)),
    Program("graphs", label_propagation, (W, rng.uniform(0.1, 1, (4, 2))), {"known": [0, 3]}),
    Program("graphs", modularity, (W, rng.random((4, 2)), 1.1)),
    Program("language models", crf_loss, (rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), np.array([0, 2, 1, 1]))),
    Program("information theory", bigram_entropy, (rng.integers(0, 5, (3, 3)), 0.3)),
    Program("information theory", mutual_information, (rng.normal(size=(3, 4)),)),
    Program("text retrieval", tfidf_similarity, (rng.integers(0, 3, (5, 6)), rng.uniform(0.1, 1, 6))),
    Program("sports", elo_ratings, (np.array([1500.0, 1620.0, 1480.0]), 24.0), {"games": season}),
    Program("sports", bradley_terry, (rng.uniform(1, 5, (3, 3)) * (1 - np.eye(3)), np.array([1.0, 1.2, 0.8]))),
    Program("sports", tennis_set, (0.64, 0.6)),
    Program(
        "stochastic processes", board_game_chain, (np.array([0.5, 0.3, 0.2]),), {"ladders": ((1, 4),)}, creates=True
    ),
    Program("stochastic processes", queue_waiting, (0.8, 1.0, rng.exponential(size=6), rng.exponential(size=6))),
    Program("fractals", mandelbrot_escape, (np.array([[-0.5 + 0.6j, 0.4 + 0.5j], [0.3 + 0.1j, -2.1 + 0.2j]]), 4.0)),
    Program(
        "fractals",
        newton_fractal,
        (np.array([0.7 + 0.4j, -1.1 + 0.2j, 0.1 - 1.3j]), 0.9),
        {"roots": cube_roots},
        rounds="np.delete, whose memory lies in another order",
    ),
    Program("dynamical systems", lyapunov_exponent, (np.array([3.2, 3.9]), 0.31)),
    Program("cellular automata", game_of_life_soft, (rng.random((4, 4)), 1.5)),
    Program(
        "recommendation", recommender, (rng.normal(size=(3, 2)), rng.normal(size=(4, 2)), rng.normal(size=4), starred)
    ),
]
