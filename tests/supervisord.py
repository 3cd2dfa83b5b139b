"""A supervisord of a test's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import Supervisor

SUPERVISORD = Path(sys.executable).with_name("supervisord")
CONFIGURATION = """
[unix_http_server]
file={folder}/socket
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/pid
childlogdir={folder}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = {folder}/programs/*.conf
"""


@dataclass
class Running:
    """A supervisord that runs, its folder and how to speak to it."""

    process: subprocess.Popen[bytes]
    folder: Path
    supervisor: Supervisor

    @property
    def programs(self) -> Path:
        """The folder of the programs' files."""
        return self.folder / "programs"

    def pid(self, name: str) -> int:
        """A program's main process."""
        return self.supervisor.show([name])[name].pid

    def wait_for(self, name: str, state: str) -> None:
        """Until a program is in a state of supervisor's."""
        deadline = time.monotonic() + 60
        while (found := self.supervisor.show([name])[name].state) != state:
            assert time.monotonic() < deadline, f"{name} is {found}, not {state}"
            time.sleep(0.05)


@contextmanager
def supervisord(**programs: str) -> Iterator[Running]:
    """supervisord with programs, the texts of their files by name; a socket's path has to be short, as pytest's folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="supervisord-"))
    (folder / "programs").mkdir()
    for name, text in programs.items():
        (folder / "programs" / f"{name}.conf").write_text(text.format(folder=folder))
    configuration = folder / "supervisord.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    process = subprocess.Popen(
        [SUPERVISORD, "--nodaemon", "--configuration", configuration], cwd=folder, stdout=subprocess.DEVNULL
    )
    supervisor = Supervisor(str(folder / "socket"))
    try:
        supervisor.wait_until_running(60)
        yield Running(process, folder, supervisor)
    finally:
        process.terminate()
        # Above the stopwaitsecs of any program of the tests.
        process.wait(timeout=90)
        shutil.rmtree(folder)
