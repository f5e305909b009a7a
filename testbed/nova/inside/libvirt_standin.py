# ruff: noqa: N802 - the names are libvirt's
"""A stand-in for libvirt below Nova's own LibvirtDriver, with its state in plain files.

The nova wheel ships `fakelibvirt` for its unit tests: constants, host topology, templates of capabilities. This module
uses those and replaces Connection and Domain, so that

- each host has its CPU (`hosts.json`), and CPU comparisons compare sets of features;
- domains are files in `state/<host>/domains/`: they outlive nova-compute, and a migration moves a domain to
  another host;
- `migrateToURI3` takes time and can fail, be aborted or be forced, with job statistics on the way.

Call `install()` once, before nova-compute's main program runs.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import types
import uuid
from pathlib import Path

import nova.tests
from lxml import etree

# the package's own __init__ imports everything that Nova's unit tests need; only this module is needed here
_fixtures = types.ModuleType("nova.tests.fixtures")
_fixtures.__path__ = [str(Path(nova.tests.__file__).parent / "fixtures")]
sys.modules["nova.tests.fixtures"] = _fixtures

from cpu_models import MODELS, best_model  # noqa: E402
from lab_files import as_seen_from_outside, host_at, host_definition, knob, own_host, state_dir  # noqa: E402
from nova.tests.fixtures import libvirt as fakelibvirt  # noqa: E402

# missing in fakelibvirt
fakelibvirt.VIR_ERR_OPERATION_ABORTED = 78

#: Nova polls a running migration every 0.5 s, and must see an aborted job as cancelled before the job is gone
CANCELLED_VISIBLE_SECONDS = 1.2


def libvirt_error(message, code):
    return fakelibvirt.make_libvirtError(
        fakelibvirt.libvirtError,
        message,
        error_code=code,
        error_message=message,
        error_domain=fakelibvirt.VIR_FROM_QEMU,
    )


def host_features(host):
    definition = host_definition(host)
    return MODELS[definition["cpu_model"]] | set(definition["cpu_features"])


def cpu_features(cpu):
    """The features that a <cpu> element requires."""
    model = cpu.findtext("./model")
    if model and model not in MODELS:
        raise libvirt_error(f"internal error: Unknown CPU model {model}", fakelibvirt.VIR_ERR_INTERNAL_ERROR)
    features = set(MODELS[model]) if model else set()
    for feature in cpu.findall("./feature"):
        if feature.get("policy") in ("disable", "forbid"):
            features.discard(feature.get("name"))
        else:
            features.add(feature.get("name"))
    return features


def add_features(cpu, names, policy=None):
    for name in sorted(names):
        feature = etree.SubElement(cpu, "feature", name=name)
        if policy:
            feature.set("policy", policy)


class Connection(fakelibvirt.Connection):
    """The result of `libvirt.openAuth` in a nova-compute: always the host of this process."""

    def __init__(self, readonly=False):
        host = host_definition(own_host())
        as_number = fakelibvirt.versionutils.convert_version_to_int
        super().__init__(
            "qemu:///system",
            readonly,
            version=as_number(tuple(host["libvirt"])),
            hv_version=as_number(tuple(host["qemu"])),
            hostname=own_host(),
            host_info=fakelibvirt.HostInfo(
                cpu_nodes=host["numa_cells"],
                cpu_sockets=1,
                cpu_cores=host["cores_per_cell"],
                cpu_threads=host["threads_per_core"],
                kB_mem=host["memory_gb"] * 2**20,
            ),
        )
        self.jobs = {}  # statistics of a migration by domain uuid

    def getInfo(self):
        info = super().getInfo()
        info[1] //= 1024  # libvirt reports MiB here, fakelibvirt KiB
        return info

    # CPU

    def getCapabilities(self):
        capabilities = etree.fromstring(super().getCapabilities())
        host = host_definition(own_host())
        host_id = uuid.uuid5(uuid.NAMESPACE_DNS, f"libvirt-{own_host()}")
        capabilities.find("./host/uuid").text = str(host_id)
        cpu = capabilities.find("./host/cpu")
        for feature in cpu.findall("feature"):
            cpu.remove(feature)
        cpu.find("model").text, cpu.find("vendor").text = host["cpu_model"], host["cpu_vendor"]
        add_features(cpu, host_features(own_host()) - MODELS[host["cpu_model"]])
        return etree.tostring(capabilities, encoding="unicode")

    def getDomainCapabilities(self, emulator, arch, machine, virt_type, flags=0):
        xml = super().getDomainCapabilities(emulator, arch, machine, virt_type, flags)
        if arch != "x86_64":
            return xml
        capabilities = etree.fromstring(xml)
        host, features = host_definition(own_host()), host_features(own_host())
        host_model = capabilities.find("./cpu/mode[@name='host-model']")
        _empty(host_model)
        etree.SubElement(host_model, "model", fallback="forbid").text = host["cpu_model"]
        etree.SubElement(host_model, "vendor").text = host["cpu_vendor"]
        add_features(host_model, features - MODELS[host["cpu_model"]], "require")
        custom = capabilities.find("./cpu/mode[@name='custom']")
        _empty(custom)
        for model, needed in MODELS.items():
            etree.SubElement(custom, "model", usable="yes" if needed <= features else "no").text = model
        return etree.tostring(capabilities, encoding="unicode")

    def getCPUModelNames(self, arch):
        return list(MODELS)

    def compareCPU(self, xml, flags=0):
        cpu = etree.fromstring(xml)
        if cpu.findtext("./vendor") not in (None, host_definition(own_host())["cpu_vendor"]):
            return fakelibvirt.VIR_CPU_COMPARE_INCOMPATIBLE
        wanted, available = cpu_features(cpu), host_features(own_host())
        if not wanted <= available:
            return fakelibvirt.VIR_CPU_COMPARE_INCOMPATIBLE
        if wanted == available:
            return fakelibvirt.VIR_CPU_COMPARE_IDENTICAL
        return fakelibvirt.VIR_CPU_COMPARE_SUPERSET

    def compareHypervisorCPU(self, emulator, arch, machine, virt_type, xml, flags=0):
        return self.compareCPU(xml, flags)

    def baselineCPU(self, xmls, flags=0):
        common = set.intersection(*(cpu_features(etree.fromstring(xml)) for xml in xmls))
        model = best_model(common)
        cpu = etree.Element("cpu", mode="custom", match="exact")
        etree.SubElement(cpu, "model").text = model
        etree.SubElement(cpu, "vendor").text = host_definition(own_host())["cpu_vendor"]
        expand = flags & fakelibvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        add_features(cpu, common if expand else common - MODELS[model], "require")
        return etree.tostring(cpu, encoding="unicode")

    # domains

    def _domains(self):
        # a domain may disappear between the listing and the reading
        for file in sorted(_domains_dir(own_host()).glob("*.json")):
            with contextlib.suppress(fakelibvirt.libvirtError):
                yield Domain(self, file.stem)

    def listAllDomains(self, flags=0):
        active = flags & fakelibvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        inactive = flags & fakelibvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE
        if bool(active) == bool(inactive):
            return list(self._domains())
        return [domain for domain in self._domains() if bool(domain.isActive()) == bool(active)]

    def lookupByUUIDString(self, wanted):
        for domain in self._domains():
            if domain.UUIDString() == wanted:
                return domain
        raise no_domain("uuid", wanted)

    def lookupByName(self, wanted):
        return Domain(self, wanted)

    def defineXML(self, xml):
        xml = xml if isinstance(xml, str) else xml.decode()
        tree = etree.fromstring(xml)
        name = tree.findtext("./name")
        try:
            data = _read_domain(own_host(), name)
        except FileNotFoundError:
            data = {"state": fakelibvirt.VIR_DOMAIN_SHUTOFF, "cpu": None, "id": -1}
        data.update(uuid=tree.findtext("./uuid"), xml=xml)
        _write_domain(own_host(), name, data)
        domain = Domain(self, name)
        domain.emit(fakelibvirt.VIR_DOMAIN_EVENT_DEFINED)
        return domain

    def createXML(self, xml, flags=0):
        domain = self.defineXML(xml)
        domain.createWithFlags(flags)
        return domain


class Domain:
    """A guest of this host: a file with its uuid, xml, state, id and the CPU features that it booted with."""

    def __init__(self, connection, name):
        self._connection, self._name = connection, name
        self._uuid = self._read()["uuid"]

    def _read(self):
        try:
            return _read_domain(own_host(), self._name)
        except FileNotFoundError:
            raise no_domain("name", self._name) from None

    def _change(self, **values):
        _write_domain(own_host(), self._name, {**self._read(), **values})

    def emit(self, event):
        """Notify nova-compute of a change, as libvirt's event loop does."""
        callback = self._connection._event_callbacks.get(fakelibvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE)
        if callback:
            function, opaque = callback
            function(self._connection, self, event, 0, opaque)

    def _tree(self):
        return etree.fromstring(self._read()["xml"])

    # properties

    def name(self):
        return self._name

    def UUIDString(self):
        return self._uuid

    def ID(self):
        return self._read()["id"]

    def isActive(self):
        return int(self._read()["state"] in (fakelibvirt.VIR_DOMAIN_RUNNING, fakelibvirt.VIR_DOMAIN_PAUSED))

    def isPersistent(self):
        return True

    def XMLDesc(self, flags=0):
        return self._read()["xml"]

    def maxMemory(self):
        """Maximum memory in KiB."""
        memory = self._tree().find("./memory")
        return int(memory.text) * {None: 1, "KiB": 1, "MiB": 2**10, "GiB": 2**20}[memory.get("unit")]

    def info(self):
        vcpus = int(self._tree().findtext("./vcpu") or 1)
        cpu_time = 123456789
        return [self._read()["state"], self.maxMemory(), self.maxMemory(), vcpus, cpu_time]

    def vcpus(self):
        count = self.info()[3]
        return ([(number, 1, 120405, number) for number in range(count)], [(True,) * 4] * count)

    def memoryStats(self):
        return {}

    def interfaceStats(self, device):
        return [0] * 8

    def blockStats(self, device):
        return [0] * 5

    # lifecycle

    def createWithFlags(self, flags=0):
        tree = self._tree()
        for source in tree.findall("./devices/disk/source[@file]"):
            if not Path(source.get("file")).exists():
                raise no_disk(source.get("file"))
        paused = flags & fakelibvirt.VIR_DOMAIN_START_PAUSED
        self._change(
            state=fakelibvirt.VIR_DOMAIN_PAUSED if paused else fakelibvirt.VIR_DOMAIN_RUNNING,
            cpu=sorted(self._cpu_to_boot_with(tree.find("./cpu"))),
            id=int(time.time() * 10) % 10**7,
        )
        self.emit(fakelibvirt.VIR_DOMAIN_EVENT_STARTED)

    @staticmethod
    def _cpu_to_boot_with(cpu):
        if cpu is not None and cpu.get("mode") in ("host-model", "host-passthrough"):
            return host_features(own_host())
        if cpu is None or cpu.find("./model") is None:
            return MODELS["qemu64"]
        wanted = cpu_features(cpu)
        if missing := wanted - host_features(own_host()):
            raise wrong_cpu("unsupported configuration", missing, fakelibvirt.VIR_ERR_CONFIG_UNSUPPORTED)
        return wanted

    def create(self):
        self.createWithFlags(0)

    def destroy(self):
        if not self.isActive():
            raise libvirt_error(
                "Requested operation is not valid: domain is not running",
                fakelibvirt.VIR_ERR_OPERATION_INVALID,
            )
        self._change(state=fakelibvirt.VIR_DOMAIN_SHUTOFF, id=-1)
        self.emit(fakelibvirt.VIR_DOMAIN_EVENT_STOPPED)

    def shutdown(self):
        self._change(state=fakelibvirt.VIR_DOMAIN_SHUTOFF, id=-1)
        self.emit(fakelibvirt.VIR_DOMAIN_EVENT_SHUTDOWN)

    def reset(self, flags=0):
        self._change(state=fakelibvirt.VIR_DOMAIN_RUNNING)

    def suspend(self):
        self._change(state=fakelibvirt.VIR_DOMAIN_PAUSED)
        if job := self._connection.jobs.get(self._uuid):
            job["forced"] = True  # Nova's force-complete pauses the guest so that the copy can finish
        else:
            self.emit(fakelibvirt.VIR_DOMAIN_EVENT_SUSPENDED)

    def resume(self):
        self._change(state=fakelibvirt.VIR_DOMAIN_RUNNING)
        self.emit(fakelibvirt.VIR_DOMAIN_EVENT_RESUMED)

    def undefineFlags(self, flags=0):
        self._read()
        _domain_file(own_host(), self._name).unlink()

    undefine = undefineFlags

    def managedSave(self, flags=0):
        self.destroy()  # the next start boots: the guest's memory is not saved

    def hasManagedSaveImage(self, flags=0):
        return 0

    def managedSaveRemove(self, flags=0):
        pass

    def setTime(self, time=None, flags=0):
        pass

    def setMetadata(self, *args, **kwargs):
        pass

    def blockResize(self, *args, **kwargs):
        pass

    def attachDeviceFlags(self, xml, flags=0):
        tree = self._tree()
        tree.find("./devices").append(etree.fromstring(xml))
        self._change(xml=etree.tostring(tree, encoding="unicode"))

    def detachDeviceFlags(self, xml, flags=0):
        tree, device = self._tree(), etree.fromstring(xml)
        for candidate in tree.findall(f"./devices/{device.tag}"):
            target = candidate.find("./target")
            if target is not None and target.get("dev") == device.find("./target").get("dev"):
                candidate.getparent().remove(candidate)
        self._change(xml=etree.tostring(tree, encoding="unicode"))

    # migration

    def jobStats(self, flags=0):
        job = self._connection.jobs.get(self._uuid)
        if not job:
            self._read()  # raises if the domain has left, by which Nova detects the end
            return {"type": fakelibvirt.VIR_DOMAIN_JOB_NONE}
        return {key: value for key, value in job.items() if key not in ("aborted", "forced")}

    def jobInfo(self):
        return [self.jobStats()["type"]] + [0] * 11

    def abortJob(self):
        job = self._connection.jobs.get(self._uuid)
        if not job:
            raise libvirt_error(
                "Requested operation is not valid: no job is active on the domain",
                fakelibvirt.VIR_ERR_OPERATION_INVALID,
            )
        job["aborted"] = True

    def migrateSetMaxDowntime(self, milliseconds, flags=0):
        pass

    def migrateStartPostCopy(self, flags=0):
        self._connection.jobs[self._uuid]["forced"] = True

    def migrateToURI3(self, destination_uri, params, flags=0):
        """Copy for `live_seconds`, then move the domain's file to the host of the URI.

        Knobs: `live_seconds`, `fail_live_at`, `never_converge` (see `testbed/cloud.py`).
        """
        destination = host_at(re.match(r"qemu\+\w+://([^/:]+)", destination_uri).group(1))
        if destination is None or not state_dir(destination).is_dir():
            raise libvirt_error(
                f"operation failed: Failed to connect to remote libvirt URI {destination_uri}",
                fakelibvirt.VIR_ERR_OPERATION_FAILED,
            )
        data = self._read()
        if missing := set(data["cpu"] or ()) - host_features(destination):
            raise wrong_cpu("operation failed", missing, fakelibvirt.VIR_ERR_OPERATION_FAILED)
        xml = params.get("destination_xml") or data["xml"]
        tree = etree.fromstring(xml)
        block_migration = flags & fakelibvirt.VIR_MIGRATE_NON_SHARED_INC
        targets = params.get("migrate_disks", ()) if block_migration else ()
        disks = _disks_to_copy(tree, targets, destination)
        job = self._connection.jobs[self._uuid] = {
            "type": fakelibvirt.VIR_DOMAIN_JOB_UNBOUNDED,
            "aborted": False,
            "forced": False,
        }
        try:
            disk_bytes = sum(Path(disk).stat().st_size for disk in disks)
            _copy(job, self.maxMemory() * 1024, disk_bytes)
            for disk in disks:
                there = as_seen_from_outside(disk, destination)
                subprocess.check_call(["cp", "--sparse=always", disk, there])
            if job["forced"] and data["state"] == fakelibvirt.VIR_DOMAIN_PAUSED:
                data["state"] = fakelibvirt.VIR_DOMAIN_RUNNING
            _write_domain(destination, tree.findtext("./name"), {**data, "xml": xml})
            _domain_file(own_host(), self._name).unlink()
        finally:
            self._connection.jobs.pop(self._uuid, None)


