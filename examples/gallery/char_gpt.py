"""A small GPT that learns, character by character, to write like Python's own documentation.

    python examples/gallery/char_gpt.py                    # about a minute
    python examples/gallery/char_gpt.py --backend xla

The text is what Python's `help` says about the language, which comes with every Python. Some of its sections stand there several
times, so each paragraph is kept once before the last tenth is held out: no paragraph that is tested on was trained on. What is
asserted is the loss there, in nats per character: ln 103 = 4.63 for who knows nothing but the alphabet.

The network gets 48 characters and, at each of them, a guess of the next is asked of it. To write, it is asked for the next
character again and again, and one is drawn by its probabilities. It keeps the keys and values of what it has written, so that each
character is one short step (`decode=True`).

Source: Vaswani et al., "Attention is all you need", NeurIPS 2017; Radford et al., "Language models are unsupervised multitask
learners", 2019; the size after A. Karpathy's nanoGPT.
"""

from __future__ import annotations

import sys
import textwrap
from itertools import islice
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "120", "--expect", "3.0"]
CONTEXT = 48
BATCH_SIZE = 12
WRITTEN = 1000  # characters

text = "\n\n".join(dict.fromkeys(tg.data.python_docs().split("\n\n")))
characters = tg.data.Characters(text)
size = {"layers": 2, "heads": 3, "width": 96}
net = nn.models.gpt(len(characters), context=CONTEXT, **size)
writer = nn.models.gpt(len(characters), context=CONTEXT, decode=True, **size)  # of the same parameters


def loss(params: Any, batch: Any) -> Any:
    """The mean over all places of minus the logarithm of the probability that the true next character was given."""
    tokens, following = batch
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, tokens), following))


def write(params: Any, beginning: str, length: int, key: Any, temperature: float = 0.5) -> str:
    """The beginning, gone on with. Temperatures below 1 make likely characters likelier."""
    step = tg.jit(lambda params, tokens, state: writer.apply(params, tokens, state=state))
    told = list(characters.encode(beginning))
    state: Any = None
    for i in range(length):
        if state is None or state["position"] == CONTEXT:  # full: begin anew with the second half
            recent = np.array(told[-CONTEXT // 2 :])[None]
            state = writer.init_state(recent)
        else:
            recent = np.array(told[-1:])[None]
        logits, state = step(params, recent, state)
        told.append(int(tg.random.categorical(tg.random.fold_in(key, i), logits[0, -1] / temperature)))
    return characters.decode(told)


def by_pairs(known: Any, held_out: Any) -> float:
    """The loss of who counts how often each character follows each, in nats: what is to be done better."""
    counts = np.full((len(characters),) * 2, 0.1)
    np.add.at(counts, (known[:-1], known[1:]), 1)
    return -float(np.mean(np.log(counts / counts.sum(1, keepdims=True))[held_out[:-1], held_out[1:]]))


def draw(history: Any, pairs: float, written: str) -> Any:
    """How the loss fell, and what the network writes."""
    figure = plt.figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    axes = left.subplots()
    axes.plot(history["step"], history["loss"], label="text to learn from, in 200 steps")
    axes.plot(history["step"], history["val_loss"], label="held-out text")
    axes.axhline(pairs, color="grey", ls=":", label="by how often characters follow each other")
    axes.set(xlabel="step", ylabel="loss, nats per character", xlim=(0, None))
    axes.legend(fontsize=8)
    lines = [line for paragraph in written.split("\n") for line in textwrap.wrap(paragraph, 56) or [""]][:22]
    shown = "\n".join(lines).replace("$", r"\$")
    right.suptitle("what it writes after “The ”")
    right.text(0.02, 0.9, shown, family="monospace", fontsize=8, va="top")
    return figure


def main(argv: list[str]) -> float:
    """Trains, writes, draws, asserts the loss on the held-out text and returns it."""
    args = options(argv, __doc__, file=__file__, steps=2400, expect=1.6)
    tokens = characters.encode(text)
    kept = int(0.9 * len(tokens))
    batches = tg.data.batches(tg.data.windows(tokens[:kept], CONTEXT, stride=CONTEXT // 2), BATCH_SIZE, key=args.seed)
    held_out = tg.data.batches(tg.data.windows(tokens[kept:], CONTEXT), 64)
    print(f"{kept:,} characters to learn from, {len(tokens) - kept:,} held out, {len(characters)} different ones")

    rate = tg.optim.warmup_cosine_decay_schedule(0.0, 3e-3, args.steps // 20, args.steps)
    opt = tg.optim.adamw(rate, b2=0.95, weight_decay=0.1, mask="*.kernel")
    state, history, *_ = tg.fit(
        tg.jit(tg.train.make_step(loss, opt), backend=args.backend, donate_argnums=0),
        tg.train.start(net, opt, args.seed, np.zeros((1, CONTEXT), int)),
        lambda epoch: islice(batches(epoch), 200),  # what is called an epoch here; each begins in another order
        steps=args.steps,
        evaluate=tg.jit(tg.train.make_evaluate(loss), backend=args.backend),
        validation=held_out,
        summary=net.summary(np.zeros((1, CONTEXT), int)),
    )
    params = tg.tree.map(np.asarray, state.params)
    written = write(params, "The ", WRITTEN, tg.random.key(args.seed))
    print(written)
    save(draw(history, by_pairs(tokens[:kept], tokens[kept:]), written), args.picture)
    return hold("loss on the held-out text, nats per character", history["val_loss"][-1], at_most=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
