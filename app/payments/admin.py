from core.admin import OutboxAdmin
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from payments import gateway, services
from payments.models import Order, Receipt


@admin.register(Order)
class OrderAdmin(OutboxAdmin[Order]):
    list_display = ("reference", "product", "quantity", "euros", "state", "attempts", "error", "created_at", "paid_at")
    list_select_related = ("product",)
    readonly_fields = (
        "product",
        "quantity",
        "amount",
        "state",
        "customer",
        "attempts",
        "error",
        "moved_at",
        "asked_at",
        "paid_at",
    )
    actions = ("try_again", "charge_anew", "close_unpaid", "accept_charge")

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return False

    @admin.action(description="Charge those that need attention with a new key", permissions=["change"])
    def charge_anew(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        count = services.charge_anew(orders=queryset)
        self.message_user(request, f"{count} sent again.", messages.SUCCESS if count else messages.WARNING)

    @admin.action(description="Cancel those that need attention and were not charged", permissions=["change"])
    def close_unpaid(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        try:
            count = services.close_unpaid(orders=queryset)
        except (gateway.OutcomeUnknown, gateway.Refused) as error:
            self.message_user(request, f"The gateway does not tell: {error}.", messages.ERROR)
        else:
            self.message_user(request, f"{count} cancelled.", messages.SUCCESS if count else messages.WARNING)

    @admin.action(description="Count those that need attention and were charged as paid", permissions=["change"])
    def accept_charge(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        count = services.accept_charge(orders=queryset)
        self.message_user(request, f"{count} paid.", messages.SUCCESS if count else messages.WARNING)


@admin.register(Receipt)
class ReceiptAdmin(admin.ModelAdmin[Receipt]):
    """Proof is neither made nor altered nor deleted by hand."""

    list_display = ("charge", "order", "amount", "created_at")
    list_select_related = ("order__product",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Receipt | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Receipt | None = None) -> bool:
        return False
