"""``python -m benchmarks accuracy DATA --out FILE.json``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.accuracy import accuracy as score
from benchmarks.accuracy import format_rows
from monai_wsss.errors import InputError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def main() -> None:
    """Tables of the project's own measurements."""


@app.command()
def accuracy(
    data: Annotated[Path, typer.Argument(help="Prepared folder, with true masks.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    pred: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of predictions; repeat for more rows.")] = None,
    split: Annotated[str, typer.Option(help="training, validation or test.")] = "test",
) -> None:
    """Score the trivial rows beside predictions on the same cases."""
    runs = {}
    for text in pred or []:
        name, equals, folder = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text}: expected NAME=FOLDER")
        runs[name] = Path(folder)
    try:
        result = score(data, out, runs, split)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(format_rows(result))


if __name__ == "__main__":
    app()
