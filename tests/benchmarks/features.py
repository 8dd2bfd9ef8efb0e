"""Our Inception pass over a folder of PNGs against clean-fid's own loop: images a second, and their ratio, interleaved
in one process, on an untrained network of Inception's size in the published form (or on the published weights, where
they are in HGFCTL_CACHE), 32 x 32 pixels. And how far the features differ.

    python tests/benchmarks/features.py
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from hgfctl.engine.data.images import folder
from hgfctl.engine.evaluation.feature_pass import feature_set
from hgfctl.engine.evaluation.image_sets import StoredSet
from hgfctl.engine.features.inception import WEIGHTS, Inception
from hgfctl.engine.ranks import alone
from tests.stand_ins import write_inception

CPU = torch.device("cpu")
COUNT, ROUNDS, BATCH = 128, 5, 32


def inception_layers() -> nn.Module:
    """torchvision's Inception v3, from pixels to 2048 numbers."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    whole = inception_v3(weights=None, init_weights=False, aux_logits=False)
    return nn.Sequential(
        *(module for name, module in whole.named_children() if name not in ("AuxLogits", "dropout", "fc"))
    )


def theirs(images: Path, mode: str, weights: Path) -> Callable[[], np.ndarray]:
    from cleanfid.fid import get_folder_features
    from cleanfid.inception_torchscript import InceptionV3W

    model = InceptionV3W(str(weights.parent), download=False, resize_inside=mode == "legacy_tensorflow").eval()

    def run() -> np.ndarray:
        return get_folder_features(
            str(images), model, num_workers=2, batch_size=BATCH, device=CPU, mode=mode, verbose=False
        )

    return run


def ours(images: Path, mode: str, weights: Path) -> Callable[[], np.ndarray]:
    network = Inception(CPU, mode.replace("_", "-"), weights, allow_code=True)  # type: ignore[arg-type]

    def run() -> np.ndarray:
        found = feature_set(StoredSet(folder(str(images)), str(images)), network, BATCH, alone(CPU))
        assert found is not None
        assert found.features is not None
        return found.features.numpy()

    return run


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        known = WEIGHTS.found()
        weights = known or write_inception(Path(place) / WEIGHTS.name, inception_layers())
        print(f"weights: {'published' if known else 'a stand-in of its size'}; {COUNT} images, batches of {BATCH}")
        images = Path(place) / "images"
        images.mkdir()
        rng = np.random.default_rng(0)
        for i in range(COUNT):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(images / f"{i:04}.png")
        for mode in ("legacy_tensorflow", "clean"):
            contenders = {"clean-fid": theirs(images, mode, weights), "hgfctl": ours(images, mode, weights)}
            features = {name: run() for name, run in contenders.items()}  # and to warm up
            rates: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(ROUNDS):
                for name, run in contenders.items():
                    began = time.perf_counter()
                    run()
                    rates[name].append(COUNT / (time.perf_counter() - began))
            ratios = np.array(rates["hgfctl"]) / np.array(rates["clean-fid"])
            # Ours come in a random order, which is known.
            place_of = np.lexsort(features["hgfctl"].T[:3]), np.lexsort(features["clean-fid"].T[:3])
            a, b = features["hgfctl"][place_of[0]], features["clean-fid"][place_of[1]]
            speeds = "  ".join(f"{name} {np.median(values):5.1f}/s" for name, values in rates.items())
            print(
                f"{mode:18} {speeds}  "
                f"ratio {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})  "
                f"largest difference {np.abs(a - b).max() / np.abs(b).max():.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
