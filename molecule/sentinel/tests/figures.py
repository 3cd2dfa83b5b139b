"""Prints, as JSON, how far the load's reports are. Runs on the shop's server, in its shell."""

import json

from analytics.models import Report
from core import broker
from core.models import TaskRun

reports = Report.objects.filter(owner__username="load")
runs = TaskRun.objects.filter(name="analytics.tasks.generate_reports", state="SUCCESS")
done = reports.filter(state="done")
figures = {
    "asked": reports.count(),
    "done": done.count(),
    "unfinished": reports.filter(state__in=Report.unfinished).count(),
    "sent_again": reports.filter(sends__gt=0).count(),
    "runs": runs.count(),
    "ends": sorted(moved_at.timestamp() for moved_at in done.values_list("moved_at", flat=True)),
}
try:
    figures["waiting"] = broker.queue_lengths()["low-priority"]
except Exception as error:
    figures["waiting"] = type(error).__name__
print(json.dumps(figures))
