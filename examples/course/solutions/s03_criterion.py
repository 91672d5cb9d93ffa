"""Solutions of chapter 3. Each `wrong_…` is a likely wrong answer, which the chapter's check refuses."""

import numpy as np


def log_softmax(s):
    m = np.max(s, axis=1, keepdims=True)
    return s - m - np.log(np.sum(np.exp(s - m), axis=1, keepdims=True))


def coin(heads, tosses):
    """The derivative -heads / p + (tosses - heads) / (1 - p) is zero at p = heads / tosses: the share that was observed."""
    return lambda p: -heads * np.log(p) - (tosses - heads) * np.log(1 - p), heads / tosses


def wrong_coin(heads, tosses):
    """Forgets the tosses that were tails; the loss then falls all the way to p = 1."""
    return lambda p: -heads * np.log(p), heads / tosses


def smoothed(s, y, epsilon):
    """Cross-entropy with a target that is a distribution itself. It is least at p = target, which finite scores reach: the
    gap between the true score and the others is ln((1 - ε + ε / K) / (ε / K))."""
    classes = s.shape[1]
    target = (1 - epsilon) * np.eye(classes)[y] + epsilon / classes
    return -np.sum(target * log_softmax(s))


def wrong_smoothed(s, y, epsilon):
    """Gives ε / K to the other classes but takes all of ε from the true one, so that the target does not sum to 1."""
    classes = s.shape[1]
    target = (1 - epsilon) * np.eye(classes)[y] + epsilon / classes * (1 - np.eye(classes)[y])
    return -np.sum(target * log_softmax(s))


def weighted(s, y, weights):
    """Each point stands for as many copies as its weight says; the mean is over the copies."""
    of_points = weights[y]
    return -np.sum(of_points * log_softmax(s)[np.arange(len(y)), y]) / np.sum(of_points)


def wrong_weighted(s, y, weights):
    """Divides by the number of points: with other weights the loss, and so the best step size, changes its scale."""
    return -np.mean(weights[y] * log_softmax(s)[np.arange(len(y)), y])
