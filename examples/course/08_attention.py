# %% [markdown]
# # 8. Attention, and a generator of names
#
# **After this chapter you can** write attention from its formula, say what the mask, the positions and the division by
# a root are for, put a small transformer together, and train it to make up names.
#
# This is an annex. It needs chapters 3 to 5 and, for training, chapter 6. The network at its end is small, but it is
# the kind of network that large language models are, part by part.

# %%
import re
import sysconfig
from pathlib import Path

import numpy as np
from course import attempt, plt, quick, show

import tracegrad as tg
from tracegrad import nn

rng = np.random.default_rng(0)

# %% [markdown]
# ## Looking something up, softly
#
# A dictionary has keys and values. Somebody comes with a query, one key is equal to it, and its value is returned.
# *Equal* has no slope, so nothing could be learnt. Attention is a lookup with slopes. Query and keys are vectors. How
# well they fit is their inner product. A softmax makes weights of it, which are positive and have the sum 1. Returned
# is the mean of all values by these weights:
#
# $$ \text{out} = \sum_j w_j v_j, \qquad w_j = \frac{e^{q \cdot k_j / \sqrt d}}{\sum_m e^{q \cdot k_m / \sqrt d}}. $$
#
# Here $d$ is the length of the vectors. With many queries at once, as the rows of $Q$, and keys and values as the rows
# of $K$ and $V$, it is one line:
#
# $$ \operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V. $$


# %%
def weights(q, k, seen=None):
    """How much each query takes of each key: [..., queries, keys], rows of sum 1. `seen` says which may be taken of."""
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]).astype(q.dtype)
    if seen is not None:
        scores = np.where(seen, scores, np.asarray(-1e9, scores.dtype))
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def attention(q, k, v, seen=None):
    return weights(q, k, seen) @ v


k = np.array([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0]])
v = np.array([[1.0], [2.0], [3.0]])
for q in ([4.0, 0.0], [0.0, 4.0], [2.8, 2.8], [0.0, 0.0]):
    q = np.array([q])
    print(f"query {q[0]}   weights {np.round(weights(q, k)[0], 3)}   value {attention(q, k, v)[0, 0]:.3f}")
np.testing.assert_allclose(attention(np.array([[4.0, 0.0]]), k, v), 1.0, atol=1e-4)
np.testing.assert_allclose(attention(np.zeros((1, 2)), k, v), 2.0)  # no key fits better than others: the mean

# %% [markdown]
# A query that is a key finds that key's value. One between two keys finds the mean of both. A query of zeros fits all
# alike. And everything has a derivative:

# %%
q = rng.normal(size=(4, 8))
k, v = rng.normal(size=(5, 8)), rng.normal(size=(5, 3))
tg.testing.check_grads(attention, (q, k, v), order=1)
print(attention(q, k, v).shape, "for 4 queries and 5 values of 3 numbers each")
assert attention(q, k, v).shape == (4, 3)

# %% [markdown]
# ## Why the root
#
# If the entries of $q$ and $k$ are independent, of mean 0 and variance 1, then $q \cdot k$ is a sum of $d$ products of
# variance 1. So its standard deviation is $\sqrt d$. For long vectors the scores would be far apart, the softmax would
# give all the weight to one key, and its slope would be nearly zero, for a softmax that is sure does not move. The
# division keeps scores at about 1, whatever $d$ is.

# %%
lengths = [4, 16, 64, 256, 1024]
spread, flat, scaled = [], [], []
for d in lengths:
    q, k = rng.normal(size=(2, 200, 16, d))
    scores = np.sum(q * k, axis=-1)  # 200 times 16 keys
    spread.append(np.std(scores))
    first = lambda s: np.sum(nn.softmax(s, axis=-1)[:, 0])
    flat.append(np.mean(np.abs(tg.grad(first)(scores))))
    scaled.append(np.mean(np.abs(tg.grad(first)(scores / np.sqrt(d)))))
    print(f"d = {d:4}: deviation of q·k {spread[-1]:5.1f}, root of d {np.sqrt(d):4.0f};", end=" ")
    print(f"mean slope of the softmax {flat[-1]:.4f}, after the division {scaled[-1]:.4f}")
