#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's device table on a fleet of 50,000: pages, search, filters and orders, in a real browser."""

import json
import unittest

from pages import PageTestCase  # first: it knows where the others are
from gateway_fixture import API_TOKEN

DEVICES, LINES = 50_000, 5_000
SITES = ("berlin", "oslo", "porto", "riga", "turin")
ONE = "unit-31415"


def name(number: int) -> str:
    return f"unit-{number:05}"


def entry(number: int) -> dict:
    return {"id": name(number), "labels": {"site": SITES[number % 5], "line": str(number // 5 % 7)}, "note": f"behind boiler {number}"}


class DashboardFleetTest(PageTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        from fleet import Fleet

        cls.gateway_ = cls.shared_gateway(start=False)
        cls.gateway_.add_tokens(ONE)
        cls.gateway_.start()
        for first in range(0, DEVICES, LINES):
            body = "".join(json.dumps(entry(number)) + "\n" for number in range(first, first + LINES))
            done = cls.gateway_.call("POST", "/devices/import?errors_only=true", body, Content_Type="application/x-ndjson").lines
            assert (done[-1]["done"], done[-1]["created"]) == (True, LINES), done
        cls.fleet = Fleet(cls.gateway_)
        cls.addClassCleanup(cls.fleet.close)
        cls.fleet.connect(ONE)
        cls.start_browser(f"http://127.0.0.1:{cls.gateway_.api_port}")

    def setUp(self) -> None:
        super().setUp()
        self.browser.open("#/devices", token=API_TOKEN)
        self.shows(range(50), DEVICES)

    def shows(self, numbers, count: int) -> None:
        """Those rows in that order, of so many that were found."""
        names = [name(number) for number in numbers]
        self.browser.wait(lambda: self.rows() == names, f"{names[0]} to {names[-1]}, not {self.rows()[:3]}")
        self.browser.see("1 device" if count == 1 else f"{count:,} devices", css=".heading")

    def label(self, label: str) -> None:
        self.browser.fill("Label", label)
        self.browser.press("Add the label filter")

    def test_pages_lead_on_and_back(self):
        browser = self.browser
        self.assertTrue(browser.named("button[aria-disabled=true]", "Previous"))
        browser.see("50 of 50,000 devices", css=".foot")
        browser.press("Next")
        self.shows(range(50, 100), DEVICES)
        browser.press("Next")
        self.shows(range(100, 150), DEVICES)
        browser.press("Previous")
        self.shows(range(50, 100), DEVICES)
        browser.driver.refresh()
        self.shows(range(50, 100), DEVICES)
        browser.press("First")
        self.shows(range(50), DEVICES)
        self.assertEqual(browser.audit(), [])
        browser.shot("devices-50000")

    def test_a_search_goes_through_ids_notes_and_labels(self):
        browser = self.browser
        browser.fill("Search", "unit-4999")
        self.shows(range(49_990, 50_000), 10)
        browser.fill("Search", "BOILER 31415")
        self.shows([31_415], 1)
        browser.fill("Search", "rig")
        self.shows(range(3, 250, 5), DEVICES // 5)
        browser.press("Next")
        self.shows(range(253, 500, 5), DEVICES // 5)
        browser.fill("Search", "boiler 50000")
        browser.see("No device is like that")

    def test_label_filters_narrow_it_and_go_one_by_one(self):
        browser = self.browser
        porto = range(2, DEVICES, 5)
        both = [number for number in porto if number // 5 % 7 == 4]
        self.label("site=porto")
        self.shows(porto[:50], len(porto))
        self.label("line=4")
        self.shows(both[:50], len(both))
        browser.press("Next")
        self.shows(both[50:100], len(both))
        browser.press("Remove the filter label line=4")
        self.shows(porto[:50], len(porto))
        browser.press("Remove the filter label site=porto")
        self.shows(range(50), DEVICES)

    def test_a_column_turns_the_order_round(self):
        browser = self.browser
        browser.press("Device")
        self.shows(range(DEVICES - 1, DEVICES - 51, -1), DEVICES)
        browser.press("Next")
        self.shows(range(DEVICES - 51, DEVICES - 101, -1), DEVICES)

    def test_the_one_that_is_online_is_found_and_why_it_left(self):
        browser = self.browser
        browser.choose("State", "Online")
        self.shows([31_415], 1)
        browser.fill("Firmware", "2.1.0")
        browser.wait(lambda: "firmware=2.1.0" in browser.driver.current_url, "the address to follow")
        self.shows([31_415], 1)
        browser.fill("Firmware", "9.9")
        browser.see("No device is like that")
        browser.press("Clear all filters")
        self.shows(range(50), DEVICES)
        self.fleet.vanish(ONE)
        self.addCleanup(self.fleet.connect, ONE)
        browser.choose("Left because", "Cut off")
        self.shows([31_415], 1)
        browser.see("offline", "Cut off", css="tbody")
        browser.choose("Left because", "Any reason")
        browser.choose("Order", "Seen last")
        browser.wait(lambda: self.rows()[:1] == [ONE], "the one that was seen to come first")


if __name__ == "__main__":
    unittest.main(verbosity=2)
