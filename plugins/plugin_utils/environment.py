"""A project's environment variables: what can stand in them, and what a host gets that runs none of its processes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

# Linux hands a program no longer `NAME=value`, its closing zero included; bytes.
LONGEST = 131072
# What systemd takes for no text: halves of a pair, and the code points that are no characters.
NO_TEXT = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
    + "]"
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The password of a URL's user info; it ends at the last @ before the path.
URL_PASSWORD = re.compile(r"(?<=://)([^/\s?#:@]*:)[^/\s?#]*(?=@)")
# Nothing in it needs quoting, wherever it stands.
STAND_IN = "not-a-secret-on-this-host-"


def environment_value(value: Any) -> str:
    """A value as systemd, and a shell, reads it from an environment file: in quotes, nothing in it is expanded.

    Args:
        value: text, of several lines too, or a number.
    """
    return '"' + re.sub(r'([\\"`$])', r"\\\1", str(value)) + '"'


def environment_problems(environment: Mapping[str, Any], variable: str) -> list[str]:
    """What cannot stand in an environment file, a sentence each that begins with the variable and shows no value.

    Args:
        environment: names and values.
        variable: the name of the role's option.
    """
    found = []
    for name, value in environment.items():
        where = f"{variable}: {name}:"
        if not NAME.fullmatch(str(name)):
            found.append(f"{where} this is no name. Take letters, digits and underscores, no digit first.")
        elif isinstance(value, bool) or not isinstance(value, str | int):
            found.append(f"{where} the value is no text. Put it in quotes.")
        elif isinstance(value, str) and (unfit := _unfit(f"{name}={value}")):
            found.append(f"{where} the value {unfit}.")
    return found


def _unfit(assignment: str) -> str:
    """Why systemd or the kernel would not pass a variable on, with the fix; empty if they do."""
    if "\0" in assignment:
        return "holds a zero byte, which no variable can. Encode it, a key for example as base64"
    size = len(assignment.encode(errors="surrogatepass"))
    if NO_TEXT.search(assignment):
        return "is no valid text. Encode it, a key for example as base64"
    if size >= LONGEST:
        return f"has {size} bytes, and a variable takes {LONGEST - 1} with its name. Give it as a file, in django_app_files"
    return ""


def without_secrets(environment: Mapping[str, Any], secrets: Iterable[Any]) -> dict[str, Any]:
    """An environment to build a project with where none of its processes runs: every secret in it is replaced.

    What is encoded in another way than for a URL, base64 for example, is not recognised.

    Args:
        environment: names and values.
        secrets: what must not reach the host; each is found as it stands and quoted as in URLs.

    Returns:
        The same names. A secret, and the password in the user info of any URL, becomes a stand-in that leaves the URL
        one; a value that is nothing but a secret becomes one as long and varied as Django's checks want a key.
    """
    hidden = {str(secret) for secret in secrets if secret}
    spellings = {
        spelling for secret in hidden for spelling in (secret, quote(secret), quote(secret, ""), quote_plus(secret))
    }
    # The longest first: one secret may be part of another.
    anywhere = re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))) or r"(?!)", re.IGNORECASE)

    def harmless(value: Any) -> Any:
        if str(value) in hidden:
            return STAND_IN * 2
        if not isinstance(value, str):
            return value
        return URL_PASSWORD.sub(rf"\g<1>{STAND_IN}", anywhere.sub(STAND_IN, value))

    return {name: harmless(value) for name, value in environment.items()}
