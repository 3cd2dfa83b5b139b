"""What can be known to be wrong with the role nginx's arguments before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.stockpot.stack.plugins.plugin_utils.nginx import certificate_entries, pem
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import is_network, served_folder_problems

APPLICATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SERVER_NAME = re.compile(r"~\S+|\[[0-9A-Fa-f:.]+\]|[\w*.-]+")
MAIN_NAME = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*")
# Where nginx passes a request on; what follows a space are nginx's own parameters.
UPSTREAM = re.compile(r"(unix:/[^\s;{}]+|[A-Za-z0-9][\w.-]*:\d+|\[[0-9A-Fa-f:.]+\]:\d+)( [^;{}\n]+)?")
URL_PATH = re.compile(r"(/[\w.~%@+-]+)+")
SIZE = re.compile(r"\d+[kKmMgG]?")
TIME = re.compile(r"\d+|(\d+(ms|[smhdwMy]))+")
# Directives that templates/nginx.conf.j2 and site.conf.j2 write themselves, with the variable to use instead.
OWN_DIRECTIVES = {
    "absolute_redirect": "",
    "access_log": "",
    "charset": "",
    "client_max_body_size": "nginx_client_max_body_size",
    "default_type": "",
    "http2": "",
    "include": "",
    "limit_req_log_level": "",
    "limit_req_status": "",
    "listen": "nginx_https_port",
    "location": "nginx_extra_locations",
    "log_format": "",
    "map": "",
    "proxy_hide_header": "",
    "proxy_http_version": "",
    "proxy_read_timeout": "nginx_proxy_timeout",
    "proxy_redirect": "",
    "proxy_send_timeout": "nginx_proxy_timeout",
    "proxy_set_header": "",
    "real_ip_header": "nginx_trusted_proxies",
    "real_ip_recursive": "nginx_trusted_proxies",
    "sendfile": "",
    "return": "nginx_extra_locations",
    "server": "",
    "server_name": "nginx_server_names",
    "server_names_hash_bucket_size": "",
    "server_names_hash_max_size": "",
    "server_tokens": "",
    "set_real_ip_from": "nginx_trusted_proxies",
    "ssl_certificate": "nginx_certificate",
    "ssl_certificate_key": "nginx_certificate_key",
    "ssl_ciphers": "",
    "ssl_ecdh_curve": "",
    "ssl_prefer_server_ciphers": "",
    "ssl_protocols": "",
    "ssl_session_cache": "",
    "ssl_session_tickets": "",
    "ssl_session_timeout": "",
    "tcp_nopush": "",
    "types_hash_max_size": "",
    "upstream": "nginx_upstreams",
    "variables_hash_max_size": "",
}
# What nginx takes in the http block alone, which all sites of a host share.
HTTP_DIRECTIVES = (
    *("fastcgi_cache_path", "geo", "limit_conn_zone", "limit_req_zone", "map_hash_bucket_size", "map_hash_max_size"),
    *("proxy_cache_path", "scgi_cache_path", "split_clients", "uwsgi_cache_path", "variables_hash_bucket_size"),
)
# Of nginx's own words: strings, comments, and variables in braces.
NO_BLOCKS = re.compile(r"""(?<!\S)("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?<!\S)\#[^\n]*|\$\{\w+\}""")


