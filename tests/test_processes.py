"""Roles' arguments as process definitions: what is run, as whom, and how it is stopped."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.lookup.processes import LookupModule
from ansible_collections.stockpot.stack.plugins.plugin_utils import processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import collect

REQUIRED: dict[str, dict[str, Any]] = {
    "django_app": {
        "django_app_name": "shop",
        "django_app_source": "/src/shop",
        "django_app_settings_module": "config.settings",
        "django_app_wsgi": "config.wsgi:application",
        "django_app_release_path": "/srv/shop/releases/1",
    },
    "celery": {
        "celery_application": "shop",
        "celery_app": "config",
        "celery_release_path": "/srv/shop/releases/1",
        "celery_user": "shop",
        "celery_environment_file": "/etc/shop/environment",
        "celery_watch": False,
    },
    "flower": {
        "flower_application": "shop",
        "flower_user": "shop",
        "flower_broker_url": "redis://localhost/1",
        "flower_basic_auth_password": "long-enough-for-this",
    },
}
FACTS = {"python": {"version": {"major": 3, "minor": 13}}}


def definitions(role: str, **changes: Any) -> list[dict[str, Any]]:
    """What a role's function makes of the role's defaults and these changes."""
    variables = {**REQUIRED[role], "inventory_hostname": "one", "ansible_facts": FACTS, **changes}
    given, problems = collect(role, variables, DataLoader())
    assert problems == []
    return getattr(processes, role)({**variables, **given})


def worker(*, celery_worker_defaults: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """The definition of one worker."""
    workers = [{"name": "mail", "queues": ["mail"], **keys}]
    (definition,) = definitions("celery", celery_workers=workers, celery_worker_defaults=celery_worker_defaults or {})
    return definition


def option(definition: dict[str, Any], name: str) -> str:
    """What follows an option of the command."""
    return definition["command"][definition["command"].index(name) + 1]


def test_a_web_server_is_the_releases_gunicorn_behind_a_socket() -> None:
    (web,) = definitions("django_app")
    assert web["command"] == [
        "/srv/shop/releases/1/venv/bin/gunicorn",
        "--config=/etc/shop/gunicorn.conf.py",
        "--bind=unix:/run/shop/web.sock",
        "--workers=2",
        "--threads=4",
        "--timeout=60",
        "--graceful-timeout=60",
        "--max-requests=20000",
        "--forwarded-allow-ips=127.0.0.1",
        "config.wsgi:application",
    ]
    assert (web["type"], web["socket"], web["socket_group"]) == ("notify", "/run/shop/web.sock", "www-data")
    assert web["configuration_files"] == ["/etc/shop/gunicorn.conf.py"]


def test_an_asgi_application_wins_and_believes_whoever_may_use_the_socket() -> None:
    (web,) = definitions("django_app", django_app_asgi="config.asgi:application")
    assert web["command"][-2:] == ["--forwarded-allow-ips=*", "config.asgi:application"]
    assert not [word for word in web["command"] if word.startswith("--threads")]


def test_an_asgi_application_on_an_address_believes_its_proxies_alone() -> None:
    proxies = {"django_app_bind": "10.0.0.1:8000", "django_app_trusted_proxies": ["10.0.0.2", "::1"]}
    (web,) = definitions("django_app", django_app_asgi="config.asgi:application", **proxies)
    assert "--forwarded-allow-ips=10.0.0.2,::1" in web["command"]


def test_another_server_gets_the_same_socket_user_and_grace() -> None:
    words = ["uvicorn", "--fd", "3", "config.asgi:application"]
    (web,) = definitions("django_app", django_app_web_command=words, django_app_web_timeout=30)
    assert web["command"] == ["/srv/shop/releases/1/venv/bin/uvicorn", *words[1:]]
    assert (web["name"], web["phase"], web["socket"], web["stop_timeout"]) == ("web", "web", "/run/shop/web.sock", 40)
    assert not {"type", "configuration_files"} & set(web)


def test_a_web_server_may_answer_on_an_address() -> None:
    (web,) = definitions("django_app", django_app_bind="10.0.0.1:8000", django_app_trusted_proxies=["10.0.0.2", "::1"])
    assert "--bind=10.0.0.1:8000" in web["command"]
    assert "--forwarded-allow-ips=10.0.0.2,::1" in web["command"]


def test_tls_is_spoken_on_an_address_and_not_on_a_socket() -> None:
    tls = {"django_app_web_tls": True, "django_app_web_certificate": "/etc/ssl/shop.pem"}
    words = {"--certfile=/etc/ssl/shop.pem", "--keyfile=/etc/ssl/shop.pem"}
    (on_address,) = definitions("django_app", django_app_bind="10.0.0.1:8000", **tls)
    assert words <= set(on_address["command"])
    (on_socket,) = definitions("django_app", **tls)
    assert not words & set(on_socket["command"])


def test_a_web_server_is_stopped_after_its_own_grace() -> None:
    (web,) = definitions("django_app", django_app_web_timeout=30)
    assert web["stop_timeout"] > 30


def test_a_project_adds_processes_with_its_own_programs_and_others() -> None:
    own = {"name": "gateway", "command": ["python", "-m", "gateway"], "stop_timeout": 5}
    other = {"name": "tail", "phase": "web", "command": ["/usr/bin/tail", "-f", "x"], "user": "nobody"}
    first, second = definitions("django_app", django_app_web=False, django_app_processes_extra=[own, other])
    assert first["command"] == ["/srv/shop/releases/1/venv/bin/python", "-m", "gateway"]
    assert (first["phase"], first["user"], first["stop_timeout"]) == ("workers", "shop", 5)
    assert second["command"][0] == "/usr/bin/tail"
    assert (second["phase"], second["user"], second["stop_timeout"]) == ("web", "nobody", 60)


def test_a_project_writes_to_its_uploads_alone() -> None:
    assert "writable_paths" not in definitions("django_app")[0]
    (web,) = definitions("django_app", django_app_media_root="/srv/shop/media")
    assert web["writable_paths"] == ["/srv/shop/media"]


def test_folders_inside_the_source_are_written_to_by_all_and_given_files_start_all_anew() -> None:
    given = {"django_app_shared_paths": ["exports/", "media"], "django_app_media_root": "/srv/shop/shared/media"}
    file = {"path": "shop/local_settings.py", "content": ""}
    tail = {"name": "tail", "command": ["/usr/bin/tail"]}
    for process in definitions("django_app", **given, django_app_files=[file], django_app_processes_extra=[tail]):
        assert process["writable_paths"] == ["/srv/shop/shared/media", "/srv/shop/shared/exports"]
        assert process["read_paths"] == ["/etc/shop/files/shop/local_settings.py"]
    paths = {"celery_writable_paths": ["/srv/shop/shared/exports"], "celery_read_paths": ["/etc/shop/files/key.pem"]}
    workers = [{"name": "mail", "queues": ["mail"]}]
    for process in definitions("celery", **paths, celery_workers=workers, celery_beat=True):
        assert (process["writable_paths"], process["read_paths"]) == tuple(paths.values())


def test_a_projects_own_process_runs_on_the_hosts_it_names_and_never_where_the_project_is_only_built() -> None:
    def names(**changes: Any) -> list[str]:
        extra = [{"name": "all", "command": ["a"]}, {"name": "one", "command": ["a"], "hosts": ["one"]}]
        found = definitions("django_app", django_app_processes_extra=extra, django_app_web=False, **changes)
        assert not [definition for definition in found if "hosts" in definition]
        return [definition["name"] for definition in found]

    assert names() == ["all", "one"]
    assert names(inventory_hostname="two") == ["all"]
    assert names(django_app_run=False) == []


def test_a_worker_has_its_own_node_name_and_only_its_queues() -> None:
    definition = worker(queues=["mail", "sms"], concurrency=3)
    assert definition["name"] == "worker-mail"
    assert definition["command"] == [
        *("/srv/shop/releases/1/venv/bin/python", "-m", "celery", "-A", "config", "worker"),
        *("--hostname", "mail@%h", "--queues", "mail,sms", "--pool", "prefork", "--prefetch-multiplier", "1"),
        *("-O", "fair", "--without-mingle", "--without-gossip", "--loglevel", "INFO", "--concurrency", "3"),
    ]


def test_a_release_is_run_by_its_own_path() -> None:
    assert worker()["directory"] == "/srv/shop/releases/1/source"


def test_autoscale_is_given_as_most_and_fewest() -> None:
    assert option(worker(autoscale=[4, 1]), "--autoscale") == "4,1"


def test_limits_are_written_as_they_were_given() -> None:
    definition = worker(soft_time_limit=1500, time_limit=1800.5, options=["--purge"])
    assert option(definition, "--soft-time-limit") == "1500"
    assert option(definition, "--time-limit") == "1800.5"
    assert definition["command"][-1] == "--purge"


@pytest.mark.parametrize(
    ("limits", "stop"),
    [
        ({}, 600),
        ({"soft_time_limit": 100}, 130),
        ({"soft_time_limit": 100, "time_limit": 120}, 150),
        ({"soft_time_limit": 100, "stop_timeout": 101}, 101),
    ],
)
def test_a_task_gets_longer_to_end_than_its_limits(limits: dict[str, int], stop: int) -> None:
    definition = worker(**limits)
    assert definition["stop_timeout"] == stop
    assert definition["quit_signal"] == "SIGQUIT"


def test_a_worker_runs_only_on_the_hosts_it_names() -> None:
    workers = [{"name": "a", "queues": ["a"]}, {"name": "b", "queues": ["b"], "hosts": ["two"]}]

    def names(**changes: Any) -> list[str]:
        return [definition["name"] for definition in definitions("celery", celery_workers=workers, **changes)]

    assert names(inventory_hostname="one") == ["worker-a"]
    assert names(inventory_hostname="two") == ["worker-a", "worker-b"]
    assert names(inventory_hostname="two", celery_run_workers=False) == []


def test_a_worker_with_several_instances_is_as_many_processes_with_nodes_of_their_own() -> None:
    workers = [{"name": "mail", "queues": ["mail"]}, {"name": "sms", "queues": ["sms"], "instances": 2}]
    found = definitions("celery", celery_workers=workers)
    assert [definition["name"] for definition in found] == ["worker-mail", "worker-sms-1", "worker-sms-2"]
    assert [option(definition, "--hostname") for definition in found] == ["mail@%h", "sms-1@%h", "sms-2@%h"]
    expected = processes.celery_canary(found, workers, {}, "shop")["workers"]
    assert [(worker["name"], worker["queues"]) for worker in expected] == [
        *(("mail", ["mail"]), ("sms-1", ["sms"]), ("sms-2", ["sms"])),
    ]
    (default,) = definitions("celery", celery_workers=workers[:1], celery_worker_defaults={"instances": 1})
    assert default == found[0]
    fleet = processes.celery_nodes(
        workers[:1], {"instances": 2, "hosts": ["two"]}, {"one": "one", "two": "two.example"}
    )
    assert fleet == ["mail-1@two.example", "mail-2@two.example"]


def test_each_process_may_be_limited() -> None:
    limits = {"memory_max": "64M", "cpu_max": "50%", "nice": 5}
    found = [
        worker(**limits),
        *definitions("celery", celery_beat=True, **{f"celery_beat_{name}": value for name, value in limits.items()}),
        *definitions("flower", **{f"flower_{name}": value for name, value in limits.items()}),
        *definitions("django_app", **{f"django_app_web_{name}": value for name, value in limits.items()}),
    ]
    assert [{name: definition[name] for name in limits} for definition in found] == [limits] * 4


def test_defaults_give_way_to_a_workers_own() -> None:
    workers = [{"name": "a", "queues": ["a"], "concurrency": 1}, {"name": "b", "queues": ["b"], "autoscale": [2, 1]}]
    common = {"concurrency": 8, "loglevel": "WARNING"}
    first, second = definitions("celery", celery_workers=workers, celery_worker_defaults=common)
    assert option(first, "--concurrency") == "1"
    assert option(first, "--loglevel") == "WARNING"
    assert "--concurrency" not in second["command"]


def test_a_pool_is_told_nothing_of_the_defaults_that_it_has_no_use_for() -> None:
    common = {"soft_time_limit": 300, "time_limit": 360, "max_tasks_per_child": 1000, "memory_max": "512M"}
    for pool, told in (("prefork", True), ("threads", False), ("solo", False)):
        definition = worker(pool=pool, celery_worker_defaults=common)
        for name in ("--soft-time-limit", "--time-limit", "--max-tasks-per-child"):
            assert (name in definition["command"]) is told, (pool, name)
        assert definition["memory_max"] == "512M"
    assert option(worker(pool="gevent", celery_worker_defaults=common), "--time-limit") == "360"


def test_beat_leaves_no_pidfile_and_answers_pings() -> None:
    (beat,) = definitions("celery", celery_beat=True, celery_beat_scheduler="a.b:C", celery_version="5.7.0")
    assert beat["phase"] == "scheduler"
    assert beat["command"][5:] == [
        *("beat", "--scheduler", "a.b:C", "--enable-remote-control", "--hostname", "celerybeat@%h"),
        *("--schedule", "/var/lib/shop/celerybeat-schedule"),
        *("--pidfile=", "--loglevel", "INFO"),
    ]


@pytest.mark.parametrize("version", ["5.6.3", "5.2.7", ""])
def test_beat_of_an_older_or_unknown_celery_is_told_nothing_it_does_not_know(version: str) -> None:
    (beat,) = definitions("celery", celery_beat=True, celery_beat_scheduler="", celery_version=version)
    assert "--enable-remote-control" not in beat["command"]


def test_beat_answers_nothing_where_that_is_said() -> None:
    off = {"celery_version": "5.7.0", "celery_beat_remote_control": False}
    (beat,) = definitions("celery", celery_beat=True, celery_beat_scheduler="", **off)
    assert "--enable-remote-control" not in beat["command"]


def test_the_canary_asks_beat_where_it_answers() -> None:
    for version, answers in (("5.7.0", True), ("5.6.3", False)):
        made = definitions("celery", celery_beat=True, celery_version=version)
        assert processes.celery_canary(made, [], {}, "shop")["beat_remote_control"] is answers


def test_each_process_may_have_another_settings_module() -> None:
    """In files of their own, which win over the application's."""
    module = {name: {"DJANGO_SETTINGS_MODULE": name} for name in ("config.workers", "config.mail", "config.beat")}
    workers = [
        {"name": "mail", "queues": ["mail"], "environment": module["config.mail"]},
        {"name": "sms", "queues": ["sms"]},
    ]
    made = definitions(
        "celery",
        celery_environment=module["config.workers"],
        celery_workers=workers,
        celery_beat=True,
        celery_beat_environment=module["config.beat"],
    )
    assert [one["environment"] for one in made] == [module[f"config.{name}"] for name in ("mail", "workers", "beat")]


