from django.urls import path
from readings import views

urlpatterns = [
    path("", views.meters, name="meters"),
    path("telegrams/", views.receive, name="receive"),
]
