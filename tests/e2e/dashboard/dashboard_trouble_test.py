#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the dashboard says when something does not work, as docs/dashboard.md has it: each in a page that stays open
while it breaks and while it is mended."""

import socket
import unittest

from pages import PageTestCase  # first: it knows where the others are
from device_client import pb
from gateway_fixture import API_TOKEN, PATIENCE, Broker, Gateway
from store_outage_test import PASSWORD, PROGRAMS, Postgres

LIVE = "section[aria-label='Last values']"


class DashboardTroubleTest(PageTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.start_browser()

    def with_pump(self, settings: dict | None = None, broker: Broker | None = None) -> tuple[Gateway, "Fleet"]:
        """A gateway with a device `pump-1` on it."""
        from fleet import Fleet

        gateway = Gateway(self.pki, broker or self.broker, settings, start=False)
        gateway.add_tokens("pump-1")
        gateway.start()
        self.addCleanup(gateway.stop)
        fleet = Fleet(gateway)
        self.addCleanup(fleet.close)
        fleet.connect("pump-1", ack_stage=pb.ACK_STAGE_ACCEPTED)
        return gateway, fleet

    def tile(self, title: str) -> str:
        return next((text.split("\n")[1] for text in (e.text for e in self.browser.all(".tile")) if text.startswith(title)), "")

    # --- the gateway

    def test_a_gateway_that_goes_and_comes_back(self):
        self.expected = ["net::ERR_"]
        browser = self.browser
        gateway, fleet = self.with_pump()
        self.look_at(gateway)
        browser.wait(lambda: self.tile("Online") == "1", "the device to be counted")
        browser.see("live", css="section[aria-label='Comings and goings']")
        gateway.process.kill()
        browser.see("The gateway does not answer", css="main [role=alert]")
        browser.see("no answer", css=".side-status")
        self.assertEqual(self.tile("Online"), "1", "what was known stays to be seen")
        browser.go("#/devices/pump-1/commands")
        browser.see("The gateway does not answer", css="main [role=alert]")
        self.assertEqual(browser.audit(), [])
        browser.shot("gateway-away")
        gateway.start()
        fleet.connect("pump-1")
        browser.wait(lambda: not browser.all("main [role=alert]"), "the page to be as before, by itself")
        browser.see("No commands yet")
        browser.go("#/devices/pump-1")
        browser.see("live", css=LIVE)
        browser.go("#/")
        browser.wait(lambda: self.tile("Online") == "1", "the device to be counted again")
        browser.see("ready", css=".side-status")
        browser.see("live", css="section[aria-label='Comings and goings']")

    def test_a_broker_that_goes_and_comes_back(self):
        browser, broker = self.browser, Broker()
        self.addCleanup(broker.kill)
        gateway, fleet = self.with_pump({"uplink": {"memory_bytes_max": "1MiB"}}, broker)
        self.look_at(gateway)
        browser.see("No spool", css="section[aria-label='Buffers and store']")
        self.assertEqual((self.fact("Overload level"), browser.all(".banner")), ("normal", []))
        broker.kill()
        browser.see("Needs attention", "lane main to ", "is backing_off", css=".banner")
        browser.see("Backing off", css="section[aria-label='Lanes']")
        while gateway.api("/api/v1/overview")["uplink"]["level"] == "normal":
            fleet.push("pump-1", bytes(12_000))
        browser.wait(lambda: self.fact("Overload level") == "reduced", "the overload to be seen")
        browser.see("devices' credit is reduced", css=".banner")
        self.assertEqual(browser.audit(), [])
        browser.shot("overload")
        browser.go("#/devices/pump-1/timeline")
        browser.see("Told to send less", css=".timeline")
        browser.go("#/")
        broker.start()
        browser.wait(lambda: self.fact("Overload level") == "normal", "the overload to be over")
        browser.wait(lambda: not browser.all(".banner"), "the banner to go")

    # --- the token

    def test_a_token_that_is_taken_out_of_the_file_under_an_open_page(self):
        self.expected = ["401"]
        gateway, _ = self.with_pump()
        self.look_at(gateway)
        self.browser.wait(lambda: self.tile("Online") == "1", "the overview")
        tokens = gateway.dir / "api-tokens"
        tokens.write_text("".join(line for line in tokens.read_text().splitlines(True) if not line.startswith("test ")))
        gateway.reload()
        self.browser.see("This token is not accepted any more")
        self.browser.see("Sign in", css="h1")
        self.assertEqual(self.browser.script("return sessionStorage.length"), 0)

    # --- the store

    def test_a_gateway_without_a_store(self):
        self.expected = ["501"]
        browser = self.browser
        gateway, _ = self.with_pump({"store": {"kind": "none"}})
        self.look_at(gateway)
        browser.wait(lambda: self.fact("Store") == "none", "the store to be none")
        for tab in ("Commands", "Twin", "Timeline", "Presence"):
            browser.go(f"#/devices/pump-1/{tab.lower()}")
            browser.see("This gateway keeps no store", "set store.kind", css="main [role=alert]")
        browser.press("Live")
        browser.see("temperature", "rpm")
        browser.press("Registry")
        browser.see("No registry", "This gateway keeps no store.")
        self.assertEqual(browser.audit(), [])
        browser.shot("no-store")
        browser.press("Commands")
        browser.fill("Command", "ping")
        browser.press("Send command")
        browser.see("This gateway keeps no store", css="form [role=alert]")
        browser.go("#/devices")
        browser.wait(lambda: self.rows() == ["pump-1"], "the device in the list")
        button = browser.wait(lambda: browser.named("button[aria-disabled=true]", "Register a device"), "the button to be off")
        self.assertEqual(button.get_attribute("title"), "This gateway keeps no store.")

    @unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
    def test_a_store_that_goes_and_comes_back(self):
        self.expected = ["503"]
        browser, postgres = self.browser, Postgres()
        self.addCleanup(lambda: postgres.process.kill())
        gateway, _ = self.with_pump({"store": {"kind": "postgres", "connection": postgres.connection(postgres.make_database()),
                                               "password": PASSWORD, "statement_timeout": "1s"}})
        self.look_at(gateway)
        browser.wait(lambda: self.fact("Store") == "available", "the store to be there")
        postgres.stop()
        browser.see("Needs attention", css=".banner")
        browser.wait(lambda: self.fact("Store") == "not answering", "the store to be away")
        for tab in ("commands", "twin", "timeline"):
            browser.go(f"#/devices/pump-1/{tab}")
            browser.see("The store does not answer", css="main [role=alert]")
        browser.press("Commands")
        browser.fill("Command", "ping")
        browser.press("Send command")
        browser.see("The store does not answer", css="form [role=alert]")
        self.assertEqual(browser.audit(), [])
        browser.shot("store-away")
        browser.press("Live")
        browser.see("live", css=LIVE)
        value = browser.text(".chart-card .reading-now")
        browser.wait(lambda: browser.text(".chart-card .reading-now") != value, "values to come in all the same")
        browser.press("Presence")
        browser.see("The store does not answer", css="main [role=alert]")
        postgres.start()
        browser.see("% online", css="section[aria-label='Presence log']")
        self.assertEqual(browser.all("main [role=alert]"), [], "it is as before, by itself")
        browser.press("Timeline")
        browser.see("Connected", css=".timeline")
        browser.press("Commands")
        browser.press("Send command")
        browser.see("succeeded", css="section[aria-label='Answer to ping']")
        browser.go("#/")
        browser.wait(lambda: self.fact("Store") == "available" and not browser.all(".banner"), "the overview to be as before")

    # --- the live stream

    def values_come_without_the_stream(self) -> None:
        browser = self.browser
        browser.see("every 3 s", css=LIVE)
        value = browser.text(".chart-card .reading-now")
        browser.wait(lambda: browser.text(".chart-card .reading-now") != value, "a newer value")
        browser.see("every 3 s", css=LIVE)

    def test_more_readers_than_streams(self):
        self.expected = ["503"]
        gateway, _ = self.with_pump({"api": {"stream": {"subscribers_max": 1}}})
        with socket.create_connection(("127.0.0.1", gateway.api_port), PATIENCE) as reader:
            reader.sendall(f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {API_TOKEN}\r\n\r\n".encode())
            self.assertIn(b" 200 ", reader.recv(1024))
            self.look_at(gateway, "#/devices/pump-1")
            self.values_come_without_the_stream()
            badge = self.browser.wait(lambda: self.browser.all(f"{LIVE} .note .badge"), "the badge")[0]
            self.assertIn("all 1 streams are in use", badge.get_attribute("title"))
        self.browser.see("live", css=LIVE)

    def test_a_proxy_that_holds_the_stream_back(self):
        gateway, _ = self.with_pump()
        browser = self.browser
        self.look_at(gateway)  # where the address is known
        browser.see("live", css="section[aria-label='Comings and goings']")
        browser.hold_back("*/api/v1/stream?*")
        self.addCleanup(browser.hold_back)
        browser.go("#/devices/pump-1")
        self.values_come_without_the_stream()
        browser.hold_back()
        browser.see("live", css=LIVE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
