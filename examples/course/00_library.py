# %% [markdown]
# # 0. A library in 170 lines
#
# **After this chapter you can** say what a tracer, a graph and a transform are, since you have built them: a library that
# differentiates NumPy functions to any order, runs them over batches, and compiles them to Python source.
#
# It is the one chapter that may be read last. Whoever wants to know what neural networks are begins with chapter 1, and comes
# back when the question arises of what `tg.grad` does inside. All that is needed here is the chain rule and some Python.
#
# ## The plan
#
# A computer that is to differentiate $f(x) = x \sin x$ has to see that $f$ multiplies, and what it multiplies. Python gives us
# a callable, which we cannot look into. But we can call it, with something that is no number: an object that *writes down*
# what is done to it. Such an object is a **tracer**, and what it has written down is a **graph**: which operations were applied to
# which values. Everything else walks over the graph:
#
# - **evaluate** it with numbers;
# - **grad**: make from it another graph, which computes the derivative;
# - **vmap**: make another one, which does the same for each row of a batch;
# - **jit**: make Python source from it, and run that.
#
# Each of these takes a function and gives a function back. That is a **transform**. As each result can be traced like any other
# function, they combine: the derivative of a derivative needs no line of its own.

# %%
from itertools import count

import matplotlib.pyplot as plt
import numpy as np
from course import attempt, draw_boxes, show

import tracegrad as tg

# %% [markdown]
# ## A node stands for a value
#
# A `Node` has an operation, the nodes that this is applied to, and the shape of the result. There are two kinds without operands:
# an input, whose value comes later, and a constant, which has its value.
#
# NumPy helps. Its functions that go element by element, such as `np.sin`, are called *ufuncs*. Where one of them meets an object with a method
# `__array_ufunc__`, it does not compute but calls that method, so that `np.sin(node)` ends up in our hands. `NDArrayOperatorsMixin` sends `+`, `*`,
# `@` and the others the same way, and `__array_function__` is for functions such as `np.sum` that are no ufuncs. The functions that we shall
# differentiate are therefore plain NumPy.
#
# Each node takes the next number. As a node is made of nodes that exist already, **operands always have smaller numbers than what is
# made of them**. That is the only thing to know about order, and all of the library rests on it.


# %%
numbers = count()


class Node(np.lib.mixins.NDArrayOperatorsMixin):
    """A value in a graph: an input, a constant, or what an operation makes of other nodes."""

    def __init__(self, op, inputs=(), shape=(), value=None, params=None):
        self.op, self.inputs, self.shape, self.value, self.params = op, list(inputs), shape, value, params or {}
        self.number = next(numbers)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):  # np.sin(node), node * array, array @ node
        if method != "__call__" or options:
            raise TypeError(f"this library knows no np.{ufunc.__name__} with {method} and {options}")
        return apply(ufunc.__name__, *inputs)

    def __array_function__(self, function, types, args, options):  # np.sum(node), np.reshape(node, ...)
        if function not in FUNCTIONS:
            raise TypeError(f"this library knows no np.{function.__name__}")
        return FUNCTIONS[function](*args, **options)

    def __getitem__(self, row):
        return apply("take", self, row=range(self.shape[0])[row])

    def __len__(self):
        return self.shape[0]

    T = property(lambda self: np.transpose(self))
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape)))


def as_node(value):
    """The node itself, or a constant that holds the array."""
    return value if isinstance(value, Node) else Node("constant", shape=np.shape(value), value=np.asarray(value))


def apply(op, *inputs, **params):
    """A node for an operation on nodes and arrays. The shape of its value is found by trying the operation on ones."""
    if op not in OPS:
        raise TypeError(f"this library knows no {op}")
    inputs = [as_node(i) for i in inputs]
    shape = np.shape(OPS[op][0](*(np.ones(i.shape) for i in inputs), **params))
    return Node(op, inputs, shape, params=params)


