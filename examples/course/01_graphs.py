# %% [markdown]
# # 1. Computational graphs
#
# **After this chapter you can** read any computation as a graph, say in which orders it may be carried out, and count what it costs.
#
# A neural network is a function: numbers go in, numbers come out, and in between there are additions, products and a few functions such as
# the logarithm. What is special is not the function but what we do with it. It has thousands of parameters, and we want to know how the result
# changes with each of them. For that, and for running it fast, we have to see the function as an object: which operations are there, and what
# does each of them need? The object is called a **computational graph**, and this whole course rests on it.
#
# ## From a formula to a graph
#
# Take a matrix $A$, and vectors $x$ and $b$:
#
# $$ z = A x + b . $$
#
# Nobody computes this in one go. First $y = A x$, then $z = y + b$. Each intermediate result gets a name, and each line has one operation:
#
# | | operation | operands |
# |---|---|---|
# | $y$ | matrix product | $A$, $x$ |
# | $z$ | addition | $y$, $b$ |
#
# Now draw a box for each name, and an arrow from each operand to what is made of it. That is the graph. Numbers flow along the arrows.
#
# tracegrad makes this table of any Python function that is written with NumPy. `tg.make_graph(f)(arguments)` runs `f` once, with objects in place of the arrays
# that note what is done to them. This is called *tracing*. (Chapter 0 builds it.)

# %%
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
from course import attempt, draw_boxes, draw_graph, letters_of, quick, show

import tracegrad as tg


def affine(A, x, b):
    return A @ x + b


A = np.array([[1.0, 0.0], [0.0, -1.0]])
x = np.array([1.0, 2.0])
b = np.array([1.0, 1.0])
graph = tg.make_graph(affine)(A, x, b)
print(graph)

# %% [markdown]
# Read it from the top. The first line lists what goes in: `a` is a 2 × 2 matrix of 64-bit floating-point numbers, which the function calls `A`; `b` and `c` are
# vectors of two numbers. (The letters are those of the graph, in order of appearance, so that the graph's `b` is the function's `x`.) Then comes one line, an *equation*, for each
# operation: what it makes, of which type, the name of the operation, its operands, and after the `#` the line of the program that asked for it. What comes
# out stands last.
#
# A graph has types but no numbers: it is the same for all matrices and vectors of these sizes. It can be called with arrays:

# %%
(z,) = graph(A, x, b)
print("z =", z)
assert np.array_equal(z, [2.0, -1.0])

# %% [markdown]
# By hand: $A x = (1 \cdot 1 + 0 \cdot 2,\; 0 \cdot 1 - 1 \cdot 2) = (1, -2)$, and with $b$ added $(2, -1)$.
#
# Here is the same as pictures. Inputs are round and have the function's names, the one that comes out has a thick frame. (Blue ones are parameters, of
# which more below.) On the left each arrow carries the *type* of what flows along it, on the right the *value*, for the numbers above. To have the values, all
# we do is go through the equations from the first to the last and apply each to what is there already. This is the *forward pass*.


# %%
def values_of(graph, *arguments):
    """The value of each variable, equation by equation: the forward pass. An operation's name is its name in NumPy."""
    values = dict(zip(graph.inputs, arguments, strict=True)) | dict(graph.consts)
    for eqn in graph.eqns:
        operands = [v.value if hasattr(v, "value") else values[v] for v in eqn.inputs]  # a number stands for itself
        values[eqn.outputs[0]] = getattr(np, eqn.op.name)(*operands)
    return values


values = values_of(graph, A, x, b)
assert np.array_equal(values[graph.outputs[0]], z)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
draw_graph(left, graph, lambda v: str(v.type), "A @ x + b: types", parameters="Ab")
draw_graph(right, graph, lambda v: str(values[v]), "and values", parameters="Ab")
show(figure, "01_affine")

# %% [markdown]
# The library draws its graphs as well, as a page to be opened in a browser. A click on a box shows the line of the program that it comes from. The blue numbers
# are the values. It is made for graphs that are too large for a picture like the one above; here it is for comparison.

# %%
show(tg.draw(affine, A, x, b), "01_affine_page")

# %% [markdown]
# ## Three kinds of beginnings
#
# Some boxes have no arrow coming in. There are three reasons for a value to be there from the beginning:
#
# - **inputs**, such as $x$: the data. Another one at each call.
# - **parameters**, such as $A$ and $b$ in a network: they stay from call to call, but training changes them.
# - **constants**: never changed by anybody, such as the 2 in $x^2$.
#
# Other libraries have a class for each (*placeholder*, *Variable*, *constant*). Here inputs and parameters are both arguments of the function. What makes a parameter of an argument is
# that we ask for the derivative with respect to it. An array that the function uses without getting it as an argument is a constant of the graph. In the next function $A$ and $b$ are:


