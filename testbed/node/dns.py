"""A cluster DNS that knows Services: `python -m testbed.node.dns ADDRESS KUBECONFIG` answers A records on port 53."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from ipaddress import IPv4Address

from testbed.kubernetes.install import install

_DOMAIN = ".svc.cluster.local"
_NAME_ERROR = 3


def question(packet: bytes) -> tuple[str, int, int]:
    """Name, type, and where it ends."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), int.from_bytes(packet[at + 1 : at + 3], "big"), at + 5


def answer(packet: bytes, services: dict[str, str]) -> bytes:
    """`services`: cluster IP by `name.namespace`."""
    name, kind, end = question(packet)
    address = services.get(name.removesuffix(_DOMAIN)) if name.endswith(_DOMAIN) else None
    records = b""
    if address is not None and kind == 1:
        records = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + IPv4Address(address).packed
    flags = 0x8580 | (0 if address is not None else _NAME_ERROR)
    counts = b"\x00\x01" + (b"\x00\x01" if records else b"\x00\x00") + b"\x00\x00\x00\x00"
    return packet[:2] + flags.to_bytes(2, "big") + counts + packet[12:end] + records


def services(kubeconfig: str) -> dict[str, str]:
    command = [str(install() / "kubectl"), "--kubeconfig", kubeconfig, "get", "services", "-A", "-o", "json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["items"]
    return {
        f"{one['metadata']['name']}.{one['metadata']['namespace']}": one["spec"]["clusterIP"]
        for one in found
        if one["spec"].get("clusterIP") not in (None, "None")
    }


def main(address: str, kubeconfig: str) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        packet, client = server.recvfrom(512)
        try:
            server.sendto(answer(packet, services(kubeconfig)), client)
        except (OSError, ValueError, IndexError, subprocess.CalledProcessError) as error:
            print(f"no answer: {error}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
