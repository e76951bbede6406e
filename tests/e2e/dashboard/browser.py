# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that is looked over the shoulder: what it asked for, what it logged, what it shows."""

import json
import os
import pathlib
import shutil
import time
import unittest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    raise unittest.SkipTest("no browser: the dashboard is tested with Debian's chromium and chromium-driver (./dev setup test)")

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException  # noqa: E402
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

AUDIT = (pathlib.Path(__file__).parent / "audit.js").read_text()
DESKTOP, PHONE = (1360, 900), (360, 780)


class Browser:
    def __init__(self, base: str, patience: float, folder: pathlib.Path):
        options = Options()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
                         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.base, self.patience, self.folder = base, patience, folder
        self.driver = webdriver.Chrome(service=Service(DRIVER), options=options)
        self.size(DESKTOP)

    def quit(self) -> None:
        self.driver.quit()

    def size(self, size: tuple[int, int]) -> None:
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500})

    def theme(self, theme: str) -> None:
        """What the system prefers: light or dark."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})

    def open(self, place: str = "#/", token: str | None = None) -> None:
        """A fresh page, signed in with `token`."""
        if self.driver.current_url.startswith(f"{self.base}/"):  # the tab may be signed in from before
            self.script("sessionStorage.clear()")
        self.driver.get("about:blank")
        self.driver.get(f"{self.base}/" + (f"#token={token}" if token else ""))
        if token:
            self.wait(lambda: "token" not in self.driver.current_url, "the token to leave the address bar")
        self.go(place)

    def go(self, place: str) -> None:
        self.driver.execute_script("location.hash = arguments[0]", place)

    def wait(self, condition, what: str):
        """The first true value of `condition`; an element that has just gone is asked for again."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                if value := condition():
                    return value
            except StaleElementReferenceException:
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {self.patience:.0f} s in vain for {what}; the page says:\n{self.text()}")
            time.sleep(0.05)

    def script(self, text: str, *arguments):
        return self.driver.execute_script(text, *arguments)

    def text(self, css: str = "body") -> str:
        try:
            return self.driver.find_element(By.CSS_SELECTOR, css).text
        except WebDriverException:
            return ""

    def see(self, *texts: str, css: str = "body") -> None:
        for text in texts:
            self.wait(lambda text=text: text in self.text(css), f"{text!r} in {css}")

    def all(self, css: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def named(self, kind: str, name: str):
        """The control with that accessible name, as the browser computes it; None."""
        # Asking the browser for a name takes a round trip each: only for those that may be it.
        likely = self.script("""
            return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility() &&
              [e.getAttribute("aria-label"), e.textContent, ...[...(e.labels ?? [])].map((l) => l.textContent)].some((t) => t?.includes(arguments[1])))""",
                             kind, name)
        return next((found for found in likely if found.accessible_name == name), None)

    def press(self, name: str, within: str = "") -> None:
        def pressed():
            found = self.named(f"{within} button", name) or self.named(f"{within} a", name)
            return found and (found.click() or True)

        self.wait(pressed, f"something to press called {name!r}")

    def fill(self, label: str, text: str) -> None:
        """As a person does: what was there goes, then letter by letter."""
        def filled():
            found = self.named("input", label) or self.named("textarea", label)
            if found:
                found.send_keys(Keys.CONTROL + "a")
                found.send_keys(text)
            return found

        self.wait(filled, f"a field called {label!r}")

    def choose(self, label: str, option: str) -> None:
        def chosen():
            found = self.named("select", label)
            if found:
                Select(found).select_by_visible_text(option)
            return found

        self.wait(chosen, f"a choice called {label!r}")

    def hold_back(self, *addresses: str) -> None:
        """As a proxy does that passes nothing on of what matches; none: all goes through again."""
        if addresses:
            self.driver.execute_cdp_cmd("Fetch.enable", {"patterns": [{"urlPattern": address} for address in addresses]})
        else:
            self.driver.execute_cdp_cmd("Fetch.disable", {})

    def shot(self, name: str) -> None:
        self.driver.save_screenshot(str(self.folder / f"{name}.png"))

    def audit(self) -> list[str]:
        return self.script(AUDIT)

    def complaints(self) -> list[str]:
        """Logged since the last call, at level warning or above."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        entries = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
