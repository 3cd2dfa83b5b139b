"""A server behind a proxy that inspects TLS trusts the authority that the operator names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testinfra.host import Host

LAB = Path(__file__).resolve().parents[3] / ".lab/default"


def test_an_authority_is_refused_until_it_is_named(
    host: Host, host_name: str, converge_again: Callable[..., Any], tmp_path: Path
) -> None:
    """By openssl with the system's trust store, as the installers use it."""
    authority = tmp_path / f"{host_name}.crt"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=Trial",
    ]
    subprocess.run([*make, "-keyout", tmp_path / "key", "-out", authority], check=True, capture_output=True, timeout=60)
    subprocess.run(
        ["ssh", "-F", LAB / "ssh_config", host_name, "cat >/root/trial.pem"],
        input=authority.read_bytes(),
        check=True,
        timeout=60,
    )
    verify = "openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt /root/trial.pem"
    assert host.run(verify).rc != 0

    named = json.dumps({"trusted_certificate_authorities": [str(authority)]})
    run = converge_again("-e", named, limit=host_name, playbook="../../playbooks/base.yml")
    assert run.returncode == 0, run.stdout
    assert host.run(verify).rc == 0
