"""What a failed build of a Python package needs of Debian."""

from __future__ import annotations

import re

COMPILER = ("gcc", "python3-dev")
# What a build says, or its package's name, and what was missing. A compiler is needed by each that names one here.
NEEDS = (
    (r"pg_config|`psycopg2[=`]", (*COMPILER, "libpq-dev")),
    (r"mysql_config|mysqlclient|mariadb_config", (*COMPILER, "libmariadb-dev", "pkg-config")),
    (r"pkg-config: not found|No such file or directory: 'pkg-config'", ("pkg-config",)),
    (r"lber\.h|ldap\.h|sasl\.h|`python-ldap[=`]", (*COMPILER, "libldap-dev", "libsasl2-dev")),
    (r"libxml/xml|libxslt|xslt-config|`lxml[=`]", (*COMPILER, "libxml2-dev", "libxslt1-dev")),
    (r"`xmlsec[=`]", (*COMPILER, "libxmlsec1-dev", "pkg-config")),
    (r"`pillow[=`]", (*COMPILER, "libjpeg-dev", "zlib1g-dev")),
    (r"ffi\.h|libffi", (*COMPILER, "libffi-dev")),
    (r"openssl/\w+\.h|openssl-sys", (*COMPILER, "libssl-dev", "pkg-config")),
    (r"krb5-config|gssapi\.h", (*COMPILER, "libkrb5-dev")),
    (r"gdal-config|gdal\.h", (*COMPILER, "libgdal-dev")),
    (r"geos_c\.h|geos-config", (*COMPILER, "libgeos-dev")),
    (r"curl-config|curl/curl\.h", (*COMPILER, "libcurl4-openssl-dev", "libssl-dev")),
    (r"pycairo|cairo\.h", (*COMPILER, "libcairo2-dev", "pkg-config")),
    (r"magic\.h", (*COMPILER, "libmagic-dev")),
    (r"Rust|rustc|cargo", ("cargo", *COMPILER)),
    (r"g\+\+|c\+\+'|CMAKE_CXX_COMPILER", ("g++", "python3-dev")),
    (r"[Cc]make.*(not found|No such file|not installed)", ("cmake",)),
    (r"(gcc|\bcc|clang)'|C compiler|Python\.h|unable to execute '?\S*(gcc|cc)", COMPILER),
    (r"Git executable not found", ("git",)),
)
BUILD_FAILED = re.compile(
    r"[Ff]ailed to build|[Ff]ailed to download and build|build backend returned|Git operation failed"
)


def missing_packages(said: str) -> list[str]:
    """The Debian packages that a failed installation asks for; empty when it failed for another reason.

    Args:
        said: what uv wrote to its error output.
    """
    if not BUILD_FAILED.search(said):
        return []
    return list(dict.fromkeys(name for pattern, names in NEEDS if re.search(pattern, said) for name in names))


def advice(said: str) -> str:
    """What an operator does about a failed installation: a sentence that begins with the variable, or nothing."""
    if not BUILD_FAILED.search(said):
        return ""
    if names := missing_packages(said):
        return (
            f"django_app_packages: a package has no wheel for this Python and is built here. Add: {', '.join(names)}."
        )
    return (
        "django_app_packages: a package has no wheel for this Python and could not be built here. Add the Debian packages that it "
        f"needs, {', '.join(COMPILER)} at least."
    )
