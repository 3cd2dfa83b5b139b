#!/usr/bin/python
"""Write several files in one call, each with its owner, mode and validation."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.files import OPTIONS, File, FileError, write

DOCUMENTATION = r"""
module: written_files
short_description: Write several files in one call
description:
  - Writes files one after the other, in the order given, each in one step after its validation succeeded.
    So a file that systemd-sysusers or systemd-tmpfiles validates makes the users and folders of those after it.
  - In check mode foretells what would be written; owners and groups that a bare server lacks are no error then.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where it stands. Its folder is made when it is missing.
        type: path
        required: true
      content:
        description: What is in it.
        type: str
      secret_content:
        description: The same for what no output, difference or journal may show.
        type: str
      owner:
        description: User it belongs to.
        type: str
        default: root
      group:
        description: Group it belongs to.
        type: str
        default: root
      mode:
        description: Its mode in octal digits.
        type: str
        default: "0644"
      validate:
        description:
          - Command that has to succeed before the new file takes its place; C(%s) is the new file.
          - Words as in a shell, without one.
        type: str
        default: ""
      made_by:
        description:
          - A command (words, no shell) that makes the file C(%s) where it is missing; a file that is there stays as it is. What it makes is
            never shown. Empty for a file that is not to be made.
        type: str
      hold:
        description: Do not write it; the result says in C(held) if it would have been.
        type: bool
        default: false
  look_for:
    description: Paths of which the result says whether they are there, which spares a task that asks for it.
    type: list
    elements: path
    default: []
author: Stockpot
"""

EXAMPLES = r"""
- name: Write the user and a file of theirs
  stockpot.stack.written_files:
    files:
      - path: /etc/sysusers.d/library.conf
        content: "u library - - /var/lib/library\n"
        validate: systemd-sysusers %s
      - path: /etc/library.key
        secret_content: "{{ library_key }}"
        group: library
        mode: "0640"
"""

RETURN = r"""
written:
  description: Paths of the files whose content, owner, group or mode was another.
  type: list
  elements: str
  returned: success
held:
  description: Paths of the files that are to be held back and have another content, owner, group or mode.
  type: list
  elements: str
  returned: success
missing:
  description: Those of O(look_for) that are not there.
  type: list
  elements: str
  returned: success
"""


class Module(AnsibleModule):
    """An Ansible module that does not put its arguments, the files' texts, into the host's journal.

    Ansible searches what it logs for secrets as they are; in a list they are spelled otherwise, with \\n for a line's end.
    """

    def _log_invocation(self) -> None:
        self.log(f"Invoked for {', '.join(file['path'] for file in self.params['files'])}")


def main() -> None:
    """Ansible's entry point."""
    module = Module(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    **OPTIONS,
                    "made_by": {"type": "str"},
                    "hold": {"type": "bool", "default": False},
                },
                "mutually_exclusive": [("content", "secret_content", "made_by")],
                "required_one_of": [("content", "secret_content", "made_by")],
            },
            "look_for": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    written, held, diff = [], [], []
    for entry in module.params["files"]:
        file = File.given(entry)
        if not file:
            continue
        try:
            outcome = write(file, scratch=module.tmpdir, check_mode=module.check_mode or entry["hold"])
        except (FileError, OSError) as error:
            module.fail_json(msg=str(error), written=written)
        if entry["hold"]:
            held += [file.path] if outcome.written or outcome.adjusted else []
            continue
        if outcome.written or outcome.adjusted:
            written.append(file.path)
        diff += outcome.diff
    missing = [path for path in module.params["look_for"] if not os.path.exists(path)]
    module.exit_json(changed=bool(written), written=written, held=held, missing=missing, diff=diff)


if __name__ == "__main__":
    main()
