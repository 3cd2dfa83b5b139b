"""What an operator does when a project does not start with the environment and the packages that it was given."""

from __future__ import annotations

import re

# How settings say that a variable is missing: os.environ, django-environ, environs, python-decouple, pydantic-settings.
MISSING = (
    r"^KeyError: '([A-Z][A-Z0-9_]*)'",
    r"ImproperlyConfigured: Set the (\w+) environment variable",
    r'EnvError: Environment variable "(\w+)" not set',
    r"UndefinedValueError: (\w+) not found",
    r"^(\w+)\n  Field required",
)
NO_KEY = r"The SECRET_KEY setting must not be empty"
NO_DATABASE = r"settings\.DATABASES is improperly configured"
NO_MODULE = r"^ModuleNotFoundError: No module named '([\w.]+)'"
CHECKS = r"^SystemCheckError: |^CommandError: "
WHERE = "group_vars/<environment>/main.yml"
PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@")
LINES = 12


def project_advice(said: str, settings: str) -> str:
    """Why a project's command failed, in a sentence that begins with the variable to mend, and its last lines.

    Args:
        said: what it wrote to its error output.
        settings: the settings module that it was to use.
    """
    last = PASSWORD.sub(r"\1********@", "\n".join(said.rstrip().splitlines()[-LINES:]))
    return "\n".join(filter(None, (_advice(said, settings), "The running site was not touched. It said:", last)))


def _advice(said: str, settings: str) -> str:
    if names := [name for pattern in MISSING for name in re.findall(pattern, said, re.MULTILINE)]:
        listed = ", ".join(dict.fromkeys(names))
        return (
            f"app_environment: the project needs {listed}, which it is not given. Write it there, or rename the key of app_connections "
            f"that it is meant to be ({WHERE}; a secret goes to the vault)."
        )
    if re.search(NO_KEY, said):
        return f"app_connections: the settings found no SECRET_KEY. Rename its key to the variable that they read ({WHERE})."
    if re.search(NO_DATABASE, said):
        return f"app_connections: the settings found no database. Rename DATABASE_URL to what they read ({WHERE})."
    if module := re.search(NO_MODULE, said, re.MULTILINE):
        if f"{settings}.".startswith(f"{module[1]}."):
            return f"django_app_settings_module is {settings}, which cannot be imported: the project has no {module[1]} ({WHERE})."
        return (
            f"django_app_requirements: the project imports {module[1]}, which is not among its packages. Add what brings it to the "
            f"project's requirements, or name it in django_app_overlay, an extra or a group ({WHERE})."
        )
    if re.search(CHECKS, said, re.MULTILINE):
        return f"django_app_check_commands: the project's own checks find a mistake. Mend it there, or change the commands ({WHERE})."
    return ""
