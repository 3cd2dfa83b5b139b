"""uv on the control node, and the folder that it works in."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from ansible_collections.stockpot.stack.plugins.module_utils.addresses import without_credentials
from ansible_collections.stockpot.stack.plugins.module_utils.wheels import missing_packages

from .archive import Entry
from .source import ProjectError

TIMEOUT = 900  # seconds


class Checkout:
    """The project's files, and a folder with them for as long as uv needs it."""

    def __init__(self, files: Mapping[str, Entry]) -> None:
        """Takes the files by name, relative to manage.py's folder."""
        self.files = files
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Checkout:
        """Nothing is written before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the folder."""
        if self._temporary:
            self._temporary.cleanup()

    @property
    def folder(self) -> Path:
        """manage.py's folder, a copy for uv alone."""
        if not self._temporary:
            self._temporary = tempfile.TemporaryDirectory(prefix="stockpot-")
            top = Path(self._temporary.name)
            # Room for names that leave manage.py's folder.
            depth = max((name.split("/").count("..") for name in self.files), default=0)
            self._folder = top.joinpath("source", *["inside"] * depth)
            self._folder.mkdir(parents=True)
            for name, entry in self.files.items():
                path = Path(os.path.normpath(self._folder / name))
                path.parent.mkdir(parents=True, exist_ok=True)
                if entry.link:
                    path.symlink_to(os.fsdecode(entry.data))
                else:
                    path.write_bytes(entry.data)
        return self._folder


def run_uv(*arguments: str, cwd: Path, what: str, indexes: Iterable[str] = ()) -> str:
    """What uv prints.

    Args:
        arguments: its words; everybody on this machine can read them.
        cwd: where it runs.
        what: the file that it works on, for the message.
        indexes: addresses of package indexes, credentials inside, the default one first and empty for PyPI.

    Raises:
        ProjectError: it failed, with its own words and no credentials; or there is no uv.
    """
    default, *extra = [*indexes] or [""]
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "NO_COLOR": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "true",
    }
    if default:
        environment["UV_DEFAULT_INDEX"] = default
    if extra:
        environment["UV_INDEX"] = " ".join(extra)
    try:
        return subprocess.run(
            [_program(), *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT,
            start_new_session=True,
        ).stdout
    except FileNotFoundError as error:
        raise ProjectError(
            "django_app_requirements: there is no uv on the control node to lock with. Install uv."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"django_app_requirements: uv did not finish with {what} within {TIMEOUT} s.") from error
    except subprocess.CalledProcessError as error:
        said = without_credentials(error.stderr.strip(), [default, *extra]).replace(f"{cwd}/", "")
        if packages := missing_packages(said):
            said += f"\nThis machine has to build it to know what it needs. Install: {', '.join(packages)}."
        raise ProjectError(f"django_app_requirements: uv cannot lock {what}: {said}") from None


def _program() -> str:
    """uv's own path, where it is installed beside Ansible; else the one on PATH."""
    try:
        from uv import find_uv_bin
    except ImportError:
        return "uv"
    return find_uv_bin()
