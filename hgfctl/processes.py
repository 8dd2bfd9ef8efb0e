"""What a launcher (torchrun, `--gpus`) tells a process of its place among others; no torch here."""

import os


def launched() -> bool:
    """Whether this process is one of those that a launcher has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def first() -> bool:
    """Whether this process is the one that talks."""
    return os.environ.get("RANK", "0") == "0"
