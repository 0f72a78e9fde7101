from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torchvision.models import vgg11

from biasmatters.models import (
    ACTIVATIONS,
    CNN,
    MLP,
    VGG11,
    CifarVGG,
    ModelOptionError,
    SixtCifarNet,
    STL10Net,
    make_activation,
)
from biasmatters.types import BiasmattersError

SMALL = {
    MLP: {"in_channels": 1, "image_size": (9, 7), "num_classes": 4},
    CNN: {"in_channels": 1, "image_size": (12, 9), "num_classes": 4},
    CifarVGG: {"in_channels": 3, "image_size": 17, "num_classes": 4, "blocks": ((4,), (6, 6))},
    STL10Net: {"in_channels": 3, "image_size": (16, 24), "num_classes": 4},
    SixtCifarNet: {"in_channels": 3, "image_size": 8, "num_classes": 4},
    VGG11: {"in_channels": 2, "image_size": 32, "num_classes": 4},
}


def make(kind: type[nn.Module], **options: object) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = kind(**SMALL[kind], **options).eval()
    size = SMALL[kind]["image_size"]
    shape = (size, size) if isinstance(size, int) else size
    return model, torch.rand(3, SMALL[kind]["in_channels"], *shape)


def skeleton(kind: type[nn.Module], **options: object) -> nn.Module:
    """The network without numbers, for questions about its structure."""
    with torch.device("meta"):
        return kind(**SMALL[kind], **options)


QUICK = [kind for kind in SMALL if kind is not VGG11]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", QUICK)
def test_logits_have_the_right_shape_and_depend_on_the_input(kind, bias):
    model, x = make(kind, bias=bias)
    with torch.no_grad():
        logits = model(x)
    assert logits.shape == (3, 4)
    assert (logits[0] - logits[1]).abs().max() > 1e-6


@pytest.mark.parametrize("kind", SMALL)
def test_the_switch_removes_every_bias_and_nothing_else(kind):
    with_bias = dict(skeleton(kind).named_parameters())
    without = dict(skeleton(kind, bias=False).named_parameters())
    assert {name for name in with_bias if not name.endswith("bias")} == set(without)
    assert any(name.endswith("bias") for name in with_bias)


@pytest.mark.parametrize(
    ("kind", "activation"),
    [*itertools.product(QUICK, ["relu", "leaky_relu", "prelu"]), (VGG11, "leaky_relu")],
)
def test_without_bias_the_network_is_homogeneous(kind, activation):
    """f(2x) = 2 f(x): no bias hides anywhere."""
    model, x = make(kind, bias=False, activation=activation)
    with torch.no_grad():
        torch.testing.assert_close(model(2 * x), 2 * model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", SMALL)
def test_every_activation_is_the_one_asked_for(kind, activation):
    model = skeleton(kind, activation=activation)
    wanted = type(make_activation(activation))
    kinds = [type(make_activation(name)) for name in ACTIVATIONS]
    found = [type(module) for module in model.modules() if type(module) in kinds]
    assert found
    assert set(found) == {wanted}


@pytest.mark.parametrize("kind", SMALL)
def test_no_module_is_shared_or_in_place(kind):
    model = skeleton(kind, activation="prelu")
    count = sum(isinstance(m, nn.PReLU) for m in model.modules())
    everywhere = sum(
        isinstance(m, nn.PReLU) for _, m in model.named_modules(remove_duplicate=False)
    )
    assert count == everywhere
    relu = skeleton(kind)
    assert not any(getattr(m, "inplace", False) for m in relu.modules() if not _dropout(m))


def _dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout)


@pytest.mark.parametrize("kind", SMALL)
def test_no_batch_norm(kind):
    model = skeleton(kind)
    assert not any("Norm" in type(module).__name__ for module in model.modules())


@pytest.mark.parametrize(
    ("kind", "size", "least"),
    [(CNN, 3, 4), (STL10Net, 15, 16), (SixtCifarNet, 3, 4), (VGG11, 31, 32), (CifarVGG, 7, 8)],
)
def test_too_small_pictures_are_refused_in_words(kind, size, least):
    with pytest.raises(ModelOptionError, match=f"{kind.__name__} needs .* {least} x {least}"):
        kind(in_channels=1, image_size=size, num_classes=2)
    with torch.device("meta"):
        kind(in_channels=1, image_size=least, num_classes=2)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"activation": "gelu"}, "relu, leaky_relu, prelu, hardtanh"),
        ({"kernel": 4}, "odd"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"image_size": (1, 2, 3)}, "height and width"),
        ({"channels": (8, 0)}, "channels=0"),
    ],
)
def test_bad_options_are_refused_in_words(options, word):
    with pytest.raises(ModelOptionError, match=word):
        CNN(**options)
    assert issubclass(ModelOptionError, BiasmattersError)


def test_stl10_net_is_the_papers():
    convs = [m for m in STL10Net().modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0], c.padding[0]) for c in convs] == [
        (32, 3, 1),
        (64, 3, 1),
        (64, 3, 1),
        (128, 3, 1),
        (128, 3, 1),
    ]
    assert sum(isinstance(m, nn.MaxPool2d) for m in STL10Net().modules()) == 4
    (dense,) = (m for m in STL10Net().modules() if isinstance(m, nn.Linear))
    assert (dense.in_features, dense.out_features) == (128 * 6 * 6, 10)


def test_sixt_cifar_net_is_theirs():
    names = [
        f"C{m.out_channels}"
        if isinstance(m, nn.Conv2d)
        else f"FC{m.out_features}"
        if isinstance(m, nn.Linear)
        else {nn.MaxPool2d: "MP", nn.Dropout: "D"}.get(type(m))
        for m in SixtCifarNet().modules()
    ]
    plan = "-".join(name for name in names if name)
    assert plan == "C32-C64-MP-C128-C128-MP-D-FC1024-D-FC10"


def test_vgg11_takes_torchvisions_weights():
    torch.manual_seed(0)
    theirs = vgg11(weights=None, num_classes=5).eval()
    ours = VGG11(num_classes=5, image_size=32).eval()
    ours.network.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_signals_keep_their_scale_through_a_deep_stack():
    """The reason for the initialisation: default weights lose a factor 10 and more here."""
    torch.manual_seed(0)
    model = CifarVGG(bias=False).eval()
    with torch.no_grad():
        x = torch.randn(8, 3, 32, 32)
        ratio = model.features(x).pow(2).mean().sqrt() / x.pow(2).mean().sqrt()
    assert 0.3 < ratio < 10
