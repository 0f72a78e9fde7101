"""Quantus' metrics with our method in them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import biasmatters as bm
from biasmatters.quantus import explain
from tests.affine.nets import seeded

LABELS = np.array([0, 1, 2, 0])
QUIET: dict[str, Any] = {"disable_warnings": True, "display_progressbar": False}


@pytest.fixture
def quantus() -> Iterator[ModuleType]:
    """The library, with its warnings and its draws from the global generators kept to itself."""
    state = np.random.get_state()  # noqa: NPY002 - Quantus draws from it
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        import quantus

        yield quantus
    np.random.set_state(state)  # noqa: NPY002


def image_net(channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return seeded(
        nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(),
            nn.Linear(8, 3),
        )
    ).float()  # fmt: skip


def images(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, channels, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("rule", bm.RULES)
def test_the_maps_are_ours(rule: str) -> None:
    net, x = image_net(), images()
    tensor, classes = torch.tensor(x), torch.tensor(LABELS)
    both = bm.InputXGradientPlusBias(net, rule, 0.5).explain(tensor, classes).map
    assert np.array_equal(explain(net, x, LABELS, rule=rule, temperature=0.5), both.numpy())
    bias = bm.BiasBackprop(net, rule, 0.5).attribute(tensor, classes)
    found = explain(net, x, LABELS, rule=rule, temperature=0.5, part="bias")
    assert np.array_equal(found, bias.numpy())
    assert found.dtype == np.float32


@pytest.mark.parametrize("size", [None, 1, 3, 10])
def test_a_batch_is_its_samples(size: int | None) -> None:
    net, x = image_net().double(), images()
    whole = explain(net, x, LABELS, internal_batch_size=size)
    assert whole.dtype == np.float64
    for i in range(4):
        alone = explain(net, x[i : i + 1], LABELS[i : i + 1])
        np.testing.assert_allclose(whole[i : i + 1], alone, rtol=1e-9, atol=1e-12)
    assert explain(net, x[:0], LABELS[:0], internal_batch_size=size).shape == (0, 1, 6, 6)


def test_arrays_of_every_kind() -> None:
    net, x = image_net(), images()
    wanted = explain(net, x, LABELS)
    frozen = x.astype(np.float64)
    frozen.flags.writeable = False
    labels = LABELS.astype(np.uint8)
    labels.flags.writeable = False
    assert np.array_equal(explain(net, frozen, labels), wanted)
    assert np.array_equal(explain(net, x.astype(">f8"), LABELS.astype(">i4")), wanted)
    assert np.array_equal(explain(net, x[::-1, :, ::-1][::-1, :, ::-1], LABELS), wanted)
    whole = (x * 10).astype(np.int64)
    assert np.array_equal(explain(net, whole, LABELS), explain(net, whole.astype(float), LABELS))
    half = explain(image_net().bfloat16(), x, LABELS)
    assert half.dtype == np.float32
    assert np.corrcoef(half.ravel(), wanted.ravel())[0, 1] > 0.9


def test_a_model_without_parameters() -> None:
    pool = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    assert explain(pool, images(), LABELS, "cpu").shape == (4, 1, 6, 6)


def test_what_does_not_fit_is_refused() -> None:
    net, x = image_net(), images()
    with pytest.raises(bm.InputError, match="no setting rul; it has rule, temperature"):
        explain(net, x, LABELS, rul="uniform")
    with pytest.raises(bm.InputError, match="no setting abs, normalise"):
        explain(net, x, LABELS, abs=True, normalise=True, method="BBp")
    with pytest.raises(bm.InputError, match="choose bias, or both"):
        explain(net, x, LABELS, part="whole")  # type: ignore[arg-type]
    with pytest.raises(bm.BiasmattersError, match="Unknown rule"):
        explain(net, x, LABELS, rule="softmin")
    with pytest.raises(bm.InputError, match=r"targets of shape \(3,\)"):
        explain(net, x, LABELS[:3])
    with pytest.raises(bm.InputError, match="class index"):
        explain(net, x, LABELS + 0.5)
    with pytest.raises(bm.InputError, match="internal_batch_size"):
        explain(net, x, LABELS, internal_batch_size=0)
    with pytest.raises(bm.InputError, match="not finite"):
        explain(net, x * np.nan, LABELS)


def test_everything_is_left_as_it_was() -> None:
    net, x = image_net(), images()
    before, kept = torch.get_rng_state(), x.copy()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    drawn = np.random.get_state()[1].copy()  # noqa: NPY002
    explain(net, x, LABELS)
    assert np.array_equal(x, kept)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], drawn)  # noqa: NPY002
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    norm = nn.Sequential(net, nn.BatchNorm1d(3)).train()
    with pytest.raises(bm.TrainingModeError, match="eval"):
        explain(norm, x, LABELS)
    assert norm.training


def test_pixel_flipping(quantus: ModuleType) -> None:
    """Its curves; the area under them needs np.trapz, which numpy 2.4 has no more."""
    metric = quantus.PixelFlipping(features_in_step=6, perturb_baseline=0.0, **QUIET)
    how: dict[str, Any] = {"model": image_net(), "x_batch": images(), "y_batch": LABELS}
    curves = np.array(metric(**how, explain_func=explain))
    assert curves.shape == (4, 6)
    assert np.isfinite(curves).all()
    given = metric(**how, a_batch=explain(image_net(), images(), LABELS))
    np.testing.assert_allclose(curves, given, rtol=1e-6)


def test_pixel_flipping_of_a_linear_network(quantus: ModuleType) -> None:
    """Leaving out the largest of ``w * x`` first lowers the logit the most, at every step."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval(), images()
    metric = quantus.PixelFlipping(features_in_step=6, perturb_baseline=0.0, **QUIET)
    how: dict[str, Any] = {"model": net, "x_batch": x, "y_batch": LABELS, "softmax": False}
    ours = np.array(metric(**how, explain_func=explain, explain_func_kwargs={"rule": "uniform"}))
    backwards = np.array(metric(**how, a_batch=-explain(net, x, LABELS, rule="uniform")))
    assert (ours[:, :-1] < backwards[:, :-1]).all()
    bias = net[1].bias.detach().numpy()[LABELS]
    np.testing.assert_allclose(ours[:, -1], bias, rtol=1e-5)


