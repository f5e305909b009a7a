"""Runs the installed wheel like a container of a rendered Pod, without a container engine.

The process gets only what the Pod has: a read-only root file system, the environment of the image and of the Pod, its
volumes, a user id that /etc/passwd lacks, and no capabilities. Needs root.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.kubernetes.cluster import Cluster
from testbed.processes import cache_dir

ROOT = Path(__file__).resolve().parent.parent
#: the path of the virtual environment in the image
INSTALLED = "/opt/vmferry"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
#: the folders that the base image provides
_BASE = ("/usr", "/bin", "/sbin", "/lib", "/lib64")


def wheel_environment() -> Path:
    """A virtual environment with the package as its wheel installs it; rebuilt after a change of a source file.

    The dependencies come from the environment of the running interpreter.
    """
    sources = sorted(
        path for path in (ROOT / "operator").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    digest = hashlib.sha256(sys.version.encode())
    for path in (*sources, ROOT / "pyproject.toml", ROOT / "constraints.txt"):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    made = cache_dir() / "wheels" / digest.hexdigest()[:12]
    if (made / ".ready").exists():
        return made
    made.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _run(sys.executable, "-m", "venv", "--clear", "--without-pip", made)
    pip = (sys.executable, "-m", "pip", "--quiet")
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", made / "wheel", ROOT)
    (wheel,) = (made / "wheel").glob("*.whl")
    _run(*pip, "--python", made / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (made / ".ready").touch()
    return made


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr[-2000:]}")


def image_configuration() -> tuple[dict[str, str], list[str], list[str]]:
    """Environment, entry point and arguments of the image, from the last stage of the Dockerfile."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    last = text[text.rindex("\nFROM ") :]
    environment = dict(
        assignment.split("=", 1) for line in re.findall(r"^ENV (.*)$", last, re.M) for assignment in shlex.split(line)
    )
    environment["PATH"] = environment["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    entry, command = (json.loads(re.findall(rf"^{word} (.*)$", last, re.M)[0]) for word in ("ENTRYPOINT", "CMD"))
    return environment, entry, command


@dataclass
class Container:
    """The only container of a Pod's spec, started as the kubelet would start it."""

    cluster: Cluster
    namespace: str
    spec: Mapping[str, Any]
    #: the objects of the release that the volumes refer to, by (kind, name)
    objects: Mapping[tuple[str, str], Mapping[str, Any]]
    #: the user id that the cluster chooses for a Pod without runAsUser, as on OpenShift
    user: int | None = None
    #: additional host names for loopback
    names: tuple[str, ...] = ()
    _container: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        (self._container,) = self.spec["containers"]

    def command(self, folder: Path) -> list[str]:
        """The command that starts the container. `folder` is an empty folder for its files. It ends with its parent
        process."""
        script = folder / "start.sh"
        script.write_text("\n".join(["set -eu", *self._mounts(folder), f"exec {self._process()}"]) + "\n")
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--ipc"),
            *("sh", str(script)),
        ]

    def _process(self) -> str:
        pod, own = self.spec.get("securityContext", {}), self._container.get("securityContext", {})
        context = {**pod, **own}
        if self.user is not None and "runAsUser" in context:
            raise ValueError("the cluster chooses no user where the Pod names one")
        user = self.user if self.user is not None else context["runAsUser"]
        group = context.get("runAsGroup", 0)
        privileges = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if own.get("allowPrivilegeEscalation") is False:
            privileges.append("--no-new-privs")
        if "ALL" in own.get("capabilities", {}).get("drop", ()):
            privileges += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        if context.get("runAsNonRoot") and user == 0:
            raise ValueError("the kubelet refuses to start it as root")
        environment, entry, arguments = image_configuration()
        command = list(self._container.get("command", entry))
        command += self._container.get("args", () if "command" in self._container else arguments)
        variables = {**environment, **self._environment()}
        return " ".join(
            ["chroot", '"$R"', "/usr/bin/env", "-i"]
            + [shlex.quote(f"{name}={value}") for name, value in variables.items()]
            + ["/usr/bin/setpriv", *privileges, "--", *map(shlex.quote, command)]
        )

    def _environment(self) -> dict[str, str]:
        host, port = self.cluster.server_url.removeprefix("https://").split(":")
        found = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        for variable in self._container.get("env", ()):
            path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            if path not in (None, "metadata.namespace"):
                raise NotImplementedError(path)
            found[variable["name"]] = self.namespace if path else variable["value"]
        return found

    def _mounts(self, folder: Path) -> list[str]:
        root = folder / "root"
        root.mkdir()
        read_only = self._container.get("securityContext", {}).get("readOnlyRootFilesystem", False)
        installed = wheel_environment()
        folders = {*_BASE, sys.base_prefix, sys.prefix, str(installed)}
        # The volumes come first: the environment of Python may be in a folder below one of them, such as /tmp.
        lines = [f"R={root}", "mount --make-rprivate /", "mount -t tmpfs none $R", *self._volumes(folder)]
        for path in sorted(folders, key=len):
            if path.startswith("/usr/") or not Path(path).exists():
                continue
            if Path(path).is_symlink():
                lines.append(f"mkdir -p $R{Path(path).parent}; ln -s {os.readlink(path)} $R{path}")  # noqa: PTH115
            else:
                lines.append(f"mkdir -p $R{path}; mount --rbind {path} $R{path}; mount -o remount,bind,ro $R{path}")
        lines.append(f"mkdir -p $R{INSTALLED} $R/proc $R/dev $R/etc $R/tmp; mount --bind {installed} $R{INSTALLED}")
        lines += ["mount --rbind /proc $R/proc", "mount --rbind /dev $R/dev"]
        for name, text in {
            "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            "group": "root:x:0:\n",
            "hosts": "127.0.0.1 localhost " + " ".join(self.names) + "\n",
        }.items():
            (folder / name).write_text(text)
            lines.append(f"cp {folder / name} $R/etc/{name}")
        if read_only:
            lines.append("mount -o remount,ro,nosuid $R")
        return lines

    def _volumes(self, folder: Path) -> list[str]:
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", ())}
        lines = []
        for number, mount in enumerate(self._container.get("volumeMounts", ())):
            volume, path = volumes[mount["name"]], mount["mountPath"]
            lines.append(f"mkdir -p $R{path}")
            if "emptyDir" in volume:
                lines.append(f"mount -t tmpfs -o mode=1777 none $R{path}")
                continue
            content = self._content(volume)
            where = folder / f"volume-{number}"
            where.mkdir(mode=0o755)
            for name, data in content.items():
                (where / name).write_bytes(data)
            lines.append(f"mount --bind {where} $R{path}; mount -o remount,bind,ro $R{path}")
        if self.spec.get("automountServiceAccountToken", True):
            lines.append(f"mkdir -p $R{ACCOUNT}; mount -t tmpfs none $R{ACCOUNT}")
            account = self.spec.get("serviceAccountName", "default")
            token = self.cluster.kubectl_run("create", "token", account, "--namespace", self.namespace).strip()
            files = {"token": token, "ca.crt": self.cluster.ca_file.read_text(), "namespace": self.namespace}
            where = folder / "account"
            where.mkdir()
            for name, text in files.items():
                (where / name).write_text(text)
            lines.append(f"cp {where}/* $R{ACCOUNT}; chmod 0644 $R{ACCOUNT}/*")
        return lines

    def _content(self, volume: Mapping[str, Any]) -> dict[str, bytes]:
        if "configMap" in volume:
            data = self.objects["ConfigMap", volume["configMap"]["name"]]["data"]
            return {name: text.encode() for name, text in data.items()}
        if "secret" in volume:
            secret = self.objects["Secret", volume["secret"]["secretName"]]
            plain = {name: text.encode() for name, text in secret.get("stringData", {}).items()}
            return plain | {name: base64.b64decode(text) for name, text in secret.get("data", {}).items()}
        raise NotImplementedError(volume)
