"""Features against clean-fid's own functions, against another machine's numbers, and where their weights come from."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hgfctl.engine.data.digits import digits
from hgfctl.engine.evaluation.image_sets import as_bytes
from hgfctl.engine.features.features import FeaturesId, resized
from hgfctl.engine.features.inception import WEIGHTS, Inception
from hgfctl.engine.features.pixels import Pixels
from hgfctl.engine.features.random_network import RandomNetwork
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import statistics
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage.cache import cache_folder
from tests.stand_ins import write_inception

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as clean-fid looks for the published file in."""
    return write_inception(tmp_path_factory.mktemp("weights") / WEIGHTS.name)


def pictures(count: int, channels: int = 3, size: tuple[int, int] = (40, 32), seed: int = 0) -> Tensor:
    """Smooth uint8 images with some noise."""
    rng = generator(seed, "pictures")
    coarse = torch.rand(count, channels, 5, 5, generator=rng)
    x = torch.nn.functional.interpolate(coarse, size, mode="bilinear") * 255
    return (x + 8 * torch.randn(x.shape, generator=rng)).clamp(0, 255).byte()


def to_folder(images: Tensor, folder: Path) -> Path:
    folder.mkdir()
    for i, pixels in enumerate(images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(folder / f"{i:04}.png")
    return folder


def cleanfid_features(folder: Path, mode: str, weights: Path) -> np.ndarray:
    from cleanfid.fid import get_folder_features
    from cleanfid.inception_torchscript import InceptionV3W

    model = InceptionV3W(str(weights.parent), download=False, resize_inside=mode == "legacy_tensorflow").eval()
    with torch.no_grad():
        return get_folder_features(
            str(folder), model, num_workers=0, batch_size=4, device=CPU, mode=mode, verbose=False
        )


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("mode", "channels", "size"),
    [
        ("clean", 3, (40, 32)),
        ("clean", 1, (8, 8)),
        ("clean", 3, (320, 400)),
        ("legacy_tensorflow", 3, (32, 32)),
        ("legacy_tensorflow", 1, (28, 64)),
    ],
)
def test_features_and_statistics_are_cleanfids(
    mode: str, channels: int, size: tuple[int, int], stand_in: Path, tmp_path: Path
) -> None:
    """The same weights file, the same PNGs: features to 1e-5 of their size, and so mean and covariance."""
    images = pictures(12, channels, size)
    theirs = torch.from_numpy(cleanfid_features(to_folder(images, tmp_path / "images"), mode, stand_in))
    ours = Inception(CPU, mode.replace("_", "-"), stand_in, allow_code=True)(images)  # type: ignore[arg-type]
    assert theirs.shape == ours.shape == (12, 2048)
    assert float(theirs.std(0).mean()) > 1e-3  # the images differ for this network
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
    p, q = statistics(ours), statistics(theirs)
    assert torch.allclose(p.mean, q.mean, rtol=0, atol=1e-5 * float(q.mean.abs().max()))
    assert torch.allclose(p.covariance, q.covariance, rtol=0, atol=1e-5 * float(q.covariance.abs().max()))


@pytest.mark.skipif(
    not (cache_folder() / "weights" / WEIGHTS.name).exists(), reason="the published weights are not here"
)
@pytest.mark.parametrize("mode", ["clean", "legacy_tensorflow"])
def test_features_are_cleanfids_on_the_published_weights(mode: str, tmp_path: Path) -> None:
    images = pictures(6)
    weights = cache_folder() / "weights" / WEIGHTS.name
    theirs = torch.from_numpy(cleanfid_features(to_folder(images, tmp_path / "images"), mode, weights))
    ours = Inception(CPU, mode.replace("_", "-"))(images)  # type: ignore[arg-type]
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5


@pytest.mark.parametrize("mode", ["clean", "legacy-tensorflow"])
def test_features_do_not_depend_on_the_batch(mode: str, stand_in: Path) -> None:
    network = Inception(CPU, mode, stand_in, allow_code=True)  # type: ignore[arg-type]
    images = pictures(6)
    whole, parts = network(images), torch.cat([network(part) for part in images.split([1, 3, 2])])
    assert float((whole - parts).abs().max() / whole.abs().max()) < 1e-5


def test_resizing_is_pils(tmp_path: Path) -> None:
    """Bicubic with anti-aliasing, larger and smaller, in floats: to 1e-4 of 255 levels."""
    for side, size in ((299, (32, 20)), (64, (200, 90)), (64, (64, 64))):
        image = pictures(1, 1, size)[0, 0]
        theirs = Image.fromarray(image.numpy().astype(np.float32), mode="F").resize(
            (side, side), Image.Resampling.BICUBIC
        )
        ours = resized(image[None, None].float(), side)[0, 0]
        assert np.abs(np.asarray(theirs).clip(0, 255) - ours.numpy()).max() < 1e-2


