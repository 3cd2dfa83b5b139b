"""Mistakes are named before anything is changed: the variable, the file to edit and the fix."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.contracts import problems
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parent.parent
STRONG = "k3J9-fW2qLmZ0pXv7RtYb1Nc"
FUNCTIONS = ("redis", "postgresql", "web", "workers", "beat", "flower", "proxy")


def a_host(**changes: Any) -> dict[str, Any]:
    """The variables of a server that does everything and has no mistake, with changes."""
    return {
        "inventory_hostname": "server-1",
        "group_names": ["production", *FUNCTIONS],
        "ansible_facts": {"distribution": "Debian", "distribution_major_version": "13"},
        **{f"topology_{function}": ["server-1"] for function in FUNCTIONS},
        "vault_app_secret_key": STRONG,
        "vault_postgresql_password": STRONG,
        "vault_redis_admin_password": STRONG,
        "vault_redis_cache_password": STRONG,
        "vault_redis_celery_password": STRONG,
        "vault_flower_password": STRONG,
        "celery_workers": [{"name": "default", "queues": ["default"]}],
        "celery_visibility_timeout": 43200,
        "site_names": ["www.example.com"],
        "app_name": "shop",
        "app_environment": {},
        "nginx_certificate": "",
        "nginx_certificate_key": "",
    } | changes


def the_problem(**changes: Any) -> str:
    """The one sentence that a mistake gives."""
    found = problems(a_host(**changes), {})
    assert len(found) == 1, found
    return found[0]


def test_a_host_without_mistakes_passes() -> None:
    """No false alarms."""
    assert problems(a_host(), {}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"vault_redis_celery_password": ""},
            ["vault_redis_celery_password", "make secrets ENV=production", "vault.yml"],
        ),
        ({"vault_app_secret_key": "change-me-before-use"}, ["vault_app_secret_key", "placeholder", "vault.yml"]),
        ({"vault_postgresql_password": "short"}, ["vault_postgresql_password", "5 characters", "vault.yml"]),
        (
            {"ansible_facts": {"distribution": "Ubuntu", "distribution_major_version": "24"}},
            ["server-1", "Ubuntu 24", "Debian 12 and 13"],
        ),
        ({"topology_web": []}, ["group web", "inventories/production/hosts.yml"]),
        ({"topology_beat": ["server-1", "server-2"]}, ["group beat", "fire twice", "inventories/production/hosts.yml"]),
        ({"celery_workers": []}, ["celery_workers", "group_vars/all/celery.yml"]),
        (
            {"celery_workers": [{"name": "a", "queues": ["x"], "time_limit": 50000}]},
            ["celery_visibility_timeout", "50000", "group_vars/all/celery.yml"],
        ),
        ({"celery_worker_defaults": {"time_limit": 43200}}, ["celery_visibility_timeout", "default", "43200"]),
        (
            {"celery_workers": [{"name": "a", "queues": ["x"], "hosts": ["other"]}]},
            ["celery_workers", "other", "group workers"],
        ),
        ({"site_names": []}, ["site_names", "group_vars/all/proxy.yml"]),
        ({"site_names": ["www.example.invalid"]}, ["site_names", "placeholder"]),
        ({"site_names": ["https://shop.example.com"]}, ["site_names", "no scheme"]),
        ({"app_name": "My App"}, ["app_name", "lower-case"]),
        ({"app_environment": {"DEBUG": 1}}, ["app_environment", 'DEBUG: "1"']),
        ({"redis_appendfsync": "sometimes"}, ["redis_appendfsync", "group_vars/all/redis.yml"]),
        ({"django_app_web_workers": "many"}, ["django_app_web_workers", "group_vars/all/app.yml"]),
        ({"nginx_certificate": "/nowhere/site.pem"}, ["nginx_certificate_key", "set both"]),
    ],
)
def test_a_mistake_is_named_with_its_variable_file_and_fix(changes: dict[str, Any], words: list[str]) -> None:
    """An operator can mend it from the sentence alone."""
    sentence = the_problem(**changes)
    for word in words:
        assert word in sentence


def test_an_unknown_key_of_a_worker_is_named() -> None:
    """A misspelt key would otherwise be silently without effect."""
    found = problems(a_host(celery_workers=[{"name": "a", "queues": ["x"], "concurency": 4}]), {})
    assert any("concurency" in sentence and "group_vars/all/celery.yml" in sentence for sentence in found), found


def certificate(folder: Path, *, days: int) -> tuple[str, str]:
    """A certificate that ends in so many days, and its key: their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    (folder / "site.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "site.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "site.pem"), str(folder / "site.key")


