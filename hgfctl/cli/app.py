"""The program: its subcommands, and what becomes of errors."""

import os
import sys
from typing import Annotated

import typer

from hgfctl.cli import convert, data, ema, eval_fid, latents, likelihood, presets, sample, score_match, train, visualize
from hgfctl.cli.spelling import spelled
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.processes import first as first_rank
from hgfctl.version import __version__

app = typer.Typer(
    name="hgfctl",
    help="Hamiltonian generative flows: train, sample, look. Start with `hgfctl train --preset digits-oscillation`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hgfctl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also HGFCTL_DEBUG=1).")] = False,
) -> None:
    if debug:
        os.environ["HGFCTL_DEBUG"] = "1"


app.command("train")(train.train)
app.command("score-match")(score_match.score_match)
app.command("sample")(sample.sample)
app.command("convert")(convert.convert)
app.command("ema")(ema.ema)
app.add_typer(eval_fid.app, name="eval-fid")
app.command("likelihood")(likelihood.likelihood)
app.add_typer(latents.app, name="latents")
app.add_typer(data.app, name="data")
app.add_typer(visualize.app, name="visualize")
app.add_typer(presets.app, name="presets")


def main() -> None:
    """Runs the program and exits with its status: 0 done, 1 failed, 2 wrong request, 130 interrupted."""
    sys.exit(status())


def status() -> int:
    """Runs the program on sys.argv; one or two lines on stderr for whatever a user can mend."""
    try:
        return app(standalone_mode=False) or 0
    except typer.Exit as done:
        return done.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except typer.TyperException as error:
        return _say(error.format_message(), error.exit_code)
    except HgfctlError as error:
        if _debugging():
            raise
        # A wrong request is wrong on every rank, and the first one says so; what fails on one rank names it.
        text = "" if isinstance(error, RequestError) and not first_rank() else str(error)
        return _say(text, error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        return 1
    except Exception as error:
        if _debugging():
            raise
        kind = type(error).__name__
        first = (str(error).splitlines() or [""])[0]
        return _say(
            f"{kind}: {first}\nthis is not an error that hgfctl knows; --debug before the subcommand shows where",
            1,
        )


def _say(message: str, code: int) -> int:
    if message:
        print(f"hgfctl: {spelled(message)}", file=sys.stderr)
    return code


def _debugging() -> bool:
    return os.environ.get("HGFCTL_DEBUG", "") not in ("", "0")
