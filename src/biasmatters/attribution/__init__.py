"""Attribution of the two parts of f(x) = w . x + b."""

from biasmatters.attribution.bias_backprop import BiasBackprop
from biasmatters.attribution.complete import Complete
from biasmatters.attribution.gradient import Gradient, InputXGradient
from biasmatters.attribution.input_x_gradient_plus_bias import InputXGradientPlusBias
from biasmatters.attribution.landing import Landing, landings
from biasmatters.attribution.reduction import reduce_channels

__all__ = [
    "BiasBackprop",
    "Complete",
    "Gradient",
    "InputXGradient",
    "InputXGradientPlusBias",
    "Landing",
    "landings",
    "reduce_channels",
]
