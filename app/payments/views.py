import uuid

from core.access import refuse_strangers
from core.http import Request
from core.outbox import AlreadySent
from core.throttle import throttled
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from inventory.models import Product

from payments import services
from payments.forms import OrderForm
from payments.models import Order


@throttled(60)
@require_http_methods(["GET", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """The order form, and the visitor's own last orders."""
    form = OrderForm(request.POST or None)
    user = request.user if request.user.is_authenticated else None
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(services.place_order(customer=user, **form.cleaned_data))
        except AlreadySent:
            form.refuse_change()
    orders = Order.objects.filter(customer=user).select_related("product")[:10] if user else []
    context = {"form": form, "orders": orders, "products": Product.objects.all()}
    return render(request, "payments/home.html", context, status=422 if form.errors else 200)


def own_order(request: HttpRequest, reference: uuid.UUID) -> Order:
    """The order with this reference; one without a customer belongs to whoever knows the reference.

    Raises Http404 if there is none, PermissionDenied if it is someone else's.
    """
    found = get_object_or_404(Order.objects.select_related("product", "receipt"), reference=reference)
    if found.customer_id is not None:
        refuse_strangers(request, found.customer_id)
    return found


@require_GET
@never_cache
def order(request: Request, reference: uuid.UUID) -> HttpResponse:
    """One order; htmx asks for the part that changes."""
    found = own_order(request, reference)
    template = "payments/_order.html" if request.htmx else "payments/order.html"
    return render(request, template, {"order": found})


@require_GET
@never_cache
def order_state(request: HttpRequest, reference: uuid.UUID) -> JsonResponse:
    """The order's state for programs."""
    found = own_order(request, reference)
    return JsonResponse({"reference": str(found.reference), "state": found.state, "attempts": found.attempts})


@require_POST
def cancel(request: HttpRequest, reference: uuid.UUID) -> HttpResponse:
    found = own_order(request, reference)
    try:
        services.cancel(order_id=found.pk)
    except services.NotCancellable as error:
        messages.error(request, str(error))
    return redirect(found)
