#!/usr/bin/python
"""Ansible module: which applications a host has, and what each has taken of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils import ssh

DOCUMENTATION = r"""
module: neighbours
short_description: Tell what each application has taken of a host
description:
  - Reads the units, sites and configuration files that this collection's roles have written, and changes nothing.
options:
  root:
    description: The folder that holds the host's files.
    type: path
    default: /
author: Stockpot
"""

EXAMPLES = r"""
- name: Look who else is there
  stockpot.stack.neighbours:
"""

RETURN = r"""
applications:
  description: >-
    For each application its C(units), a program of supervisor's among them as the unit of its name, its C(services) (Redis and PostgreSQL), C(ports) as variable and number, C(names) of its site,
    C(memory), what those of them that start with the host may take, by unit as their configuration writes it, C(redis), by unit
    the users of each of its Redis, C(redis_remains), those of them without configuration, C(rabbitmq), the settings of the RabbitMQ that it uses beside others,
    and C(rabbitmq_given), those that its last run has asked for.
  type: dict
  returned: success
site_in_nginx_conf:
  description: The application whose site stands in nginx.conf itself, as it did when nginx had one; or nothing.
  type: str
  returned: success
rabbitmq_data:
  description: The names by which RabbitMQ has kept data.
  type: list
  elements: str
  returned: success
rabbitmq_used:
  description: The applications that use the host's RabbitMQ.
  type: list
  elements: str
  returned: success
rabbitmq_kept:
  description: Those that were taken away, and of which it keeps what was queued.
  type: list
  elements: str
  returned: success
nginx_ports:
  description: Where nginx listens, HTTP and HTTPS; empty where it is not this collection's.
  type: list
  elements: int
  returned: success
certificates:
  description: The applications whose certificates the host renews.
  type: list
  elements: str
  returned: success
ssh:
  description: Where this run comes from, where it came to, and the port; empty without SSH.
  type: list
  elements: raw
  returned: success
