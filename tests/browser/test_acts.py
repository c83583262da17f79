"""What a person does in a browser: with a keyboard, without JavaScript, too late, and from where they may not."""

import json
import subprocess

import pytest
from playwright.async_api import Page, expect

from receiver.domain.run import RunEvent
from tests.browsing import Site
from tests.door import HOSTILE, proposed

pytestmark = pytest.mark.anyio


async def test_by_keyboard_alone(site: Site) -> None:
    case = await proposed(site.door)
    page = await site.person("anna")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Alert name")).to_be_focused()
    await page.keyboard.type("jk?")  # letters, not commands, while one types
    await expect(page.get_by_label("Alert name")).to_have_value("jk?")
    await page.get_by_label("Alert name").blur()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/cases/{case.id}")
    for _ in range(40):
        await page.keyboard.press("Tab")
        if "Approve" in await page.evaluate("document.activeElement.innerText || ''"):
            break
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await expect(page.get_by_text("approved and merged head").first).to_be_visible()
    await page.keyboard.press("g")
    await page.keyboard.press("h")
    await page.wait_for_url("**/hosts")


async def test_without_javascript(site: Site) -> None:
    case = await proposed(site.door)
    page = await site.person("anna", java_script_enabled=False)
    await page.get_by_label("Alert name").fill("WebDown")
    await page.get_by_role("button", name="Filter").click()
    await page.get_by_role("link", name="WebDown").click()
    await page.get_by_label("Reason").fill("not now")
    await page.get_by_role("button", name="Reject").click()
    await page.wait_for_url(f"**/cases/{case.id}")
    await expect(page.get_by_text("not now").first).to_be_visible()
    await page.goto(f"{site.url}/settings")
    await page.get_by_role("link", name="Check now").click()
    await expect(page.get_by_text("free some space")).to_be_visible()
    await page.get_by_role("button", name="dark").click()
    assert await page.get_attribute("html", "data-theme") == "dark"
    await page.goto(f"{site.url}/start")
    await page.get_by_role("button", name="Test").nth(1).click()
    await expect(page.locator("#result-inventory")).to_contain_text("hosts")


async def test_an_old_head_is_not_approved(site: Site) -> None:
    site.expected = "409"
    case = await proposed(site.door)
    page = await site.person("anna", f"/cases/{case.id}")
    bare, head = site.door.app.state.parts.repository, case.proposal.head_sha

    def git(*words: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
        return subprocess.run(
            ["git", "-C", bare, *identity, *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    moved = git("commit-tree", f"{head}^{{tree}}", "-p", head, "-m", "pushed meanwhile")
    git("update-ref", f"refs/heads/{case.proposal.branch}", moved)
    await page.get_by_role("button", name="Approve and run on web1").click()
    await expect(page.get_by_role("heading", name="Not done")).to_be_visible()
    assert (await site.door.office.forge.read(case.proposal.number)).state == "open"


async def test_hostile_lines_are_only_text(site: Site) -> None:
    case = await proposed(site.door)
    runs = site.door.office.store.runs
    attempt = await runs.begin(case.runfile.run, case.id, "check", "test")
    nasty = [
        HOSTILE, "\x1b[31mred\x1b]0;title\x07", "a\u202eb\u2066c\u200bd",
        "<hx-partial hx-target='body'>gone</hx-partial>",
        "data: x\n\nevent: end\ndata: y", "</p></div><h1 id=own>own</h1>", "x" * 1_000_000,
    ]  # fmt: skip
    page = await site.person("anna", f"/cases/{case.id}")
    await page.evaluate("() => { window.alert = () => { window.hurt = true } }")
    for number, text in enumerate(nasty):
        event = RunEvent(seq=number, at=case.opened_at, kind="ok", host="web1", task="t", text=text)
        await runs.record(attempt, [event])
    await expect(page.locator(f"#L{len(nasty) - 1}")).to_contain_text("cut here")
    assert await page.evaluate("window.hurt") is None
    await expect(page.locator("#own, #log img, #log script")).to_have_count(0)
    await expect(page.locator("#log p")).to_have_count(len(nasty))
    assert len(await page.locator(f"#L{len(nasty) - 1}").inner_text()) < 5000
    assert "gitmedic" in await page.title()


async def test_dispatch_from_a_form(site: Site) -> None:
    page = await site.person("anna", "/catalog/web_restart")
    await page.get_by_label("host", exact=False).first.select_option("web1")
    await expect(page.locator("#preview")).to_contain_text("- web1")
    await fill_rest(page)
    await page.get_by_label("reason").fill("by hand")
    await expect(page.locator("#preview")).to_contain_text("by hand")
    await page.get_by_role("button", name="Propose this run").click()
    await page.wait_for_url("**/cases/*")
    await expect(page.get_by_text("user:anna").first).to_be_visible()


async def test_a_host_that_is_gone_is_said_at_its_field(site: Site) -> None:
    site.expected = "422"
    page = await site.person("anna", "/catalog/web_restart")
    await fill_rest(page)
    await page.get_by_label("host", exact=False).first.evaluate(
        "select => { select.options[select.selectedIndex].value = 'gone1'; select.options[0].text = 'gone1' }"
    )
    await page.get_by_role("button", name="Propose this run").click()
    await expect(page.get_by_text("is no host of the inventory").first).to_be_visible()
    assert (await site.door.office.store.archive.cases(limit=1, cursor=None, filters={})).items == ()


async def test_another_site_can_neither_post_nor_frame(site: Site) -> None:
    site.expected = "403|frame|X-Frame|refused"
    case = await proposed(site.door)
    page = await site.person("anna")
    other = await site.person("anna", java_script_enabled=True)
    await other.context.add_cookies(await page.context.cookies())
    await other.route("http://evil.example/", lambda route: route.fulfill(
        content_type="text/html",
        body=f"<form method=post action={json.dumps(f'{site.url}/cases/{case.id}/approve')}>"
        f"<input name=head_sha value={case.proposal.head_sha}><button>win</button></form>"
        f"<iframe name=f src={json.dumps(f'{site.url}/cases/{case.id}')}></iframe>",
    ))  # fmt: skip
    await other.goto("http://evil.example/")
    frame = other.frame("f")
    assert frame is not None and "Approve" not in await frame.content()
    await other.get_by_role("button", name="win").click()
    await other.wait_for_load_state()
    assert (await site.door.office.forge.read(case.proposal.number)).state == "open"


async def fill_rest(page: Page) -> None:
    """The fields of the test's playbook beside the host."""
    for field in await page.locator("form.fields input:not([name=reason])").all():
        await field.fill("web")