# %% [markdown]
# ## What an operation is: a value and a derivative
#
# Say the graph ends in one number, the loss $L$, and somewhere inside it $o = \mathrm{op}(a, b)$. The chain rule says
#
# $$\frac{\partial L}{\partial a} = \frac{\partial L}{\partial o} \cdot \frac{\partial o}{\partial a}.$$
#
# So it is enough to know for each operation what it makes of $g = \partial L / \partial o$, called the **cotangent** of $o$: the cotangents
# of its operands. For $o = ab$ these are $g b$ and $g a$; for $o = \sin a$ it is $g \cos a$. `OPS` has for each operation the function
# that computes it, and this rule.
#
# One decision makes the difference between a toy and a library. The rules below do not compute with numbers. Their `g`, `out`, `a`, `b`
# are nodes, and `g * np.cos(a)` makes nodes: **a rule builds graph**. What `grad` returns is therefore a graph as well, with the same
# operations in it, and can be differentiated by the same rules.


# %%
def matmul_rule(g, out, a, b):
    """For matrices, g @ bᵀ and aᵀ @ g. A vector is a matrix of one row on the left, of one column on the right."""
    a2 = np.reshape(a, (1, -1)) if a.ndim == 1 else a
    b2 = np.reshape(b, (-1, 1)) if b.ndim == 1 else b
    g2 = np.reshape(g, (a2.shape[0], b2.shape[1]))
    return np.reshape(g2 @ b2.T, a.shape), np.reshape(a2.T @ g2, b.shape)


def place(x, row, rows):
    """Zeros, but for x in one row: what `take` takes, put back."""
    out = np.zeros((rows, *np.shape(x)))
    out[row] = x
    return out


def sum_rule(g, out, a, axis):
    """Each summand counts once: the cotangent of the sum is that of every summand."""
    kept = tuple(1 if i in axis else n for i, n in enumerate(a.shape))
    return [np.broadcast_to(np.reshape(g, kept), a.shape)]


OPS = {  # name: (the function that computes it, the cotangents of its operands)
    "positive": (np.positive, lambda g, out, a: [g]),
    "negative": (np.negative, lambda g, out, a: [-g]),
    "add": (np.add, lambda g, out, a, b: [g, g]),
    "subtract": (np.subtract, lambda g, out, a, b: [g, -g]),
    "multiply": (np.multiply, lambda g, out, a, b: [g * b, g * a]),
    "divide": (np.divide, lambda g, out, a, b: [g / b, -g * out / b]),
    "power": (np.power, lambda g, out, a, n: [g * n * a ** (n - 1), g * out * np.log(a)]),
    "sin": (np.sin, lambda g, out, a: [g * np.cos(a)]),
    "cos": (np.cos, lambda g, out, a: [-g * np.sin(a)]),
    "log": (np.log, lambda g, out, a: [g / a]),
    "tanh": (np.tanh, lambda g, out, a: [g * (1 - out * out)]),
    "matmul": (np.matmul, matmul_rule),
    "sum": (np.sum, sum_rule),
    "reshape": (np.reshape, lambda g, out, a, shape: [np.reshape(g, a.shape)]),
    "transpose": (np.transpose, lambda g, out, a: [g.T]),
    "broadcast_to": (np.broadcast_to, lambda g, out, a, shape: [g]),
    "take": (lambda x, row: x[row], lambda g, out, a, row: [apply("place", g, row=row, rows=len(a))]),
    "place": (place, lambda g, out, a, row, rows: [g[row]]),
    "stack": (lambda *rows: np.stack(rows), lambda g, out, *rows: [g[i] for i in range(len(rows))]),
}


def sum_of(x, axis=None):
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
    return apply("sum", x, axis=tuple(int(i) % x.ndim for i in axes))


