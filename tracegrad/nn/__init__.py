"""What neural networks are written with: activations, softmax and its kin, losses. Names, arguments and values are
those of jax.nn, and of optax for the losses."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracegrad.core.boxes import accept_jax
from tracegrad.core.late import imported
from tracegrad.nn import initializers as initializers
from tracegrad.nn.activations import celu as celu
from tracegrad.nn.activations import elu as elu
from tracegrad.nn.activations import gelu as gelu
from tracegrad.nn.activations import glu as glu
from tracegrad.nn.activations import hard_sigmoid as hard_sigmoid
from tracegrad.nn.activations import hard_silu as hard_silu
from tracegrad.nn.activations import hard_swish as hard_swish
from tracegrad.nn.activations import hard_tanh as hard_tanh
from tracegrad.nn.activations import identity as identity
from tracegrad.nn.activations import leaky_relu as leaky_relu
from tracegrad.nn.activations import log_sigmoid as log_sigmoid
from tracegrad.nn.activations import log_softmax as log_softmax
from tracegrad.nn.activations import logmeanexp as logmeanexp
from tracegrad.nn.activations import logsumexp as logsumexp
from tracegrad.nn.activations import mish as mish
from tracegrad.nn.activations import one_hot as one_hot
from tracegrad.nn.activations import selu as selu
from tracegrad.nn.activations import sigmoid as sigmoid
from tracegrad.nn.activations import silu as silu
from tracegrad.nn.activations import softmax as softmax
from tracegrad.nn.activations import sparse_plus as sparse_plus
from tracegrad.nn.activations import sparse_sigmoid as sparse_sigmoid
from tracegrad.nn.activations import standardize as standardize
from tracegrad.nn.activations import swish as swish
from tracegrad.nn.activations import tanh as tanh
from tracegrad.nn.attention import dot_product_attention as dot_product_attention
from tracegrad.nn.attention import rotary as rotary
from tracegrad.nn.attention import sinusoidal as sinusoidal
from tracegrad.nn.combinators import cast as cast
from tracegrad.nn.combinators import parallel as parallel
from tracegrad.nn.combinators import remat as remat
from tracegrad.nn.combinators import repeat as repeat
from tracegrad.nn.combinators import residual as residual
from tracegrad.nn.combinators import serial as serial
from tracegrad.nn.combinators import stack as stack
from tracegrad.nn.layer import Layer as Layer
from tracegrad.nn.layer import layer as layer
from tracegrad.nn.layers.attention import MultiHeadAttention as MultiHeadAttention
from tracegrad.nn.layers.attention import SelfAttention as SelfAttention
from tracegrad.nn.layers.conv import Conv as Conv
from tracegrad.nn.layers.conv import ConvTranspose as ConvTranspose
from tracegrad.nn.layers.conv import DepthwiseConv as DepthwiseConv
from tracegrad.nn.layers.conv import SeparableConv as SeparableConv
from tracegrad.nn.layers.dense import Dense as Dense
from tracegrad.nn.layers.dropout import Dropout as Dropout
from tracegrad.nn.layers.embedding import Embed as Embed
from tracegrad.nn.layers.functions import Lambda as Lambda
from tracegrad.nn.layers.functions import PReLU as PReLU
from tracegrad.nn.layers.functions import lora as lora
from tracegrad.nn.layers.norms import BatchNorm as BatchNorm
from tracegrad.nn.layers.norms import GroupNorm as GroupNorm
from tracegrad.nn.layers.norms import InstanceNorm as InstanceNorm
from tracegrad.nn.layers.norms import LayerNorm as LayerNorm
from tracegrad.nn.layers.norms import RMSNorm as RMSNorm
from tracegrad.nn.layers.norms import SpectralNorm as SpectralNorm
from tracegrad.nn.layers.norms import WeightNorm as WeightNorm
from tracegrad.nn.layers.pooling import adaptive_avg_pool as adaptive_avg_pool
from tracegrad.nn.layers.pooling import avg_pool as avg_pool
from tracegrad.nn.layers.pooling import global_avg_pool as global_avg_pool
from tracegrad.nn.layers.pooling import global_max_pool as global_max_pool
from tracegrad.nn.layers.pooling import max_pool as max_pool
from tracegrad.nn.layers.recurrent import RNN as RNN
from tracegrad.nn.layers.recurrent import Bidirectional as Bidirectional
from tracegrad.nn.layers.recurrent import GRUCell as GRUCell
from tracegrad.nn.layers.recurrent import LSTMCell as LSTMCell
from tracegrad.nn.layers.recurrent import SimpleCell as SimpleCell
from tracegrad.nn.layers.shapes import flatten as flatten
from tracegrad.nn.layers.shapes import pixel_shuffle as pixel_shuffle
from tracegrad.nn.layers.shapes import reshape as reshape
from tracegrad.nn.layers.shapes import upsample as upsample
from tracegrad.nn.losses.classification import poly_loss_cross_entropy as poly_loss_cross_entropy
from tracegrad.nn.losses.classification import safe_softmax_cross_entropy as safe_softmax_cross_entropy
from tracegrad.nn.losses.classification import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from tracegrad.nn.losses.classification import sigmoid_focal_loss as sigmoid_focal_loss
from tracegrad.nn.losses.classification import smooth_labels as smooth_labels
from tracegrad.nn.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from tracegrad.nn.losses.classification import (
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
)
from tracegrad.nn.losses.ctc import ctc_loss as ctc_loss
from tracegrad.nn.losses.ctc import ctc_loss_with_forward_probs as ctc_loss_with_forward_probs
from tracegrad.nn.losses.divergences import convex_kl_divergence as convex_kl_divergence
from tracegrad.nn.losses.divergences import generalized_kl_divergence as generalized_kl_divergence
from tracegrad.nn.losses.divergences import kl_divergence as kl_divergence
from tracegrad.nn.losses.divergences import kl_divergence_with_log_targets as kl_divergence_with_log_targets
from tracegrad.nn.losses.margins import hinge_loss as hinge_loss
from tracegrad.nn.losses.margins import make_fenchel_young_loss as make_fenchel_young_loss
from tracegrad.nn.losses.margins import multiclass_hinge_loss as multiclass_hinge_loss
from tracegrad.nn.losses.margins import multiclass_perceptron_loss as multiclass_perceptron_loss
from tracegrad.nn.losses.margins import multiclass_sparsemax_loss as multiclass_sparsemax_loss
from tracegrad.nn.losses.margins import perceptron_loss as perceptron_loss
from tracegrad.nn.losses.margins import sparsemax_loss as sparsemax_loss
from tracegrad.nn.losses.metric import ntxent as ntxent
from tracegrad.nn.losses.metric import triplet_margin_loss as triplet_margin_loss
from tracegrad.nn.losses.ranking import ranking_softmax_loss as ranking_softmax_loss
from tracegrad.nn.losses.regression import cosine_distance as cosine_distance
from tracegrad.nn.losses.regression import cosine_similarity as cosine_similarity
from tracegrad.nn.losses.regression import gaussian_nll as gaussian_nll
from tracegrad.nn.losses.regression import huber_loss as huber_loss
from tracegrad.nn.losses.regression import l2_loss as l2_loss
from tracegrad.nn.losses.regression import log_cosh as log_cosh
from tracegrad.nn.losses.regression import squared_error as squared_error
from tracegrad.nn.losses.segmentation import binary_dice_loss as binary_dice_loss
from tracegrad.nn.losses.segmentation import dice_loss as dice_loss
from tracegrad.nn.losses.segmentation import multiclass_generalized_dice_loss as multiclass_generalized_dice_loss
from tracegrad.nn.making import maker as maker
from tracegrad.ops.elementwise.activations import relu as relu
from tracegrad.ops.elementwise.activations import relu6 as relu6
from tracegrad.ops.elementwise.activations import soft_sign as soft_sign
from tracegrad.ops.elementwise.activations import softplus as softplus
from tracegrad.ops.elementwise.activations import squareplus as squareplus

# What is called with arrays takes jax's too. (Layers do by their own methods.)
_MAKES_LAYERS = ("Layer", "Cell")
__all__ = sorted(
    [
        name
        for name, x in globals().items()
        if getattr(x, "__module__", "").startswith(("tracegrad.nn", "tracegrad.ops")) and not isinstance(x, ModuleType)
    ]
)
accept_jax(
    globals(),
    [
        name
        for name in __all__
        if name not in ("layer", "maker")
        and getattr(globals()[name], "__annotations__", {}).get("return") not in _MAKES_LAYERS
    ],
)
__all__ += ["initializers", "models"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "models":
            return imported("tracegrad.nn.models")
        # Named, so that Python can ask whether another was meant.
        raise AttributeError(f"module 'tracegrad.nn' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return list(__all__)
