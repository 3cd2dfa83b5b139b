#!/usr/bin/python3
"""Pack a Django project, on the control node, into an archive whose name is its content."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import os
import posixpath
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: application_archive
short_description: Pack a Django project into an archive whose name is its content
description:
  - Runs on the control node (C(delegate_to) localhost). Servers get the archive and need neither git nor deploy keys.
  - From a folder, packs what git tracks and what it neither tracks nor ignores. Ignored files never leave the machine.
    A folder outside git is treated alike, its own C(.gitignore) files included; virtualenvs and caches stay out.
  - From a git address, or a folder and a O(version), packs that version. Fetching uses the caller's own ssh keys and git settings.
  - Writes nothing but its cache, in check mode too, so it never reports a change.
options:
  source:
    description: Absolute path of a folder on the control node, or a git address.
    type: str
    required: true
  version:
    description: Tag, branch or commit. Needed with a git address; empty with a folder packs the files as they lie there.
    type: str
    default: ""
  subdirectory:
    description: Folder inside the source that holds manage.py, when that is not its top.
    type: str
    default: ""
  requirements:
    description: Requirements file with hashes, relative to manage.py's folder.
    type: str
    default: requirements.txt
  packages:
    description: Packages the requirements file has to hold.
    type: list
    elements: str
    default: []
  cache:
    description: Folder for archives and fetched repositories.
    type: path
    default: ~/.cache/stockpot
"""

RETURN = r"""
archive:
  description: Path of the gzipped tar on the control node.
  type: str
  returned: success
digest:
  description: SHA-256 over names, modes and contents. The same files give the same digest on any machine.
  type: str
  returned: success
commit:
  description: The commit the version stands for, empty without a version. As a version it needs no fetching.
  type: str
  returned: success
"""

