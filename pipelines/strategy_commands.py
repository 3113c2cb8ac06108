"""The commands `pipeline strategy ...`: begin, check, explain, put into form, compare and show strategy files.

They read and write strategy files only; no workspace, no candles, no look is spent. Exit codes: 0 done,
2 a file is wrong, 3 not as asked: `fmt --check` found a file that is not canonical, `diff` a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from research_lab.errors import GauntletError, UsageError

if TYPE_CHECKING:
    from pipelines.strategy_files import Form

USAGE, NOT_AS_ASKED = 2, 3

app = typer.Typer(
    help="Begin, check, explain, format and compare strategy files.\n\n"
    "A file is a path, or the name of a strategy of the library.\n\n"
    "Example: pipeline strategy new my_trend",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

FileArgument = Annotated[Path, typer.Argument(help="A strategy file, or a name of the library.")]
FilesArgument = Annotated[list[Path], typer.Argument(help="Strategy files, or names of the library.")]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the strategy; the file is NAME.yaml.")],
    template: Annotated[
        str, typer.Option("--template", "-t", help="What to begin with: breakout, reversion or trend.")
    ] = "trend",
    folder: Annotated[
        Path, typer.Option("--folder", "-f", help="Where to write.", show_default="the current folder")
    ] = Path(),
) -> None:
    """Write a commented strategy to begin with.

    A file that exists is left alone.

    Example: pipeline strategy new my_trend --template trend
    """
    from pipelines.strategy_files import begin

    path = begin(name, template, folder)
    typer.echo(f"{path}: written\nnext: pipeline strategy explain {path}")


@app.command()
def check(files: FilesArgument) -> None:
    """Say whether strategy files are right, and how large they are.

    Every file is looked at; each fault comes with line, column and a remedy. Exit code 2 when one is wrong.

    Example: pipeline strategy check my_trend.yaml ema_atr
    """
    from pipelines.strategy_files import check_line, found

    _each(files, lambda file: typer.echo(check_line(found(file))))


@app.command()
def explain(file: FileArgument) -> None:
    """Say what a strategy does, in English and as trees.

    The trees come with the dimension of every part; then what it costs: warm-up, instructions, state.

    Example: pipeline strategy explain ema_atr
    """
    from pipelines.strategy_files import ensemble_in, strategy_in
    from research_lab.dsl.explanation import explanation

    typer.echo(explanation(strategy_in(file), ensemble_in(file)))


@app.command()
def fmt(
    files: FilesArgument,
    write: Annotated[bool, typer.Option("--write", help="Rewrite the files instead of printing.")] = False,
    check_only: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 3 when a file is not canonical.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="With --write, rewrite files that lose something by it as well.")
    ] = False,
) -> None:
    """Put strategy files into canonical form.

    It stays the same strategy with the same hash. The form has one order and one layout, definitions,
    ensembles, target_vol and an estimated spread are written out, comments left out; a file that has any of these is
    rewritten with --anyway alone.

    Example: pipeline strategy fmt my_trend.yaml
    """
    from pipelines.strategy_files import form_of, found, rewrite

    if write and check_only:
        raise UsageError("--write and --check at once", remedy="give one of them")
    strays = []

    def put(file: Path) -> None:
        form = form_of(found(file))
        if check_only:
            if not form.is_canonical:
                strays.append(form)
                typer.echo(f"{form.path}: not canonical")
        elif write:
            rewrite(form, anyway=anyway)
            typer.echo(f"{form.path}: {'was canonical' if form.is_canonical else 'rewritten'}")
        else:
            _show_form(form)

    _each(files, put)
    if strays:
        raise typer.Exit(NOT_AS_ASKED)


@app.command()
def diff(first: FileArgument, second: FileArgument) -> None:
    """Say what differs between two strategies.

    What counts is what they do, however it is written; names and hypotheses are shown, but do not count.
    Exit code 0 when they are the same strategy, 3 when they are not.

    Example: pipeline strategy diff my_trend.yaml ema_atr
    """
    from pipelines.strategy_files import ensemble_in, strategy_in
    from research_lab.dsl.comparison import differences, is_same, relation

    one, other = strategy_in(first), strategy_in(second)
    typer.echo(f"{one.name} {one.hash[:12]} and {other.name} {other.hash[:12]}: {relation(one, other)}")
    for name, before, after in differences(one, other, (ensemble_in(first), ensemble_in(second))):
        typer.echo(f"\n{name}")
        for sign, text in (("-", before), ("+", after)):
            if text:
                typer.echo(f"  {sign} {text}")
    if not is_same(one, other):
        raise typer.Exit(NOT_AS_ASKED)


@app.command()
def schema() -> None:
    """Print the form of a strategy file as JSON Schema.

    Editors that know it complete fields and underline mistakes; docs/spec.schema.json is the same.

    Example: pipeline strategy schema > spec.schema.json
    """
    from research_lab.dsl.json_schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def reference() -> None:
    """Print the language page: every field, function and limit.

    docs/language.md is the same.

    Example: pipeline strategy reference > language.md
    """
    from research_lab.dsl.reference import language_page

    typer.echo(language_page(), nl=False)


@app.command()
def gallery(
    folder: Annotated[Path, typer.Argument(help="Where to write; docs holds this of the library.")],
) -> None:
    """Write the page of the library, with pictures of trades.

    The page is strategies.md in the folder; the pictures, one a strategy, lie in strategies/ below it. They
    show made-up markets, and come out the same each time.

    Example: pipeline strategy gallery docs
    """
    from pipelines.strategy_gallery import write_gallery

    n = write_gallery(folder)
    typer.echo(f"{folder / 'strategies.md'}: {n} strateg{'y' if n == 1 else 'ies'}, each with a picture")


def _each(files: list[Path], act: Callable[[Path], None]) -> None:
    """Act on every file; the faults are told one by one, and end the command when all have had their turn."""
    wrong = 0
    for file in files:
        try:
            act(file)
        except GauntletError as fault:
            wrong += 1
            typer.echo(f"pipeline: {fault}", err=True)
    if wrong:
        raise typer.Exit(USAGE)


def _show_form(form: Form) -> None:
    """Print a canonical form; what it leaves out is told beside it."""
    typer.echo(form.canonical, nl=False)
    if form.lost:
        typer.echo(f"pipeline: {form.path}: without its {form.lost}", err=True)
