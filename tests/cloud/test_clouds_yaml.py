"""Which cloud is worked on: a clouds.yaml that is named is all that counts, and what is doubtful is refused."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from keystoneauth1.access import service_catalog

from testbed.stub import Answer, Stub, stub
from tests.cloud.samples import SERVER
from vmferry.cloud.nova import CloudError, Login, NovaClient, clouds_yaml
from vmferry.cloud.nova.transport import BoundedSession, PlainTextError, origin

SERVERS = "GET /compute/v2.1/servers/detail"


@pytest.fixture
def cloud() -> Iterator[Stub]:
    with stub() as made:
        made.answers[SERVERS] = Answer(body={"servers": [SERVER]})
        yield made


@pytest.fixture
def other() -> Iterator[Stub]:
    with stub() as made:
        made.answers[SERVERS] = Answer(body={"servers": []})
        yield made


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


#: what is laid in a process's way to another cloud: in its environment, by the URL and a clouds.yaml of that cloud, and
#: in its working directory and its home
WAYS: dict[str, Callable[[str, str, Path, Path], dict[str, str]]] = {
    "OS_CLIENT_CONFIG_FILE": lambda url, text, cwd, home: {
        "OS_CLIENT_CONFIG_FILE": str(written(cwd / "other.yaml", text))
    },
    "OS_CLIENT_SECURE_FILE": lambda url, text, cwd, home: {
        "OS_CLIENT_SECURE_FILE": str(written(cwd / "other.yaml", text))
    },
    "OS_CLOUD": lambda url, text, cwd, home: {"OS_CLOUD": "another"},
    "OS_CLOUD_NAME": lambda url, text, cwd, home: {"OS_CLOUD_NAME": "stub", "OS_AUTH_URL": f"{url}/identity/v3"},
    "OS_AUTH_URL and its like": lambda url, text, cwd, home: {
        "OS_AUTH_URL": f"{url}/identity/v3",
        "OS_USERNAME": "x",
        "OS_PASSWORD": "x",
        "OS_PROJECT_NAME": "x",
        "OS_COMPUTE_ENDPOINT_OVERRIDE": f"{url}/compute/v2.1",
    },
    "OS_REGION_NAME": lambda url, text, cwd, home: {"OS_REGION_NAME": "elsewhere"},
    "OS_INTERFACE": lambda url, text, cwd, home: {"OS_INTERFACE": "admin"},
    "a clouds.yaml in the working directory": lambda url, text, cwd, home: _files(text, cwd / "clouds.yaml"),
    "a secure.yaml in the working directory": lambda url, text, cwd, home: _files(text, cwd / "secure.yaml"),
    "a clouds.yaml at home": lambda url, text, cwd, home: _files(text, home / ".config/openstack/clouds.yaml"),
    "a secure.yaml at home": lambda url, text, cwd, home: _files(text, home / ".config/openstack/secure.yaml"),
    "vendor files": lambda url, text, cwd, home: _files(
        text.replace("clouds:", "public-clouds:", 1),
        cwd / "clouds-public.yaml",
        home / ".config/openstack/clouds-public.yaml",
    ),
}


def _files(text: str, *files: Path) -> dict[str, str]:
    for file in files:
        written(file, text)
    return {}


@pytest.mark.parametrize("sentence", WAYS)
def test_nothing_but_the_named_file_counts(sentence: str, cloud: Stub, other: Stub, tmp_path: Path) -> None:
    """For a cloud that is named, and for the only one; in a process of its own, for openstacksdk looks around when it
    is imported."""
    cwd, home, mine = tmp_path / "cwd", tmp_path / "home", tmp_path / "mine"
    for folder in (cwd, home, mine):
        folder.mkdir()
    file = cloud.clouds_yaml(mine)
    if sentence == "vendor files":
        config = yaml.safe_load(file.read_text())
        config["clouds"]["stub"]["profile"] = "stub"
        file.write_text(yaml.safe_dump(config))
    theirs = other.clouds_yaml(tmp_path).read_text()
    extra = WAYS[sentence](other.url, theirs, cwd, home)
    script = (
        "import json, sys, warnings; warnings.simplefilter('ignore'); from pathlib import Path\n"
        "from vmferry.cloud.nova import NovaClient\n"
        "clients = [NovaClient(name, clouds_yaml=Path(sys.argv[1])) for name in ('stub', None)]\n"
        "for client in clients: client.connect()\n"
        "print(json.dumps([[client.login.auth_url, len(client.servers()[0])] for client in clients]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)],
        cwd=cwd,
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(home), "PATH": "/usr/bin:/bin", **extra},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[f"{cloud.url}/identity/v3", 1]] * 2
    assert (other.logins, other.requests) == (0, [])


def test_without_a_file_the_environment_names_the_cloud(
    cloud: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml(tmp_path)))
    client = NovaClient("stub")
    client.connect()
    assert client.login.auth_url == f"{cloud.url}/identity/v3"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"there is no file .*/nowhere\.yaml"):
        NovaClient("stub", clouds_yaml=tmp_path / "nowhere.yaml").connect()


def test_of_several_clouds_one_must_be_named(cloud: Stub, tmp_path: Path) -> None:
    file = cloud.clouds_yaml(tmp_path)
    config = yaml.safe_load(file.read_text())
    config["clouds"]["another"] = config["clouds"]["stub"]
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(CloudError, match="2 clouds, name one of them: another, stub"):
        NovaClient(clouds_yaml=file).connect()
    assert cloud.logins == 0


# ---- regions


class Regions(Stub):
    """A catalog with several regions."""

    names = ("north", "south")

    def _token(self) -> Any:
        token = super()._token()
        for service in token["token"]["catalog"]:
            one = service["endpoints"][0]
            service["endpoints"] = [
                {**one, "id": f"{one['id']}-{name}", "region": name, "region_id": name} for name in self.names
            ]
        return token


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Regions]:
    monkeypatch.setattr("testbed.stub.Stub", Regions)
    with stub() as made:
        assert isinstance(made, Regions)
        yield made


def without_region(file: Path, **change: str) -> Path:
    config = yaml.safe_load(file.read_text())
    del config["clouds"]["stub"]["region_name"]
    config["clouds"]["stub"].update(change)
    file.write_text(yaml.safe_dump(config))
    return file


def test_of_several_regions_one_must_be_named(regions: Regions, tmp_path: Path) -> None:
    file = without_region(regions.clouds_yaml(tmp_path))
    with pytest.raises(CloudError, match="the cloud has the regions north, south; name one of them with region_name"):
        NovaClient("stub", clouds_yaml=file).connect()
    assert regions.requests == []


def test_a_region_that_is_named_is_used(regions: Regions, tmp_path: Path) -> None:
    client = NovaClient("stub", clouds_yaml=without_region(regions.clouds_yaml(tmp_path), region_name="south"))
    client.connect()
    assert client.login.region == "south"


def test_the_only_region_need_not_be_named(cloud: Stub, tmp_path: Path) -> None:
    client = NovaClient("stub", clouds_yaml=without_region(cloud.clouds_yaml(tmp_path)))
    client.connect()
    assert client.login.region == "R"


# ---- what is logged


def test_the_log_names_the_cloud_once(cloud: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Login] = []
    client = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path), logged_in=seen.append)
    with caplog.at_level(logging.INFO, logger="vmferry"):
        client.connect()
        client.connect()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("vmferry.cloud")]
    assert lines == [f"cloud: auth URL {cloud.url}/identity/v3, region R, project p, user u"]
    assert seen == [client.login, client.login]


# ---- TLS


def config_of(auth_url: str, endpoints: dict[str, str], **over: Any) -> Any:
    """What is read of openstacksdk's configuration, for a catalog with these endpoints."""
    entries = [
        {"type": name, "name": name, "id": name, "endpoints": [{"interface": "public", "region": "R", "url": url}]}
        for name, url in endpoints.items()
    ]
    access = SimpleNamespace(
        service_catalog=service_catalog.ServiceCatalogV3(entries),
        project_name="p",
        project_id="p",
        username="u",
        user_id="u",
    )
    session = BoundedSession()
    session.auth = SimpleNamespace(  # type: ignore[assignment]
        get_access=lambda _: access, get_connection_params=lambda *_, **__: {}
    )
    overrides = over.get("overrides", {})
    return SimpleNamespace(
        config={"auth": {"auth_url": auth_url}},
        get_session=lambda: session,
        get_endpoint=lambda service: overrides.get(service),
        get_region_name=lambda service: "R",
        get_interface=lambda service: "public",
        get_requests_verify_args=lambda: (over.get("verify", True), None),
    )


