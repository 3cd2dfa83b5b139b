"""A Django project, packed on the control node into an archive whose name is its content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .archive import digest_of, entries_of, link_problems, store
from .requirements import requirement_problems
from .source import ProjectError, find_source


def pack(
    *, source: str, version: str, subdirectory: str, requirements: str, packages: Iterable[str], cache: Path
) -> dict[str, str]:
    """Pack a project.

    Args:
        source: absolute path of a folder on this machine, or a git address.
        version: tag, branch or commit; empty packs a folder as it lies there.
        subdirectory: folder inside the source that holds manage.py; empty for its top.
        requirements: requirements file with hashes, relative to manage.py's folder.
        packages: what the requirements file has to hold.
        cache: folder for archives and fetched repositories.

    Returns:
        `archive` (its path), `digest` (of the content) and `commit` (empty without a version).

    Raises:
        ProjectError: with a sentence for everything that the operator has to change.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = find_source(source=source, version=version, subdirectory=subdirectory, cache=cache)
    entries = entries_of(found, cache)
    if "manage.py" not in entries:
        raise ProjectError(
            f"django_app_subdirectory: there is no manage.py in {'/'.join(filter(None, (source, subdirectory)))}. "
            "Name the folder that holds it."
        )
    problems = [*link_problems(entries), *requirement_problems(entries, requirements, packages)]
    if problems:
        raise ProjectError(*problems)
    digest = digest_of(entries)
    return {"archive": str(store(entries, digest, cache)), "digest": digest, "commit": found.commit}
