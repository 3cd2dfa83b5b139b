"""What strangers, guessers and foreign scripts get: nothing."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone
from media import services
from media.models import SIZES, Document, Image
from pytest_django import Settings

from tests.test_media import picture

PASSWORD = "correct horse battery"
LOGINS = ["/login/", "/admin/login/"]


# Passwords


@pytest.fixture
def sign_in(admin: User) -> Callable[..., int]:
    """The status of an attempt of a new browser: `sign_in(page, password, address=, name=, site=)`; 302 is in."""

    def attempt(
        page: str, password: str, *, address: str = "198.51.100.7", name: str = "root", site: Client | None = None
    ) -> int:
        browser = site or Client(headers={"x-forwarded-proto": "https"})
        form = {"username": name, "password": password}
        return browser.post(page, form, headers={"x-forwarded-for": address}).status_code

    return attempt


@pytest.mark.parametrize("page", LOGINS)
def test_after_wrong_passwords_not_even_the_right_one_is_heard(page: str, sign_in: Callable[..., int]) -> None:
    answers = [sign_in(page, f"guess {number}") for number in range(30)]
    assert answers == [200] * 9 + [429] * 21
    assert [sign_in(page, PASSWORD) for page in LOGINS] == [429, 429]
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=61))
    assert sign_in(page, PASSWORD) == 302


@pytest.mark.parametrize("page", LOGINS)
def test_one_name_is_not_guessed_from_many_addresses(page: str, sign_in: Callable[..., int]) -> None:
    answers = [sign_in(page, "guess", address=f"198.51.100.{number}") for number in range(30)]
    assert answers == [200] * 9 + [429] * 21
    assert sign_in(page, PASSWORD, address="203.0.113.9") == 429


def test_many_names_are_not_guessed_from_one_address(sign_in: Callable[..., int]) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    for number in range(10):
        sign_in("/login/", "guess", name=f"cook-{number}")
    assert sign_in("/login/", PASSWORD, name="ada") == 429
    assert sign_in("/login/", PASSWORD, name="ada", address="203.0.113.9") == 302


@pytest.mark.parametrize("page", LOGINS)
def test_others_guesses_do_not_shut_a_person_out_of_the_own_browser(page: str, sign_in: Callable[..., int]) -> None:
    own = Client(headers={"x-forwarded-proto": "https"})
    assert sign_in(page, PASSWORD, site=own) == 302
    own.post("/logout/")
    for number in range(20):
        sign_in(page, "guess", address=f"198.51.100.{number}")
    assert sign_in(page, PASSWORD, address="203.0.113.9") == 429
    assert sign_in(page, PASSWORD, address="203.0.113.9", site=own) == 302


def test_a_known_browser_is_known_for_its_own_name_and_slowed_down_like_others(sign_in: Callable[..., int]) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    own = Client(headers={"x-forwarded-proto": "https"})
    sign_in("/login/", PASSWORD, site=own, name="ada")
    own.post("/logout/")
    for number in range(10):
        sign_in("/login/", "guess", address=f"198.51.100.{number}")
    assert sign_in("/login/", PASSWORD, address="203.0.113.9", site=own) == 429
    for _ in range(10):
        sign_in("/login/", "guess", address="203.0.113.9", site=own, name="ada")
    assert sign_in("/login/", PASSWORD, address="203.0.113.9", site=own, name="ada") == 429


def test_a_success_of_ones_own_forgives_no_guesses(sign_in: Callable[..., int]) -> None:
    User.objects.create_user("eve", password=PASSWORD)
    for _ in range(9):
        sign_in("/login/", "guess")
    assert sign_in("/login/", PASSWORD, name="eve") == 302
    assert sign_in("/login/", "guess") == 429


def test_who_is_slowed_down_is_told_so(site: Client, user: User) -> None:
    answers = [site.post("/login/", {"username": "ada", "password": "guess"}) for _ in range(11)]
    assert answers[-1]["Retry-After"] == "60"
    assert "Wait a minute" in answers[-1].content.decode()
    assert site.get("/login/").status_code == 200


def test_guesses_are_stored_without_passwords_and_forgotten(site: Client, user: User) -> None:
    site.post("/login/", {"username": "ada", "password": "hunter2"})
    [attempt] = AccessAttempt.objects.values()
    assert "hunter2" not in str(attempt)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=61))
    site.post("/login/", {"username": "bob", "password": "guess"})
    assert [attempt.username for attempt in AccessAttempt.objects.all()] == ["bob"]


# Uploads


@pytest.fixture
def image(user: User) -> Image:
    """Ada's picture, in every size."""
    image = Image.objects.create(owner=user, title="My pot", file=ContentFile(picture(20, 20), name="pot.jpg"))
    for size in SIZES:
        services.make_thumbnail(image_id=image.pk, size=size)
    return image


