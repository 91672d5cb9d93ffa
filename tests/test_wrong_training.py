"""Wrong calls of what trains: optimisers, schedules, data, files, the loop, metrics, layers, losses, estimators. Each error names the
user's line, what was given and what to write, as those of tests/test_wrong_calls.py do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tests.test_wrong_calls import Wrong, faults
from tracegrad import data, io, metrics, nn, optim, train
from tracegrad import sklearn as sk
from tracegrad.core.errors import DtypeError, ShapeError

X = np.ones((8, 4), np.float32)
Y = np.arange(8) % 3
P = {"w": np.ones(3), "b": np.zeros(2)}
G = {"w": np.ones(3), "b": np.ones(2)}

net = nn.serial(nn.Dense(5), nn.relu, nn.Dense(3))
params = net.init(0, X)
opt = optim.adam(1e-3)


def upd(opt: Any, g: Any = G, p: Any = P) -> Any:
    """The first update."""
    return opt.update(g, opt.init(p), p)


def loss(params: Any, batch: Any) -> Any:
    return np.mean(nn.softmax_cross_entropy_with_integer_labels(net(params, batch[0]), batch[1]))


step: Any = train.make_step(loss, opt)
st = train.start(net, opt, 0, X)
B = data.batches((X, Y), 4, key=0)


def fit(*args: Any, **options: Any) -> Any:
    return tg.fit(*args, **{"progress": False, "epochs": 1, **options})


def ck(**options: Any) -> Any:
    return io.Checkpoints("c", **options)


# A name, the call, its error, and what the text says.
CALLS: list[Wrong] = [
    ("adam()", lambda: optim.adam(), TypeError, "adam() missing 1 required positional argument: 'learning"),
    ("adam str", lambda: optim.adam("a"), TypeError, "learning_rate is a number or a schedule, a function of"),
    ("adam(lr=)", lambda: optim.adam(lr=1e-3), TypeError, "has no argument 'lr'; its arguments are learning_rate,"),
    ("adam b1 str", lambda: upd(optim.adam(1e-3, b1="a")), TypeError, "b1 is a number from 0 to below 1, got 'a'"),
    (
        "adam wd",
        lambda: optim.adam(1e-3, weight_decay=1e-4),
        TypeError,
        "has no argument 'weight_decay'; its arguments are learn",
    ),
    (
        "MultiSteps 0",
        lambda: optim.MultiSteps(opt, 0),
        ValueError,
        "every_k_schedule is a whole number from 1 on, got 0",
    ),
    (
        "MultiSteps float",
        lambda: optim.MultiSteps(opt, 2.5),
        TypeError,
        "every_k_schedule is a whole number from 1 on, got 2.5",
    ),
    (
        "MultiSteps str",
        lambda: optim.MultiSteps(opt, "a"),
        TypeError,
        "every_k_schedule is a whole number from 1 on, got 'a'",
    ),
    (
        "MultiSteps fn",
        lambda: optim.MultiSteps(optim.adam, 2),
        TypeError,
        "takes a transformation such as tg.optim.adam(1e-3), got",
    ),
    ("update no state", lambda: opt.update(G), TypeError, "it takes gradients and a state; write opt.update(grads"),
    (
        "update swapped",
        lambda: opt.update(opt.init(P), G, P),
        TypeError,
        "the second argument is the state, as opt.init(params)",
    ),
    (
        "update other state",
        lambda: opt.update(G, optim.sgd(0.1).init(P)),
        TypeError,
        "the state is of EmptyState, where that of this transfo",
    ),
    (
        "sgd state of adam",
        lambda: optim.sgd(0.1, momentum=0.9).update(G, opt.init(P)),
        TypeError,
        "the state is of ScaleByAdamState, where that of this t",
    ),
    (
        "adamw noparams",
        lambda: optim.adamw(1e-3).update(G, optim.adamw(1e-3).init(P)),
        ValueError,
        "add_decayed_weights needs the parameters; write update(g",
    ),
    (
        "update grads struct",
        lambda: opt.update({"w": np.ones(3)}, opt.init(P)),
        ValueError,
        "the gradients have another structure than the parameters",
    ),
    (
        "update grads shape",
        lambda: opt.update({"w": np.ones(4), "b": np.ones(2)}, opt.init(P)),
        ValueError,
        "the state is not one of these parameters: .mu['w'] has",
    ),
    (
        "update grads str",
        lambda: opt.update({"w": "a", "b": np.ones(2)}, opt.init(P)),
        TypeError,
        "gradients['w'] is no array of numbers, got 'a'",
    ),
    (
        "update params shape",
        lambda: optim.adamw(1e-3).update(G, optim.adamw(1e-3).init(P), {"w": np.ones(4), "b": np.ones(2)}),
        ValueError,
        "the gradients do not fit the parameters: ['w'] has sha",
    ),
    ("init str", lambda: opt.init({"w": "a"}), TypeError, "parameters are arrays of numbers, and ['w'] is 'a'; wr"),
    ("init layer", lambda: opt.init(net), TypeError, "parameters are arrays of numbers, and what is given is"),
    (
        "apply_updates struct",
        lambda: optim.apply_updates(P, {"w": np.ones(3)}),
        ValueError,
        "updates do not fit the parameters: ['b'] is missing; w",
    ),
    (
        "apply_updates shape",
        lambda: optim.apply_updates(P, {"w": np.ones(4), "b": np.ones(2)}),
        ValueError,
        "updates do not fit the parameters: ['w'] has shape (4,",
    ),
    (
        "apply_updates tuple",
        lambda: optim.apply_updates(P, upd(opt)),
        ValueError,
        "updates do not fit the parameters: ['b'] is missing, [",
    ),
    (
        "chain state",
        lambda: optim.chain(optim.clip(1.0), opt).update(G, (), P),
        ValueError,
        "a chain of 2 transformations got a state of 0; pass wh",
    ),
    (
        "named_chain",
        lambda: optim.named_chain(opt, opt),
        TypeError,
        "takes pairs of a name and a transformation, got a Gradi",
    ),
    (
        "named_chain state",
        lambda: optim.named_chain(("a", opt)).update(G, {"b": 1}, P),
        TypeError,
        "the state is of dict, where that of this transformatio",
    ),
    ("clip none", lambda: upd(optim.clip(None)), TypeError, "max_delta is a number from 0 on, got None"),
    (
        "clip_global str",
        lambda: upd(optim.clip_by_global_norm("1")),
        TypeError,
        "max_norm is a number from 0 on, got '1'; write 1",
    ),
    (
        "agc noparams",
        lambda: optim.adaptive_grad_clip(0.1).update(G, optim.adaptive_grad_clip(0.1).init(P)),
        ValueError,
        "adaptive_grad_clip needs the parameters; write update(gr",
    ),
    (
        "agc axis",
        lambda: upd(optim.adaptive_grad_clip(0.1, axis=5)),
        np.exceptions.AxisError,
        "axis 5 is out of bounds for array of dimension 1",
    ),
    (
        "masked wrong",
        lambda: upd(optim.masked(opt, {"w": True})),
        ValueError,
        "the mask does not fit the parameters; missing: b",
    ),
    (
        "masked str",
        lambda: upd(optim.masked(opt, "*.kernel")),
        ValueError,
        "the mask '*.kernel' matches no leaf of the parameters; t",
    ),
    (
        "masked num",
        lambda: upd(optim.masked(opt, 3)),
        TypeError,
        "a mask has True and False for its leaves, got 3; write f",
    ),
    (
        "multi labels",
        lambda: upd(optim.multi_transform({"a": opt}, {"w": "a", "b": "c"})),
        ValueError,
        "there is no transformation for the label 'c' of b; parti",
    ),
    (
        "multi labels struct",
        lambda: upd(optim.multi_transform({"a": opt}, {"w": "a"})),
        ValueError,
        "the tree of labels does not fit the parameters; missing:",
    ),
    (
        "multi list",
        lambda: upd(optim.multi_transform([opt], {"w": 0, "b": 0})),
        TypeError,
        "transforms is a dict, got a list",
    ),
    (
        "partition",
        lambda: upd(optim.partition(opt, {"w": "a"})),
        TypeError,
        "transforms is a dict, got a GradientTransformationExtr",
    ),
    (
        "inject val",
        lambda: optim.inject_hyperparams(opt),
        TypeError,
        "inner_factory is a function, got a GradientTransformat",
    ),
    (
        "inject no",
        lambda: optim.inject_hyperparams(optim.adam)(lr=1e-3),
        TypeError,
        "missing a required argument: 'learning_rate'; its argu",
    ),
    (
        "inject static",
        lambda: optim.inject_hyperparams(optim.adam, static_args="zz")(1e-3),
        ValueError,
        "static_args names 'zz', which 'adam' does not take; it",
    ),
    (
        "lookahead plain",
        lambda: upd(optim.lookahead(opt, 5, 0.5)),
        TypeError,
        "lookahead got parameters of type dict; it optimises Look",
    ),
    ("lbfgs", lambda: upd(optim.lbfgs()), TypeError, "this optimiser needs more; write opt.update(grads, sta"),
    (
        "polyak variant",
        lambda: optim.polyak_sgd(variant="z"),
        ValueError,
        "scale_by_polyak: variant='z', but there are 'sps' and 's",
    ),
    (
        "muon coeffs",
        lambda: upd(optim.muon(0.1, ns_coeffs=(1, 2)), {"w": np.ones((3, 3))}, {"w": np.ones((3, 3))}),
        ValueError,
        "scale_by_muon: ns_coeffs are three numbers, or three for",
    ),
    (
        "muon precond",
        lambda: upd(optim.muon(0.1, preconditioning="z"), {"w": np.ones((3, 3))}, {"w": np.ones((3, 3))}),
        ValueError,
        "scale_by_muon: preconditioning='z', but there are 'frobe",
    ),
    (
        "galore rank",
        lambda: upd(optim.galore(0.1, rank=0), {"w": np.ones((3, 3))}, {"w": np.ones((3, 3))}),
        ValueError,
        "scale_by_galore: rank and update_proj_gap are whole numb",
    ),
    (
        "sched cosine 0",
        lambda: optim.cosine_decay_schedule(0.1, 0),
        ValueError,
        "cosine_decay_schedule needs decay_steps > 0, got 0",
    ),
    (
        "sched warm",
        lambda: optim.warmup_cosine_decay_schedule(0.0, 1.0, 100, 50)(3),
        ValueError,
        "warmup_cosine_decay_schedule needs decay_steps > warmup_",
    ),
    (
        "sched pw list",
        lambda: optim.piecewise_constant_schedule(0.1, [(5, 0.1)])(1),
        TypeError,
        "boundaries_and_scales is a dict or None, got [(5, 0.1)]",
    ),
    (
        "sched pw neg",
        lambda: optim.piecewise_constant_schedule(0.1, {5: -0.1})(1),
        ValueError,
        "piecewise_constant_schedule takes scales that are not ne",
    ),
    (
        "sched pwi type",
        lambda: optim.piecewise_interpolate_schedule("zz", 0.1, {5: 0.1})(1),
        ValueError,
        'interpolate_type is "linear" or "cosine", got \'zz\'',
    ),
    (
        "sched join len",
        lambda: optim.join_schedules([optim.constant_schedule(1.0)], [5, 6])(1),
        ValueError,
        "join_schedules got 1 schedules and 2 boundaries, [5, 6];",
    ),
    (
        "sched join fn",
        lambda: optim.join_schedules([1.0, 2.0], [5])(7),
        TypeError,
        "schedules[0] is a function, got 1.0; write tg.optim.co",
    ),
    (
        "sched join bnd",
        lambda: optim.join_schedules([optim.constant_schedule(1.0)] * 2, 5)(1),
        TypeError,
        "join_schedules: boundaries is a list, got 5; write join_",
    ),
    (
        "sched sgdr",
        lambda: optim.sgdr_schedule({"decay_steps": 5})(1),
        TypeError,
        "takes a list of dicts, one for each warm restart, got {",
    ),
    (
        "sched sgdr2",
        lambda: optim.sgdr_schedule([{"decay_steps": 5}])(1),
        TypeError,
        "warmup_cosine_decay_schedule() missing 3 required positi",
    ),
    (
        "sched onecycle",
        lambda: optim.cosine_onecycle_schedule(0, 0.1)(1),
        ValueError,
        "cosine_onecycle_schedule needs transition_steps > 0, got",
    ),
    (
        "sched returns str",
        lambda: upd(optim.sgd(lambda c: "a")),
        TypeError,
        "a schedule returns one number for a step, this one ret",
    ),
    ("tree.add", lambda: optim.tree.add(P, {"w": np.ones(3)}), ValueError, "tree_map: the structures differ at tree"),
    (
        "value_and_grad",
        lambda: optim.value_and_grad_from_state(3),
        TypeError,
        "takes a function, got the int 3; write tg.value_and_gra",
    ),
    (
        "value_and_grad2",
        lambda: optim.value_and_grad_from_state(lambda p: np.sum(p["w"]))(P, state=opt.init(P)),
        ValueError,
        "found no value and grad in the state; it is for optimis",
    ),
    (
        "reduce factor",
        lambda: optim.reduce_on_plateau(factor=2.0),
        ValueError,
        "reduce_on_plateau: factor=2.0, but steps get smaller by",
    ),
    (
        "sf eval",
        lambda: optim.schedule_free_eval_params(opt.init(P), P),
        ValueError,
        "schedule_free_eval_params takes the state of schedule_fr",
    ),
    (
        "dpsgd",
        lambda: upd(optim.dpsgd(0.1, 1.0, 0.1, 0)),
        ShapeError,
        "takes gradients of single examples, with these along th",
    ),
    (
        "newton upd",
        lambda: upd(optim.newton_cg()),
        ValueError,
        "newton_cg needs the function that is minimised; write up",
    ),
    ("gn", lambda: optim.gauss_newton(3), TypeError, "residuals is a function, got 3"),
    ("monitor", lambda: upd(optim.monitor(3)), TypeError, "measures is a dict, got 3"),
    (
        "skip",
        lambda: optim.MultiSteps(opt, 2, should_skip_update_fn=lambda *a: 3).init(P),
        TypeError,
        "should_skip_update_fn must return a bool and what to k",
    ),
    (
        "lars mask",
        lambda: upd(optim.lars(0.1, weight_decay_mask="zz*")),
        ValueError,
        "the mask 'zz*' matches no leaf of the parameters; there",
    ),
    (
        "adamw mask fn",
        lambda: upd(optim.adamw(0.1, mask=lambda a, b, c: True)),
        TypeError,
        "<lambda>.<locals>.<lambda>() missing 2 required position",
    ),
    (
        "sm3",
        lambda: upd(optim.sm3(lambda c: 0.1)),
        TypeError,
        "for a schedule of it write tg.optim.inject_hyperparams(",
    ),
    (
        "scale_by_schedule",
        lambda: upd(optim.scale_by_schedule(0.1)),
        TypeError,
        "step_size_fn is a schedule, a function of the step, go",
    ),
    (
        "mu_dtype",
        lambda: upd(optim.adam(0.1, mu_dtype="zz")),
        TypeError,
        "mu_dtype is a dtype such as np.float32, got 'zz'",
    ),
    (
        "batches float",
        lambda: data.batches(X, 2.5),
        TypeError,
        "size is how many examples a batch has, got 2.5; arrays",
    ),
    ("batches str", lambda: data.batches(X, "a"), TypeError, "size is how many examples a batch has, got 'a'; arrays"),
    (
        "batches none",
        lambda: data.batches(X, None),
        TypeError,
        "size is how many examples a batch has, got None; array",
    ),
    ("batches 0", lambda: data.batches(X, 0), ValueError, "size must be at least 1, got 0"),
    ("batches big", lambda: data.batches(X, 100), ValueError, "no batch of 100 can be made of 8 examples; write drop_"),
    ("batches xy", lambda: data.batches(X, Y), TypeError, "size is how many examples a batch has, got i64[8]"),
    (
        "batches list",
        lambda: data.batches([1.0, 2.0], 1),
        ShapeError,
        "each leaf must be an array of examples along its first",
    ),
    (
        "batches gen",
        lambda: data.batches((x for x in X), 2),
        TypeError,
        "arrays are a tree of arrays, got a generator; write np",
    ),
    (
        "batches dictlen",
        lambda: data.batches({"x": X, "y": Y[:5]}, 2),
        ShapeError,
        "arrays of different numbers of examples: ['x'] has 8,",
    ),
    (
        "batches key str",
        lambda: data.batches(X, 2, key="a"),
        TypeError,
        "key is a random key or an int, got 'a'; write key=0",
    ),
    (
        "batches key float",
        lambda: list(data.batches(X, 2, key=1.5)),
        TypeError,
        "key is a random key or an int, got 1.5; write key=0",
    ),
    (
        "batches transform",
        lambda: data.batches(X, 2, key=0, transform=3),
        TypeError,
        "transform is a function, got 3; write (key, batch) ->",
    ),
    ("split 2", lambda: data.split(X, 2.0, key=0), ValueError, "fractions must be positive and add up to 1, got 2.0"),
    (
        "split str",
        lambda: data.split(X, "a", key=0),
        TypeError,
        "fractions are numbers that add up to 1, or that of the",
    ),
    (
        "split strat",
        lambda: data.split(X, 0.5, key=0, stratify=np.arange(3)),
        ShapeError,
        "stratify must have a class for each of 8 examples, got",
    ),
    ("map num", lambda: list(data.map([X], 3)), TypeError, "function is a function, got 3; write tg.data.map(batch"),
    (
        "map swapped",
        lambda: list(data.map(lambda x: x, [X])),
        TypeError,
        "function is a function, got [array([[1., 1., 1., 1.],",
    ),
    (
        "prefetch num",
        lambda: list(data.prefetch(3)),
        TypeError,
        "batches are an iterable, or a function of the epoch, g",
    ),
    ("pad_to", lambda: data.pad_to(X, 3), ValueError, "a batch of 8 examples is longer than 3"),
    (
        "windows",
        lambda: data.windows(np.arange(10), 20),
        ShapeError,
        "tokens must be [n] with n above length=20, got shape (",
    ),
    ("Characters num", lambda: data.Characters(3), TypeError, "a text is due, got 3"),
    (
        "Characters enc",
        lambda: data.Characters("abc").encode("xyz"),
        ValueError,
        "character 0 of the text, 'x', is none of the 3 of the",
    ),
    (
        "Characters dec",
        lambda: data.Characters("abc").decode([7]),
        ValueError,
        "numbers must be from 0 to 2, got 7 to 7",
    ),
    (
        "aug flip",
        lambda: data.augment.flip(axis=9)(tg.random.PRNGKey(0), np.ones((2, 4, 4, 1))),
        ValueError,
        "axis is 1 (upside down) or 2 (left to right), got 9",
    ),
    (
        "aug mixup",
        lambda: data.augment.mixup(-1.0)(tg.random.PRNGKey(0), (X, Y)),
        ValueError,
        "alpha must be above 0 and at most 1, got -1.0",
    ),
    (
        "aug key",
        lambda: data.augment.shift(1)(0, np.ones((2, 4, 4, 1))),
        DtypeError,
        "a key is u32[2], got i64~[]; write tg.random.key(0) fo",
    ),
    (
        "aug 2d",
        lambda: data.augment.shift(1)(tg.random.PRNGKey(0), np.ones(3)),
        ShapeError,
        "images are [n, height, width] or [n, height, width, ch",
    ),
    ("save swap", lambda: io.save(params, "a.npz"), TypeError, "is a path, got dict; write save(path, tree)"),
    (
        "save suffix",
        lambda: io.save("a.txt", params),
        ValueError,
        "decides what kind of file it is: write .safetensors, or",
    ),
    (
        "save nodir",
        lambda: io.save("no/a.npz", params),
        FileNotFoundError,
        "could not be saved: No such file or directory; make its",
    ),
    (
        "save layer",
        lambda: io.save("a.npz", net),
        TypeError,
        "tree cannot be saved: a value of type Layer is not an ar",
    ),
    (
        "save func",
        lambda: io.save("a.npz", {"f": lambda x: x}),
        TypeError,
        "tree['f'] cannot be saved: a value of type function is n",
    ),
    (
        "save complex",
        lambda: io.save("a.safetensors", {"a": np.ones(2, complex)}),
        TypeError,
        "tree['a'] is an array of c128, for which .safetensors fi",
    ),
    (
        "save meta",
        lambda: io.save("a.npz", params, metadata={"a": 3}),
        TypeError,
        "metadata holds texts by name, got {'a': 3}; write json.d",
    ),
    (
        "save meta str",
        lambda: io.save("a.npz", params, metadata="a"),
        TypeError,
        "metadata is a dict of texts by name, got 'a'; write meta",
    ),
    ("save num", lambda: io.save(3, params), TypeError, "is a path, got int; write save(path, tree)"),
    (
        "save objarr",
        lambda: io.save("a.npz", {"a": np.array([None])}),
        TypeError,
        "tree['a'] is an array of object, for which .npz files ha",
    ),
    (
        "save gen",
        lambda: io.save("a.npz", (x for x in [X])),
        TypeError,
        "tree cannot be saved: a value of type generator is not a",
    ),
    ("load missing", lambda: io.load("zz.npz"), FileNotFoundError, "[Errno 2] No such file or directory: '"),
    ("load num", lambda: io.load(3), TypeError, "is a path, got int; write load(path)"),
    ("load tree", lambda: io.load(params), TypeError, "is a path, got dict; write load(path)"),
    ("load like", lambda: (io.save("b.npz", params), io.load("b.npz", like=P)), io.MismatchError, "does not fit like:"),
    (
        "load like layer",
        lambda: (io.save("b.npz", params), io.load("b.npz", like=net)),
        TypeError,
        "like is serial(Dense(5), relu, Dense(3)) of type Layer,",
    ),
    (
        "load rename",
        lambda: (io.save("b.npz", params), io.load("b.npz", rename="a")),
        TypeError,
        "load: rename is a dict of new names by old ones, got 'a'",
    ),
    (
        "load bf",
        lambda: (io.save("b.npz", params), io.load("b.npz", bfloat16="f")),
        ValueError,
        "bfloat16='f': write 'float32', or nothing for arrays of",
    ),
    ("ck keep", lambda: ck(keep=0), ValueError, "keep=0: at least the latest is kept; write a number fr"),
    ("ck every", lambda: ck(every="zz"), ValueError, 'every=\'zz\': write "epoch", "5 epochs", a number of ste'),
    ("ck every0", lambda: ck(every=0), ValueError, 'every=0: write "epoch", "5 epochs", a number of steps'),
    ("ck best", lambda: ck(keep_best=3), ValueError, "keep_best=3: write a metric and which way it is better"),
    ("ck num", lambda: io.Checkpoints(3), TypeError, 'is a path, got int; write Checkpoints("run")'),
    (
        "ck file",
        lambda: (open("f", "w").close(), io.Checkpoints("f").save(1, params)),
        FileExistsError,
        "[Errno 17] File exists: '",
    ),
    ("ck save swap", lambda: ck().save(params, 1), TypeError, "step, how many steps were done, is a whole number from"),
    (
        "ck save neg",
        lambda: ck().save(-1, params),
        ValueError,
        "step, how many steps were done, is a whole number from",
    ),
    (
        "ck save extra",
        lambda: ck().save(1, params, 3),
        TypeError,
        "extra is a dict, got 3; write save(step, state, {'epoc",
    ),
    (
        "save_graph",
        lambda: io.save_graph("g.safetensors", 3),
        TypeError,
        "takes a function, got the int 3; write tg.make_graph(f)",
    ),
    ("fit swapped", lambda: fit(st, step, B), TypeError, "the first argument is the step, a function (state, bat"),
    ("fit raw", lambda: fit(step, st, (X, Y)), TypeError, "batches is a tuple of data, and not of batches; write"),
    (
        "fit cb",
        lambda: fit(step, st, B, callbacks=train.EarlyStopping()),
        TypeError,
        "callbacks is a list of them, got EarlyStopping; write",
    ),
    (
        "fit cb cls",
        lambda: fit(step, st, B, callbacks=[train.EarlyStopping]),
        TypeError,
        "callbacks are made, such as tg.train.EarlyStopping(),",
    ),
    (
        "fit cb num",
        lambda: fit(step, st, B, callbacks=[3]),
        TypeError,
        "a callback is a function, or has some of start, step,",
    ),
    (
        "fit cb gen",
        lambda: fit(step, st, B, callbacks=(c for c in [])),
        TypeError,
        "callbacks is a list of them, got generator; write call",
    ),
    (
        "fit val only",
        lambda: fit(step, st, B, validation=(X, Y)),
        TypeError,
        "evaluate= and validation= go together; write evaluate=",
    ),
    (
        "fit val num",
        lambda: fit(step, st, B, evaluate=train.make_evaluate(loss), validation=3),
        TypeError,
        "validation is a tuple or dict of arrays, or batches, g",
    ),
    (
        "fit eval num",
        lambda: fit(step, st, B, evaluate=3, validation=(X, Y)),
        TypeError,
        "evaluate is a function, got 3; write evaluate=tg.jit(t",
    ),
    (
        "fit val gen",
        lambda: fit(step, st, B, evaluate=train.make_evaluate(loss), validation=(b for b in [(X, Y)]), epochs=2),
        ValueError,
        "validation gave no batch; an iterator is used up after o",
    ),
    (
        "fit gen",
        lambda: fit(step, st, (b for b in [(X, Y)]), epochs=2),
        TypeError,
        "batches is an iterator, which is used up after one epo",
    ),
    (
        "fit progress",
        lambda: tg.fit(step, st, B, epochs=1, progress="zz"),
        ValueError,
        "progress is True, False, 'lines', 'terminal' or 'noteb",
    ),
    (
        "fit ck num",
        lambda: fit(step, st, B, checkpoints=3),
        TypeError,
        "checkpoints is a folder or a tg.io.Checkpoints, got in",
    ),
    (
        "fit on_nan",
        lambda: fit(step, st, B, on_nan="zz"),
        ValueError,
        "on_nan is 'explain', 'raise' or 'ignore', got 'zz'",
    ),
    ("fit seed", lambda: fit(step, st, B, seed=1), TypeError, "seed= is the key of tg.data.batches(...) that has none"),
    (
        "fit step ret",
        lambda: fit(lambda s, b: s, st, B),
        TypeError,
        "step must return (state, metrics) with metrics a dict, g",
    ),
    (
        "fit step ret3",
        lambda: fit(lambda s, b: (s, {"loss": "a"}), st, B),
        TypeError,
        "step must return a dict of numbers for metrics, and 'los",
    ),
    (
        "fit state params",
        lambda: fit(step, params, B),
        TypeError,
        "step: takes a TrainState, as tg.train.start(net, opt, ke",
    ),
    ("fit empty", lambda: fit(step, st, []), ValueError, "batches gave no batch in epoch 1; an iterator is used up"),
    (
        "fit batch obj",
        lambda: fit(step, st, [["a", "b"]]),
        TypeError,
        "a batch is a tree of arrays of numbers, and a leaf of it",
    ),
    (
        "fit shape",
        lambda: fit(step, st, [(np.ones((4, 9), np.float32), Y[:4])]),
        ShapeError,
        "kernel is (4, 5), but the input f32[4,9] asks for (9,",
    ),
    (
        "fit labels",
        lambda: fit(step, st, [(X, np.ones((8, 3)))]),
        DtypeError,
        "softmax_cross_entropy_with_integer_labels takes labels o",
    ),
    (
        "fit es monitor",
        lambda: fit(step, st, B, callbacks=[train.EarlyStopping("val_zz")]),
        KeyError,
        "EarlyStopping: there is no 'val_zz' among the numbers of",
    ),
    ("es mode", lambda: train.EarlyStopping(mode="auto"), ValueError, "mode is 'min' or 'max', got 'auto'"),
    (
        "es monitor num",
        lambda: fit(step, st, B, callbacks=[train.EarlyStopping(3)]),
        KeyError,
        "EarlyStopping: there is no 3 among the numbers of an epo",
    ),
    ("timer str", lambda: train.Timer("a"), TypeError, "the time is a number of seconds above 0, or a datetime"),
    (
        "csv num",
        lambda: fit(step, st, B, callbacks=[train.CSV(3)]),
        TypeError,
        'a path is due, got 3; write tg.train.CSV("log.csv")',
    ),
    ("lr num", lambda: train.LearningRates(3), TypeError, "an optimiser is made, as by tg.optim.adam(1e-3); got 3"),
    (
        "start swap",
        lambda: train.start(opt, net, 0, X),
        TypeError,
        "write start(net, opt, key, x), where net is a layer of",
    ),
    (
        "start noinput",
        lambda: train.start(net, opt, 0),
        TypeError,
        "takes the inputs (x), got 0; write net.init(key, x), n",
    ),
    (
        "start key",
        lambda: train.start(net, opt, "a", X),
        TypeError,
        "the third argument is a random key or an int, got 'a';",
    ),
    (
        "start key x",
        lambda: train.start(net, opt, X),
        DtypeError,
        "a key is u32[2], got f32[8,4]; write tg.random.key(0)",
    ),
    (
        "make_step val",
        lambda: train.make_step(3, opt),
        TypeError,
        "takes a function, got the int 3; write tg.make_step(los",
    ),
    (
        "make_step acc div",
        lambda: train.make_step(loss, opt, accumulate=3)(st, (X, Y)),
        ShapeError,
        "step: a batch leaf of f32[8,4] cannot be divided into ac",
    ),
    (
        "make_step clip",
        lambda: train.make_step(loss, opt, clip=-1.0),
        ValueError,
        "clip is the largest norm, above 0, got -1.0",
    ),
    (
        "make_step clip str",
        lambda: train.make_step(loss, opt, clip="a")(st, (X, Y)),
        ValueError,
        "clip is the largest norm, above 0, got 'a'",
    ),
    (
        "make_step compute",
        lambda: train.make_step(loss, opt, compute="zz"),
        DtypeError,
        "compute is a floating dtype such as 'bfloat16', got 'z",
    ),
    (
        "make_step compute int",
        lambda: train.make_step(loss, opt, compute="int32"),
        DtypeError,
        "compute is a floating dtype such as 'bfloat16', got 'i",
    ),
    (
        "make_step ema",
        lambda: train.make_step(loss, opt, ema=2.0),
        ValueError,
        "ema is a decay from 0 to 1, such as 0.999, got 2.0",
    ),
    (
        "make_step ema str",
        lambda: train.make_step(loss, opt, ema="a"),
        ValueError,
        "ema is a decay from 0 to 1, such as 0.999, got 'a'",
    ),
    (
        "make_step ema no",
        lambda: train.make_step(loss, opt, ema=0.9)(st, (X, Y)),
        TypeError,
        "step: start was not told of ema; write start(..., ema=)",
    ),
    (
        "make_step scale",
        lambda: train.make_step(loss, opt, loss_scale="a"),
        TypeError,
        "loss_scale is a number or tg.train.dynamic(), got 'a'",
    ),
    (
        "make_step kw",
        lambda: train.make_step(lambda p, b, *, rng: 0.0, opt),
        TypeError,
        "asks for rng; a loss is given params, batch, and of sta",
    ),
    (
        "make_step vec",
        lambda: train.make_step(lambda p, b: nn.l2_loss(net(p, b[0])), opt)(st, (X, Y)),
        ShapeError,
        "<lambda> must return a scalar, got f32[8,3]; losses of t",
    ),
    (
        "make_step ret",
        lambda: train.make_step(lambda p, b: (1.0, 2.0), opt)(st, (X, Y)),
        TypeError,
        "<lambda> must return value, (value, metrics) or (value,",
    ),
    (
        "make_step none",
        lambda: train.make_step(lambda p, b: None, opt)(st, (X, Y)),
        TypeError,
        "<lambda> returned None; end it with return value",
    ),
    ("make_eval", lambda: train.make_evaluate(3), TypeError, "takes a function, got the int 3; write tg.make_evaluate"),
    ("averaged", lambda: train.averaged(st), TypeError, "this state keeps no average; write start(..., ema=) an"),
    (
        "history key",
        lambda: fit(step, st, B).history["zz"],
        KeyError,
        "no 'zz' in the history; it has 'epoch', 'step', 'loss'",
    ),
    ("history plot", lambda: train.History().plot(), ValueError, "the history has no numbers yet"),
    (
        "acc shape",
        lambda: metrics.accuracy(np.ones((8, 3)), np.zeros(5, int)),
        ShapeError,
        "logits of shape (8, 3), [..., classes], need labels of",
    ),
    (
        "acc float",
        lambda: metrics.accuracy(np.ones((8, 3)), np.ones((8, 3))),
        DtypeError,
        "labels are classes, of an integer dtype, got f64[8,3];",
    ),
    ("acc str", lambda: metrics.accuracy("a", Y), DtypeError, "; pass numbers, NumPy arrays or pytrees of them"),
    ("topk", lambda: metrics.top_k_accuracy(np.ones((8, 3)), Y, 9), ValueError, "k must be from 1 to 3 classes, got 9"),
    (
        "cm",
        lambda: metrics.confusion_matrix(Y, Y[:3], 3),
        ShapeError,
        "predicted and labels have one shape, got (8,) and (3,)",
    ),
    (
        "r2",
        lambda: metrics.r2(np.ones(3), np.ones(4)),
        ShapeError,
        "predictions and targets have one shape, [examples] or",
    ),
    ("mean", lambda: metrics.mean(3), TypeError, "a list of dicts is due, one for each batch, got 3; wri"),
    ("mean w", lambda: metrics.mean([{"a": 1.0}], [1, 2]), ValueError, "2 weights for 1 batches; give one for each"),
    (
        "Dense init",
        lambda: nn.Dense(4, kernel_init=3).init(0, X),
        TypeError,
        "'kernel' needs a function (key, shape, dtype) -> array",
    ),
    ("Conv ks", lambda: nn.Conv(4, "a"), TypeError, "; write 3 or (3, 3)"),
    (
        "Conv pad low",
        lambda: nn.Conv(4, 3, padding="same").init(0, (1, 8, 8, 1)),
        ValueError,
        "padding is 'SAME', 'VALID', 'CIRCULAR', 'CAUSAL', a nu",
    ),
    (
        "Conv rank",
        lambda: nn.Conv(4, (3, 3)).init(0, (8,)),
        ShapeError,
        "a window of (3, 3) takes [..., space, space, channels]",
    ),
    (
        "Conv strides",
        lambda: nn.Conv(4, (3, 3), strides=0).init(0, (1, 8, 8, 1)),
        ShapeError,
        "window_strides must be 2 positive ints, one for each a",
    ),
    (
        "Conv groups",
        lambda: nn.Conv(4, (3, 3), feature_group_count=3).init(0, (1, 8, 8, 4)),
        ShapeError,
        "3 groups must divide 4 channels in and 4 out",
    ),
    (
        "Embed f",
        lambda: nn.Embed(10, 4)(nn.Embed(10, 4).init(0, Y), X),
        DtypeError,
        "takes integers, got float32; write tokens.astype(np.in",
    ),
    ("LN axis", lambda: nn.LayerNorm(axis=7).init(0, X), ShapeError, "no axes 7 in an input of shape (8, 4)"),
    (
        "LN axis s",
        lambda: nn.LayerNorm(axis="a").init(0, X),
        TypeError,
        "axis is a whole number or a tuple of such, got 'a'",
    ),
    ("LN torch", lambda: nn.LayerNorm((4,)).init(0, X), TypeError, "epsilon is a number from 0 on, got (4,)"),
    ("GN", lambda: nn.GroupNorm(3).init(0, X), ShapeError, "4 channels do not divide into 3 groups"),
    (
        "BN axisname",
        lambda: nn.BatchNorm(axis_name="zz").apply(
            nn.BatchNorm().init(0, X), X, state=nn.BatchNorm().init_state(X), train=True
        ),
        NameError,
        "no axis named 'zz' is being mapped over, nor is any ot",
    ),
    (
        "BN nostate",
        lambda: nn.BatchNorm()(nn.BatchNorm().init(0, X), X),
        ValueError,
        "keeps 'mean' and 'var' from call to call; write y, sta",
    ),
    ("Dropout 2", lambda: nn.Dropout(2.0), ValueError, "rate is the share of entries that is dropped, from 0 t"),
    (
        "Dropout nokey",
        lambda: nn.Dropout(0.5).apply({}, X, train=True),
        ValueError,
        "draws random numbers in training; pass key=, for examp",
    ),
    (
        "MHA",
        lambda: nn.MultiHeadAttention(3).init(0, np.ones((2, 5, 4))),
        ShapeError,
        "3 heads must divide 4 features, and 3 heads of keys an",
    ),
    ("SA rank", lambda: nn.SelfAttention(2).init(0, (4,)), ShapeError, "takes [..., places, features], got (4,)"),
    (
        "dpa",
        lambda: nn.dot_product_attention(np.ones((2, 3, 4)), np.ones((2, 3, 5)), np.ones((2, 3, 4))),
        ShapeError,
        "takes keys and values of one shape, got (2, 3, 5) and (",
    ),
    (
        "dpa mask",
        lambda: nn.dot_product_attention(
            np.ones((2, 3, 1, 4)), np.ones((2, 3, 1, 4)), np.ones((2, 3, 1, 4)), mask=np.ones((7, 7), bool)
        ),
        ValueError,
        "operands could not be broadcast together with shapes (7,",
    ),
    (
        "rotary odd",
        lambda: nn.rotary(np.ones((2, 3, 1, 5)), np.arange(3)),
        ShapeError,
        "takes [..., T, N, H] with an even H, got (2, 3, 1, 5)",
    ),
    ("LSTM", lambda: nn.RNN(nn.LSTMCell), TypeError, "takes a cell such as nn.LSTMCell(8), got"),
    ("RNN num", lambda: nn.RNN(3).init(0, (1, 3, 4)), TypeError, "takes a cell such as nn.LSTMCell(8), got 3"),
    (
        "pool rank",
        lambda: nn.max_pool((2, 2))(np.ones(3)),
        TypeError,
        "the first argument is the parameters, a dict, got f64[",
    ),
    ("upsample", lambda: nn.upsample(2, "zz"), ValueError, "method is 'nearest' or 'linear', got 'zz'"),
    ("pixel", lambda: nn.pixel_shuffle(3).apply({}, np.ones((1, 4, 4, 4))), ShapeError, "3^2 must divide 4 channels"),
    ("serial num", lambda: nn.serial(3), TypeError, "a layer is a Layer or a function of arrays, got int"),
    ("serial list", lambda: nn.serial([nn.Dense(3), nn.relu]), TypeError, "; write nn.serial(*layers)"),
    (
        "serial cls",
        lambda: nn.serial(nn.Dense, nn.relu).init(0, X),
        TypeError,
        "Dense makes a layer, and a layer is due; write Dense(.",
    ),
    (
        "residual shape",
        lambda: nn.residual(nn.Dense(7)).init(0, X),
        ShapeError,
        "add: shapes f32[8,4], f32[8,7] do not broadcast together",
    ),
    (
        "parallel c",
        lambda: nn.parallel(nn.Dense(3), combine="zz"),
        ValueError,
        "combine is 'concatenate', 'sum' or 'tuple', got 'zz'",
    ),
    (
        "repeat cls",
        lambda: nn.repeat(nn.Dense, 3),
        TypeError,
        "Dense() missing 1 required positional argument: 'feature",
    ),
    (
        "stack shape",
        lambda: nn.stack(nn.Dense(5), 3).init(0, X),
        ShapeError,
        "a stack needs a layer that returns the type that it ta",
    ),
    ("net other", lambda: net({"a": 1}, X), ValueError, "no parameter 'Dense_0.kernel'; the parameters given ha"),
    ("net complex", lambda: net(params, X * 1j), DtypeError, "takes real inputs, got complex64; net.init(key, x, dty"),
    ("net str", lambda: net(params, "a"), TypeError, "takes arrays, got str; write np.asarray(x) around numb"),
    ("init nokey", lambda: net.init(X), TypeError, "a key is u32[2], or an int, got f32[8,4]; write net.in"),
    ("init strkey", lambda: net.init("a", X), TypeError, "a key is u32[2], or an int, got str; write net.init(0,"),
    (
        "init dtype",
        lambda: net.init(0, X, dtype="int32"),
        DtypeError,
        "numbers come as float16, bfloat16, float32 or float64,",
    ),
    (
        "init dtype zz",
        lambda: net.init(0, X, dtype="zz"),
        TypeError,
        "dtype is one of NumPy's, got 'zz'; write np.float32",
    ),
    ("init shape", lambda: net.init(0, 3), ShapeError, "takes an array with axes, got i64~[]"),
    ("init list", lambda: net.init(0, [1, 4]), TypeError, "takes arrays, got list; write np.asarray(x) around num"),
    (
        "pool 0 use",
        lambda: nn.max_pool(0)({}, np.ones((1, 4, 4, 1))),
        ValueError,
        "a size is a whole number from 1 on, got 0",
    ),
    ("check", lambda: net.check({**params, "z": 1}, X), ValueError, "params has 'z', which nothing asked for"),
    ("cast int", lambda: nn.cast(params, "int8"), DtypeError, "a floating dtype is due, such as 'bfloat16', got int8"),
    ("cast swap", lambda: nn.cast("float16", params), ValueError, "entry not a 2- or 3- tuple"),
    (
        "loss shape",
        lambda: nn.softmax_cross_entropy(np.ones((8, 3)), np.ones((8, 4))),
        ShapeError,
        "multiply: shapes f64[8,4], f64[8,3] do not broadcast tog",
    ),
    (
        "loss sq",
        lambda: nn.squared_error(np.ones((8, 3)), np.ones((8,))),
        ShapeError,
        "squared_error: predictions and targets need one shape, g",
    ),
    (
        "loss hinge",
        lambda: nn.hinge_loss(np.ones(3), np.ones(4)),
        ShapeError,
        "hinge_loss: targets of shape (4,) do not broadcast to pr",
    ),
    (
        "loss focal",
        lambda: nn.sigmoid_focal_loss(np.ones(3), np.ones(4)),
        ValueError,
        "shape mismatch: objects cannot be broadcast to a single",
    ),
    (
        "loss smooth",
        lambda: nn.smooth_labels(np.ones((3, 2)), "a"),
        TypeError,
        "alpha is a number or an array, got 'a'",
    ),
    (
        "loss ctc",
        lambda: nn.ctc_loss(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))),
        DtypeError,
        "ctc_loss takes labels of an integer dtype, got float64;",
    ),
    (
        "gauss nll",
        lambda: nn.gaussian_nll(np.ones(3), np.ones(4), np.ones(3)),
        ShapeError,
        "gaussian_nll: log_variance of shape (4,) do not broadcas",
    ),
    (
        "init vs",
        lambda: nn.initializers.variance_scaling(1.0, "zz", "normal"),
        ValueError,
        'mode is "fan_in", "fan_out", "fan_avg" or "fan_geo_avg',
    ),
    (
        "init vs d",
        lambda: nn.initializers.variance_scaling(1.0, "fan_in", "zz"),
        ValueError,
        'distribution is "truncated_normal", "normal" or "unifo',
    ),
    (
        "init orth",
        lambda: nn.initializers.orthogonal()(tg.random.PRNGKey(0), (3,)),
        ShapeError,
        "a shape of two axes or more is due, got (3,)",
    ),
    (
        "init he",
        lambda: nn.initializers.he_normal()(tg.random.PRNGKey(0), (3,)),
        ShapeError,
        "a shape with in_axis=-2 and out_axis=-1 is due, got (3",
    ),
    (
        "init direct",
        lambda: nn.Dense(3, kernel_init=nn.initializers.he_normal).init(0, X),
        TypeError,
        "the initialiser of 'kernel' returned a function: write h",
    ),
    (
        "model resnet",
        lambda: nn.models.resnet(19),
        ValueError,
        "there is no resnet(19); there are 18, 34, 50, 101, 152",
    ),
    ("model vit", lambda: nn.models.vit("zz"), ValueError, "there is no vit('zz'); there are 'Ti', 'S', 'B', 'L',"),
    ("model gpt2", lambda: nn.models.gpt2("zz"), ValueError, "there is no gpt2('zz'); there are 'small', 'medium', '"),
    ("model mlp", lambda: nn.models.mlp(3), ValueError, "sizes are those of the input and of each layer, such a"),
    ("model vgg", lambda: nn.models.vgg(3), ValueError, "there is no vgg(3); there are 11, 13, 16, 19"),
    (
        "scope name",
        lambda: nn.layer(lambda p, x: p(nn.Dense(3), x, name="a.b")).init(0, X),
        ValueError,
        "the name of a layer is a text without dots, got 'a.b'",
    ),
    (
        "scope twice",
        lambda: nn.layer(lambda p, x: p(nn.Dense(4), p(nn.Dense(4), x, name="a"), name="a")).init(0, X),
        ValueError,
        "; the same Layer object twice shares its parameters",
    ),
    (
        "scope param",
        lambda: nn.layer(lambda p, x: p.param("a", 3, (2,))).init(0, X),
        TypeError,
        "'a' needs a function (key, shape, dtype) -> array, got",
    ),
    (
        "scope param s",
        lambda: nn.layer(lambda p, x: p.param("a", nn.initializers.zeros, "a")).init(0, X),
        TypeError,
        "the sizes of 'a' must be whole numbers from 0 on, got",
    ),
    (
        "scope update",
        lambda: nn.layer(lambda p, x: p.update("a", 3)).init(0, X),
        ValueError,
        "no state 'a' to update; call p.state('a', init, shape)",
    ),
    (
        "layer none",
        lambda: nn.layer(lambda: 3).init(0, X),
        TypeError,
        "takes the inputs (), got 1; write net.init(key, x), ne",
    ),
    ("layer num", lambda: nn.layer(3).init(0, X), TypeError, "takes a function, got the int 3; write tg.nn.layer(f) w"),
    ("one_hot", lambda: nn.one_hot(Y, "a"), TypeError, "arange() not supported for inputs with DType <class 'num"),
    ("one_hot f", lambda: nn.one_hot(X, 2.5), DtypeError, "one_hot takes integers, got float32; write x.astype(int)"),
    ("sk net", lambda: sk.Classifier(3).fit(X, Y), TypeError, "net is a function, got 3; write nn.serial(...), or lam"),
    (
        "sk opt",
        lambda: sk.Classifier(net, optimizer=3).fit(X, Y),
        TypeError,
        "_Net.__init__() got an unexpected keyword argument 'opti",
    ),
    (
        "sk loss",
        lambda: sk.Classifier(net, loss=3).fit(X, Y),
        TypeError,
        "_Net.__init__() got an unexpected keyword argument 'loss",
    ),
    (
        "sk classes",
        lambda: sk.Classifier(nn.serial(nn.Dense(2))).fit(X, Y),
        ShapeError,
        "the net makes f32[8,2] of f32[8,4], and 3 outputs for",
    ),
    ("huber text", lambda: nn.huber_loss(X, X, delta="a"), TypeError, "delta is a number or an array, got 'a'"),
    ("mask text", lambda: nn.kl_divergence(X, X, where="a"), TypeError, "where is a number or an array, got 'a'"),
    ("focal text", lambda: nn.sigmoid_focal_loss(X, X, gamma="a"), TypeError, "gamma is a number or an array, got"),
    ("dice text", lambda: nn.dice_loss(X, X, smooth="a"), TypeError, "smooth is a number or an array, got 'a'"),
    ("nn.reshape", lambda: nn.reshape((3,))({}, X), ShapeError, "shape (4,) has 4 numbers, and (3,) asks for 3"),
    ("nn.reshape -1", lambda: nn.reshape((3, -1))({}, X), ShapeError, "and (3, -1) asks for a multiple of 3"),
    ("nn.reshape two", lambda: nn.reshape((-1, -1)), ValueError, "one size may be -1, got (-1, -1)"),
    (
        "nn.reshape number",
        lambda: nn.reshape(3)({}, np.float32(1)),
        ShapeError,
        "takes a batch [batch, ...], got a num",
    ),
    (
        "Embed beyond",
        lambda: nn.serial(nn.Embed(10, 4))(nn.serial(nn.Embed(10, 4)).init(0, Y), Y + 10),
        IndexError,
        "of 10 embeddings the last is 9, got integers from 10 to 12; write nn.Embed(13, 4)",
    ),
    (
        "Embed below",
        lambda: nn.Embed(9, 4)(nn.Embed(9, 4).init(0, Y), Y - 12),
        IndexError,
        "is 8, got integers from -12",
    ),
    ("Ratio text", lambda: metrics.mean([{"r": metrics.Ratio("a", 3)}]), TypeError, "metric 'r'"),
    ("Sum text", lambda: metrics.mean([{"r": metrics.Sum("a")}]), TypeError, "is numbers, got 'a'"),
    ("map arity", lambda: data.map(B, lambda x, y: x), TypeError, "function is called with 1 argument, got"),
    (
        "transform arity",
        lambda: data.batches((X, Y), 4, key=0, transform=lambda batch: batch),
        TypeError,
        "transform is called with 2 arguments, got",
    ),
    ("Dense 0", lambda: nn.Dense(0), ValueError, "features is a whole number from 1 on, got 0"),
    ("Dense -1", lambda: nn.Dense(features=-1), ValueError, "features is a whole number from 1 on, got -1"),
    ("Dense 2.5", lambda: nn.Dense(2.5), TypeError, "features is a whole number from 1 on, got 2.5"),  # type: ignore[arg-type]
    ("Embed 0", lambda: nn.Embed(0, 4), ValueError, "num_embeddings is a whole number from 1 on, got 0"),
    ("Embed, 0", lambda: nn.Embed(4, 0), ValueError, "features is a whole number from 1 on, got 0"),
    ("Conv 0", lambda: nn.Conv(0, 3), ValueError, "features is a whole number from 1 on, got 0"),
    ("Conv window 0", lambda: nn.Conv(3, 0), ValueError, "a size is a whole number from 1 on, got 0"),
    ("lora 0", lambda: nn.lora(nn.Dense(3), 0), ValueError, "rank is a whole number from 1 on, got 0"),
    (
        "pool beyond",
        lambda: nn.max_pool(5)({}, np.ones((1, 4, 4, 1))),
        ShapeError,
        "(5, 5) is larger than the input (4, 4)",
    ),
    ("pool 0", lambda: nn.adaptive_avg_pool(0), ValueError, "a size is a whole number from 1 on, got 0"),
    (
        "Conv beyond",
        lambda: nn.Conv(2, 5, padding="VALID").init(0, (1, 4, 4, 1)),
        ShapeError,
        "(5, 5) is larger than the input (4, 4)",
    ),
]

# Numbers out of bounds: a name, the call, and what the text says.
BOUNDS: list[tuple[str, Callable[[], Any], str]] = [
    ("huber", lambda: nn.huber_loss(X, X, delta=-1.0), "huber_loss at FILE: delta is a number above 0, got -1.0"),
    ("huber 0", lambda: nn.huber_loss(X, delta=0), "delta is a number above 0, got 0"),
    ("huber nan", lambda: nn.huber_loss(X, delta=float("nan")), "delta is a number above 0, got nan"),
    ("huber array", lambda: nn.huber_loss(X, delta=np.array([1.0, 1, 1, -1])), "delta is a number above 0, got f64[4]"),
    ("huber jit", lambda: tg.jit(tg.grad(lambda x: nn.huber_loss(x, delta=-1.0)))(1.0), "above 0, got -1.0"),
    ("focal alpha", lambda: nn.sigmoid_focal_loss(X, X, alpha=1.5), "alpha is a number from 0 to 1, got 1.5"),
    ("focal gamma", lambda: nn.sigmoid_focal_loss(X, X, gamma=-2), "gamma is a number from 0 on, got -2"),
    ("smooth", lambda: nn.smooth_labels(X, 1.1), "smooth_labels at FILE: alpha is a number from 0 to 1, got 1.1"),
    ("cosine", lambda: nn.cosine_similarity(X, X, epsilon=-1e-6), "epsilon is a number from 0 on, got -1e-06"),
    ("distance", lambda: nn.cosine_distance(X, X, epsilon=-1.0), "cosine_distance at FILE: epsilon is"),
    ("triplet p", lambda: nn.triplet_margin_loss(X, X, X, norm_degree=0), "norm_degree is a number above 0, got 0"),
    ("triplet margin", lambda: nn.triplet_margin_loss(X, X, X, margin=-1), "margin is a number from 0 on, got -1"),
    ("ntxent", lambda: nn.ntxent(X, Y, 0.0), "ntxent at FILE: temperature is a number above 0, got 0.0"),
    ("dice", lambda: nn.dice_loss(X, X, smooth=-1.0), "smooth is a number from 0 on, got -1.0"),
    ("dice all", lambda: nn.multiclass_generalized_dice_loss(X, X, smooth=-1.0), "smooth is a number from 0 on"),
    (
        "b1",
        lambda: optim.adam(1e-3, 1.5),
        "adam at FILE: b1 is a number from 0 to below 1, got 1.5; the default is 0.9",
    ),
    ("b2 of 1", lambda: optim.adamw(1e-3, b2=1.0), "b2 is a number from 0 to below 1, got 1.0; the default is 0.999"),
    ("b2 array", lambda: optim.adam(1e-3, b2=np.float32(-1)), "b2 is a number from 0 to below 1, got"),
    (
        "betas",
        lambda: optim.prodigy(betas=(0.9, 1.0)),
        "prodigy at FILE: betas is a number from 0 to below 1, got (0.9, 1.0)",
    ),
    ("eps", lambda: optim.rmsprop(0.1, eps=-1e-8), "eps is a number from 0 on, got -1e-08; the default is 1e-08"),
    ("eps nan", lambda: optim.adam(0.1, eps=float("nan")), "eps is a number from 0 on, got nan"),
    ("eps complex", lambda: optim.adam(0.1, eps=1j), "eps is a number from 0 on, got 1j"),
    ("decay", lambda: optim.adamw(1.0, weight_decay=-0.1), "weight_decay is a number from 0 on or a schedule, a func"),
    ("momentum", lambda: optim.sgd(0.1, momentum=-0.9), "momentum is a number from 0 to 1 or None, got -0.9"),
    ("ema", lambda: optim.ema(1.1), "ema at FILE: decay is a number from 0 to 1, got 1.1"),
    ("clip", lambda: optim.clip(-1.0), "clip at FILE: max_delta is a number from 0 on, got -1.0"),
    ("global", lambda: optim.clip_by_global_norm(-1.0), "max_norm is a number from 0 on, got -1.0"),
    ("noise", lambda: optim.add_noise(-0.1, 0.5, key=0), "eta is a number from 0 on, got -0.1"),
    ("lookahead", lambda: optim.lookahead(opt, 5, 1.5), "slow_step_size is a number from 0 to 1, got 1.5"),
    ("rprop", lambda: optim.rprop(0.1, eta_plus=0.5), "eta_plus is a number from 1 on, got 0.5; the default is 1.2"),
    ("muon", lambda: optim.muon(0.1, ns_steps=0), "ns_steps is a whole number from 1 on, got 0"),
    (
        "line",
        lambda: optim.scale_by_backtracking_linesearch(5, decrease_factor=1.5),
        "decrease_factor is a number from 0 to 1",
    ),
    ("zoom", lambda: optim.scale_by_zoom_linesearch(-1), "max_linesearch_steps is a whole number from 1 on, got -1"),
    ("power", lambda: optim.polynomial_schedule(1.0, 0.0, -1.0, 10), "power is a number from 0 on, got -1.0"),
    ("rate", lambda: optim.exponential_decay(1.0, 10, -0.5), "decay_rate is a number from 0 on, got -0.5"),
    (
        "warm-up",
        lambda: optim.warmup_cosine_decay_schedule(0.0, 1.0, -5, 50),
        "warmup_steps is a number from 0 on, got -5",
    ),
    (
        "share",
        lambda: optim.cosine_onecycle_schedule(10, 1.0, pct_start=30),
        "pct_start is a number from 0 to 1, got 30",
    ),
    ("divided", lambda: optim.linear_onecycle_schedule(10, 1.0, div_factor=0), "div_factor is a number above 0, got 0"),
    (
        "in order",
        lambda: optim.linear_onecycle_schedule(10, 1.0, 0.9, 0.5),
        "pct_start is at most pct_final, got 0.9 and 0.5",
    ),
    ("norm", lambda: nn.LayerNorm(-1e-6), "LayerNorm at FILE: epsilon is a number from 0 on, got -1e-06"),
    ("running", lambda: nn.BatchNorm(momentum=1.1), "momentum is a number from 0 to 1, got 1.1; the default is 0.99"),
    ("attention", lambda: nn.MultiHeadAttention(2, dropout_rate=2.0), "dropout_rate is a number from 0 to 1, got 2.0"),
    ("normal", lambda: nn.initializers.normal(-1.0), "normal at FILE: stddev is a number from 0 on, got -1.0"),
    ("uniform", lambda: nn.initializers.uniform(-1.0), "scale is a number from 0 on, got -1.0"),
    (
        "cut",
        lambda: nn.initializers.truncated_normal(1.0, lower=2.0, upper=-2.0),
        "lower is below upper, got lower=2.0 and",
    ),
    (
        "variance",
        lambda: nn.initializers.variance_scaling(0.0, "fan_in", "normal"),
        "scale is a number above 0, got 0.0",
    ),
]


@pytest.mark.parametrize(("run", "part"), [case[1:] for case in BOUNDS], ids=[case[0] for case in BOUNDS])
def test_number_out_of_bounds(run: Callable[[], Any], part: str) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        run()
    text = re.sub(rf"{re.escape(__file__)}:\d+ \(in <lambda>\)", "FILE", str(caught.value))
    assert part in text and not faults(caught.value, __file__), (faults(caught.value, __file__), text)


def test_numbers_at_their_bounds_pass() -> None:
    assert nn.huber_loss(2.0, delta=np.float32(1)) == 1.5 and nn.smooth_labels(np.eye(2), 1)[0, 0] == 0.5
    assert tg.jit(lambda x, d: nn.huber_loss(x, delta=d))(2.0, -1.0) == -2.5  # known to nobody while it is traced
    assert upd(optim.adam(1e-3, 0.0, 0, eps=0.0)) is not None and upd(optim.sgd(0.1, momentum=1)) is not None
    assert optim.scale_by_sm3(b2=1.0) and optim.clip(np.array(0.0)) and optim.sgd(-0.1)  # which goes uphill
    assert tg.jit(lambda b: upd(optim.adam(1e-3, b1=b))[0]["b"])(0.9).shape == (2,)


@pytest.fixture(autouse=True)
def _as_users_see_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRACEGRAD_TRACEBACKS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("run", "error", "part"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_wrong_call(run: Callable[[], Any], error: type[Exception], part: str) -> None:
    with pytest.raises(error) as caught:
        run()
    found = caught.value
    text = found.args[0] if type(found) is KeyError else str(found)
    assert part in text and not faults(found, __file__), (faults(found, __file__), text)