FUNCTIONS = {  # NumPy's functions that are no ufuncs, for nodes
    np.sum: sum_of,
    # total.size / x.size is one over how many numbers each sum is of.
    np.mean: lambda x, axis=None: (total := np.sum(x, axis=axis)) * (total.size / x.size),
    np.reshape: lambda x, shape: apply("reshape", x, shape=np.broadcast_to(0.0, x.shape).reshape(shape).shape),
    np.transpose: lambda x: apply("transpose", x),
    np.broadcast_to: lambda x, shape: apply("broadcast_to", x, shape=tuple(shape)),
    np.stack: lambda rows: apply("stack", *rows),
}


# %% [markdown]
# ## Tracing, and running what was traced
#
# `trace` calls the function with inputs in place of arrays, and keeps what comes out. What the output depends on is found by walking
# from it to operands, and sorted by number. `evaluate` goes through that in order: when a node's turn comes, the values of
# its operands are there.


# %%
def reachable(output):
    """The nodes that output is made of, operands before what is made of them."""
    found, todo = {}, [output]
    while todo:
        node = todo.pop()
        if node.number not in found:
            found[node.number] = node
            todo += node.inputs
    return [found[number] for number in sorted(found)]


class Graph:
    """A function as a graph: its inputs, its output, and the nodes that this is made of, in order."""

    def __init__(self, inputs, output):
        self.inputs, self.output = inputs, output
        self.nodes = inputs + [node for node in reachable(output) if all(node is not i for i in inputs)]
        letters = (chr(97 + i) if i < 26 else f"v{i}" for i in count())
        self.names = {node.number: next(letters) for node in self.nodes}

    def __str__(self):
        lines = []
        for node in self.nodes:
            operands = [self.names[i.number] for i in node.inputs] + [f"{k}={v}" for k, v in node.params.items()]
            value = [] if node.value is None else [np.array2string(node.value, threshold=4)]
            lines.append("  ".join([f"{self.names[node.number]}:{list(node.shape)} =", node.op, *operands, *value]))
        return "\n".join([*lines, f"return {self.names[self.output.number]}"])


def trace(f, *args):
    """The graph of f for arrays of these shapes. Their values are not looked at."""
    inputs = [Node("input", shape=np.shape(a)) for a in args]
    return Graph(inputs, as_node(f(*inputs)))


def evaluate(graph, *args):
    """The graph's value with these arrays for its inputs."""
    values = {node.number: np.asarray(a) for node, a in zip(graph.inputs, args, strict=True)}
    for node in graph.nodes[len(args) :]:
        operands = [values[i.number] for i in node.inputs]
        values[node.number] = node.value if node.op == "constant" else OPS[node.op][0](*operands, **node.params)
    return values[graph.output.number]


# %% [markdown]
# Here is the first graph. Each line is a node: its name, its shape, its operation, and what that is applied to.


# %%
def f(x):
    return np.sin(x) * x


graph = trace(f, 2.0)
print(graph)
assert [node.op for node in graph.nodes] == ["input", "sin", "multiply"]
assert evaluate(graph, 2.0) == np.sin(2.0) * 2.0

# %% [markdown]
# ## The derivative, backwards through the graph
#
# We begin at the end: the cotangent of $L$ itself is $\partial L / \partial L = 1$. Then all nodes in *falling* order of number. When a
# node's turn comes, everything that uses it has had its turn, so its cotangent is complete; its rule then passes cotangents on to its
# operands. Two things must be right, and both are single lines here:
#
# - A value that is used twice influences the loss in two ways, and these **add up**: $\partial L/\partial a = \sum_{\text{uses}} \ldots$
# - NumPy **broadcasts**: in `x * y` with shapes (1, 3) and (2, 3), each number of `x` is used twice. That is also a value with several uses, so
#   cotangents are summed over the axes along which the operand was repeated (`unbroadcast`).