def test_the_workers_of_a_fleet_are_named_as_celery_names_them() -> None:
    workers = [{"name": "mail", "queues": ["mail"]}, {"name": "big", "queues": ["big"], "hosts": ["two"]}]
    hosts = {"one": "one.example.com", "two": "two"}
    assert processes.celery_nodes(workers, {}, hosts) == ["big@two", "mail@one.example.com", "mail@two"]


def test_a_file_of_beats_own_scheduler_is_where_beat_may_write() -> None:
    (beat,) = definitions("celery", celery_beat=True, celery_beat_scheduler="")
    assert option(beat, "--schedule") == "/var/lib/shop/celerybeat-schedule"
    (beat,) = definitions("celery", celery_beat=True, celery_state_directory="")
    assert "--schedule" not in beat["command"]


def test_flower_runs_from_a_folder_of_its_python() -> None:
    (now,) = definitions("flower")
    (later,) = definitions("flower", ansible_facts={"python": {"version": {"major": 3, "minor": 14}}})
    assert now["command"][0] == f"{now['directory']}/venv/bin/python"
    assert now["directory"] != later["directory"]


@pytest.mark.parametrize("role", REQUIRED)
def test_nothing_is_said_twice(role: str) -> None:
    """What process_manager does by itself is left to it."""
    spec = yaml.safe_load((processes.ROLES / "process_manager/meta/argument_specs.yml").read_text())
    keys = spec["argument_specs"]["main"]["options"]["process_manager_definitions"].get("options", {})
    for definition in definitions(role, **({"celery_beat": True} if role == "celery" else {})):
        assert [key for key, value in definition.items() if key in keys and keys[key].get("default") == value] == []


