"""A project with names of its own, served from a release that it cannot change."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

SCENARIO = Path(__file__).resolve().parent.parent
PLAY = yaml.safe_load((SCENARIO / "converge.yml").read_text())[0]["vars"]
ENVIRONMENT = PLAY["django_app_environment"]
SECRET = ENVIRONMENT["LIBRARY_SECRET"]
MOTTO = ENVIRONMENT["LIBRARY_MOTTO"]
EDITION = 'settings that only the library may read: "$HOME" 100% ünïcode'
MANAGE = "/usr/local/bin/library-manage"


def get(host: Host, path: str, *options: str) -> str:
    """The body of the site's answer, asked for through its socket as nginx would."""
    curl = "runuser -u www-data -- curl --silent --show-error --fail --unix-socket /run/library/web.sock"
    return host.check_output(f"{curl} {' '.join(options)} http://library.test{path}")


def current(host: Host) -> str:
    """The folder of the current release."""
    return host.check_output("readlink --canonicalize-existing /srv/library/current")


def test_the_site_answers_through_its_socket(host: Host) -> None:
    assert "Lending library, first edition" in get(host, "/")


def test_only_the_proxy_may_use_the_socket(host: Host) -> None:
    refused = host.run("runuser -u nobody -- curl --silent --unix-socket /run/library/web.sock http://library.test/")
    assert refused.rc == 7


def test_migrations_and_release_commands_ran_once(host: Host) -> None:
    page = get(host, "/")
    assert "Migrated 1 times." in page
    assert page.count("<li>") == 1
    assert "A $HOME of one&#x27;s own: 0" in page


def test_the_release_belongs_to_root_and_the_application_cannot_write_in_it(host: Host) -> None:
    release = current(host)
    assert host.check_output(f"find {release} -not -user root -o -not -group root") == ""
    assert host.check_output(f"cd / && runuser -u library -- find {release} -writable -not -type l") == ""


def test_static_files_are_there_for_the_web_server(host: Host) -> None:
    css = f"{current(host)}/source/collected/books/shelf.css"
    assert "font-family" in host.check_output(f"runuser -u www-data -- cat {css}")


def test_modules_are_compiled_as_the_application_cannot_do_it(host: Host) -> None:
    found = host.check_output(f"find {current(host)}/source/library {current(host)}/venv/lib/ -name '*.pyc'")
    assert {"configuration", "defaultfilters"} <= {Path(line).name.split(".")[0] for line in found.splitlines()}


def test_uploads_are_for_the_application_and_the_web_server_alone(host: Host) -> None:
    name = get(host, "/covers", "--form", "cover=@/etc/hostname")
    stored = f"/srv/library/covers/{name}"
    assert host.run(f"runuser -u www-data -- cat {stored}").rc == 0
    assert host.run(f"runuser -u nobody -- cat {stored}").rc == 1
    assert host.run(f"runuser -u www-data -- rm -f {stored}").rc == 1


def test_odd_characters_reach_the_processes_intact(host: Host) -> None:
    assert host.run("curl -s --unix-socket /run/library/web.sock http://library.test/motto").stdout == MOTTO
    printed = host.run(f"{MANAGE} shell --no-imports -c 'import os; print(os.environ[\"LIBRARY_MOTTO\"], end=str())'")
    assert printed.stdout == MOTTO


@pytest.mark.parametrize(
    "command",
    [
        "curl --silent --unix-socket /run/library/web.sock http://library.test/key",
        "curl --silent --header Host:library.test http://127.0.0.1:8001/key",
        f"{MANAGE} shell --no-imports -c 'import os; print(os.environ[\"LIBRARY_KEY\"], end=str())'",
    ],
    ids=["web", "own process", "operator"],
)
def test_a_key_of_several_lines_reaches_the_processes_intact(host: Host, command: str) -> None:
    assert host.run(command).stdout == ENVIRONMENT["LIBRARY_KEY"]


def test_files_are_given_to_the_project_and_to_nobody_else(host: Host) -> None:
    assert get(host, "/edition") == EDITION
    settings, licence = "/etc/library/files/library/local_settings.py", "/etc/library/files/licence.pem"
    assert host.check_output(f"readlink {current(host)}/source/library/local_settings.py") == settings
    for path, mode in ((settings, 0o640), (licence, 0o440)):
        file = host.file(path)
        assert (file.user, file.group, file.mode) == ("root", "library", mode)
        assert host.run(f"runuser -u library -- cat {path}").rc == 0
        assert host.run(f"runuser -u www-data -- cat {path}").rc == 1
    assert host.file(licence).content_string == ENVIRONMENT["LIBRARY_KEY"]