# %%
def unbroadcast(g, shape):
    """Sums g over the axes along which an operand of this shape was repeated."""
    extra = g.ndim - len(shape)
    repeated = [i for i in range(g.ndim) if i < extra or (shape[i - extra] == 1 and g.shape[i] != 1)]
    return np.reshape(np.sum(g, axis=tuple(repeated)), shape) if repeated else g


def backward(y, x, g=None):
    """The node of the derivative of y by x. g is the cotangent of y: 1 where y is a number."""
    cotangents = {y.number: as_node(np.ones(y.shape) if g is None else g)}
    for node in reversed(reachable(y)):
        if node.inputs and node.number in cotangents:
            rule = OPS[node.op][1](cotangents[node.number], node, *node.inputs, **node.params)
            for operand, cotangent in zip(node.inputs, rule, strict=True):
                cotangent, number = unbroadcast(cotangent, operand.shape), operand.number
                cotangents[number] = cotangents[number] + cotangent if number in cotangents else cotangent
    return cotangents.get(x.number, as_node(np.zeros(x.shape)))


# %% [markdown]
# ## Transforms
#
# `grad(f)` is a function that, called with nodes, returns the node of the derivative. Its first line makes a new node `+x` which stands for
# the argument of this call alone, so that the inner `grad` in a function like `lambda x: grad(lambda y: x * y)(x)` does not mistake the
# outer `x` for its own `y`.
#
# Called with arrays, it should return an array. `run` sees to that for every transform: it traces and evaluates, unless a trace is going on already,
# on whose nodes the value depends. Then what is asked for is one more part of that.


# %%
def is_part(graph):
    """Whether the function used a node from outside, so that its value depends on inputs of a trace around it."""
    return any(node.op == "input" for node in graph.nodes[len(graph.inputs) :])


def run(f, *args):
    """f at arrays, which is an array; or a node where the value depends on nodes of a trace around us."""
    if any(isinstance(a, Node) for a in args):
        return f(*args)
    graph = trace(f, *args)
    return f(*args) if is_part(graph) else evaluate(graph, *args)


def grad(f):
    """The function that gives the derivative of f by its first argument. f returns a number."""

    def derivative(x, *rest):
        x = +as_node(x)
        y = as_node(f(x, *rest))
        if y.shape != ():
            raise ValueError(f"grad needs a function that returns a number; this returned an array of shape {y.shape}")
        return backward(y, x)

    return lambda *args: run(derivative, *args)


def vmap(f):
    """The function that applies f to each row of its arguments, and stacks what comes out."""

    def rows(*args):
        return np.stack([as_node(f(*(a[i] for a in args))) for i in range(len(args[0]))])

    return lambda *args: run(rows, *args)


def source(graph):
    """The graph as the source of a Python function of its inputs and its constants."""
    head, body = [graph.names[i.number] for i in graph.inputs], []
    for node in graph.nodes[len(head) :]:
        name = graph.names[node.number]
        if node.op == "constant":
            head.append(f"{name}=constants[{name!r}]")
        else:
            operands = [graph.names[i.number] for i in node.inputs] + [f"{k}={v!r}" for k, v in node.params.items()]
            body.append(f"    {name} = {node.op}({', '.join(operands)})")
    return "\n".join([f"def compiled({', '.join(head)}):", *body, f"    return {graph.names[graph.output.number]}"])


def jit(f):
    """f, traced once for each combination of shapes, and then run as source."""
    programs = {}

    def call(*args):
        if any(isinstance(a, Node) for a in args):
            return f(*args)
        shapes = tuple(np.shape(a) for a in args)
        if shapes not in programs:
            graph = trace(f, *args)
            if is_part(graph):
                return f(*args)
            constants = {graph.names[n.number]: n.value for n in graph.nodes if n.op == "constant"}
            names = {name: function for name, (function, _) in OPS.items()} | {"constants": constants}
            exec(source(graph), names)
            programs[shapes] = names["compiled"]
        return programs[shapes](*args)

    return call


