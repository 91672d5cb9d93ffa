"""Solutions to chapter 0, each with the usual mistake beside it."""

import importlib

import numpy as np

chapter = importlib.import_module("00_library")


def exp_rule(g, out, a):
    """The derivative of exp is exp, which is there already: it is the node's own value."""
    return [g * out]


def wrong_exp_rule(g, out, a):
    """The derivative of exp alone, without what comes after it: the chain rule's other factor is missing."""
    return [out]


def jvp(f, x, v):
    """The derivative by g of (Jᵀ g) · v = g · (J v) is J v. As the map is linear in g, it does not matter at which g: zeros will do."""

    def product(g):
        point = +chapter.as_node(x)
        y = chapter.as_node(f(point))
        return np.sum(chapter.backward(y, point, g) * v)

    return chapter.grad(product)(np.zeros(chapter.trace(f, x).output.shape))


def wrong_jvp(f, x, v):
    """Jᵀ v, which is something else as soon as J is not symmetric, and needs as many numbers in v as f returns."""
    point = +chapter.as_node(x)
    y = chapter.as_node(f(point))
    weights = np.resize(v, y.shape)
    return chapter.evaluate(chapter.Graph([], chapter.backward(y, point, weights)))


def merged(graph):
    """In order, so that operands are merged before what is made of them. Two nodes are the same if operation, operands and parameters are."""
    new, known = {node.number: node for node in graph.inputs}, {}
    for node in graph.nodes[len(graph.inputs) :]:
        operands = [new[i.number] for i in node.inputs]
        key = (node.op, tuple(o.number for o in operands), tuple(node.params.items()))
        if node.op == "constant":
            new[node.number] = node
        else:
            if key not in known:
                known[key] = chapter.Node(node.op, operands, node.shape, params=node.params)
            new[node.number] = known[key]
    return chapter.Graph(graph.inputs, new[graph.output.number])


def wrong_merged(graph):
    """Without the parameters: x[0] and x[1] are both "take x", and become the same."""
    new, known = {node.number: node for node in graph.inputs}, {}
    for node in graph.nodes[len(graph.inputs) :]:
        operands = [new[i.number] for i in node.inputs]
        key = (node.op, tuple(o.number for o in operands), node.value is None or node.number)
        new[node.number] = known.setdefault(key, chapter.Node(node.op, operands, node.shape, node.value, node.params))
    return chapter.Graph(graph.inputs, new[graph.output.number])
