from core.admin import OutboxAdmin
from django.contrib import admin

from payments.models import Order, Receipt


@admin.register(Order)
class OrderAdmin(OutboxAdmin[Order]):
    list_display = ("reference", "product", "quantity", "euros", "state", "attempts", "error", "created_at")
    list_select_related = ("product",)
    readonly_fields = ("product", "quantity", "amount", "state", "customer", "attempts", "error", "moved_at")


@admin.register(Receipt)
class ReceiptAdmin(admin.ModelAdmin[Receipt]):
    list_display = ("charge", "order", "amount", "created_at")
    readonly_fields = ("charge", "order", "amount")