# %% [markdown]
# That is the library. What follows uses it.
#
# ## The first derivative
#
# $f(x) = x \sin x$ has the derivative $\sin x + x \cos x$. Here is the graph that `grad` made, and the source that `jit` makes of it.

# %%
print(trace(grad(f), 2.0))
print()
print(source(trace(grad(f), 2.0)))

for x in (0.5, 2.0, -3.0):
    expected = np.sin(x) + x * np.cos(x)
    assert np.isclose(grad(f)(x), expected, rtol=1e-14)
    assert np.isclose(jit(grad(f))(x), expected, rtol=1e-14)

# %% [markdown]
# Line by line: `a` is the input and `b` the copy that `grad` made of it. `c` is $\sin x$, which the rule of the product needs. `d` is where we began, $\partial L / \partial L = 1$. The product
# passes `e` $= 1 \cdot x$ to its operand $\sin x$, and `f` $= 1 \cdot \sin x$ to its operand $x$. `g` and `h` are the rule of the sine: $e \cos x$. The last line adds up what came to $x$ from its two uses:
# $\sin x + x \cos x$. The product $x \sin x$ itself is not there: no rule has asked for it, and only what the output needs is kept.
#
# As pictures, the graph of $f$ above and that of its derivative below. Inputs are round, constants have no frame, and the output has a thick one.


# %%
def draw(axes, graph):
    """The graph as boxes and arrows, from left to right."""
    labels, kinds = {}, {}
    for node in graph.nodes:
        name = graph.names[node.number]
        is_constant, is_input = node.op == "constant", node.op == "input"
        labels[name] = f"{node.value:g}" if is_constant else name if is_input else f"{name}\n{node.op}"
        kinds[name] = "constant" if is_constant else "input" if is_input else "op"
    kinds[graph.names[graph.output.number]] = "output"
    arrows = [(graph.names[i.number], graph.names[node.number], "") for node in graph.nodes for i in node.inputs]
    draw_boxes(axes, labels, arrows, kinds)


figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.8), height_ratios=(1, 1.6))
draw(above, trace(f, 2.0))
draw(below, trace(grad(f), 2.0))
above.set_title("sin(x) · x", loc="left")
below.set_title("its derivative", loc="left")
show(figure, "00_graphs")

# %% [markdown]
# ## Twenty functions, against the full library
#
# tracegrad is the same plan, carried out in full. It takes the same functions; so each of these is differentiated by both. The test is equality to
# 12 digits.

# %%
rng = np.random.default_rng(0)
A, b = rng.normal(size=(3, 3)), rng.normal(size=3)


def iterated(x):
    for _ in range(20):
        x = np.sin(x) * 1.1
    return np.sum(x)


functions = {
    "sin": lambda x: np.sum(np.sin(x)),
    "product": lambda x: np.sum(np.sin(x) * x),
    "polynomial": lambda x: np.sum(x**3 - 2 * x + 1),
    "quotient": lambda x: np.sum(x / (1 + x * x)),
    "logarithm": lambda x: np.sum(np.log(1 + x**2)),
    "tanh": lambda x: np.sum(np.tanh(3 * x - 1)),
    "opposites": lambda x: np.sum(x + (-x)),
    "broadcast over rows": lambda x: np.sum(x * np.arange(6.0).reshape(2, 3)),
    "broadcast over columns": lambda x: np.sum(np.reshape(x, (3, 1)) * np.ones((3, 4)) ** 2),
    "square of a sum": lambda x: np.sum(x) ** 2,
    "matrix times vector": lambda x: np.sum(A @ x),
    "quadratic form": lambda x: x @ (A @ x),
    "layer": lambda x: np.sum(np.tanh(x @ A + b)),
    "two layers": lambda x: np.sum(np.tanh(np.tanh(x @ A + b) @ A)),
    "outer product": lambda x: np.sum(np.cos(np.reshape(x, (3, 1)) @ np.reshape(x, (1, 3)))),
    "sums by column": lambda x: np.sum(np.sum(A * x, axis=0) ** 2),
    "elements": lambda x: x[0] * x[1] + np.sin(x[2]),
    "variance": lambda x: np.mean((x - np.mean(x)) ** 2),
    "stack": lambda x: np.sum(np.stack([x, x * x, np.cos(x)]).T @ A),
    "a loop": iterated,
}
assert len(functions) == 20

