#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/http-api.md as printed: every example runs, against the real gateway with real simulated devices, and what it
answers has the members that the page shows.

Of the fenced blocks, `sh` is run (each in a shell of its own, all in one folder); `json` behind one shows its whole
output, `json last` the last line of it; `json example` and `sh later` are not held against anything here: they need
what other tests bring about (a record that was refused, say).
"""
import json
import os
import re
import subprocess
import unittest

from gateway_fixture import API_TOKEN, BIN, PATIENCE, SOURCE, GatewayTestCase, Process, folder, wait_for

PAGE = SOURCE / "docs/http-api.md"


def blocks() -> list[tuple[str, str]]:
    found = re.findall(r"^```(\w+(?: \w+)?)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(kind, text) for kind, text in found]


def differences(shown, real, where: str = "") -> list[str]:
    """Where `real` lacks what is shown, or has something else there. null stands for anything."""
    if shown is None or real is None:
        return []
    kinds = {bool: bool, int: (int, float), float: (int, float), str: str, list: list, dict: dict}
    if not isinstance(real, kinds[type(shown)]):
        return [f"{where or 'the answer'} is {json.dumps(real)[:80]}, and shown is {json.dumps(shown)[:80]}"]
    if isinstance(shown, dict):
        # Labels, fields, documents: what is in them is the user's own.
        missing = [f"{where}/{name} is missing" for name in shown if name not in real]
        return missing + [fault for name in shown if name in real
                          for fault in differences(shown[name], real[name], f"{where}/{name}")]
    if isinstance(shown, list) and shown and real:
        return differences(shown[0], real[0], where + "/0")
    return []


class HttpApiDocTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway()
        cls.folder = folder("doc")
        cls.sim = Process("fieldgate-sim", [BIN / "fieldgate-sim", "run", "--gateway", f"127.0.0.1:{cls.gateway_.port}", "--devices", 2,
                                            "--duties", "--rate", 5, "--auth", "cert", "--ca", cls.pki.ca, "--ca-cert",
                                            cls.pki.ca, "--ca-key", cls.pki.ca_key, "--skip-server-check"],
                          folder("sim") / "log")
        cls.addClassCleanup(cls.sim.kill)

        def has_come() -> bool:
            try:
                device = cls.gateway_.api("/api/v1/devices/sim-000001")
            except OSError:
                return False
            return bool(device["online"] and device["last_values"] and device["registry"])

        wait_for(has_come, "the simulated devices")
        # Presence and what else devices say comes to the store by way of the log.
        wait_for(lambda: cls.gateway_.api("/api/v1/devices/sim-000001/presence")["events"] and
                 cls.gateway_.api("/api/v1/devices/sim-000001/timeline")["entries"], "the store to hear of it")

    def preamble(self) -> str:
        setup = next(text for kind, text in blocks() if kind == "sh setup")
        function = next(line for line in setup.splitlines() if line.startswith("api()"))
        return "\n".join(["set -eo pipefail", f"API=http://127.0.0.1:{self.gateway_.api_port}/api/v1",
                          f"TOKEN={API_TOKEN}", function])

    def run_block(self, text: str) -> str:
        text = text.replace("http://127.0.0.1:9090", f"http://127.0.0.1:{self.gateway_.admin_port}")
        done = subprocess.run(["bash", "-c", self.preamble() + "\n" + text], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def test_every_example_runs_and_answers_what_the_page_shows(self):
        ran, shown = 0, 0
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
                    self.assertIn(kind, ("sh setup", "sh later", "json example"))
        self.assertGreater(ran, 20)
        self.assertGreater(shown, 8)

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