def test_a_good_certificate_passes_and_bad_ones_are_named(tmp_path: Path) -> None:
    """A key of another certificate, an expired one and a file that is none."""
    good, key = certificate(tmp_path / "good", days=30)
    expired, expired_key = certificate(tmp_path / "expired", days=-1)
    assert problems(a_host(nginx_certificate=good, nginx_certificate_key=key), {}) == []
    assert "does not belong" in the_problem(nginx_certificate=good, nginx_certificate_key=expired_key)
    assert "expired on" in the_problem(nginx_certificate=expired, nginx_certificate_key=expired_key)
    assert "holds no PEM certificate" in the_problem(nginx_certificate=key, nginx_certificate_key=key)
    assert "/nowhere/site.pem" in the_problem(nginx_certificate="/nowhere/site.pem", nginx_certificate_key=key)
    assert "is not for other.example.com" in the_problem(
        nginx_certificate=good, nginx_certificate_key=key, site_names=["other.example.com"]
    )


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory whose one server is this machine, in the group demo."""
    (tmp_path / "group_vars").symlink_to(ROOT / "group_vars")
    children = "\n".join(f"    {function}: {{hosts: {{server-1: {{}}}}}}" for function in FUNCTIONS)
    (tmp_path / "hosts.yml").write_text(
        "---\ndemo:\n  hosts:\n    server-1: {ansible_connection: local, lab_https_port: 8443}\n"
        f"  children:\n{children}\n  vars:\n"
        + "".join(
            f"    vault_{name}: {STRONG}\n" for name in ("app_secret_key", "postgresql_password", "flower_password")
        )
        + "".join(f"    vault_redis_{name}_password: {STRONG}\n" for name in ("admin", "cache", "celery"))
    )
    return tmp_path / "hosts.yml"


def preflight(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the preflight as site.yml does."""
    return subprocess.run(
        [
            "ansible-playbook",
            "-i",
            str(inventory),
            str(ROOT / "playbooks/preflight.yml"),
            "-e",
            "ansible_become=false",
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_preflight_passes_the_values_that_ship(inventory: Path) -> None:
    """What the repository holds, with secrets given, has no mistakes."""
    result = preflight(inventory)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_preflight_names_all_mistakes_at_once_and_shows_no_secret(inventory: Path) -> None:
    """One run, the whole list."""
    result = preflight(
        inventory, "-e", "vault_flower_password=", "-e", "redis_appendfsync=never", "-e", '{"site_names": []}'
    )
    assert result.returncode != 0
    for word in ("Nothing was changed", "vault_flower_password", "redis_appendfsync", "site_names"):
        assert word in result.stdout
    assert STRONG not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-e", "django_app_source=/nowhere/shop"], ["django_app_source", "/nowhere/shop", "app.yml"]),
        (["-e", "django_app_requirements=other.txt"], ["django_app_requirements", "other.txt", "app.yml"]),
        (
            ["-e", f"django_app_source={ROOT}", "-e", "django_app_version=v0-never"],
            ["django_app_version", "v0-never", "app.yml"],
        ),
    ],
)
def test_the_preflight_names_a_source_that_cannot_be_fetched(
    inventory: Path, arguments: list[str], words: list[str]
) -> None:
    """The source is fetched before any host is touched."""
    result = preflight(inventory, *arguments)
    assert result.returncode != 0
    for word in words:
        assert word in result.stdout, result.stdout
