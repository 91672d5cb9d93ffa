"""Likelihoods, latent states and multivariate statistics."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(3)


def kalman_smoother(y, F, H, Q, R, m0, P0):
    """Kalman filter forward, Rauch-Tung-Striebel backward: log likelihood and smoothed means."""
    m, P = m0, P0
    ll = 0.0
    filtered, predicted = [], []
    for obs in y:
        m, P = F @ m, F @ P @ F.T + Q
        predicted.append((m, P))
        v = obs - H @ m
        S = H @ P @ H.T + R
        K = np.linalg.solve(S, H @ P).T
        m = m + K @ v
        P = P - K @ S @ K.T
        filtered.append((m, P))
        ll += -0.5 * (v @ np.linalg.solve(S, v) + np.linalg.slogdet(S)[1] + len(v) * np.log(2 * np.pi))
    ms, Ps = filtered[-1]
    means = [ms]
    for k in range(len(y) - 2, -1, -1):
        mf, Pf = filtered[k]
        mp, Pp = predicted[k + 1]
        G = Pf @ F.T @ np.linalg.inv(Pp)
        ms = mf + G @ (ms - mp)
        Ps = Pf + G @ (Ps - Pp) @ G.T
        means.append(ms)
    return ll, np.stack(means[::-1]), Ps


def gaussian_process(theta, X, y, Xs):
    """Marginal likelihood and predictions under a squared exponential kernel."""
    amp, length, noise = np.exp(theta)

    def kernel(a, b):
        d2 = np.sum(a**2, 1)[:, None] + np.sum(b**2, 1)[None, :] - 2 * a @ b.T
        return amp**2 * np.exp(-0.5 * d2 / length**2)

    K = kernel(X, X) + (noise**2 + 1e-8) * np.eye(len(X))
    L = np.linalg.cholesky(K)
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, y))
    logml = -0.5 * y @ alpha - np.log(np.diag(L)).sum() - 0.5 * len(y) * np.log(2 * np.pi)
    v = np.linalg.solve(L, kernel(X, Xs))
    return logml, kernel(Xs, X) @ alpha, amp**2 - np.sum(v**2, axis=0)


def gaussian_mixture(logits, means, log_scales, x):
    """Log likelihood of a mixture of diagonal Gaussians, and one step of EM for the means."""
    logw = logits - np.log(np.sum(np.exp(logits)))
    z = (x[:, None, :] - means[None]) / np.exp(log_scales)[None]
    logp = logw + np.sum(-0.5 * z**2 - log_scales - 0.5 * np.log(2 * np.pi), axis=-1)
    top = np.max(logp, axis=1, keepdims=True)
    norm = top + np.log(np.sum(np.exp(logp - top), axis=1, keepdims=True))
    resp = np.exp(logp - norm)
    return norm.sum(), (resp.T @ x) / resp.sum(axis=0)[:, None]


def hidden_markov(log_start, log_trans, log_emit, observed):
    """Forward and backward in logarithms: evidence and the posterior of the states."""

    def logsumexp(a, axis):
        top = a.max(axis=axis, keepdims=True)
        return np.squeeze(top, axis) + np.log(np.exp(a - top).sum(axis=axis))

    emit = log_emit[:, observed].T
    alpha = [log_start + emit[0]]
    for t in range(1, len(observed)):
        alpha.append(logsumexp(alpha[-1][:, None] + log_trans, axis=0) + emit[t])
    beta = [np.zeros_like(log_start)]
    for t in range(len(observed) - 1, 0, -1):
        beta.append(logsumexp(log_trans + emit[t] + beta[-1], axis=1))
    gamma = np.stack(alpha) + np.stack(beta[::-1])
    evidence = logsumexp(alpha[-1], axis=0)
    return evidence, np.exp(gamma - evidence)


def viterbi_score(start, trans, emit, obs):
    """The best path's score, found with back pointers, and added up again along the path."""
    score = start + emit[:, obs[0]]
    pointers = []
    for o in obs[1:]:
        candidates = score[:, None] + trans
        pointers.append(np.argmax(candidates, axis=0))
        score = np.max(candidates, axis=0) + emit[:, o]
    state = np.argmax(score)
    path = [state]
    for back in reversed(pointers):
        state = back[state]
        path.append(state)
    path.reverse()
    total = start[path[0]] + emit[path[0], obs[0]]
    for a, b, o in zip(path[:-1], path[1:], obs[1:], strict=True):
        total = total + trans[a, b] + emit[b, o]
    return score.max(), total


def cox_partial_likelihood(beta, X, time, event):
    """Negative log partial likelihood of a Cox model, risk sets by sorting; and Breslow's baseline hazard."""
    order = np.argsort(-time)
    eta = (X @ beta)[order]
    died = event[order].astype(float)
    risk = np.cumsum(np.exp(eta))
    loglik = np.sum(died * (eta - np.log(risk)))
    return -loglik, np.cumsum((died / risk)[::-1])


