#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens and revoked certificates: who is let in by them, who is not, and whose session ends."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import time
import unittest

import websockets

from gateway_fixture import FIELDGATE, PATIENCE, Gateway, GatewayTestCase, folder, wait_for
from device_client import Device, hello, pb


# What a TLS alert looks like from here: in TLS 1.3 it comes after the client has finished, or while it already sends.
SHUT_OUT = (ssl.SSLError, ConnectionError, EOFError, asyncio.IncompleteReadError, websockets.InvalidMessage)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A key pair, made by the openssl command."""

    KINDS = {"RS256": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ES256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
             "EdDSA": ["ED25519"]}

    def __init__(self, algorithm: str):
        self.algorithm = algorithm
        self.dir = folder("jwt")
        self.private, self.public = self.dir / "private.pem", self.dir / "public.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", *self.KINDS[algorithm], "-out", self.private],
                       check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", self.private, "-pubout", "-out", self.public], check=True, capture_output=True)

    def token(self, subject: str, *options: str, kid: str = "", audience: str = "fieldgate") -> str:
        """By the program's own command."""
        made = subprocess.run([FIELDGATE, "token", "jwt", "--key", self.private, "--algorithm", self.algorithm, "--subject",
                               subject, "--audience", audience, "--kid", kid or self.algorithm, *options],
                              check=True, capture_output=True, text=True, timeout=PATIENCE)
        assert "for development" in made.stderr, made.stderr
        return made.stdout.strip()

    def sign(self, header: dict, claims: dict) -> str:
        """By openssl alone: an Ed25519 signature is already as a JWS has it."""
        assert self.algorithm == "EdDSA"
        text = base64url(json.dumps(header).encode()) + "." + base64url(json.dumps(claims).encode())
        (self.dir / "text").write_text(text)
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.private, "-in", self.dir / "text"],
                                   check=True, capture_output=True).stdout
        return text + "." + base64url(signature)


def jwt_settings(*keys: Key, audience: str = "fieldgate", **more) -> dict:
    return {"audience": audience, "keys": [{"id": key.algorithm, "algorithm": key.algorithm, "file": str(key.public)}
                                           for key in keys], **more}


class JwtTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = {algorithm: Key(algorithm) for algorithm in Key.KINDS}
        # Each refusal is looked for in the log: none may be summed up with others.
        cls.gateway_ = cls.shared_gateway({"log": {"per_event_per_second": 100_000},
                                           "tokens": {"jwt": jwt_settings(*cls.keys.values(), clock_skew="0s")},
                                           "api": {"jwt": jwt_settings(*cls.keys.values(), audience="fieldgate-api")}})

    async def connect(self, device_id: str, token: str) -> Device:
        return await Device.connect(self.gateway_, device_id,
                                    socket_options={"token": token, "context": self.pki.client_context()})

    async def refused(self, token: str) -> str:
        """What the log says of it; the device hears 401 and no more."""
        seen = len(self.gateway_.events("device_unauthenticated"))
        with self.assertRaises(websockets.InvalidStatusCode) as answer:
            await Device.socket(self.gateway_, token=token)
        self.assertEqual(answer.exception.status_code, 401)
        events = await asyncio.to_thread(wait_for, lambda: self.gateway_.events("device_unauthenticated")[seen:], "the refusal")
        return json.dumps(events[-1])

    async def test_a_device_is_known_by_a_token_of_each_algorithm(self):
        for algorithm, key in self.keys.items():
            device = await self.connect(f"device-{algorithm}", key.token(f"device-{algorithm}"))
            await device.send(2)
            await device.acked(2)
            await device.close()

    async def test_a_token_of_one_device_cannot_say_hello_as_another(self):
        ws = await Device.socket(self.gateway_, token=self.keys["ES256"].token("pump-1"))
        await ws.send(hello("pump-2"))
        self.assertEqual(await Device(self.gateway_, "pump-2", ws, None).goodbye(), (4002, pb.GOODBYE_REASON_POLICY))

    async def test_tokens_that_are_not_good_are_refused_and_the_log_says_why(self):
        key, now = self.keys["EdDSA"], int(time.time())
        header = {"alg": "EdDSA", "kid": "EdDSA"}
        claims = {"sub": "pump-1", "aud": "fieldgate", "exp": now + 600}
        device = await self.connect("pump-1", key.sign(header, claims))  # what is changed below is what is wrong
        await device.close()
        good = key.sign(header, claims)
        text, signature = good.rsplit(".", 1)
        confused = base64url(json.dumps({"alg": "HS256", "kid": "EdDSA"}).encode()) + "." + text.split(".")[1]
        mac = hmac.new(key.public.read_bytes(), confused.encode(), hashlib.sha256).digest()
        for what, token, why in (
                ("none", base64url(b'{"alg":"none","kid":"EdDSA"}') + "." + text.split(".")[1] + ".", "'none'"),
                ("HS256 with the public key", confused + "." + base64url(mac), "'HS256'"),
                ("expired", key.sign(header, {**claims, "exp": now - 5}), "it expired"),
                ("never expires", key.sign(header, {k: v for k, v in claims.items() if k != "exp"}), "exp is missing"),
                ("not yet", key.sign(header, {**claims, "nbf": now + 300}), "nbf"),
                ("for longer than allowed", key.sign(header, {**claims, "exp": now + 10**7}), "lifetime_max"),
                ("for somebody else", key.sign(header, {**claims, "aud": "another"}), "aud does not name"),
                ("of a kid that is not there", key.sign({**header, "kid": "../private"}, claims), "no key has the id"),
                ("of another key", Key("EdDSA").sign(header, claims), "the signature is not"),
                ("of another key's algorithm", key.sign({**header, "kid": "RS256"}, claims), "is for RS256 alone"),
                ("without kid where there are several", key.sign({"alg": "EdDSA"}, claims), "no kid"),
                ("with extensions", key.sign({**header, "crit": ["b64"]}, claims), "crit"),
                ("truncated", good[:-4], "the signature is not"),
                ("without its signature", text + ".", "the signature is not"),
                ("padded", good + "==", "the signature is not base64url"),
                ("base64, but not base64url", "+/" + good[2:], "the header is not base64url"),
                ("two tokens", good + "." + signature, "token: not known"),
                ("no device id", key.sign(header, {**claims, "sub": "../pump-1"}), "jwt: sub"),
                ("without subject", key.sign(header, {**claims, "sub": ""}), "sub is not"),
        ):
            with self.subTest(what):
                self.assertRegex(await self.refused(token), why)

    async def test_an_oversized_token_is_refused_before_it_is_read(self):
        token = self.keys["EdDSA"].token("pump-1", "--scope", "x" * 6000)
        with self.assertRaises(websockets.InvalidStatusCode) as answer:
            await Device.socket(self.gateway_, token=token)
        self.assertIn(answer.exception.status_code, (400, 401, 431))

    async def test_a_session_ends_when_its_token_does(self):
        lasting = await self.connect("lasting", self.keys["EdDSA"].token("lasting"))
        for lifetime in ("3s", "15s", "35s"):  # on a busy machine it may be over before it was shown
            with contextlib.suppress(websockets.InvalidStatusCode):
                device = await self.connect("short", self.keys["EdDSA"].token("short", "--expires-in", lifetime))
                break
        self.assertEqual(await device.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        await lasting.ask_time()
        await lasting.close()

    def api_status(self, token: str, path: str, method: str = "GET") -> int:
        return self.gateway_.ask(method, path, {"Authorization": f"Bearer {token}"}).status

    def test_the_api_takes_what_the_scope_of_a_token_names(self):
        def token(scope: str, audience: str = "fieldgate-api") -> str:
            return self.keys["RS256"].token("ci", "--scope", scope, audience=audience)

        self.assertEqual(self.api_status(token("openid read"), "/api/v1/nodes"), 200)
        self.assertEqual(self.api_status(token("read"), "/api/v1/lanes/main/resume", "POST"), 403)
        self.assertEqual(self.api_status(token("command"), "/api/v1/lanes/main/resume", "POST"), 403)
        self.assertIn(self.api_status(token("fieldgate:admin"), "/api/v1/lanes/main/resume", "POST"), (200, 204))
        self.assertEqual(self.api_status(token("openid"), "/api/v1/nodes"), 401)
        self.assertEqual(self.api_status(token("admin", audience="fieldgate"), "/api/v1/nodes"), 401)
        write = wait_for(lambda: self.gateway_.events("api_write", by="jwt:ci", outcome="done"), "the line of the write")
        self.assertEqual(write[-1]["path"], "/api/v1/lanes/main/resume")


class JwtRotationTest(GatewayTestCase):
    async def test_a_key_that_is_taken_away_ends_the_sessions_it_vouched_for_and_no_others(self):
        old, new = Key("ES256"), Key("EdDSA")
        jwks = folder("jwks") / "jwks.json"

        def publish(*keys: Key) -> None:
            jwks.write_text(json.dumps({"keys": [jwk(key) for key in keys]}))

        publish(old, new)
        gateway = self.gateway({"tokens": {"jwt": {"audience": "fieldgate", "jwks_file": str(jwks)}}})
        plain = {"context": self.pki.client_context()}
        by_old = await Device.connect(gateway, "by-old", socket_options={"token": old.token("by-old"), **plain})
        by_new = await Device.connect(gateway, "by-new", socket_options={"token": new.token("by-new"), **plain})
        by_certificate = await Device.connect(gateway, "by-certificate")
        gateway.reload()  # nothing has changed
        await by_old.ask_time()
        publish(new)
        gateway.reload()
        self.assertEqual(await by_old.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        for device in (by_new, by_certificate):
            await device.ask_time()
            await device.close()

    async def test_a_bad_key_set_is_refused_at_a_reload_and_the_old_one_kept(self):
        key = Key("EdDSA")
        jwks = folder("jwks") / "jwks.json"
        jwks.write_text(json.dumps({"keys": [jwk(key)]}))
        gateway = self.gateway({"tokens": {"jwt": {"audience": "fieldgate", "jwks_file": str(jwks)}}})
        jwks.write_text(json.dumps({"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}))
        gateway.reload()
        error = gateway.wait_event("reload_partly_refused", what="tokens")["error"]
        self.assertIn(f"{jwks}: key 1 (kid 's'): is a symmetric key", error)
        device = await Device.connect(gateway, "pump-1", socket_options={"token": key.token("pump-1"),
                                                                         "context": self.pki.client_context()})
        await device.close()


def jwk(key: Key) -> dict:
    """From the end of the public key's DER: the point's coordinates, or the 32 bytes of an Ed25519 key."""
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", key.public, "-outform", "DER"], check=True,
                         capture_output=True).stdout
    if key.algorithm == "ES256":
        return {"kty": "EC", "crv": "P-256", "kid": "ES256", "x": base64url(der[-64:-32]), "y": base64url(der[-32:])}
    return {"kty": "OKP", "crv": "Ed25519", "kid": "EdDSA", "x": base64url(der[-32:])}


class RevocationTest(GatewayTestCase):
    def revoke(self, gateway: Gateway, *names: str) -> None:
        (gateway.dir / "revoked.pem").write_text(self.pki.revocation_list(*names))

    def revoking_gateway(self) -> Gateway:
        gateway = self.gateway(start=False)
        self.revoke(gateway)
        gateway.write_config({"devices": {"tls": {"crl_file": str(gateway.dir / "revoked.pem")}}})
        gateway.add_tokens("by-token")
        gateway.start()
        return gateway

    async def test_a_revoked_certificate_ends_its_live_session_and_no_other(self):
        gateway = self.revoking_gateway()
        revoked, kept = await Device.connect(gateway, "revoked"), await Device.connect(gateway, "kept")
        token = await Device.connect(gateway, "by-token")
        self.revoke(gateway, "revoked")
        gateway.reload()
        self.assertEqual(await revoked.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        for device in (kept, token):
            await device.ask_time()
            await device.close()
        with self.assertRaises(SHUT_OUT):
            await Device.connect(gateway, "revoked")
        self.assertEqual(gateway.ended("credential_revoked"), 1)
        await asyncio.to_thread(wait_for, lambda: gateway.ended("certificate_rejected") == 1, "the refusal to be counted")

    async def test_nobody_resumes_around_a_revocation(self):
        gateway = self.revoking_gateway()
        context = self.pki.client_context("resumes")

        def connect(session) -> tuple[bool, ssl.SSLSession]:
            with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                    tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    tls.recv(1)  # the tickets come with the first answer
                    return tls.session_reused, tls.session

        _, ticket = connect(None)
        reused, ticket = connect(ticket)
        self.assertTrue(reused)
        self.revoke(gateway, "resumes")
        gateway.reload()

        def refused() -> str:
            try:
                connect(ticket)
            except ssl.SSLError as error:
                return error.reason
            except ConnectionError:
                return ""  # the connection was gone before the alert could be read
            return "taken"

        self.assertIn("REVOKED", wait_for(refused, "the reason of the refusal"))

    async def test_a_list_that_runs_out_is_told_of_and_goes_on_being_used(self):
        gateway = self.gateway(start=False)
        self.pki.device("shut-out")
        seconds = 5
        while gateway.process is None or not gateway.process.alive():  # on a busy machine it may be over before it is read
            (gateway.dir / "revoked.pem").write_text(self.pki.revocation_list("shut-out", seconds=seconds))
            gateway.write_config({"devices": {"tls": {"crl_file": str(gateway.dir / "revoked.pem")}}})
            gateway.start(ready=False)
            await asyncio.to_thread(wait_for, lambda: gateway.events("ready") or not gateway.process.alive(), "its start or end")
            seconds *= 3
        due = gateway.metrics()['fieldgate_certificate_expiry_timestamp_seconds{use="device_revocation_list"}']
        self.assertLess(abs(due - time.time()), seconds + PATIENCE)
        told = await asyncio.to_thread(gateway.wait_event, "revocation_list_out_of_date")
        self.assertEqual(told["file"], str(gateway.dir / "revoked.pem"))
        self.assertGreaterEqual(time.time(), due)
        device = await Device.connect(gateway, "pump-1")
        await device.close()
        with self.assertRaises(SHUT_OUT):
            await Device.connect(gateway, "shut-out")
        self.assertEqual(len(gateway.events("revocation_list_out_of_date")), 1)

    async def test_a_bad_list_is_refused_and_the_old_one_kept(self):
        gateway = self.revoking_gateway()
        self.pki.device("revoked-before")
        self.revoke(gateway, "revoked-before")
        gateway.reload()
        (gateway.dir / "revoked.pem").write_text("nonsense\n")
        gateway.reload()
        self.assertIn("revoked.pem: holds no list", gateway.wait_event("reload_partly_refused", what="devices")["error"])
        device = await Device.connect(gateway, "pump-1")
        await device.close()
        with self.assertRaises(SHUT_OUT):
            await Device.connect(gateway, "revoked-before")


class TokenCommandTest(GatewayTestCase):
    def fieldgate(self, *arguments) -> dict:
        done = subprocess.run([FIELDGATE, "token", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE,
                              check=True)
        return dict(line.split(": ", 1) for line in done.stdout.splitlines())

    async def test_tokens_that_the_command_line_makes_let_in_after_a_reload(self):
        gateway = self.gateway()
        device_file, api_file = gateway.dir / "device-tokens", gateway.dir / "api-tokens"
        mode = device_file.stat().st_mode
        gateway.tokens["pump-9"] = self.fieldgate("device", "pump-9", "--append", device_file)["token"]
        api_token = self.fieldgate("new", "grafana", "--append", api_file)["token"]
        self.assertEqual(device_file.stat().st_mode, mode)
        gateway.reload()
        device = await Device.connect(gateway, "pump-9")
        await device.close()
        self.assertEqual(gateway.call("GET", "/nodes", token=api_token).status, 200)
        self.assertNotIn(api_token, gateway.process.log())
        self.assertNotIn(gateway.tokens["pump-9"], gateway.process.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
