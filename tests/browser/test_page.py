"""The page at `/`, clicked and typed through in Chromium against a real pod."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.engines import Engine
from tests.browser.test_pods import StartPod
from tests.harness import PATIENCE, Pod

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("engine", ["chromium"], indirect=True)]

PHONE = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
MOST_TABS = 20
"""More elements than this take the focus before what is looked for: nobody would find it."""


@pytest.fixture
async def page_pod(start_pod: StartPod) -> Pod:
    """A pod with the page, and with a stream of its own that may be deleted."""
    return await start_pod(page="true", publish="true", subjects="page.>", stream="page")


@pytest.fixture
def tab(engine: Engine, page_pod: Pod) -> Iterator[WebDriver]:
    """A tab with the page open."""
    driver = engine.driver
    assert driver is not None
    home = driver.current_window_handle
    driver.switch_to.new_window("tab")
    console(driver)  # what other tests left there
    driver.get(page_pod.url)
    WebDriverWait(driver, PATIENCE).until(lambda _: by_id(driver, "publish").is_displayed())
    yield driver
    driver.close()
    driver.switch_to.window(home)


def console(tab: WebDriver) -> list[dict[str, object]]:
    """What was written to the console since the last call."""
    return tab.get_log("browser")  # type: ignore[attr-defined,no-any-return]


def by_id(tab: WebDriver, name: str) -> WebElement:
    return tab.find_element(By.ID, name)


def state_is(tab: WebDriver, state: str) -> None:
    WebDriverWait(tab, PATIENCE).until(lambda _: by_id(tab, "state").text == state, f"state {state}")


def rows(tab: WebDriver, kind: str, count: int) -> list[str]:
    """Waits for so many rows of a kind (event or gap); returns their texts, the newest first."""
    selector = f"#events > li.{kind}"
    WebDriverWait(tab, PATIENCE).until(
        lambda _: len(tab.find_elements(By.CSS_SELECTOR, selector)) >= count, f"{count} rows {kind}"
    )
    return [row.text for row in tab.find_elements(By.CSS_SELECTOR, selector)]


def press(tab: WebDriver, *keys: str) -> None:
    ActionChains(tab).send_keys(*keys).perform()


def tab_to(tab: WebDriver, name: str) -> None:
    """Moves the focus by the tab key alone."""
    for _ in range(MOST_TABS):
        if tab.switch_to.active_element.get_attribute("id") == name:
            return
        press(tab, Keys.TAB)
    raise AssertionError(f"no way to #{name} by the tab key")


def wider_than_screen(tab: WebDriver) -> bool:
    return bool(tab.execute_script("return document.documentElement.scrollWidth > innerWidth"))


async def test_the_page_clicked_through(tab: WebDriver, page_pod: Pod, publisher: Nats, tmp_path: Path) -> None:
    assert by_id(tab, "subjects").get_attribute("value") == "page.>"
    by_id(tab, "connect").click()
    state_is(tab, "open")

    by_id(tab, "publish-subject").clear()
    by_id(tab, "publish-subject").send_keys("page.form")
    by_id(tab, "publish-data").send_keys("hello from the <b>form</b>")
    by_id(tab, "publish-form").find_element(By.TAG_NAME, "button").click()
    (row,) = rows(tab, "event", 1)
    assert "page.form" in row
    assert "hello from the <b>form</b>" in row
    assert by_id(tab, "publish-result").text.rpartition(" ")[2] in row, "the position in the answer is the event's id"

    await publisher.publish("page.nats", b'{"hello": "from NATS"}')
    await publisher.flush()
    assert "from NATS" in rows(tab, "event", 2)[0]

    await publisher.jetstream().delete_stream("page")
    assert "Gap" in rows(tab, "gap", 1)[0]
    by_id(tab, "publish-event").send_keys("named")
    by_id(tab, "publish-form").find_element(By.TAG_NAME, "button").click()
    assert "named" in rows(tab, "event", 3)[0]
    assert len(rows(tab, "gap", 1)) == 1

    tab.save_screenshot(str(tmp_path / "page.png"))
    tab.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    assert not wider_than_screen(tab)
    tab.save_screenshot(str(tmp_path / "phone.png"))
    assert not console(tab)


async def test_the_page_runs_no_script_but_its_own(tab: WebDriver, page_pod: Pod) -> None:
    """Whatever finds a way into it: the browser refuses, and says so. Its own script has run, or there would be no tab."""
    for script in (
        "const script = document.createElement('script'); script.textContent = 'window.stranger = 1'",
        "const script = document.createElement('script'); script.src = 'data:text/javascript,window.stranger=1'",
    ):
        tab.execute_script(f"{script}; document.body.append(script)")
    tab.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.stranger = 1\">')")
    refusals: list[str] = []

    def refused(_: WebDriver) -> bool:
        refusals.extend(str(line["message"]) for line in console(tab))
        return len(refusals) >= 3

    WebDriverWait(tab, PATIENCE).until(refused)
    assert all("Content Security Policy" in refusal for refusal in refusals), refusals
    assert tab.execute_script("return window.stranger") is None
    by_id(tab, "connect").click()
    state_is(tab, "open")


async def test_the_page_by_keyboard_alone(tab: WebDriver, page_pod: Pod) -> None:
    tab_to(tab, "subjects")
    press(tab, Keys.ENTER)
    state_is(tab, "open")
    tab_to(tab, "publish-data")
    press(tab, "typed", Keys.ENTER)
    assert "typed" in rows(tab, "event", 1)[0]
    tab_to(tab, "clear")
    press(tab, Keys.SPACE)
    WebDriverWait(tab, PATIENCE).until(lambda _: not tab.find_elements(By.CSS_SELECTOR, "#events > li"))


async def test_the_page_says_why_it_cannot_connect_and_comes_back(tab: WebDriver, page_pod: Pod) -> None:
    by_id(tab, "subjects").clear()
    by_id(tab, "subjects").send_keys("elsewhere.>", Keys.ENTER)
    state_is(tab, "waiting")
    WebDriverWait(tab, PATIENCE).until(lambda _: "is not served here" in by_id(tab, "state-detail").text)
    by_id(tab, "subjects").clear()
    by_id(tab, "subjects").send_keys("page.>", Keys.ENTER)
    state_is(tab, "open")
    await page_pod.stop()
    state_is(tab, "reconnecting")
    await page_pod.start()
    state_is(tab, "open")
