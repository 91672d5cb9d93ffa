"""Solutions to chapter 1, each with the usual mistake beside it."""


def post_order():
    """g first goes to f, that to e, which needs only an input: e is done first. Then f's other operand c, then f. Then d, whose
    operand c is done already, and g last."""
    return ["e", "c", "f", "d", "g"]


def wrong_post_order():
    """The order in which the walk *arrives*: g comes before everything that it is made of."""
    return ["g", "f", "e", "c", "d"]


def safe_order(output, operands):
    """What is being visited and not done yet is on the way from the output to here. Meeting it again closes a circle."""
    order, on_the_way = [], set()

    def visit(name):
        if name in on_the_way:
            raise ValueError(f"{name} is needed for itself")
        if name in operands and name not in order:
            on_the_way.add(name)
            for operand in operands[name]:
                visit(operand)
            on_the_way.remove(name)
            order.append(name)

    visit(output)
    return order


def wrong_safe_order(output, operands):
    """Whoever only notes what was *seen* comes to an end, too, and returns an order that is none."""
    order, seen = [], set()

    def visit(name):
        if name in operands and name not in seen:
            seen.add(name)
            for operand in operands[name]:
                visit(operand)
            order.append(name)

    visit(output)
    return order


def evaluate(outputs, operations, inputs):
    """One dict of values for all outputs. What is in it is not computed again, and nothing is computed that nobody asks for."""
    values = dict(inputs)

    def value(name):
        if name not in values:
            function, operands = operations[name]
            values[name] = function(*[value(operand) for operand in operands])
        return values[name]

    return [value(name) for name in outputs]


def wrong_evaluate(outputs, operations, inputs):
    """Each output for itself: right numbers, but the sum is computed twice."""

    def value(name):
        if name in inputs:
            return inputs[name]
        function, operands = operations[name]
        return function(*[value(operand) for operand in operands])

    return [value(name) for name in outputs]