np.testing.assert_allclose(spread, np.sqrt(lengths), rtol=0.1)
assert flat[-1] < flat[0] / 4 and scaled[-1] > 0.7 * scaled[0]

# %% [markdown]
# ## Who may look at whom
#
# A text is a sequence of vectors, one for each place. In **self-attention** queries, keys and values are all made of
# the same sequence, by three matrices. Each place asks all the places.
#
# A generator makes one letter after another. When it makes letter $i$, the later ones do not exist yet. So in training,
# place $i$ must not look at places behind it, or it would learn to copy the answer. The **causal mask** sees to that:
# scores of later places are set to a large negative number, and so their weights are zero.
#
# That it does can be proved, not hoped for: $\partial\, \text{out}_i / \partial x_j$ must be exactly zero for $j > i$.
# All these derivatives are one call.


# %%
def self_attention(x, causal):
    d = x.shape[-1]
    a, b, c = np.random.default_rng(3).normal(size=(3, d, d)) / np.sqrt(d)
    return attention(x @ a, x @ b, x @ c, np.tri(len(x), dtype=bool) if causal else None)


x = rng.normal(size=(8, 6))
figure, all_axes = plt.subplots(1, 2, figsize=(7, 3.2))
for axes, causal in zip(all_axes, (False, True), strict=True):
    jacobian = tg.jacrev(lambda x, causal=causal: self_attention(x, causal))(x)  # [8, 6, 8, 6]
    depends = np.sqrt(np.sum(jacobian**2, axis=(1, 3)))
    assert np.array_equal(depends > 0, np.tri(8, dtype=bool) if causal else np.ones((8, 8), bool))
    axes.imshow(depends, cmap="Purples")
    axes.set(title="with the causal mask" if causal else "without a mask", xlabel="input place j", ylabel="result i")
show(figure, "08_mask")

# %% [markdown]
# ## Where something stands
#
# Attention does not know of places. Put the sequence in another order, and the results come in that other order, with
# the same numbers: it is a function of a set.

# %%
order = rng.permutation(8)
np.testing.assert_allclose(self_attention(x[order], False), self_attention(x, False)[order], atol=1e-12)

# %% [markdown]
# Names are not sets, *god* is not *dog*. So each place gets a vector of its own, which is added to what stands there.
# Either they are parameters and are learnt, as below. Or they are fixed waves of different lengths, as in the first
# transformer (Vaswani et al. 2017): each place then has its own pattern, and places that are a fixed distance apart
# differ by the same rotation.

# %%
waves = nn.sinusoidal(64, 32)
figure, axes = plt.subplots(figsize=(6, 3))
axes.imshow(waves.T, cmap="PuOr", aspect="auto")
axes.set(xlabel="place", ylabel="component", title="a pattern for each place")
show(figure, "08_positions")
products = waves @ waves.T
for apart in (1, 5, 20):  # the inner product of two places depends on their distance alone
    np.testing.assert_allclose(np.diagonal(products, apart), products[0, apart], rtol=1e-4)

# %% [markdown]
# ## The names
#
# A generator of names needs names. The ones here are on every machine on which this chapter runs: the names that
# programmers gave to functions, attributes and arguments in Python's standard library and in NumPy. There are some
# eighteen thousand different ones (it depends on the versions), such as `read_header` and `maxlen`. We take those of
# small letters and underscores, of 3 to 19 characters.


# %%
def collected():
    pattern = re.compile(r"(?:def _*|[a-z\])]\._*|[(, ])([a-z][a-z_]*[a-z])(?=[(=.\[:,)])")
    left_out = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "tkinter", "turtledemo"}
    names = set()
    for folder in (Path(sysconfig.get_path("stdlib")), Path(np.__file__).parent):
        for path in folder.rglob("*.py"):
            if not left_out & set(path.relative_to(folder).parts):
                names.update(pattern.findall(path.read_text("utf-8", "replace")))
    return sorted(name for name in names if 3 <= len(name) <= 19 and "__" not in name)


