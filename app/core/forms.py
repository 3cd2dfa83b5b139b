import uuid

from django import forms


class OnceForm(forms.Form):
    """A form that makes one row however often it is sent: its hidden reference becomes the row's."""

    reference = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def refuse_change(self) -> None:
        """Says that the form was sent before with other content, and makes it a new one."""
        self.data = {name: self.data[name] for name in self.data} | {"reference": str(uuid.uuid4())}
        self.add_error(None, "You sent this form before, with other content. Send it again if you want this as well.")
