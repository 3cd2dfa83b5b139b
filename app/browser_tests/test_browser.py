"""What a person sees, in a real browser through nginx."""

import os
import re
import struct
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit

from conftest import photograph, refusals
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect


def photo(width: int = 1000, height: int = 700) -> dict[str, object]:
    """A PNG file with a gradient, for the upload form."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, 90)) for x in range(width)) for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return {"name": "pot.png", "mimeType": "image/png", "buffer": content}


def place_order(page: Page, product: str) -> None:
    page.goto("/")
    value = page.locator("option", has_text=product).get_attribute("value")
    page.get_by_label("Product").select_option(value)
    page.get_by_role("button", name="Place the order").click()


def test_a_registered_person_orders_and_watches_it_paid(member: Page) -> None:
    place_order(member, "Lentil dal")
    expect(member.locator("[data-state=paid]")).to_be_visible()
    expect(member.get_by_text(re.compile("^ch_"))).to_be_visible()
    member.goto("/")
    expect(member.get_by_role("link", name="1 x Lentil dal")).to_be_visible()


def test_a_declined_order_says_why(page: Page) -> None:
    place_order(page, "Unlucky pie")
    expect(page.locator("[data-state=failed]")).to_be_visible()
    expect(page.get_by_text("insufficient funds")).to_be_visible()


def test_another_order_in_a_form_that_was_sent_is_no_surprise(page: Page) -> None:
    page.goto("/")
    reference = page.locator("[name=reference]").input_value()
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 x")
    page.go_back()
    # Some browsers keep the page as it was, others ask for it again, which makes a new form.
    page.locator("[name=reference]").evaluate("(field, kept) => { field.value = kept }", reference)
    page.get_by_label("Quantity").fill("2")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_text("You sent this form before, with other content")).to_be_visible()
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 x")


def test_an_order_can_be_placed_with_the_keyboard_alone(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Product")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("3 x")
    expect(page.locator("[data-state=paid], [data-state=failed]")).to_be_visible()


def upload(page: Page) -> tuple[str, str]:
    """Uploads a picture and waits for its sizes; returns its reference and the address of the small one."""
    page.goto("/images/")
    page.get_by_label("Title").fill("My pot")
    page.get_by_label("Picture").set_input_files(photo())  # type: ignore[arg-type]  # a plain dict, of the right keys
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("[data-state=ready]")).to_be_visible()
    reference = page.url.rstrip("/").rpartition("/")[2]
    return reference, page.locator("main img").first.get_attribute("src") or ""


def test_an_uploaded_picture_appears_in_every_size(member: Page) -> None:
    upload(member)
    pictures = member.locator("main img")
    expect(pictures).to_have_count(3)
    for picture in pictures.all():
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") > 0


def test_a_broken_picture_is_refused_with_a_reason(member: Page) -> None:
    member.goto("/images/")
    member.get_by_label("Title").fill("My pot")
    broken = {"name": "pot.png", "mimeType": "image/png", "buffer": b"not a picture"}
    member.get_by_label("Picture").set_input_files(broken)  # type: ignore[arg-type]  # a plain dict, of the right keys
    member.get_by_role("button", name="Upload").click()
    expect(member.get_by_text("Upload a valid image")).to_be_visible()
    expect(member.get_by_label("Title")).to_have_value("My pot")
    member.goto("/images/")
    expect(member.get_by_text("None yet.")).to_be_visible()


def test_a_picture_is_shown_to_its_owner_and_to_nobody_else(member: Page, stranger: Page, page: Page) -> None:
    reference, shown = upload(member)
    for address in (f"/images/{reference}/", f"/images/{reference}/original", shown):
        assert member.request.get(address).status == 200
        assert stranger.request.get(address).status == 403
    # The files themselves, not even for the owner.
    for name in (f"{reference}-small.webp", f"{reference}-large.webp"):
        for person in (member, stranger):
            assert person.request.get(f"/media/thumbnails/{name}").status == 404
    part = member.request.get(shown, headers={"Range": "bytes=0-3"})
    assert (part.status, part.body()) == (206, b"RIFF")
    headers = member.request.get(shown).headers
    assert headers["content-type"] == "image/webp"
    assert headers["cache-control"] == "private, no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    stranger.goto(f"/images/{reference}/")
    expect(stranger.get_by_role("heading", name="Not allowed")).to_be_visible()


def test_a_report_shows_its_progress_until_it_is_done(staff: Page) -> None:
    staff.goto("/reports/")
    staff.get_by_label("Days").select_option("90")
    staff.get_by_role("button", name="Start the report").click()
    expect(staff.locator("[data-state=done]")).to_be_visible()
    expect(staff.locator("#progress")).to_have_js_property("value", 90)


def test_a_visitor_who_asks_for_reports_is_asked_who_it_is(page: Page) -> None:
    page.goto("/reports/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("This page needs to know who you are.")).to_be_visible()


def test_reports_are_not_for_customers(member: Page) -> None:
    answer = member.goto("/reports/")
    assert answer
    assert answer.status == 403
    expect(member.get_by_role("heading", name="Not allowed")).to_be_visible()
    expect(member.get_by_role("link", name="Reports")).to_have_count(0)


def test_a_running_report_can_be_cancelled(staff: Page) -> None:
    staff.goto("/reports/")
    staff.get_by_label("Days").select_option("365")
    staff.get_by_role("button", name="Start the report").click()
    expect(staff.locator("[data-state=running]")).to_be_visible()
    expect(staff.locator("#progress")).not_to_have_js_property("value", 0)
    staff.get_by_role("button", name="Cancel the report").click()
    expect(staff.locator("[data-state=cancelled]")).to_be_visible()
    assert staff.locator("#progress").evaluate("bar => bar.value") < 365


def test_a_document_passes_through_the_chain(member: Page) -> None:
    member.goto("/documents/")
    member.get_by_label("Document").select_option("menu.txt")
    member.get_by_role("button", name="Fetch").click()
    expect(member.get_by_text("220 words")).to_be_visible()


def test_the_tasks_page_shows_what_ran_and_what_waits(staff: Page) -> None:
    place_order(staff, "Lentil dal")
    expect(staff.locator("[data-state=paid]")).to_be_visible()
    staff.goto("/tasks/")
    expect(staff.get_by_role("cell", name="payments.tasks.process_payment").first).to_be_visible()
    expect(staff.locator("[data-queue]")).to_have_count(8)


def test_the_administrator_sees_the_schedule(staff: Page) -> None:
    staff.goto("/admin/django_celery_beat/periodictask/")
    for name in ("Daily report", "Remove expired sessions", "Send stuck work again"):
        expect(staff.locator("#result_list").get_by_text(name)).to_be_visible()
    staff.goto("/admin/crm/lead/")
    expect(staff.get_by_role("heading", name="Select lead to change")).to_be_visible()


def test_an_order_that_needs_attention_is_given_back_in_the_admin(staff: Page, misbehave: Callable[..., None]) -> None:
    misbehave("charges", "reject", status=422, times=1)
    place_order(staff, "Lentil dal")
    expect(staff.locator("[data-state=needs_attention]")).to_be_visible()
    order = staff.url
    reference = order.rstrip("/").rpartition("/")[2]

    staff.goto("/admin/payments/order/?state__exact=needs_attention")
    staff.get_by_role("row", name=reference).get_by_role("checkbox").check()
    staff.get_by_label("Action:").select_option(label="Try again those that failed or need attention")
    staff.get_by_role("button", name="Go").click()
    expect(staff.get_by_text("1 sent again.")).to_be_visible()
    staff.goto(order)
    expect(staff.locator("[data-state=paid]")).to_be_visible()


def test_no_page_of_the_admin_needs_what_the_policy_forbids(staff: Page) -> None:
    staff.goto("/admin/")
    links = staff.locator("#content-main a[href^='/admin/']").evaluate_all("links => links.map(link => link.pathname)")
    assert len(set(links)) > 20
    for path in sorted(set(links)):
        staff.goto(path)
        expect(staff.locator("#content h1")).to_be_visible()
    staff.goto("/admin/django_celery_beat/periodictask/")
    staff.locator("#result_list tbody th a").filter(has_text="Daily report").click()
    expect(staff.get_by_role("heading", name="Change periodic task")).to_be_visible()
    expect(staff.locator(".field-crontab_translation")).to_contain_text("06:00")


def test_a_script_that_gets_into_a_page_does_not_run(context: BrowserContext) -> None:
    attack = "<script>window.injected = 1</script><img src=/nowhere onerror='window.injected = 1'></main>"

    def inject(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("</main>", attack))

    page = context.new_page()
    refused = refusals(page)
    page.route(re.compile("/contact/$"), inject)
    page.goto("/contact/", wait_until="networkidle")
    expect(page.locator("img[src='/nowhere']")).to_have_count(1)
    assert page.evaluate("window.injected") is None
    assert len(refused) == 2


def test_flower_opens_with_its_password_only(browser: Browser) -> None:
    address = os.environ["STOCKPOT_URL"].rstrip("/") + "/flower/"
    login = {"username": os.environ["STOCKPOT_FLOWER_USER"], "password": os.environ["STOCKPOT_FLOWER_PASSWORD"]}
    for credentials, status in ((None, 401), (login, 200)):
        context = browser.new_context(ignore_https_errors=True, http_credentials=credentials)  # type: ignore[arg-type]
        page = context.new_page()
        # The login page of the browser is an empty answer to a script.
        answer = context.request.get(address)
        assert answer.status == status
        if status == 200:
            page.goto(address)
            expect(page).to_have_title(re.compile("Flower"))
            expect(page.get_by_text("critical").first).to_be_visible()
        context.close()


def test_every_page_fits_a_phone(staff: Page, page: Page) -> None:
    staff.set_viewport_size({"width": 360, "height": 740})
    pages = ["/", "/images/", "/documents/", "/reports/", "/tasks/", "/contact/", "/register/", "/nowhere"]
    place_order(staff, "Lentil dal")
    pages.append(staff.url)
    upload(staff)
    pages.append(staff.url)
    staff.goto("/reports/")
    staff.get_by_role("button", name="Start the report").click()
    expect(staff.locator("[data-state=done]")).to_be_visible()
    pages.append(staff.url)
    for path in pages:
        staff.goto(path)
        photograph(staff, "phone" + re.sub(r"\W+", "-", urlsplit(path).path))
        assert staff.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_a_thumb_reaches_every_link_of_the_navigation(staff: Page) -> None:
    staff.set_viewport_size({"width": 360, "height": 740})
    staff.goto("/")
    links = staff.get_by_role("navigation").get_by_role("link").or_(staff.get_by_role("button", name="Sign out"))
    assert links.count() == 8
    for link in links.all():
        box = link.bounding_box()
        assert box
        assert box["height"] >= 32, link.inner_text()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    staff.get_by_role("navigation").get_by_role("link", name="Contact").tap()
    expect(staff.get_by_role("heading", name="Cooking for many?")).to_be_visible()


def test_an_unknown_address_has_a_page_of_its_own(page: Page) -> None:
    answer = page.goto("/orders/00000000-0000-0000-0000-000000000000/")
    assert answer
    assert answer.status == 404
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
