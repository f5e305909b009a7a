"""What helm makes of the chart, without a server: every combination of switches, and values that it refuses."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from helm.generate import CHART, ROOT
from tests.helm.chart import NAMESPACE, HelmError, Objects, helm, one, render
from tests.helm.switches import COMBINATIONS, SWITCHES, values_of
from vmferry.__main__ import main
from vmferry.runtime.config import Config, parse

# helm is built along with the API server
pytestmark = pytest.mark.kubernetes

MANIFESTS = ROOT / "manifests" / "operator"
KEYS = {"clouds": {"openstack": {"auth": {"auth_url": "https://keystone.example.com/v3"}}}}


def test_every_pair_of_switches_is_in_some_combination() -> None:
    for (first, ones), (second, others) in itertools.combinations(SWITCHES.items(), 2):
        for pair in itertools.product(ones, others):
            assert any((c[first], c[second]) == pair for c in COMBINATIONS), (first, second, pair)


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: ",".join(c.values()))
def test_it_renders(combination: Mapping[str, str], tmp_path: Path) -> None:
    values = values_of(combination)
    objects = render(tmp_path, values)
    names = [(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(names)) == len(names)
    kinds = {o["kind"] for o in objects}
    for kind, present in {
        "CustomResourceDefinition": combination["crds"] != "none",
        "Secret": combination["cloud"] == "inline",
        "PodDisruptionBudget": combination["config"] != "unelected",
        "NetworkPolicy": combination["network"] != "open",
        "ServiceMonitor": combination["monitoring"] == "all",
        "PrometheusRule": combination["monitoring"] == "all",
    }.items():
        assert (kind in kinds) == present, kind
    config = one(objects, "ConfigMap", one(objects, "Deployment")["metadata"]["name"])
    parse(yaml.safe_load(config["data"]["config.yaml"]), {"POD_NAMESPACE": NAMESPACE})


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: ",".join(c.values()))
def test_helm_has_nothing_to_complain_about(combination: Mapping[str, str], tmp_path: Path) -> None:
    helm(tmp_path, "lint", "--strict", CHART, values=values_of(combination))


#: English sentence: the values, and the words that helm refuses them with
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a value that does not exist": ({"replica": 2}, "additional properties 'replica' not allowed"),
    "a key of the configuration that does not exist": (
        {"config": {"policy": {"limits": {"perSorce": 1}}}},
        "at '/config/policy/limits': additional properties 'perSorce' not allowed",
    ),
    "a key of the configuration that is the chart's": (
        {"config": {"health": {"port": 1}}},
        "additional properties 'health' not allowed",
    ),
    "a limit of nothing": ({"config": {"policy": {"limits": {"total": 0}}}}, "/limits/total': minimum: got 0, want 1"),
    "a duration without a unit": ({"config": {"resync": 10}}, "at '/config/resync': got number, want string"),
    "a duration in days": ({"config": {"resync": "1d"}}, "at '/config/resync': '1d' does not match pattern"),
    "a prerequisite that does not exist": (
        {"config": {"policy": {"tolerateUnknown": ["CPUModell"]}}},
        "at '/config/policy/tolerateUnknown/0': value must be one of 'PowerState'",
    ),
    "a pool without a name": (
        {"config": {"policy": {"sharedStorage": [{"hosts": ["a"]}]}}},
        "missing property 'name'",
    ),
    "a digest that is none": ({"image": {"digest": "latest"}}, "at '/image/digest': 'latest' does not match pattern"),
    "a switch that is a word": ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want boolean"),
    "a section that is taken away": ({"image": None}, "missing property 'image'"),
    "a port beyond all ports": ({"networkPolicy": {"egressPorts": [70000]}}, "maximum: got 70,000, want 65,535"),
    "two operators without a Lease": (
        {"replicas": 2, "config": {"leaderElection": {"enabled": False}}},
        "replicas must be 1 while config.leaderElection.enabled is not true",
    ),
    "two sources of clouds.yaml": (
        {"cloud": {"existingSecret": "a", "cloudsYaml": "clouds: {}"}},
        "cloud.existingSecret and cloud.cloudsYaml or cloud.caCert exclude each other",
    ),
    "a certificate without its cloud": ({"cloud": {"caCert": "PEM"}}, "cloud.caCert goes with cloud.cloudsYaml"),
    "moves of a maintenance where nobody looks": (
        {"config": {"namespaces": ["migrations"]}},
        f"config.namespaces must contain {NAMESPACE}, where the VMMigrations of a maintenance are created",
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_it_refuses(sentence: str, tmp_path: Path) -> None:
    values, words = REFUSED[sentence]
    with pytest.raises(HelmError) as caught:
        render(tmp_path, values)
    assert words in str(caught.value)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """With the default values."""
    return render(tmp_path_factory.mktemp("helm"), {})


@pytest.fixture
def plain(rendered: Objects) -> Objects:
    """The same; a test may change what it is given."""
    return deepcopy(rendered)


def manifests(name: str) -> Objects:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


#: by kind: what two releases in one cluster must not share carries the namespace of its release
OPERATORS = {"ClusterRole": "vmferry-system-vmferry", "Role": "vmferry"}


@pytest.mark.parametrize("kind", OPERATORS)
def test_the_operator_may_do_what_its_manifests_say(plain: Objects, kind: str) -> None:
    assert one(plain, kind, OPERATORS[kind])["rules"] == one(manifests("rbac.yaml"), kind)["rules"]


@pytest.mark.parametrize("kind", ["ClusterRoleBinding", "RoleBinding"])
def test_the_bindings_are_those_of_the_manifests(plain: Objects, kind: str) -> None:
    mine, theirs = one(plain, kind), one(manifests("rbac.yaml"), kind)
    assert mine["subjects"] == theirs["subjects"]
    role = {"name": OPERATORS[kind.removesuffix("Binding")]}
    assert mine["roleRef"] == theirs["roleRef"] | role


def test_the_pod_is_that_of_the_manifests(plain: Objects) -> None:
    mine = one(plain, "Deployment")["spec"]
    theirs = one(manifests("deployment.yaml"), "Deployment")["spec"]
    (container,) = mine["template"]["spec"]["containers"]
    assert container.pop("imagePullPolicy") == "IfNotPresent"
    for deployment in (mine, theirs):
        (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
        # the labels differ: a release adds its own
        assert spread.pop("labelSelector") == deployment["selector"]
    assert mine["template"]["spec"] == theirs["template"]["spec"]
    for part in ("replicas", "strategy"):
        assert mine.get(part) == theirs.get(part)


def test_without_a_lease_there_are_never_two_operators(tmp_path: Path) -> None:
    values = {"replicas": 1, "config": {"leaderElection": {"enabled": False}}}
    objects = render(tmp_path, values)
    assert one(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert "topologySpreadConstraints" not in one(objects, "Deployment")["spec"]["template"]["spec"]


def test_the_operator_may_read_the_kill_switch_and_the_resume_marks_of_another_name(tmp_path: Path) -> None:
    rendered = render(tmp_path, {"config": {"stopSwitch": "halt", "resumeMarks": "again"}})
    roles = {role["metadata"]["name"]: role["rules"] for role in rendered if role["kind"] == "Role"}
    named = {name: [rule.get("resourceNames") for rule in rules] for name, rules in roles.items()}
    assert named == {"vmferry": [None, ["halt", "again"]], "vmferry-resume": [["again"], None]}


def test_the_definitions_are_those_of_crds_and_stay(plain: Objects) -> None:
    found = [o for o in plain if o["kind"] == "CustomResourceDefinition"]
    for crd in found:
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        crd["metadata"].pop("labels")
    assert found == [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]


def test_the_default_configuration_is_the_operators_own(plain: Objects) -> None:
    given = yaml.safe_load(one(plain, "ConfigMap")["data"]["config.yaml"])
    assert given.pop("cloud") == {"name": "openstack", "cloudsFile": "/etc/vmferry/cloud/clouds.yaml"}
    assert given.pop("health") == {"address": "*", "port": 8080}
    assert parse(given, {"POD_NAMESPACE": NAMESPACE}) == Config()


def test_moves_lie_in_the_namespace_of_the_release(tmp_path: Path) -> None:
    given = one(render(tmp_path, {}, namespace="ferry"), "ConfigMap")["data"]["config.yaml"]
    assert parse(yaml.safe_load(given), {"POD_NAMESPACE": "ferry"}).policy.maintenance.namespace == "ferry"


def test_a_new_configuration_or_cloud_starts_the_operator_anew(tmp_path: Path) -> None:
    def annotations(values: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = one(render(tmp_path, values), "Deployment")["spec"]["template"]["metadata"][
            "annotations"
        ]
        return found

    inline = {"cloud": {"cloudsYaml": yaml.safe_dump(KEYS)}}
    assert annotations({}) == annotations({"serviceMonitor": {"enabled": True}})
    assert annotations({}) != annotations({"config": {"workers": 5}})
    assert annotations(inline) != annotations({"cloud": {"cloudsYaml": "clouds: {}"}})


def test_only_looking_is_open_to_everybody_with_a_role_of_kubernetes(plain: Objects) -> None:
    into = {
        o["metadata"]["name"]: [k for k in o["metadata"]["labels"] if "aggregate-to-" in k]
        for o in plain
        if o["kind"] == "ClusterRole"
    }
    assert into == {
        "vmferry-system-vmferry": [],
        "vmferry-viewer": ["rbac.authorization.k8s.io/aggregate-to-view"],
        "vmferry-editor": [],
        "vmferry-admin": [],
    }


def test_the_check_before_uninstalling_is_as_restricted_as_the_operator(plain: Objects) -> None:
    hook, operator = one(plain, "Job"), one(plain, "Deployment")
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    mine, theirs = (one_["spec"]["template"]["spec"] for one_ in (hook, operator))
    for part in ("serviceAccountName", "securityContext"):
        assert mine[part] == theirs[part]
    (check,), (container,) = mine["containers"], theirs["containers"]
    for part in ("image", "imagePullPolicy", "securityContext", "resources"):
        assert check[part] == container[part]
    selector = operator["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= hook["spec"]["template"]["metadata"]["labels"].items()


def test_the_check_looks_where_the_operator_does(tmp_path: Path) -> None:
    job = one(render(tmp_path, {"config": {"namespaces": ["shop", NAMESPACE]}}), "Job")
    (check,) = job["spec"]["template"]["spec"]["containers"]
    assert check["args"] == ["uninstall-check", "--namespace=shop", f"--namespace={NAMESPACE}"]
    done = CliRunner().invoke(main, [*check["args"], "--help"])
    assert done.exit_code == 0, "the image's program knows all that"


def test_an_inline_cloud_is_mounted_from_the_secret_that_is_made(tmp_path: Path) -> None:
    objects = render(tmp_path, {"cloud": {"cloudsYaml": yaml.safe_dump(KEYS), "caCert": "PEM"}})
    secret = one(objects, "Secret")
    volumes = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "cloud", "secret": {"secretName": secret["metadata"]["name"]}} in volumes
    assert secret["data"].keys() == {"clouds.yaml", "ca.crt"}


def test_the_dashboard_is_whole(tmp_path: Path) -> None:
    config_map = one(render(tmp_path, {"dashboard": {"enabled": True}}), "ConfigMap", "vmferry-dashboard")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    given = json.loads(config_map["data"]["vmferry.json"])
    assert given == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_alerts_look_at_this_release_only(tmp_path: Path) -> None:
    groups = one(render(tmp_path, {"prometheusRule": {"enabled": True}}), "PrometheusRule")["spec"]["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    release = f'job="vmferry", namespace="{NAMESPACE}"'
    assert rules["VmferryAbsent"]["expr"] == f"absent(vmferry_build_info{{{release}}})"
    for rule in rules.values():
        selectors = re.findall(r"\b(?:vmferry|process)_\w+(?:\{([^}]*)\})?", rule["expr"])
        assert selectors and all(selector.startswith(release) for selector in selectors), rule["expr"]
    summary = rules["VmferryPassesFail"]["annotations"]["summary"]
    assert summary == "Reconciles of {{ $labels.kind }} objects fail repeatedly"


@pytest.mark.parametrize("base", ["https://wiki.example.com/vmferry", "https://wiki.example.com/vmferry/"])
def test_each_alert_links_to_its_page(base: str, tmp_path: Path) -> None:
    rule = one(render(tmp_path, {"prometheusRule": {"enabled": True, "runbooks": base}}), "PrometheusRule")
    for group in rule["spec"]["groups"]:
        for one_ in group["rules"]:
            assert one_["annotations"]["runbook_url"] == f"https://wiki.example.com/vmferry/{one_['alert']}.md"


def test_service_and_policy_select_the_operator_and_not_the_pod_of_helm_test(tmp_path: Path) -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render(tmp_path, {"networkPolicy": {"enabled": True, "ingressFrom": peers}})
    selector = one(objects, "Service")["spec"]["selector"]
    policy = one(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"] == selector
    assert selector.items() <= one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    pod = one(objects, "Pod")["metadata"]["labels"]
    assert not selector.items() <= pod.items()
    (ingress,) = policy["ingress"]
    assert ingress["from"] == [*peers, {"podSelector": {"matchLabels": pod}}]


POLICIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "by default the port for probes is open, and nothing else": (
        {},
        {"types": ["Ingress"], "ingress": [{"ports": [{"protocol": "TCP", "port": "health"}]}], "egress": None},
    ),
    "ports that are named are the only ones to be reached, beside DNS": (
        {"egressPorts": [443, 5000]},
        {
            "types": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": "health"}]}],
            "egress": [
                {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {"ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 5000}]},
            ],
        },
    ),
}


@pytest.mark.parametrize("sentence", POLICIES)
def test_the_network_policy(sentence: str, tmp_path: Path) -> None:
    values, wanted = POLICIES[sentence]
    policy = one(render(tmp_path, {"networkPolicy": values} if values else {}), "NetworkPolicy")["spec"]
    assert (policy["policyTypes"], policy["ingress"], policy.get("egress")) == tuple(wanted.values())


def test_a_part_of_another_chart(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "vmferry").symlink_to(CHART)
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 0.0.1\n")
    text = helm(tmp_path, "template", "all", parent, values={"vmferry": {"replicas": 0}, "global": {"a": 1}})
    assert "name: all-vmferry\n" in text
