"""The program that stops a process with two signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / "roles/process_manager/files/stop-process"


@pytest.mark.parametrize(
    ("ignored", "ended_by"),
    [([], signal.SIGTERM), (["SIGTERM"], signal.SIGQUIT), (["SIGTERM", "SIGQUIT"], None)],
)
def test_the_stop_signal_comes_first_and_the_quit_signal_when_its_time_is_over(
    ignored: list[str], ended_by: int | None
) -> None:
    # Whatever was ignored where the tests were started.
    answers = {"SIGTERM": "SIG_DFL", "SIGQUIT": "SIG_DFL"} | dict.fromkeys(ignored, "SIG_IGN")
    code = "import signal, sys, time\n" + "".join(
        f"signal.signal(signal.{n}, signal.{a})\n" for n, a in answers.items()
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", f"{code}print(flush=True)\ntime.sleep(60)"], stdout=subprocess.PIPE
    )
    assert victim.stdout
    victim.stdout.readline()
    stop = subprocess.Popen([PROGRAM, "60", "TERM", "1", "QUIT", "1"], env={**os.environ, "MAINPID": str(victim.pid)})
    try:
        deadline = time.monotonic() + 60
        while stop.poll() is None and time.monotonic() < deadline:
            victim.poll()  # reaps it, as systemd does
            time.sleep(0.05)
        assert stop.poll() is not None, "it ends by itself"
        if ended_by:
            assert victim.wait(timeout=60) == -ended_by
        else:
            assert victim.poll() is None
    finally:
        stop.kill()
        victim.kill()
        victim.wait()


def test_it_does_nothing_when_the_process_ended_by_itself() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MAINPID"}
    for pid in ({}, {"MAINPID": ""}):
        subprocess.run([PROGRAM, "60", "TERM", "60", "QUIT", "60"], env=environment | pid, timeout=30, check=True)


def test_a_process_that_is_gone_is_not_waited_for() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    environment = {**os.environ, "MAINPID": str(gone.pid)}
    subprocess.run(
        [PROGRAM, "60", "TERM", "60", "QUIT", "60"], env=environment, timeout=30, check=True, stderr=subprocess.PIPE
    )
