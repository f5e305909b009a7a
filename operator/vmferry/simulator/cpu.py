"""CPU models as sets of features, which decide where a guest can run.

Each generation has all features of the earlier generations of its vendor. This simplifies libvirt's cpu_map but keeps
its rule that a destination must offer every feature of the source.
"""

from __future__ import annotations

from dataclasses import dataclass

_INTEL = (
    (
        "Conroe",
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni ssse3 "
        "syscall nx lm lahf_lm",
    ),
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
        "mmx sse sse2 pni ssse3 lm nx lahf_lm cx16 sse4.1 sse4.2 popcnt aes pclmuldq avx f16c fma svm",
    ),
    ("EPYC", "avx2 bmi1 bmi2 rdrand rdseed adx smap sha-ni clzero"),
    ("EPYC-Rome", "clwb rdpid wbnoinvd xsavec"),
    ("EPYC-Milan", "pcid invpcid vaes erms"),
    ("EPYC-Genoa", "avx512f avx512dq avx512cd avx512bw avx512vl avx512vnni gfni"),
)
#: what a suffix of libvirt's CPU model names adds (`-IBRS`); other suffixes add nothing (`-noTSX`, `-v2`)
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
    """The features of a libvirt CPU model name. An unknown name has its own name as its only feature."""
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
        """Whether a guest with this CPU can run here (libvirt's rule: the host CPU is identical or a superset)."""
        return self.vendor == guest.vendor and guest.all_features <= self.all_features

    @property
    def traits(self) -> list[str]:
        """Placement's standard traits for its features, as far as Nova reports them."""
        return sorted(f"HW_CPU_X86_{_TRAITS[feature]}" for feature in self.all_features & _TRAITS.keys())


_TRAITS = {
    "aes": "AESNI",
    "avx": "AVX",
    "avx2": "AVX2",
    "avx512bw": "AVX512BW",
    "avx512cd": "AVX512CD",
    "avx512dq": "AVX512DQ",
    "avx512f": "AVX512F",
    "avx512ifma": "AVX512IFMA",
    "avx512vbmi": "AVX512VBMI",
    "avx512vl": "AVX512VL",
    "avx512vnni": "AVX512VNNI",
    "bmi1": "BMI",
    "bmi2": "BMI2",
    "f16c": "F16C",
    "fma": "FMA3",
    "gfni": "AVX512GFNI",
    "mmx": "MMX",
    "pclmuldq": "CLMUL",
    "sha-ni": "SHA",
    "sse": "SSE",
    "sse2": "SSE2",
    "sse4.1": "SSE41",
    "sse4.2": "SSE42",
    "ssse3": "SSSE3",
    "svm": "SVM",
    "vaes": "AVX512VAES",
}
