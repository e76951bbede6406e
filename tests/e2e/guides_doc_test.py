#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pages with examples: every `sh` block runs as printed, against the real gateway, each page in a folder of its own and
its blocks one after the other. `sh endless` is cut off once it has said what it should; `sh illustration` is not run,
for it needs what is not here (another machine, an authority's database). A block must be one of these. Programs in
`python` and `js` are run by the test of their page. What the API answers is held against openapi.json.
"""
import asyncio
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from contract_proxy import ContractProxy
from device_client import Device, cancelled
from gateway_fixture import API_TOKEN, BIN, PATIENCE, SOURCE, GatewayTestCase, Process, folder, free_port, wait_for

import websockets


def blocks(page: str) -> list[tuple[str, str]]:
    text = (SOURCE / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class GuidesDocTest(GatewayTestCase):
    def setUp(self):
        self.gw = self.gateway()
        self.proxy = ContractProxy(self.gw)
        self.addCleanup(self.proxy.close)
        self.folder = folder("guide")
        (self.folder / ".fieldgate-token").write_text(API_TOKEN + "\n")
        self.environment = {**{name: value for name, value in os.environ.items() if not name.startswith("FIELDGATE_")},
                            "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
                            "API": self.base, "TOKEN": API_TOKEN, "FIELDGATE_API": self.base, "FIELDGATE_API_TOKEN": API_TOKEN}

    @property
    def base(self) -> str:
        return self.proxy.url

    def here(self, text: str) -> str:
        """With the addresses that it has here."""
        return text.replace("https://gw.example.org:8080", self.base).replace("http://127.0.0.1:8080", self.base)

    def start(self, text: str) -> subprocess.Popen:
        return subprocess.Popen(["bash", "-c", "set -eo pipefail\n" + self.here(text)], cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, start_new_session=True)

    async def run_block(self, text: str) -> str:
        process = self.start(text)
        try:
            out, errors = await asyncio.to_thread(process.communicate, timeout=PATIENCE * 2)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        self.assertEqual(process.returncode, 0, f"{text}\n{out}\n{errors}")
        return out

    async def run_page(self, page: str, change=lambda text: text) -> list[str]:
        """What each block that was run has printed."""
        outputs = []
        for kind, text in blocks(page):
            with self.subTest(page=page, text=text[:200]):
                if kind == "sh":
                    outputs.append(await self.run_block(change(text)))
                elif kind.startswith("sh"):
                    self.assertIn(kind, ("sh endless", "sh illustration"))
                else:
                    self.assertNotIn(kind, ("bash", "shell", "console"))
        return outputs

    async def obedient(self, name: str) -> None:
        """A device that does what it is told, and comes back."""
        while True:
            try:
                device = await Device.connect(self.gw, name, capabilities=["command", "command_cancel"])
                while True:
                    command = await device.command()
                    await device.ack_command(command.id)
                    await device.result(command.id)
            except (OSError, EOFError, AssertionError, websockets.WebSocketException, asyncio.TimeoutError):
                await asyncio.sleep(0.1)

    async def test_the_command_line(self):
        (self.folder / "factory.ndjson.gz").write_bytes(gzip.compress(b'{"id": "factory-1"}\n{"id": "factory-2"}\n'))
        (self.folder / "image.bin").write_bytes(bytes(range(256)))
        certificate, _ = self.pki.device("pump-7")
        (self.folder / "pump-7.pem").write_bytes(certificate.read_bytes())
        device = None

        def entry() -> dict:
            return self.gw.api("/api/v1/devices/pump-7")["registry"]

        def change(text: str) -> str:
            """With the revision and the id that there are here, of which the page can know nothing."""
            if "--revision 17" in text:
                # The lines before it change the entry as well.
                before, line, after = re.split(r"(?m)^(.*--revision 17.*)\n", text)
                revision = "$(fieldgate device get pump-7 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"registry\"][\"revision\"])')"
                return before + line.replace("17", revision) + "\n" + after
            if "9f2c" in text:
                found = "$(fieldgate device credential list pump-7 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"credentials\"][0][\"id\"])')"
                return text.replace("9f2c", found)
            return text

        self.gw.call("PUT", "/devices/pump-7", {})
        device = asyncio.create_task(self.obedient("pump-7"))
        try:
            # The page begins where pump-7 is known already, and makes it anew further down.
            outputs = []
            for kind, text in blocks("cli.md"):
                if not kind.startswith("sh"):
                    continue
                with self.subTest(text=text[:200]):
                    self.assertIn(kind, ("sh", "sh illustration"))
                    anew = "device create pump-7" in text
                    if anew:
                        # Away meanwhile: or it came back, and was registered for it, before the page does that.
                        await cancelled(device)
                        self.assertEqual(self.gw.call("DELETE", "/devices/pump-7").status, 204)
                    if "device command" in text:
                        await asyncio.to_thread(wait_for, lambda: self.gw.api("/api/v1/devices/pump-7")["online"], "pump-7")
                    outputs.append(await self.run_block(change(text)))
                    if anew:
                        device = asyncio.create_task(self.obedient("pump-7"))
        finally:
            await cancelled(device)
        self.assertGreaterEqual(len(outputs), 7)
        self.assertEqual(entry()["enabled"], True)
        self.assertIn("factory-2", (await self.run_block("fieldgate device list")))

    async def test_the_live_stream(self):
        await self.run_page("stream.md")
        endless = [text for kind, text in blocks("stream.md") if kind == "sh endless"]
        self.assertEqual(len(endless), 1)
        process = self.start(endless[0])
        try:
            lines = []
            while not any(line.startswith("data:") for line in lines):
                line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
                self.assertNotEqual(line, "", lines)
                lines.append(line)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self.assertIn("event: hello\n", lines)

    async def follows(self, command: list) -> None:
        """A program that prints what the live stream tells of pump-7: also after a restart of the gateway, which has
        forgotten the events of its earlier life."""
        program = Process("follower", command, self.folder / f"{command[0]}.log".replace("/", "-"),
                          {**self.environment, "PYTHONUNBUFFERED": "1"})
        self.addCleanup(program.kill)

        async def says(text: str) -> None:
            await asyncio.to_thread(wait_for, lambda: text in program.log(), f"{text} in what it prints")

        await says("hello ")
        device = await Device.connect(self.gw, "pump-7")
        deadline = time.monotonic() + PATIENCE
        while "telemetry" in command[-1] and "telemetry {" not in program.log():
            self.assertLess(time.monotonic(), deadline, program.log())
            await device.send()
            await device.acked()
            await asyncio.sleep(0.05)
        await says("presence {")
        await device.close()
        await asyncio.to_thread(self.gw.stop)
        await says("again in a moment")
        await asyncio.to_thread(self.gw.start)
        await says("reset {")
        self.assertTrue(program.alive())

    def program(self, page: str, language: str) -> str:
        (found, ) = [text for kind, text in blocks(page) if kind == language]
        return self.here(found)

    async def test_the_live_stream_from_python(self):
        await self.follows([sys.executable, "-B", "-c", self.program("stream.md", "python")])

    @unittest.skipUnless(shutil.which("node"), "there is no node here")
    async def test_the_live_stream_from_javascript(self):
        text = self.program("stream.md", "js").replace('"/api/', f'"{self.base}/api/')  # there is no page that it belongs to
        await self.follows([shutil.which("node"), "--input-type=module", "-e", "const token = process.env.TOKEN;\n" + text])

    async def test_who_is_who(self):
        self.assertEqual(self.gw.call("PUT", "/devices/pump-1", {}).status, 201)
        outputs = await self.run_page("identity.md", lambda text: text.replace('"HEX"', '"' + "ab" * 32 + '"'))
        self.assertGreaterEqual(len(outputs), 4)
        # A certificate, its pin, and two tokens that are one each.
        issued = subprocess.run(["openssl", "verify", "-CAfile", "ca.pem", "pump-1.pem"], cwd=self.folder, check=False,
                                capture_output=True, text=True)
        self.assertIn("pump-1.pem: OK", issued.stdout)
        credentials = self.gw.api("/api/v1/devices/pump-1/credentials")["credentials"]
        self.assertEqual([one["kind"] for one in credentials], ["certificate"])
        python = subprocess.run([sys.executable, "-c", self.program("identity.md", "python")], cwd=self.folder, check=True,
                                capture_output=True, text=True)
        await self.let_in(*(output.splitlines()[-1] for output in (*outputs[-2:], python.stdout)))

    async def let_in(self, *tokens: str) -> None:
        """A gateway that trusts the keys that the page has made lets pump-1 in with each of these."""
        subprocess.run(["openssl", "pkey", "-in", "rsa.key", "-pubout", "-out", "rsa.pem"], cwd=self.folder, check=True)
        keys = [{"id": "dev", "algorithm": "ES256", "file": str(self.folder / "signer.pem")},
                {"id": "rsa", "algorithm": "RS256", "file": str(self.folder / "rsa.pem")}]
        gateway = self.gateway({"tokens": {"jwt": {"audience": "fieldgate", "keys": keys}}})
        for token in tokens:
            device = await Device.connect(gateway, "pump-1", socket_options={"token": token, "context": self.pki.client_context()})
            answer = await asyncio.to_thread(gateway.call, "GET", "/devices/pump-1")
            self.assertEqual(answer.json["live"]["credential"], "jwt")
            await device.close()

    async def test_running_it(self):
        # The page's gateway has ports of its own, which are others here.
        ports = {port: str(free_port()) for port in ("8443", "8080", "9090")}

        def change(text: str) -> str:
            text = text.replace("  token_file: api-tokens\n", "  listen: 127.0.0.1:8080\n  token_file: api-tokens\n"
                                "admin:\n  listen: 127.0.0.1:9090\n")
            return re.sub(r"127\.0\.0\.1:(8443|8080|9090)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)

        self.environment["FIELDGATE_API"] = f"http://127.0.0.1:{ports['8080']}"
        del self.environment["FIELDGATE_API_TOKEN"]
        (set_up, ), (serve, ), (look, drain) = ([text for text in part] for part in self.in_order("guides/operator.md"))
        self.assertIn("fieldgate.yaml: OK\n", await self.run_block(change(set_up)))
        gateway = self.start(change(serve))
        try:
            while "event=ready" not in (line := await asyncio.to_thread(gateway.stderr.readline)):
                self.assertNotEqual(line, "", "it ended")
            seen = await self.run_block(change(look))
            self.assertIn('"ready":true', seen)
            self.assertIn("summary: devices=5 frames_sent=", seen)
            self.assertIn("sim-000005", seen)
            self.assertIn("connected", seen)
            self.assertIn("drained", await self.run_block(change(drain)))
            os.killpg(gateway.pid, signal.SIGINT)
            _, errors = await asyncio.to_thread(gateway.communicate, timeout=PATIENCE * 2)
            self.assertEqual(gateway.returncode, 0, errors)
        finally:
            if gateway.poll() is None:
                os.killpg(gateway.pid, signal.SIGKILL)
                gateway.communicate()

    def in_order(self, page: str) -> list[list[str]]:
        """The page's blocks for a shell: before the endless one, that, and after it."""
        found = [(kind, text) for kind, text in blocks(page) if kind.startswith("sh")]
        endless = [kind for kind, _ in found].index("sh endless")
        return [[text for _, text in part] for part in (found[:endless], found[endless:endless + 1], found[endless + 1:])]


if __name__ == "__main__":
    unittest.main(verbosity=2)
