from django.urls import path

from parcel import views

urlpatterns = [
    path("", views.find, name="find"),
    path("parcels/<str:number>", views.parcel, name="parcel"),
]