names = collected()
rng.shuffle(names)
print(f"{len(names):,} names, of {np.mean([len(name) for name in names]):.1f} characters on average:", *names[:8])
assert len(names) > 5_000

# %% [markdown]
# Each name becomes a row of numbers: 0 for "here a name begins", and, at its end, "here it ends"; 1 to 27 for the
# letters and the underscore. The network is to say, at each place, what comes next. So the target is the row moved by
# one. What is behind the end does not count: it has the weight 0. A tenth of the names is held out.

# %%
LENGTH = 20
ALPHABET = ".abcdefghijklmnopqrstuvwxyz_"
code = {letter: i for i, letter in enumerate(ALPHABET)}
rows = np.zeros((len(names), LENGTH + 1), np.int32)
for row, name in zip(rows, names, strict=True):
    row[1 : len(name) + 1] = [code[letter] for letter in name]
counts = (np.arange(LENGTH) <= np.array([len(name) for name in names])[:, None]).astype(np.float32)
table = rows[:, :-1], rows[:, 1:], counts
held = len(names) // 10
train, test = [tuple(x[held:] for x in table), tuple(x[:held] for x in table)]
print("goes in:   ", " ".join(ALPHABET[i] for i in train[0][0]))
print("to be said:", " ".join(ALPHABET[i] if c else " " for i, c in zip(train[1][0], train[2][0], strict=True)))


def mean_loss(scores, targets, counts):
    """Nats a character: minus the logarithm of the probability that the right one was given."""
    losses = nn.softmax_cross_entropy_with_integer_labels(scores, targets)
    return np.sum(losses * counts) / np.sum(counts)


# %% [markdown]
# Who knows nothing gives each of 28 characters the same probability, and pays $-\ln(1/28) = 3.33$ for each. (The unit
# of $-\ln p$ is called a **nat**.) Every model has to be better than that.
#
# ## Model 1: pairs
#
# The **bigram** model knows which letter stands before, and nothing else. The best probabilities are frequencies, so
# nothing has to be trained: count the pairs (for a coin this is an exercise of chapter 3). One is added to each count,
# so that no pair is impossible.

# %%
pairs = np.ones((28, 28))
np.add.at(pairs, (train[0][train[2] > 0], train[1][train[2] > 0]), 1)
bigram = np.log(pairs / pairs.sum(axis=1, keepdims=True))  # scores: logarithms of probabilities
losses = {"none": np.log(28), "bigram": float(mean_loss(bigram[test[0]], test[1], test[2]))}
print(f"bigram: {losses['bigram']:.3f} nats a character on names that it has not seen")
assert losses["bigram"] < 2.8

figure, axes = plt.subplots(figsize=(5, 4.6))
axes.imshow(np.exp(bigram), cmap="Purples", norm="asinh")
axes.set(xlabel="next character", ylabel="character", title="probabilities of pairs")
axes.set_xticks(range(28), ALPHABET, fontsize=8)
axes.set_yticks(range(28), ALPHABET, fontsize=8)
show(figure, "08_bigram")

# %% [markdown]
# ## Model 2: three letters and a hidden layer
#
# The network of chapter 5, with three letters for inputs (Bengio et al. 2003). A letter is a number without a size: *c*
# is not three times *a*. So each gets a vector of 24 parameters, its **embedding**. The vectors of the last three
# letters, in a row, go through a hidden layer of 200 units.


# %%
@nn.layer
def three_letters(p, letters):
    e = p(nn.Embed(28, 24), letters)  # [names, places, 24]
    earlier = [np.concatenate([np.zeros_like(e[:, :i]), e[:, : LENGTH - i]], axis=1) for i in range(3)]
    return p(nn.Dense(28), np.tanh(p(nn.Dense(200), np.concatenate(earlier, axis=-1))))