x = np.array([0.3, -1.2, 2.0])
worst = 0.0
for name, function in functions.items():
    ours, theirs = grad(function)(x), tg.grad(function)(x)
    worst = max(worst, np.max(np.abs(ours - theirs)))
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-12), name
    assert np.allclose(jit(grad(function))(x), theirs, rtol=1e-12, atol=1e-12), name
print(f"largest difference from tracegrad's gradients, of {len(functions)} functions: {worst:.1e}")

# %% [markdown]
# ## Transforms of transforms
#
# The derivative of $\sin$'s derivative is $-\sin$, and so on in a circle. Nothing was written for it: `grad(sin)` is a function like any other.
#
# In the same way `vmap(grad(f))` is a derivative for each row, and `grad` of a sum over `vmap(f)` goes through the batch.

# %%
xs = np.linspace(-2, 2, 5)
assert np.allclose(vmap(grad(grad(np.sin)))(xs), -np.sin(xs), rtol=0, atol=1e-15)
assert np.allclose(vmap(grad(grad(grad(grad(np.sin)))))(xs), np.sin(xs), rtol=0, atol=1e-15)

g, t = grad(np.tanh), tg.grad(np.tanh)
for _ in range(3):
    g, t = grad(g), tg.grad(t)
assert np.isclose(g(0.7), t(0.7), rtol=1e-12)  # the fourth derivative

# The derivative of x · y by y is x, at whatever y; so both of these are the derivative of x · x.
assert grad(lambda x: x * grad(lambda y: x * y)(x))(3.0) == 6.0
assert grad(lambda x: x * grad(lambda y: x * y)(5.0))(3.0) == 6.0


def energy(w, batch):
    return np.sum(vmap(lambda row: np.tanh(w @ row))(batch))


batch, w = rng.normal(size=(5, 3)), rng.normal(size=3)
expected = tg.grad(lambda w, batch: np.sum(np.tanh(batch @ w)))(w, batch)
assert np.allclose(jit(grad(energy))(w, batch), expected, rtol=1e-12)
assert grad(lambda x: jit(lambda y: x * y)(5.0))(3.0) == 5.0

figure, axes = plt.subplots(figsize=(7, 3.2))
fine = np.linspace(-4, 4, 161)
function = np.tanh
for order, label in enumerate(["tanh", "first derivative", "second", "third"]):
    axes.plot(fine, vmap(function)(fine), label=label, lw=2.5 - 0.5 * order)
    function = grad(function)
axes.set(xlabel="x", title="tanh and its derivatives, by grad of grad of grad")
axes.legend()
show(figure, "00_derivatives")

# %% [markdown]
# ## What the usual toy gets wrong
#
# Small libraries for teaching often go backwards in another order: breadth first, from the loss to its operands, to theirs, and so on. And they often leave
# broadcasting out. Below is that loop, with our nodes and rules, so that what it leaves out is the only difference.


# %%
def usual_backward(y, x):
    """As often written. A node's cotangent is the sum over those that use it, whose cotangents are hopefully there."""
    nodes = reachable(y)
    cotangents, queue, seen = {}, [y], {y.number}
    while queue:
        node = queue.pop(0)
        if node is y:
            cotangents[node.number] = as_node(1.0)
        else:
            total = None
            for user in nodes:
                operands = [i.number for i in user.inputs]
                if node.number in operands:
                    rule = OPS[user.op][1](cotangents[user.number], user, *user.inputs, **user.params)
                    part = rule[operands.index(node.number)]
                    total = part if total is None else total + part
            cotangents[node.number] = total
        for operand in node.inputs:
            if operand.number not in seen:
                seen.add(operand.number)
                queue.append(operand)
    return cotangents[x.number]


