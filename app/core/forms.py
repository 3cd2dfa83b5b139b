import uuid

from django import forms


class OnceForm(forms.Form):
    """A form that makes one row however often it is sent: its hidden reference becomes the row's."""

    reference = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
