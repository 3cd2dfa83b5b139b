from core.outbox import AlreadySent
from core.throttle import throttled
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from crm import services
from crm.forms import LeadForm


@throttled(20)
@require_http_methods(["GET", "POST"])
def contact(request: HttpRequest) -> HttpResponse:
    form = LeadForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            lead = services.take(**form.cleaned_data)
        except AlreadySent:
            form.refuse_change()
        else:
            messages.success(request, f"Thank you, {lead.name}: we will call you.")
            return redirect("contact")
    return render(request, "crm/contact.html", {"form": form}, status=422 if form.errors else 200)