"""

PORT = re.compile(r"(?:.*:)?(\d+)")


class Host:
    """A host's files."""

    def __init__(self, root: str) -> None:
        """Takes the folder that they are in."""
        self.root = Path(root)
        self.applications: dict[str, dict[str, Any]] = {}
        self.rabbitmq_used: list[str] = []
        self.rabbitmq_kept: list[str] = []

    def application(self, name: str) -> dict[str, Any]:
        """What is known of an application."""
        empty: dict[str, Any] = {
            "units": [],
            "services": [],
            "ports": {},
            "names": [],
            "memory": {},
            "redis": {},
            "redis_remains": [],
            "rabbitmq": {},
            "rabbitmq_given": {},
        }
        return self.applications.setdefault(name, empty)

    def look(self) -> None:
        """Read everything."""
        units = self.root / "etc/systemd/system"
        for path in sorted([*units.glob("*.service"), *units.glob("*.socket")]):
            if path.is_file() and not path.is_symlink():
                self._unit(path.name, lines(path, "="))
        for path in sorted((self.root / "etc/supervisor/conf.d").glob("*.conf")):
            self._program(path.stem, path.read_text(encoding="utf-8", errors="replace"))
        for path in sorted(units.glob("*.service.d/application.conf")):
            for name in lines(path, "=").get("X-Application", []):
                self._service(name, path.parent.name.removesuffix(".service.d"))
        for path in sorted(units.glob("rabbitmq-server.service.d/*.conf")):
            mark = lines(path, "=")
            self.rabbitmq_used += mark.get("X-Application", [])
            self.rabbitmq_kept += mark.get("X-Kept", [])
            for name in mark.get("X-Application", []):
                # Quoted: a backslash at its end would take the next line for a part of it.
                given = "\n".join(line.removeprefix('"').removesuffix('"') for line in mark.get("X-Given", []))
                self.application(name)["rabbitmq_given"] = dict(_pairs(given, " = "))
                self._rabbitmq(self.application(name))
        for path in sorted((self.root / "etc/nginx/sites").glob("*.conf")):
            names = lines(path, " ").get("server_name", [])
            self.application(path.stem)["names"] = sorted({word for line in names for word in line.rstrip(";").split()})

    def _unit(self, unit: str, given: dict[str, list[str]]) -> None:
        for name in given.get("X-Application", []):
            known = self.application(name)
            known["units"].append(unit)
            if given.get("MemoryMax"):
                known["memory"][unit] = given["MemoryMax"][-1]
            for address in given.get("ListenStream", []):
                if unit == f"{name}-web.socket" and (port := PORT.fullmatch(address)):
                    known["ports"]["web_port"] = int(port[1])
            self._flower(known, name, unit)

    def _program(self, program: str, text: str) -> None:
        """One of supervisor's, which is told by the name that its unit would have."""
        unit = f"{program}.service"
        for name in re.findall(r"^; X-Application=([^*\n]+)$", text, re.MULTILINE):
            known = self.application(name)
            known["units"].append(unit)
            if limit := re.search(r"^  --memory-max (\S+)$", text, re.MULTILINE):
                known["memory"][unit] = limit[1].replace("%%", "%")
            self._flower(known, name, unit)

    def _flower(self, known: dict[str, Any], name: str, unit: str) -> None:
        if unit == f"{name}-flower.service":
            environment = lines(self.root / f"etc/{name}/flower.environment", "=")
            self._port(known, "flower_port", environment.get("FLOWER_PORT"))

    def _service(self, name: str, service: str) -> None:
        known = self.application(name)
        known["services"].append(service)
        if service.startswith("redis-server"):
            instance = service.partition("@")[2]
            settings = lines(self.root / f"etc/redis/redis{'-' + instance if instance else ''}.conf", " ")
            self._port(known, f"redis_port of {service}" if known["redis"] else "redis_port", settings.get("port"))
            self._port(
                known, f"redis_tls_port of {service}" if known["redis"] else "redis_tls_port", settings.get("tls-port")
            )
            users = lines(self.root / f"etc/redis/users{'-' + instance if instance else ''}.acl", " ").get("user", [])
            known["redis"][service] = [user.partition(" ")[0] for user in users]
            if not settings:
                known["redis_remains"].append(service)
            if "/etc/redis/failover.conf" in settings.get("include", []):
                known["redis_is_member"] = True
                # Written when it was started: what runs, whatever a run that was cut off has written since.
                known["redis_members_agreed"] = {}
                for who, name in (("redis", "replication"), ("sentinel", "sentinel")):
                    started = self.root / f"var/lib/redis/failover/{name}.conf"
                    text = started.read_text(encoding="utf-8") if started.is_file() else ""
                    if who == "redis":
                        known["redis_members_speak_tls"] = "tls-replication yes" in text.splitlines()
                    if agreed := re.search(r"^# agreement (\w+)$", text, re.MULTILINE):
                        known["redis_members_agreed"][who] = agreed[1]
            if (self.root / f"etc/systemd/system/multi-user.target.wants/{service}.service").is_symlink():
                self._memory(known, service, settings.get("maxmemory"))
        if found := re.fullmatch(r"postgresql@(\d+)-(\w+)", service):
            cluster = self.root / f"etc/postgresql/{found[1]}/{found[2]}"
            settings = lines(cluster / "conf.d/managed.conf", " = ")
            self._port(known, "postgresql_port", settings.get("port"))
            start = cluster / "start.conf"
            if start.is_file() and start.read_text(encoding="utf-8").strip() == "auto":
                self._memory(known, service, settings.get("shared_buffers"))

    def _rabbitmq(self, known: dict[str, Any]) -> None:
        """What all that share it have given it."""
        settings = lines(self.root / "etc/rabbitmq/rabbitmq.conf", " = ")
        known["rabbitmq"] = {name: values[-1] for name, values in settings.items()}
        if (self.root / "etc/systemd/system/multi-user.target.wants/rabbitmq-server.service").is_symlink():
            self._memory(known, "rabbitmq-server", settings.get("vm_memory_high_watermark.absolute"))

    @staticmethod
    def _port(known: dict[str, Any], variable: str, values: list[str] | None) -> None:
        for value in values or []:
            if (text := value.strip("'\"")).isdigit():
                known["ports"][variable] = int(text)

    @staticmethod
    def _memory(known: dict[str, Any], service: str, values: list[str] | None) -> None:
        if values:
            known["memory"][service] = values[-1].strip("'")

    def certificates(self) -> list[str]:
        """The applications whose certificates the host renews."""
        timers = (self.root / "etc/systemd/system").glob("*-certificates.timer")
        return sorted(path.name.removesuffix("-certificates.timer") for path in timers)

    def rabbitmq_data(self) -> list[str]:
        """The names by which RabbitMQ has kept data: it finds them again by no other."""
        return sorted(path.parent.name for path in self.root.glob("var/lib/rabbitmq/mnesia/rabbit@*/schema.DAT"))

    def nginx(self) -> tuple[str, list[int]]:
        """The application whose site stands in nginx.conf, and the ports that nginx listens on."""
        path = self.root / "etc/nginx/nginx.conf"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if "(role nginx)" not in text.partition("\n")[0]:
            return "", []
        alone = re.search(r"^ +upstream (\S+) \{", text, re.MULTILINE)
        ports = re.findall(r"^ +listen (\d+)(?: ssl)?(?: http2)? default_server;", text, re.MULTILINE)
        return alone[1] if alone else "", [int(port) for port in ports]


def lines(path: Path, separator: str) -> dict[str, list[str]]:
    """The values of a file of names and values, by name; none where there is no such file."""
    if not path.is_file():
        return {}
    found: dict[str, list[str]] = {}
    for name, value in _pairs(path.read_text(encoding="utf-8", errors="replace"), separator):
        found.setdefault(name, []).append(value)
    return found


def _pairs(text: str, separator: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, found, value = line.strip().partition(separator)
        if found and not name.startswith("#"):
            yield name.strip(), value.strip()


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    host = Host(module.params["root"])
    host.look()
    alone, ports = host.nginx()
    module.exit_json(
        changed=False,
        applications=host.applications,
        site_in_nginx_conf=alone,
        nginx_ports=ports,
        certificates=host.certificates(),
        ssh=list(ssh.connection() or ()),
        rabbitmq_data=host.rabbitmq_data(),
        rabbitmq_used=host.rabbitmq_used,
        rabbitmq_kept=host.rabbitmq_kept,
    )


if __name__ == "__main__":
    main()
