import uuid
from typing import ClassVar

from core.models import NEEDS_ATTENTION, OutboxRow, sweep_index
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse


class Order(OutboxRow):
    """Something a customer wants, and where its payment stands.

    pending -> processing -> paid, or failed (declined), or back to pending (the gateway could not be asked), or needs
    attention (asking again will not help); pending -> cancelled, as long as no charge can be under way.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        PROCESSING = "processing"
        PAID = "paid"
        FAILED = "failed"
        CANCELLED = "cancelled"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "payments.tasks.process_payment"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING, State.PROCESSING)
    # With a receipt, staff say what becomes of the charge: it would pass for a plain one.
    retryable_where: ClassVar[models.Q] = models.Q(receipt=None)
    patience = 120

    # The gateway charges once for each key, however often it is asked.
    idempotency_key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    product = models.ForeignKey("inventory.Product", on_delete=models.PROTECT)
    quantity = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(99)])
    amount = models.PositiveIntegerField(help_text="cents")
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    # A charge was asked for and its outcome is not known: only the gateway can tell.
    unsettled = models.BooleanField(default=False, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    # When the gateway first saw the key, which it will not remember for ever.
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    paid_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (
            sweep_index("order_to_send", "pending", "processing"),
            models.Index(fields=["paid_at"], condition=models.Q(state="paid"), name="order_paid"),
        )
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.reference])

    @property
    def euros(self) -> str:
        return f"{self.amount / 100:.2f}"

    @property
    def can_be_cancelled(self) -> bool:
        return self.state == self.State.PENDING and not self.unsettled and not hasattr(self, "receipt")


class Receipt(models.Model):
    """Proof of one charge; the constraints make a second one for the same order impossible."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT)
    charge = models.CharField(max_length=64, unique=True)
    amount = models.PositiveIntegerField(help_text="cents")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.charge
