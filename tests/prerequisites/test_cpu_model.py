"""CPUModel (R12): the target offers what the guest uses, and a richer one is a one-way street."""

from __future__ import annotations

from typing import Any

from testbed.build import SKYLAKE, dead_host, facts, host, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import CPU, Fact, GuestCPU, GuestCPUMode, Host, HostFacts, ResolvedType
from vmferry.policy import GuestCPUOf, Policy
from vmferry.prerequisites import cpu_model, host_facts
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType
IVY = CPU("Intel", "x86_64", "IvyBridge-IBRS", frozenset({"fpu", "sse2", "avx"}))
MILAN = CPU("AMD", "x86_64", "EPYC-Milan", SKYLAKE.features)
ARM = CPU("Intel", "aarch64", "", frozenset())
MANY = CPU("Intel", "x86_64", "Icelake", SKYLAKE.features | {f"f{n:02}" for n in range(20)})
EIGHT = CPU("Intel", "x86_64", "Icelake", SKYLAKE.features | {f"f{n:02}" for n in range(8)})
#: of hosts whose libvirt does not expand the model: only what is beyond it
SHORT = CPU("Intel", "x86_64", "Skylake-Server", frozenset({"pku", "md-clear"}))
SHORTER = CPU("Intel", "x86_64", "Skylake-Server", frozenset({"pku"}))
SKYLAKE_WHOLE = CPU("Intel", "x86_64", "Skylake-Server", frozenset({"fpu", "pku", "md-clear"}))
SHORT_IVY = CPU("Intel", "x86_64", "IvyBridge", frozenset({"md-clear"}))
BARE = CPU("Intel", "x86_64", "Skylake-Server")

HOST_MODEL = GuestCPU(GuestCPUMode.HOST_MODEL)
PASSTHROUGH = GuestCPU(GuestCPUMode.HOST_PASSTHROUGH)
CUSTOM = GuestCPU(GuestCPUMode.CUSTOM, "IvyBridge-IBRS")

GONE = server(host="host-z")
NOWHERE = server(vm_state="shelved_offloaded", host=None)


def made(name: str, cpu: CPU | None, guests: GuestCPU | None = None, **over: Any) -> Host:
    told = (Fact(guests, "resource manager, cluster c1"),) if guests else ()
    return host(name, facts=facts(cpu, guest_cpu=told), **over)


def ask(
    source: CPU | None,
    target: CPU | None,
    seen: GuestCPU | None = None,
    offered: GuestCPU | None = None,
    kind: ResolvedType = LIVE,
    **over: Any,
) -> Question:
    view = snapshot(hosts=[made("host-a", source, seen), made("host-b", target, offered)])
    return question(server(), kind, view, **over)


def with_traits(
    source: CPU, target: CPU, ours: set[str], theirs: set[str], offered: GuestCPU | None = None
) -> Question:
    hosts = [
        made("host-a", source, traits=frozenset(f"HW_CPU_X86_{t}" for t in ours)),
        made("host-b", target, offered, traits=frozenset(f"HW_CPU_X86_{t}" for t in theirs)),
    ]
    return question(server(), view=snapshot(hosts=hosts))


def configured(cpu: GuestCPU, *hosts: str) -> Policy:
    return Policy(guest_cpu=(GuestCPUOf(mode=cpu.mode, model=cpu.model, hosts=frozenset(hosts)),))


def contradicting(source: Host) -> Question:
    return question(server(), view=snapshot(hosts=[source, host("host-b")]))


