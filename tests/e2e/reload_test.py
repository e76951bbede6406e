#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: what a running gateway takes over, what it refuses, and whom it disconnects."""

import asyncio
import shutil
import ssl
import socket
import unittest

from gateway_fixture import PATIENCE, Gateway, GatewayTestCase, Pki, wait_for
from device_client import Device, pb


def served_certificate(gateway: Gateway) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as plain:
        with gateway.pki.client_context().wrap_socket(plain, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True)


def der(path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


class ReloadTest(GatewayTestCase):
    async def still_answers(self, device: Device) -> None:
        await device.ask_time()
        await device.send(1)
        await device.acked()

    async def test_a_renewed_certificate_is_served_while_old_sessions_live_on(self):
        gateway = self.gateway()
        device = await Device.connect(gateway, "pump-1")
        self.assertEqual(served_certificate(gateway), der(self.pki.server))
        certificate, key = self.pki.issue("renewed", "DNS:localhost,IP:127.0.0.1", "serverAuth")
        shutil.copy(certificate, gateway.dir / "server.pem")
        shutil.copy(key, gateway.dir / "server-key.pem")
        gateway.reload()
        self.assertEqual(len(gateway.events("reloaded")), 1)
        self.assertEqual(served_certificate(gateway), der(certificate))
        await self.still_answers(device)
        await device.close()

    async def test_a_bad_pair_is_refused_and_the_old_one_kept(self):
        gateway = self.gateway()
        device = await Device.connect(gateway, "pump-2")
        (gateway.dir / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        gateway.reload()
        self.assertIn("server.pem", gateway.events("reload_partly_refused", what="devices")[0]["error"])
        certificate, _ = self.pki.issue("half-renewed", "DNS:localhost", "serverAuth")
        shutil.copy(certificate, gateway.dir / "server.pem")  # and its key not
        gateway.reload()
        self.assertIn("does not belong to the key", gateway.events("reload_partly_refused", what="devices")[1]["error"])
        self.assertEqual(gateway.events("reloaded"), [])
        self.assertEqual(served_certificate(gateway), der(self.pki.server))
        await self.still_answers(device)
        newcomer = await Device.connect(gateway, "pump-3")
        await newcomer.close()
        await device.close()

    async def test_a_configuration_with_a_problem_changes_nothing(self):
        gateway = self.gateway()
        gateway.config.write_text(gateway.config.read_text().replace('"level": "debug"', '"level": "loud"'))
        gateway.reload()
        refused = gateway.events("reload_refused")
        self.assertEqual(len(refused), 1)
        self.assertRegex(refused[0]["error"], r":\d+:\d+: .*loud")
        device = await Device.connect(gateway, "pump-1")
        await device.close()

    async def test_the_log_level_changes_and_what_needs_a_restart_is_named(self):
        gateway = self.gateway()
        def targets() -> list:
            return [event["target"] for event in gateway.events("http_request")]

        await asyncio.to_thread(gateway.api, "/api/v1/nodes")
        # The log is written on a thread of its own, a little later.
        await asyncio.to_thread(wait_for, lambda: targets() == ["/api/v1/nodes"], "the request in the log")
        gateway.write_config({"log": {"level": "info"}, "node": {"shards": 3}, "uplink": {"spool": {"enabled": True}}})
        gateway.reload()
        self.assertEqual([event["key"] for event in gateway.events("reload_needs_restart")],
                         ["node.shards", "uplink.spool.enabled"])
        await asyncio.to_thread(gateway.api, "/api/v1/nodes")
        # A request's line comes after its answer: that of the next may be late enough to be written, the last one's not.
        await asyncio.to_thread(gateway.api, "/api/v1/devices")
        gateway.write_config({"log": {"level": "debug"}})
        gateway.reload()
        await asyncio.to_thread(gateway.api, "/api/v1/lanes")
        await asyncio.to_thread(wait_for, lambda: "/api/v1/lanes" in targets(), "the last request in the log")
        self.assertEqual(targets().count("/api/v1/nodes"), 1)  # the second was in silence

    async def test_a_token_that_is_gone_ends_its_session_and_no_other(self):
        gateway = self.gateway(start=False)
        gateway.add_tokens("kept", "removed")
        gateway.start()
        kept, removed = await Device.connect(gateway, "kept"), await Device.connect(gateway, "removed")
        del gateway.tokens["removed"]
        gateway.write_tokens()
        gateway.reload()
        self.assertEqual(await removed.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        await self.still_answers(kept)
        gateway.add_tokens("new")
        gateway.reload()
        new = await Device.connect(gateway, "new")
        await new.close()
        await kept.close()

    async def test_a_changed_client_authority_ends_the_sessions_it_no_longer_covers(self):
        other = Pki("Another CA")
        gateway = self.gateway(start=False)
        both = self.pki.ca.read_text() + other.ca.read_text()
        (gateway.dir / "ca.pem").write_text(both)
        gateway.add_tokens("by-token")
        gateway.start()
        ours = await Device.connect(gateway, "ours")
        theirs = await Device.connect(gateway, "theirs", socket_options={
            "context": self.pki.client_context("theirs", signed_by=other)})
        token = await Device.connect(gateway, "by-token")
        gateway.reload()  # nothing has changed, so nobody goes
        for device in (ours, theirs, token):
            await self.still_answers(device)
        shutil.copy(self.pki.ca, gateway.dir / "ca.pem")
        gateway.reload()
        self.assertEqual(await theirs.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        await self.still_answers(ours)
        await self.still_answers(token)
        self.assertEqual(gateway.ended("credential_revoked"), 1)
        await ours.close()
        await token.close()

    async def test_nobody_resumes_around_a_changed_authority(self):
        other = Pki("Another CA")
        gateway = self.gateway(start=False)
        (gateway.dir / "ca.pem").write_text(self.pki.ca.read_text() + other.ca.read_text())
        gateway.start()
        context = self.pki.client_context("theirs", signed_by=other)

        def connect(session) -> tuple[bool, ssl.SSLSession]:
            with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                    tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    tls.recv(1)  # the tickets come with the first answer
                    return tls.session_reused, tls.session

        _, ticket = connect(None)
        reused, ticket = connect(ticket)
        self.assertTrue(reused)
        shutil.copy(self.pki.ca, gateway.dir / "ca.pem")
        gateway.reload()

        def refused() -> str:
            try:
                connect(ticket)
            except ssl.SSLError as error:
                return error.reason
            except ConnectionError:
                return ""  # the connection was gone before the alert could be read
            return "taken"

        self.assertIn("UNKNOWN_CA", wait_for(refused, "the reason of the refusal"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