def _copy(job, memory_bytes, disk_bytes):
    """Update the job's statistics until the copy is done. Raises libvirtError if it is aborted or fails."""
    seconds, fail_at = float(knob("live_seconds") or 0), knob("fail_live_at")
    start = time.monotonic()
    while True:
        elapsed = time.monotonic() - start
        part = min(1.0, elapsed / seconds) if seconds > 0 else 1.0
        if knob("never_converge"):
            part = min(part, 0.9)
        if job["forced"]:
            part = 1.0
        job["time_elapsed"] = int(elapsed * 1000)
        for what, total in (
            ("memory", memory_bytes),
            ("disk", disk_bytes),
            ("data", memory_bytes + disk_bytes),
        ):
            done = int(total * part)
            job.update({f"{what}_total": total, f"{what}_processed": done, f"{what}_remaining": total - done})
        if job["aborted"]:
            job["type"] = fakelibvirt.VIR_DOMAIN_JOB_CANCELLED
            time.sleep(CANCELLED_VISIBLE_SECONDS)
            raise libvirt_error(
                "operation aborted: migration out job: canceled by client",
                fakelibvirt.VIR_ERR_OPERATION_ABORTED,
            )
        if fail_at is not None and part >= fail_at:
            raise libvirt_error(
                "operation failed: migration out job: unexpectedly failed",
                fakelibvirt.VIR_ERR_OPERATION_FAILED,
            )
        if part >= 1.0:
            return
        time.sleep(0.2)