ARCHIVES_KEPT = 10
FETCH_TIMEOUT = 600  # seconds
VARIABLES_IN = "(group_vars/all/app.yml, or what overrides it)"
LEFT_OUT = {".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
GIT_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*://|[^/\s]+@[^/\s:]+:)")
REQUIREMENT_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


class ArchiveError(Exception):
    """The project cannot be packed; the first argument is the option at fault, the second what to do about it."""


@dataclass(frozen=True)
class Entry:
    """One file (its content) or symbolic link (its target) of the project."""

    data: bytes
    executable: bool = False
    link: bool = False


def git(*arguments: str | Path, cwd: Path | None = None) -> bytes:
    """Run git without a terminal, so that it fails instead of asking for a password.

    Raises subprocess.CalledProcessError (stderr holds git's message) or subprocess.TimeoutExpired.
    """
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


def in_git(folder: Path) -> bool:
    """Whether the folder is part of a git work tree. Raises ArchiveError when git refuses to look at it."""
    try:
        return git("rev-parse", "--is-inside-work-tree", cwd=folder).strip() == b"true"
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace").strip()
        if "not a git repository" in message:
            return False
        raise ArchiveError("source", f"git cannot read {folder}: {message}") from error


def listed_by_git(folder: Path, *, git_dir: Path | None = None) -> Iterator[str]:
    """The names below a folder that git tracks or would add, nested repositories included.

    With git_dir (of an empty repository), a folder outside git is listed by its .gitignore files.
    """
    options = ("--git-dir", git_dir, "--work-tree", folder) if git_dir else ()
    names = git(*options, "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=folder)
    for name in sorted({name.rstrip("/") for name in names.decode(errors="surrogateescape").split("\0") if name}):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            if not (path / ".git").exists():
                raise ArchiveError(
                    "source", f"the submodule {path} is not checked out. Run `git submodule update --init`."
                )
            yield from (f"{name}/{inner}" for inner in listed_by_git(path))
        elif os.path.lexists(path):
            yield name


def entries_of_folder(folder: Path, cache: Path) -> dict[str, Entry]:
    """The files of a folder as they lie there. Raises ArchiveError for one that cannot be read."""
    git_dir = None
    if not in_git(folder):
        git_dir = cache / "empty.git"
        git("init", "--quiet", "--bare", git_dir)
    entries = {}
    names = list(listed_by_git(folder, git_dir=git_dir))
    environments = {Path(name).parent for name in names if posixpath.basename(name) == "pyvenv.cfg"}
    for name in names:
        path = folder / name
        relative = Path(name)
        if LEFT_OUT & set(relative.parts) or environments & set(relative.parents):
            continue
        try:
            if path.is_symlink():
                entries[name] = Entry(os.fsencode(os.readlink(path)), link=True)
            elif path.is_file():
                entries[name] = Entry(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
        except OSError as error:
            raise ArchiveError("source", f"{path} cannot be read: {error.strerror}.") from error
    return entries


def fetched(address: str, version: str, cache: Path) -> Path:
    """The bare copy of a remote repository, brought up to date unless it already holds the full commit asked for.

    Raises ArchiveError with git's own message when the repository cannot be reached.
    """
    repository = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.git"
    with open(f"{repository}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        git("init", "--quiet", "--bare", repository)
        if re.fullmatch(r"[0-9a-f]{40}", version) and commit_of(repository, version):
            return repository
        try:
            git(
                *("fetch", "--quiet", "--force", "--prune", "--no-tags", "--", address),
                *("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"),
                cwd=repository,
            )
        except subprocess.CalledProcessError as error:
            message = error.stderr.decode(errors="replace").strip()
            raise ArchiveError("source", f"git cannot fetch {address}: {message}") from error
        except subprocess.TimeoutExpired as error:
            raise ArchiveError("source", f"git did not fetch {address} within {FETCH_TIMEOUT} s.") from error
    return repository


def commit_of(repository: Path, version: str) -> str:
    """The commit a tag, branch or commit name stands for, tags first; empty when there is none."""
    for name in (f"refs/tags/{version}", f"refs/heads/{version}", f"refs/remotes/origin/{version}", version):
        found = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"],
            cwd=repository,
            capture_output=True,
            text=True,
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return ""


def entries_of_commit(repository: Path, commit: str, folder: str) -> dict[str, Entry]:
    """The files of a commit below a folder. Raises ArchiveError for a missing folder or one with submodules."""
    tree = f"{commit}:{folder}"
    try:
        listing = git("ls-tree", "-r", "-z", "--full-tree", tree, cwd=repository).decode(errors="surrogateescape")
    except subprocess.CalledProcessError as error:
        raise ArchiveError("subdirectory", f"the version has no folder {folder}.") from error
    for line in filter(None, listing.split("\0")):
        if line.startswith("160000"):
            raise ArchiveError(
                "version",
                f"holds the submodule {line.partition(chr(9))[2]}, which is not fetched. "
                "Vendor it, or deploy from a folder it is checked out in.",
            )
    entries = {}
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", tree, cwd=repository))) as archive:
        for member in archive:
            if member.issym():
                entries[member.name] = Entry(os.fsencode(member.linkname), link=True)
            elif member.isfile():
                content = archive.extractfile(member)
                entries[member.name] = Entry(content.read() if content else b"", executable=bool(member.mode & 0o100))
    return entries


def check_links(entries: dict[str, Entry]) -> None:
    """Raise ArchiveError for a symbolic link that leaves the project: on the server it would point anywhere."""
    for name, entry in entries.items():
        if entry.link:
            target = os.fsdecode(entry.data)
            inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if target.startswith("/") or inside.split("/")[0] == "..":
                raise ArchiveError(
                    "source", f"the link {name} leaves the project (it points to {target}). Replace it by the file."
                )


def requirement_names(entries: dict[str, Entry], name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The normalised names of all packages in a requirements file and those it includes.

    Raises ArchiveError when a file is missing or a requirement has no hash.
    """
    if name not in entries:
        raise ArchiveError("requirements", f"there is no {name} beside manage.py, or git ignores it.")
    names: set[str] = set()
    text = entries[name].data.decode(errors="replace")
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        requirement = re.sub(r"(^|\s)#.*", "", line).strip()
        included = re.match(r"^(?:-r|--requirements?)[\s=]+(\S+)", requirement)
        if included:
            inner = posixpath.normpath(posixpath.join(posixpath.dirname(name), included[1]))
            if inner not in seen:
                names |= requirement_names(entries, inner, seen | {name})
        elif requirement and (not requirement.startswith("-") or requirement.startswith(("-e", "--editable"))):
            if "--hash=" not in requirement:
                raise ArchiveError(
                    "requirements",
                    f"{requirement.split(' ')[0]!r} in {name} has no hash. Lock the file: "
                    f"`uv pip compile --universal --generate-hashes requirements.in -o {name}`.",
                )
            if found := REQUIREMENT_NAME.match(requirement):
                names.add(re.sub(r"[-_.]+", "-", found[0]).lower())
    return names


def content_digest(entries: dict[str, Entry]) -> str:
    """SHA-256 over names, kinds, modes and contents, independent of order and times."""
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        kind = "link" if entry.link else "executable" if entry.executable else "file"
        content = hashlib.sha256(entry.data).hexdigest()
        digest.update(f"{kind} {content} ".encode() + os.fsencode(name) + b"\0")
    return digest.hexdigest()


def write_archive(entries: dict[str, Entry], path: Path) -> None:
    """Write a gzipped tar, byte for byte the same for the same entries, in one step."""
    folders = sorted({str(parent) for name in entries for parent in Path(name).parents if str(parent) != "."})
    with (
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=".archive-", delete=False) as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for folder in folders:
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, entry in sorted(entries.items()):
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if entry.executable else 0o644
            if entry.link:
                member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(entry.data)
                archive.addfile(member)
            else:
                member.size = len(entry.data)
                archive.addfile(member, io.BytesIO(entry.data))
    os.replace(file.name, path)


def forget_old_archives(cache: Path) -> None:
    """Keep the archives used last."""

    def age(path: Path) -> float:
        try:
            return -path.stat().st_mtime
        except FileNotFoundError:  # another run cleans the same cache
            return 0

    for path in sorted(cache.glob("*.tar.gz"), key=age)[ARCHIVES_KEPT:]:
        path.unlink(missing_ok=True)


def application_archive(
    *, source: str, version: str, subdirectory: str, requirements: str, packages: list[str], cache: Path
) -> dict[str, str]:
    """Pack the project; returns the archive's path, the content's digest and the commit.

    Raises ArchiveError (option at fault, message) for whatever the operator has to change.
    """
    folder = posixpath.normpath(subdirectory) if subdirectory else ""
    if folder.startswith(("/", "..")):
        raise ArchiveError("subdirectory", f"{subdirectory} has to be a folder inside the source.")
    folder = "" if folder == "." else folder
    cache.mkdir(parents=True, exist_ok=True)
    commit = ""
    remote = bool(GIT_ADDRESS.match(source))
    local = Path(source).expanduser()
    if re.match(r"^[a-z+]+://[^/@]*:[^/@]*@", source):
        raise ArchiveError("source", "holds a password. Use an ssh address or a git credential helper instead.")
    if version.startswith("-"):
        raise ArchiveError("version", f"{version} is no tag, branch or commit.")
    if remote and not version:
        raise ArchiveError("version", f"is empty. Name the tag, branch or commit of {source} to deploy.")
    if not remote and not local.is_absolute():
        raise ArchiveError("source", f"{source!r} is neither an absolute path on the control node nor a git address.")
    if not remote and not local.is_dir():
        raise ArchiveError("source", f"there is no folder {local} on the control node.")
    if version:
        if not remote and not in_git(local):
            raise ArchiveError("version", f"is {version}, but {local} is no git repository. Leave the version empty.")
        if remote:
            repository, inside = fetched(source, version, cache), ""
        else:
            top, inside = git("rev-parse", "--show-toplevel", "--show-prefix", cwd=local).decode().splitlines()
            repository = Path(top)
        commit = commit_of(repository, version)
        if not commit:
            raise ArchiveError("version", f"{source} has no tag, branch or commit {version}.")
        entries = entries_of_commit(repository, commit, posixpath.join(inside, folder).rstrip("/"))
    elif folder and not (local / folder).is_dir():
        raise ArchiveError("subdirectory", f"there is no folder {folder} in {local}.")
    else:
        entries = entries_of_folder(local / folder, cache)
    if "manage.py" not in entries:
        raise ArchiveError(
            "subdirectory", f"there is no manage.py in {posixpath.join(source, folder)}. Name the folder that holds it."
        )
    check_links(entries)
    missing = set(packages) - requirement_names(entries, posixpath.normpath(requirements))
    if missing:
        raise ArchiveError("requirements", f"{requirements} does not hold {', '.join(sorted(missing))}. Add and lock.")
    digest = content_digest(entries)
    archive = cache / f"{digest}.tar.gz"
    if archive.exists():
        os.utime(archive)
    else:
        write_archive(entries, archive)
        forget_old_archives(cache)
    return {"archive": str(archive), "digest": digest, "commit": commit}


def main() -> None:
    """The Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "subdirectory": {"type": "str", "default": ""},
            "requirements": {"type": "str", "default": "requirements.txt"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "cache": {"type": "path", "default": "~/.cache/stockpot"},
        },
        supports_check_mode=True,
    )
    module.get_bin_path("git", required=True)
    try:
        result = application_archive(**{**module.params, "cache": Path(module.params["cache"])})
    except ArchiveError as error:
        option, message = error.args
        module.fail_json(msg=f"django_app_{option} {VARIABLES_IN}: {message}")
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"{' '.join(error.cmd)}: {error.stderr.decode(errors='replace').strip()}")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