# %%
def fixed_affine(x):
    return A @ x + b


print(tg.make_graph(fixed_affine)(x))

fixed = tg.make_graph(fixed_affine)(x)
assert len(fixed.inputs) == 1 and len(fixed.consts) == 2
assert len(graph.inputs) == 3 and len(graph.consts) == 0

# %% [markdown]
# ## A graph is not a formula
#
# In the function below, $s$ is used three times. As a formula without names, $(x + y)(x + y) + \sin(x + y)$, it has to be written three times; in the graph there is one box with three arrows going out.
# (In the listing, `[]` is the shape of a single number, and `~` marks a number of Python's own, which has no fixed precision.)


# %%
def shared(x, y):
    s = x + y
    return s * s + np.sin(s)


graph = tg.make_graph(shared)(1.0, 2.0)
print(graph)
assert [eqn.op.name for eqn in graph.eqns] == ["add", "multiply", "sin", "add"]

values = values_of(graph, 1.0, 2.0)
assert values[graph.outputs[0]] == 9.0 + np.sin(3.0)

figure, axes = plt.subplots(figsize=(8.5, 3.2))
draw_graph(axes, graph, lambda v: f"{values[v]:.3g}", "s · s + sin(s), where s = x + y, at x = 1, y = 2")
show(figure, "01_shared")

# %% [markdown]
# The difference is enormous as soon as it is repeated. The next function adds $x$ to itself, then that to itself, and so on, twenty times. The graph has twenty boxes. As a formula it is a sum
# of $2^{20} = 1\,048\,576$ times the letter $x$.


# %%
def doubled(x):
    for _ in range(20):
        x = x + x
    return x


graph = tg.make_graph(doubled)(1.0)
uses = {graph.inputs[0]: 1}  # how often the letter x stands in each variable's formula
for eqn in graph.eqns:
    uses[eqn.outputs[0]] = sum(uses[v] for v in eqn.inputs)
print(f"{len(graph.eqns)} equations; as a formula, {uses[graph.outputs[0]]:,} letters")
assert len(graph.eqns) == 20 and uses[graph.outputs[0]] == 2**20
assert graph(1.0) == (2.0**20,)

# %% [markdown]
# Note also what is *not* in the graph: the loop. Python ran it, and the graph has what was done in it. A graph is the record of one run.
#
# ## The order of evaluation
#
# An operation can be carried out when its operands are there. So the rule for a correct order is: **every box comes after all boxes that have an arrow to it**. Such an order is called
# *topological*. Often there are several. In `shared`, the product and the sine both need nothing but $s$, and may come in either order.
#
# Let us find all. For four operations there are $4! = 24$ orders, few enough to try each.

# %%
graph = tg.make_graph(shared)(1.0, 2.0)
letters = letters_of(graph)
operands = {letters[eqn.outputs[0]]: [letters[v] for v in eqn.inputs] for eqn in graph.eqns}
print("operands:", operands)


def is_topological(order, operands):
    """Whether each operation comes after those among its operands that are operations themselves."""
    place = {name: i for i, name in enumerate(order)}
    return all(place[o] < place[name] for name in order for o in operands[name] if o in place)


right = ["".join(order) for order in permutations(operands) if is_topological(order, operands)]
print("correct orders:", right)
assert right == ["cdef", "cedf"]

# %% [markdown]
# Trying all orders is no method: for 20 operations there are $2.4 \cdot 10^{18}$. This is one that works for any size. Begin at the output. Before a box can be computed, compute its operands, from left to right, each in
# the same way; then the box itself; and what has been done is not done again. This walk is called *depth first*, and the order in which it leaves the boxes *post-order*.


# %%
def order_of(output, operands):
    """The operations that output needs, each once and after its operands."""
    order = []

    def visit(name):
        if name in operands and name not in order:  # inputs need not be computed; nor what is done
            for operand in operands[name]:
                visit(operand)
            order.append(name)

    visit(output)
    return order


order = order_of(letters[graph.outputs[0]], operands)
print("in post-order:", order)
assert order == [letters[eqn.outputs[0]] for eqn in graph.eqns]  # the order in which tracegrad has them

# %% [markdown]
# That it agrees with tracegrad's own order is no accident: Python evaluates an expression from left to right, operands first, and tracegrad writes down what it does. That is a post-order, too, as long as the function
# uses all that it computes. Here are some more functions.


