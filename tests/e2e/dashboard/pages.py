# SPDX-License-Identifier: Apache-2.0
"""What the tests of the dashboard have in common: one browser, and pages that neither complain nor ask elsewhere.

DASHBOARD_SCREENSHOTS: the folder for its screenshots.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent / "support"))

from gateway_fixture import API_TOKEN, PATIENCE, Gateway, GatewayTestCase, folder  # noqa: E402


class PageTestCase(GatewayTestCase):
    base = ""  # of all that a page may ask for

    @classmethod
    def start_browser(cls, base: str = "") -> None:
        """After all that a page talks to: first to go."""
        from browser import Browser  # skips the class where there is no browser

        cls.base = base
        shots = pathlib.Path(os.environ.get("DASHBOARD_SCREENSHOTS") or folder("shots"))
        shots.mkdir(parents=True, exist_ok=True)
        cls.browser = Browser(base, PATIENCE, shots)
        cls.addClassCleanup(cls.browser.quit)

    def setUp(self) -> None:
        from browser import DESKTOP

        self.expected: list[str] = []  # what a page may complain of in this test: the browser logs each 4xx and 5xx
        self.browser.size(DESKTOP)
        self.browser.theme("light")
        self.browser.complaints()
        self.browser.requests()

    def tearDown(self) -> None:
        complaints = [text for text in self.browser.complaints() if not any(part in text for part in self.expected)]
        self.assertEqual(complaints, [])
        outside = [url for url in self.browser.requests() if not url.startswith((self.base + "/", "data:", "about:"))]
        self.assertEqual(outside, [])

    def look_at(self, gateway: Gateway, place: str = "#/") -> None:
        """Another gateway than before, signed in."""
        self.base = self.browser.base = f"http://127.0.0.1:{gateway.api_port}"
        self.browser.open(place, token=API_TOKEN)
        self.addCleanup(self.browser.driver.get, "about:blank")  # before that gateway goes

    def rows(self) -> list[str]:
        """The first cell of each row of the table, at one moment."""
        return self.browser.script("return [...document.querySelectorAll('tbody th a')].map((a) => a.textContent)")

    def fact(self, term: str) -> str:
        """What stands beside it in a list of facts."""
        return self.browser.script("return [...document.querySelectorAll('dl.facts > div')].find((d) => d.querySelector('dt').textContent === "
                                   "arguments[0])?.querySelector('dd').textContent ?? ''", term)
