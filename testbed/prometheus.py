"""A real Prometheus that scrapes the operator and evaluates alerts; Debian's program, unpacked below the cache
folder."""

from __future__ import annotations

import fcntl
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.debian import InstallError, unpack
from testbed.processes import Supervisor, cache_dir, free_port, wait_for

_PROCESS = "prometheus"


@dataclass(frozen=True)
class Programs:
    prometheus: Path
    promtool: Path


def install() -> Programs:
    """Install what is missing: a download of 19 MB, 85 MB on disk, half a minute once. Raises InstallError."""
    folder = cache_dir() / "prometheus"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made, ready = folder / "debian", folder / "debian" / ".ready"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            print(f"prometheus: from Debian's packages into {made} (19 MB)", flush=True)
            # its dependencies are only needed for its web pages
            unpack(["prometheus"], made, dependencies=False, only="usr/bin")
            ready.touch()
    return Programs(made / "usr" / "bin" / "prometheus", made / "usr" / "bin" / "promtool")


class QueryError(RuntimeError):
    """Prometheus rejects the query or cannot answer it; the message is its own."""


class Prometheus:
    """A running Prometheus. `start` creates it; its supervisor ends it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def start(
        cls,
        supervisor: Supervisor,
        run_dir: Path,
        port: int,
        labels: Mapping[str, str],
        *,
        interval: str = "1s",
        rules: Path | None = None,
    ) -> Prometheus:
        """Start it to scrape 127.0.0.1:`port`/metrics and to evaluate the file `rules`. Raises ProcessDiedError,
        TimeoutError."""
        folder = run_dir / _PROCESS
        folder.mkdir(mode=0o700, parents=True)
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [
                {
                    "job_name": labels["job"],
                    "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": dict(labels)}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        own = free_port()
        supervisor.start(
            _PROCESS,
            [
                install().prometheus,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{own}",
            ],
            cwd=folder,
        )
        made = cls(f"http://127.0.0.1:{own}")
        wait_for(made.ready, 60, "Prometheus", lambda: supervisor.check(_PROCESS))
        return made

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector of an instant query; a scalar becomes a sample without labels. Raises QueryError."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        found: list[dict[str, Any]] = data["result"]
        return found

    def value(self, expression: str) -> float:
        """The value of a vector's only sample."""
        (sample,) = self.query(expression)
        return float(sample["value"][1])

    def label_values(self, label: str) -> list[str]:
        found: list[str] = self._get(f"label/{label}/values")
        return found

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their `health` and `lastError`."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **asked: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(f"{asked.get('query', path)}: {json.load(error).get('error')}") from None


if __name__ == "__main__":
    try:
        print(install().prometheus)
    except InstallError as error:
        sys.exit(f"prometheus: {error}")