def test_what_is_in_given_files_is_in_no_file_that_others_can_read_byte_code_included(host: Host) -> None:
    """But for what the project itself puts among its static files."""
    part = "settings that only the library may read"
    search = "runuser -u nobody -- grep -rlsF -f - /etc /srv /run /usr/local /var /tmp"
    found = host.run(f"printf %s {part!r} | {search}").stdout.split()
    assert {Path(path).name for path in found} == {"seen.txt"}


def test_the_project_writes_inside_its_source_where_it_outlives_the_release(host: Host) -> None:
    assert host.check_output(f"readlink {current(host)}/source/exports") == "/srv/library/shared/exports"
    assert {"shipped.txt", "web.txt"} <= set(get(host, "/exports/web").split())
    names = host.check_output("curl --silent --fail --header Host:library.test http://127.0.0.1:8001/exports/desk")
    assert {"web.txt", "desk.txt"} <= set(names.split())
    assert host.check_output("stat --format '%U %G %a' /srv/library/shared/exports") == "library library 750"
    assert host.check_output("stat --format '%U' /srv/library/shared/exports/shipped.txt") == "library"
    assert host.run("runuser -u www-data -- ls /srv/library/shared/exports").rc == 2


def test_what_is_built_here_and_there_is_among_the_static_files(host: Host) -> None:
    static = f"{current(host)}/source/collected/books"
    assert "FONT-FAMILY" in host.file(f"{static}/built.css").content_string
    assert not host.file(f"{current(host)}/source/books/static/books/node_modules").exists
    assert host.file(f"{static}/seen.txt").content_string == EDITION
    assert host.file(f"{static}/host.txt").content_string == f"library\n{current(host)}/venv/bin/python\n"


def test_commands_run_once_ever_and_once_a_release_on_each_host(host: Host) -> None:
    assert host.file("/var/lib/library/once").content_string == "once\n"
    assert host.file("/var/lib/library/prepared").content_string == "prepared\n"


def test_a_process_of_the_projects_own_runs_from_the_release(host: Host) -> None:
    assert host.run("curl --silent --header Host:library.test http://127.0.0.1:8001/motto").stdout == MOTTO
    assert host.check_output("systemctl show --value --property=User library-desk") == "library"


def test_the_environment_file_is_closed_to_others(host: Host) -> None:
    file = host.file("/etc/library/environment")
    assert (file.mode, file.user, file.group) == (0o640, "root", "library")
    assert host.run("runuser -u nobody -- cat /etc/library/environment").rc == 1


def test_the_secret_is_in_no_file_that_others_can_read(host: Host) -> None:
    part = SECRET.split("-")[0]
    assert part in host.file("/etc/library/environment").content_string
    search = f"printf %s {part} | runuser -u nobody -- grep -rlsF -f - /etc /srv /run /usr/local /var /tmp"
    assert host.run(search).stdout == ""


def test_the_secret_is_on_no_command_line(host: Host) -> None:
    seen = host.check_output(
        f"{MANAGE} shell --no-imports -c "
        '\'import glob; print([open(p, errors=str("replace")).read() for p in glob.glob("/proc/[0-9]*/cmdline")])\''
    )
    assert "gunicorn" in seen
    assert "systemd-run" in seen
    assert SECRET.split("-")[0] not in seen


def test_the_operators_command_checks_the_project_and_passes_on_status_input_and_arguments(host: Host) -> None:
    assert "no issues" in host.check_output(f"{MANAGE} check")
    assert host.run(f"{MANAGE} no-such-command").rc == 1
    assert host.check_output("echo 'print(6 * 7)' | /usr/local/bin/library-python -") == "42"
    said = host.check_output(
        "library-python -c 'import sys, getpass; print(sys.argv[1:], getpass.getuser())' '$HOME' %h"
    )
    assert said == "['$HOME', '%h'] library"


def test_the_operators_command_refuses_other_users_and_unknown_releases(host: Host) -> None:
    assert "use sudo" in host.run(f"runuser -u nobody -- {MANAGE} check").stderr
    assert "there is no release" in host.run(f"RELEASE=other {MANAGE} check").stderr


@pytest.fixture(scope="session")
def dry_run(converge_again: Callable) -> subprocess.CompletedProcess[str]:
    """A dry run of the servers as they are, with differences shown."""
    return converge_again("--check", "--diff")


def test_a_dry_run_changes_nothing_and_shows_no_secret(
    host_name: str, dry_run: subprocess.CompletedProcess[str]
) -> None:
    assert dry_run.returncode == 0, dry_run.stdout
    assert re.search(rf"{host_name}.* changed=0 ", dry_run.stdout), dry_run.stdout
    assert SECRET.split("-")[0] not in dry_run.stdout
    assert "only the library" not in dry_run.stdout
