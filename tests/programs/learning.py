"""Nets, embeddings and clustering, written out."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(7)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def lstm(params, xs):
    """An LSTM cell over time: all hidden states and the last cell."""
    W, U, b = params["W"], params["U"], params["b"]
    H = U.shape[0]
    h = np.zeros(H)
    c = np.zeros(H)
    outputs = []
    for x in xs:
        z = x @ W + h @ U + b
        i, f, o, g = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        c = sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), c


def gru_in_batches(Wz, Wr, Wh, x):
    """A GRU on a batch (n, time, features), the gates as products with concatenated inputs."""
    n, T, _ = x.shape
    h = np.zeros((n, Wz.shape[1]))
    for t in range(T):
        xh = np.hstack([x[:, t], h])
        z, r = sigmoid(xh @ Wz), sigmoid(xh @ Wr)
        h = (1 - z) * h + z * np.tanh(np.hstack([x[:, t], r * h]) @ Wh)
    return h


def convnet_im2col(images, kernels, bias, dense, labels):
    """Convolution by strides, relu, max pooling by reshape, softmax and cross entropy."""
    n, height, width = images.shape
    k = kernels.shape[-1]
    oh, ow = height - k + 1, width - k + 1
    cols = np.lib.stride_tricks.sliding_window_view(images, (k, k), axis=(1, 2)).reshape(n, oh * ow, k * k)
    maps = (cols @ kernels.reshape(-1, k * k).T + bias).reshape(n, oh, ow, -1)
    maps = np.maximum(maps, 0)
    pooled = maps.reshape(n, oh // 2, 2, ow // 2, 2, -1).max(axis=(2, 4))
    p = softmax(pooled.reshape(n, -1) @ dense)
    return -np.log(p[np.arange(n), labels] + 1e-12).mean()


def attention_block(x, Wqkv, Wo, gain, n_head=2):
    """Causal self-attention with layer norm and a residual, heads by swapping axes."""
    T, D = x.shape
    mu = x.mean(-1, keepdims=True)
    normed = gain * (x - mu) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    qkv = (normed @ Wqkv).reshape(T, 3, n_head, D // n_head).transpose(1, 2, 0, 3)
    q, k, v = qkv
    mask = (1 - np.tri(T)) * -1e10
    weights = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(D // n_head) + mask)
    return x + (weights @ v).transpose(1, 0, 2).reshape(T, D) @ Wo


def batch_norm_mlp(params, x, y, momentum=0.9):
    """Two layers with batch normalisation and running statistics; loss and statistics."""
    running = []
    for i, (W, gamma, beta) in enumerate(params):
        x = x @ W
        mean, var = x.mean(axis=0), x.var(axis=0)
        x = gamma * (x - mean) / np.sqrt(var + 1e-5) + beta
        running.append((momentum * 0 + (1 - momentum) * mean, momentum * 1 + (1 - momentum) * var))
        if i < len(params) - 1:
            x = np.where(x > 0, x, 0.1 * x)
    return 0.5 * np.mean((x - y) ** 2), running


def word2vec_loss(centre, context, pairs, negatives):
    """Skip-gram with negative sampling."""
    u = centre[pairs[:, 0]]
    pos = np.einsum("nd,nd->n", u, context[pairs[:, 1]])
    neg = np.einsum("nd,nkd->nk", u, context[negatives])
    return -(np.log(sigmoid(pos)) + np.log(sigmoid(-neg)).sum(axis=1)).mean()


def glove_step(W, C, b, counts, lr=0.05, x_max=10.0):
    """Weighted least squares of log counts, and one step of its gradient written out in place."""
    i, j = np.nonzero(counts)
    x = counts[i, j]
    f = np.minimum((x / x_max) ** 0.75, 1.0)
    diff = (W[i] * C[j]).sum(1) + b[i] - np.log(x)
    W = W.copy()
    np.subtract.at(W, i, lr * (f * diff)[:, None] * C[j])
    return W, (f * diff**2).sum()


def kmeans(X, centres, iters=3):
    """Lloyd's algorithm with hard assignments: centres and the inertia."""
    k = len(centres)
    for _ in range(iters):
        d = ((X[:, None, :] - centres[None, :, :]) ** 2).sum(-1)
        label = d.argmin(axis=1)
        onehot = np.eye(k)[label]
        counts = onehot.sum(axis=0)
        centres = np.where(counts[:, None] > 0, onehot.T @ X / np.maximum(counts, 1)[:, None], centres)
    return centres, np.min(((X[:, None] - centres[None]) ** 2).sum(-1), axis=1).sum()


