#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real browser, on a real gateway with a broker, a webhook and devices."""

import gzip
import hashlib
import re
import ssl
import subprocess
import time
import unittest
import urllib.error
import urllib.request

from websockets import ConnectionClosed

from pages import PageTestCase  # first: it knows where the others are
from gateway_fixture import API_TOKEN, PATIENCE, Gateway, wait_for
from webhook_target import Target

READ_TOKEN = "a-token-that-may-only-look"
HOSTILE = "<img src=x onerror=document.title='owned'>"
DEVICES = {"pump-1": {"site": "berlin"}, "pump-2": {"site": "berlin"}, "meter-7": {"site": "porto", "owner": HOSTILE}}
GZIP_BYTES_MAX = 150 * 1024


def setUpModule() -> None:
    global DESKTOP, PHONE, By
    from browser import DESKTOP, PHONE, By  # skips the file where there is no browser


class DashboardTest(PageTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        from fleet import Fleet

        cls.target = Target()
        cls.addClassCleanup(cls.target.close)
        cls.target.behave(match="door", status=400, body="no doors here")
        cls.gateway_ = Gateway(cls.pki, cls.broker, {
            "uplink": {"spool": {"enabled": True}},
            "webhooks": [{"name": "hook", "url": f"http://127.0.0.1:{cls.target.port}/in", "allowed_networks": ["127.0.0.0/8"],
                          "batch_linger": "10ms", "backoff_min": "50ms", "backoff_max": "500ms", "filter": {"kinds": ["event"]}}]}, start=False)
        tokens = cls.gateway_.dir / "api-tokens"
        tokens.write_text(tokens.read_text() + f"looker sha256:{hashlib.sha256(READ_TOKEN.encode()).hexdigest()} read\n")
        cls.gateway_.add_tokens(*DEVICES, "late-1", "lost-1", "sent-1")
        cls.gateway_.start()
        cls.addClassCleanup(cls.gateway_.stop)
        cls.fleet = Fleet(cls.gateway_)
        cls.addClassCleanup(cls.fleet.close)
        for name, labels in DEVICES.items():
            cls.fleet.connect(name, labels=labels)
        cls.start_browser(f"http://127.0.0.1:{cls.gateway_.api_port}")

    def fetch(self, path: str, **headers: str):
        request = urllib.request.Request(self.base + path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as answer:
            return answer

    # --- what is served

    def test_the_page_is_small_and_kept_by_browsers_and_trusts_nobody_else(self):
        page = self.fetch("/")
        html = page.read().decode()
        self.assertEqual((page.status, page.headers["Cache-Control"]), (200, "no-cache"))
        for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                     "form-action 'none'"):
            self.assertIn(part, page.headers["Content-Security-Policy"])
        self.assertEqual((page.headers["X-Content-Type-Options"], page.headers["Referrer-Policy"]), ("nosniff", "no-referrer"))
        self.assertEqual(self.fetch("/", If_None_Match=page.headers["ETag"]).status, 304)
        self.assertNotRegex(html, r"<style|\sstyle=|\son\w+=|<script>|https?:")
        files = re.findall(r'(?:src|href)="([^"]+)"', html)
        self.assertEqual(len(files), 3)
        total = len(gzip.compress(html.encode(), 9))
        for file in files:
            self.assertRegex(file, r"^/assets/\w+\.[0-9a-f]{10}\.\w+$")
            packed, plain = self.fetch(file, Accept_Encoding="gzip"), self.fetch(file)
            body = packed.read()
            self.assertEqual((packed.headers["Content-Encoding"], plain.headers["Content-Encoding"]), ("gzip", None))
            self.assertEqual(gzip.decompress(body), plain.read())
            self.assertIn("immutable", packed.headers["Cache-Control"])
            self.assertEqual(self.fetch(file, If_None_Match=packed.headers["ETag"]).status, 304)
            total += len(body)
        self.assertLess(total, GZIP_BYTES_MAX)
        self.assertEqual(self.fetch("/assets/app.0000000000.js").status, 404)

    # --- who may come in

    def test_a_token_signs_in_and_a_wrong_one_is_told_so(self):
        self.expected = ["401"]
        browser = self.browser
        browser.open(place="")
        browser.see("Sign in")
        self.assertEqual(browser.audit(), [])
        browser.shot("sign-in")
        browser.fill("API token", "not-a-token")
        browser.press("Sign in")
        browser.see("does not know this token")
        browser.fill("API token", API_TOKEN)
        browser.press("Sign in")
        browser.see("Overview", css="h1")
        self.assertNotIn(API_TOKEN, browser.script("return JSON.stringify(localStorage) + document.cookie + location.href"))
        browser.press("Sign out")
        browser.see("Sign in", css="h1")
        self.assertEqual(browser.script("return sessionStorage.length"), 0)

    def test_a_link_signs_in_once_and_a_token_that_is_withdrawn_leads_back(self):
        self.expected = ["401"]
        browser = self.browser
        browser.open(token=API_TOKEN)
        browser.see("Overview", css="h1")
        self.assertNotIn("token", browser.script("return location.href"))
        browser.script("sessionStorage.setItem('fieldgate.token', 'withdrawn'); location.reload()")
        browser.see("not accepted any more")

    def test_a_link_takes_nobodys_place_without_asking(self):
        browser = self.browser
        browser.open(token=API_TOKEN)
        browser.see("Overview", css="h1")
        token = browser.script("return sessionStorage.getItem('fieldgate.token')")
        for press, after in (("Cancel", token), ("Use the link's token", READ_TOKEN)):
            browser.script(f"location.hash = '#token={READ_TOKEN}'")
            browser.see("Sign in with the link's token?", css="dialog h2")
            self.assertNotIn("token=", browser.script("return location.href"))
            self.assertEqual(browser.script("return sessionStorage.getItem('fieldgate.token')"), token)
            browser.press(press)
            browser.wait(lambda: not browser.all("dialog"), "the dialog to go")
            self.assertEqual(browser.script("return sessionStorage.getItem('fieldgate.token')"), after)
        browser.see("looker (read)")

    def test_a_link_that_was_cut_short_is_called_so(self):
        browser = self.browser
        for end in ("%E0%A4", "%", "two%20words"):
            browser.open()
            browser.script("sessionStorage.clear()")
            browser.driver.get("about:blank")
            browser.driver.get(f"{self.base}/#token={end}")
            browser.see("was all of it copied?")
            self.assertEqual(browser.script("return [location.hash, sessionStorage.length]"), ["", 0])

    def test_a_token_that_may_only_look_is_told_what_it_lacks(self):
        browser = self.browser
        browser.open("#/devices/pump-1", token=READ_TOKEN)
        button = browser.wait(lambda: browser.named("button[aria-disabled=true]", "End connection"), "the button to be off")
        self.assertIn("scope command", button.get_attribute("title"))
        button.click()
        self.assertEqual(browser.all("dialog"), [])
        browser.go("#/devices/pump-1/settings")
        browser.wait(lambda: browser.named("button[aria-disabled=true]", "Edit"), "what needs admin to be off too")
        browser.see("looker (read)")

    # --- what it shows

    def test_the_numbers_move_by_themselves(self):
        browser = self.browser
        tile = lambda title: next((e.text.split("\n")[1] for e in browser.all(".tile") if e.text.startswith(title)), "")  # noqa: E731
        browser.open(token=API_TOKEN)
        browser.wait(lambda: tile("Records/s") not in ("", "0", "\u2013"), "records to come in")
        before = int(tile("Online"))
        browser.see("live", css="section[aria-label='Comings and goings']")
        self.fleet.connect("late-1")
        browser.wait(lambda: int(tile("Online")) == before + 1, "one more to be online")
        browser.see("late-1", "came online", css="section[aria-label='Comings and goings']")
        self.fleet.vanish("late-1")
        browser.wait(lambda: int(tile("Online")) == before, "it to be gone")
        browser.see("Cut off", css="section[aria-label='Why devices left']")
        browser.see("main", "hook", "Running", css="section[aria-label='Lanes']")
        browser.wait(lambda: "L" in (browser.script("return document.querySelector('.chart path.line')?.getAttribute('d')") or ""), "a line in the chart")

    def test_more_tabs_than_a_browser_has_connections_all_get_their_answers(self):
        browser = self.browser
        first = browser.driver.current_window_handle
        browser.open(token=API_TOKEN)
        for name in [*DEVICES] * 3:
            browser.driver.switch_to.new_window("tab")
            browser.open(f"#/devices/{name}", token=API_TOKEN)
            browser.see("temperature")
            browser.see("live", css="section[aria-label='Last values']")
        for handle in browser.driver.window_handles:
            if handle != first:
                browser.driver.switch_to.window(handle)
                browser.driver.close()
        browser.driver.switch_to.window(first)
        browser.see("live", css="section[aria-label='Comings and goings']")

    def test_a_search_finds_a_device_and_the_way_back_leads_to_it(self):
        browser = self.browser
        browser.open("#/devices", token=API_TOKEN)
        rows = lambda: [e.text for e in browser.all("tbody th a")]  # noqa: E731
        browser.wait(lambda: set(DEVICES) <= set(rows()), "all devices")
        browser.fill("Search", "mete")
        browser.wait(lambda: rows() == ["meter-7"], "the one that was looked for")
        self.assertIn("text=mete", browser.driver.current_url)
        browser.press("meter-7")
        browser.see("meter-7", css="h1")
        browser.driver.back()
        browser.wait(lambda: rows() == ["meter-7"], "the search again")
        browser.fill("Search", "no-such-thing")
        browser.see("No device is like that")
        browser.press("Clear all filters")
        browser.wait(lambda: set(DEVICES) <= set(rows()), "all devices again")
        browser.fill("Label", "site=berlin")
        browser.press("Add the label filter")
        browser.wait(lambda: rows() == ["pump-1", "pump-2"], "those with the label")
        browser.driver.refresh()
        browser.wait(lambda: rows() == ["pump-1", "pump-2"], "the same after a reload")

    def test_a_device_shows_its_values_as_they_come_and_its_labels_as_text(self):
        browser = self.browser
        browser.open("#/devices/meter-7", token=API_TOKEN)
        browser.see("temperature", "rpm", "TLSv1.3", HOSTILE, "<i>AX-77</i>")
        self.assertEqual(browser.driver.title, "meter-7 \u00b7 Fieldgate")
        self.assertEqual(browser.all("img") + browser.all("td i"), [])
        browser.see("live", css="section[aria-label='Last values']")
        value = lambda: browser.text(".chart-card .reading-now")  # noqa: E731
        first = value()
        browser.wait(lambda: value() != first, "a newer value")

    def test_a_command_is_answered(self):
        browser = self.browser
        browser.open("#/devices/pump-1", token=API_TOKEN)
        browser.press("Commands")
        browser.fill("Command", "ping")
        browser.fill("Payload (JSON)", '{"level": 3')
        browser.press("Send command")
        browser.see("Not JSON")
        browser.fill("Payload (JSON)", '{"level": 3}')
        browser.press("Send command")
        browser.see("succeeded", "all is well", '"pong"', '"level": 3', "queued", "acknowledged", css="section[aria-label='Answer to ping']")
        browser.see("ping", css=".commands")
        browser.shot("command-answered")

    def test_a_desired_state_reaches_the_device(self):
        browser = self.browser
        browser.open("#/devices/pump-2/twin", token=API_TOKEN)
        browser.press("Edit")
        browser.fill("Desired state (JSON)", '{"interval": 10}')
        browser.press("Save")
        browser.see("taken over by the device", '"interval": 10', css="section[aria-label=Desired]")
        browser.see('"interval": 10', css="section[aria-label=Reported]")
        browser.see("as it is wished to be")

    def test_the_timeline_says_why_a_device_is_offline(self):
        self.fleet.connect("lost-1")
        self.fleet.vanish("lost-1")
        browser = self.browser
        browser.open("#/devices/lost-1", token=API_TOKEN)
        browser.see("because the connection ended without a word", css=".story")
        browser.press("Timeline")
        browser.see("Went offline: cut off", "Connected", "over TLSv1.3", "with a token", css=".timeline")
        browser.press("Presence")
        browser.see("Cut off", "% online", css="section[aria-label='Presence log']")
        self.assertEqual(browser.audit(), [])
        browser.press("Registry")
        browser.press("Add a token")
        browser.fill("Note", "spare")
        browser.press("Make token", within="dialog")
        token = browser.wait(lambda: browser.text(".token"), "the new token")
        self.assertRegex(token, r"^[\w-]{43}$")
        self.assertEqual(browser.audit(), [])
        browser.press("Done")
        browser.see("spare", css="section[aria-label=Credentials]")
        self.assertNotIn(token, browser.script("return document.documentElement.innerHTML"))
        browser.press("Revoke spare")
        browser.press("Revoke", within="dialog")
        browser.see("No credentials of its own")

    def test_a_dead_letter_is_replayed(self):
        self.fleet.event("pump-1", "door", "opened")
        letters = lambda: self.gateway_.api("/api/v1/dead-letters")["dead_letters"]  # noqa: E731
        letter = wait_for(letters, "a dead letter")[0]
        browser = self.browser
        browser.open("#/dead-letters", token=API_TOKEN)
        browser.press(f"Open letter {letter['id']}")
        browser.see("event door", "pump-1", "Payload", css="dialog")
        self.assertEqual(browser.audit(), [])
        browser.shot("dead-letter")
        browser.press("Close", within="dialog")
        self.target.behave()
        browser.press(f"Replay {letter['id']}")
        browser.see("is on its way again")
        browser.see("No dead letters", css="section")
        wait_for(lambda: any("door" in got.get("body", "") and got["status"] < 300 for got in self.target.requests()), "the letter to arrive")
        browser.go("#/lanes")
        browser.press("Pause hook")
        browser.press("Pause", within="dialog")
        browser.press("Resume hook")
        browser.wait(lambda: browser.named("button", "Pause hook"), "the lane to go on")

    def test_the_overview_says_how_full_it_is_and_what_will_run_out(self):
        browser = self.browser
        browser.open(token=API_TOKEN)
        browser.see("Spool on disk (ok)", "of 1.0 GiB", "Uplink log", css="section[aria-label='Buffers and store']")
        self.assertEqual((self.fact("Overload level"), self.fact("Store")), ("normal", "available"))
        until = subprocess.check_output(["openssl", "x509", "-noout", "-enddate", "-in", self.pki.server], text=True)
        days = int(ssl.cert_time_to_seconds(until.strip().removeprefix("notAfter=")) - time.time()) // 86400
        browser.see("device_listener", f"{days} days left", css="section[aria-label='This node']")
        self.assertEqual(browser.all(".banner"), [])

        def used() -> float:
            text = browser.script("return document.querySelector(\"[role=meter][aria-label='Spool on disk (ok)']\")?.getAttribute('aria-valuetext')")
            size, unit = text.split(" of ")[0].split()
            return float(size) * 1024 ** ("B", "KiB", "MiB").index(unit)

        before = used()
        self.assertEqual(self.gateway_.call("POST", "/lanes/main/pause").status, 200)
        self.addCleanup(self.gateway_.call, "POST", "/lanes/main/resume")
        browser.see("Needs attention", "lane main is paused by an operator", css=".banner")
        browser.see("attention", css=".side-status")
        browser.see("Paused", "waiting, oldest", css="section[aria-label='Lanes']")
        browser.wait(lambda: used() > before, "the spool to fill")
        self.assertEqual(browser.audit(), [])
        browser.shot("needs-attention")
        self.assertEqual(self.gateway_.call("POST", "/lanes/main/resume").status, 200)
        browser.wait(lambda: not browser.all(".banner"), "the banner to go")
        browser.see("ready", css=".side-status")

    # --- what it does

    def leave(self, name: str) -> None:
        self.fleet.vanish(name)
        wait_for(lambda: not self.gateway_.api(f"/api/v1/devices/{name}")["online"], f"{name} to be gone")

    def test_a_device_is_registered_and_its_certificate_pinned(self):
        self.expected = ["400", "412"]
        browser = self.browser
        for error in ("", "There is such a device already."):
            browser.open("#/devices", token=API_TOKEN)
            browser.press("Register a device")
            browser.fill("Device id", "cert-9")
            browser.fill("Note", "behind the boiler")
            browser.press("Register", within="dialog")
            browser.see(error, css="dialog") if error else browser.see("cert-9", css="h1")
        browser.press("Cancel", within="dialog")
        entry = self.gateway_.api("/api/v1/devices/cert-9")["registry"]
        self.assertEqual((entry["enabled"], entry["note"], entry["automatic"]), (True, "behind the boiler", False))
        browser.go("#/devices/cert-9/settings")
        browser.see("behind the boiler", "enabled", css="section[aria-label=Registry]")
        browser.press("Pin a certificate")
        browser.fill("Certificate (PEM)", "-----BEGIN CERTIFICATE-----")
        browser.press("Pin certificate", within="dialog")
        browser.see("certificate_pem", css="dialog [role=alert]")
        pem = self.pki.device("cert-9")[0].read_text()
        browser.fill("Certificate (PEM)", pem)
        browser.fill("Note", "fitted in March")
        browser.press("Pin certificate", within="dialog")
        browser.see("The certificate is pinned.")
        sha256 = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        browser.see("fitted in March", sha256[:16], css="section[aria-label=Credentials]")
        pinned = self.gateway_.api("/api/v1/devices/cert-9/credentials")["credentials"]
        self.assertEqual([(one["kind"], one["sha256"]) for one in pinned], [("certificate", sha256)])
        self.fleet.connect("cert-9")
        browser.press("Timeline")
        browser.see("with a certificate (CN=cert-9", f"SHA-256 {sha256[:16]}", "valid until", css=".timeline")
        self.leave("cert-9")

    def test_a_command_is_cancelled_once_that_is_confirmed(self):
        browser, answer = self.browser, "section[aria-label='Answer to reboot']"
        self.assertEqual(self.gateway_.call("PUT", "/devices/waits-1", {}).status, 201)
        states = lambda: [one["state"] for one in self.gateway_.api("/api/v1/devices/waits-1/commands")["commands"]]  # noqa: E731
        browser.open("#/devices/waits-1/commands", token=API_TOKEN)
        browser.see("The command waits for it")
        browser.fill("Command", "reboot")
        browser.press("Send command")
        browser.see("queued", "Waiting for the device", css=answer)
        browser.press("Cancel", within=answer)
        browser.see("Cancel this command?", css="dialog h2")
        browser.press("Cancel", within="dialog")
        browser.wait(lambda: not browser.all("dialog"), "the dialog to go")
        self.assertEqual(states(), ["queued"])
        browser.press("Cancel", within=answer)
        browser.press("Cancel command", within="dialog")
        browser.wait(lambda: not browser.all("dialog"), "the dialog to go")
        browser.see("cancelled", css=answer)
        browser.see("cancelled", css=".commands")
        self.assertEqual((states(), browser.named(f"{answer} button", "Cancel")), (["cancelled"], None))

    def test_a_connection_is_ended_and_a_device_disabled_and_let_in_again(self):
        browser = self.browser
        self.fleet.connect("sent-1")
        browser.open("#/devices/sent-1", token=API_TOKEN)
        browser.press("End connection")
        browser.see("End the connection?", css="dialog h2")
        browser.press("End connection", within="dialog")
        browser.see("The connection was ended.")
        browser.see("Offline since", "because somebody ended the connection through the API", css=".story")
        self.assertEqual(self.gateway_.api("/api/v1/devices/sent-1")["reason"], "kicked")
        self.fleet.connect("sent-1")
        browser.see("Online for", css=".story")
        browser.press("Disable")
        browser.press("Disable", within="dialog")
        browser.see("because it is switched off in the registry", "will not be let in again", css=".story")
        self.assertEqual(self.gateway_.api("/api/v1/devices/sent-1")["registry"]["enabled"], False)
        with self.assertRaises(ConnectionClosed):
            self.fleet.connect("sent-1")
        browser.press("Enable")
        browser.see("The device may connect.")
        self.assertEqual(self.gateway_.api("/api/v1/devices/sent-1")["registry"]["enabled"], True)
        self.fleet.connect("sent-1")
        browser.see("Online for", css=".story")
        self.leave("sent-1")

    # --- how it looks

    def test_every_page_is_legible_named_and_fits_a_phone_in_light_and_dark(self):
        browser = self.browser
        pages = {"overview": ("#/", "Traffic"), "devices": ("#/devices", "meter-7"), "device": ("#/devices/meter-7", "temperature"),
                 "commands": ("#/devices/pump-1/commands", "Recent commands"), "twin": ("#/devices/pump-2/twin", "Desired"),
                 "timeline": ("#/devices/meter-7/timeline", "Connected"), "registry": ("#/devices/meter-7/settings", "Credentials"),
                 "lanes": ("#/lanes", "Account"), "dead-letters": ("#/dead-letters", "Dead letters"), "nodes": ("#/nodes", "Boot"), "refusals": ("#/refusals", "Turned away")}
        browser.open(token=API_TOKEN)
        for theme in ("light", "dark"):
            browser.theme(theme)
            for size in (DESKTOP, PHONE):
                browser.size(size)
                for name, (place, text) in pages.items():
                    kind = f"{name}-{theme}" + ("-phone" if size == PHONE else "")
                    with self.subTest(kind):
                        browser.go(place)
                        browser.see(text, css="main")
                        browser.wait(lambda: not browser.all("main .skeleton"), "everything to be loaded")
                        self.assertEqual(browser.audit(), [])
                        browser.shot(kind)

    def test_the_keyboard_alone_will_do(self):
        from selenium.webdriver.common.keys import Keys

        browser = self.browser
        browser.open(token=API_TOKEN)
        browser.see("Traffic", css="main")
        body = browser.driver.find_element(By.CSS_SELECTOR, "body")
        body.send_keys(Keys.TAB)
        self.assertEqual(browser.driver.switch_to.active_element.text, "Skip to content")
        self.assertNotEqual(browser.script("return getComputedStyle(document.activeElement).outlineStyle"), "none")
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
        self.assertEqual(browser.script("return document.activeElement.id"), "main")
        browser.go("#/devices")
        browser.see("Register a device")
        browser.wait(lambda: browser.script("return document.activeElement.id") == "title", "the title to be focused")
        browser.wait(lambda: browser.named("button", "Register a device"), "the button").send_keys(Keys.ENTER)
        browser.wait(lambda: browser.all("dialog[open]"), "the dialog")
        self.assertEqual(browser.driver.switch_to.active_element.accessible_name, "Device id")
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        browser.wait(lambda: not browser.all("dialog"), "the dialog to go")
        self.assertEqual(browser.driver.switch_to.active_element.accessible_name, "Register a device")


if __name__ == "__main__":
    unittest.main(verbosity=2)
