#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/http-api.md as printed: every example runs, against the real gateway with real simulated devices, and what it
answers has the members that the page shows, and is what openapi.json says.

Of the fenced blocks, `sh` is run (each in a shell of its own, all in one folder); `json` behind one shows its whole
output, `json last` the last line of it; `json example` is not held against anything here: it needs what other tests
bring about.
"""
import asyncio
import json
import os
import re
import subprocess
import sys
import unittest

from contract_proxy import ContractProxy
from device_client import Device, pb
from gateway_fixture import API_TOKEN, BIN, PATIENCE, SOURCE, GatewayTestCase, Process, folder, wait_for

sys.path.insert(0, str(SOURCE / "tests/support"))
from webhook_target import Target  # noqa: E402

PAGE = SOURCE / "docs/http-api.md"
EVENTS = 6  # of sensor-1, all of which the far side of the lane main refuses


def blocks() -> list[tuple[str, str]]:
    found = re.findall(r"^```(\w+(?: \w+)?)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(kind, text) for kind, text in found]


def differences(shown, real, where: str = "") -> list[str]:
    """Where `real` lacks what is shown, or has something else there. A null that is shown stands for anything; of a list,
    the first one shown for one of those that are there."""
    if shown is None:
        return []
    kinds = {bool: bool, int: (int, float), float: (int, float), str: str, list: list, dict: dict}
    if not isinstance(real, kinds[type(shown)]) or isinstance(real, bool) != isinstance(shown, bool):
        return [f"{where or 'the answer'} is {json.dumps(real)[:80]}, and shown is {json.dumps(shown)[:80]}"]
    if isinstance(shown, dict):
        # Labels, fields, documents: what is in them is the user's own.
        missing = [f"{where}/{name} is missing" for name in shown if name not in real]
        return missing + [fault for name in shown if name in real
                          for fault in differences(shown[name], real[name], f"{where}/{name}")]
    if isinstance(shown, list) and shown:
        if not real:
            return [f"{where} is empty, and shown is {json.dumps(shown)[:80]}"]
        return min((differences(shown[0], one, f"{where}/{i}") for i, one in enumerate(real)), key=len)
    return []


class DifferencesTest(unittest.TestCase):
    def test_what_is_shown_has_to_be_there(self):
        shown = {"id": "a", "n": 1, "registry": {"enabled": True}, "streams": [{"id": "5"}], "reason": None}
        self.assertEqual(differences(shown, {**shown, "more": 1, "reason": "bye"}), [])
        self.assertEqual(differences(shown, {**shown, "streams": [{"id": None}, {"id": "7"}]}), [])
        for wrong in ({"registry": None}, {"streams": []}, {"streams": None}, {"n": "1"}, {"n": True}, {"id": 1},
                      {"registry": {}}, {"streams": [{"id": None}]}, {"streams": [{}]}):
            self.assertEqual(len(differences(shown, {**shown, **wrong})), 1, wrong)
        self.assertEqual(len(differences(shown, {})), 5)


class HttpApiDocTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.target = Target()
        cls.addClassCleanup(cls.target.close)
        cls.target.behave(status=400, body="no such door")
        # The page's lane main: one whose far side refuses what sensor-1 has to say.
        cls.gateway_ = cls.shared_gateway({
            "mqtt": [{"name": "broker", "port": cls.broker.port}],
            "webhooks": [{"name": "main", "url": f"http://127.0.0.1:{cls.target.port}/in", "allowed_networks": ["127.0.0.0/8"],
                          "backoff_min": "50ms", "backoff_max": "500ms", "filter": {"devices": ["sensor-1"], "kinds": ["event"]}}]})
        cls.proxy = ContractProxy(cls.gateway_)
        cls.addClassCleanup(cls.proxy.close)
        cls.folder = folder("doc")
        cls.sim = Process("fieldgate-sim", [BIN / "fieldgate-sim", "run", "--gateway", f"127.0.0.1:{cls.gateway_.port}", "--devices", 2,
                                            "--duties", "--rate", 5, "--auth", "cert", "--ca", cls.pki.ca, "--ca-cert",
                                            cls.pki.ca, "--ca-key", cls.pki.ca_key, "--skip-server-check"],
                          folder("sim") / "log")
        cls.addClassCleanup(cls.sim.kill)
        asyncio.run(cls.sensor())

        def has_come() -> bool:
            answer = cls.gateway_.call("GET", "/devices/sim-000001")
            device = answer.json
            return bool(answer.status == 200 and device["online"] and device["last_values"] and device["registry"] and
                        cls.gateway_.api("/api/v1/devices/sim-000001/twin")["reported"]["time"])

        wait_for(has_come, "the simulated devices")
        # Presence and what else devices say comes to the store by way of the log.
        wait_for(lambda: cls.gateway_.api("/api/v1/devices/sim-000001/presence")["events"] and
                 cls.gateway_.api("/api/v1/devices/sim-000001/timeline")["entries"], "the store to hear of it")
        wait_for(lambda: len(cls.letters()) == EVENTS, "the dead letters")

    @classmethod
    async def sensor(cls) -> None:
        device = await Device.connect(cls.gateway_, "sensor-1")
        for i in range(EVENTS):
            await device.say(event=pb.Event(name="door", text=f"no. {i}"))
        await device.acked()
        await device.close()

    @classmethod
    def letters(cls) -> list[str]:
        """Their ids, oldest first."""
        return [letter["id"] for letter in cls.gateway_.api("/api/v1/dead-letters?lane=main")["dead_letters"]]

    def preamble(self) -> str:
        setup = next(text for kind, text in blocks() if kind == "sh setup")
        function = next(line for line in setup.splitlines() if line.startswith("api()"))
        return "\n".join(["set -eo pipefail", f"API={self.proxy.url}/api/v1", f"TOKEN={API_TOKEN}", function])

    def here(self, text: str) -> str:
        """With the address and the ids that there are here, of which the page can know nothing."""
        text = text.replace("http://127.0.0.1:9090", f"http://127.0.0.1:{self.gateway_.admin_port}")
        if re.search(r"/dead-letters/1[78]\b", text):
            first, second = self.letters()[:2]
            text = text.replace("/dead-letters/17", f"/dead-letters/{first}").replace("/dead-letters/18", f"/dead-letters/{second}")
        return text

    def run_block(self, text: str) -> str:
        text = self.here(text)
        done = subprocess.run(["bash", "-c", self.preamble() + "\n" + text], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def test_every_example_runs_and_answers_what_the_page_shows(self):
        ran, shown = 0, 0
        letters = self.letters()
        output = None
        for kind, text in blocks():
            with self.subTest(text=text[:200]):
                if kind in ("sh", "sh admin"):
                    output = self.run_block(text)
                    ran += 1
                elif kind in ("json", "json last"):
                    self.assertIsNotNone(output, "nothing was run before this")
                    answer = json.loads(output.splitlines()[-1] if kind == "json last" else output)
                    self.assertEqual(differences(json.loads(text), answer), [], output)
                    shown += 1
                else:
                    self.assertIn(kind, ("sh setup", "json example"))
        self.assertGreater(ran, 24)
        self.assertGreater(shown, 11)
        self.assertEqual(set(letters) & set(self.letters()), set())  # those sent again may have come back as others

    def test_there_is_an_example_of_every_path(self):
        with open(SOURCE / "adapters/http/openapi.json", encoding="utf-8") as file:
            paths = json.load(file)["paths"]
        text = "\n".join(text for kind, text in blocks() if kind.startswith("sh")).replace("$API", "/api/v1")
        # These have pages of their own.
        for path in set(paths) - {"/", "/assets/{name}", "/openapi.json", "/api/v1/stream"}:
            pattern = re.sub(r"\\{\w+\\}", r"[^/\\s\"?]+", re.escape(path)) + r"[\"?]"
            self.assertRegex(text, pattern, path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
