"""The commands that the README gives an operator, run for real."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
NAMES = set(re.findall(r"vault_[a-z_]+", (ROOT / "group_vars/all/secrets.yml").read_text()))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what bin/secrets needs, so that nothing is written here."""
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    shutil.copytree(ROOT / "group_vars", tmp_path / "group_vars")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "password").write_text("a vault password for this test\n")
    return tmp_path


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy, with the vault password in a file."""
    return subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(checkout / "password")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_secrets_are_written_encrypted_strong_and_once(checkout: Path) -> None:
    """The file never holds clear text, holds every secret, and is left alone by a second call."""
    vault = checkout / "group_vars/production/vault.yml"
    first = run(checkout, "bin/secrets", "production")
    assert first.returncode == 0, first.stderr
    written = vault.read_text()
    assert written.startswith("$ANSIBLE_VAULT;")
    assert stat.S_IMODE(vault.stat().st_mode) == 0o600

    clear = run(checkout, ".venv/bin/ansible-vault", "view", str(vault))
    values = yaml.safe_load(clear.stdout)
    assert set(values) == NAMES
    assert len(set(values.values())) == len(NAMES)
    assert all(len(value) >= 32 for value in values.values())
    assert not any(value in first.stdout + first.stderr for value in values.values())

    second = run(checkout, "bin/secrets", "production")
    assert second.returncode != 0
    assert "is left as it is" in second.stderr
    assert vault.read_text() == written


def test_secrets_asks_for_an_environment_that_exists(checkout: Path) -> None:
    """A misspelt environment makes no folder."""
    for wrong in ("", "prodution", "all"):
        result = run(checkout, "bin/secrets", wrong)
        assert result.returncode != 0
        assert "make secrets ENV=production" in result.stderr
    assert not (checkout / "group_vars/prodution").exists()


def test_make_alone_lists_every_target() -> None:
    """One line each."""
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    for target in set(phony[1].split()) - {"help"}:
        assert re.search(rf"^ *make {target} +\S", shown, re.MULTILINE), target


def test_the_readme_names_only_targets_and_files_that_exist() -> None:
    """A stranger can follow it to the letter."""
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", readme):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"`((?:group_vars|inventories|app|roles|playbooks|molecule|tests)/[\w/.-]*)`", readme):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("environment", ["demo", "staging", "production"])
def test_every_inventory_is_read_and_names_each_function(environment: str) -> None:
    """Its hosts stand in the group named after the environment, which brings group_vars."""
    shown = subprocess.run(
        [".venv/bin/ansible-inventory", "-i", f"inventories/{environment}/hosts.yml", "--list", "--yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    children = yaml.safe_load(shown.stdout)["all"]["children"][environment]["children"]
    assert set(children) == {"redis", "rabbitmq", "postgresql", "web", "workers", "beat", "flower", "proxy"}
