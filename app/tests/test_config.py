"""Settings read from the environment, and what they make of Celery."""

import json
import os
import re
import ssl
import subprocess
import sys

import pytest
from celery import current_app
from config.environment import database, env
from core import broker
from django.conf import settings
from environs import EnvError

NEEDED = ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "CACHE_URL", "CELERY_BROKER_URL"]


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A management command in a process of its own."""
    variables = {name: value for name, value in (os.environ | environment).items() if value}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", NEEDED)
def test_a_process_without_a_needed_variable_does_not_start_and_names_it(name: str) -> None:
    result = manage("check", **{name: ""})
    assert result.returncode != 0
    assert f'Environment variable "{name}" not set' in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_TASK_TIME_LIMIT", "many"),
        ("DEBUG", "perhaps"),
        ("PAYMENT_KEY_RETENTION", "30"),  # a charge that is under way could outlive the key
        ("EMAIL_URL", "pop3://mail"),
        ("EMAIL_URL", "smtp://mail:many"),
        ("DATABASE_URL", "mysql://app:hidden@db/stock"),
        ("DATABASE_URL", "postgresql://app:hidden@db"),
        ("DATABASE_URL", "postgresql://app:hidden@db:many/stock"),
    ],
)
def test_a_malformed_variable_is_named_and_its_value_is_not_shown(name: str, value: str) -> None:
    result = manage("check", **{name: value})
    assert result.returncode != 0
    assert f'Environment variable "{name}"' in result.stderr.splitlines()[-1]
    assert value not in result.stderr.splitlines()[-1]


def test_empty_prefixes_are_none() -> None:
    """As in a Redis of somebody else's."""
    names = ("CACHE_KEY_PREFIX", "CELERY_KEY_PREFIX")
    show = "from django.conf import settings as s; t = s.CELERY['broker_transport_options']"
    show += "; print([s.CACHES['default']['KEY_PREFIX'], t['global_keyprefix']])"
    said = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", show],
        env={**os.environ, **dict.fromkeys(names, "")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip() == "['', '']", said.stderr


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAME", "")
    assert env.int("SOME_NAME", 7) == 7
    with pytest.raises(EnvError, match="SOME_NAME"):
        env.str("SOME_NAME")


def test_a_password_with_special_characters_survives_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "postgresql://app:p%40ss%2Fw%3Ard@db.example:5433/stock")
    found = database("SOME_URL", pool_size=4)
    assert (found["PASSWORD"], found["HOST"], found["PORT"]) == ("p@ss/w:rd", "db.example", 5433)
    assert found["OPTIONS"]["pool"]["max_size"] == 4


@pytest.mark.parametrize(
    ("program", "pools"),
    [("from config.celery import app; app.conf.broker_url", False), ("import config.wsgi", True)],
    ids=["worker", "web"],
)
def test_web_processes_alone_keep_database_connections(program: str, pools: bool) -> None:
    """Celery closes them around each task."""
    tell = "from django.conf import settings; print('pool' in settings.DATABASES['default']['OPTIONS'])"
    variables = {name: value for name, value in os.environ.items() if name != "DATABASE_POOL"}
    result = subprocess.run([sys.executable, "-c", f"{program}; {tell}"], env=variables, capture_output=True, text=True)
    assert result.stdout.strip() == str(pools), result.stderr


