"""What the role postgresql says about arguments that it cannot work with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.postgresql import problems

ROLE = Path(__file__).resolve().parent.parent / "roles/postgresql"
GIVEN = {
    **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
    "postgresql_database": "shop",
    "postgresql_user": "shop",
    "postgresql_password": "correct horse",
    "ansible_facts": {"distribution_major_version": "13"},
}


@pytest.mark.parametrize("debian", ["12", "13"])
def test_the_defaults_are_right(debian: str) -> None:
    assert problems({**GIVEN, "ansible_facts": {"distribution_major_version": debian}}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"postgresql_password": ""}, "postgresql_password is empty"),
        ({"ansible_facts": {"distribution_major_version": "11"}}, "this is Debian 11"),
        ({"postgresql_database": "Shop"}, "postgresql_database is 'Shop'"),
        ({"postgresql_database": "template1"}, "postgresql_database is 'template1'"),
        ({"postgresql_user": "postgres"}, "postgresql_user is 'postgres'"),
        ({"postgresql_client_addresses": ["db.example"]}, "postgresql_client_addresses: db.example is neither"),
        ({"postgresql_extensions": ["citext; DROP"]}, "postgresql_extensions: 'citext; DROP' is no extension's name"),
        ({"postgresql_settings": {"Port": 5433}}, "postgresql_settings: Port belongs to the role"),
        ({"postgresql_settings": {"hba_file": "/tmp/x"}}, "postgresql_settings: hba_file belongs to the role"),
        ({"postgresql_settings": {"include": "/x"}}, "postgresql_settings: include belongs to the role"),
        ({"postgresql_settings": {"include_dir": "/x"}}, "postgresql_settings: include_dir belongs to the role"),
        ({"postgresql_settings": {"Include_If_Exists": "/x"}}, "postgresql_settings: Include_If_Exists belongs"),
        ({"postgresql_settings": {"work_mem": "1MB'\nfsync = off"}}, "postgresql_settings: work_mem has several lines"),
        (
            {"postgresql_cluster": "my-blog", "postgresql_port": 5433},
            "postgresql_cluster is 'my-blog': it names a unit",
        ),
        ({"postgresql_cluster": "blog"}, "postgresql_port is 5432, which is that of Debian's own cluster, main"),
        ({"postgresql_port": 70000}, "postgresql_port is 70000"),
        ({"postgresql_memory_percent": 0}, "postgresql_memory_percent is 0"),
        ({"postgresql_certificate": "postgresql.pem"}, "postgresql_certificate is 'postgresql.pem'"),
        ({"postgresql_clear_text": False}, "postgresql_clear_text is false and postgresql_tls too"),
        ({"postgresql_max_connections": 9}, "postgresql_max_connections is 9"),
    ],
)
def test_each_mistake_is_said_once_and_shows_no_secret(changes: dict[str, Any], said: str) -> None:
    [problem] = problems({**GIVEN, **changes})
    assert said in problem
    assert "correct horse" not in problem
