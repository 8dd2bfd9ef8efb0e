"""`hgfctl presets` and `hgfctl presets show`."""

from typing import Annotated

import typer

app = typer.Typer(
    help="List the presets; `presets show NAME` prints one in full.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def presets(context: typer.Context) -> None:
    """List the shipped presets, one a line; `hgfctl presets show NAME` prints one in full."""
    if context.invoked_subcommand is None:
        from hgfctl.presets import description, names

        width = max(len(name) for name in names())
        for name in names():
            print(f"{name:{width}}  {description(name)}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped preset or a YAML file.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, as in `hgfctl train`."),
    ] = None,
) -> None:
    """Print a preset as YAML with everything that it inherits and every default written out."""
    from hgfctl.engine.compatibility import with_defaults
    from hgfctl.presets import load

    print(with_defaults(load(name, settings or [])).to_yaml(), end="")
