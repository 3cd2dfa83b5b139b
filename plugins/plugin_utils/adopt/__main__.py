"""`bin/adopt` and `bin/environment`: what they print."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt import (
    FOUND,
    GUESS,
    OPEN,
    Adopted,
    adopt,
    environment,
)
from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt.project import NoProject
from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt.writing import EnvironmentRefused
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError

# What the sentences about a project call what `make adopt` is given.
GIVEN = {"django_app_source": "SOURCE", "django_app_version": "VERSION"}
NEXT = """\
Next: put the server's address into inventories/{name}/hosts.yml and what is FILL_IN into group_vars/{name}/main.yml, then
  make secrets ENV={name}
  .venv/bin/ansible-playbook -i inventories/{name} site.yml --ask-vault-pass --check --diff
  .venv/bin/ansible-playbook -i inventories/{name} site.yml --ask-vault-pass"""


def main(root: Path, name: str, source: str | None = None, version: str = "") -> int:
    """Write an environment; without a source, one for a project like the reference application. Returns the exit status."""
    command = "environment" if source is None else "adopt"
    try:
        if source is None:
            environment(root, name)
            told = [f"environment: wrote inventories/{name}/hosts.yml and group_vars/{name}/main.yml."]
        elif not source:
            raise EnvironmentRefused(
                "SOURCE is empty: name a project's folder or git address. As: make adopt ENV=shop SOURCE=/path"
            )
        else:
            told = summary(name, adopt(root, name, source=source, version=version))
    except (EnvironmentRefused, NoProject) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except ProjectError as error:
        for problem in error.problems:
            for variable, given in GIVEN.items():
                problem = problem.replace(variable, given)
            print(f"{command}: {problem}", file=sys.stderr)
        return 2
    print("\n".join([*told, NEXT.format(name=name)]))
    return 0


def summary(name: str, adopted: Adopted) -> list[str]:
    """How much was found, guessed and left open, with the names of what is open."""
    counts = {state: len(adopted.of(state)) for state in (FOUND, GUESS, OPEN)}
    still = [*(value.name for value in adopted.of(OPEN)), f"ansible_host of {name.replace('_', '-')}-1"]
    return [
        f"adopt: wrote inventories/{name}/hosts.yml and group_vars/{name}/main.yml in {adopted.seconds:.1f} s: "
        f"{counts[FOUND]} values found, {counts[GUESS]} guessed, {len(still)} open.",
        f"Open: {', '.join(still)}",
    ]


if __name__ == "__main__":
    folder, *given = sys.argv[1:]
    sys.exit(main(Path(folder), *given[:3]))
