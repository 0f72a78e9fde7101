"""Attribution of the two parts of f(x) = w . x + b."""

from biasmatters.attribution.bias_backprop import BiasBackprop
from biasmatters.attribution.gradient import Gradient, InputXGradient
from biasmatters.attribution.input_x_gradient_plus_bias import InputXGradientPlusBias

__all__ = ["BiasBackprop", "Gradient", "InputXGradient", "InputXGradientPlusBias"]
