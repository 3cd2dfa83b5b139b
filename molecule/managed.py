"""Services of a host, whoever runs them: units of systemd's, or programs of supervisor's in scopes of their names."""

from __future__ import annotations

from collections.abc import Sequence

from testinfra.host import Host


def programs(host: Host, names: Sequence[str]) -> list[str]:
    """Those that supervisor runs."""
    files = host.run("ls /etc/supervisor/conf.d").stdout.split()
    return [name for name in names if f"{name}.conf" in files]


def units(host: Host, names: Sequence[str]) -> list[str]:
    """The units in which their processes are."""
    found = programs(host, names)
    return [f"{name}.scope" if name in found else f"{name}.service" for name in names]


def main_pids(host: Host, names: Sequence[str]) -> dict[str, str]:
    """Each one's main process; 0 for none."""
    of_supervisor = programs(host, names)
    of_systemd = [name for name in names if name not in of_supervisor]
    shown = host.check_output("systemctl show --property=MainPID --value -- " + " ".join(of_systemd)).split()
    pids = dict(zip(of_systemd, shown, strict=True))
    if of_supervisor:
        shown = host.run("supervisorctl pid " + " ".join(of_supervisor)).stdout.split()
        pids |= dict(zip(of_supervisor, shown, strict=True))
    return {name: pids[name] for name in names}


def control(host: Host, action: str, names: Sequence[str]) -> None:
    """Start or stop them, and wait until that is done."""
    of_supervisor = programs(host, names)
    if of_supervisor:
        host.check_output(f"supervisorctl {action} " + " ".join(of_supervisor))
    if of_systemd := [name for name in names if name not in of_supervisor]:
        host.check_output(f"systemctl {action} -- " + " ".join(of_systemd))


def kill(host: Host, names: Sequence[str]) -> None:
    """All processes of each, by SIGKILL."""
    host.check_output("systemctl kill -s KILL -- " + " ".join(units(host, names)))


def all_run(host: Host, names: Sequence[str]) -> bool:
    """Whether each of them has a process and is no more than that."""
    active = host.run("systemctl is-active -- " + " ".join(units(host, names))).stdout.split()
    return set(active) == {"active"} and "0" not in main_pids(host, names).values()
