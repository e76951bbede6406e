#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may be which device, and what everyone else is told."""

import json
import socket
import ssl
import subprocess
import unittest
import warnings

import websockets

from gateway_fixture import FIELDGATE, PATIENCE, Gateway, GatewayTestCase, Pki, wait_for
from device_client import Device, RawDevice, hello, pb


class IdentityTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway(start=False)
        cls.gateway_.add_tokens("token-a", "token-b")
        cls.gateway_.start()

    async def says_hello_as(self, device_id: str, **options) -> tuple[int, int]:
        ws = await Device.socket(self.gateway_, **options)
        await ws.send(hello(device_id))
        return await Device(self.gateway_, device_id, ws, None).goodbye()

    async def status_of(self, **options) -> int:
        with self.assertRaises(websockets.InvalidStatusCode) as refused:
            await Device.socket(self.gateway_, **options)
        return refused.exception.status_code

    def alert(self, gateway: Gateway, context: ssl.SSLContext) -> str:
        """OpenSSL's word for the alert that answers a connection with this context."""
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as plain:
            with self.assertRaises(ssl.SSLError) as refused, context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.recv(1)  # TLS 1.3: a client learns of it only after its own last flight
        return refused.exception.reason

    async def test_a_certificate_for_one_device_cannot_say_hello_as_another(self):
        code = await self.says_hello_as("cert-b", context=self.pki.client_context("cert-a"))
        self.assertEqual(code, (4002, pb.GOODBYE_REASON_POLICY))

    async def test_a_token_of_one_device_cannot_say_hello_as_another(self):
        code = await self.says_hello_as("token-b", token="token-of-token-a")
        self.assertEqual(code, (4002, pb.GOODBYE_REASON_POLICY))

    async def test_the_token_decides_even_beside_a_good_certificate(self):
        both = {"token": "token-of-token-a", "context": self.pki.client_context("cert-a")}
        self.assertEqual((await self.says_hello_as("cert-a", **both))[0], 4002)
        device = await Device.connect(self.gateway_, "token-a", socket_options=both)
        await device.close()
        self.assertEqual(await self.status_of(token="wrong", context=self.pki.client_context("cert-a")), 401)

    async def test_without_a_credential_or_with_a_wrong_one_the_answer_is_401(self):
        before = self.gateway_.ended("unauthenticated")
        self.assertEqual(await self.status_of(), 401)
        self.assertEqual(await self.status_of(token="no-such-token"), 401)
        self.assertEqual(await self.status_of(headers={"Authorization": "Basic dG9rZW46"}), 401)
        self.assertEqual(self.gateway_.ended("unauthenticated"), before + 3)

    async def test_the_refusal_is_a_problem_document_that_names_the_reason(self):
        answer = b""
        with RawDevice(self.gateway_) as raw:
            raw.socket.sendall(raw.request())
            while chunk := raw.socket.recv(65536):
                answer += chunk
        head, body = answer.split(b"\r\n\r\n", 1)
        self.assertTrue(head.startswith(b"HTTP/1.1 401 "), head)
        self.assertIn(b"content-type: application/problem+json", head.lower())
        self.assertIn(b"connection: close", head.lower())
        self.assertIn("unauthenticated", json.dumps(json.loads(body)))

    async def test_a_certificate_of_an_unknown_authority_is_refused_by_a_tls_alert(self):
        before = self.gateway_.ended("certificate_rejected")
        stranger = self.pki.client_context("cert-a", signed_by=Pki("Another CA"))
        self.assertIn("UNKNOWN_CA", self.alert(self.gateway_, stranger))
        self.assertEqual(self.gateway_.ended("certificate_rejected"), before + 1)

    async def test_where_a_certificate_is_required_nobody_comes_in_without_one(self):
        strict = self.gateway({"devices": {"tls": {"client_certificate": "required"}}}, start=False)
        strict.add_tokens("token-a")
        strict.start()
        self.assertIn("CERTIFICATE_REQUIRED", self.alert(strict, self.pki.client_context()))
        device = await Device.connect(strict, "cert-a")
        self.assertGreater(device.welcome.epoch, 0)
        await device.close()

    async def test_a_browser_is_not_a_device(self):
        before = self.gateway_.ended("upgrade_origin")
        self.assertEqual(await self.status_of(token="token-of-token-a", origin="https://evil.example"), 403)
        self.assertEqual(self.gateway_.ended("upgrade_origin"), before + 1)

    async def test_plain_text_is_refused_by_the_configuration_but_on_loopback_and_says_so_loudly(self):
        plain = self.gateway({"devices": {"tls": {"enabled": False}}}, start=False)
        plain.add_tokens("token-a")
        plain.write_config({"devices": {"listen": f"0.0.0.0:{plain.port}"}})
        done = subprocess.run([FIELDGATE, "serve", "--config", plain.config], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r":\d+:\d+: .*devices\.tls\.enabled.*loopback")
        plain.write_config({"devices": {"listen": f"127.0.0.1:{plain.port}"}})
        plain.start()
        wait_for(lambda: plain.events("device_port_is_plain_text", level="warn"), "the warning")
        device = await Device.connect(plain, "token-a")
        await device.send(1)
        await device.acked(1)
        await device.close()

    async def test_tls_1_1_is_refused_and_1_2_is_served(self):
        context = self.pki.client_context("cert-a")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        device = await Device.connect(self.gateway_, "cert-a", socket_options={"context": context})
        self.assertEqual(device.ws.transport.get_extra_info("ssl_object").version(), "TLSv1.2")
        await device.close()
        # Python's own OpenSSL must be talked into TLS 1.1 first.
        old = self.pki.client_context()
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertIn("PROTOCOL_VERSION", self.alert(self.gateway_, old))


if __name__ == "__main__":
    unittest.main(verbosity=2)
