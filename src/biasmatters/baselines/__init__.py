"""Other people's methods, behind the same protocol."""

from biasmatters.baselines.beta_smooth import BetaSmooth
from biasmatters.baselines.deconvnet import Deconvnet
from biasmatters.baselines.deep_taylor import DeepTaylor
from biasmatters.baselines.deeplift_rescale import DeepLiftRescale
from biasmatters.baselines.deeplift_revealcancel import DeepLiftRevealCancel
from biasmatters.baselines.errors import MethodError, MissingLibraryError
from biasmatters.baselines.excitation_backprop import ExcitationBackprop
from biasmatters.baselines.fullgrad import FullGrad
from biasmatters.baselines.grad_cam import GradCam
from biasmatters.baselines.gradient_shap import GradientShap
from biasmatters.baselines.guided_backprop import GuidedBackprop
from biasmatters.baselines.guided_grad_cam import GuidedGradCam
from biasmatters.baselines.integrated_gradients import IntegratedGradients
from biasmatters.baselines.interior_gradients import InteriorGradients
from biasmatters.baselines.kernel_shap import KernelShap
from biasmatters.baselines.lime import Lime
from biasmatters.baselines.lrp import LRP
from biasmatters.baselines.normgrad import NormGrad
from biasmatters.baselines.occlusion import Occlusion
from biasmatters.baselines.pattern_attribution import PatternAttribution
from biasmatters.baselines.pattern_net import PatternNet
from biasmatters.baselines.random_map import RandomMap
from biasmatters.baselines.rectgrad import RectGrad
from biasmatters.baselines.rise import Rise
from biasmatters.baselines.smoothgrad import SmoothGrad, VarGrad
from biasmatters.baselines.sobel import Sobel

__all__ = [
    "LRP",
    "BetaSmooth",
    "Deconvnet",
    "DeepLiftRescale",
    "DeepLiftRevealCancel",
    "DeepTaylor",
    "ExcitationBackprop",
    "FullGrad",
    "GradCam",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "IntegratedGradients",
    "InteriorGradients",
    "KernelShap",
    "Lime",
    "MethodError",
    "MissingLibraryError",
    "NormGrad",
    "Occlusion",
    "PatternAttribution",
    "PatternNet",
    "RandomMap",
    "RectGrad",
    "Rise",
    "SmoothGrad",
    "Sobel",
    "VarGrad",
]
