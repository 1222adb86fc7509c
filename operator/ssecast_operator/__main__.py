"""The commands of the operator."""

import typer

from ssecast_operator.crd import rendered

app = typer.Typer(
    name="ssecast-operator",
    help="Runs fleets of ssecast pods on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def operator() -> None:
    """Keeps the one command a command with a name."""


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition, as the chart ships it."""
    typer.echo(rendered(), nl=False)


def main() -> None:
    """The console script."""
    app(prog_name="ssecast-operator")


if __name__ == "__main__":
    main()