def usual_grad(f):
    return lambda *args: run(lambda x: usual_backward(f(x), x), *args)


# %% [markdown]
# On $x \sin x$ it is right. On $a + (-a)$, whose derivative is zero, it fails: breadth first, the sum comes first, then its operands in order: `a` before `-a`. But `a`
# is used by `-a` as well, whose cotangent is not there yet. Falling numbers cannot go wrong in this way.
#
# On a product with broadcasting it returns an array that has not even the shape of `x`: a step $x - \eta\,\partial L/\partial x$ would silently make `x` a matrix.
#
# And there is a third one: `x * x`. The toy looks up which operand `x` is, finds the first, and counts it once.

# %%
a = np.array([1.0, 2.0, 3.0])
row = np.array([[1.0, 2.0, 3.0]])
opposites = lambda a: np.sum(a + (-a))
broadcast = lambda x: np.sum(x * np.ones((2, 3)))

assert np.isclose(usual_grad(f)(2.0), grad(f)(2.0))
try:
    usual_grad(opposites)(a)
except KeyError:
    print(f"a + (-a)           the usual toy: KeyError        here: {grad(opposites)(a)}")
else:
    raise AssertionError("breadth first should have failed")
print(
    f"x * ones((2, 3))   the usual toy: shape {usual_grad(broadcast)(row).shape}  here: shape {grad(broadcast)(row).shape}"
)
print(
    f"x * x at 3         the usual toy: {usual_grad(lambda x: x * x)(3.0)}           here: {grad(lambda x: x * x)(3.0)}"
)

assert np.array_equal(grad(opposites)(a), [0.0, 0.0, 0.0])
assert usual_grad(broadcast)(row).shape == (2, 3)
assert grad(broadcast)(row).shape == (1, 3)
assert np.array_equal(grad(broadcast)(row), [[2.0, 2.0, 2.0]])
assert usual_grad(lambda x: x * x)(3.0) == 3.0 and grad(lambda x: x * x)(3.0) == 6.0

# %% [markdown]
# ## What the full library adds
#
# This is the gradient of $x \sin x$ as tracegrad traces it. It reads like ours; in addition, each equation knows its dtype and the line of the program that it comes from.

# %%
print(tg.make_graph(tg.grad(f))(2.0))

# %%
show(tg.draw(tg.grad(f), 2.0, gradients=False, backward="beside"), "00_full")

# %% [markdown]
# (The page that was just written shows this graph with its values, to be opened in a browser: what $f$ computes, and in orange beside it what the derivative adds.)
#
# The plan is the same, and the rest is thoroughness: more than two hundred operations rather than 19, a rule for batching each of them in place of the loop in `vmap`, loops and branches as single nodes, writes into
# arrays, forward mode, memory, other hardware, and error messages. One difference is to be known. Our tracers have no values, so that `if x > 0` cannot be answered while tracing. Under `tg.grad`
# alone they do carry values, and Python's branches work.
#
# ## Exercises
#
# Write the body in place of `raise NotImplementedError`; the line below each says what it thinks of your answer. Solutions are in `solutions/s00_library.py`.
#
# **1. The exponential function.** `np.exp` is missing from `OPS`. Write its rule.


# %%
def exp_rule(g, out, a):
    """The list of the one cotangent of a, where out = exp(a) has the cotangent g. All three are nodes."""
    raise NotImplementedError


def check_exp_rule(exp_rule):
    OPS["exp"] = (np.exp, exp_rule)
    try:
        assert np.isclose(grad(lambda x: 3 * np.exp(2 * x))(0.3), 6 * np.exp(0.6)), (
            "3 exp(2x) has the derivative 6 exp(2x)"
        )
        assert np.isclose(grad(grad(np.exp))(0.3), np.exp(0.3)), "and all derivatives of exp(x) are exp(x)"
    finally:
        del OPS["exp"]