def problems(given: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the role's arguments.

    Args:
        given: every option of the role by its full name, of the spec's type.

    Returns:
        One sentence a problem, the variable first, with the fix; never a password or a key.
    """
    return [
        *_names(given),
        *_upstream_tls(given),
        *_numbers(given),
        *_values(given),
        *_files(given),
        *_private(given),
        *_protected(given),
        *_locations(given),
        *_extra_locations(given),
        *_settings(given),
        *_certificate(given["nginx_certificate"], given["nginx_certificate_key"], given["nginx_server_names"]),
    ]


def _names(given: Mapping[str, Any]) -> Iterator[str]:
    if not APPLICATION.fullmatch(given["nginx_application"]):
        yield f"nginx_application: {given['nginx_application']!r} names files: use letters, digits, dashes and underscores."
    names = given["nginx_server_names"]
    if not names:
        yield "nginx_server_names is empty: name the hosts the site answers to."
    elif not MAIN_NAME.fullmatch(names[0]):
        yield f"nginx_server_names: the main name comes first, and {names[0]!r} is none: put a host name before it."
    for name in names[1:]:
        if not SERVER_NAME.fullmatch(name):
            yield f"nginx_server_names: {name!r} is no host name: give it without scheme, port and path."
    if not given["nginx_upstreams"]:
        yield "nginx_upstreams is empty: name where the application listens."
    for upstream in given["nginx_upstreams"]:
        if not UPSTREAM.fullmatch(upstream):
            yield f"nginx_upstreams: {upstream!r} is neither unix:/path nor address:port: write it as one of them."


def _upstream_tls(given: Mapping[str, Any]) -> Iterator[str]:
    """TLS to whom nobody vouches for is no better than clear text."""
    authority = given["nginx_upstream_authority"]
    if authority and not re.fullmatch(r"/[^\s;{}\"'$]*", authority):
        yield (
            f"nginx_upstream_authority: {authority!r} is no absolute path: name a PEM file on the server, without spaces and quotes."
        )
    for variable, name in (
        ("nginx_upstream_name", given["nginx_upstream_name"]),
        *(
            (f"nginx_protected_locations: the upstream_name of {location['path']}", location.get("upstream_name"))
            for location in given["nginx_protected_locations"]
        ),
    ):
        if name and not authority:
            yield (
                f"{variable} is {name}, but nginx_upstream_authority is empty: nginx would take any certificate. Name the PEM file of the "
                "authority, or leave the name out."
            )


def _numbers(given: Mapping[str, Any]) -> Iterator[str]:
    for name in ("nginx_http_port", "nginx_https_port", "nginx_public_https_port"):
        if not 0 < given[name] < 65536:
            yield f"{name}: {given[name]} is no port: give one from 1 to 65535."
    if given["nginx_http_port"] == given["nginx_https_port"]:
        yield f"nginx_http_port is {given['nginx_http_port']}, as nginx_https_port is: give each a port of its own."
    for name, least in (
        ("nginx_hsts_seconds", 0),
        ("nginx_upstream_keepalive", 0),
        ("nginx_login_attempts_per_minute", 1),
    ):
        if given[name] < least:
            yield f"{name}: {given[name]} is too small: give {least} or more."


def _values(given: Mapping[str, Any]) -> Iterator[str]:
    if not SIZE.fullmatch(given["nginx_client_max_body_size"]):
        yield f"nginx_client_max_body_size: {given['nginx_client_max_body_size']!r} is no size: write it like 10m or 512k."
    if not TIME.fullmatch(given["nginx_proxy_timeout"]):
        yield f"nginx_proxy_timeout: {given['nginx_proxy_timeout']!r} is no time: write it like 60s or 1h30m."
    for name in ("nginx_trusted_proxies", "nginx_private_addresses"):
        for address in given[name]:
            if not is_network(address):
                yield f"{name}: {address!r} is no address: give an IP address or a network like 10.0.0.0/8."


def _files(given: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("static", "media"):
        path, url = given[f"nginx_{kind}_path"], given[f"nginx_{kind}_url"]
        if path and not re.fullmatch(r"/[^\s;{}\"'$]*", path):
            yield f"nginx_{kind}_path: {path!r} is no absolute path: begin it with a slash, and leave out spaces and quotes."
        else:
            yield from served_folder_problems(f"nginx_{kind}_path", path, given["nginx_application"])
        if path and not URL_PATH.fullmatch("/" + url.strip("/")):
            yield f"nginx_{kind}_url: {url!r} is no path of the site: give one like /{kind}/, without scheme and host."
    if given["nginx_media_private"] and not given["nginx_media_path"]:
        yield "nginx_media_private is true, but nginx_media_path is empty: name the folder of uploads, or leave it out."


def _private(given: Mapping[str, Any]) -> Iterator[str]:
    for path in given["nginx_private_locations"]:
        if not URL_PATH.fullmatch(path.removesuffix("/")):
            yield f"nginx_private_locations: {path!r} is no path of the site: give one like /metrics."


def _protected(given: Mapping[str, Any]) -> Iterator[str]:
    say = "nginx_protected_locations:"
    locations = given["nginx_protected_locations"]
    for location in locations:
        path = location["path"]
        if not (path.endswith("/") and URL_PATH.fullmatch(path[:-1])):
            yield f"{say} {path!r} is no path with a slash at both ends: write it like /flower/."
        if not UPSTREAM.fullmatch(location["upstream"]):
            yield f"{say} the upstream {location['upstream']!r} of {path} is neither unix:/path nor address:port."
        if not re.fullmatch(r"[^\s:#][^\s:]*", str(location["user"])):
            yield f"{say} the user of {path} is empty or holds a colon or a space: choose another name."
        if not location["password"]:
            yield f"{say} the password of {path} is empty: give one."
        for denied in location.get("deny") or []:
            if not (denied.startswith(path) and URL_PATH.fullmatch(denied.removesuffix("/"))):
                yield f"{say} {denied!r}, denied, is no path below {path}: give one that begins with it."
    for first, second in combinations(sorted(location["path"].strip("/") + "/" for location in locations), 2):
        if first == second:
            yield f"{say} /{first} stands there twice: leave one of them."
        elif second.startswith(first):
            yield f"{say} /{second} lies inside /{first}: one password protects a path and all below it; leave one of them."
    taken = {
        "nginx_static_url": given["nginx_static_path"] and given["nginx_static_url"],
        "nginx_media_url": given["nginx_media_path"] and given["nginx_media_url"],
        **{f"nginx_private_locations ({path})": path for path in given["nginx_private_locations"]},
    }
    for location in locations:
        for name, path in taken.items():
            if path and path.strip("/") == location["path"].strip("/"):
                yield f"{say} {location['path']} is the path of {name} too: choose another one."


def _locations(given: Mapping[str, Any]) -> Iterator[str]:
    say, seen = "nginx_locations:", set()
    fenced = {
        **{path: "nginx_private_locations" for path in given["nginx_private_locations"]},
        **{location["path"]: "nginx_protected_locations" for location in given["nginx_protected_locations"]},
    }
    served = {
        given[f"nginx_{kind}_url"]: f"nginx_{kind}_url" for kind in ("static", "media") if given[f"nginx_{kind}_path"]
    }
    for location in given["nginx_locations"]:
        path = location["path"]
        inner = path.strip("/")
        if path != "/" and not URL_PATH.fullmatch(path.removesuffix("/")):
            yield f"{say} {path!r} is no path of the site: give one like /upload/."
        if inner in seen:
            yield f"{say} {path} stands there twice: leave one of them."
        seen.add(inner)
        for fence, name in fenced.items():
            if f"{inner}/".startswith(f"{fence.strip('/')}/"):
                yield f"{say} {path} is, or lies below, {fence} of {name}, and would be open to everybody: take it out of one of them."
        for url, name in served.items():
            if inner == url.strip("/"):
                yield f"{say} {path} is {name}, whose files nginx serves itself: take it out."
        yield from _location_values(path, location)


def _location_values(path: str, location: Mapping[str, Any]) -> Iterator[str]:
    say = "nginx_locations:"
    size, time = location.get("client_max_body_size"), location.get("proxy_timeout")
    if size is not None and not SIZE.fullmatch(size):
        yield f"{say} client_max_body_size {size!r} of {path} is no size: write it like 10m or 2g."
    if time is not None and not TIME.fullmatch(time):
        yield f"{say} proxy_timeout {time!r} of {path} is no time: write it like 600s or 1h30m."
    for address in location.get("allow") or []:
        if not is_network(address):
            yield f"{say} {address!r}, allowed for {path}, is no address: give an IP address or a network like 10.0.0.0/8."
    if (location.get("requests_per_minute") or 0) < 0:
        yield f"{say} requests_per_minute of {path} is too small: give 0 or more."


def _extra_locations(given: Mapping[str, Any]) -> Iterator[str]:
    depth = 0
    for brace in re.findall("[{}]", NO_BLOCKS.sub("", given["nginx_extra_locations"])):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            break
    if depth:
        yield (
            f"nginx_extra_locations: {'a brace is never closed' if depth > 0 else 'a brace closes what was never opened'}: "
            "write whole blocks, such as location /api/ { ... }."
        )


def _settings(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given["nginx_settings"].items():
        if name in OWN_DIRECTIVES:
            instead = OWN_DIRECTIVES[name]
            yield f"nginx_settings: {name} belongs to the role: " + (f"use {instead}." if instead else "take it out.")
        elif name in HTTP_DIRECTIVES:
            yield (
                f"nginx_settings: {name} belongs to the http block, which all sites of a host share: put it into a file in "
                "/etc/nginx/conf.d/ there."
            )
        elif not isinstance(value, str | int) or isinstance(value, bool):
            yield f'nginx_settings: {name} is {value!r}, not text: quote it as nginx reads it, like "on".'


def _certificate(certificate: str, key: str, names: Sequence[str]) -> Iterator[str]:
    if not certificate and not key:
        return
    if not (certificate and key):
        empty, set_one = ("nginx_certificate", "nginx_certificate_key")[:: 1 if key else -1]
        yield f"{empty} is empty while {set_one} is set: set both, or neither for a self-signed certificate."
        return
    # Imported where it is needed: it takes half a second.
    from ansible_collections.community.crypto.plugins.filter import openssl_privatekey_info, x509_certificate_info

    read = owner = None
    try:
        read = x509_certificate_info.x509_certificate_info_filter(pem(certificate))
    except (AnsibleError, OSError, ValueError):
        yield (
            f"nginx_certificate: {_shown(certificate)} is not there or holds no PEM certificate: "
            "name the full chain in PEM form."
        )
    try:
        owner = openssl_privatekey_info.openssl_privatekey_info_filter(pem(key))
    except (AnsibleError, OSError, ValueError) as error:
        if "empty passphrase" in str(error):
            yield f"nginx_certificate_key: {_shown(key)} is encrypted: decrypt it with `openssl pkey` and keep it in a vault."
        else:
            yield (
                f"nginx_certificate_key: {_shown(key)} is not there or holds no PEM private key: name the key in PEM form."
            )
    if read and owner and read["public_key"] != owner["public_key"]:
        yield (
            f"nginx_certificate_key: {_shown(key)} does not belong to the certificate in {_shown(certificate)} "
            "(nginx_certificate): give the key it was requested with, and the site's own certificate first in its file."
        )
    if read:
        yield from _validity(read, _shown(certificate), names)


def _shown(given: str) -> str:
    """Where a PEM text comes from, never the text itself."""
    return "the text given" if "-----BEGIN" in given else f"the file {given}"


def _validity(read: Mapping[str, Any], shown: str, names: Sequence[str]) -> Iterator[str]:
    starts, ends = (_time(read[moment]) for moment in ("not_before", "not_after"))
    if read["expired"]:
        yield (
            f"nginx_certificate: {shown} expired on {ends:%Y-%m-%d}: renew it, "
            "or empty nginx_certificate and nginx_certificate_key for a self-signed one."
        )
    if starts > datetime.now(UTC):
        yield (
            f"nginx_certificate: {shown} is valid only from {starts:%Y-%m-%d %H:%M} "
            "UTC: check the clock of this machine, or wait."
        )
    common_name = str(read["subject"].get("commonName", ""))
    held = {entry.lower() for entry in read["subject_alt_name"] or certificate_entries([common_name])}
    # No authority certifies a name without a dot, and none a pattern.
    wanted = [name for name in names if re.match(r"[\w:-]+\.", name)]
    missing = [name for name in wanted if not held & _fitting(name.lower())]
    if missing:
        yield (
            f"nginx_certificate: {shown} is not for {', '.join(missing)}: order one that covers "
            "nginx_server_names, or take the names out of there."
        )


def _time(asn1: str) -> datetime:
    return datetime.strptime(asn1, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _fitting(name: str) -> set[str]:
    """The entries of a certificate that would do for a name; a wildcard stands for one level."""
    return {entry.lower() for entry in certificate_entries([name])} | {"dns:*." + name.partition(".")[2]}
