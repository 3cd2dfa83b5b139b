from django.urls import path

from pictures import views

urlpatterns = [
    path("", views.index, name="index"),
    path("pictures/<int:pk>/", views.picture, name="picture"),
]