def test_an_unknown_torchscript_is_not_run(stand_in: Path) -> None:
    """Its code would be; so it is refused by its checksum, before anything of it is read."""
    with pytest.raises(RequestError, match=r"not the published inception.*\n.*`allow_code`"):
        Inception(CPU, "clean", stand_in)
    assert Inception(CPU, "clean", stand_in, allow_code=True).id.figure.startswith("FID(inception clean ")


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.pt"
    file.write_text("no network")
    with pytest.raises(HgfctlError, match=r"notes\.pt is not a TorchScript Inception"):
        Inception(CPU, "clean", file, allow_code=True)


def test_a_damaged_download_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGFCTL_CACHE", str(tmp_path))
    (tmp_path / WEIGHTS.name).write_bytes(b"half of it")
    with pytest.raises(HgfctlError, match=r"inception-2015-12-05\.pt is damaged"):
        Inception(CPU, "clean")


def test_without_weights_and_network_one_message_says_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HGFCTL_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(HgfctlError) as raised:
        Inception(CPU, "clean")
    message = str(raised.value)
    for part in (WEIGHTS.name, "95,607,719 bytes", WEIGHTS.sha256, str(WEIGHTS.place), "`features=random`"):
        assert part in message
    assert message.count("\n") == 1
    assert not list(tmp_path.rglob("*.pt"))


def test_only_published_inception_is_plain_fid() -> None:
    assert FeaturesId("inception", "clean").figure == "FID"
    assert FeaturesId("inception", "legacy-tensorflow").figure == "FID"
    assert FeaturesId("random").figure == "FID(random)"
    assert FeaturesId("dinov2", "ViT-large").figure == "FID(dinov2 ViT-large)"


def test_the_random_network_is_the_same_everywhere() -> None:
    """Its weights to the last bit, and its features of a certain image to rounding."""
    network = RandomNetwork(CPU)
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in (*network.filters, network.linear)))
    assert digest.hexdigest()[:16] == RANDOM_WEIGHTS
    image = (torch.arange(3 * 16 * 16) * 37 % 256).reshape(1, 3, 16, 16).byte()
    assert network(image)[0, :4].tolist() == pytest.approx(RANDOM_FEATURES, rel=1e-4)


RANDOM_WEIGHTS = "018007e62ecd9369"
RANDOM_FEATURES = [0.26696, 0.64356, -1.03638, 0.536]


def test_the_random_network_takes_grey_for_rgb_and_sees_where_things_are() -> None:
    network = RandomNetwork(CPU)
    grey = pictures(20, 1, (8, 8))
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))
    scans = as_bytes(digits("all").x)
    half, other = scans[0::2], scans[1::2]
    same = frechet_distance(statistics(network(half)), statistics(network(other)))
    moved = frechet_distance(statistics(network(half)), statistics(network(other.roll(1, 3))))
    assert same < moved / 20


def test_pixels_are_pixels() -> None:
    images = pictures(3, 1, (8, 8))
    assert torch.equal(Pixels(CPU)(images), images.float().flatten(1) / 127.5 - 1)
    large = torch.full((2, 3, 64, 64), 255, dtype=torch.uint8)
    assert torch.equal(Pixels(CPU)(large), torch.ones(2, 3 * 32 * 32))


def test_dinov2_takes_published_and_timm_weights_alike(tmp_path: Path) -> None:
    """A ViT of width 384, untrained: as the authors save it (.pth, 518 x 518 pixels) and from timm (.safetensors)."""
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    from hgfctl.engine.features.dinov2 import DINOv2

    torch.manual_seed(0)
    state = timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=False, num_classes=0).state_dict()
    torch.save({**state, "mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2_vits14_pretrain.pth")
    save_file(state, tmp_path / "model.safetensors")
    images = pictures(2)
    published = DINOv2(CPU, tmp_path / "dinov2_vits14_pretrain.pth")
    assert published.id.figure.startswith("FID(dinov2 ViT-small ")
    assert published(images).shape == (2, 384)
    assert torch.equal(published(images), DINOv2(CPU, tmp_path / "model.safetensors")(images))


def test_weights_that_hold_code_are_not_loaded(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    from hgfctl.engine.features.dinov2 import DINOv2

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"cls_token": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(HgfctlError, match=r"evil\.pth"):
        DINOv2(CPU, tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
