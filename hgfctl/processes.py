"""The words of a launcher (torchrun, `--gpus`): it tells a process of its place among others; no torch here."""

import os


def launched() -> bool:
    """True for one of those processes that a launcher has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def first() -> bool:
    """True for the process that talks."""
    return os.environ.get("RANK", "0") == "0"
