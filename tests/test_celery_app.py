"""When what a project's app has said of itself is asked anew."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.stockpot.stack.plugins.modules import celery_app


def test_another_file_that_the_settings_may_read_is_another_question(tmp_path: Path) -> None:
    environment, settings = tmp_path / "environment", tmp_path / "local_settings.py"
    environment.write_text("A=1\n")
    given = {
        "app": "config",
        "script": "print()",
        "environment": "",
        "environment_files": [str(environment)],
        "read_paths": [str(settings)],
    }
    keys = [celery_app.key(given)]
    for text in ("CELERY_TASK_ROUTES = {}\n", "CELERY_TASK_ROUTES = {'a': 'b'}\n"):
        settings.write_text(text)
        keys.append(celery_app.key(given))
    environment.write_text("A=2\n")
    keys.append(celery_app.key(given))
    assert len(set(keys)) == 4