# %%
def horner(x, coefficients):
    """The polynomial c₀ + c₁ x + c₂ x² + …, as c₀ + x (c₁ + x (c₂ + …))."""
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = c + x * total
    return total


def naive(x, coefficients):
    """The same, term by term, with each power made of the one before."""
    total, power = coefficients[0], x
    for i, c in enumerate(coefficients[1:]):
        power = power * x if i else x
        total = total + c * power
    return total


def two_layers(x, v):
    return np.sum(np.tanh(np.tanh(x * v) * v))


for function, arguments in [
    (affine, (A, x, b)),
    (doubled, (1.0,)),
    (two_layers, (x, b)),
    (horner, (2.0, [1.0, 2.0, 3.0, 4.0])),
    (naive, (2.0, [1.0, 2.0, 3.0, 4.0])),
]:
    graph = tg.make_graph(function)(*arguments)
    operands = {eqn.outputs[0]: eqn.inputs for eqn in graph.eqns}
    assert order_of(graph.outputs[0], operands) == list(operands), function.__name__

# %% [markdown]
# ## What it costs
#
# The cost of a run is the sum of the costs of its boxes. This makes it possible to compare two ways of computing the same function, before either is run.
#
# Take a polynomial of degree $n$. The function `naive` above makes the powers $x^2, \ldots, x^n$, each by one product with $x$: $n - 1$ products. It multiplies $n$ of them with their coefficients, and does $n$ additions: in all
# $3n - 1$ operations. Horner's rule writes the polynomial as $c_0 + x\,(c_1 + x\,(c_2 + \ldots))$: one product and one addition for each degree, $2n$ in all. We count.

# %%
degrees = range(1, 6 if quick else 21)
counted = {function: [] for function in (naive, horner)}
for n in degrees:
    coefficients = [1.0 / (i + 1) for i in range(n + 1)]
    for function, counts in counted.items():
        graph = tg.make_graph(function)(2.0, coefficients)
        counts.append(len(graph.eqns))
        assert np.isclose(graph(2.0, *coefficients)[0], np.polyval(coefficients[::-1], 2.0))
assert counted[naive] == [3 * n - 1 for n in degrees]
assert counted[horner] == [2 * n for n in degrees]

figure, axes = plt.subplots(figsize=(6, 3.4))
axes.plot(degrees, counted[naive], "o-", label="term by term: 3n − 1")
axes.plot(degrees, counted[horner], "s-", label="Horner: 2n")
axes.set(xlabel="degree n of the polynomial", ylabel="operations in the graph", xticks=list(degrees)[::2])
axes.legend()
show(figure, "01_cost")

# %% [markdown]
# Counting boxes is right where each box costs the same, as it does for single numbers. For arrays a box counts as many products and additions as it does: a product of matrices of sizes $(n, m)$ and $(m, k)$ takes $n m k$ of each. This matters for the order of a
# *product of several matrices*: $(A B) x$ and $A (B x)$ are equal, and both have two boxes. But for matrices of size $n$ the first takes $n^3 + n^2$ products of numbers and the second $2 n^2$.


# %%
def products(graph):
    """How many products of two numbers the graph's matrix products take."""
    total = 0
    for eqn in graph.eqns:
        first, second = (v.type.shape for v in eqn.inputs)
        rows, inner = first
        columns = second[1] if len(second) == 2 else 1
        total += rows * inner * columns
    return total


n = 100
M, v = np.ones((n, n)), np.ones(n)
left_first = tg.make_graph(lambda A, B, x: (A @ B) @ x)(M, M, v)
right_first = tg.make_graph(lambda A, B, x: A @ (B @ x))(M, M, v)
print(f"(A B) x: {products(left_first):,} products; A (B x): {products(right_first):,}")
assert products(left_first) == n**3 + n**2
assert products(right_first) == 2 * n**2
assert np.array_equal(left_first(M, M, v)[0], right_first(M, M, v)[0])

# %% [markdown]
# Keep this in mind for chapter 4: a derivative will be a product of many matrices, and everything will depend on the end from which we multiply.
#
# ## Exercises
#
# Write the body in place of `raise NotImplementedError`. The line below each says what it thinks of your answer. Solutions are in `solutions/s01_graphs.py`.
#
# **1. Post-order by hand.** Here is a graph. In which order does the walk described above leave its operations, if it begins at `g` and goes to operands in the order listed? Do it with a pencil.

# %%
PUZZLE = {"c": ["a", "b"], "d": ["c", "a"], "e": ["b"], "f": ["e", "c"], "g": ["f", "d"]}

