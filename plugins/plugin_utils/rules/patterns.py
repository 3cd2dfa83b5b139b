"""What the rules of several roles take alike."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.memory import LIMIT

# The major versions that are supported.
DEBIANS = ("12", "13")
APPLICATION = re.compile(r"[a-z][a-z0-9-]{0,24}")
# Of nice(1), from the first to the last that gets the CPU.
NICE = range(-20, 20)
# What nobody outside may read: of the system, and of a deployment (its source, virtualenv and releases).
PRIVATE = re.compile(
    r"/(boot|dev|etc|proc|root|run|sys|tmp)(/.*)?"
    r"|/var/(backups|cache|log|mail|spool|tmp)(/.*)?|/var/lib/(private|redis|postgresql|systemd|dpkg)(/.*)?"
    r"|/srv/[^/]+/(current|shown|releases/[^/]+)(/(source|venv(/.*)?))?|/srv/[^/]+/(releases|shared|once(/.*)?)"
)
# A folder that holds others' folders is nobody's to serve.
SHARED = re.compile(r"/|/(bin|home|lib|media|mnt|opt|sbin|srv|usr|var)|/home/[^/]+|/(usr|var)/(lib|local|share|www)")
DEPLOYED = re.compile(r"/srv/([^/]+)/(?:current|shown|releases)/.*")
OWNED = re.compile(r"/srv/([^/]+)/(?:current|shown|releases|shared)/.*")
# An application's name is that of its user and of its folders in /etc, /run, /srv and /var/lib: those that Debian has are taken.
TAKEN = (
    *("adm", "apt", "backup", "bin", "cron", "daemon", "dbus", "default", "dpkg", "games", "group"),
    *("gshadow", "hosts", "init", "irc", "list", "log", "logrotate", "lp", "mail", "man", "news"),
    *("nginx", "nobody", "opt", "pam", "passwd", "polkit", "postgres", "postgresql", "private"),
    *("profile", "proxy", "python3", "redis", "root", "security", "shadow", "skel", "ssh", "sshd", "ssl"),
    *("sudo", "sudoers", "sync", "sys", "systemd", "tmpfiles", "udev", "user", "users", "uucp"),
    *("www-data"),
)


def application_problems(variable: str, name: str) -> list[str]:
    """What is wrong with an application's name; the sentence begins with the variable."""
    if name in TAKEN:
        return [f"{variable} is {name!r}, which Debian calls a user or folder of its own: choose another name."]
    if APPLICATION.fullmatch(name):
        return []
    return [
        f"{variable} is {name!r}: it names a system user and units; take at most 25 lower-case letters, digits and dashes, "
        "a letter first."
    ]


def limit_problems(given: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What is wrong with what a process may take; a sentence begins with the key.

    Args:
        given: a process definition, a worker, or a role's arguments, with `memory_max`, `cpu_max` and `nice` where they are set.
        prefix: what their names begin with, such as `celery_beat_`.
    """
    memory, cpu, nice = (given.get(f"{prefix}{name}") for name in ("memory_max", "cpu_max", "nice"))
    found = []
    if memory and not re.fullmatch(rf"{LIMIT.pattern}|infinity", memory):
        found.append(f"{prefix}memory_max is {memory!r}. Write it as 512M, 1.5G or 20%.")
    if cpu and not re.fullmatch(r"[1-9][0-9]*%", cpu):
        found.append(f"{prefix}cpu_max is {cpu!r}. Write it as 50% of one CPU, or 200% for two.")
    if nice and nice not in NICE:
        found.append(f"{prefix}nice is {nice}. It is from {NICE[0]}, before others, to {NICE[-1]}, after them.")
    return found


def is_network(text: str) -> bool:
    """Whether a text is an IP address or a network."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def served_folder_problems(variable: str, path: str, application: str) -> list[str]:
    """Why a folder must not be shown to visitors; the sentence begins with the variable.

    Args:
        variable: what holds the path.
        path: an absolute path; empty for none.
        application: whose folder it may be; a release of another application is never shown.
    """
    folder = posixpath.normpath(path).replace("//", "/") if path else ""
    if not folder:
        return []
    if PRIVATE.fullmatch(folder) or SHARED.fullmatch(folder) or folder == f"/srv/{application}":
        what = "holds what nobody outside may read"
    elif (other := OWNED.fullmatch(folder)) and other[1] != application:
        what = f"belongs to another application, {other[1]}"
    else:
        return []
    return [f"{variable} is {path!r}, which {what}: name a folder that holds nothing but what visitors may see."]
