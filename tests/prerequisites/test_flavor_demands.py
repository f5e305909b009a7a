"""AvailabilityZone (R11, R21), its other half: traits and aggregate properties that the flavor demands of its hosts."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.build import flavor, host, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import Aggregate
from vmferry.prerequisites import availability_zone
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason
from vmferry.prerequisites.flavor_demands import meets

AVX = "trait:HW_CPU_X86_AVX512F"
SSD = "aggregate_instance_extra_specs:ssd"
HAS_AVX = {"traits": frozenset({"HW_CPU_X86_AVX512F"})}


def aggregate(number: int, **metadata: str) -> Aggregate:
    return Aggregate(number, f"rack-{number}", None, frozenset({"host-b"}), metadata)


def ask(specs: dict[str, str], **target: Any) -> Question:
    asked = server(flavor=flavor(extra_specs=specs))
    return question(asked, view=snapshot([asked], [host("host-a"), host("host-b", **target)]))


def unscoped(wish: str, source: str | None, target: str | None) -> Question:
    """The flavor has `ssd=WISH`; the hosts' aggregates say these of ssd, or nothing."""
    asked = server(flavor=flavor(extra_specs={"ssd": wish}))
    hosts = [
        host(name, aggregates=(aggregate(1), *((aggregate(2, ssd=value),) if value else ())))
        for name, value in (("host-a", source), ("host-b", target))
    ]
    return question(asked, view=snapshot([asked], hosts))


def imaged(properties: dict[str, str], *traits: str, **specs: str) -> Question:
    asked = server(
        flavor=flavor(extra_specs={key.replace("__", ":"): wish for key, wish in specs.items()}),
        image_id="image-1",
        image_properties=properties,
    )
    return question(asked, view=snapshot([asked], [host("host-a"), host("host-b", traits=frozenset(traits))]))


SECURE_BOOT = {"os_secure_boot": "required"}
TPM = {"hw_tpm_version": "2.0", "hw_tpm_model": "tpm-crb"}
TPM_2_0, TPM_CRB, TPM_TIS = (f"COMPUTE_SECURITY_TPM_{end}" for end in ("2_0", "CRB", "TIS"))

CASES: dict[str, Case] = {
    # without a scope
    "a key without a scope that no aggregate has is no demand (R21)": passes(unscoped("true", None, None)),
    "one that the target's aggregate meets": passes(unscoped("true", None, "maybe,true")),
    "one that it does not: whether Nova asks for it is not told (R19)": cannot_tell(
        unscoped("true", "true", "false"),
        ("has ssd=true", "host-b say false", "AggregateInstanceExtraSpecsFilter"),
        ("aggregate_instance_extra_specs:ssd",),
        "host-b",
    ),
    "one that only the server's own host has": cannot_tell(
        unscoped("true", "true", None), ("host-b say nothing of it",), (), "host-b"
    ),
    "one of which the target says something else than the server's own host, which says nothing": cannot_tell(
        unscoped("true", None, "false"), ("host-b say false",), (), "host-b"
    ),
    "what is refused is not hidden by what is not told": fails(
        ask({"a": "1", AVX: "required"}, aggregates=(aggregate(1, a="2"),)), Reason.OUTSIDE_ZONE, ("AVX512F",), ()
    ),
    # what stands for a trait
    "an image that requires secure boot": fails(
        imaged(SECURE_BOOT),
        Reason.OUTSIDE_ZONE,
        ("host-b has no trait COMPUTE_SECURITY_UEFI_SECURE_BOOT", "requires secure boot"),
        ("COMPUTE_SECURITY_UEFI_SECURE_BOOT",),
        "host-b",
    ),
    "a host that can": passes(imaged(SECURE_BOOT, "COMPUTE_SECURITY_UEFI_SECURE_BOOT")),
    "an image that would like it": passes(imaged({"os_secure_boot": "optional"})),
    "a flavor that requires it": fails(
        imaged({}, os__secure_boot="required"), Reason.OUTSIDE_ZONE, ("requires secure boot",), ()
    ),
    "a vTPM on a host that has none": fails(imaged(TPM), Reason.OUTSIDE_ZONE, (TPM_2_0, "vTPM 2.0"), (TPM_2_0,)),
    "a vTPM of another model": fails(imaged(TPM, TPM_2_0, TPM_TIS), Reason.OUTSIDE_ZONE, (TPM_CRB,), ()),
    "a vTPM of the same model": passes(imaged(TPM, TPM_2_0, TPM_CRB)),
    "an older Nova tells no models": passes(imaged(TPM, TPM_2_0)),
    "without a model it is a TIS": passes(imaged({"hw_tpm_version": "2.0"}, TPM_2_0, TPM_TIS)),
    # hidden
    "a flavor whose extra specs are hidden (R19)": cannot_tell(
        question(server(flavor=flavor(extra_specs_told=False))), ("m1.medium", "hidden"), ("os-flavor-extra-specs",)
    ),
    "a flavor that demands nothing": passes(ask({})),
    "a required trait that is there": passes(ask({AVX: "required"}, **HAS_AVX)),
    "one that is not": fails(
        ask({AVX: "required"}),
        Reason.OUTSIDE_ZONE,
        ("host-b has no trait HW_CPU_X86_AVX512F", "m1.medium"),
        ("a host with HW_CPU_X86_AVX512F",),
        "host-b",
    ),
    "a forbidden trait": fails(
        ask({AVX: "forbidden"}, **HAS_AVX),
        Reason.OUTSIDE_ZONE,
        ("host-b has the trait",),
        ("without HW_CPU_X86_AVX512F",),
        "host-b",
    ),
    "a forbidden trait that is not there": passes(ask({AVX: "forbidden"})),
    "traits that Placement did not tell (R19)": cannot_tell(
        ask({AVX: "forbidden"}, inventories=None), ("not report the traits of host-b",), ("Placement",), "host-b"
    ),
    "a trait that a device of the host may have (R19)": cannot_tell(
        ask({"trait:CUSTOM_V100": "required", "resources:VGPU": "1"}),
        ("itself has no trait CUSTOM_V100",),
        ("--required CUSTOM_V100",),
        "host-b",
    ),
    "a trait of a numbered group is its devices' matter": passes(ask({"trait1:CUSTOM_V100": "required"})),
    "a property of one of its aggregates": passes(
        ask({SSD: "true"}, aggregates=(aggregate(1), aggregate(2, ssd="true")))
    ),
    "one of a property's values": passes(ask({SSD: "true"}, aggregates=(aggregate(1, ssd="maybe, true"),))),
    "another value": fails(
        ask({SSD: "true"}, aggregates=(aggregate(1, ssd="false"), aggregate(2, ssd="maybe"))),
        Reason.OUTSIDE_ZONE,
        ("an aggregate with ssd true", "host-b say false, maybe"),
        ("an aggregate with ssd true",),
        "host-b",
    ),
    "no aggregate at all": fails(
        ask({SSD: "true"}), Reason.OUTSIDE_ZONE, ("host-b say nothing of it",), ("ssd true",), "host-b"
    ),
    "every demand must be met": fails(
        ask({SSD: "true", AVX: "required"}, aggregates=(aggregate(1, ssd="true"),)),
        Reason.OUTSIDE_ZONE,
        ("HW_CPU_X86_AVX512F",),
        (),
        "host-b",
    ),
    "another zone is said first": fails(ask({AVX: "required"}, zone="west"), Reason.OUTSIDE_ZONE, ("west",), ()),
}


