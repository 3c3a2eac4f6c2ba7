"""A real browser that types and clicks, and reads what a person would."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.skipped import miss

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
]

HANG_S = 180  # for what must come; how long a page takes beside other tests is the machine's


def chromium_path() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        miss("Chromium")
    return str(found)


class Person:
    """Somebody in front of the dashboard."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def opens(self, url: str) -> None:
        self.driver.get(url)

    def reads(self) -> str:
        """The words on the page."""
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def sees(self, *words: str, within_s: float = HANG_S) -> str:
        """Wait until all these words are on the page; returns the page's words."""
        self._until(lambda: all(word in self.reads() for word in words), within_s, f"{words} never seen")
        return self.reads()

    def types(self, label: str, text: str) -> None:
        """Fill the text field under a label of a parameter form, and look that it holds what was typed: while the form
        is drawn anew, keys get lost.
        """

        def typed() -> bool:
            field = self.driver.find_element(By.XPATH, f"({_labelled(label)}//textarea)[1]")
            if field.get_attribute("value") != text:
                field.clear()
                field.send_keys(text)
                return False
            return True

        self.waits_for(typed, f"{label!r} does not take {text!r}")

    def choices(self, label: str) -> list[str]:
        """What a dropdown under a label offers."""
        found = self.driver.find_element(By.XPATH, f"({_labelled(label)}//select)[1]")
        return [option.text for option in Select(found).options if option.text]

    def clicks(self, words: str) -> None:
        self.waits_for(lambda: self._click(words), f"no button {words!r}")

    def clicks_tab(self, words: str) -> None:
        self.waits_for(lambda: self._click(words, f"//*[normalize-space(.)='{words}']"), f"no tab {words!r}")

    def waits_for(self, what: Callable[[], bool], otherwise: str) -> None:
        self._until(what, HANG_S, otherwise)

    def leaves(self, ending: str) -> None:
        """Wait until the page's address no longer ends so."""
        self.waits_for(lambda: not self.driver.current_url.endswith(ending), f"still at {ending}")

    def photographs(self, path: Path) -> bytes:
        self.driver.save_screenshot(str(path))
        return path.read_bytes()

    def _click(self, words: str, where: str = "//button") -> bool:
        for button in self.driver.find_elements(By.XPATH, where):
            if button.text.strip() == words and button.is_displayed() and button.is_enabled():
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
                button.click()
                return True
        return False

    @staticmethod
    def _until(what: Callable[[], bool], seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if what():
                    return
            except WebDriverException:
                pass  # the page is being drawn anew
            assert time.monotonic() < end, otherwise
            time.sleep(0.3)


@contextmanager
def person(folder: Path, size: str = "1400,1600") -> Iterator[Person]:
    """Somebody with a fresh browser of their own."""
    driver_path = shutil.which("chromedriver")
    if driver_path is None:
        miss("chromedriver")
    options = Options()
    options.binary_location = chromium_path()
    for flag in [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={size}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        yield Person(driver)
    finally:
        driver.quit()


def _labelled(label: str) -> str:
    """The property of a parameter form that has this label: not what is nested in it, not what it is nested in."""
    words = "normalize-space(.//span[contains(@class, 'property__label')])"
    return f"//div[contains(@class, 'schema-form-property')][*/label[{words}='{label} (Optional)']]"
