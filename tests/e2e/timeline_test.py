#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Why was it offline: what the flight recorder has on devices, and what reaches them from above."""

import hashlib
import socket
import ssl
import subprocess
import unittest

from gateway_fixture import PATIENCE, GatewayTestCase, Pki, wait_for
from device_client import Device, hello, pb


class TimelineTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway(start=False)
        cls.gateway_.add_tokens("token-a", "token-b", "known")
        cls.gateway_.start()

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
        answer = self.gateway_.call(method, path.removeprefix("/api/v1"), body)
        return answer.status, answer.json if answer.text else {}

    def timeline(self, device: str) -> list[dict]:
        """Newest first."""
        status, body = self.ask("GET", f"/api/v1/devices/{device}/timeline")
        return body["entries"] if status == 200 else []

    def told(self, device: str, kind: str, **fields) -> dict:
        """The newest such entry, once it is there."""
        def look():
            return next((entry for entry in self.timeline(device) if entry["kind"] == kind and
                         all(entry["fields"].get(name) == value for name, value in fields.items())), None)
        return wait_for(look, f"{kind} {fields} in the timeline of {device}")

    async def test_a_connection_over_tls_is_told_of_whole(self):
        device = await Device.connect(self.gateway_, "cert-a")
        connected = self.told("cert-a", "connected")
        self.assertEqual(connected["epoch"], str(device.welcome.epoch))
        self.assertEqual(connected["fields"]["tls"], "TLSv1.3")
        self.assertTrue(connected["fields"]["cipher"].startswith("TLS_"), connected)
        self.assertEqual(connected["fields"]["resumed"], "false")
        self.assertEqual(connected["fields"]["credential"], "certificate")
        pem = self.pki.device("cert-a")[0].read_text()
        self.assertEqual(connected["fields"]["certificate_sha256"], hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())
        self.assertEqual(connected["fields"]["certificate_subject"], "CN=cert-a")
        end = subprocess.check_output(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"], input=pem, text=True)
        self.assertEqual(connected["fields"]["certificate_not_after"], end.strip().removeprefix("notAfter=").replace(" ", "T"))
        host, port = device.ws.local_address[:2]
        self.assertEqual(connected["fields"]["address"], f"{host}:{port}")
        await device.close()
        ended = self.told("cert-a", "disconnected", reason="bye")
        self.assertEqual(ended["epoch"], connected["epoch"])
        self.assertGreater(ended["number"], connected["number"])

    async def test_a_connection_by_token_is_told_of_without_a_certificate(self):
        await (await Device.connect(self.gateway_, "token-b")).close()
        fields = self.told("token-b", "connected")["fields"]
        self.assertEqual(fields["credential"], "token")
        self.assertEqual([name for name in fields if name.startswith("certificate")], [])

    async def test_a_kick_ends_the_connection_and_says_so(self):
        device = await Device.connect(self.gateway_, "token-a")
        status, _ = self.ask("DELETE", "/api/v1/devices/token-a/session")
        self.assertIn(status, (200, 204))
        self.assertEqual(await device.goodbye(), (4015, pb.GOODBYE_REASON_KICKED))
        self.told("token-a", "disconnected", reason="kicked")

    async def test_a_disabled_device_is_sent_away_and_kept_away(self):
        device = await Device.connect(self.gateway_, "known")
        refused = self.gateway_.metrics()['fieldgate_connection_attempts_total{outcome="refused"}']
        status, body = self.ask("PATCH", "/api/v1/devices/known", {"enabled": False})
        self.assertEqual(status, 200, body)
        self.assertEqual(await device.goodbye(), (4016, pb.GOODBYE_REASON_POLICY))
        self.told("known", "disconnected", reason="device_disabled")
        self.assertEqual(self.gateway_.metrics()['fieldgate_connection_attempts_total{outcome="refused"}'], refused,
                         "it had been let in")
        ws = await Device.socket(self.gateway_, token="token-of-known")
        await ws.send(hello("known"))
        self.assertEqual((await Device(self.gateway_, "known", ws, None).goodbye())[0], 4016)
        self.told("known", "refused", reason="device_disabled")
        status, body = self.ask("PATCH", "/api/v1/devices/known", {"enabled": True})
        self.assertEqual(status, 200, body)
        await (await Device.connect(self.gateway_, "known")).close()

    async def test_a_takeover_names_who_took_over(self):
        old = await Device.connect(self.gateway_, "cert-b")
        fresh = await Device.connect(self.gateway_, "cert-b")
        host, port = fresh.ws.local_address[:2]
        self.told("cert-b", "taken_over", by=f"{host}:{port}")
        self.told("cert-b", "disconnected", reason="taken_over")
        await old.end()
        await fresh.close()

    async def test_who_says_he_is_another_leaves_no_line_with_that_one(self):
        await (await Device.connect(self.gateway_, "cert-victim")).close()
        self.told("cert-victim", "disconnected")
        before = self.timeline("cert-victim")
        ws = await Device.socket(self.gateway_, token="token-of-token-b")
        await ws.send(hello("cert-victim"))
        self.assertEqual((await Device(self.gateway_, "cert-victim", ws, None).goodbye())[0], 4002)
        refused = self.told("token-b", "refused", reason="hello_id_mismatch")
        self.assertIn("cert-victim", refused["fields"]["detail"])
        self.assertEqual(self.timeline("cert-victim"), before)

    async def test_who_is_turned_away_before_he_is_known_is_in_a_ring_of_its_own(self):
        stranger = self.pki.client_context("cert-a", signed_by=Pki("Another CA"))
        with socket.create_connection(("127.0.0.1", self.gateway_.port), PATIENCE) as plain:
            address = "{}:{}".format(*plain.getsockname())
            # Or the connection is gone before the alert can be read.
            with self.assertRaises((ssl.SSLError, ConnectionError)), stranger.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.recv(1)

        def look():
            refusals = self.ask("GET", "/api/v1/refusals")[1]["refusals"]
            return next((refusal for refusal in refusals if refusal["address"] == address), None)
        refusal = wait_for(look, "the refusal")
        self.assertEqual(refusal["reason"], "certificate_rejected")
        self.assertNotEqual(refusal["detail"], "")

    async def test_a_command_reaches_a_device_that_takes_commands(self):
        device = await Device.connect(self.gateway_, "token-b", capabilities=["command"])
        status, body = self.ask("POST", "/api/v1/devices/token-b/commands", {"name": "reboot"})
        self.assertEqual(status, 202, body)
        command = (await device.next("command")).command
        self.assertEqual((command.id, command.name), (body["id"], "reboot"))
        device.seq += 1
        await device.ws.send(pb.DeviceFrame(seq=device.seq, command_result=pb.CommandResult(
            id=command.id, outcome=pb.CommandResult.OUTCOME_SUCCEEDED)).SerializeToString())
        wait_for(lambda: self.ask("GET", f"/api/v1/commands/{command.id}")[1]["state"] == "succeeded", "the result")
        await device.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