def test_a_database_address_may_ask_for_tls_and_other_options(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    address = os.environ["DATABASE_URL"]
    monkeypatch.setenv("SOME_URL", f"{address}?sslmode=verify-full&sslrootcert=/etc/ca.pem&connect_timeout=2")
    options = database("SOME_URL", pool_size=0)["OPTIONS"]
    assert options == {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem", "connect_timeout": 2}
    # The tests' PostgreSQL speaks no TLS: who insists on it is not served, where "prefer" would be.
    result = manage("migrate", "--check", DATABASE_URL=f"{address}?sslmode=verify-full&sslrootcert=system")
    assert "SSL" in result.stderr


def test_mail_settings_come_from_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "smtp+tls://app:s%40crt@mail.example:587")
    found = env.email("SOME_URL")
    assert (found["EMAIL_HOST"], found["EMAIL_HOST_PASSWORD"], found["EMAIL_USE_TLS"]) == (
        "mail.example",
        "s@crt",
        True,
    )


def test_the_deployment_checks_have_no_complaint() -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", LOG_LEVEL="INFO")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["EMAIL_URL", "PAYMENT_GATEWAY_URL"])
def test_a_deployment_without_an_address_for_mails_or_payments_is_refused(name: str) -> None:
    result = manage("check", "--deploy", **{name: ""})
    assert result.returncode != 0
    assert f"{name} is not set" in result.stderr
    assert manage("check", **{name: ""}).returncode == 0


def test_a_production_whose_uploads_may_be_public_is_refused() -> None:
    result = manage("check", "--deploy", MEDIA_IS_PRIVATE="0")
    assert result.returncode != 0
    assert "MEDIA_IS_PRIVATE is not set" in result.stderr
    assert manage("check", "--deploy", MEDIA_IS_PRIVATE="0", MEDIA_ROOT="").returncode == 0, "none are taken"


def test_mails_may_be_printed_by_who_says_so() -> None:
    assert manage("check", "--deploy", EMAIL_URL="console:").returncode == 0


def test_static_files_are_collected_with_hashes_and_without_a_database(tmp_path: object) -> None:
    program = (
        "import django; from django.conf import settings; django.setup(); "
        f"settings.STATIC_ROOT = {str(tmp_path)!r}; "
        "from django.core.management import call_command; call_command('collectstatic', interactive=False, verbosity=0); "
        "from django.templatetags.static import static; print(static('site.css'))"
    )
    variables = os.environ | {
        "DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/none",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    result = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"/static/site\.[0-9a-f]{12}\.css\n", result.stdout)


def test_the_migrations_match_the_models(db: None) -> None:
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


ROUTES = {
    "payments.tasks.process_payment": "critical",
    "accounts.tasks.send_welcome_email": "notifications",
    "crm.tasks.sync_lead": "default",
    "inventory.tasks.sync_inventory": "default",
    "analytics.tasks.generate_reports": "reports",
    "analytics.tasks.daily_report": "low-priority",
    "media.tasks.make_thumbnail": "images",
    "newsletters.tasks.send_chunk": "emails",
    "core.tasks.resend_stuck_work": "sweep",
    "core.tasks.record_lost_run": "sweep",
    "core.tasks.forget_old_runs": "default",
    "some.library.task": "default",
}


def test_each_task_goes_to_its_queue() -> None:
    assert set(ROUTES) - set(current_app.tasks) == {"some.library.task"}
    routed = {task: current_app.amqp.router.route({}, task)["queue"].name for task in ROUTES}
    assert routed == ROUTES


def test_every_route_leads_to_a_known_queue() -> None:
    routed = {route["queue"] for route in settings.CELERY["task_routes"].values()}
    assert routed | {"default"} == set(broker.queue_names())


RABBITMQ = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "task_create_missing_queue_type": "quorum",
    "task_create_missing_queue_exchange_type": "topic",
    "worker_detect_quorum_queues": True,
    "broker_transport_options": {"confirm_publish": True, "read_timeout": 5, "write_timeout": 5},
}


