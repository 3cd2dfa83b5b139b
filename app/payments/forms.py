import uuid

from django import forms
from inventory.models import Product


class OrderForm(forms.Form):
    product = forms.ModelChoiceField(Product.objects.all(), empty_label=None)
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)
    submission = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