def addresses(image: Image) -> list[str]:
    """The page of a picture, its thumbnails and what was uploaded."""
    page = image.get_absolute_url()
    return [page, f"{page}original", *(thumbnail.get_absolute_url() for thumbnail in image.thumbnails.all())]


def test_a_picture_is_its_owners_and_staffs(site: Client, image: Image, user: User, admin: User) -> None:
    assert len(addresses(image)) == 5
    assert {site.get(address)["Location"].partition("?")[0] for address in addresses(image)} == {"/login/"}
    for visitor, status in ((User.objects.create_user("eve"), 403), (user, 200), (admin, 200)):
        site.force_login(visitor)
        assert {site.get(address).status_code for address in addresses(image)} == {status}


def test_lists_hold_the_visitors_own_rows_only(site: Client, image: Image, user: User) -> None:
    Document.objects.create(owner=user, name="menu.txt", state=Document.State.READY, words=7)
    pages = {"/images/": image.get_absolute_url(), "/documents/": "7 words"}
    for visitor, shown in ((User.objects.create_user("eve"), False), (user, True)):
        site.force_login(visitor)
        assert [text in site.get(page).content.decode() for page, text in pages.items()] == [shown] * 2


def test_the_page_shows_thumbnails_by_their_checked_addresses_only(user_site: Client, image: Image) -> None:
    page = user_site.get(image.get_absolute_url()).content.decode()
    assert re.findall(r'<img src="([^"]+)"', page.partition("<main")[2]) == addresses(image)[2:]
    assert "/media/" not in page


def test_without_a_proxy_that_lends_them_the_process_sends_uploads(
    user_site: Client, image: Image, settings: Settings
) -> None:
    settings.MEDIA_IS_PRIVATE = False
    small = image.thumbnails.get(size="small")
    answer = user_site.get(small.get_absolute_url())
    assert b"".join(answer) == Path(small.file.path).read_bytes()
    answer.close()
    assert answer["Content-Type"] == "image/webp"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, no-cache"


def test_a_proxy_is_asked_to_lend_them(user_site: Client, image: Image) -> None:
    small = image.thumbnails.get(size="small")
    answer = user_site.get(small.get_absolute_url())
    assert (answer["X-Accel-Redirect"], answer.content) == (f"/media/{small.file.name}", b"")
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("image/webp", "private, no-cache")
    original = user_site.get(f"{image.get_absolute_url()}original")
    assert original["X-Accel-Redirect"] == f"/media/{image.file.name}"
    assert original["Content-Disposition"] == 'attachment; filename="my-pot"'
    assert original["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("title", ["two\nlines", "../../x", '"', "Töpfe"])
def test_any_title_makes_a_name_to_save_under(user_site: Client, image: Image, title: str) -> None:
    Image.objects.update(title=title)
    answer = user_site.get(f"{image.get_absolute_url()}original")
    assert answer.status_code == 200
    assert ".." not in answer["Content-Disposition"]


@pytest.mark.parametrize("size", ["huge", "../small", "..%2fsmall", "%2e%2e", "small.webp/../large"])
def test_only_the_sizes_there_are_can_be_named(user_site: Client, image: Image, size: str) -> None:
    assert user_site.get(f"{image.get_absolute_url()}{size}.webp").status_code == 404


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "originals/../../secret"])
def test_a_row_that_names_a_file_elsewhere_lends_nothing(
    user_site: Client, image: Image, settings: Settings, tmp_path: Path, name: str
) -> None:
    settings.MEDIA_ROOT = str(tmp_path / "media")
    (tmp_path / "secret").write_text("not to be seen")
    Image.objects.update(file=name)
    for private in (False, True):
        settings.MEDIA_IS_PRIVATE = private
        answer = user_site.get(f"{image.get_absolute_url()}original")
        assert answer.status_code == 400
        assert "X-Accel-Redirect" not in answer


def test_a_file_that_is_gone_is_not_found(user_site: Client, image: Image) -> None:
    Path(image.file.path).unlink()
    assert user_site.get(f"{image.get_absolute_url()}original").status_code == 404


def test_the_admin_links_to_the_checked_address(site: Client, admin: User, image: Image) -> None:
    site.force_login(admin)
    page = site.get(f"/admin/media/image/{image.pk}/change/").content.decode()
    assert f"{image.get_absolute_url()}original" in page
    assert "/media/originals" not in page


# Foreign scripts


@pytest.mark.parametrize("page", ["/", "/login/", "/nowhere", "/admin/login/"])
def test_every_page_forbids_scripts_that_are_not_the_sites(site: Client, db: None, page: str) -> None:
    policy = dict(part.strip().split(" ", 1) for part in site.get(page)["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