HTTPS = {name: f"https://cloud.example/{name}" for name in clouds_yaml.SERVICES}


@pytest.mark.parametrize("service", clouds_yaml.SERVICES)
def test_behind_https_no_endpoint_is_http(service: str) -> None:
    config = config_of("https://cloud.example/v3", {**HTTPS, service: f"http://cloud.example/{service}"})
    with pytest.raises(CloudError, match=rf"the catalog names http for {service}: .* {service}_endpoint_override"):
        clouds_yaml.settle(config)


def test_one_that_clouds_yaml_itself_names_may_be_http() -> None:
    plain = "http://127.0.0.1:8774/v2.1"
    config = config_of(
        "https://cloud.example/v3", {**HTTPS, "compute": "http://cloud.example/c"}, overrides={"compute": plain}
    )
    clouds_yaml.secure(config)
    assert clouds_yaml.settle(config).verified
    with pytest.raises(PlainTextError):
        config.get_session().get("http://cloud.example/c", authenticated=False)


def test_http_throughout_is_a_choice_of_its_own() -> None:
    plain = {name: url.replace("https", "http") for name, url in HTTPS.items()}
    clouds_yaml.settle(config_of("http://cloud.example/v3", plain))


def test_what_may_not_go_out_in_clear_does_not(cloud: Stub) -> None:
    session = BoundedSession()
    session.forbid_plain_text({origin("http://127.0.0.1:1/x")})
    with pytest.raises(PlainTextError, match="is not https"):
        session.get(f"{cloud.url}/compute/v2.1", authenticated=False)
    assert cloud.requests == []
    session.forbid_plain_text({origin(cloud.url)})
    assert session.get(f"{cloud.url}/compute/v2.1", authenticated=False).status_code == 200


def test_certificates_that_are_not_checked_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    login = clouds_yaml.settle(config_of("https://cloud.example/v3", HTTPS, verify=False))
    assert not login.verified
    seen: list[Login] = []
    client = NovaClient(logged_in=seen.append)
    with caplog.at_level(logging.INFO, logger="vmferry"):
        client._announce(login)
        client._announce(login)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "verify: false" in warnings[0]
    assert seen == [login, login]
