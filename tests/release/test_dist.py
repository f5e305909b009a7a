"""`make dist`: the same bytes twice, and each of them does what it is for."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
import yaml

from helm.generate import CHART
from release import krew, pins, tree
from release.dist import dist
from tests.helm.chart import helm
from vmferry import __version__

pytestmark = pytest.mark.kubernetes  # helm comes along with it

ROOT = Path(__file__).resolve().parents[2]
V = __version__
#: identifiers of formats, examples, and what Nova's own messages say: nothing is fetched from there
NAMES_ONLY = (
    r"https?://(cyclonedx\.org/schema/|json-schema\.org/|www\.apache\.org/licenses/|\S*\bexample(\.com|\.org)?\b"
)
NAMES_ONLY += r"|libvirt\.org/html/|docs\.openstack\.org/|127\.0\.0\.1|localhost)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("dist")
    dist(ROOT, folder)
    yield folder
    shutil.rmtree(folder)


def test_the_same_commit_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    """In another folder, at another time, under another umask and without what git does not know."""
    other = tmp_path / "elsewhere" / "clone"
    tree.copy(ROOT, other)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(other)]
    at = tree.epoch(ROOT)
    dates = {"GIT_AUTHOR_DATE": f"@{at} +0000", "GIT_COMMITTER_DATE": f"@{at} +0000"}
    for args in (["init", "--quiet"], ["add", "--all", "--force"], ["commit", "--quiet", "--message=the same"]):
        subprocess.run([*git, *args], check=True, env={**os.environ, **dates})
    (other / "operator" / "vmferry" / "left-over.py").write_text("raise SystemExit\n")
    before = os.umask(0o077)
    try:
        dist(other, tmp_path / "dist")
    finally:
        os.umask(before)
    assert (tmp_path / "dist" / "SHA256SUMS").read_text() == (made / "SHA256SUMS").read_text()


def test_each_file_has_its_checksum(made: Path) -> None:
    lines = [line.split("  ") for line in (made / "SHA256SUMS").read_text().splitlines()]
    sums = {name: told for told, name in lines}
    archive = f"kubectl-ferry-{V}-{sys.platform}-{krew._ARCHITECTURES[platform.machine()]}.tar.gz"
    package = {f"vmferry-{V}-py3-none-any.whl", f"vmferry-{V}.tar.gz", f"vmferry-{V}.tgz", f"vmferry-{V}.cdx.json"}
    assert sums.keys() == package | {archive, "ferry.yaml", "install.yaml"}
    assert sums.keys() | {"SHA256SUMS"} == {path.name for path in made.iterdir()}
    for name, told in sums.items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == told


def test_the_wheel_works_in_an_empty_environment(made: Path, tmp_path: Path) -> None:
    """The environment has what the pins install and nothing of this repository."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "pinned.pth").write_text(f"{sysconfig.get_path('platlib')}\n")
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, str(made / f"vmferry-{V}-py3-none-any.whl")], check=True)
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    def said(*command: str) -> str:
        program = str(environment / "bin" / command[0])
        done = subprocess.run([program, *command[1:]], cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert said("vmferry", "version") == f"{V}\n"
    assert "usage: kubectl ferry" in said("kubectl-ferry", "--help")
    where = said("python", "-c", "import vmferry; print(vmferry.__file__)").strip()
    assert Path(where).is_relative_to(environment)
    fleets = "import vmferry.simulator, pathlib; print(*pathlib.Path(vmferry.simulator.__path__[0]).rglob('*.yaml'))"
    assert "lab.yaml" in said("python", "-c", fleets), "what is no code comes along"


def test_the_plug_in_runs_from_its_archive_alone(made: Path, tmp_path: Path) -> None:
    with tarfile.open(made / krew.archive_name()) as tar:
        assert {one.name.split("/")[0] for one in tar} == {"LICENSE", "kubectl-ferry", "lib"}
        tar.extractall(tmp_path / "store", filter="data")
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "kubectl-ferry"
    link.symlink_to(tmp_path / "store" / "kubectl-ferry")
    base = Path(sys.base_prefix) / "bin"
    clean = {"PATH": f"{base}:/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [str(link), "live", "shop/web-1", "--name", "web-1", "--dry-run=client"]
    done = subprocess.run(command, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["spec"]["server"] == {"name": "web-1", "project": "shop"}
    asked = subprocess.run([str(link), "preflight", "--help"], env=clean, capture_output=True, text=True)
    assert asked.returncode == 0 and "Usage" in asked.stdout, asked.stderr
    (tmp_path / "poor").mkdir()
    for tool in ("dirname", "readlink", "sh"):
        (tmp_path / "poor" / tool).symlink_to(str(shutil.which(tool)))
    alone = subprocess.run(command, env={**clean, "PATH": str(tmp_path / "poor")}, capture_output=True, text=True)
    assert (alone.returncode, alone.stderr) == (2, f"kubectl ferry needs Python {krew.PYTHON} on the PATH\n")


def test_krews_manifest_has_the_archives_own_checksums(made: Path) -> None:
    text = (made / "ferry.yaml").read_text()
    assert set(re.findall(r"\$\{\w+\}", text)) == {"${HOMEPAGE}", "${ARCHIVES}"}, "only where they lie is left open"
    spec = yaml.safe_load(Template(text).substitute(HOMEPAGE="https://h.example", ARCHIVES="https://a.example"))["spec"]
    (one,) = spec["platforms"]
    archive = made / one["uri"].rpartition("/")[2]
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == one["sha256"]


def test_the_chart_is_the_one_of_the_repository(made: Path, tmp_path: Path) -> None:
    chart = made / f"vmferry-{V}.tgz"
    shown = yaml.safe_load(helm(tmp_path, "show", "chart", chart))
    assert (shown["version"], shown["appVersion"]) == (V, V)
    assert helm(tmp_path, "template", "vmferry", chart) == helm(tmp_path, "template", "vmferry", CHART)


def test_install_yaml_has_each_object_in_an_order_that_works(made: Path) -> None:
    bodies = [one for one in yaml.safe_load_all((made / "install.yaml").read_text()) if one]
    kinds = [one["kind"] for one in bodies]
    sources = [*(ROOT / "crds").glob("*.yaml"), *(ROOT / "manifests/operator").glob("*.yaml")]
    wanted = [
        one
        for path in sources
        if path.name not in ("example-clouds-secret.yaml", "kustomization.yaml")
        for one in yaml.safe_load_all(path.read_text())
        if one
    ]
    key = lambda one: (one["kind"], one["metadata"]["name"])  # noqa: E731
    assert sorted(bodies, key=key) == sorted(wanted, key=key)
    assert kinds[0] == "Namespace" and kinds[-1] == "Deployment" and "Secret" not in kinds
    assert kinds.index("ServiceAccount") < kinds.index("ClusterRoleBinding")


def test_the_bill_of_materials_tells_what_runs(made: Path) -> None:
    bill = json.loads((made / f"vmferry-{V}.cdx.json").read_text())
    root = bill["metadata"]["component"]
    wheel = hashlib.sha256((made / f"vmferry-{V}-py3-none-any.whl").read_bytes()).hexdigest()
    assert (root["name"], root["version"], root["hashes"]) == ("vmferry", V, [{"alg": "SHA-256", "content": wheel}])
    pinned = pins.read((ROOT / "constraints.txt").read_text())
    names = {one["name"] for one in bill["components"]}
    assert {"kopf", "kubernetes", "openstacksdk", "pydantic-core", "requests"} <= names
    assert not names & {"pytest", "mypy", "hypothesis", "cyclonedx-python-lib"}, "only builds and tests"
    for one in bill["components"]:
        pin = pinned[one["name"]]
        assert one["version"] == pin.version and one["purl"] == f"pkg:pypi/{pin.name}@{pin.version}"
        assert tuple(sorted(hash["content"] for hash in one["hashes"])) == pin.sha256
        assert one["licenses"]
    told = {one["ref"]: set(one.get("dependsOn", ())) for one in bill["dependencies"]}
    reached, todo = set(), [root["bom-ref"]]
    while todo:
        if (ref := todo.pop()) not in reached:
            reached.add(ref)
            todo += told[ref]
    assert reached == {root["bom-ref"]} | {one["bom-ref"] for one in bill["components"]}, "all come from somewhere"


def test_no_file_says_where_to_fetch_something(made: Path) -> None:
    """Not even the index that the pins came from; of the plug-in's archive only what is ours."""
    texts: dict[str, bytes] = {}
    for path in made.iterdir():
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as zipped:
                texts |= {f"{path.name}:{name}": zipped.read(name) for name in zipped.namelist()}
        elif path.name.endswith((".tgz", ".tar.gz")):
            with tarfile.open(path) as tar:
                for info in tar:
                    file = tar.extractfile(info)
                    theirs = info.name.startswith("lib/") and not info.name.startswith("lib/vmferry/")
                    if file is not None and not theirs:
                        texts[f"{path.name}:{info.name}"] = file.read()
        else:
            texts[path.name] = path.read_bytes()
    found = {
        (name, address)
        for name, content in texts.items()
        for address in re.findall(rb"https?://[a-z0-9][^\s\"'<>`)]*", content)
        if not re.match(NAMES_ONLY.encode(), address)
    }
    assert not found
