"""The alerts, by Prometheus' own tool: each fires when it should, and on nothing else; and each has its page."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.generate import CHART, ROOT
from testbed.prometheus import install
from tests.helm.test_generated import metric_names
from vmferry.cli.ferry.arguments import parser

# Prometheus is installed along with the API server
pytestmark = pytest.mark.kubernetes

FILE = CHART / "files" / "alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
}
RUNBOOKS = ROOT / "docs" / "runbooks"
#: minutes; longer than any alert waits
LONG = 250

#: name and labels of a series, and its values in Prometheus' shorthand: `begin+step x times`, a value a minute
Series = Mapping[str, str]


def always(value: int) -> str:
    return f"{value}x{LONG}"


def growing(by: float, begin: int = 0) -> str:
    return f"{begin}+{by}x{LONG}"


def bucket(metric: str, labels: str, **per_minute: float) -> dict[str, str]:
    """A histogram whose buckets grow; `le_10=60` is the bucket up to 10."""
    return {f'{metric}_bucket{{{labels}le="{le[3:]}"}}': growing(by) for le, by in per_minute.items()}


#: two operators that have enough to do and nothing to complain about
HEALTHY: Series = {
    'vmferry_build_info{instance="a"}': always(1),
    'vmferry_build_info{instance="b"}': always(1),
    'vmferry_leader{instance="a"}': always(1),
    'vmferry_leader{instance="b"}': always(0),
    'vmferry_leader_transitions_total{instance="a"}': always(1),
    'process_start_time_seconds{instance="a"}': always(1000),
    "vmferry_stopped{}": always(0),
    'vmferry_passes_total{kind="VMMigration",result="done"}': growing(30),
    'vmferry_passes_total{kind="VMMigration",result="failed"}': growing(0.2),
    "vmferry_queue_length{}": always(5),
    'vmferry_unreadable_objects{kind="VMMigration"}': always(0),
    'vmferry_kubernetes_requests_total{verb="get",resource="leases",code="200"}': growing(60),
    'vmferry_kubernetes_requests_total{verb="get",resource="leases",code="none"}': growing(1),
    'vmferry_kubernetes_refused_writes_total{verb="create",resource="vmmigrations"}': growing(0.02),
    "vmferry_kubernetes_set_back_total{}": always(1),
    # the clock begins at 0
    'vmferry_cloud_view_timestamp_seconds{part="hosts",instance="a"}': growing(60),
    'vmferry_cloud_view_timestamp_seconds{part="hosts",instance="b"}': growing(60),
    'vmferry_cloud_requests_total{service="compute",operation="o",code="200"}': growing(60),
    'vmferry_cloud_requests_total{service="compute",operation="o",code="404"}': growing(30),
    'vmferry_cloud_requests_total{service="compute",operation="o",code="503"}': growing(1),
    **bucket("vmferry_cloud_request_duration_seconds", 'service="compute",', le_1=59, le_10=60, le_30=60),
    'vmferry_cloud_request_duration_seconds_bucket{service="compute",le="+Inf"}': growing(60),
    'vmferry_cloud_actions_total{action="LiveMigrate",outcome="Accepted"}': growing(1),
    'vmferry_cloud_actions_total{action="LiveMigrate",outcome="Unanswered"}': growing(0.05),
    'vmferry_cloud_actions_total{action="LiveMigrate",outcome="Refused"}': growing(0.05),
    'vmferry_migrations_finished_total{type="Live",outcome="Succeeded"}': growing(1),
    'vmferry_migrations_finished_total{type="Live",outcome="Failed"}': growing(0.1),
    'vmferry_migrations{type="Live",phase="Queued"}': always(4),
    'vmferry_migrations{type="Live",phase="Migrating"}': always(2),
    'vmferry_migrations_past_deadline{type="Live",instance="a"}': always(0),
    'vmferry_migrations_past_deadline{type="Live",instance="b"}': always(0),
    'vmferry_blocked{kind="VMMigration",reason="Locked"}': always(0),
    'vmferry_blocked{kind="HostMaintenance",reason="Conflict"}': always(0),
    'vmferry_maintenance_blockers{reason="Locked"}': always(0),
    'vmferry_open_breakers{scope="host"}': always(0),
    'vmferry_open_breakers{scope="cloud"}': always(0),
}

#: English sentence: the alert, what is different, and after how many minutes it does and does not fire
FIRES: dict[str, tuple[str, Series, int, int]] = {
    "nobody is scraped": ("VmferryAbsent", dict.fromkeys((key for key in HEALTHY if "build_info" in key), ""), 11, 9),
    "nobody leads": ("VmferryNoLeader", {'vmferry_leader{instance="a"}': always(0)}, 6, 4),
    "two lead": ("VmferryManyLeaders", {'vmferry_leader{instance="b"}': always(1)}, 3, 1),
    "leaders come and go": (
        "VmferryLeaderFlaps",
        {'vmferry_leader_transitions_total{instance="a"}': growing(0.1, 1)},
        60,
        20,
    ),
    "it restarts every ten minutes": (
        "VmferryRestarts",
        {'process_start_time_seconds{instance="a"}': growing(60)},
        60,
        2,
    ),
    "the kill switch stays on": ("VmferryStopped", {"vmferry_stopped{}": always(1)}, 61, 59),
    "the breaker of a host opens": ("VmferryBreakerOpen", {'vmferry_open_breakers{scope="host"}': "0x9 1x200"}, 10, 9),
    "looks fail": (
        "VmferryPassesFail",
        {'vmferry_passes_total{kind="HostMaintenance",result="failed"}': growing(1)},
        30,
        15,
    ),
    "the queue is long and stays long": ("VmferryQueueGrows", {"vmferry_queue_length{}": always(500)}, 16, 14),
    "an object cannot be read": (
        "VmferryUnreadableObjects",
        {'vmferry_unreadable_objects{kind="VMMigration"}': always(1)},
        11,
        9,
    ),
    "the API server is not reached": (
        "VmferryKubernetesErrors",
        {'vmferry_kubernetes_requests_total{verb="get",resource="leases",code="none"}': growing(20)},
        15,
        9,
    ),
    "a right is missing": (
        "VmferryKubernetesErrors",
        {'vmferry_kubernetes_requests_total{verb="create",resource="events",code="403"}': growing(5)},
        15,
        9,
    ),
    "a policy refuses new migrations": (
        "VmferryWritesRefused",
        {'vmferry_kubernetes_refused_writes_total{verb="create",resource="vmmigrations"}': growing(1)},
        20,
        5,
    ),
    "an etcd was restored": (
        "VmferryKubernetesSetBack",
        {"vmferry_kubernetes_set_back_total{}": f"1x20 2x{LONG}"},
        22,
        20,
    ),
    "one operator's view stands still": (
        "VmferryCloudViewStale",
        {'vmferry_cloud_view_timestamp_seconds{part="hosts",instance="b"}': always(60)},
        12,
        10,
    ),
    "a part was never read": (
        "VmferryCloudViewStale",
        {'vmferry_cloud_view_timestamp_seconds{part="groups",instance="a"}': always(0)},
        11,
        9,
    ),
    "the cloud answers 503": (
        "VmferryCloudErrors",
        {'vmferry_cloud_requests_total{service="placement",operation="o",code="503"}': growing(5)},
        15,
        9,
    ),
    "the password is wrong": (
        "VmferryCloudErrors",
        {'vmferry_cloud_requests_total{service="identity",operation="log in",code="none"}': growing(1)},
        15,
        9,
    ),
    "a tenth of the requests takes long": (
        "VmferryCloudSlow",
        bucket("vmferry_cloud_request_duration_seconds", 'service="compute",', le_1=50, le_10=52, le_30=60),
        20,
        14,
    ),
    "requests for moves get no answer": (
        "VmferryCloudActionsUnanswered",
        {'vmferry_cloud_actions_total{action="LiveMigrate",outcome="Unanswered"}': growing(1)},
        16,
        2,
    ),
    "requests for moves are refused": (
        "VmferryCloudActionsRefused",
        {'vmferry_cloud_actions_total{action="LiveMigrate",outcome="Refused"}': growing(0.5)},
        60,
        10,
    ),
    "requests for moves meet a rate limit": (
        "VmferryCloudActionsRefused",
        {'vmferry_cloud_actions_total{action="LiveMigrate",outcome="NotNow"}': growing(2)},
        60,
        10,
    ),
    "every second migration fails": (
        "VmferryMigrationsFail",
        {'vmferry_migrations_finished_total{type="Live",outcome="Failed"}': growing(1)},
        60,
        2,
    ),
    "a migration is blocked": (
        "VmferryMigrationsBlocked",
        {'vmferry_blocked{kind="VMMigration",reason="Locked"}': always(1)},
        61,
        59,
    ),
    "what is queued does not begin": (
        "VmferryNothingMoves",
        {'vmferry_migrations{type="Live",phase="Migrating"}': always(0)},
        31,
        29,
    ),
    "a drain makes no progress": (
        "VmferryNoProgress",
        {'vmferry_blocked{kind="HostMaintenance",reason="NoProgress"}': always(1)},
        6,
        4,
    ),
    "a single migration makes no progress": (
        "VmferryNoProgress",
        {'vmferry_blocked{kind="VMMigration",reason="NoProgress"}': always(2)},
        6,
        4,
    ),
    "a migration does not end at its deadline while others end": (
        "VmferryMigrationStuck",
        {'vmferry_migrations_past_deadline{type="Live",instance="a"}': always(1)},
        16,
        14,
    ),
    "a server keeps its host from being empty": (
        "VmferryDrainBlocked",
        {
            'vmferry_maintenance_blockers{reason="Locked"}': always(1),
            'vmferry_blocked{kind="HostMaintenance",reason="Locked"}': always(1),
        },
        61,
        59,
    ),
    "two maintenances want one host": (
        "VmferryMaintenanceStalled",
        {'vmferry_blocked{kind="HostMaintenance",reason="Conflict"}': always(1)},
        31,
        29,
    ),
}

#: English sentence: what is different, and yet nothing fires after any time
QUIET: dict[str, Series] = {
    "a drain made no progress for a moment": {
        'vmferry_blocked{kind="HostMaintenance",reason="NoProgress"}': f"0x100 1x3 0x{LONG}",
    },
    "nothing is different": {},
    "live migrations are aborted at their deadlines and end soon": {
        'vmferry_migrations_past_deadline{type="Live",instance="a"}': f"0x100 1x5 0x10 1x5 0x{LONG}",
    },
    "a large migration runs for hours within its deadline": {
        'vmferry_migrations_finished_total{type="Live",outcome="Succeeded"}': always(7),
        'vmferry_migrations_finished_total{type="Live",outcome="Failed"}': always(7),
    },
    "nothing is there to be done": {key: "" for key in HEALTHY if "migrations" in key or "actions" in key},
    "a quota was met once": {
        'vmferry_kubernetes_refused_writes_total{verb="create",resource="vmmigrations"}': f"0x100 2x{LONG}",
    },
    "it was restarted once": {'process_start_time_seconds{instance="a"}': f"1000x120 8200x{LONG}"},
    "the leader changed once": {'vmferry_leader_transitions_total{instance="a"}': f"1x120 2x{LONG}"},
    "for a scrape nobody leads, in a handover": {'vmferry_leader{instance="a"}': f"1x100 0x2 1x{LONG}"},
    "the queue was long for a while": {"vmferry_queue_length{}": f"5x50 500x10 5x{LONG}"},
    "it was stopped, so what is queued does not begin": {
        "vmferry_stopped{}": f"0x100 1x50 0x{LONG}",
        'vmferry_migrations{type="Live",phase="Migrating"}': f"2x100 0x50 2x{LONG}",
    },
    "one migration failed in a quiet time": {
        'vmferry_migrations_finished_total{type="Cold",outcome="Failed"}': f"0x100 1x{LONG}",
        'vmferry_migrations_finished_total{type="Cold",outcome="Succeeded"}': always(0),
    },
    "many fail, of very many": {
        'vmferry_migrations_finished_total{type="Live",outcome="Failed"}': growing(2),
        'vmferry_migrations_finished_total{type="Live",outcome="Succeeded"}': growing(30),
    },
}


def case(different: Series, expected: Mapping[int, list[str]]) -> dict[str, Any]:
    """A test of promtool: at each of these minutes exactly these alerts fire."""
    release = 'job="vmferry",namespace="n"'
    series = {**HEALTHY, **different}
    return {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name.replace("{", f"{{{release},").replace(",}", "}"), "values": values}
                    for name, values in series.items()
                    if values
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
                    }
                    for minute, alerts in expected.items()
                ],
            }
        ],
    }


CASES = {sentence: case(new, {no: [], yes: [alert]}) for sentence, (alert, new, yes, no) in FIRES.items()}
CASES |= {sentence: case(new, {minute: [] for minute in range(10, LONG, 10)}) for sentence, new in QUIET.items()}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The alerts of one release, as a file that promtool reads."""
    path = tmp_path_factory.mktemp("alerts") / "alerts.yaml"
    path.write_text(FILE.read_text().replace("RELEASE", 'job="vmferry", namespace="n"'))
    return path