def test_the_canary_expects_the_workers_of_this_host() -> None:
    workers = [{"name": "a", "queues": ["a"]}, {"name": "b", "queues": ["b"], "hosts": ["two"]}]
    found = processes.celery_canary(definitions("celery", celery_workers=workers), workers, {"pool": "solo"}, "shop")
    expected = {"name": "a", "unit": "shop-worker-a.service", "queues": ["a"], "pool": "solo", "stop_timeout": 600}
    assert (found["workers"], found["beat_unit"]) == ([expected], "")
    found = processes.celery_canary(definitions("celery", celery_beat=True), [], {}, "shop")
    assert (found["workers"], found["beat_unit"]) == ([], "shop-beat.service")


def lookup(role: str, **variables: Any) -> Any:
    """What a template gets."""
    (result,) = LookupModule(loader=DataLoader()).run([role], variables=variables)
    return result


def test_a_template_gets_a_roles_definitions_from_its_variables() -> None:
    workers = [{"name": "mail", "queues": ["mail"], "hosts": ["one"]}]
    (definition,) = lookup("celery", **REQUIRED["celery"], celery_workers=workers, inventory_hostname="one")
    assert definition["name"] == "worker-mail"
    (web,) = lookup("django_app", **REQUIRED["django_app"])
    assert web["directory"] == "/srv/shop/releases/1/source"


