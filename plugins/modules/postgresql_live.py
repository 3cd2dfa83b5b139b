#!/usr/bin/python
"""Ansible module: the running PostgreSQL has the settings that were written."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import ServiceError, Systemctl

DOCUMENTATION = r"""
module: postgresql_live
short_description: Have the running PostgreSQL use what was written, and prove it
description:
  - Waits until PostgreSQL has loaded its files, restarts it for settings that a reload does not take over (another port among
    them), and fails where a setting is overruled elsewhere or a line of pg_hba.conf is refused.
options:
  service:
    description: PostgreSQL's unit.
    type: str
    required: true
  data_directory:
    description: The cluster's data directory, where the live server says on which port it listens.
    type: path
    required: true
  file:
    description: The file that holds the settings.
    type: path
    required: true
  hba_file:
    description: The file that says who may connect.
    type: path
    required: true
  settings:
    description: Names of the settings that have to come from the file.
    type: list
    elements: str
    required: true
author: Stockpot
"""

EXAMPLES = r"""
- name: Prove that the live PostgreSQL has these settings
  stockpot.stack.postgresql_live:
    service: postgresql@17-main
    data_directory: /var/lib/postgresql/17/main
    file: /etc/postgresql/17/main/conf.d/managed.conf
    hba_file: /etc/postgresql/17/main/pg_hba.conf
    settings: [shared_buffers, work_mem]
"""

RETURN = r"""
restarted_for:
  description: The settings that needed a restart.
  type: list
  elements: str
  returned: success
"""

# Of several places that name a setting PostgreSQL takes the last; postgresql.auto.conf (ALTER SYSTEM) comes after all files.
QUESTION = """
SELECT json_build_object(
  'loaded_at', extract(epoch FROM pg_conf_load_time()),
  'waiting', coalesce((SELECT json_agg(name ORDER BY name) FROM pg_settings WHERE pending_restart), '[]'),
  'refused', coalesce((SELECT json_agg(line_number || ': ' || error) FROM pg_hba_file_rules WHERE error IS NOT NULL), '[]'),
  'overruled', coalesce((
    SELECT json_agg(name ORDER BY name) FROM pg_settings LEFT JOIN (
      SELECT DISTINCT ON (name) name, sourcefile AS last_file FROM pg_file_settings ORDER BY name, seqno DESC
    ) AS files USING (name)
    WHERE name = ANY(string_to_array(:'names', ','))
      AND (last_file <> :'file' OR sourcefile IS DISTINCT FROM :'file' AND NOT pending_restart)), '[]'))
"""
WAIT_SECONDS = 20
POLL_SECONDS = 0.2


class PostgresqlError(Exception):
    """What an operator has to be told."""


class Cluster:
    """The running cluster, asked through its socket as its own system user."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._given = module.params

    def port(self) -> str:
        """The port that the live server listens on, which is not the file's until it was restarted.

        Source: https://www.postgresql.org/docs/current/storage-file-layout.html (postmaster.pid).
        """
        try:
            return (Path(self._given["data_directory"]) / "postmaster.pid").read_text().splitlines()[3]
        except (OSError, IndexError) as error:
            raise PostgresqlError(f"PostgreSQL does not run: {error}") from error

    def ask(self) -> dict[str, Any]:
        """What is loaded, and what is not yet. Raises PostgresqlError when the server does not answer."""
        code, output, errors = self._module.run_command(
            [
                *("runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "--tuples-only", "--no-align"),
                *("--set", f"names={','.join(self._given['settings'])}", "--set", f"file={self._given['file']}"),
                *("--port", self.port(), "--dbname", "postgres", "--file", "-"),
            ],
            data=QUESTION,
            cwd="/",
        )
        if code != 0:
            raise PostgresqlError(f"PostgreSQL does not answer: {errors.strip()}")
        return json.loads(output)

    def loaded(self) -> dict[str, Any]:
        """The answer once the files are loaded, which happens a moment after the signal. Raises PostgresqlError when they never are."""
        written_at = max(os.stat(self._given[file]).st_mtime for file in ("file", "hba_file"))
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            state = self.ask()
            if state["loaded_at"] >= written_at:
                return state
            if time.monotonic() > deadline:
                raise PostgresqlError(
                    f"PostgreSQL has not loaded {self._given['file']} {WAIT_SECONDS} s after it was told to; "
                    f"look at: journalctl -u {self._given['service']} and /var/log/postgresql."
                )
            time.sleep(POLL_SECONDS)


def complaint(state: dict[str, Any]) -> str:
    """What is wrong with the live server; empty when nothing is."""
    if not (state["overruled"] or state["waiting"] or state["refused"]):
        return ""
    return (
        "PostgreSQL does not run with what its configuration says. "
        f"Settings overruled elsewhere: {', '.join(state['overruled']) or 'none'}. "
        f"Waiting for a restart: {', '.join(state['waiting']) or 'none'}. "
        f"Lines of pg_hba.conf refused: {', '.join(state['refused']) or 'none'}. "
        "Somebody changed it by hand: take that back with ALTER SYSTEM RESET and run this again; where it was meant, put the "
        "setting into postgresql_settings."
    )


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "data_directory": {"type": "path", "required": True},
            "file": {"type": "path", "required": True},
            "hba_file": {"type": "path", "required": True},
            "settings": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    cluster = Cluster(module)
    try:
        state = cluster.loaded()
        waiting = [] if state["overruled"] else state["waiting"]
        if waiting and not module.check_mode:
            Systemctl().run("restart", module.params["service"])
            state = cluster.loaded()
    except (PostgresqlError, ServiceError) as error:
        journal = Systemctl().journal(module.params["service"])
        module.fail_json(msg=f"{error}\nThe journal of {module.params['service']} ends with:\n{journal}")
    if not (module.check_mode and waiting) and (message := complaint(state)):
        module.fail_json(msg=message)
    module.exit_json(changed=bool(waiting), restarted_for=waiting)


if __name__ == "__main__":
    main()
