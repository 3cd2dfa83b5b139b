"""Rules of the role postgresql."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import DEBIANS, is_network

# Its own, what would take the data or the doorkeeper away from it, and what would read such settings from elsewhere.
OWN_SETTINGS = (
    *("listen_addresses", "port", "password_encryption", "max_connections"),
    *("hba_file", "data_directory"),
    *("include", "include_dir", "include_if_exists"),
)
MAIN, MAIN_PORT = "main", 5432


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role postgresql; a sentence each, without a secret in it."""
    found = []
    if not given["postgresql_password"]:
        found.append("postgresql_password is empty: give it a long random value.")
    if (release := given["ansible_facts"].get("distribution_major_version")) not in DEBIANS:
        found.append(f"ansible_facts: this is Debian {release}, and the role postgresql knows {' and '.join(DEBIANS)}.")
    cluster = given["postgresql_cluster"]
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", cluster):
        found.append(
            f"postgresql_cluster is {cluster!r}: it names a unit and folders; take at most 31 small letters, digits and _, a letter first."
        )
    if cluster != MAIN and given["postgresql_port"] == MAIN_PORT:
        found.append(
            f"postgresql_port is {MAIN_PORT}, which is that of Debian's own cluster, {MAIN}: give the cluster {cluster} another one, such as "
            f"{MAIN_PORT + 1}."
        )
    found += [
        f"{name} is {given[name]!r}: take small letters, digits and _, and no name of PostgreSQL itself."
        for name in ("postgresql_database", "postgresql_user")
        if not re.fullmatch(r"(?!(postgres|template[01])$)[a-z_][a-z0-9_]{0,62}", given[name])
    ]
    found += [
        f"postgresql_client_addresses: {address} is neither an address nor a network, such as 10.0.0.5 or 10.0.0.0/24."
        for address in given["postgresql_client_addresses"]
        if not is_network(address)
    ]
    found += [
        f"postgresql_extensions: {name!r} is no extension's name, such as citext or uuid-ossp."
        for name in given["postgresql_extensions"]
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name)
    ]
    found += [
        f"postgresql_settings: {name} belongs to the role; take the variable for it, if there is one."
        for name in given["postgresql_settings"]
        if name.lower() in OWN_SETTINGS
    ]
    found += [
        f"postgresql_settings: {name} has several lines: write its value on one."
        for name, value in given["postgresql_settings"].items()
        if "\n" in f"{name}{value}"
    ]
    if not 1 <= given["postgresql_port"] <= 65535:
        found.append(f"postgresql_port is {given['postgresql_port']}: it has to be between 1 and 65535.")
    if not 1 <= given["postgresql_memory_percent"] <= 90:
        found.append(
            f"postgresql_memory_percent is {given['postgresql_memory_percent']}: it has to be between 1 and 90."
        )
    if given["postgresql_max_connections"] < 10:
        found.append(
            f"postgresql_max_connections is {given['postgresql_max_connections']}: 10 are the least that is of use."
        )
    if not given["postgresql_certificate"].startswith("/"):
        found.append(
            f"postgresql_certificate is {given['postgresql_certificate']!r}: name a file on the server by its whole path."
        )
    if not (given["postgresql_tls"] or given["postgresql_clear_text"]):
        found.append("postgresql_clear_text is false and postgresql_tls too: set postgresql_tls: true.")
    return found
