"""`python -m vmferry.simulator --fleet FILE [--port N] [--clouds-yaml OUT] [--url-file OUT] [--speed FACTOR]`"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from pathlib import Path

import click
from aiohttp import web

from vmferry.simulator import clouds_yaml, fleet
from vmferry.simulator.app import make_app
from vmferry.simulator.cloud import Cloud

LAB = Path(__file__).parent / "fleets" / "lab.yaml"


@click.command()
@click.option(
    "--fleet", "fleet_file", type=click.Path(path_type=Path), default=LAB, show_default="the lab's four hosts"
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="a free one")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where it listens; its catalog names it, too.")
@click.option("--clouds-yaml", "clouds_file", type=click.Path(path_type=Path), help="Write a clouds.yaml there.")
@click.option("--url-file", type=click.Path(path_type=Path), help="Write the URL there once it answers.")
@click.option("--token-file", type=click.Path(path_type=Path), help="Write the token of /_control there.")
@click.option(
    "--speed", type=click.FloatRange(min=0), help="Simulated seconds per second; 0: only /_control moves the clock."
)
def main(
    fleet_file: Path,
    port: int,
    address: str,
    clouds_file: Path | None,
    url_file: Path | None,
    token_file: Path | None,
    speed: float | None,
) -> None:
    """Serve a simulated OpenStack cloud and print its URL once it answers."""
    try:
        cloud = fleet.build(fleet.load(fleet_file), speed=speed)
    except fleet.FleetError as error:
        raise click.ClickException(str(error)) from error
    asyncio.run(serve(cloud, port, clouds_file, url_file, address, token_file))


async def serve(
    cloud: Cloud,
    port: int,
    clouds_file: Path | None,
    url_file: Path | None,
    address: str = "127.0.0.1",
    token_file: Path | None = None,
) -> None:
    """Serve the cloud until SIGTERM or SIGINT.

    The files of the clouds.yaml and the control token are written before `url_file`, which appears once the server
    answers.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    token = secrets.token_urlsafe()
    runner = web.AppRunner(make_app(cloud, token), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        await site.start()
        url = f"http://{address}:{runner.addresses[0][1]}"
        if clouds_file is not None:
            clouds_yaml.write(clouds_file, url, cloud)
        if token_file is not None:
            with os.fdopen(os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(token)
        if url_file is not None:
            unfinished = url_file.with_suffix(".new")
            unfinished.write_text(url)
            unfinished.replace(url_file)
        click.echo(url)
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