def _disks_to_copy(tree, targets, destination):
    """Return the files of the disks among `targets`. Raises libvirtError unless every disk file exists at the
    destination.

    (Nova creates empty files there before it migrates local disks.)
    """
    found = []
    for disk in tree.findall("./devices/disk"):
        source = disk.find("./source")
        file = source.get("file") if source is not None else None
        if not file:
            continue
        if not Path(as_seen_from_outside(file, destination)).exists():
            raise no_disk(file)
        if disk.find("./target").get("dev") in targets:
            found.append(file)
    return found


def no_domain(what, value):
    return libvirt_error(f"Domain not found: no domain with matching {what} '{value}'", fakelibvirt.VIR_ERR_NO_DOMAIN)


def no_disk(file):
    return libvirt_error(
        f"Cannot access storage file '{file}': No such file or directory", fakelibvirt.VIR_ERR_SYSTEM_ERROR
    )


def wrong_cpu(what, missing, code):
    return libvirt_error(
        f"{what}: guest CPU doesn't match specification: missing features: {','.join(sorted(missing))}", code
    )


def _empty(element):
    for child in list(element):
        element.remove(child)


def _domains_dir(host):
    folder = state_dir(host) / "domains"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _domain_file(host, name):
    return _domains_dir(host) / f"{name}.json"