def test_the_address_says_which_broker_it_is() -> None:
    """With RabbitMQ every queue is a quorum queue, what was sent is confirmed, and nothing of Redis's is said to it."""
    tell = "import json; from config.celery import app; print(json.dumps({name: app.conf[name] for name in %r}))"
    variables = os.environ | {"CELERY_BROKER_URL": "amqp://celery:secret@127.0.0.1/shop"}
    result = subprocess.run(
        [sys.executable, "-c", tell % (list(RABBITMQ),)], env=variables, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == RABBITMQ
    assert "global_keyprefix" in current_app.conf.broker_transport_options


@pytest.mark.parametrize(
    ("given", "authority", "name"),
    [
        ({}, None, None),
        ({"CELERY_BROKER_CA": "/a.pem", "CELERY_BROKER_TLS_NAME": "rabbitmq.shop"}, "/a.pem", "rabbitmq.shop"),
    ],
)
def test_a_rabbitmq_over_tls_has_to_show_who_it_is(
    given: dict[str, str], authority: str | None, name: str | None
) -> None:
    """Without a name of its own it is the address's, and without an authority the system's are trusted."""
    tell = "import json; from config.celery import app; print(json.dumps(app.conf.broker_use_ssl))"
    variables = os.environ | {"CELERY_BROKER_URL": "amqps://celery:secret@127.0.0.1/shop"} | given
    result = subprocess.run([sys.executable, "-c", tell], env=variables, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": authority, "server_hostname": name}


@pytest.mark.parametrize("behind", [set(), {"broker"}, {"results", "cache"}, {"broker", "results", "cache"}])
def test_sentinels_are_asked_for_what_is_behind_them(behind: set[str]) -> None:
    """Whichever of the three addresses is theirs: each may be of another server."""
    names = {"broker": "CELERY_BROKER_URL", "results": "CELERY_RESULT_BACKEND", "cache": "CACHE_URL"}
    addresses = {
        names[one]: f"sentinel://127.0.0.1:1/{number}?ssl_ca_certs=/own.pem"
        if one in behind
        else f"redis://127.0.0.1:1/{number}"
        for number, one in enumerate(names)
    }
    tell = """import json; from config import settings; print(json.dumps({
        "broker": settings.CELERY["broker_transport_options"],
        "results": settings.CELERY["result_backend_transport_options"],
        "cache": settings.CACHES["default"]["OPTIONS"],
        "tls of results": settings.CELERY["redis_backend_use_ssl"],
    }))"""
    variables = os.environ | addresses | {"REDIS_PRIMARY_NAME": "first", "REDIS_SENTINEL_PASSWORD": "of the Sentinels"}
    result = subprocess.run([sys.executable, "-c", tell], env=variables, capture_output=True, text=True, check=True)
    told = json.loads(result.stdout)
    for one in names:
        assert told[one].get("master_name") == ("first" if one in behind else None)
        assert told[one].get("sentinel_kwargs", {}).get("password") == ("of the Sentinels" if one in behind else None)
        assert told[one].get("sentinel_kwargs", {}).get("ssl_ca_certs") == ("/own.pem" if one in behind else None)
    assert ("pool_class" in told["cache"]) is ("cache" in behind)
    assert told["tls of results"] == ({"ssl_ca_certs": "/own.pem"} if "results" in behind else {})


CELERY = {
    "accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "enable_utc": True,
    "timezone": "UTC",
    "result_expires": 86400,
    "result_extended": True,
    "task_time_limit": None,
    "task_soft_time_limit": None,
    "worker_prefetch_multiplier": 1,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": True,
    "broker_pool_limit": 10,
    "broker_connection_timeout": 2,
    "broker_connection_retry_on_startup": True,
    "broker_channel_error_retry": True,
    "broker_connection_max_retries": None,
    "worker_send_task_events": True,
    "beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler",
    "task_always_eager": False,
}


def test_celery_is_configured_for_work_that_must_not_be_lost() -> None:
    assert {name: current_app.conf[name] for name in CELERY} == CELERY


def test_the_broker_gives_up_on_dead_connections_and_not_on_long_tasks() -> None:
    options = current_app.conf.broker_transport_options
    assert options["visibility_timeout"] == 43200
    assert (options["socket_timeout"], options["socket_connect_timeout"], options["socket_keepalive"]) == (5, 1, True)
    assert options["health_check_interval"] > 0


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        ("payments.tasks.process_payment", settings.PAYMENT_TIME_LIMIT + 2),
        ("accounts.tasks.send_welcome_email", settings.MAIL_CLAIM + 2),
        ("newsletters.tasks.send_chunk", settings.MAIL_CLAIM + 2),
        ("media.tasks.process_document", settings.RETRY_BACKOFF_BASE * 10),
    ],
)
def test_a_task_whose_process_was_killed_waits_until_the_claim_on_its_row_has_lapsed(task: str, seconds: float) -> None:
    assert current_app.tasks[task].default_retry_delay == seconds
