#!/usr/bin/python
"""Ansible module: the authority with which a server makes its services' certificates."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.files import File, write

DOCUMENTATION = r"""
module: intermediate_authority
short_description: Have a server make its services' certificates by itself, for its own names alone
description:
  - Gives a server an authority below the deployment's, whose certificate names what it may give certificates for, and that it may make no
    further authority. Its key is made on the server and stays there, for root alone.
  - The certificate is made on the control node, which alone has the deployment's key. It is made anew in its last year, for other names, and
    for another authority of the deployment.
options:
  path:
    description: The file of the server's key and certificate.
    type: path
    required: true
  names:
    description: The server's host names and IP addresses, with those of its services; at least one of each kind.
    type: list
    elements: str
    required: true
notes:
  - The variables C(certificates_authority) and C(certificates_authority_key) hold the deployment's authority.
author: Stockpot
"""

EXAMPLES = r"""
- name: Have the server an authority for its own names
  stockpot.stack.intermediate_authority:
    path: /etc/ssl/services/shop/intermediate.pem
    names: [data-1, 10.0.0.3]
"""

RETURN = r"""
certificate:
  description: The certificate that the server has; empty for none.
  type: str
  returned: success
public_key:
  description: The server's public key, which the certificate is for; empty where a check only foretells it.
  type: str
  returned: success
"""

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
KEY = re.compile(r"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", re.DOTALL)


def openssl(*words: str, given: str = "") -> str:
    """What OpenSSL answers; a key only ever passes through a pipe.

    Raises:
        OSError: it is not there, or says that it cannot.
    """
    done = subprocess.run(["openssl", *words], input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"openssl {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def own(path: Path) -> dict[str, str]:
    """A file that is for whoever runs this, alone."""
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    return {"path": os.fspath(path), "owner": owner, "group": group, "mode": "0600"}


def found_in(pattern: re.Pattern[str], text: str) -> str:
    """The first part of a text that matches; empty for none."""
    found = pattern.search(text)
    return found[0] if found else ""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            # What the control node has made: its part of this fills it in.
            "certificate": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        text = path.read_text() if path.exists() else ""
        key, certificate = found_in(KEY, text), module.params["certificate"] or found_in(CERTIFICATE, text)
        if not key and not module.check_mode:
            key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        changed = key + certificate != text
        if changed and not module.check_mode:
            with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
                write(File(content=key + certificate, secret=True, **own(path)), scratch=scratch)
        public_key = openssl("pkey", "-pubout", given=key) if key else ""
    except OSError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, certificate=certificate, public_key=public_key)


if __name__ == "__main__":
    main()