def _read_domain(host, name):
    return json.loads(_domain_file(host, name).read_text())


def _write_domain(host, name, data):
    file = _domain_file(host, name)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
    unfinished.write_text(json.dumps(data))
    unfinished.replace(file)


def install():
    """Install the stand-in where Nova imports libvirt. No patch changes a check that decides on a migration."""
    fakelibvirt.Connection = fakelibvirt.virConnect = Connection
    fakelibvirt.Domain = fakelibvirt.virDomain = Domain
    fakelibvirt.openAuth = lambda uri, auth, flags=0: Connection(flags == fakelibvirt.VIR_CONNECT_RO)
    sys.modules["libvirt"] = fakelibvirt

    import nova.privsep
    import nova.virt.libvirt.driver
    import nova.virt.libvirt.guest
    import nova.virt.libvirt.host
    import nova.virt.libvirt.migration
    import nova.virt.libvirt.utils
    import os_brick.initiator.connector
    import os_brick.privileged

    for module in ("driver", "guest", "host", "migration"):
        sys.modules[f"nova.virt.libvirt.{module}"].libvirt = fakelibvirt
    # all files belong to the lab, so no privileged helper process is needed
    nova.privsep.sys_admin_pctxt.set_client_mode(False)
    os_brick.privileged.default.set_client_mode(False)
    nova.virt.libvirt.utils.get_fs_info = _fs_info
    os_brick.initiator.connector.get_connector_properties = _connector_properties


def _fs_info(path):
    """The disk of the host; `used` is the space of its instances plus the knob `disk_used_gb`."""
    total = host_definition(own_host())["disk_gb"] * 2**30
    listed = subprocess.run(["du", "-sBK", f"{path}/"], capture_output=True, text=True, check=False).stdout
    used = int(listed.partition("K")[0] or 0) * 1024 + int(knob("disk_used_gb") or 0) * 2**30
    return {"total": total, "free": total - used, "used": used}


def _connector_properties(root_helper, my_ip, multipath, enforce_multipath, host=None, execute=None):
    return {
        "ip": my_ip,
        "host": host,
        "initiator": f"iqn.2000-01.invalid.vmferry:{own_host()}",
        "multipath": multipath,
        "platform": "x86_64",
        "os_type": "linux",
    }
