"""Where a project comes from: a folder or a git address, and which commit a version stands for."""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FETCH_TIMEOUT = 600  # seconds
GIT_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*://|[^/\s]+@[^/\s:]+:)")
WITH_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*://)?[^/@]*:[^/@]*@", re.IGNORECASE)
FULL_COMMIT = re.compile(r"[0-9a-f]{40}")


def without_login(text: str) -> str:
    """A text whose addresses show nobody's login."""
    return re.sub(r"(?<=://)[^/\s]+(?=@)", "***", text)


class ProjectError(Exception):
    """The project cannot be packed; `problems` says why, in sentences that begin with the variable to change."""

    def __init__(self, *problems: str) -> None:
        self.problems = [without_login(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Source:
    """A project's folder on this machine; or, with a commit, a repository and the project's folder inside it."""

    folder: Path
    commit: str = ""
    inside: str = ""


def git(*arguments: str | Path, cwd: Path | None = None) -> bytes:
    """What git prints. It runs without a terminal, so that it fails instead of asking for a password.

    Raises:
        subprocess.CalledProcessError: git failed; `stderr` holds its message.
        subprocess.TimeoutExpired: it took longer than FETCH_TIMEOUT.
        ProjectError: there is no git.
    """
    try:
        return subprocess.run(
            ["git", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=FETCH_TIMEOUT,
            start_new_session=True,
        ).stdout
    except FileNotFoundError as error:
        raise ProjectError("django_app_source: there is no git on the control node to read it. Install git.") from error


def said(error: subprocess.CalledProcessError) -> str:
    """git's own message."""
    return error.stderr.decode(errors="replace").strip()


def in_git(folder: Path) -> bool:
    """Whether the folder is part of a git work tree.

    Raises:
        ProjectError: git refuses to look at it.
    """
    try:
        return git("rev-parse", "--is-inside-work-tree", cwd=folder).strip() == b"true"
    except subprocess.CalledProcessError as error:
        if "not a git repository" in said(error):
            return False
        raise ProjectError(f"django_app_source: git cannot read {folder}: {said(error)}") from error


def subdirectory_problems(subdirectory: str) -> list[str]:
    """Whether a subdirectory leaves its source; a sentence, or none."""
    if posixpath.normpath(subdirectory or ".").startswith(("/", "..")):
        return [f"django_app_subdirectory: {subdirectory} has to be a folder inside the source."]
    return []


def address_problems(source: str, version: str) -> list[str]:
    """What is wrong with a source and a version as they are written, before anything is fetched."""
    found = []
    local = Path(source).expanduser()
    if WITH_PASSWORD.match(source):
        found.append("django_app_source holds a password. Use an ssh address or a git credential helper instead.")
    elif GIT_ADDRESS.match(source):
        if not version:
            found.append(f"django_app_version is empty. Name the tag, branch or commit of {source} to deploy.")
    elif not local.is_absolute():
        found.append(
            f"django_app_source: {source!r} is neither an absolute path on the control node nor a git address. "
            "Write one."
        )
    elif not local.is_dir():
        found.append(f"django_app_source: there is no folder {local} on the control node. Name the project's.")
    if version.startswith("-"):
        found.append(f"django_app_version: {version} is no tag, branch or commit. Name one.")
    return found


def find_source(*, source: str, version: str, subdirectory: str, cache: Path) -> Source:
    """The project's folder, or the commit that a version stands for; fetches a git address.

    Raises:
        ProjectError: there is no such folder, repository, version or subdirectory.
    """
    problems = address_problems(source, version) + subdirectory_problems(subdirectory)
    if problems:
        raise ProjectError(*problems)
    folder = posixpath.normpath(subdirectory) if subdirectory else ""
    folder = "" if folder == "." else folder
    local = Path(source).expanduser()
    if not version:
        if not (local / folder).is_dir():
            raise ProjectError(f"django_app_subdirectory: there is no folder {folder} in {local}. Name manage.py's.")
        return Source(local / folder)
    if GIT_ADDRESS.match(source):
        repository, top = fetched(source, version, cache), ""
    elif in_git(local):
        path, top = git("rev-parse", "--show-toplevel", "--show-prefix", cwd=local).decode().splitlines()
        repository = Path(path)
    else:
        raise ProjectError(
            f"django_app_version is {version}, but {local} is no git repository. Leave the version empty."
        )
    commit = commit_of(repository, version)
    if not commit:
        raise ProjectError(f"django_app_version: {source} has no tag, branch or commit {version}. Name one it has.")
    return Source(repository, commit, posixpath.join(top, folder).rstrip("/"))


def fetched(address: str, version: str, cache: Path) -> Path:
    """The bare copy of a remote repository, brought up to date unless it already holds the full commit asked for.

    Raises:
        ProjectError: the repository cannot be reached; with git's own message.
    """
    repository = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.git"
    with open(f"{repository}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        git("init", "--quiet", "--bare", repository)
        if FULL_COMMIT.fullmatch(version) and commit_of(repository, version):
            return repository
        try:
            git(
                *("fetch", "--quiet", "--force", "--prune", "--no-tags", "--", address),
                *("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"),
                cwd=repository,
            )
        except subprocess.CalledProcessError as error:
            raise ProjectError(f"django_app_source: git cannot fetch {address}: {said(error)}") from error
        except subprocess.TimeoutExpired as error:
            raise ProjectError(f"django_app_source: git did not fetch {address} within {FETCH_TIMEOUT} s.") from error
    return repository


def commit_of(repository: Path, version: str) -> str:
    """The commit a tag, branch or commit name stands for, tags first; empty when there is none."""
    for name in (f"refs/tags/{version}", f"refs/heads/{version}", f"refs/remotes/origin/{version}", version):
        try:
            found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", cwd=repository)
        except subprocess.CalledProcessError:
            continue
        return found.decode().strip()
    return ""