CASES: dict[str, Case] = {
    "the same CPU": passes(ask(SKYLAKE, SKYLAKE), "the same CPU"),
    "a richer one is taken, one way": passes(ask(IVY, SKYLAKE), "host-b", "one-way", "cannot come back to host-a"),
    "a poorer one, and what it lacks": fails(
        ask(SKYLAKE, IVY),
        Reason.CPU_INCOMPATIBLE,
        ("host-b (IvyBridge-IBRS) lacks", "host-a (Skylake-Server-IBRS)", "avx512f, pku"),
        ("choose a host with Skylake-Server-IBRS", "guestCPU"),
        "host-b",
    ),
    "the features that are named are bounded": fails(
        ask(MANY, SKYLAKE), Reason.CPU_INCOMPATIBLE, ("f00, f01", "and 12 more"), (), "host-b"
    ),
    "as many features as are named are no more than that": fails(
        ask(EIGHT, SKYLAKE), Reason.CPU_INCOMPATIBLE, ("f00, f01, f02, f03, f04, f05, f06, f07",), (), "host-b"
    ),
    "the same model, all features of one and only those beyond it of the other": cannot_tell(
        ask(SKYLAKE_WHOLE, SHORT), ("does not decide",), ("guestCPU",), "host-b"
    ),
    "the same model, only the features beyond it of one and all of the other": cannot_tell(
        ask(SHORT, SKYLAKE_WHOLE), ("does not decide",), ("guestCPU",), "host-b"
    ),
    "the same model with less is poorer too": fails(
        ask(SHORT, SHORTER), Reason.CPU_INCOMPATIBLE, ("md-clear",), (), "host-b"
    ),
    "the same model with as much, though only what is beyond it is told": passes(ask(SHORT, SHORT), "the same CPU"),
    "another vendor, whatever its features": fails(
        ask(SKYLAKE, MILAN),
        Reason.CPU_INCOMPATIBLE,
        ("vendor of host-b is AMD", "host-a is Intel"),
        ("Intel",),
        "host-b",
    ),
    "another architecture": fails(
        ask(SKYLAKE, ARM), Reason.CPU_INCOMPATIBLE, ("architecture of host-b is aarch64",), ("x86_64",), "host-b"
    ),
    "another vendor under the same custom model": fails(
        ask(SKYLAKE, MILAN, CUSTOM, CUSTOM), Reason.CPU_INCOMPATIBLE, ("vendor",), ("Intel",), "host-b"
    ),
    "evacuation asks the same": fails(
        ask(SKYLAKE, IVY, kind=EVACUATE), Reason.CPU_INCOMPATIBLE, ("avx512f",), (), "host-b"
    ),
    "cold migration asks the same, stricter than Nova": fails(
        ask(SKYLAKE, IVY, kind=COLD), Reason.CPU_INCOMPATIBLE, ("avx512f",), (), "host-b"
    ),
    "guests that see the host's model, said so": fails(
        ask(SKYLAKE, IVY, HOST_MODEL, HOST_MODEL), Reason.CPU_INCOMPATIBLE, ("avx512f",), (), "host-b"
    ),
    "a common custom model makes all its hosts alike": passes(
        ask(SKYLAKE, IVY, CUSTOM, CUSTOM), "the guest sees IvyBridge-IBRS", "host-b"
    ),
    "a common custom model may be configured": passes(
        ask(SKYLAKE, IVY, policy=configured(CUSTOM, "host-a", "host-b")), "the guest sees IvyBridge-IBRS"
    ),
    "a target that is of the custom model itself": passes(ask(SKYLAKE, IVY, CUSTOM), "the guest sees IvyBridge-IBRS"),
    "a target that has all of the source has the custom model": passes(ask(IVY, SKYLAKE, CUSTOM), "one-way"),
    "nobody tells whether the target has the custom model (R19)": cannot_tell(
        ask(SKYLAKE, IVY, GuestCPU(GuestCPUMode.CUSTOM, "Haswell"), HOST_MODEL),
        ("the guest sees Haswell", "host-b"),
        ("guestCPU", "Haswell", "vmferry:cpu_model"),
        "host-b",
    ),
    "guests that see the CPU itself need exactly the same one": fails(
        ask(IVY, SKYLAKE, PASSTHROUGH, PASSTHROUGH),
        Reason.CPU_INCOMPATIBLE,
        ("host-passthrough",),
        ("exactly",),
        "host-b",
    ),
    "guests that see the CPU itself, on the same one": passes(ask(IVY, IVY, PASSTHROUGH, PASSTHROUGH), "same CPU"),
    "a missing trait is a missing feature": fails(
        with_traits(SHORT, SHORT_IVY, {"AVX", "AVX2"}, {"AVX"}),
        Reason.CPU_INCOMPATIBLE,
        ("HW_CPU_X86_AVX2",),
        ("Skylake-Server",),
        "host-b",
    ),
    "all traits there prove nothing (R19)": cannot_tell(
        with_traits(SHORT_IVY, SHORT, {"AVX"}, {"AVX", "AVX2"}),
        ("IvyBridge", "Skylake-Server", "does not decide"),
        ("same CPU", "tolerateUnknown: [CPUModel]"),
        "host-b",
    ),
    "traits of a host whose guests see a custom model are not the host's (R19)": cannot_tell(
        with_traits(SHORT, SHORT_IVY, {"AVX", "AVX2"}, {"AVX"}, CUSTOM), ("does not decide",), (), "host-b"
    ),
    "a target without any trait lacks none for certain (R19)": cannot_tell(
        with_traits(SHORT, SHORT_IVY, {"AVX"}, set()), ("does not decide",), (), "host-b"
    ),
    "the same model's name alone does not decide (R19)": cannot_tell(
        ask(BARE, BARE), ("does not decide",), (), "host-b"
    ),
    "all features of one host, few of the other (R19)": cannot_tell(ask(SKYLAKE, SHORT), ("does not decide",), ()),
    "a target that tells no CPU (R19)": cannot_tell(ask(SKYLAKE, None), ("host-b",), ("cpu_info",), "host-b"),
    "a source that tells no CPU (R19)": cannot_tell(ask(None, SKYLAKE), ("host-a",), ("cpu_info",), "host-a"),
    "sources that contradict each other on the vendor (R19)": cannot_tell(
        contradicting(host("host-a", facts=HostFacts(cpu=(Fact(SKYLAKE, "Nova"), Fact(MILAN, "resource manager"))))),
        ("host-a", "Intel", "(Nova)", "AMD", "(resource manager)"),
        ("host-a",),
        "host-a",
    ),
    "sources that contradict each other on what guests see (R19)": cannot_tell(
        ask(SKYLAKE, SKYLAKE, HOST_MODEL, policy=configured(CUSTOM, "host-a")),
        ("host-a", "HostModel (resource manager, cluster c1)", "Custom IvyBridge-IBRS (the operator's configuration)"),
        ("correct",),
        "host-a",
    ),
    "a source that the cloud does not list (R19)": cannot_tell(
        question(GONE), ("host-z",), ("compute service",), "host-z"
    ),
    "a server on no host (R19)": cannot_tell(
        question(NOWHERE, view=snapshot([NOWHERE])), ("on no host",), ("unshelve",)
    ),
}