def kmeans_by_masks(X, centres, iters=2):
    """Lloyd's algorithm with a boolean mask for each cluster."""
    for _ in range(iters):
        label = np.argmin(np.linalg.norm(X[:, None] - centres, axis=2), axis=1)
        centres = np.stack([X[label == c].mean(axis=0) for c in range(len(centres))])
    return centres


def tsne_loss(Y, X, sigma=1.0):
    """Kullback-Leibler divergence of t-SNE between neighbourhoods of X and of its map Y."""

    def squared(a):
        s = np.sum(np.square(a), 1)
        return np.add(np.add(-2 * np.dot(a, a.T), s).T, s)

    n = len(X)
    P = np.exp(-squared(X) / (2 * sigma**2))
    P[range(n), range(n)] = 0.0
    P = P / P.sum(axis=1, keepdims=True)
    P = np.maximum((P + P.T) / (2 * n), 1e-12)
    num = 1.0 / (1.0 + squared(Y))
    num[range(n), range(n)] = 0.0
    Q = np.maximum(num / np.sum(num), 1e-12)
    return np.sum(P * np.log(P / Q))


def perceptron_epochs(w, X, y, epochs=2):
    """Rosenblatt's rule: an update where the sign is wrong."""
    w = w.copy()
    for _ in range(epochs):
        for xi, yi in zip(X, y, strict=True):
            if yi * np.dot(w, xi) <= 0:
                w += yi * xi
    return w


def svm_pegasos(w, X, y, lam=0.1, epochs=2):
    """Stochastic subgradients of the hinge loss, without branches."""
    t = 0
    for _ in range(epochs):
        for xi, yi in zip(X, y, strict=True):
            t += 1
            eta = 1 / (lam * t)
            margin = yi * (w @ xi)
            w = (1 - eta * lam) * w + eta * (margin < 1) * yi * xi
    return 0.5 * lam * w @ w + np.maximum(0, 1 - y * (X @ w)).mean()


def hopfield(patterns, probe, beta, steps=3):
    """Hebbian weights without a diagonal, and a soft recall: overlaps with the patterns and energy."""
    n = patterns.shape[1]
    W = patterns.T @ patterns / n
    np.fill_diagonal(W, 0)
    s = probe
    for _ in range(steps):
        s = np.tanh(beta * W @ s)
    return patterns @ s / n, -0.5 * s @ W @ s


def restricted_boltzmann(W, a, b, v, uniforms):
    """Contrastive divergence with given random numbers, and the free energy."""
    h = sigmoid(v @ W + b)
    sampled = (uniforms < h).astype(float)
    v1 = sigmoid(sampled @ W.T + a)
    h1 = sigmoid(v1 @ W + b)
    dW = (v.T @ h - v1.T @ h1) / len(v)
    free = -v @ a - np.log1p(np.exp(v @ W + b)).sum(axis=1)
    return dW, free.mean()


def vae_loss(params, x, eps):
    """Evidence lower bound of an autoencoder with one linear layer on each side."""
    enc, dec = params
    mean, logvar = np.split(np.tanh(x @ enc["w"]) @ enc["v"], 2, axis=-1)
    z = mean + np.exp(0.5 * logvar) * eps
    logits = np.tanh(z @ dec["w"]) @ dec["v"]
    recon = -np.sum(np.logaddexp(0, logits) - x * logits, axis=-1)
    kl = 0.5 * np.sum(np.exp(logvar) + mean**2 - 1 - logvar, axis=-1)
    return -np.mean(recon - kl)


def adam_fit(X, y, lr, steps=4):
    """Linear regression trained by Adam, gradients by hand, moments updated in place: a derivative of training."""
    w = np.zeros(X.shape[1])
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, steps + 1):
        g = 2 * X.T @ (X @ w - y) / len(y) + 0.01 * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w, np.mean((X @ w - y) ** 2)


def soft_decision_tree(x, split, threshold, leaves, depth=2):
    """A tree of logistic gates, by recursion."""

    def node(i, level):
        if level == depth:
            return leaves[i - 2**depth + 1]
        p = sigmoid(x @ split[i] - threshold[i])
        return p * node(2 * i + 2, level + 1) + (1 - p) * node(2 * i + 1, level + 1)

    return node(0, 0)


def q_learning(Q, alpha, gamma, transitions):
    """Tabular updates in place, one transition after another."""
    Q = Q.copy()
    for s, a, r, s2 in transitions:
        target = r + gamma * np.max(Q[s2])
        Q[s, a] += alpha * (target - Q[s, a])
    return Q


