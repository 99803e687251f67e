"""SqueezeNet: its spec, network, fused form for training, and how files hold it."""

from fireflow.quant.networks.squeezenet.network import Fire, SqueezeNet
from fireflow.quant.networks.squeezenet.spec import FireWidths, PoolBorder, SqueezeNetSpec

__all__ = ["Fire", "FireWidths", "PoolBorder", "SqueezeNet", "SqueezeNetSpec"]
