"""How names and numbers read on paper."""

# ruff: noqa: RUF001

from __future__ import annotations

import math

DATA = {
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stl10": "STL-10",
    "imagenet": "ImageNet",
    "imagefolder": "Image folder",
    "shapes": "Shapes",
}
INPUTS = {
    "unit": "inputs in [0, 1]",
    "standard": "mean and std",
    "symmetric": "inputs in [−1, 1]",
}
METHODS = {
    "gradient": "Gradient",
    "input_x_gradient": "Input × gradient",
    "integrated_gradients": "Integrated gradients",
    "bias_backprop": "BBp",
    "bbp": "BBp",
    "input_x_gradient_plus_bias": "Input × gradient + BBp",
    "input_x_gradient_plus_bbp": "Input × gradient + BBp",
    "lrp_epsilon_plus_bbp": "LRP-ε + BBp",
    "interior_gradients": "Interior gradients",
    "smoothgrad": "SmoothGrad",
    "vargrad": "VarGrad",
    "gradient_shap": "GradientSHAP",
    "deeplift_rescale": "DeepLIFT Rescale",
    "deeplift_revealcancel": "DeepLIFT RevealCancel",
    "lrp_zero": "LRP-0",
    "lrp_epsilon": "LRP-ε",
    "lrp_gamma": "LRP-γ",
    "lrp_zplus": "LRP z⁺",
    "lrp_alpha1_beta0": "LRP α1β0",
    "lrp_alpha2_beta1": "LRP α2β1",
    "lrp_alpha5_beta4": "LRP α5β4",
    "lrp_cmp": "LRP composite",
    "deep_taylor": "Deep Taylor",
    "excitation_backprop": "Excitation BP",
    "guided_backprop": "Guided BP",
    "deconvnet": "Deconvnet",
    "beta_smooth": "β-smooth",
    "rectgrad": "RectGrad",
    "pattern_net": "PatternNet",
    "pattern_attribution": "PatternAttribution",
    "fullgrad": "FullGrad",
    "normgrad": "NormGrad",
    "grad_cam": "Grad-CAM",
    "guided_grad_cam": "Guided Grad-CAM",
    "occlusion": "Occlusion",
    "lime": "LIME",
    "kernel_shap": "KernelSHAP",
    "rise": "RISE",
    "sobel": "Edges (Sobel)",
    "random": "Random",
}
AIMS = {"high": "high is better", "low": "low is better"}
METRICS = {
    "deletion": "Deletion",
    "insertion": "Insertion",
    "deletion_absolute": "Deletion, absolute order",
    "insertion_absolute": "Insertion, absolute order",
    "morf": "Pixel flipping, MoRF",
    "lerf": "Pixel flipping, LeRF",
    "road_morf": "ROAD, MoRF",
    "road_lerf": "ROAD, LeRF",
    "keep": "Keep",
    "remove": "Remove",
    "irof": "IROF",
    "roar": "Retrained without",
    "sensitivity_n": "Sensitivity-n",
    "infidelity": "Infidelity",
    "max_sensitivity": "Max-sensitivity",
    "mprt": "MPRT, cascading",
    "mprt_independent": "MPRT, layer by layer",
    "random_logit": "Random logit, SSIM",
    "pointing_game": "Pointing game",
    "mass_in_mask": "Mass in mask",
    "relevance_rank": "Relevance rank",
    "top_k_iou": "Top-k IoU",
    "sparseness": "Sparseness (Gini)",
    "complexity": "Complexity (entropy)",
}
RULES = {
    "softmax_neg_abs": "softmax −|e|",
    "softmax_abs": "softmax +|e|",
    "softmax_signed": "softmax e·sign β",
    "uniform": "uniform",
    "proportional": "proportional |e|",
}


def data_name(name: str) -> str:
    """A data set as its authors write it."""
    return DATA.get(name, name)


def input_name(normalization: str) -> str:
    """What a normalisation does to the inputs."""
    return INPUTS.get(normalization, normalization)


def network_name(data: str, model: str, normalization: str) -> str:
    """On which data a network was trained, and how they were scaled."""
    return f"{data_name(data)}, {model}, {input_name(normalization)}"


def method_name(method: str, rule: str = "") -> str:
    """A method with its rule, separated by a comma."""
    name = METHODS.get(method, method.replace("_", " "))
    return f"{name}, {rule_name(rule)}" if rule else name


def rule_name(rule: str) -> str:
    """A rule with its temperature, where that is not 1."""
    plain, _, temperature = rule.partition(" T=")
    known = plain.removesuffix("_cold").removesuffix("_hot")
    name = RULES.get(known, plain.replace("_", " "))
    return f"{name} T={temperature}" if temperature else name


def metric_name(metric: str) -> str:
    """A metric; the figure that it has of several stands after a colon."""
    plain, _, figure = metric.partition("/")
    name = METRICS.get(plain.removesuffix("_auc"), plain.replace("_", " "))
    return f"{name}: {figure.replace('_', ' ')}" if figure else name


def number(value: float, digits: int) -> str:
    """Fixed decimals with the sign that mathematics uses."""
    text = f"{value:.{digits}f}"
    return (text[1:] if float(text) == 0 and text[0] == "-" else text).replace("-", "−")


def interval(low: float | None, high: float | None, digits: int) -> str:
    """``[low, high]``, or nothing."""
    if low is None or high is None:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def scientific(value: float) -> str:
    """Two digits and a power of ten."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    exponent = math.floor(math.log10(abs(value)))
    mantissa = f"{value / 10**exponent:.1f}"
    if mantissa.lstrip("-") == "10.0":
        mantissa, exponent = mantissa.replace("10.0", "1.0"), exponent + 1
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa.replace('-', '−')}×10{raised}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
