#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`fieldgate device` against the real gateway, over http and https."""

import asyncio
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import threading
import unittest

from contract_proxy import ContractProxy
from device_client import Device, pb
from gateway_fixture import API_TOKEN, FIELDGATE, PATIENCE, GatewayTestCase, folder, free_port


class DeviceCliTest(GatewayTestCase):
    def setUp(self):
        self.gw = self.gateway()
        self.proxy = ContractProxy(self.gw)
        self.addCleanup(self.proxy.close)
        self.token = folder("cli") / "token"
        self.token.write_text(API_TOKEN + "\n")

    def cli(self, *arguments, status: int = 0, stdin: str | None = None, api: str | None = None, token: bool = True,
            **environment) -> subprocess.CompletedProcess:
        keep = {name: value for name, value in os.environ.items() if not name.startswith("FIELDGATE_")}
        keep.update(FIELDGATE_API=api or self.proxy.url, **environment)
        command = [FIELDGATE, "device", *map(str, arguments), *(["--token-file", self.token] if token else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2, env=keep, input=stdin, check=False)
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout}{done.stderr}")
        return done

    def entry(self, device: str) -> dict:
        return json.loads(self.cli("get", device, "--json").stdout)["registry"]

    def test_a_device_from_its_registration_to_its_end(self):
        self.cli("create", "pump-7", "--label", "site=berlin", "--label", "line=3", "--note", "boiler")
        again = self.cli("create", "pump-7", status=1)
        self.assertNotEqual(again.stderr, "")
        self.assertEqual(self.entry("pump-7")["labels"], {"site": "berlin", "line": "3"})
        revision = self.entry("pump-7")["revision"]
        self.cli("update", "pump-7", "--label", "line-", "--label", "state=spare", "--revision", revision)
        self.cli("update", "pump-7", "--note", "late", "--revision", revision, status=1)
        self.assertEqual(self.entry("pump-7")["labels"], {"site": "berlin", "state": "spare"})
        self.assertEqual(self.entry("pump-7")["note"], "boiler")
        self.cli("disable", "pump-7")
        self.assertFalse(self.entry("pump-7")["enabled"])
        self.cli("enable", "pump-7")
        self.assertTrue(self.entry("pump-7")["enabled"])
        listed = self.cli("list", "--label", "site=berlin").stdout
        self.assertRegex(listed, r"^ID +STATE .*\npump-7 +offline .* site=berlin,state=spare\n$")
        self.assertEqual(self.cli("list", "--label", "site=rome", "--json").stdout, "")
        refused = self.cli("list", "--where", "onlin=true", status=1)
        self.assertIn("online", refused.stderr)
        self.cli("delete", "pump-7")
        self.cli("get", "pump-7", status=1)

    def test_an_import_takes_the_good_lines_and_names_the_bad_ones(self):
        lines = [json.dumps({"id": f"d-{i:04}", "labels": {"n": str(i)}}) for i in range(1200)]
        lines[10], lines[700] = "{not json", json.dumps({"id": "d-0700", "lables": {}})
        file = folder("import") / "fleet.ndjson"
        file.write_text("\n".join(lines) + "\n")
        done = self.cli("import", file, status=1)
        self.assertEqual(done.stdout, "1200 lines: 1198 created, 0 updated, 0 unchanged, 2 errors\n")
        faults = done.stderr.splitlines()
        self.assertEqual([line.split(":")[0].split(" (")[0] for line in faults[:2]], ["line 11", "line 701"], done.stderr)
        self.assertIn("lables", faults[1])
        self.assertEqual(len(self.cli("list", "--json").stdout.splitlines()), 1198)
        self.assertEqual(len(self.cli("list", "--json", "--limit", "7").stdout.splitlines()), 7)
        exported = self.cli("export").stdout
        self.assertEqual(len(exported.splitlines()), 1198)
        again = self.cli("import", stdin=exported)
        self.assertEqual(again.stdout, "1198 lines: 0 created, 0 updated, 1198 unchanged, 0 errors\n")

    async def test_a_token_lets_its_device_in_until_it_is_removed(self):
        self.cli("create", "pump-7")
        made = self.cli("credential", "add", "pump-7", "--expires-in", "1h", "--note", "mine").stdout
        fields = dict(line.split(": ", 1) for line in made.splitlines())
        token = fields["token"].strip()
        device = await Device.connect(self.gw, "pump-7", socket_options={"token": token, "context": self.pki.client_context()})
        self.assertIn("online", self.cli("list", "--where", "online=true").stdout)
        await asyncio.to_thread(self.cli, "kick", "pump-7")
        self.assertEqual((await device.goodbye())[1], pb.GOODBYE_REASON_KICKED)
        self.assertNotIn(token, self.cli("credential", "list", "pump-7").stdout)
        credential = json.loads(self.cli("credential", "list", "pump-7", "--json").stdout)["credentials"][0]
        self.assertEqual((credential["kind"], credential["note"]), ("token", "mine"))
        self.cli("credential", "remove", "pump-7", credential["id"])
        self.cli("credential", "remove", "pump-7", credential["id"], status=1)
        certificate, _ = self.pki.device("pump-7")
        self.cli("credential", "add", "pump-7", "--certificate", certificate)
        self.assertIn("certificate", self.cli("credential", "list", "pump-7").stdout)

    async def test_a_command_is_sent_and_its_answer_shown(self):
        device = await Device.connect(self.gw, "pump-7", capabilities=["command"])
        asked = asyncio.create_task(asyncio.to_thread(self.cli, "command", "pump-7", "update", '{"rpm": 900}', "--wait", "60s"))
        command = (await device.next("command")).command
        self.assertEqual((command.name, json.loads(command.payload)), ("update", {"rpm": 900}))
        result = pb.CommandResult(id=command.id, outcome=pb.CommandResult.OUTCOME_SUCCEEDED, text="done", payload=b'{"was": 0.5}')
        await device.ws.send(pb.DeviceFrame(seq=1, command_result=result).SerializeToString())
        done = await asked
        self.assertIn("succeeded", done.stdout)
        self.assertIn('{"was":0.5}', done.stdout)
        self.cli("command", "pump-9", "x", status=1)

    def test_what_is_not_allowed_is_77_and_who_does_not_answer_69(self):
        self.assertIn("FIELDGATE_API_TOKEN", self.cli("list", status=77, token=False).stderr)
        self.cli("list", status=77, token=False, FIELDGATE_API_TOKEN="wrong")
        self.cli("list", token=False, FIELDGATE_API_TOKEN=API_TOKEN)
        nobody = self.cli("list", status=69, api=f"http://127.0.0.1:{free_port()}")
        self.assertIn("127.0.0.1", nobody.stderr)
        self.cli("list", status=69, api="http://no-such-host.invalid:1")

    def test_an_import_that_is_not_allowed_says_so_however_long_it_is(self):
        with open(self.gw.dir / "api-tokens", "a", encoding="utf-8") as tokens:
            tokens.write(f"reader sha256:{hashlib.sha256(b'reader').hexdigest()} read\n")
        self.gw.reload()
        lines = "".join(json.dumps({"id": f"d-{i}", "note": "x" * 200}) + "\n" for i in range(40_000))
        refused = self.cli("import", status=77, stdin=lines, token=False, FIELDGATE_API_TOKEN="reader")
        self.assertIn("admin", refused.stderr)
        self.assertEqual(self.cli("list", "--json").stdout, "")

    @contextlib.contextmanager
    def stranger(self, *pieces: bytes):
        """The address of somebody who answers one request with `pieces` and hangs up; and a list of what was asked."""
        heard = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            def answer():
                with server.accept()[0] as peer, contextlib.suppress(OSError):
                    heard.append(peer.recv(65_536).decode())
                    for piece in pieces:
                        peer.sendall(piece)

            one = threading.Thread(target=answer)
            one.start()
            yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
            one.join(PATIENCE)

    def test_a_redirect_is_not_followed_and_no_proxy_asked(self):
        """So the token stays with whom it was meant for."""
        location = f"http://127.0.0.1:{self.gw.api_port}/api/v1/devices"
        with self.stranger(f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode()) as (api, heard):
            refused = self.cli("list", status=69, api=api, http_proxy="http://127.0.0.1:1")
        self.assertIn("redirects are not followed", refused.stderr)
        self.assertIn(f"Authorization: Bearer {API_TOKEN}", heard[0])

    def test_an_answer_without_end_is_given_up(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
        with self.stranger(head, *[b" " * 1_048_576] * 70) as (api, _):
            self.assertIn("longer than 64 MiB", self.cli("get", "a", status=69, api=api).stderr)

    def test_an_export_that_is_broken_off_is_not_taken_for_the_whole(self):
        line = b'{"id":"a"}\n'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        with self.stranger(head, b"%x\r\n%s\r\n" % (len(line), line)) as (api, _):
            broken = self.cli("export", status=69, api=api)
        self.assertEqual(broken.stdout.encode(), line)
        self.assertIn("not all of it", broken.stderr)

    def test_https_believes_the_given_authority_and_no_other(self):
        secure = self.gateway({"api": {"certificate_file": str(self.gw.dir / "server.pem"),
                                       "key_file": str(self.gw.dir / "server-key.pem")}})
        api = f"https://localhost:{secure.api_port}"
        self.cli("list", "--ca", pathlib.Path(self.gw.dir, "ca.pem"), api=api)
        self.assertIn("certificate", self.cli("list", api=api, status=69).stderr)


if __name__ == "__main__":
    unittest.main()
