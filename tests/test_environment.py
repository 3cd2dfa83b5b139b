"""What can stand in an environment file, and what a host gets that runs none of the project's processes."""

from __future__ import annotations

import subprocess
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import (
    environment_problems,
    environment_value,
    without_secrets,
)

KEY = "k3J9-fW2qLmZ0pXv7RtYb1Nc"
ODD = "p@ss/w:rd %40+ü"


PEM = "-----BEGIN PRIVATE KEY-----\nMIIE+/$(x)`\\\"'#%ü=\n\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("value", ["", "a b", "'\"$`\\", "ünïcode", PEM, "a\r\nb\t\x1b[0m", "x" * 131000, 0, 43200])
def test_text_of_any_lines_and_whole_numbers_can_stand_there(value: Any) -> None:
    assert environment_problems({"NAME_1": value}, "app_environment") == []


def test_a_shell_reads_the_text_as_it_was_written() -> None:
    """systemd does it alike; molecule/django_app asks it."""
    script = f'KEY={environment_value(PEM)}\nprintf %s "$KEY"'
    assert subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout == PEM


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("KEY", "hunter2\0", "base64"),
        ("KEY", "hunter2\udcff", "base64"),
        ("KEY", "hunter2\ufdd0", "base64"),
        ("KEY", "hunter2\U0001ffff", "base64"),
        ("KEY", "hunter2" * 20000, "django_app_files"),
        ("KEY", ["hunter2"], "quotes"),
        ("KEY", None, "quotes"),
        ("DEBUG", True, "quotes"),
        ("RATE", 1.10, "quotes"),
        ("1KEY", "hunter2", "letters"),
        ("MY-KEY", "hunter2", "letters"),
        ("KEY\n", "hunter2", "letters"),
    ],
)
def test_anything_else_is_refused_by_name_with_the_fix_and_without_the_value(name: str, value: Any, fix: str) -> None:
    (sentence,) = environment_problems({"FINE": "x", name: value}, "app_environment")
    assert sentence.startswith(f"app_environment: {name}: ")
    assert fix in sentence
    assert "hunter2" not in sentence


def test_a_value_that_is_a_secret_becomes_one_that_django_takes_for_a_key() -> None:
    """Django warns of keys below 50 characters or with fewer than 5 different ones (security.W009)."""
    stand_in = without_secrets({"SECRET_KEY": KEY}, [KEY])["SECRET_KEY"]
    assert KEY not in stand_in
    assert len(stand_in) >= 50
    assert len(set(stand_in)) >= 5
    assert not stand_in.startswith("django-insecure-")


@pytest.mark.parametrize("spelling", [ODD, quote(ODD), quote(ODD, ""), quote(ODD, "").lower()])
def test_a_secret_is_found_however_a_url_quotes_it(spelling: str) -> None:
    value = without_secrets({"URL": f"https://example.com/?token={spelling}&page=2"}, [ODD])["URL"]
    assert spelling not in value
    assert value.startswith("https://example.com/?token=")
    assert value.endswith("&page=2")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://shop:hunter2@10.0.0.5:5432/shop?sslmode=require",
        "redis://:hunter2@[2001:db8::1]:6379/1",
        "amqps://shop:hunter2@@10.0.0.5:5671//",
        "redis://celery:hunter2@h:6379/1;redis://celery:hunter2@i:6379/1",
        "sentinel://:hunter2@h:26379;sentinel://:hunter2@i:26379",
        "sentinel://a:hunter2@h:1/1?ssl_ca_certs=/own.pem;sentinel://a:hunter2@i:1/1?ssl_ca_certs=/own.pem",
    ],
)
def test_the_password_of_an_address_goes_without_being_named_and_the_rest_stays(address: str) -> None:
    value = without_secrets({"URL": address}, [])["URL"]
    assert "hunter2" not in value
    for before, after in zip(address.split(";"), value.split(";"), strict=True):
        old, new = urlsplit(before), urlsplit(after)
        assert new.password
        assert old._replace(netloc="") == new._replace(netloc="")
        assert (old.username, old.hostname, old.port) == (new.username, new.hostname, new.port)


def test_a_secret_that_holds_another_goes_whole() -> None:
    assert "-more" not in without_secrets({"A": f"x {KEY}-more"}, [KEY, f"{KEY}-more"])["A"]


@pytest.mark.parametrize(
    "value", ["www.example.com,localhost", "https://www.example.com:8443/a@b", "", "http://h:80", 5]
)
def test_what_holds_no_secret_is_left_as_it_is(value: Any) -> None:
    assert without_secrets({"A": value}, [KEY, "", None]) == {"A": value}


def test_a_stand_in_is_the_same_every_time_and_no_secret_itself() -> None:
    """So nothing changes with a second run."""
    once = without_secrets({"A": KEY, "B": f"redis://:{KEY}@h/0", "C": f"x{KEY}"}, [KEY])
    assert without_secrets(once, [KEY]) == once
