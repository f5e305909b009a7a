"""The history of all objects from the API server itself: a watch that bypasses all proxies."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests
import yaml

from vmferry.resources.base import API_VERSION

KINDS = {"vmmigrations": True, "hostmaintenances": False}


class Api:
    """The Kubernetes API as an administrator. Raises RuntimeError from status 400 on, except for statuses in `fine`."""

    def __init__(self, kubeconfig: Path, ca_file: Path, namespace: str) -> None:
        read = yaml.safe_load(kubeconfig.read_text())
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(ca_file)
        self._session.headers["Authorization"] = f"Bearer {read['users'][0]['user']['token']}"
        self._server = read["clusters"][0]["cluster"]["server"]
        self._namespace = namespace

    def path(self, plural: str, name: str = "") -> str:
        place = f"namespaces/{self._namespace}/" if KINDS[plural] else ""
        return f"/apis/{API_VERSION}/{place}{plural}" + (f"/{name}" if name else "")

    def call(self, method: str, path: str, body: object = None, *, fine: tuple[int, ...] = ()) -> Any:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._session.request(
            method, self._server + path, data=json.dumps(body), headers={"Content-Type": kind}, timeout=30
        )
        if answer.status_code >= 400 and answer.status_code not in fine:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def watch(self, path: str, version: str) -> requests.Response:
        return self._session.get(
            f"{self._server}{path}?watch=true&resourceVersion={version}", stream=True, timeout=(10, 3600)
        )


class Chronicle:
    """The last body of each object and its number of writes, by uid, since `begin`."""

    def __init__(self, kubeconfig: Path, ca_file: Path, namespace: str) -> None:
        self.begin()
        for plural in KINDS:
            api = Api(kubeconfig, ca_file, namespace)
            version = api.call("GET", api.path(plural))["metadata"]["resourceVersion"]
            threading.Thread(target=self._read, args=(api, plural, version), daemon=True).start()

    def begin(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.times: Counter[str] = Counter()
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.trouble: list[str] = []

    def _read(self, api: Api, plural: str, version: str) -> None:
        """Watch until the API server is gone; a watch that it ends is resumed at its last version."""
        try:
            while True:
                # not iter_lines, which delays the last line until more data comes
                for line in api.watch(api.path(plural), version).raw:
                    version = self._note(json.loads(line))
        except Exception as error:  # any of several exceptions occurs when the server goes away
            self.trouble.append(f"the watch of the judge has ended: {type(error).__name__} {error}")

    def _note(self, event: dict[str, Any]) -> str:
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            raise ValueError(str(event))
        uid, now = event["object"]["metadata"]["uid"], time.monotonic()
        self.objects[uid] = event["object"]
        self.times[uid] += 1
        self.began.setdefault(uid, now)
        if event["type"] == "DELETED":
            self.gone.add(uid)
            self.ended[uid] = now
        version: str = event["object"]["metadata"]["resourceVersion"]
        return version

    def living(self, kind: str) -> list[dict[str, Any]]:
        return [body for uid, body in list(self.objects.items()) if uid not in self.gone and body["kind"] == kind]

    def writes(self) -> dict[str, tuple[int, float]]:
        now = time.monotonic()
        return {uid: (n, self.ended.get(uid, now) - self.began[uid]) for uid, n in list(self.times.items())}