@pytest.fixture(scope="module")
def verdicts(rules: Path) -> dict[str, str]:
    """What promtool says of each case."""
    files = {rules.with_name(f"case-{number}.yaml"): sentence for number, sentence in enumerate(CASES)}
    for path, sentence in files.items():
        path.write_text(yaml.safe_dump(CASES[sentence], sort_keys=False))
    done = subprocess.run(
        [install().promtool, "test", "rules", *files], capture_output=True, text=True, cwd=rules.parent
    )
    told = re.findall(r"Unit Testing: +(\S+)\n(.*?)(?=Unit Testing:|\Z)", done.stdout + done.stderr, re.DOTALL)
    return {files[Path(path)]: words.strip() for path, words in told}


@pytest.mark.parametrize("sentence", CASES)
def test_exactly_the_right_alert_fires(sentence: str, verdicts: Mapping[str, str]) -> None:
    assert verdicts[sentence] == "SUCCESS"


def test_each_alert_is_seen_to_fire() -> None:
    assert {alert for alert, *_ in FIRES.values()} == set(RULES)


def test_promtool_has_nothing_to_complain_about(rules: Path) -> None:
    done = subprocess.run([install().promtool, "check", "rules", "--lint=all", rules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_says_how_bad_it_is_and_what_it_is(alert: str) -> None:
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"].endswith(".")
    assert alert.startswith("Vmferry")


# ---- their pages

#: of `kubectl ferry`
SUBCOMMANDS = {
    name for action in parser()._actions for name in (action.choices if isinstance(action.choices, dict) else ())
}


def page(alert: str) -> str:
    return (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("Vmferry*.md")} == set(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_a_page_says_what_it_means_how_to_look_and_what_to_do(alert: str) -> None:
    text = page(alert)
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert headings == [f"# {alert}", "## Impact", "## Diagnosis", "## Fix"]
    for part in re.split(r"^## .*$", text, flags=re.MULTILINE):
        assert len(part.strip()) > 40


@pytest.mark.parametrize("alert", RULES)
def test_a_page_names_only_what_exists(alert: str) -> None:
    text = page(alert)
    stored = metric_names() | {re.sub(r"_bucket$", "", name) for name in metric_names()}
    assert set(re.findall(r"\bvmferry_\w+", text)) <= stored
    asked = set(re.findall(r"\b(?:vmferry|process)_\w+(?=\{)", RULES[alert]["expr"]))
    named = {re.sub(r"_bucket$", "", metric) for metric in asked}
    assert any(metric in text for metric in named), f"the page names none of {named}"
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (RUNBOOKS / link).exists(), link
    for path in re.findall(r"`config\.([\w.]+)`", text):
        node: Any = yaml.safe_load((CHART / "values.yaml").read_text())["config"]
        for part in path.split("."):
            assert part in node, f"config.{path}"
            node = node[part]


@pytest.mark.parametrize("alert", RULES)
def test_a_page_has_commands_that_exist(alert: str) -> None:
    block = re.findall(r"^```\n(.*?)^```", page(alert), re.MULTILINE | re.DOTALL)
    inline = [" ".join(words.split()) for words in re.findall(r"`(kubectl [^`]*)`", page(alert))]
    commands = [line for lines in block for line in lines.splitlines() if line.startswith("kubectl ")]
    assert commands, "it says how to look"
    for command in [*commands, *inline]:
        words = command.split()
        assert words[1] in KUBECTL, command
        if words[1] == "ferry" and len(words) > 3:
            parser().parse_args(words[2:])
        elif words[1] == "ferry":
            assert words[2] in SUBCOMMANDS, command


#: the verbs of kubectl that an operator's person needs
KUBECTL = {"ferry", "get", "logs", "describe", "top", "delete", "create", "patch", "edit", "rollout", "auth"}
