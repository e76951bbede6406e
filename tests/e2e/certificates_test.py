#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates, authorities and revocation lists that are replaced while hundreds of devices send: who is served what, who
is ended and who is not, what cannot be used and changes nothing; and no record is lost over any of it."""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import unittest

import websockets

from gateway_fixture import BIN, PATIENCE, Gateway, GatewayTestCase, Pki, Process, folder, wait_for
from device_client import Device, pb

FLEET, REVOKED = 100, 20
REFUSALS = (ssl.SSLError, ConnectionError, websockets.WebSocketException, EOFError, asyncio.IncompleteReadError)
# Root reads whatever it likes, unless it gives that up.
MORTAL = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


class Secret:
    """Files as the kubelet mounts them: in a folder of their version, by way of the link `..data`, which one rename exchanges."""

    def __init__(self, files: dict[str, str]):
        self.dir, self.version = folder("secret"), 0
        self.swap(files)
        for name in files:
            (self.dir / name).symlink_to(f"..data/{name}")

    def swap(self, files: dict[str, str | None]) -> None:
        """None: there, but nobody may read it."""
        before, self.version = self.version, self.version + 1
        fresh = self.dir / f"..{self.version}"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text or "")
            (fresh / name).chmod(0o600 if text is not None else 0)
        (self.dir / "..data_tmp").symlink_to(fresh.name)
        os.rename(self.dir / "..data_tmp", self.dir / "..data")
        if before:
            shutil.rmtree(self.dir / f"..{before}")


class Fleet(Process):
    """`fieldgate-sim run`: devices that send a frame a second, with a ledger of what was acknowledged."""

    def __init__(self, where, gateway: Gateway, name: str, *options):
        self.ledger, self.json = where / f"{name}.ledger", where / f"{name}.json"
        super().__init__(name, [BIN / "fieldgate-sim", "run", "--gateway", f"localhost:{gateway.port}", "--id-prefix", f"{name}-",
                                "--devices", FLEET, "--rate", 1, "--backoff-max", 4, "--ledger", self.ledger, "--json", self.json,
                                *options], where / f"{name}.log")

    def finish(self) -> dict:
        self.signal(signal.SIGTERM)
        self.wait(3 * PATIENCE)
        return json.loads(self.json.read_text())


class RotationTest(GatewayTestCase):
    """One story: the sessions that it begins with are there to its end, but for those that are to go."""

    def setUp(self):
        self.new, self.impostor = Pki("The next CA"), Pki()  # of the first one's name, and another key
        self.where = folder("rotation")
        self.trust = self.where / "both.pem"
        self.trust.write_text(self.pki.ca.read_text() + self.new.ca.read_text())
        self.good = {"tls.crt": self.pki.server.read_text(), "tls.key": self.pki.server_key.read_text(),
                     "ca.crt": self.pki.ca.read_text(), "ca.crl": self.pki.revocation_list()}
        self.secret = Secret(self.good)
        self.admitted = self.here = 0  # how many were ever let in; how many of them are to be here

    def start_gateway(self) -> Gateway:
        gateway = self.gateway({"node": {"reload_on_change": True}, "log": {"level": "info"}}, start=False, prefix=MORTAL)
        mount = self.secret.dir
        gateway.write_config({"devices": {"tls": {
            "certificate_file": str(mount / "tls.crt"), "key_file": str(mount / "tls.key"),
            "client_ca_file": str(mount / "ca.crt"), "crl_file": str(mount / "ca.crl")}}})
        gateway.add_tokens("newcomer")
        tokens = self.where / "tokens"
        subprocess.run([BIN / "fieldgate-sim", "tokens", "--devices", str(FLEET), "--id-prefix", "token-", "--secret-seed", "s",
                        "--out", tokens], check=True)
        with open(gateway.dir / "device-tokens", "a", encoding="ascii") as file:
            file.write(tokens.read_text())
        gateway.start()
        return gateway

    # --- what is looked at

    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    def context(self, device_id: str | None = None, authority: Pki | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.trust)
        if device_id:
            context.load_cert_chain(*authority.device(device_id))
        return context

    def visit(self, context: ssl.SSLContext, ticket: ssl.SSLSession | None = None) -> tuple[bytes, bool, ssl.SSLSession]:
        """What a new handshake meets: the certificate, whether the ticket was good, and the next ticket."""
        with socket.create_connection(("127.0.0.1", self.gw.port), PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=ticket) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                tls.recv(1)  # the tickets come with the first answer
                return tls.getpeercert(binary_form=True), tls.session_reused, tls.session

    def reloads(self, outcome: str) -> int:
        return int(self.gw.metrics()[f'fieldgate_config_reloads_total{{outcome="{outcome}"}}'])

    async def fleet(self, name: str, *options) -> Fleet:
        fleet = Fleet(self.where, self.gw, name, "--ca", self.trust, *options)
        self.addCleanup(fleet.kill)
        self.admitted, self.here = self.admitted + FLEET, self.here + FLEET
        await self.until(lambda: self.gw.metrics()["fieldgate_sessions"] >= self.here, f"the fleet {name} to be there")
        return fleet

    async def connect(self, device_id: str, authority: Pki | None = None) -> Device:
        context = self.context(device_id, authority) if authority else self.context()
        device = await Device.connect(self.gw, device_id, socket_options={"context": context})
        self.admitted, self.here = self.admitted + 1, self.here + 1
        return device

    async def nobody_has_gone(self) -> None:
        """Who was let in once is here, and on the same connection. Newcomers are served what is in force, and let in."""
        newcomer = await self.connect("newcomer")
        await newcomer.close()
        self.here -= 1
        await self.until(lambda: self.gw.metrics()["fieldgate_sessions"] == self.here, f"{self.here} devices to be here")
        self.assertEqual(self.gw.metrics()['fieldgate_connection_attempts_total{outcome="accepted"}'], self.admitted)
        served, _, _ = await asyncio.to_thread(self.visit, self.context())
        self.assertEqual(served, ssl.PEM_cert_to_DER_cert(self.good["tls.crt"]))
        for device in self.devices:
            await device.ask_time()

    # --- what an operator does

    async def replace(self, number: signal.Signals | None = None, /, **files: str) -> None:
        """In one exchange, by their names with _ for the dot; and asks for it by a signal."""
        self.good.update({name.replace("_", "."): text for name, text in files.items()})
        before = self.reloads("done")
        self.secret.swap(self.good)
        if number is not None:
            self.gw.process.signal(number)
        await self.until(lambda: self.reloads("done") > before, "the reload")
        self.assertEqual(self.gw.metrics()["fieldgate_config_last_reload_successful"], 1)

    async def replace_in_vain(self, what: str, complaint: str, **files: str | None) -> None:
        refusals, done = self.reloads("partly_refused"), self.reloads("done")
        since = self.gw.metrics()["fieldgate_config_last_reload_success_timestamp_seconds"]
        self.secret.swap({**self.good, **{name.replace("_", "."): text for name, text in files.items()}})
        await self.until(lambda: self.reloads("partly_refused") > refusals, f"{what} to be refused")
        said = await self.until(lambda: self.gw.events("reload_partly_refused", what="devices")[refusals:], "the log to say so")
        self.assertRegex(said[-1]["error"], complaint)
        self.assertIn(str(self.secret.dir), said[-1]["error"])  # which file it is
        self.assertEqual(self.reloads("done"), done)
        metrics = self.gw.metrics()
        self.assertEqual(metrics["fieldgate_config_last_reload_successful"], 0)
        self.assertEqual(metrics["fieldgate_config_last_reload_success_timestamp_seconds"], since)
        await self.nobody_has_gone()

    async def what_cannot_be_used_changes_nothing(self) -> None:
        def server(name: str, days: int = 20) -> tuple[str, str]:
            return tuple(file.read_text() for file in self.pki.issue(name, "DNS:localhost", "serverAuth", days))

        def damaged(text: str) -> str:
            lines = text.splitlines(keepends=True)
            return "".join(lines[:2] + lines[3:])

        other_certificate, other_key = server("other")
        expired_certificate, expired_key = server("expired", -1)
        for what, complaint, files in (
                ("the key of another certificate", "does not belong to the key", {"tls_key": other_key}),
                ("a certificate whose key is not there yet", "does not belong to the key", {"tls_crt": other_certificate}),
                ("an expired certificate", "expired at 20.*; install a renewed one",
                 {"tls_crt": expired_certificate, "tls_key": expired_key}),
                ("a damaged certificate", "certificate 1 cannot be read", {"tls_crt": damaged(self.good["tls.crt"])}),
                ("a damaged key", "holds no PEM private key", {"tls_key": damaged(self.good["tls.key"])}),
                ("an empty certificate", "holds no certificate", {"tls_crt": ""}),
                ("an empty key", "holds no PEM private key", {"tls_key": ""}),
                ("a key that may not be read", "cannot be read: Permission denied; check the path and its perm", {"tls_key": None}),
                ("a device among the authorities", "certificate 2 is not a CA certificate",
                 {"ca_crt": self.good["ca.crt"] + self.pki.device("straggler")[0].read_text()}),
                ("no authority at all", "holds no certificate", {"ca_crt": ""}),
                ("an impostor's revocation list", "is not signed by the authority of client_ca_file that it names",
                 {"ca_crl": self.impostor.revocation_list()}),
                ("a damaged revocation list", "list 1 cannot be read", {"ca_crl": damaged(self.good["ca.crl"])}),
        ):
            with self.subTest(what):
                await self.replace_in_vain(what, complaint, **files)
        await self.replace()

    async def the_leaf_is_renewed(self) -> None:
        client = self.context("straggler", self.pki)
        _, _, ticket = await asyncio.to_thread(self.visit, client)
        expiry = 'fieldgate_certificate_expiry_timestamp_seconds{use="device_listener"}'
        before = self.gw.metrics()[expiry]
        certificate, key = self.pki.issue("renewed", "DNS:localhost,IP:127.0.0.1", "serverAuth", 25)
        await self.replace(tls_crt=certificate.read_text(), tls_key=key.read_text())
        self.assertGreater(self.gw.metrics()[expiry], before + 4 * 86400)
        await self.nobody_has_gone()
        # Who comes back need not begin anew for that.
        _, resumed, ticket = await asyncio.to_thread(self.visit, client, ticket)
        self.assertTrue(resumed)
        self.client, self.ticket = client, ticket

    async def a_second_authority_is_trusted_beside_the_first(self) -> None:
        await self.replace(signal.SIGHUP, ca_crt=self.trust.read_text(),
                           ca_crl=self.pki.revocation_list() + self.new.revocation_list())
        await self.nobody_has_gone()
        _, resumed, _ = await asyncio.to_thread(self.visit, self.client, self.ticket)
        self.assertFalse(resumed)  # the trust has changed: everybody is looked at anew
        await self.replace(tls_crt=self.new.server.read_text(), tls_key=self.new.server_key.read_text())
        await self.nobody_has_gone()

    async def the_first_authority_is_taken_away(self, old: Fleet, straggler: Device) -> dict:
        """The summary of the fleet that had its certificates from there."""
        self.devices.remove(straggler)
        await self.replace(ca_crt=self.new.ca.read_text(), ca_crl=self.new.revocation_list())
        self.assertEqual(await straggler.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        self.here -= FLEET + 1
        await self.until(lambda: self.gw.ended("credential_revoked") == FLEET + 1, "those of the first authority to end")
        await self.until(lambda: self.gw.ended("certificate_rejected") >= FLEET, "them to have come back in vain")
        await self.nobody_has_gone()
        with self.assertRaises(REFUSALS):
            await self.connect("straggler", self.pki)
        return await asyncio.to_thread(old.finish)

    async def some_certificates_are_revoked(self, live: Device) -> None:
        names = [f"next-{number:06}" for number in range(1, REVOKED + 1)]
        options = [option for name in names for option in ("--device", name)]
        subprocess.run([BIN / "fieldgate-sim", "pki", "--dir", self.where / "pki", *options], check=True, stdout=subprocess.DEVNULL)
        for name in names:  # the serial number is made from the id, whoever signs
            shutil.copy(self.where / "pki/devices" / f"{name}.pem", self.new.dir)
        self.new.device("away")
        self.devices.remove(live)
        before = self.gw.ended("credential_revoked")
        await self.replace(ca_crl=self.new.revocation_list("live", "away", *names))
        self.assertEqual(await live.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        self.here -= REVOKED + 1
        await self.until(lambda: self.gw.ended("credential_revoked") == before + REVOKED + 1, "the revoked to end")
        await self.nobody_has_gone()
        for name in ("live", "away"):
            with self.assertRaises(REFUSALS):
                await self.connect(name, self.new)

    async def test_devices_go_on_through_every_change_but_those_that_it_shuts_out_and_no_record_is_lost(self):
        self.gw = await asyncio.to_thread(self.start_gateway)
        names = ("token", "old", "next")
        ledgers = [option for name in names for option in ("--ledger", self.where / f"{name}.ledger")]
        verifier = Process("verify", [BIN / "fieldgate-sim", "verify", "--broker", f"mqtt://127.0.0.1:{self.broker.port}", *ledgers,
                                      "--ready-file", self.where / "ready", "--json", self.where / "verdict"], self.where / "verify.log")
        self.addCleanup(verifier.kill)
        await self.until((self.where / "ready").exists, "the verifier to listen")

        by_token = await self.fleet("token", "--secret-seed", "s", "--signal-grace", 3 * PATIENCE)
        old = await self.fleet("old", "--ca-cert", self.pki.ca, "--ca-key", self.pki.ca_key, "--signal-grace", 1)
        straggler = await self.connect("straggler", self.pki)
        self.devices = [straggler]
        await self.nobody_has_gone()
        await self.the_leaf_is_renewed()
        await self.what_cannot_be_used_changes_nothing()
        await self.a_second_authority_is_trusted_beside_the_first()
        by_next = await self.fleet("next", "--ca-cert", self.new.ca, "--ca-key", self.new.ca_key, "--signal-grace", 3)
        live = await self.connect("live", self.new)
        self.devices += [live, await self.connect("kept", self.new)]
        shut_out = await self.the_first_authority_is_taken_away(old, straggler)
        await self.some_certificates_are_revoked(live)

        told = "GOODBYE_REASON_CREDENTIAL_REVOKED"
        stayed, mixed = await asyncio.to_thread(by_token.finish), await asyncio.to_thread(by_next.finish)
        self.assertEqual((stayed["goodbyes"], stayed["reconnects"], stayed["unacked_at_end"]), ({}, 0, 0))
        self.assertEqual((shut_out["goodbyes"], shut_out["close_codes"], shut_out["reconnects"]), ({told: FLEET}, {"4013": FLEET}, 0))
        self.assertEqual((mixed["goodbyes"], mixed["reconnects"]), ({told: REVOKED}, 0))
        for device in self.devices:
            await device.ask_time()
            await device.close()
        await asyncio.to_thread(verifier.wait, 3 * PATIENCE)
        verdict = json.loads((self.where / "verdict").read_text())["verify"]
        self.assertEqual((verdict["lost"], verdict["never_sent"], verdict["mismatched"]), (0, 0, 0), verdict)
        self.assertGreaterEqual(verdict["mqtt_records"], sum(one["frames_acked"] for one in (stayed, shut_out, mixed)))
        print(f"rotation: reloads={self.reloads('done')} refused={self.reloads('partly_refused')} devices={self.admitted} "
              f"shut_out={self.gw.ended('credential_revoked')} records={verdict['mqtt_records']} lost={verdict['lost']}")
        self.assertEqual(await asyncio.to_thread(self.gw.stop), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
