from django.urls import path

from entries import views

urlpatterns = [
    path("", views.index, name="index"),
    path("statements/", views.draw_up, name="draw-up"),
    path("statements/<int:pk>/", views.statement, name="statement"),
]