def test_a_template_that_lacks_an_argument_is_told_which() -> None:
    given = {key: value for key, value in REQUIRED["celery"].items() if key != "celery_user"}
    with pytest.raises(AnsibleLookupError, match="celery_user is not set"):
        lookup("celery", **given)


def test_the_nearer_variable_wins() -> None:
    given: dict[str, Any] = {
        "celery_environment": {"DJANGO_SETTINGS_MODULE": "config.tasks", "A": "celery"},
        "celery_workers": [{"name": "mail", "queues": ["mail"], "environment": {"A": "worker"}}],
        "celery_beat": True,
        "celery_beat_environment": {"A": "beat"},
    }
    worker, beat = definitions("celery", **given)
    assert worker["environment"] == {"DJANGO_SETTINGS_MODULE": "config.tasks", "A": "worker"}
    assert beat["environment"] == {"DJANGO_SETTINGS_MODULE": "config.tasks", "A": "beat"}
    (web,) = definitions("django_app", django_app_web_environment={"A": "web"})
    assert web["environment"] == {"A": "web"}


def test_a_host_with_workers_or_beat_has_a_watch_that_knows_them() -> None:
    given: dict[str, Any] = {
        "celery_watch": True,
        "celery_environment": {"DJANGO_SETTINGS_MODULE": "config.tasks"},
        "celery_workers": [
            {"name": "mail", "queues": ["mail"], "stop_timeout": 70},
            {"name": "elsewhere", "queues": ["elsewhere"], "hosts": ["two"]},
        ],
        "celery_beat": True,
        "celery_version": "5.7.0",
        "celery_watch_patience": 45,
        "celery_watch_memory_max": "96M",
    }
    *_others, watch = definitions("celery", **given)
    assert (watch["name"], watch["phase"], watch["user"]) == ("watch", "workers", "shop")
    assert (watch["memory_max"], watch["environment"]) == ("96M", {"DJANGO_SETTINGS_MODULE": "config.tasks"})
    program, file, config = watch["command"]
    assert (program, file) == ("/srv/shop/releases/1/venv/bin/python", "/usr/local/lib/stockpot/celery/watch.py")
    # Another one of these starts it anew.
    assert watch["configuration_files"] == [
        "/usr/local/lib/stockpot/celery/stockpot_beats.py",
        "/usr/local/lib/stockpot/celery/stockpot_units.py",
        "/usr/local/lib/stockpot/celery/watch.py",
    ]
    known = json.loads(config)
    assert [(one["name"], one["unit"], one["stop_timeout"]) for one in known["workers"]] == [
        ("mail", "shop-worker-mail.service", 70)
    ]
    assert (known["beat_unit"], known["beat_remote_control"], known["patience"]) == ("shop-beat.service", True, 45)
    assert known["metrics_file"] == "/var/lib/shop/celery_watch.prom"
    assert "writable_paths" not in watch


