"""CPU models as sets of features: the part of libvirt's CPU map that Nova's comparisons of hosts need.

The tables are written by hand, oldest generation first; a model has the features of all models before it.
"""

_ADDED_BY_GENERATION = {
    "Conroe": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
    "fxsr sse sse2 pni ssse3 syscall nx lm lahf_lm",
    "Penryn": "cx16 sse4.1",
    "Nehalem": "sse4.2 popcnt",
    "Westmere": "aes",
    "SandyBridge": "pclmuldq x2apic tsc-deadline xsave avx rdtscp",
    "IvyBridge": "f16c rdrand fsgsbase smep erms",
    "Haswell-noTSX": "fma movbe bmi1 avx2 bmi2 invpcid pcid",
    "Broadwell-noTSX": "rdseed adx smap 3dnowprefetch",
    "Skylake-Server": "xsavec xgetbv1 avx512f avx512dq avx512cd avx512bw avx512vl clwb pdpe1gb",
    "Cascadelake-Server": "avx512vnni ssbd",
}


def _models():
    models, features = {}, frozenset()
    for generation, added in _ADDED_BY_GENERATION.items():
        features |= frozenset(added.split())
        models[generation] = features
        models[f"{generation}-IBRS"] = features | {"spec-ctrl"}
    models["qemu64"] = models["kvm64"] = models["Conroe"] - {"ssse3", "lahf_lm"}
    return models


#: features by model name
MODELS = _models()


def best_model(features):
    """Return the model with the most features of which all are in `features`."""
    usable = (model for model, needed in MODELS.items() if needed <= features)
    return max(usable, key=lambda model: len(MODELS[model]), default="qemu64")
