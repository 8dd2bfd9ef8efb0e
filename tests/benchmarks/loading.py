"""How many images a second come out of memory, out of a zip, and out of augmentation?

    python tests/benchmarks/loading.py [--side 32] [--batch 512]

The images are random; a network at work takes its share of the processor besides.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hgfctl.engine.data.augmentation import Geometric
from hgfctl.engine.data.dataset import Finite
from hgfctl.engine.data.image_zip import write_zip
from hgfctl.engine.data.images import folder
from hgfctl.engine.randomness import generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=512)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4096, arguments.side, arguments.side, 3), np.uint8)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "random.zip"
        write_zip(path, ((image, None) for image in pixels))
        print(f"{torch.get_num_threads()} threads, {arguments.side} x {arguments.side}, batches of {arguments.batch}")
        for name, gib in (("in memory", 8.0), ("decoded when needed", 1e-9)):
            data = folder(str(path), memory_gib=gib)
            print(f"{name:24}{pace(reader(data, arguments.batch), arguments.batch):>10,.0f}/s")
        x = torch.from_numpy(pixels[: arguments.batch]).permute(0, 3, 1, 2).float() / 127.5 - 1
        for p in (0.12, 0.15):
            print(f"{f'augmented, p = {p}':24}{pace(changer(Geometric(p), x), arguments.batch):>10,.0f}/s")


def reader(data: Finite, batch: int) -> Callable[[int], object]:
    return lambda i: data.batch(i * batch, batch, 0)


def changer(augment: Geometric, x: torch.Tensor) -> Callable[[int], object]:
    return lambda i: augment.apply(x, augment.draw(len(x), generator(i)))


def pace(work: Callable[[int], object], batch: int) -> float:
    """Images a second, over two seconds."""
    work(0)
    began, i = time.perf_counter(), 0
    while time.perf_counter() - began < 2:
        i += 1
        work(i)
    return i * batch / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