def test_the_watch_may_write_its_counters_elsewhere_and_may_be_left_out() -> None:
    given: dict[str, Any] = {"celery_workers": [{"name": "mail", "queues": ["mail"]}], "celery_watch": True}
    file = "/var/lib/prometheus/node-exporter/shop.prom"
    *_worker, watch = definitions("celery", **given, celery_watch_metrics_file=file)
    assert watch["writable_paths"] == ["/var/lib/prometheus/node-exporter"]
    assert [one["name"] for one in definitions("celery", **given | {"celery_watch": False})] == ["worker-mail"]
    assert definitions("celery", celery_watch=True) == []


def test_the_canary_reads_what_the_hosts_first_worker_reads() -> None:
    workers = [{"name": "mail", "queues": ["mail"], "environment": {"A": "worker"}}, {"name": "web", "queues": ["web"]}]
    found = processes.celery_canary(
        definitions("celery", celery_workers=workers, celery_beat=True), workers, {}, "shop"
    )
    assert found["environment_files"] == ["/etc/shop/environment", "/etc/shop/processes/worker-mail.environment"]
    assert processes.celery_canary([], workers, {}, "shop")["environment_files"] == []


def test_canary_and_watch_know_processes_under_supervisor_by_their_scopes() -> None:
    """Whatever process_manager is told, the role celery is too."""
    workers = [{"name": "mail", "queues": ["mail"]}]
    given = {
        "celery_workers": workers,
        "celery_beat": True,
        "celery_watch": True,
        "process_manager_backend": "supervisor",
    }
    found = definitions("celery", **given)
    canary = processes.celery_canary(found, workers, {}, "shop", backend="supervisor")
    for known in (canary, json.loads(found[-1]["command"][-1])):
        assert [one["unit"] for one in known["workers"]] == ["shop-worker-mail.scope"]
        assert known["beat_unit"] == "shop-beat.scope"