test_it_says = table(availability_zone.check, Name.AVAILABILITY_ZONE, CASES)


@pytest.mark.parametrize(
    ("wish", "good", "bad"),
    [
        ("true", "true", "True"),
        ("s== a", "a", "b"),
        ("s!= a", "b", "a"),
        ("s< b", "a", "b"),
        ("s<= b", "b", "c"),
        ("s> b", "c", "b"),
        ("s>= b", "b", "a"),
        ("= 3", "4", "2"),
        (">= 3", "3.5", "2"),
        ("<= 3", "3", "4"),
        ("== 3", "3.0", "4"),
        ("!= 3", "4", "3"),
        ("<in> vx", "avx2", "sse"),
        ("<all-in> aes sse", "aes,sse2", "aes"),
        ("<or> a <or> b", "b", "<or>"),
        ("<or> a", "a", "b"),
        (">= 3", "9", "many"),
        ("~= 3", "~= 3", "3"),
        ("", "", "x"),
    ],
)
def test_R21_a_wish_reads_as_in_Novas_filter(wish: str, good: str, bad: str) -> None:
    assert meets(good, wish) and not meets(bad, wish)


@pytest.mark.parametrize("wish", ["<or>", "<all-in>", "s==", ">=", "<in>", ">= many"])
def test_a_wish_that_says_nothing_is_not_met(wish: str) -> None:
    assert not meets("1", wish)


#: sentence: a property's value, a flavor's wish, whether it is met
MEETS: dict[str, tuple[str, str, bool]] = {
    "of two texts Nova compares the first": ("a", "s== a b", True),
    "and not the second": ("b", "s== a b", False),
    "of two numbers Nova compares the first": ("5", ">= 4 9", True),
    "and not the second number": ("5", ">= 9 4", False),
    "an operator without an operand is not met": ("5", ">=", False),
    "a text that is no number is not met": ("many", ">= 4", False),
    "any of the alternatives": ("b", "<or> a <or> b", True),
    "the word between the alternatives is none of them": ("<or>", "<or> a <or> b", False),
    "all of them": ("sse avx", "<all-in> sse avx", True),
    "not all of them": ("sse", "<all-in> sse avx", False),
    "all of none": ("sse", "<all-in>", False),
    "without an operator the same text": ("true", "true", True),
    "the empty text is the empty text": ("", "", True),
}


@pytest.mark.parametrize("sentence", MEETS)
def test_R21_a_value_meets_a_wish_as_in_nova(sentence: str) -> None:
    value, wish, met = MEETS[sentence]
    assert meets(value, wish) is met
