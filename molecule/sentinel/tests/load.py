"""Asks for a report twice a second, as visitors would, and prints how many it asked for. Runs on the shop's server, in its shell."""

import time
import uuid
from pathlib import Path

from analytics import services
from django.contrib.auth.models import User

UNTIL = Path("/run/stockpot-load-may-end")
# Whatever becomes of the test that started it.
LONGEST = 300  # seconds

owner, _ = User.objects.get_or_create(username="load")
asked, began = 0, time.monotonic()
while not UNTIL.exists() and time.monotonic() - began < LONGEST:
    services.request_report(owner=owner, days=1, reference=uuid.uuid4())
    asked += 1
    time.sleep(0.5)
print(asked)
