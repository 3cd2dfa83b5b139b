"""gunicorn's settings as an operator writes them: which there are, of which kind, and which the role sets itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

# Of gunicorn 21 to 27: https://docs.gunicorn.org/en/stable/settings.html, which lists `gunicorn.config.KNOWN_SETTINGS`.
NUMBERS = [
    "asgi_disconnect_grace_period",
    "backlog",
    "cert_reqs",
    "control_socket_mode",
    "dirty_graceful_timeout",
    "dirty_threads",
    "dirty_timeout",
    "dirty_workers",
    "graceful_timeout",
    "http2_initial_window_size",
    "http2_max_concurrent_streams",
    "http2_max_frame_size",
    "http2_max_header_list_size",
    "keepalive",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_line",
    "max_requests",
    "max_requests_jitter",
    "threads",
    "timeout",
    "umask",
    "websocket_max_message_size",
    "worker_connections",
    "workers",
]
SWITCHES = [
    "capture_output",
    "casefold_http_method",
    "check_config",
    "control_socket_disable",
    "daemon",
    "disable_redirect_access_to_syslog",
    "do_handshake_on_connect",
    "enable_backlog_metric",
    "enable_stdio_inheritance",
    "initgroups",
    "permit_obsolete_folding",
    "permit_unconventional_http_method",
    "permit_unconventional_http_version",
    "preload_app",
    "print_config",
    "reload",
    "reuse_port",
    "sendfile",
    "spew",
    "strip_header_spaces",
    "suppress_ragged_eofs",
    "syslog",
]
TEXTS = [
    "access_log_format",
    "accesslog",
    "asgi_lifespan",
    "asgi_loop",
    "bind",
    "ca_certs",
    "certfile",
    "chdir",
    "ciphers",
    "config",
    "control_socket",
    "default_proc_name",
    "dogstatsd_tags",
    "errorlog",
    "forwarded_allow_ips",
    "forwarder_headers",
    "group",
    "header_map",
    "http2_cleartext",
    "http_parser",
    "keyfile",
    "logconfig",
    "logconfig_json",
    "logger_class",
    "loglevel",
    "paste",
    "pidfile",
    "proc_name",
    "protocol",
    "proxy_allow_ips",
    "pythonpath",
    "reload_engine",
    "root_path",
    "statsd_host",
    "statsd_prefix",
    "syslog_addr",
    "syslog_facility",
    "syslog_prefix",
    "tmp_upload_dir",
    "user",
    "uwsgi_allow_ips",
    "worker_class",
    "worker_tmp_dir",
    "wsgi_app",
]
LISTS = ["dirty_apps", "raw_env", "raw_paste_global_conf", "reload_extra_files"]
TABLES = ["logconfig_dict", "secure_scheme_headers"]
# Of several kinds.
OTHERS = ["http_protocols", "proxy_protocol", "ssl_version"]
FUNCTIONS = [
    "child_exit",
    "dirty_post_fork",
    "dirty_worker_exit",
    "dirty_worker_init",
    "nworkers_changed",
    "on_dirty_starting",
    "on_exit",
    "on_reload",
    "on_starting",
    "post_fork",
    "post_request",
    "post_worker_init",
    "pre_exec",
    "pre_fork",
    "pre_request",
    "ssl_context",
    "when_ready",
    "worker_abort",
    "worker_exit",
    "worker_int",
]

KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(NUMBERS, ((int,), "a whole number")),
    **dict.fromkeys(SWITCHES, ((bool,), "true or false")),
    **dict.fromkeys(TEXTS, ((str,), "text")),
    **dict.fromkeys(LISTS, ((list,), "a list")),
    **dict.fromkeys(TABLES, ((dict,), "a dict")),
    **dict.fromkeys(OTHERS, ((bool, int, str, list), "text")),
    **dict.fromkeys(FUNCTIONS, ((), "a function")),
}
# The first version that knows them.
SINCE = {
    **dict.fromkeys(
        (
            *("casefold_http_method", "header_map"),
            *("permit_unconventional_http_method", "permit_unconventional_http_version"),
        ),
        "22",
    ),
    **dict.fromkeys(("forwarder_headers", "permit_obsolete_folding"), "23"),
    **dict.fromkeys(
        ("asgi_lifespan", "asgi_loop", "enable_backlog_metric", "protocol", "root_path", "uwsgi_allow_ips"), "24"
    ),
    **dict.fromkeys((name for name in KINDS if name.startswith(("dirty_", "http2_"))), "25"),
    "http_protocols": "25",
    "asgi_disconnect_grace_period": "25.1",
    "http_parser": "26",
    **dict.fromkeys(("http2_cleartext", "websocket_max_message_size"), "27"),
}
OWNED = {
    "bind": "django_app_bind says it",
    "workers": "django_app_web_workers says it",
    "threads": "django_app_web_threads says it",
    "timeout": "django_app_web_timeout says it",
    "graceful_timeout": "django_app_web_timeout says it",
    "max_requests": "django_app_web_max_requests says it",
    "forwarded_allow_ips": "django_app_trusted_proxies says it",
    "raw_env": "django_app_web_environment says it",
    "config": "django_app_gunicorn_config names the project's file",
    **dict.fromkeys(("wsgi_app", "paste", "raw_paste_global_conf"), "django_app_wsgi or django_app_asgi says it"),
    **dict.fromkeys(("daemon", "pidfile", "user", "group", "initgroups", "chdir", "umask"), "systemd sees to it"),
    "reload": "a release does not change",
    **dict.fromkeys(("backlog", "reuse_port"), "systemd opens the socket"),
    **dict.fromkeys(("control_socket", "control_socket_disable", "control_socket_mode"), "it is switched off"),
    **dict.fromkeys(("check_config", "print_config"), "gunicorn would not serve"),
}


def settings_problems(variable: str, settings: Mapping[str, Any], gunicorn: str = "") -> list[str]:
    """What is wrong with settings by name, a sentence each.

    Args:
        variable: what holds them.
        settings: values by name.
        gunicorn: the version that is installed; empty where that is not known.
    """
    found = [_problem(str(name), value, gunicorn) for name, value in settings.items()]
    return [f"{variable}: {problem}" for problem in found if problem]


def _problem(name: str, value: Any, gunicorn: str) -> str:
    if name not in KINDS:
        return f"{name} is no setting of gunicorn's: take it out, or write it as gunicorn's documentation does."
    if name in OWNED:
        return f"{name} cannot be set here, as {OWNED[name]}: take it out."
    kinds, words = KINDS[name]
    if not kinds:
        return (
            f"{name} is a function: define it in a file of the project's and name that in django_app_gunicorn_config."
        )
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"{name} is of another kind: write {words}."
    if gunicorn and name in SINCE and Version(gunicorn) < Version(SINCE[name]):
        return (
            f"{name} came with gunicorn {SINCE[name]}, and the project has locked {gunicorn}, which would ignore it: "
            "take it out, or lock a later one."
        )
    return ""


def python_literal(value: Any) -> str:
    """A value of numbers, texts, lists and dicts as Python source."""
    return repr(json.loads(json.dumps(value)))