def test_max_sensitivity(quantus: ModuleType) -> None:
    """Explains every perturbed batch anew; an explanation that is kept would score 0."""
    metric = quantus.MaxSensitivity(nr_samples=3, lower_bound=0.1, **QUIET)
    scores = metric(
        model=image_net(), x_batch=images(), y_batch=LABELS, explain_func=explain, device="cpu",
        explain_func_kwargs={"rule": "uniform"},
    )  # fmt: skip
    assert len(scores) == 4
    assert np.isfinite(scores).all()
    assert min(scores) > 1e-3


def test_mprt_sees_every_layer_randomised(quantus: ModuleType) -> None:
    """It randomises one copy of the model in place: by the model's identity all were the same."""
    net = image_net()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    scores = quantus.MPRT(**QUIET)(
        model=net, x_batch=images(), y_batch=LABELS, explain_func=explain
    )
    assert list(scores) == ["original", "5", "3", "0"]
    np.testing.assert_allclose(scores["original"], 1)
    means = [float(np.mean(s)) for s in scores.values()]
    assert all(np.isfinite(s).all() for s in scores.values())
    assert max(means[1:]) < 0.95
    assert len({round(m, 6) for m in means}) == 4
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_sparseness(quantus: ModuleType) -> None:
    scores = quantus.Sparseness(**QUIET)(
        model=image_net(), x_batch=images(), y_batch=LABELS, explain_func=explain, batch_size=3
    )
    assert len(scores) == 4
    assert all(0 < score < 1 for score in scores)


def test_localisation_with_colours(quantus: ModuleType) -> None:
    """Masks have one channel, and so must the maps."""
    net, x, masks = image_net(3), images(3), np.zeros((4, 1, 6, 6))
    masks[:, :, 2:4, 2:4] = 1
    summed = explain(net, x, LABELS, sum_channels=True)
    np.testing.assert_allclose(
        summed, explain(net, x, LABELS).sum(1, keepdims=True), rtol=1e-5, atol=1e-6
    )
    scores = quantus.RelevanceMassAccuracy(abs=True, **QUIET)(
        model=net, x_batch=x, y_batch=LABELS, s_batch=masks, explain_func=explain,
        explain_func_kwargs={"sum_channels": True},
    )  # fmt: skip
    inside = np.abs(summed[:, :, 2:4, 2:4]).sum((1, 2, 3)) / np.abs(summed).sum((1, 2, 3))
    np.testing.assert_allclose(scores, inside, rtol=1e-5)


def test_evaluate_hands_over_the_name_of_the_method(quantus: ModuleType) -> None:
    found = quantus.evaluate(
        metrics={"Sparseness": quantus.Sparseness(**QUIET)},
        xai_methods={"BBp": explain},
        model=image_net(),
        x_batch=images(),
        y_batch=LABELS,
        agg_func=np.mean,
        explain_func_kwargs={"rule": "uniform"},
    )
    assert 0 < found["BBp"]["Sparseness"] < 1
