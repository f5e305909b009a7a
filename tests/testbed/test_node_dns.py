"""The node's DNS: what a Pod's resolver asks, and what it is answered."""

from __future__ import annotations

import pytest

from testbed.node.dns import answer, question

SERVICES = {"vmferry.vmferry-system": "10.96.12.34"}


def asked(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\xab\xcd\x01\x00\x00\x01" + bytes(6) + labels + b"\x00" + kind.to_bytes(2, "big") + b"\x00\x01"


#: name, type of the record, RCODE and the addresses in the answer
QUESTIONS = {
    "a Service": ("vmferry.vmferry-system.svc.cluster.local", 1, 0, ["10.96.12.34"]),
    "in capitals": ("VMferry.vmferry-system.svc.cluster.local", 1, 0, ["10.96.12.34"]),
    "its IPv6 address, of which there is none": ("vmferry.vmferry-system.svc.cluster.local", 28, 0, []),
    "no Service": ("nothing.vmferry-system.svc.cluster.local", 1, 3, []),
    "with the search list": ("vmferry.vmferry-system.svc.vmferry-system.svc.cluster.local", 1, 3, []),
    "a name of the world": ("example.com", 1, 3, []),
}


@pytest.mark.parametrize(("name", "kind", "code", "addresses"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_an_answer(name: str, kind: int, code: int, addresses: list[str]) -> None:
    packet = asked(name, kind)
    said = answer(packet, SERVICES)
    assert (said[:2], said[2] & 0x80, said[3] & 0x0F) == (packet[:2], 0x80, code)
    count, end = int.from_bytes(said[6:8], "big"), question(said)[2]
    found = [".".join(map(str, said[end + 16 * n + 12 : end + 16 * n + 16])) for n in range(count)]
    assert found == addresses