def kaplan_meier_with_weights(weights, time, event):
    """Weighted survival at the distinct times of death."""
    times = np.unique(time[event])
    at_risk = np.sum(weights * (time[None, :] >= times[:, None]), axis=1)
    deaths = np.sum(weights * ((time[None, :] == times[:, None]) & event), axis=1)
    return np.cumprod(1.0 - deaths / at_risk)


def arma_likelihood(phi, theta, log_sigma, y):
    """Conditional likelihood of an ARMA(2, 1) with the residuals kept in a list."""
    e = []
    for t in range(len(y)):
        pred = 0.0
        for k in range(len(phi)):
            if t - 1 - k >= 0:
                pred = pred + phi[k] * y[t - 1 - k]
        for k in range(len(theta)):
            if t - 1 - k >= 0:
                pred = pred + theta[k] * e[t - 1 - k]
        e.append(y[t] - pred)
    e = np.stack(e)
    return 0.5 * np.sum(e**2) / np.exp(2 * log_sigma) + len(y) * log_sigma


def item_response(ability, difficulty, log_discrimination, guess, answers):
    """Three-parameter logistic model with missing answers (NaN) masked out."""
    seen = ~np.isnan(answers)
    right = np.nan_to_num(answers)
    z = np.exp(log_discrimination) * (ability[:, None] - difficulty)
    p = guess + (1 - guess) / (1 + np.exp(-z))
    ll = right * np.log(p) + (1 - right) * np.log1p(-p)
    return ll[seen].sum() - 0.5 * np.sum(ability**2)


def logistic_irls(X, y, ridge, iters=3):
    """Logistic regression by reweighted least squares."""
    w = np.zeros(X.shape[1])
    for _ in range(iters):
        mu = 1 / (1 + np.exp(-X @ w))
        s = mu * (1 - mu)
        H = (X.T * s) @ X + ridge * np.eye(X.shape[1])
        w = w + np.linalg.solve(H, X.T @ (y - mu) - ridge * w)
    return w


def pca_loss(X, target):
    """Explained variances and how far the first two components' projector is from a target."""
    Xc = X - X.mean(axis=0)
    cov = Xc.T @ Xc / (len(X) - 1)
    values, vectors = np.linalg.eigh(cov)
    order = np.argsort(values)[::-1]
    W = vectors[:, order[:2]]
    return values[order] / values.sum(), np.linalg.norm(W @ W.T - target, "fro")


def canonical_correlations(X, Y, reg=1e-2):
    """Correlations of two views by whitening and a singular value decomposition."""

    def whiten(Z):
        Z = Z - Z.mean(0)
        C = Z.T @ Z / (Z.shape[0] - 1) + reg * np.identity(Z.shape[1])
        return Z, np.linalg.inv(np.linalg.cholesky(C))

    X, Wx = whiten(X)
    Y, Wy = whiten(Y)
    T = Wx @ (X.T @ Y / (X.shape[0] - 1)) @ Wy.T
    return np.linalg.svd(T, compute_uv=False)


def ica_contrast(W, X):
    """FastICA's negentropy after symmetric decorrelation."""
    s, u = np.linalg.eigh(W @ W.T)
    W = (u * (1 / np.sqrt(s))) @ u.T @ W
    S = W @ X
    contrast = np.mean(np.log(np.cosh(S)), axis=1) - 0.3746
    return np.sum(contrast**2)


def kernel_density(x, data, bandwidth, weights=None):
    """Density and its logarithm's leave-one-out mean, by Scott's factor unless a bandwidth is given."""
    if weights is None:
        weights = np.ones(len(data)) / len(data)
    h = bandwidth * np.std(data, ddof=1)
    k = lambda u: np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    density = np.sum(weights * k((x[:, np.newaxis] - data) / h), axis=-1) / h
    loo = k((data[:, np.newaxis] - data) / h) / h
    np.fill_diagonal(loo, 0.0)
    return density, np.log(loo.sum(axis=1) / (len(data) - 1)).mean()


def metropolis(theta, scale, proposals, log_uniforms, data):
    """A chain with given random numbers: each proposal is taken or not by its value."""

    def log_post(t):
        return -0.5 * np.sum((data - t) ** 2) - 0.5 * t**2

    chain = []
    current = log_post(theta)
    for z, lu in zip(proposals, log_uniforms, strict=True):
        candidate = theta + scale * z
        lp = log_post(candidate)
        if lu < lp - current:
            theta, current = candidate, lp
        chain.append(theta)
    return np.stack(chain)