figure, axes = plt.subplots(figsize=(7.5, 3.2))
draw_boxes(
    axes,
    {name: name for name in "abcdefg"},
    [(operand, name, f"{i + 1}") for name, found in PUZZLE.items() for i, operand in enumerate(found)],
    {"a": "input", "b": "input", "g": "output"},
)
axes.set_title("which order? (the numbers say which operand it is)", loc="left")
show(figure, "01_puzzle")


def post_order():
    """The names of the five operations, as a list such as ["c", "d", "e", "f", "g"]."""
    raise NotImplementedError


def check_post_order(post_order):
    answer = post_order()
    assert sorted(answer) == ["c", "d", "e", "f", "g"], "each operation once, inputs not at all"
    assert is_topological(answer, PUZZLE), f"in {answer} something comes before one of its operands"
    assert answer == order_of("g", PUZZLE), "a correct order, but not the one in which this walk leaves them"


attempt(check_post_order, post_order)

# %% [markdown]
# **2. A cycle is refused.** If `a` needs `b` and `b` needs `a`, neither can be computed. A function that is traced cannot make such a graph, since it can use only what is there already; but who writes graphs
# by hand can. `order_of` would visit one after the other for ever. Write one that raises a `ValueError`.


# %%
def safe_order(output, operands):
    """As order_of, but raises a ValueError if something that output needs is needed for itself."""
    raise NotImplementedError


def check_safe_order(safe_order):
    assert safe_order("g", PUZZLE) == order_of("g", PUZZLE)
    assert safe_order("d", {"b": ["a", "a"], "d": ["b", "b"]}) == ["b", "d"], "using a value twice is no cycle"
    for output, cyclic in [
        ("a", {"a": ["b"], "b": ["a"]}),
        ("a", {"a": ["x", "a"]}),
        ("d", {"a": ["c"], "b": ["a"], "c": ["b", "x"], "d": ["x", "c"]}),
    ]:
        try:
            answer = safe_order(output, cyclic)
        except ValueError:
            continue
        except RecursionError:
            raise AssertionError(f"{cyclic}: it went round until Python had enough") from None
        raise AssertionError(f"{cyclic} has a cycle, and the answer was {answer}")


attempt(check_safe_order, safe_order)

# %% [markdown]
# **3. Two outputs that share work.** Write an evaluation for a graph with several outputs. Here each operation comes with the Python function that computes it: `operations["y"] = (function, ["a", "b"])`. Each function
# is to be called once at most, and only if an output needs it. The check counts.


# %%
def evaluate(outputs, operations, inputs):
    """The values of the outputs, as a list.

    operations: {name: (function, names of operands)}. inputs: {name: value}.
    """
    raise NotImplementedError


def check_evaluate(evaluate):
    calls = []

    def counted(name, function):
        def call(*operands):
            calls.append(name)
            return function(*operands)

        return call

    operations = {
        "sum": (counted("sum", lambda x, y: x + y), ["x", "y"]),
        "square": (counted("square", lambda s: s * s), ["sum"]),
        "sine": (counted("sine", np.sin), ["sum"]),
        "unused": (counted("unused", np.log), ["x"]),
    }
    answer = evaluate(["square", "sine"], operations, {"x": 1.0, "y": 2.0})
    assert np.allclose(answer, [9.0, np.sin(3.0)])
    assert calls.count("sum") == 1, f"both outputs need the sum; it was computed {calls.count('sum')} times"
    assert "unused" not in calls, "no output needs the logarithm"
    assert sorted(calls) == ["sine", "square", "sum"]


attempt(check_evaluate, evaluate)

# %% [markdown]
# ## Questions
#
# **A graph was traced for vectors of two numbers. Can it be used for vectors of three?**
#
# <details><summary>Answer</summary>
#
# No. Types belong to the graph: every variable has a shape and a type of number, and these decide what the function did while it ran. (Somewhere there may have been `if len(x) == 2`.) For other types the function is traced again.
#
# </details>
#
# **`np.sum(x * x)` for a vector of a million numbers is two boxes. Why is that better than a million boxes of one product each?**
#
# <details><summary>Answer</summary>
#
# Each box costs Python some work, whatever its size: finding the operands, calling the function. With whole arrays this is paid twice rather than a million times, and the loop over the numbers runs inside NumPy, in
# compiled code. The graph also stays readable. This is why networks are written with matrices.
#
# </details>
#
# **In `order_of`, what would be different without `name not in order`?**
#
# <details><summary>Answer</summary>
#
# What is used several times would stand in the list several times, and be computed as often. The result would be right. But for `doubled` the list would have more than a million entries in place of twenty: the walk
# would treat the graph as the formula.
#
# </details>
