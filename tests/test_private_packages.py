"""Packages from an index that asks for a password, and Pythons that uv installs: what servers do with a lock.

The index, uv and the play are real. The password is looked for wherever it could have been left.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.module_utils.wheels import missing_packages
from ansible_collections.stockpot.stack.plugins.modules import interpreter, virtualenv
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "s3cr3t-Hunter2/of the index"
# As it has to be written in an address.
IN_ADDRESS = "s3cr3t-Hunter2%2Fof%20the%20index"


def wheel() -> bytes:
    """A package of one module, stockpot_shelf 1.0."""
    info = "stockpot_shelf-1.0.dist-info"
    files = {
        "stockpot_shelf.py": "BOOKS = 3\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: stockpot-shelf\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return written.getvalue()


class PrivateIndex(ThreadingHTTPServer):
    """A package index with one package, for those who know the password; it looks who else could read it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.wheel = wheel()
        self.asked: list[str] = []
        self.command_lines: list[bytes] = []

    @property
    def url(self) -> str:
        """With the login in it."""
        return f"http://library:{IN_ADDRESS}@127.0.0.1:{self.server_port}/simple"


class Answer(BaseHTTPRequestHandler):
    """One question to the index."""

    server: PrivateIndex

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """The page of the package, or the package."""
        login = base64.b64encode(f"library:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="index"'})
            return
        self.server.asked.append(self.path)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                self.server.command_lines.append((process / "cmdline").read_bytes())
            except OSError:  # it has ended
                continue
        if self.path == "/simple/stockpot-shelf/":
            name, digest = "stockpot_shelf-1.0-py3-none-any.whl", hashlib.sha256(self.server.wheel).hexdigest()
            self.answer(
                200, f'<a href="/files/{name}#sha256={digest}">{name}</a>'.encode(), {"Content-Type": "text/html"}
            )
        elif self.path.startswith("/files/"):
            self.answer(200, self.server.wheel, {})
        else:
            self.answer(404, b"", {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send it."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


@pytest.fixture
def index() -> Iterator[PrivateIndex]:
    """The index, answering."""
    with PrivateIndex() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A project that needs the private package."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "manage.py").write_text("run()\n")
    (folder / "requirements.txt").write_text("stockpot-shelf\n")
    return folder


@pytest.fixture
def deploy(tmp_path: Path, site: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Lock, then install on this machine, as the role does; as loud as Ansible gets."""

    def run(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        secret = tmp_path / "vault.json"
        secret.write_text(json.dumps({"index_url": address}))
        secret.chmod(0o600)
        pack = {
            "source": str(site),
            "lock": str(tmp_path / "group_vars/requirements.txt"),
            "index_url": "{{ index_url }}",
        }
        install = {
            "path": str(tmp_path / "release/venv"),
            "directory": str(site),
            "requirements": ["{{ packed.requirements }}"],
            "index_url": "{{ index_url }}",
            "uv": find_uv_bin(),
            "cache": str(tmp_path / "cache/uv"),
            "python": sys.executable,
        }
        tasks = [
            {"stockpot.stack.project_archive": {**pack, "cache": str(tmp_path / "cache")}, "register": "packed"},
            {"stockpot.stack.virtualenv": install},
        ]
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        command = ["ansible-playbook", "-vvv", "--diff", "--inventory=localhost,", "--connection=local"]
        return subprocess.run(
            [*command, f"--extra-vars=@{secret}", *arguments, str(playbook)],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "UV_CACHE_DIR": str(tmp_path / "cache/uv"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


def leaks(folder: Path) -> list[str]:
    """The files below a folder that hold the password, in either spelling."""
    spellings = [PASSWORD.encode(), IN_ADDRESS.encode(), b"s3cr3t"]
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(spelling in path.read_bytes() for spelling in spellings)
    ]


def test_a_package_from_a_private_index_is_locked_and_installed_and_the_password_is_left_nowhere(
    index: PrivateIndex, deploy: Callable, tmp_path: Path
) -> None:
    ran = deploy(index.url)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lock = (tmp_path / "group_vars/requirements.txt").read_text()
    assert f"stockpot-shelf==1.0 \\\n    --hash=sha256:{hashlib.sha256(index.wheel).hexdigest()}\n" in lock
    python = tmp_path / "release/venv/bin/python"
    assert subprocess.check_output([python, "-c", "import stockpot_shelf; print(stockpot_shelf.BOOKS)"]) == b"3\n"
    assert "+ stockpot-shelf 1.0" in ran.stdout
    assert "+stockpot-shelf==1.0" in ran.stdout.replace("+ ", "+")
    assert any(path.startswith("/files/") for path in index.asked)
    assert not [line for line in index.command_lines if b"s3cr3t" in line]
    assert "s3cr3t" not in ran.stdout + ran.stderr
    assert leaks(tmp_path) == ["vault.json"]


def test_a_wrong_password_is_not_repeated_by_whoever_fails(
    index: PrivateIndex, deploy: Callable, tmp_path: Path
) -> None:
    wrong = index.url.replace(IN_ADDRESS, "s3cr3t-but%20wrong")
    ran = deploy(wrong)
    assert ran.returncode != 0
    assert "django_app_requirements: uv cannot lock requirements.txt" in ran.stdout
    assert "s3cr3t" not in ran.stdout + ran.stderr
    assert leaks(tmp_path) == ["vault.json"]
    # The lock is there, and a server's password is another one by now.
    assert deploy(index.url).returncode == 0
    shutil.rmtree(tmp_path / "cache/uv")
    ran = deploy(wrong)
    assert ran.returncode != 0
    assert "uv pip failed" in ran.stdout
    assert "s3cr3t" not in ran.stdout + ran.stderr


def test_a_dry_run_shows_the_lock_and_does_not_write_it_and_a_second_run_changes_nothing(
    index: PrivateIndex, deploy: Callable, tmp_path: Path, site: Path
) -> None:
    lock = tmp_path / "group_vars/requirements.txt"
    ran = deploy(index.url, "--check")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{lock} would be written: + stockpot-shelf 1.0" in ran.stdout
    assert not lock.exists()
    assert deploy(index.url).returncode == 0
    written, asked = lock.read_text(), len(index.asked)
    ran = deploy("http://127.0.0.1:9/simple", "--check")
    assert "changed=1" in ran.stdout  # the virtualenv alone
    assert (lock.read_text(), len(index.asked)) == (written, asked)


def test_the_role_shows_no_password_while_it_checks_what_it_is_given(
    index: PrivateIndex, site: Path, tmp_path: Path
) -> None:
    given = {
        "django_app_name": "library",
        "django_app_source": str(site),
        "django_app_settings_module": "library.settings",
        "django_app_wsgi": "library.server:site",
        "django_app_lock": str(tmp_path / "requirements.txt"),
        "django_app_index_url": index.url,
        # Refused: the run ends here, before it touches this machine.
        "django_app_extra_index_urls": [index.url.replace(IN_ADDRESS, "s3cr3t-but-wrong")],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "vars": given, "roles": ["stockpot.stack.django_app"]}])
    )
    ran = subprocess.run(
        ["ansible-playbook", "-vvvv", "--check", "--inventory=localhost,", "--connection=local", str(playbook)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ran.returncode != 0
    assert "django_app_requirements: uv cannot lock requirements.txt" in ran.stdout
    assert "s3cr3t" not in ran.stdout + ran.stderr


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """The module's, for uv with a cache of its own."""
    return {
        "index_url": "",
        "extra_index_urls": [],
        "python_mirror": "",
        "uv": find_uv_bin(),
        "cache": str(tmp_path / "cache"),
        "pythons": str(tmp_path / "pythons"),
        "directory": str(tmp_path),
    }


def test_a_package_without_a_wheel_names_the_debian_packages_to_add(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a server without a compiler.
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(bare))
    uv = virtualenv.Uv(arguments)
    uv("venv", "--quiet", f"--python={sys.executable}", "venv")
    with pytest.raises(virtualenv.UvError) as caught:
        uv(
            "pip",
            "install",
            "--quiet",
            "--python=venv/bin/python",
            "--no-binary=markupsafe,psycopg2",
            "--no-deps",
            "psycopg2",
        )
    assert str(caught.value).endswith(
        "django_app_packages: a package has no wheel for this Python and is built here. Add: gcc, python3-dev, libpq-dev."
    )


@pytest.mark.parametrize(
    ("said", "packages"),
    [
        (
            "Failed to build `hiredis==3.0`\nerror: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'",
            "gcc python3-dev",
        ),
        ("Failed to build `uwsgi==2.0.31`\nException: you need a C compiler to build uWSGI", "gcc python3-dev"),
        ("Failed to build `x==1`\nx.c:1:10: fatal error: Python.h: No such file or directory", "gcc python3-dev"),
        (
            "Failed to build `mysqlclient==2.2.7`\n/bin/sh: 1: pkg-config: not found\nException: Can not find valid pkg-config name.",
            "gcc python3-dev libmariadb-dev pkg-config",
        ),
        (
            "Failed to build `python-ldap==3.4.4`\nerror: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'",
            "gcc python3-dev libldap-dev libsasl2-dev",
        ),
        (
            "Failed to build `cryptography==44`\nCargo, the Rust package manager, is not installed",
            "cargo gcc python3-dev",
        ),
        ("Failed to download and build `six @ git+https://e.com/six`\nGit executable not found.", "git"),
        ("No solution found when resolving dependencies", ""),
        ("hash mismatch for `psycopg2==2.9`", ""),
    ],
)
def test_what_a_build_says_is_understood(said: str, packages: str) -> None:
    assert missing_packages(said) == packages.split()


def test_a_version_that_the_host_has_is_its_own_python(arguments: dict[str, Any]) -> None:
    own = subprocess.check_output([virtualenv.HOST_PYTHON, "-c", virtualenv.VERSION], text=True).strip()
    uv = virtualenv.Uv(arguments)
    for version in (own, own.rpartition(".")[0]):
        assert virtualenv.interpreter(version, uv) == virtualenv.HOST_PYTHON
    assert virtualenv.interpreter("/opt/python3.13/bin/python3", uv) == "/opt/python3.13/bin/python3"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A mirror with one Python as uv wants it, made of this machine's, and its version; the host seems to have none."""
    system = virtualenv.HOST_PYTHON
    version = subprocess.check_output([system, "-c", virtualenv.VERSION], text=True).strip()
    minor = version.rpartition(".")[0]
    machine = os.uname().machine
    name = f"cpython-{version}+20260101-{machine}-unknown-linux-gnu-install_only_stripped.tar.gz"
    archive = tmp_path / "mirror/20260101" / name
    archive.parent.mkdir(parents=True)

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        unneeded = {"__pycache__", "dist-packages", "idlelib", "test", "tkinter", "EXTERNALLY-MANAGED"}
        outside = member.issym() and member.linkname.startswith(("/", ".."))
        return None if outside or unneeded & set(Path(member.name).parts) else member

    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(os.path.realpath(system), f"python/bin/python{minor}")
        tar.add(f"/usr/lib/python{minor}", f"python/lib/python{minor}", filter=chosen)
    official = "https://github.com/astral-sh/python-build-standalone/releases/download/20260101"
    major, second, patch = map(int, version.split("."))
    downloads = {
        f"cpython-{version}-linux-{machine}-gnu": {
            "name": "cpython",
            "arch": {"family": machine, "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": major,
            "minor": second,
            "patch": patch,
            "prerelease": "",
            "url": f"{official}/{name.replace('+', '%2B')}",
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "variant": None,
            "build": "20260101",
        }
    }
    (tmp_path / "downloads.json").write_text(json.dumps(downloads))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(tmp_path / "downloads.json"))
    monkeypatch.setattr(virtualenv, "HOST_PYTHON", str(tmp_path / "none"))
    return archive.parents[1], minor


def test_uv_installs_a_version_that_the_host_lacks_from_the_mirror(
    arguments: dict[str, Any], mirror: tuple[Path, str], tmp_path: Path
) -> None:
    folder, version = mirror
    uv = virtualenv.Uv({**arguments, "python_mirror": f"file://{folder}"})
    for _ in range(2):  # the second time it is there
        python = virtualenv.interpreter(version, uv)
        assert python.startswith(f"{tmp_path}/pythons/cpython-{version}")
        shutil.rmtree(folder, ignore_errors=True)
    uv("venv", "--quiet", f"--python={python}", "venv")
    base = subprocess.check_output(
        [tmp_path / "venv/bin/python", "-c", "import sys; print(sys.base_prefix)"], text=True
    )
    assert base.startswith(f"{tmp_path}/pythons/")


def test_a_mirror_that_does_not_answer_is_named_with_the_variable(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(virtualenv, "HOST_PYTHON", str(tmp_path / "none"))
    uv = virtualenv.Uv({**arguments, "python_mirror": f"file://{tmp_path}/mirror"})
    with pytest.raises(virtualenv.UvError) as caught:
        virtualenv.interpreter("3.12", uv)
    assert f"{tmp_path}/mirror/" in str(caught.value)
    assert "django_app_python_mirror: this host could not get Python 3.12." in str(caught.value)


def test_a_path_is_asked_for_its_version() -> None:
    assert interpreter.version_of(sys.executable) == ".".join(map(str, sys.version_info[:3]))
    assert interpreter.version_of("/bin/true") == ""
    assert interpreter.version_of("/nowhere/python3") == ""
