"""CPU models as sets of features, enough to say which guest may run where.

Each generation has all that the earlier ones of its vendor have: a simplification of libvirt's cpu_map that keeps the
one rule that matters here, a destination must offer every feature of the source.
"""

from __future__ import annotations

from dataclasses import dataclass

_INTEL = (
    ("Conroe", "sse sse2 pni ssse3 lm nx lahf_lm"),
    ("Penryn", "cx16 sse4.1"),
    ("Nehalem", "sse4.2 popcnt"),
    ("Westmere", "aes"),
    ("SandyBridge", "pclmuldq x2apic tsc-deadline xsave avx rdtscp"),
    ("IvyBridge", "f16c rdrand fsgsbase smep erms"),
    ("Haswell", "fma movbe bmi1 avx2 bmi2 invpcid pcid"),
    ("Broadwell", "rdseed adx smap 3dnowprefetch"),
    ("Skylake-Client", "xsavec xgetbv1"),
    ("Skylake-Server", "avx512f avx512dq avx512cd avx512bw avx512vl clwb pdpe1gb"),
    ("Cascadelake-Server", "avx512vnni ssbd"),
    ("Icelake-Server", "avx512vbmi avx512ifma gfni vaes sha-ni"),
    ("SapphireRapids", "avx512-bf16 amx-tile amx-int8"),
)
_AMD = (
    (
        "Opteron_G5",
        "sse sse2 pni ssse3 lm nx lahf_lm cx16 sse4.1 sse4.2 popcnt aes pclmuldq avx f16c fma svm",
    ),
    ("EPYC", "avx2 bmi1 bmi2 rdrand rdseed adx smap sha-ni clzero"),
    ("EPYC-Rome", "clwb rdpid wbnoinvd xsavec"),
    ("EPYC-Milan", "pcid invpcid vaes erms"),
    ("EPYC-Genoa", "avx512f avx512dq avx512cd avx512bw avx512vl avx512vnni gfni"),
)
#: what a suffix of libvirt's names adds (`-IBRS`) or leaves as it is (`-noTSX`, `-v2`)
_SUFFIXES = {"-IBRS": frozenset({"spec-ctrl"}), "-IBPB": frozenset({"ibpb"})}


def _generations(table: tuple[tuple[str, str], ...]) -> dict[str, frozenset[str]]:
    models: dict[str, frozenset[str]] = {}
    features: frozenset[str] = frozenset()
    for name, added in table:
        features |= set(added.split())
        models[name] = features
    return models


_MODELS = _generations(_INTEL) | _generations(_AMD)


def model_features(model: str) -> frozenset[str]:
    """The features of a libvirt CPU model name; an unknown one has none but its own name."""
    added: frozenset[str] = frozenset()
    for suffix, features in _SUFFIXES.items():
        if suffix in model:
            model, added = model.replace(suffix, ""), added | features
    base = model.split("-noTSX")[0]
    return _MODELS.get(base, frozenset({f"model:{base}"})) | added


@dataclass(frozen=True, slots=True)
class Cpu:
    """A host's processor as libvirt reports it."""

    model: str
    vendor: str
    features: frozenset[str]

    @property
    def all_features(self) -> frozenset[str]:
        return model_features(self.model) | self.features

    def runs(self, guest: Cpu) -> bool:
        """Whether a guest that saw `guest` may run here (libvirt: this CPU is a superset or identical)."""
        return self.vendor == guest.vendor and guest.all_features <= self.all_features

    @property
    def traits(self) -> list[str]:
        """Placement's standard names of what it can."""
        words = sorted(feature for feature in self.all_features if not feature.startswith("model:"))
        names = {_TRAITS.get(word, f"HW_CPU_X86_{word.upper().replace('-', '_').replace('.', '')}") for word in words}
        return sorted(names)


_TRAITS = {
    "pni": "HW_CPU_X86_SSE3",
    "sse4.1": "HW_CPU_X86_SSE41",
    "sse4.2": "HW_CPU_X86_SSE42",
    "aes": "HW_CPU_X86_AESNI",
}
