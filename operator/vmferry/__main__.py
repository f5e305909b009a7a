"""`vmferry operator`, `vmferry preflight`, `vmferry uninstall-check` and `vmferry version`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import click

from vmferry import __version__
from vmferry.cli.plain_errors import PlainGroup
from vmferry.cli.preflight import preflight


class Unusable(click.ClickException):
    """Raised when the configuration cannot be used. Exits with 2, like a usage error."""

    exit_code = 2


@click.group(cls=PlainGroup)
def main() -> None:
    """Migrates the servers of an OpenStack cloud and maintains its hosts, declaratively."""


main.add_command(preflight)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@main.command("uninstall-check")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Instead of the Pod's ServiceAccount.")
@click.option("--namespace", "namespaces", multiple=True, help="Look at the VMMigrations of this one only; repeatable.")
@click.option("--class", "class_", help="Look at the objects of the operator with this class; without: with none.")
def uninstall_check(kubeconfig: Path | None, namespaces: tuple[str, ...], class_: str | None) -> None:
    """Say whether the operator may go: exit status 0 if it owes nothing, 1 if it does, 2 if that cannot be told."""
    from vmferry.cli import uninstall_check
    from vmferry.cli.ferry.kube_client import connect
    from vmferry.runtime.kube_api import KubeError

    try:
        found = uninstall_check.unfinished(connect(str(kubeconfig) if kubeconfig else None, None), namespaces, class_)
    except KubeError as error:
        click.echo(f"cannot tell: {error}", err=True)
        sys.exit(2)
    click.echo("\n".join(uninstall_check.report(found)))
    sys.exit(1 if found else 0)


@main.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration, in YAML.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Instead of the one in the configuration.")
def operator(path: Path, kubeconfig: Path | None) -> None:
    """Run the operator until SIGTERM."""
    from vmferry.runtime import config, logs

    try:
        chosen = config.load(path, os.environ)
    except config.ConfigError as error:
        raise Unusable(str(error)) from error
    if kubeconfig is not None:
        chosen = chosen.model_copy(update={"kubeconfig": kubeconfig})
    logs.set_up(chosen.log)
    from vmferry.runtime.kube_api import KubeError
    from vmferry.runtime.operator import run

    try:
        code = asyncio.run(run(chosen))
    except (KubeError, OSError) as error:
        # logged like all output of this process, so that it is redacted and machine-readable
        logging.getLogger("vmferry").critical("the operator cannot begin: %s", error)
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    # Threads may still wait for responses of the cloud that are no longer needed; a normal exit would wait for them.
    os._exit(code)


if __name__ == "__main__":
    main()