def particle_filter(a, q, r, y, noise, uniforms):
    """A bootstrap filter with systematic resampling by searchsorted: log evidence."""
    x = noise[0]
    ll = 0.0
    n = len(x)
    for t, obs in enumerate(y):
        x = a * x + np.sqrt(q) * noise[t + 1]
        logw = -0.5 * (obs - x) ** 2 / r - 0.5 * np.log(2 * np.pi * r)
        m = logw.max()
        w = np.exp(logw - m)
        ll += m + np.log(w.mean())
        w /= w.sum()
        index = np.searchsorted(np.cumsum(w), (np.arange(n) + uniforms[t]) / n)
        x = x[np.minimum(index, n - 1)]
    return ll


def robust_regression(X, y, delta=1.0, iters=4):
    """Huber's regression by weights, with the scale from the median absolute deviation."""
    coef = np.linalg.lstsq(X, y, rcond=None)[0]
    for _ in range(iters):
        res = y - X @ coef
        scale = np.median(np.abs(res - np.median(res))) / 0.6745
        u = np.abs(res) / (delta * scale)
        w = np.where(u <= 1, 1.0, 1 / np.maximum(u, 1e-12))
        sw = np.sqrt(w)[:, None]
        coef = np.linalg.lstsq(sw * X, np.sqrt(w) * y, rcond=None)[0]
    return coef


F = np.array([[1.0, 0.1], [0.0, 0.95]])
X, Z = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
probabilities = lambda *shape: np.log(rng.dirichlet(np.ones(shape[-1]) * 3, shape[:-1]))
answers = (rng.random((4, 5)) < 0.6).astype(float)
answers[1, 2] = answers[3, 0] = np.nan
times = np.array([5.0, 3.0, 9.0, 1.0, 7.0, 4.0, 8.0, 2.0, 6.0])
events = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0], bool)

PROGRAMS = [
    Program(
        "tracking",
        kalman_smoother,
        (rng.normal(size=(4, 1)), F, np.array([[1.0, 0.3]]), 0.1 * np.eye(2), 0.2 * np.eye(1), np.ones(2), np.eye(2)),
    ),
    Program("machine learning", gaussian_process, (np.array([0.1, -0.2, -1.0]), X[:6], Z[:6, 0], X[6:]), rtol=1e-7),
    Program("machine learning", gaussian_mixture, (rng.normal(size=3), rng.normal(size=(3, 2)), 0.1 * X[:3, :2], Z)),
    Program(
        "speech", hidden_markov, (probabilities(3), probabilities(3, 3), probabilities(3, 4), np.array([0, 3, 1, 1, 2]))
    ),
    Program(
        "speech", viterbi_score, (probabilities(3), probabilities(3, 3), probabilities(3, 4), np.array([0, 3, 1, 1]))
    ),
    Program("survival analysis", cox_partial_likelihood, (rng.normal(size=3), X, times, events)),
    Program(
        "survival analysis",
        kaplan_meier_with_weights,
        (rng.uniform(0.5, 1.5, 9), times, events),
        refused={"jit": "np.where(mask, x, 0)", "vmap": "np.where(mask, x, 0)"},
    ),
    Program("econometrics", arma_likelihood, (np.array([0.5, -0.2]), np.array([0.3]), -0.1, rng.normal(size=8))),
    Program(
        "psychometrics",
        item_response,
        (rng.normal(size=4), rng.normal(size=5), 0.2 * rng.normal(size=5), 0.2, answers),
    ),
    Program("statistics", logistic_irls, (X, (X[:, 0] + 0.5 * Z[:, 0] > 0).astype(float), 0.5)),
    Program(
        "multivariate statistics",
        pca_loss,
        (X * np.array([3.0, 2.0, 1.0]), np.diag([1.0, 1.0, 0.0])),
        rtol=1e-7,
        rounds="np.linalg.norm",
    ),
    Program("multivariate statistics", canonical_correlations, (X, Z), rtol=1e-7),
    Program("signal separation", ica_contrast, (rng.normal(size=(3, 3)), X.T), rtol=1e-7),
    Program("statistics", kernel_density, (np.linspace(-1, 1, 4), Z[:, 0], 0.6)),
    Program(
        "Bayesian statistics",
        metropolis,
        (0.3, 0.5, rng.normal(size=6), np.log(rng.random(6)), rng.normal(size=4) + 1),
        refused={"jit": "np.where(condition, a, b)", "vmap": "np.where(condition, a, b)"},
    ),
    Program(
        "tracking",
        particle_filter,
        (0.9, 0.3, 0.5, rng.normal(size=3), rng.normal(size=(4, 6)), rng.random(3)),
    ),
    Program(
        "statistics",
        robust_regression,
        (X, X @ np.array([1.0, -2.0, 0.5]) + 0.5 * Z[:, 1]),
        rtol=1e-7,
        rounds="np.linalg.lstsq",
    ),
]
