"""Solutions of chapter 4. Each `wrong_…` is a likely wrong answer, which the chapter's check refuses."""

import importlib

import numpy as np

import tracegrad as tg

chapter = importlib.import_module("04_descent")


def softmax_rule(ct, out):
    """The sum over k of ct_k p_k (δ_kj - p_j) is p_j (ct_j - Σ_k ct_k p_k): K multiplications a row instead of K²."""
    return out * (ct - np.sum(ct * out, axis=-1, keepdims=True))


def wrong_softmax_rule(ct, out):
    """Takes the diagonal of the Jacobian for all of it, as if each probability depended on its own score alone."""
    return ct * out * (1 - out)


def fan_out(x, n):
    """Each product hands one part to yₖ₋₁ and one to x; both uses of x are added, as is the one as y₁."""
    kept = [x]
    for _ in range(n - 1):
        kept.append(kept[-1] * x)
    ct, total = np.ones_like(x), np.zeros_like(x)
    for before in reversed(kept[:-1]):
        total = total + ct * before
        ct = ct * x
    return total + ct


def wrong_fan_out(x, n):
    """Keeps the last contribution instead of the sum, as a library does that writes `grad = …` where it should `+=`."""
    ct = np.ones_like(x)
    for _ in range(n - 1):
        ct = ct * x
    return ct


def find_wrong(rules):
    """What `check_grads` refuses is wrong."""
    wrong = set()
    for name, (evaluate, rule) in rules.items():
        inputs, parameters = chapter.examples(name)
        try:
            tg.testing.check_grads(chapter.with_rule(evaluate, rule, **parameters), inputs, order=1, modes="rev")
        except tg.testing.GradientError:
            wrong.add(name)
    return wrong


def wrong_find_wrong(rules):
    """Looks at sizes only, and so misses a wrong sign."""
    return set()


def through_sigmoids(x, depth):
    """The chain rule for a chain: all slopes multiply, each taken at the value that is there."""
    slope = 1.0
    for _ in range(depth):
        x = 1 / (1 + np.exp(-x))
        slope = slope * x * (1 - x)
    return slope


def wrong_through_sigmoids(x, depth):
    """Takes every slope at the same place."""
    out = 1 / (1 + np.exp(-x))
    return (out * (1 - out)) ** depth