attempt(check_exp_rule, exp_rule)

# %% [markdown]
# **2. Forward mode.** Let $J$ be the matrix of the derivatives of a vector $f(x)$. `backward(y, x, g)` computes $J^\top g$. Compute $J v$: how fast $f$ changes when $x$ moves in the direction $v$. No new rules are
# needed: the map $g \mapsto J^\top g$ is linear. What is the derivative of $g \mapsto (J^\top g) \cdot v$ ?


# %%
def jvp(f, x, v):
    """J v, of the shape of f(x), where J are the derivatives of f at x."""
    raise NotImplementedError


def check_jvp(jvp):
    f = lambda x: np.tanh(A @ x) * x[0]
    x, v = np.array([0.3, -1.2, 2.0]), np.array([1.0, 0.5, -2.0])
    step = 1e-6
    differences = (f(x + step * v) - f(x - step * v)) / (2 * step)
    assert np.allclose(jvp(f, x, v), differences, atol=1e-8), "compare with (f(x + hv) - f(x - hv)) / 2h"
    assert np.shape(jvp(lambda x: A[:2] @ x, x, v)) == (2,), "as many numbers as f returns"


attempt(check_jvp, jvp)

# %% [markdown]
# **3. Nothing twice.** In `np.sin(x) * np.sin(x)` the sine is computed twice. Write a pass: a function from graph to graph, in which no operation is applied twice to the same operands.


# %%
def merged(graph):
    """A Graph of equal value, in which nodes of one operation with the same operands and parameters are one node."""
    raise NotImplementedError


def check_merged(merged):
    count_ops = lambda graph: sum(bool(node.inputs) for node in graph.nodes)
    graph = merged(trace(lambda x: np.sin(x) * np.sin(x), 2.0))
    assert count_ops(graph) == 2, "a sine and a product"
    assert evaluate(graph, 2.0) == np.sin(2.0) ** 2
    nested = merged(trace(lambda x: np.cos(np.sin(x)) + np.cos(np.sin(x)), 2.0))
    assert count_ops(nested) == 3, "what is applied to merged nodes can be merged, too"
    x = np.array([2.0, 5.0])
    elements = merged(trace(lambda x: x[0] * x[1], x))
    assert count_ops(elements) == 3 and evaluate(elements, x) == 10.0, "x[0] and x[1] differ in a parameter"
    assert evaluate(merged(trace(lambda x: x[0] - x[1] / x[0], x)), x) == -0.5, "the order of operands matters"


attempt(check_merged, merged)

# %% [markdown]
# ## Questions
#
# **Why do the rules build nodes, and do not compute with numbers?**
#
# <details><summary>Answer</summary>
#
# So that the derivative is a graph, too. Then it can be differentiated again, printed, compiled, and run with other inputs. A rule that returned numbers would be at its end after the first derivative.
#
# </details>
#
# **The gradient of a function of a million inputs takes one pass backwards. Why not a million?**
#
# <details><summary>Answer</summary>
#
# The pass carries $\partial L/\partial(\text{node})$ for the one number $L$. What each rule costs does not depend on how many inputs the whole function has, and every node is visited once. (A function with many *outputs* needs a pass
# for each: chapter 4.)
#
# </details>
#
# **What does `jit` forget when it makes source of a function that contains `if n > 3` for a plain integer `n`?**
#
# <details><summary>Answer</summary>
#
# The `if`. Python took one branch while tracing, and only what was done there is in the graph. Where `n` is an argument that is not traced, a new trace is needed for each value of it. If `n` was a variable outside of the function, our `jit` goes on with the
# branch of the first call. (As an argument of our `jit` it would be traced, and `n > 3` raises an error, since a node has no value.)
#
# </details>
