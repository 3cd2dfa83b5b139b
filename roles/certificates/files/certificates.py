#!/usr/bin/python3
"""Makes and renews the certificates of this server's services, from the authority that the deployment gave it.

certificates.py FOLDER make NAME FILE   makes the certificate of the service NAME and its key, in FILE
certificates.py FOLDER renew            renews those that are about to end, or of another authority, and reloads what reads them; removes those
                                        of no service any more once they have ended
certificates.py FOLDER look             says which of them that would be

FOLDER holds services.json, authority.pem and intermediate.pem. A service's file, NAME.pem, is only renewed here: who makes it first says
whose it is. Prints a line for each renewed one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DAY = 86400  # seconds
# A client's clock may be behind; seconds.
BACKDATED = 3600
# OpenSSL takes nothing from the system's own file.
CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {common_name}
[ca]
default_ca = own
[own]
database = {scratch}/index
new_certs_dir = {scratch}
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = {names}
"""
ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:]*")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


class Certificates:
    """The certificates of one deployment's services on this server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = json.loads((folder / "services.json").read_text())
        self.days: int = config["days"]
        self.renewed_days: int = config["renewed_days"]
        self.names: list[str] = config["names"]
        self.services: dict[str, dict[str, Any]] = {service["name"]: service for service in config["services"]}
        self.intermediate = folder / "intermediate.pem"

    def make(self, name: str, file: Path) -> None:
        """A new key and certificate, with the intermediate that it is from.

        Raises:
            subprocess.CalledProcessError: OpenSSL cannot; it has said why.
        """
        names = self.names_of(name)
        with tempfile.TemporaryDirectory() as scratch:
            configuration, key, request, made = (Path(scratch, part) for part in ("cnf", "key", "request", "made"))
            given = {"common_name": f"{name} on {names[0]}"[:64], "names": entries(names), "scratch": scratch}
            configuration.write_text(CONFIGURATION.format(**given))
            Path(scratch, "index").touch()
            openssl(
                *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-config", configuration, "-keyout", key, "-out", request),
            )
            openssl(
                *("ca", "-batch", "-notext", "-config", configuration, "-extensions", "extensions"),
                *("-cert", self.intermediate, "-keyfile", self.intermediate, "-in", request, "-out", made),
                *("-startdate", utc(time.time() - BACKDATED), "-enddate", utc(time.time() + self.days * DAY)),
            )
            text = key.read_text() + made.read_text() + certificate_of(self.intermediate)
        file.touch(mode=0o600)
        file.write_text(text)

    def due(self) -> Iterator[tuple[str, str]]:
        """The services whose certificate has to be renewed, each with the reason."""
        for name in self.services:
            if self.file(name).exists() and (reason := self.reason(name)):
                yield name, reason

    def reason(self, name: str) -> str:
        """Why a service's certificate cannot stay; empty when it can."""
        file = self.file(name)
        if not openssl_agrees("x509", "-noout", "-checkend", self.renewed_days * DAY, "-in", file):
            return f"it would end within {self.renewed_days} days"
        if not openssl_agrees(
            "verify", "-CAfile", self.folder / "authority.pem", "-untrusted", self.intermediate, file
        ):
            return "it is not from this deployment's authority"
        if CERTIFICATE.findall(file.read_text())[1:] != [certificate_of(self.intermediate)]:
            return "this server has another authority now"
        said = openssl("x509", "-noout", "-ext", "subjectAltName", "-in", file).splitlines()[-1]
        given = sorted(entry.strip().replace("IP Address:", "IP:") for entry in said.split(","))
        return "" if given == sorted(entries(self.names_of(name)).split(",")) else "the server's names are others"

    def over(self) -> list[Path]:
        """The files that no service has any more, and that nobody would take: whatever still showed one had to be told of another."""
        kept = {self.folder / "authority.pem", self.intermediate, *map(self.file, self.services)}
        others = sorted(set(self.folder.glob("*.pem")) - kept)
        return [file for file in others if not openssl_agrees("x509", "-noout", "-checkend", 0, "-in", file)]

    def renew(self, name: str) -> None:
        """Puts a new certificate in the old one's place, for the same owner."""
        file = self.file(name)
        status = file.stat()
        new = file.with_name(f".{name}.pem.new")
        self.make(name, new)
        os.chown(new, status.st_uid, status.st_gid)
        new.chmod(status.st_mode & 0o777)
        # Until it is loaded; a run that is cut off is completed by the next.
        self.unloaded(name).touch()
        os.replace(new, file)

    def load(self) -> Iterator[str]:
        """Has services read what was renewed; says which cannot."""
        for name, service in self.services.items():
            if not self.unloaded(name).exists():
                continue
            for unit in service.get("units", []):
                # What does not run reads it when it starts.
                if not agrees("systemctl", "--quiet", "is-active", unit):
                    continue
                command = service.get("load") or ["systemctl", "reload", unit]
                if not agrees(*command):
                    yield f"{name}: `{' '.join(command)}` failed, so {unit} goes on with the certificate that it has"
                    break
            else:
                self.unloaded(name).unlink()

    def names_of(self, name: str) -> list[str]:
        """What a service's certificate is for."""
        service = self.services[name]
        names = dict.fromkeys([*self.names, *service.get("names", [])])
        return [name for name in names if service.get("addresses", True) or not ADDRESS.fullmatch(name)]

    def file(self, name: str) -> Path:
        """Where a service's certificate is."""
        return self.folder / f"{name}.pem"

    def unloaded(self, name: str) -> Path:
        """What says that a service does not have its certificate yet."""
        return self.folder / f".{name}.unloaded"


def entries(names: list[str]) -> str:
    """Names and addresses as OpenSSL writes them in a certificate."""
    return ",".join(f"{'IP' if ADDRESS.fullmatch(name) else 'DNS'}:{name}" for name in names)


def certificate_of(file: Path) -> str:
    """The first certificate in a file."""
    found = CERTIFICATE.search(file.read_text())
    return found[0] if found else ""


def utc(seconds: float) -> str:
    """A time as OpenSSL takes it."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


def openssl(*words: object) -> str:
    """What OpenSSL prints.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(
        ["openssl", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


def openssl_agrees(*words: object) -> bool:
    """Whether OpenSSL ends well."""
    return agrees("openssl", *words, quiet=True)


def agrees(*words: object, quiet: bool = False) -> bool:
    """Whether a command ends well."""
    output = subprocess.DEVNULL if quiet else None
    return (
        subprocess.run(map(str, words), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False).returncode
        == 0
    )


def main(words: list[str]) -> int:
    """Ends with 1 when a service could not be told of its new certificate."""
    certificates = Certificates(Path(words[0]))
    if words[1] == "make":
        certificates.make(words[2], Path(words[3]))
        return 0
    for name, reason in list(certificates.due()):
        if words[1] == "renew":
            certificates.renew(name)
        print(f"{certificates.file(name)} is renewed: {reason}.", flush=True)
    for file in certificates.over():
        if words[1] == "renew":
            file.unlink()
        print(f"{file} is removed: no service has it, and it has ended.", flush=True)
    if words[1] == "look":
        return 0
    problems = list(certificates.load())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
