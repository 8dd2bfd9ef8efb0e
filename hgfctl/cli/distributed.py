"""`--gpus N`: torch's own launcher, as torchrun is, with errors that can be read."""

import logging
import os
import sys
import uuid
from collections.abc import Mapping
from typing import Annotated

import typer

from hgfctl.errors import HgfctlError, RequestError

Gpus = Annotated[
    int | None,
    typer.Option(min=1, help="So many processes, one a GPU (with --device cpu: on the CPU); short for torchrun."),
]


def launch(count: int, device: str, instead: Mapping[str, str] | None = None) -> None:
    """Runs this very command in `count` processes and exits with their status.

    Args:
        count: how many.
        device: as the command was given it.
        instead: arguments to give otherwise, such as - for what came from stdin.

    Raises:
        RequestError: there are not so many GPUs.
        HgfctlError: a process was killed; the others have been stopped.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if device != "cpu" and count > torch.cuda.device_count():
        raise RequestError(
            f"--gpus {count}: this machine has {torch.cuda.device_count()}; --device cpu shares the work on the CPU"
        )
    logging.disable()  # the launcher's own; what went wrong is said below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    how = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    arguments = [(instead or {}).get(argument, argument) for argument in sys.argv[1:]]
    try:
        elastic_launch(how, sys.executable)("-m", "hgfctl", *arguments)
    except ChildFailedError as failed:
        rank, failure = min(failed.failures.items(), key=lambda item: item[1].timestamp)
        if failure.exitcode < 0:
            raise HgfctlError(
                f"the process of rank {rank} was killed ({failure.signal_name()}); the others have been stopped\n"
                "what was saved before is whole; --resume auto goes on from there"
            ) from None
        raise typer.Exit(failure.exitcode) from None
    except SignalException:
        raise typer.Exit(130) from None