test_it_says = table(cpu_model.check, Name.CPU_MODEL, CASES)


def test_a_makers_name_of_the_model_contradicts_nothing() -> None:
    """The resource manager may write `Intel(R) Xeon(R) …` where libvirt writes its own names."""
    maker = CPU("Intel", "x86_64", "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz")
    both = (Fact(SKYLAKE, "Nova"), Fact(maker, "resource manager"))
    hosts = [host("host-a"), host("host-b", facts=HostFacts(cpu=both))]
    assert cpu_model.check(question(server(), view=snapshot(hosts=hosts))).result is Result.PASSED


def test_a_dead_hosts_cpu_is_still_known() -> None:
    hosts = [dead_host("host-a"), host("host-b")]
    assert cpu_model.check(question(server(), EVACUATE, snapshot(hosts=hosts))).result is Result.PASSED


def test_exactly_as_many_features_as_are_named_leave_none_out() -> None:
    assert " more" not in cpu_model.check(ask(EIGHT, SKYLAKE)).message.split("offers:")[1]


def test_without_a_model_the_features_of_the_first_source_count() -> None:
    """Each source has names of its own for features: they are never mixed."""
    first, second = (CPU("Intel", "x86_64", "", frozenset({one})) for one in ("sse2", "avx"))
    told = HostFacts(cpu=(Fact(first, "Nova"), Fact(second, "resource manager")))
    assert host_facts.cpu(host("host-a", facts=told)).value == first
