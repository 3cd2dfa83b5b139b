from pathlib import Path
from runpy import run_path

# The project's own, where gunicorn looks for it by itself. The command line wins over both.
if Path("gunicorn.conf.py").exists():
    globals().update(run_path("gunicorn.conf.py"))

# What the command line cannot say to every version of gunicorn: unknown settings are ignored here, and an error there.
control_socket_disable = True
