"""Well-known networks, as functions of few arguments that return a `Layer`. Their numbers of parameters are tested."""

from tracegrad.nn.models.generative import DCGAN as DCGAN
from tracegrad.nn.models.generative import VAE as VAE
from tracegrad.nn.models.generative import dcgan as dcgan
from tracegrad.nn.models.generative import diffusion as diffusion
from tracegrad.nn.models.generative import node as node
from tracegrad.nn.models.generative import vae as vae
from tracegrad.nn.models.images import alexnet as alexnet
from tracegrad.nn.models.images import convnext as convnext
from tracegrad.nn.models.images import densenet as densenet
from tracegrad.nn.models.images import efficientnet as efficientnet
from tracegrad.nn.models.images import lenet5 as lenet5
from tracegrad.nn.models.images import mlp as mlp
from tracegrad.nn.models.images import mobilenet_v2 as mobilenet_v2
from tracegrad.nn.models.images import resnet as resnet
from tracegrad.nn.models.images import resnet_cifar as resnet_cifar
from tracegrad.nn.models.images import unet as unet
from tracegrad.nn.models.images import vgg as vgg
from tracegrad.nn.models.transformers import bert as bert
from tracegrad.nn.models.transformers import gpt as gpt
from tracegrad.nn.models.transformers import gpt2 as gpt2
from tracegrad.nn.models.transformers import gpt2_from_huggingface as gpt2_from_huggingface
from tracegrad.nn.models.transformers import lstm_lm as lstm_lm
from tracegrad.nn.models.transformers import transformer as transformer
from tracegrad.nn.models.transformers import vit as vit

__all__ = sorted([name for name, found in globals().items() if not name.startswith("_") and callable(found)])