# %% [markdown]
# ## Model 3: a transformer
#
# Attention needs no fixed number of letters: each place looks at all that came before, and chooses. A transformer is a
# stack of equal blocks. Each has two parts, and each part *adds* something to what is there already ($x + f(x)$, a
# residual connection, so that the gradient has a way through; chapter 9 shows what happens without).
#
# 1. Attention, which moves information between places. It is done several times side by side with shorter vectors: the
#    **heads**, of which each may look elsewhere.
# 2. A hidden layer, the same at each place, which computes with what has been gathered.
#
# Before each part, a norm layer brings vectors to one size.


# %%
HEADS, WIDTH = 4, 32


def block(attention=attention):
    """The attention is an argument, so that we can look at its weights later."""

    @nn.layer
    def block(p, x):
        n, t, d = x.shape
        parts = p(nn.Dense(3 * d, use_bias=False), p(nn.LayerNorm(), x), name="queries_keys_values")
        q, k, v = np.moveaxis(parts.reshape(n, t, 3, HEADS, d // HEADS), (2, 3), (0, 2))  # [n, heads, t, d / heads]
        gathered = np.moveaxis(attention(q, k, v, np.tri(t, dtype=bool)), 1, 2).reshape(n, t, d)
        x = x + p(nn.Dropout(0.05), p(nn.Dense(d), gathered, name="join"))
        hidden = nn.gelu(p(nn.Dense(4 * d), p(nn.LayerNorm(), x), name="up"))
        return x + p(nn.Dropout(0.05), p(nn.Dense(d), hidden, name="down"))

    return block


def transformer(positions=True, attention=attention):
    @nn.layer
    def transformer(p, letters):
        x = p(nn.Embed(28, WIDTH), letters)
        if positions:
            x = x + p.param("positions", nn.initializers.normal(0.02), (LENGTH, WIDTH))[: letters.shape[1]]
        for _ in range(2):
            x = p(block(attention), x)
        return p(nn.Dense(28), p(nn.LayerNorm(), x))

    return transformer


print(transformer().summary(train[0][:1]))

# %% [markdown]
# And this is one block of it, drawn: a page for the browser, in which a click opens a part. Both residual connections
# can be seen, the two ways past the attention and past the hidden layer.

# %%
one_block = block()
four_places = rng.normal(size=(1, 4, WIDTH)).astype(np.float32)


def transformer_block(params, x):
    return np.sum(one_block(params, x) ** 2)  # some number to differentiate


drawing = tg.draw(transformer_block, one_block.init(0, four_places), four_places, depth=1)
show(drawing, "08_block")

# %% [markdown]
# Its attention is the formula at the head of this chapter, once for each head. The library's own
# `nn.dot_product_attention` gives the same numbers (its heads are in another axis):

# %%
q, k, v = rng.normal(size=(3, 2, HEADS, LENGTH, 8))
theirs = nn.dot_product_attention(*[np.moveaxis(x, 1, 2) for x in (q, k, v)], is_causal=True)
np.testing.assert_allclose(attention(q, k, v, np.tri(LENGTH, dtype=bool)), np.moveaxis(theirs, 1, 2), atol=1e-12)


# %%
def learn(net, steps, rate):
    def loss(params, batch, *, key, train):
        letters, targets, counts = batch
        return mean_loss(net.apply(params, letters, key=key, train=train), targets, counts)

    batches = tg.data.batches(train, 64, key=0)
    schedule = tg.optim.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps)
    opt = tg.optim.adamw(schedule, weight_decay=1e-2, mask="*.kernel")
    step = tg.jit(tg.train.make_step(loss, opt), donate_argnums=0)
    evaluate = tg.jit(lambda state, batch: {"loss": mean_loss(net(state.params, batch[0]), *batch[1:])})
    start = tg.train.start(net, opt, 0, train[0][:1])
    return tg.fit(step, start, batches, steps=steps, evaluate=evaluate, validation=test, progress=False, check=False)


steps = (40, 40) if quick else (2000, 2000)
plans = {
    "MLP": (three_letters, steps[0], 5e-3),
    "transformer": (transformer(), steps[1], 1e-2),
    "transformer without positions": (transformer(positions=False), steps[1], 1e-2),
}
runs = {}
for name, (net, count, rate) in list(plans.items())[: 2 if quick else 3]:
    runs[name] = learn(net, count, rate)
    losses[name] = runs[name].history["val_loss"][-1]
    size = sum(leaf.size for leaf in tg.tree.leaves(runs[name].state.params))
    print(f"{name:30} {size:6,} parameters   {losses[name]:.3f} nats a character")
assert max(losses["MLP"], losses["transformer"]) < losses["none"]
if not quick:
    assert losses["transformer"] < losses["MLP"] - 0.02 < losses["bigram"] - 0.4
    assert losses["transformer without positions"] > losses["transformer"] + 0.05

# %% [markdown]
# Each model sees more than the one before, and pays less. A nat less means that the right letter gets $e$ times the
# probability, in the geometric mean. And without positions the transformer loses more than it had gained: it knows the
# letter that it stands on and which others have been, but hardly in which order.

# %%
figure, axes = plt.subplots(figsize=(7, 3.6))
for name, run in runs.items():
    axes.plot([row["step"] for row in run.history], run.history["val_loss"], "o-", ms=3, label=name)
axes.axhline(losses["bigram"], color="gray", ls="--", label="bigram")
axes.set(xlabel="step", ylabel="nats a character", title="on names held out")
axes.legend(loc="upper right", bbox_to_anchor=(1, 0.95))
show(figure, "08_losses")

# %% [markdown]
# ## New names
#
# To make a name, begin with the mark of the beginning. Ask for the probabilities of the next letter, draw one, put it
# behind, and ask again. Dividing the scores by a **temperature** below one before the softmax makes likely letters
# likelier.


# %%
def made_up(scores_of, number, temperature=0.8, seed=0):
    """Names by a function from letters [n, t] to scores [n, t, 28]."""
    random = np.random.default_rng(seed)
    letters = np.zeros((number, LENGTH), np.int32)
    for t in range(LENGTH - 1):
        scores = scores_of(letters)[:, t] / temperature
        letters[:, t + 1] = np.argmax(scores + random.gumbel(size=scores.shape), axis=-1)  # draws by the softmax
    rows = ["".join(ALPHABET[i] for i in row[1:]) for row in letters]
    return [row.split(".")[0] for row in rows]


known = set(names)
makers = {"bigram": lambda letters: bigram[letters]}
for name in ("MLP", "transformer"):
    compiled = tg.jit(plans[name][0])
    makers[name] = lambda letters, compiled=compiled, params=runs[name].state.params: compiled(params, letters)
for name, maker in makers.items():
    found = made_up(maker, 60 if quick else 300)
    new = [one for one in found if one not in known]
    print(f"{name:12} {len(new) / len(found):4.0%} of them new:", ", ".join(new[:9]))
    assert len(new) > 10

# %% [markdown]
# Read them aloud. The bigram's can hardly be spoken. The MLP's have syllables, and some words. The transformer's look
# most like names, and have something after the underscore that may belong there. But 0.06 nats are a small difference,
# and some of the MLP's are as good.
#
# ## What it looks at
#
# The weights of the last block, for one name. Each row is a place that asks, each column a place that is looked at; the
# upper right is masked.

# %%
seen_weights = []


def watched(q, k, v, seen):
    w = weights(q, k, seen)
    seen_weights.append(w)
    return w @ v


word = "read_header"
letters = np.zeros((1, LENGTH), np.int32)
letters[0, 1 : len(word) + 1] = [code[letter] for letter in word]
transformer(attention=watched)(runs["transformer"].state.params, letters)
assert len(seen_weights) == 2
last = seen_weights[-1][0][:, : len(word) + 1, : len(word) + 1]
np.testing.assert_allclose(last.sum(axis=-1), 1, rtol=1e-5)

figure, all_axes = plt.subplots(1, HEADS, figsize=(10, 3))
for head, axes in enumerate(all_axes):
    axes.imshow(last[head], cmap="Purples", vmin=0, vmax=1)
    axes.set_title(f"head {head + 1}", fontsize=10)
    axes.set_xticks(range(len(word) + 1), "." + word, fontsize=8)
    axes.set_yticks(range(len(word) + 1), "." + word, fontsize=8)
show(figure, "08_heads")

# %% [markdown]
# ## Exercises
#
# The solutions are in `solutions/s08_attention.py`.


# %%
def nearby(q, k, v, w):
    """Causal attention in which a place sees itself and the w - 1 places before it.

    Arrays q, k, v [..., t, d]. Use `attention` with a mask.
    """
    raise NotImplementedError


def check_nearby(nearby):
    q, k, v = np.random.default_rng(0).normal(size=(3, 7, 4))
    for w in (1, 3, 7):
        expected = nn.dot_product_attention(
            q[:, None], k[:, None], v[:, None], is_causal=True, local_window_size=(w - 1, 0)
        )[:, 0]
        np.testing.assert_allclose(nearby(q, k, v, w), expected, atol=1e-12, err_msg=f"w = {w}")


attempt(check_nearby, nearby)


# %%
def one_more(cache, q, k, v):
    """Attention for one new place, with what earlier places have computed: how a generator saves itself work.

    `cache` is None at first, and then what the last call returned. q, k, v [d] are of the new place. Returns (result [d], cache). The results for
    places 0, 1, ... one after the other are to be the rows of causal attention over all of them.
    """
    raise NotImplementedError


def check_one_more(one_more):
    q, k, v = np.random.default_rng(1).normal(size=(3, 6, 4))
    expected = attention(q, k, v, np.tri(6, dtype=bool))
    cache, found = None, []
    for i in range(6):
        out, cache = one_more(cache, q[i], k[i], v[i])
        found.append(out)
    np.testing.assert_allclose(found, expected, atol=1e-12)


attempt(check_one_more, one_more)


# %%
def best_of(scores, n):
    """Scores in which all but the n largest along the last axis are minus infinity: names drawn by it have no absurd letters.

    An array [..., m], 1 <= n <= m, no two scores equal.
    """
    raise NotImplementedError


def check_best_of(best_of):
    scores = np.random.default_rng(2).normal(size=(5, 8))
    for n in (1, 3, 8):
        found = best_of(scores, n)
        kept = np.isfinite(found)
        assert np.all(kept.sum(axis=-1) == n), f"{kept.sum(axis=-1)} scores are left where {n} should be"
        assert np.array_equal(found[kept], scores[kept]), "those that are left have to stay as they are"
        assert np.all(scores[kept].reshape(5, n).min(axis=1) >= np.where(kept, -np.inf, scores).max(axis=1))


attempt(check_best_of, best_of)

# %% [markdown]
# ## Three questions
#
# 1. For a text of t places, how many weights does attention compute? What does twice the text cost?
#
# <details><summary>Answer</summary>
#
# $t^2$, for each head of each block: every place asks every other. Twice the text costs four times as much, which is
# why long texts are dear, and why windows as in the first exercise are used.
#
# </details>
#
# 2. What would happen in training without the causal mask, and what when making names?
#
# <details><summary>Answer</summary>
#
# The loss would fall to almost nothing: to say which letter comes next, place i looks at place i + 1, where it stands.
# When names are made, there is nothing at place i + 1, and the network has learnt nothing that helps.
#
# </details>
#
# 3. The network pays 1.87 nats a character. How many letters is it in doubt between?
#
# <details><summary>Answer</summary>
#
# $e^{1.87} \approx 6.5$: as if it had to guess among six or seven equally likely ones. This number is called
# perplexity. The bigram's is $e^{2.61} \approx 13.6$, that of knowing nothing 28.
#
# </details>
