"""An LSTM that invents names for colours: shown red, green and blue, it spells a name, letter by letter.

    python examples/gallery/names_lstm.py                    # about half a minute
    python examples/gallery/names_lstm.py --backend xla

The data are the 949 most common names of the colour survey of xkcd.com, each with its colour, which come with matplotlib; the
coarser names are left out. At each letter the network is given the colour and the letters so far, and its guess of the next is
compared with the true one. A fifth of the colours is held out. On these, the loss must be lower with their own colour than with
the colour of another name: that difference, in nats per name, is what the network has understood of colours, and no gift for
spelling makes it up. The picture shows held-out colours with their own names and with the names the network gives them.

Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; R. Munroe, "Color survey results", 2010,
whose data are in the public domain.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
from common import hold, options, save

import tracegrad as tg
from tracegrad import nn

QUICK = ["--steps", "60", "--expect", "0.5"]
COARSE = ("poo", "shit", "puke", "snot", "vomit", "piss", "barf", "booger", "diarrhea", "bile")
END = "."  # of a name; what comes after it counts for nothing
WIDTH = 96
BATCH_SIZE = 32

colour_of = {name[5:]: matplotlib.colors.to_rgb(code) for name, code in matplotlib.colors.XKCD_COLORS.items()}
names = sorted(name for name in colour_of if not any(word in name for word in COARSE))
colours = np.array([colour_of[name] for name in names], np.float32)
letters = tg.data.Characters("".join(names) + END)
spelled = np.stack([letters.encode(name.ljust(max(map(len, names)) + 1, END)) for name in names])
END_NUMBER = letters.encode(END)[0]
cell = nn.LSTMCell(WIDTH)


@nn.layer
def net(p: Any, colour: Any, before: Any) -> Any:
    """Logits of the next letters, [..., places, letters], after those `before`, [..., places]; `colour` is [..., 3]."""
    x = p(nn.Embed(len(letters), 32), before)
    seen = p(nn.Dense(32), 2 * colour - 1)[..., None, :]
    x = np.concatenate([x, np.broadcast_to(seen, x.shape)], -1)
    return p(nn.Dense(len(letters)), p(nn.Dropout(0.3), p(nn.RNN(cell), x)))


def nats(params: Any, colour: Any, name: Any, key: Any = None, train: bool = False) -> Any:
    """Minus the logarithm of the probability of each name, as that of its letters and its end, each after those before it."""
    before = np.concatenate([np.full_like(name[:, :1], END_NUMBER), name[:, :-1]], 1)
    counts = np.concatenate([np.ones_like(name[:, :1]), name[:, :-1] != END_NUMBER], 1)
    logits = net.apply(params, colour, before, key=key, train=train)
    return np.sum(counts * nn.softmax_cross_entropy_with_integer_labels(logits, name), 1)


def loss(params: Any, batch: Any, *, key: Any, train: bool) -> Any:
    """The mean over the names of a batch."""
    return np.mean(nats(params, *batch, key=key, train=train))


def invent(params: Any, colour: Any, key: Any, temperature: float = 0.4) -> list[str]:
    """A name for each colour. Temperatures below 1 make likely letters likelier."""
    logits_of = tg.jit(lambda before: net(params, colour, before))
    before = np.full((len(colour), spelled.shape[1] + 1), END_NUMBER)
    for i in range(spelled.shape[1]):  # what stands after place i does not matter there
        logits = logits_of(before[:, :-1])[:, i] / temperature
        before[:, i + 1] = tg.random.categorical(tg.random.fold_in(key, i), logits)
    return [letters.decode(row[1:]).split(END)[0] for row in before]


def draw(colour: Any, true: list[str], invented: list[list[str]]) -> Any:
    """Patches of colour, with the name of each and those invented for it."""
    figure, cells = plt.subplots(3, 6, figsize=(9, 4.6), layout="constrained")
    for i, cell in enumerate(cells.flat):
        cell.set(xticks=[], yticks=[], facecolor=colour[i])
        cell.set_title(true[i], fontsize=8, color="grey")
        ink = "white" if colour[i] @ [0.3, 0.6, 0.1] < 0.5 else "black"
        told = "\n".join(names[i] for names in invented)
        cell.text(0.5, 0.5, told, ha="center", va="center", fontsize=8, color=ink, transform=cell.transAxes)
    figure.suptitle("held-out colours: above what people call them, within what the network does")
    return figure


def main(argv: list[str]) -> float:
    """Trains, names the held-out colours, draws them, asserts what the colour is worth and returns it."""
    args = options(argv, __doc__, file=__file__, steps=900, expect=6.5)
    training, held_out = tg.data.split((colours, spelled), 0.8, key=args.seed)
    opt = tg.optim.adamw(tg.optim.cosine_decay_schedule(3e-3, args.steps), weight_decay=0.1, mask="*kernel")
    state, *_ = tg.fit(
        tg.jit(tg.train.make_step(loss, opt, clip=5.0), backend=args.backend, donate_argnums=0),
        tg.train.start(net, opt, args.seed, (BATCH_SIZE, 3), np.zeros((BATCH_SIZE, spelled.shape[1]), int)),
        tg.data.batches(training, BATCH_SIZE, key=args.seed),
        steps=args.steps,
        evaluate=tg.jit(tg.train.make_evaluate(loss), backend=args.backend),
        validation=held_out,
        every=5,
    )
    params = tg.tree.map(np.asarray, state.params)

    colour, name = held_out
    measure = tg.jit(nats)
    own = np.mean(measure(params, colour, name))
    other = np.mean([measure(params, np.roll(colour, i, 0), name) for i in range(1, 11)])
    print(f"{len(colour)} held-out names: {own:.2f} nats a name with their colour, {other:.2f} with another's")
    keys = tg.random.split(tg.random.key(args.seed + 3), 3)
    true = [letters.decode(row).split(END)[0] for row in name[:18]]
    save(draw(colour[:18], true, [invent(params, colour[:18], key) for key in keys]), args.picture)
    return hold("what the colour is worth, nats per name", other - own, at_least=args.expect)


if __name__ == "__main__":
    main(sys.argv[1:])
