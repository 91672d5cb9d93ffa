"""Solutions to chapter 2, each with the usual mistake beside it."""

import numpy as np


def line_through(p, q):
    """The direction from p to q, turned left by a quarter, is perpendicular to the line. b makes the score 0 at p."""
    along = q - p
    w = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    return w, -w @ p


def wrong_line_through(p, q):
    """w along the line: but w is perpendicular to the points where the score is constant."""
    w = (q - p) / np.linalg.norm(q - p)
    return w, -w @ p


def as_one_perceptron(W, b):
    """e^s₀ / (e^s₀ + e^s₁) = 1 / (1 + e^-(s₀ - s₁)): the sigmoid of the difference of the scores."""
    return W[:, 0] - W[:, 1], b[0] - b[1]


def wrong_as_one_perceptron(W, b):
    """The first class's score alone. That is right only if the other's is always 0."""
    return W[:, 0], b[0]


def softmax_at(s, temperature):
    """Subtract the largest score first, and divide then: all exponents are at most 0, however cold it is."""
    e = np.exp((s - np.max(s)) / temperature)
    return e / np.sum(e)


def wrong_softmax_at(s, temperature):
    """Multiplied rather than divided: right at 1, and the wrong way round elsewhere."""
    e = np.exp((s - np.max(s)) * temperature)
    return e / np.sum(e)
