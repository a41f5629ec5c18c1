"""Entry point of the ``guiderail`` command."""

from __future__ import annotations

import sys

import typer

from guiderail_cli.backtest_command import backtest
from guiderail_cli.delivery_commands import deliveries_app
from guiderail_cli.explain_command import explain
from guiderail_cli.incident_commands import incidents_app
from guiderail_cli.inspect_run import EXIT_UNREADABLE, inspect
from guiderail_cli.notify_command import notify_app
from guiderail_cli.policy_commands import policy_app
from guiderail_cli.reingest_command import reingest_app
from guiderail_cli.remediation_commands import app as remediation_app

# typer keeps its own click and exports only the leaves of its error tree
_WrongUse: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="What happens after an ML monitor finishes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(inspect)
app.add_typer(policy_app, name="policy")
app.command()(backtest)
app.add_typer(incidents_app, name="incidents")
app.command()(explain)
app.add_typer(deliveries_app, name="deliveries")
app.add_typer(notify_app, name="notify")
app.add_typer(remediation_app, name="remediation")
app.add_typer(reingest_app, name="reingest")


@app.callback()
def guiderail() -> None:
    """What happens after an ML monitor finishes."""


def _register_demo() -> None:
    try:
        from guiderail_local.demo import demo
    except ImportError as exc:
        missing = exc.name

        @app.command("demo")
        def demo_is_not_installed() -> None:
            """Play runs through the local cloud (needs the extra ``local``)."""
            typer.echo(f"guiderail demo: {missing} is missing. Install guiderail[local]", err=True)
            raise typer.Exit(EXIT_UNREADABLE)

        return
    app.command()(demo)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; wrong use exits with 3, because 2 means an unhealthy run."""
    _register_demo()
    try:
        code = app(arguments, standalone_mode=False)
    except typer.Abort:
        sys.exit(130)
    except _WrongUse as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        sys.stderr.write(f"guiderail: {message.rstrip('.')}. Try guiderail --help\n")
        sys.exit(EXIT_UNREADABLE)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
