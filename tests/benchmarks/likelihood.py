"""How right are likelihoods? Against exact ones, of Gaussian mixtures; and what they say of trained digits.

python tests/benchmarks/likelihood.py exact [--tolerances 1e-5 1e-6 1e-7] [--items 200]
python tests/benchmarks/likelihood.py probes [--items 200] [--repeats 50]
python tests/benchmarks/likelihood.py digits RUN [--seeds 0 1000 2000] [--probes 2] [--tolerance 1e-3] [--num 359]
python tests/benchmarks/likelihood.py start RUN [--num 64] [--probes 2] [--tolerance 1e-3]

exact     largest error in nats over draws of `ring`, `gmm` and `gmm64`, of the flow's exact HVP: in all; and with the
          exact law of x_T in place of the prior, which leaves the solver's error
probes    Hutchinson's estimates: their mean error in units of its standard error, over all items; and how large the
          error of one probe is
digits    bits a dimension (17 levels) of held-out and of training digits, mean and standard error over the items,
          by seed
start     what becomes of the bits when the integral begins at a noise level above 0, as is customary elsewhere
"""

import argparse
import math
import time
from pathlib import Path

import torch

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.mixture import GaussianMixture, gmm64_mixture, gmm_mixture, ring_mixture
from hgfctl.engine.evaluation.dequantisation import dequantised
from hgfctl.engine.evaluation.likelihoods import Request, batches, items, joined, likelihoods, named_data, summary
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.transport.divergence import ExactTrace, Hutchinson, rademacher
from hgfctl.engine.transport.likelihood import log_likelihood
from hgfctl.engine.transport.transport import Adaptive, velocity_of
from hgfctl.storage.runs import checkpoint_file

FLOWS: dict[str, LinearFlow] = {"oscillation": Oscillation(), "flow-matching": FlowMatching(), "diffusion": Diffusion()}
MIXTURES = {"ring": ring_mixture, "gmm": gmm_mixture, "gmm64": gmm64_mixture}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["exact", "probes", "digits", "start"])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--tolerances", nargs="+", type=float, default=[1e-5, 1e-6, 1e-7])
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--probes", type=int, default=2)
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05])
    parser.add_argument("--num", type=int)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1000, 2000])
    arguments = parser.parse_args()
    {"exact": exact, "probes": probes, "digits": digits, "start": start}[arguments.what](arguments)


def exact(arguments: argparse.Namespace) -> None:
    print(f"{'mixture':8} {'flow':14} {'tolerance':>9} {'error':>8} {'solver':>8} {'evaluations':>11}")
    for kind, make in MIXTURES.items():
        mixture: GaussianMixture = make()
        count = arguments.items if mixture.dim == 2 else max(arguments.items // 12, 1)
        x = mixture.sample(count, generator(0, "likelihood"))
        for name, flow in FLOWS.items():
            hvp = MixtureHVP(mixture, flow)
            for tolerance in arguments.tolerances:
                found = log_likelihood(
                    lambda x, t, _, hvp=hvp: hvp(x, t), flow, x, ExactTrace(mixture.dim), Adaptive(tolerance, tolerance)
                )
                error = found.value - mixture.log_prob(x)
                prior = hvp.log_prob(found.latents, torch.tensor(flow.T, dtype=torch.float64)) - flow.prior.log_prob(
                    found.latents
                )
                worst, solver = float(error.abs().max()), float((error + prior).abs().max())
                evaluations = float(found.evaluations.double().mean())
                print(f"{kind:8} {name:14} {tolerance:9.0e} {worst:8.1e} {solver:8.1e} {evaluations:11.0f}", flush=True)


def probes(arguments: argparse.Namespace) -> None:
    mixture, flow = gmm64_mixture(), Oscillation()
    hvp = MixtureHVP(mixture, flow)
    x = mixture.sample(arguments.items, generator(0, "likelihood"))
    method = Adaptive(1e-4, 1e-4)
    drawn = Hutchinson(rademacher(torch.arange(len(x)), arguments.repeats, (mixture.dim,)))
    found = log_likelihood(lambda x, t, _: hvp(x, t), flow, x, drawn, method)
    error = found.value - mixture.log_prob(x)
    z = error.sum() / found.error.square().sum().sqrt()
    one = found.error * math.sqrt(arguments.repeats)
    print(f"{len(x)} items, {arguments.repeats} probes each: sum of errors {float(z):+.2f} standard errors from 0;")
    print(f"rms of error / standard error {float((error / found.error).square().mean().sqrt()):.2f};")
    print(f"one probe errs by {float(one.mean()):.2f} nats (range {float(one.min()):.2f} to {float(one.max()):.2f})")


def digits(arguments: argparse.Namespace) -> None:
    model = read_checkpoint(checkpoint_file(arguments.run), torch.device("cpu"))
    for split in ("held-out", "train"):
        data, name = named_data(model, None, split, torch.device("cpu"))
        chosen = items(data, arguments.num or 359, 0)
        for law in ("uniform", "normal"):
            for seed in arguments.seeds if (split, law) == ("held-out", "uniform") else arguments.seeds[:1]:
                tolerance, count = arguments.tolerance, arguments.probes
                request = Request("hutchinson", count, rtol=tolerance, atol=tolerance, law=law, seed=seed)
                began = time.monotonic()
                found = joined([likelihoods(model, data, part, request, first) for first, part in batches(chosen, 90)])
                nats, bits = summary(found)
                assert bits is not None
                print(
                    f"{name:16} {law:8} seed {seed:5}: {bits.value:.4f} ± {bits.error:.4f} bits/dim, {nats.value:.2f} "
                    f"nats; Hutchinson {float(found.standard_error.mean()):.2f} nats an item; "
                    f"{float(found.evaluations.double().mean()):.0f} evaluations, {time.monotonic() - began:.0f} s",
                    flush=True,
                )


def start(arguments: argparse.Namespace) -> None:
    model = read_checkpoint(checkpoint_file(arguments.run), torch.device("cpu"))
    flow, dim = model.hvp.flow, math.prod(model.shape)
    data, _ = named_data(model, None, "held-out", torch.device("cpu"))
    chosen = items(data, arguments.num or 64, 0)
    seeds = torch.arange(len(chosen.x))
    assert data.levels is not None
    points = dequantised(chosen.x, data.levels, seeds, "uniform", flow)
    whole = None
    for sigma in arguments.sigmas:
        begin = float(flow.time(torch.tensor(sigma, dtype=torch.float64)))
        found = log_likelihood(
            velocity_of(model.hvp, chosen.labels),
            flow,
            points.x,
            Hutchinson(rademacher(seeds, arguments.probes, model.shape)),
            Adaptive(arguments.tolerance, arguments.tolerance),
            begin,
        )
        bits = -(found.value + points.gain) / (dim * math.log(2))
        whole = bits if whole is None else whole
        moved = bits - whole
        spread, evaluations = float(moved.std()) / len(bits) ** 0.5, float(found.evaluations.double().mean())
        print(
            f"sigma {sigma:6g}: {float(bits.mean()):.4f} bits/dim, {float(moved.mean()):+.4f} ± {spread:.4f} from 0, "
            f"{evaluations:.0f} evaluations",
            flush=True,
        )


if __name__ == "__main__":
    main()
