from django.forms import ModelForm

from pictures.models import Picture


class PictureForm(ModelForm):
    class Meta:
        model = Picture
        fields = ["title", "image"]
