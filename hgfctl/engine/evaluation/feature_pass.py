"""One pass over a set of images: features of all of them, by all ranks, and able to go on where it was stopped."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hgfctl.engine.evaluation.feature_set import Collector, FeatureSet
from hgfctl.engine.evaluation.image_sets import GeneratedSet, ImageSet
from hgfctl.engine.evaluation.unfinished import pass_file
from hgfctl.engine.features.features import Features
from hgfctl.engine.ranks import Ranks
from hgfctl.storage.atomic import replacing

SAVE_SECONDS = 60
"""Between savings of what is done."""

Progress = Callable[[int], None]
"""Told how many images are done."""


def feature_set(
    images: ImageSet,
    features: Features,
    batch: int,
    ranks: Ranks,
    progress: Progress = lambda done: None,
    stop: Callable[[], bool] = lambda: False,
) -> FeatureSet | None:
    """The features of all images of a set, summed up; on the first rank, None on the others.

    What is done is saved every SAVE_SECONDS and at the end, and the same pass goes on from there, until somebody
    removes `unfinished.pass_file`.

    Args:
        images: the same on all ranks.
        features: on this rank's device.
        batch: images that a rank works on at a time.
        ranks: who shares the work.
        progress: see `Progress`.
        stop: whether to save and stop.

    Raises:
        KeyboardInterrupt: it was stopped, and is saved.
        RequestError: fewer than two images.
        HgfctlError: features that are not finite.
    """
    collector = Collector(images.name, features.id, len(images))
    file = pass_file(images, features.id) if ranks.first else None
    if file and file.exists():
        try:
            collector.restore(load_file(file))
        except (SafetensorError, OSError, KeyError):
            file.unlink()
    first = int(ranks.broadcast(str(collector.came)))
    progress(first)
    saved = time.monotonic()
    for found in _batches(images, features, batch, ranks, first):
        if ranks.first:
            collector.add(found)
        first += len(found)
        progress(first)
        (stopped,) = ranks.any(stop())
        due = stopped or first == len(images) or time.monotonic() - saved > SAVE_SECONDS
        if file and due:
            with replacing(file) as partial:
                save_file({name: value.contiguous() for name, value in collector.state().items()}, partial)
            saved = time.monotonic()
        if stopped:
            raise KeyboardInterrupt
    return collector.result() if ranks.first else None


def _batches(images: ImageSet, features: Features, batch: int, ranks: Ranks, first: int) -> Iterator[Tensor]:
    """Features of image `first` and all after it, in order; a rank makes its share of every round."""
    rounds = torch.split(torch.arange(first, len(images)), batch * ranks.world) if first < len(images) else ()
    shares = [ranks.share(numbers) for numbers in rounds]
    # Files are decoded while the network works; images that a network makes have no time to spare.
    reader = ThreadPoolExecutor(1, "images") if not isinstance(images, GeneratedSet) else None
    try:
        coming = reader.submit(images.at, shares[0]) if reader and shares else None
        for i, (numbers, share) in enumerate(zip(rounds, shares, strict=True)):
            pixels = coming.result() if coming else images.at(share)
            coming = reader.submit(images.at, shares[i + 1]) if reader and i + 1 < len(shares) else None
            yield ranks.gathered(features(pixels))[: len(numbers)]
    finally:
        if reader:
            reader.shutdown(cancel_futures=True)
