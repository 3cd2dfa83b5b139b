import uuid

from core.access import own_or_403, staff_only
from core.http import UserRequest
from core.outbox import AlreadySent
from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from analytics import services
from analytics.forms import ReportForm
from analytics.models import Report


@staff_only
@require_http_methods(["GET", "POST"])
def reports(request: UserRequest) -> HttpResponse:
    """The form that starts a report, and the reports of whoever looks."""
    form = ReportForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(services.request_report(owner=request.user, **form.cleaned_data))
        except AlreadySent:
            form.refuse_change()
    context = {"form": form, "reports": Report.objects.filter(owner=request.user)[:20]}
    return render(request, "analytics/reports.html", context, status=422 if form.errors else 200)


@staff_only
@require_GET
@never_cache
def report(request: UserRequest, reference: uuid.UUID) -> HttpResponse:
    """One report; htmx asks for the part that changes."""
    found = own_or_403(request, Report, reference)
    sums = found.lines.aggregate(orders=Sum("orders", default=0), cents=Sum("revenue", default=0))
    context = {
        "report": found,
        "orders": sums["orders"],
        "revenue": f"{sums['cents'] / 100:.2f}",
        "lines": found.lines.exclude(orders=0) if found.is_over else [],
    }
    return render(request, "analytics/_report.html" if request.htmx else "analytics/report.html", context)


@staff_only
@require_POST
def cancel(request: UserRequest, reference: uuid.UUID) -> HttpResponse:
    found = own_or_403(request, Report, reference)
    services.request_cancel(report_id=found.pk)
    return redirect(found)