def graph_convolution(A, X, W1, W2, labels, train):
    """Two layers of a GCN with the normalised adjacency: loss on the nodes that are labelled."""
    A_hat = A + np.eye(len(A))
    d = A_hat.sum(1) ** -0.5
    A_hat = d[:, None] * A_hat * d[None, :]
    H = np.maximum(A_hat @ X @ W1, 0)
    logp = np.log(softmax(A_hat @ H @ W2))
    return -np.mean(logp[train, labels[train]])


points = np.concatenate([rng.normal(size=(4, 2)), rng.normal(size=(4, 2)) + 3])
signs = np.repeat([-1.0, 1.0], 4)
adjacency = np.array([[0, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0]], float)
moves = [(0, 1, 0.5, 2), (2, 0, -1.0, 1), (1, 1, 2.0, 0), (0, 1, 1.0, 1)]

PROGRAMS = [
    Program(
        "neural networks",
        lstm,
        ({"W": rng.normal(size=(2, 12)), "U": rng.normal(size=(3, 12)), "b": np.zeros(12)}, rng.normal(size=(3, 2))),
    ),
    Program("neural networks", gru_in_batches, (*0.5 * rng.normal(size=(3, 5, 3)), rng.normal(size=(2, 3, 2)))),
    Program(
        "neural networks",
        convnet_im2col,
        (
            rng.random((2, 6, 6)),
            rng.normal(size=(2, 3, 3)),
            np.zeros(2) + 0.1,
            rng.normal(size=(8, 3)),
            np.array([2, 0]),
        ),
    ),
    Program(
        "language models",
        attention_block,
        (rng.normal(size=(4, 6)), 0.5 * rng.normal(size=(6, 18)), rng.normal(size=(6, 6)), np.ones(6)),
    ),
    Program(
        "neural networks",
        batch_norm_mlp,
        (
            [
                (rng.normal(size=(2, 4)), np.ones(4), np.zeros(4) + 0.1),
                (rng.normal(size=(4, 1)), np.ones(1), np.ones(1)),
            ],
            points,
            signs[:, None],
        ),
    ),
    Program(
        "language models",
        word2vec_loss,
        (
            rng.normal(size=(5, 3)),
            rng.normal(size=(5, 3)),
            np.array([[0, 1], [2, 3], [0, 4]]),
            np.array([[2, 3], [0, 0], [1, 3]]),
        ),
    ),
    Program(
        "language models",
        glove_step,
        (rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), rng.normal(size=3)),
        {"counts": np.array([[0, 5, 1], [5, 0, 0], [1, 0, 20]])},
        rounds="np.subtract.at",
    ),
    Program("clustering", kmeans, (points, points[[0, 5]]), creates=True),
    Program(
        "clustering",
        kmeans_by_masks,
        (points, points[[0, 5]]),
    ),
    Program("visualisation", tsne_loss, (rng.normal(size=(5, 2)), rng.normal(size=(5, 4)))),
    Program(
        "neural networks",
        perceptron_epochs,
        (np.array([0.1, -0.1]), points, signs),
        refused={"jit": "np.where(condition, a, b)", "vmap": "np.where(condition, a, b)"},
    ),
    Program("machine learning", svm_pegasos, (np.array([0.1, -0.1]), points, signs), {"epochs": 1}),
    Program("neural networks", hopfield, (rng.choice([-1.0, 1.0], (2, 6)), rng.normal(size=6), 1.3)),
    Program(
        "neural networks",
        restricted_boltzmann,
        (rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=3), rng.random((2, 4)), rng.random((2, 3))),
    ),
    Program(
        "neural networks",
        vae_loss,
        (
            (
                {"w": rng.normal(size=(4, 3)), "v": rng.normal(size=(3, 4))},
                {"w": rng.normal(size=(2, 3)), "v": rng.normal(size=(3, 4))},
            ),
            rng.random((3, 4)),
            rng.normal(size=(3, 2)),
        ),
    ),
    Program("machine learning", adam_fit, (rng.normal(size=(5, 2)), rng.normal(size=5), 0.1)),
    Program(
        "machine learning",
        soft_decision_tree,
        (rng.normal(size=2), rng.normal(size=(3, 2)), rng.normal(size=3), rng.normal(size=4)),
    ),
    Program("reinforcement learning", q_learning, (rng.normal(size=(3, 2)), 0.5, 0.9), {"transitions": moves}),
    Program(
        "graphs",
        graph_convolution,
        (adjacency, rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(4, 2))),
        {"labels": np.array([0, 0, 1, 1, 1]), "train": np.array([True, False, True, False, True])},
    ),
]
