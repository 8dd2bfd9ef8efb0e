"""How much memory the work has taken."""

import sys

import torch


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak so far: of the device's own memory on CUDA, of the whole process elsewhere (0 if unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
