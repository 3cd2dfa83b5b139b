"""What of a project is packed, and the archive that is made of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import posixpath
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .source import ProjectError, Source, git, in_git

ARCHIVES_KEPT = 10
# What is no static file, by the end of its name.
SOURCES = (".py", ".env", ".key", ".sqlite3")
LEFT_OUT = {".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


@dataclass(frozen=True)
class Entry:
    """One file (its content) or symbolic link (its target) of the project."""

    data: bytes
    executable: bool = False
    link: bool = False


def target_of(name: str, entry: Entry) -> str:
    """Where a link of the project points to, relative to the project; an absolute target stays absolute."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), os.fsdecode(entry.data)))


def entries_of(source: Source, cache: Path) -> dict[str, Entry]:
    """The project's files and links by name.

    Raises:
        ProjectError: a file cannot be read, a folder is missing or a submodule is not there.
    """
    if source.commit:
        return entries_of_commit(source.folder, source.commit, source.inside)
    return entries_of_folder(source.folder, cache)


def entries_of_folder(folder: Path, cache: Path) -> dict[str, Entry]:
    """The files of a folder as they lie there: what git tracks or would add, without virtualenvs and caches.

    Raises:
        ProjectError: a file cannot be read, or a submodule is not checked out.
    """
    git_dir = None
    if not in_git(folder):
        git_dir = cache / "empty.git"
        git("init", "--quiet", "--bare", git_dir)
    entries = {}
    names = list(listed_by_git(folder, git_dir=git_dir))
    environments = {Path(name).parent for name in names if posixpath.basename(name) == "pyvenv.cfg"}
    for name in names:
        path, relative = folder / name, Path(name)
        if LEFT_OUT & set(relative.parts) or environments & set(relative.parents):
            continue
        try:
            if path.is_symlink():
                entries[name] = Entry(os.fsencode(os.readlink(path)), link=True)
            elif path.is_file():
                entries[name] = Entry(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
        except OSError as error:
            raise ProjectError(f"django_app_source: {path} cannot be read: {error.strerror}.") from error
    return entries


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
                raise ProjectError(
                    f"django_app_source: the submodule {path} is not checked out. Run `git submodule update --init`."
                )
            yield from (f"{name}/{inner}" for inner in listed_by_git(path))
        elif os.path.lexists(path):
            yield name


def entries_of_commit(repository: Path, commit: str, folder: str) -> dict[str, Entry]:
    """The files of a commit below a folder.

    Raises:
        ProjectError: there is no such folder, or it holds a submodule.
    """
    tree = f"{commit}:{folder}"
    try:
        listing = git("ls-tree", "-r", "-z", "--full-tree", tree, cwd=repository).decode(errors="surrogateescape")
    except subprocess.CalledProcessError as error:
        raise ProjectError(f"django_app_subdirectory: the version has no folder {folder}. Name manage.py's.") from error
    for line in filter(None, listing.split("\0")):
        if line.startswith("160000"):
            raise ProjectError(
                f"django_app_version holds the submodule {line.partition(chr(9))[2]}, which is not fetched. "
                "Vendor it, or deploy from a folder it is checked out in."
            )
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", tree, cwd=repository))) as archive:
        return entries_of_archive(archive)


def entries_of_archive(archive: tarfile.TarFile) -> dict[str, Entry]:
    """The files and links in a tar, by name."""
    entries = {}
    for member in archive:
        if member.issym():
            entries[member.name] = Entry(os.fsencode(member.linkname), link=True)
        elif member.isfile():
            content = archive.extractfile(member)
            entries[member.name] = Entry(content.read() if content else b"", executable=bool(member.mode & 0o100))
    return entries


def link_problems(entries: Mapping[str, Entry]) -> list[str]:
    """The links that leave the project, a sentence each: on the server they would point anywhere."""
    return [
        f"django_app_source: the link {name} leaves the project (it points to {os.fsdecode(entry.data)}). "
        "Replace it by the file."
        for name, entry in entries.items()
        if entry.link and target_of(name, entry).split("/")[0] in ("", "..")
    ]


def static_problems(entries: Mapping[str, Entry], static_root: str) -> list[str]:
    """Why the folder of the static files must not be shown to visitors, a sentence or none: it holds source, or is a link.

    Args:
        entries: the project's files.
        static_root: the folder, relative to the project; empty for none.
    """
    folder = posixpath.normpath(static_root) if static_root else ""
    if not folder:
        return []
    if blocked := _blocking(entries, folder, itself=True):
        return [
            f"django_app_static_root is {static_root}, but {blocked} is a link or a file in the project: name a folder."
        ]
    source = next((name for name in sorted(entries) if name.startswith(f"{folder}/") and name.endswith(SOURCES)), "")
    if not source:
        return []
    return [
        f"django_app_static_root is {static_root}, where the project keeps source ({source}), which visitors would read: "
        "name the folder that STATIC_ROOT collects into, and nothing else."
    ]


def shared_problems(entries: Mapping[str, Entry], paths: Iterable[str]) -> list[str]:
    """Why a folder cannot be shared by all releases, a sentence each: the project keeps code there, or it is no folder.

    Args:
        entries: the project's files.
        paths: folders relative to the project, normal.
    """
    found = []
    for path in paths:
        if blocked := _blocking(entries, path, itself=True):
            found.append(
                f"django_app_shared_paths: {path!r}, but {blocked} is a link or a file in the project: name a folder."
            )
        elif source := next(
            (name for name in sorted(entries) if name.startswith(f"{path}/") and name.endswith(".py")), ""
        ):
            found.append(
                f"django_app_shared_paths: {path!r} holds code ({source}), which would stay as it is in every later release: name a "
                "folder that the project writes to, and nothing else."
            )
    return found


def file_problems(entries: Mapping[str, Entry], paths: Iterable[str]) -> list[str]:
    """Why a file cannot be given to the project at a path, a sentence each: it has a folder there, or something else in the way.

    Args:
        entries: the project's files.
        paths: relative to the project, normal.
    """
    found = []
    for path in paths:
        if blocked := _blocking(entries, path, itself=False):
            found.append(
                f"django_app_files: {path!r}, but {blocked} is a link or a file in the project: name a folder."
            )
        elif any(name.startswith(f"{path}/") for name in entries):
            found.append(f"django_app_files: {path!r} is a folder of the project: name a file.")
    return found


def _blocking(entries: Mapping[str, Entry], path: str, *, itself: bool) -> str:
    """What of a path's folders is none; with `itself`, the path is one of them. Empty if all may be."""
    folders = [path] * itself + [str(parent) for parent in PurePosixPath(path).parents]
    return next((name for name in folders if name in entries), "")


def digest_of(entries: Mapping[str, Entry]) -> str:
    """SHA-256 over names, kinds, modes and contents, independent of order and times."""
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        kind = "link" if entry.link else "executable" if entry.executable else "file"
        content = hashlib.sha256(entry.data).hexdigest()
        digest.update(f"{kind} {content} ".encode() + os.fsencode(name) + b"\0")
    return digest.hexdigest()


def store(entries: Mapping[str, Entry], digest: str, cache: Path) -> Path:
    """The archive of these entries in the cache, written if it is not there; the cache keeps those used last."""
    archive = cache / f"{digest}.tar.gz"
    if archive.exists():
        os.utime(archive)
    else:
        write_archive(entries, archive)
        forget_old_archives(cache)
    return archive


def write_archive(entries: Mapping[str, Entry], path: Path) -> None:
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
    """Keep the archives used last, and as many builds and locks."""

    def age(path: Path) -> float:
        try:
            return -path.stat().st_mtime
        except FileNotFoundError:  # another run cleans the same cache
            return 0

    for kind in ("*.tar.gz", "*.built", "*.txt"):
        for path in sorted(cache.glob(kind), key=age)[ARCHIVES_KEPT:]:
            path.unlink(missing_ok=True)
