"""Lets an hour pass for what stands still, then sweeps. Runs on the shop's server, in its shell."""

from datetime import timedelta

from analytics.models import Report
from core import outbox
from django.utils import timezone

an_hour_ago = timezone.now() - timedelta(hours=1)
stuck = Report.objects.filter(owner__username="load", state__in=Report.unfinished)
stuck.update(moved_at=an_hour_ago, next_send_at=an_hour_ago, sent_at=an_hour_ago)
outbox.resend_stuck()
