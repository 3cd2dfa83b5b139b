from django.urls import path

from rooms import views

urlpatterns = [
    path("", views.index, name="index"),
    path("servers/", views.servers, name="servers"),
    path("<slug:room>/", views.room, name="room"),
]
