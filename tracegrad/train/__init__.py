"""Training: a state, a pure step, the loop `tg.fit`, and what it calls as it goes.

state = tg.train.start(net, opt, 0, x)
step = tg.jit(tg.train.make_step(loss, opt))
state, history, reason, best = tg.fit(step, state, batches, epochs=10)
"""

from tracegrad.train.callbacks import CSV as CSV
from tracegrad.train.callbacks import EarlyStopping as EarlyStopping
from tracegrad.train.callbacks import LearningRates as LearningRates
from tracegrad.train.callbacks import LrFinder as LrFinder
from tracegrad.train.callbacks import Replace as Replace
from tracegrad.train.callbacks import Run as Run
from tracegrad.train.callbacks import Stop as Stop
from tracegrad.train.callbacks import TensorBoard as TensorBoard
from tracegrad.train.callbacks import Throughput as Throughput
from tracegrad.train.callbacks import Timer as Timer
from tracegrad.train.checks import NanError as NanError
from tracegrad.train.checks import TrainingWarning as TrainingWarning
from tracegrad.train.fitting import fit as fit
from tracegrad.train.history import History as History
from tracegrad.train.loop import Fitted as Fitted
from tracegrad.train.step import TrainState as TrainState
from tracegrad.train.step import averaged as averaged
from tracegrad.train.step import dynamic as dynamic
from tracegrad.train.step import make_evaluate as make_evaluate
from tracegrad.train.step import make_step as make_step
from tracegrad.train.step import start as start

__all__ = [
    "CSV",
    "EarlyStopping",
    "Fitted",
    "History",
    "LearningRates",
    "LrFinder",
    "NanError",
    "Replace",
    "Run",
    "Stop",
    "TensorBoard",
    "Throughput",
    "Timer",
    "TrainState",
    "TrainingWarning",
    "averaged",
    "dynamic",
    "fit",
    "make_evaluate",
    "make_step",
    "start",
]


def __dir__() -> list[str]:
    return list(__all__)
