#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fieldgate-sim against a gateway, a broker and TLS that nobody wrote with it.

Needs FIELDGATE_BIN (where fieldgate-sim is) and FIELDGATE_SOURCE. Every test
runs the real binary against fake_gateway.py and a mosquitto of its own.
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SIM = os.path.join(os.environ["FIELDGATE_BIN"], "fieldgate-sim")
SOURCE = os.environ["FIELDGATE_SOURCE"]
HERE = os.path.join(SOURCE, "tests/sim/e2e")


claims = []


def free_port():
    """Below the ports that the kernel gives to outgoing connections; ours until this process ends, also before other tests."""
    while True:
        port, claim = random.randrange(10_000, 30_000), socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), socket.socket() as probe:
            claim.bind(f"\0fieldgate-port-{port}")
            probe.bind(("127.0.0.1", port))
            claims.append(claim)
            return port
        claim.close()


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.02)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class SimulatorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="fieldgate-sim-")
        os.mkdir(cls.dir + "/pb")
        subprocess.run(["protoc", "-I", SOURCE + "/proto", "--python_out", cls.dir + "/pb",
                        "fieldgate/v1/device.proto", "fieldgate/v1/northbound.proto"], check=True, cwd=SOURCE + "/proto")
        subprocess.run([SIM, "pki", "--dir", cls.dir + "/pki"], check=True)
        subprocess.run([SIM, "tokens", "--devices", "20", "--secret-seed", "s3", "--out", cls.dir + "/tokens"], check=True)
        cls.mqtt = free_port()
        with open(cls.dir + "/mosquitto.conf", "w") as conf:
            conf.write(f"listener {cls.mqtt} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser root\n")
        cls.broker = subprocess.Popen(["mosquitto", "-c", cls.dir + "/mosquitto.conf"], stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(cls.mqtt))

    @classmethod
    def tearDownClass(cls):
        cls.broker.terminate()
        cls.broker.wait()
        shutil.rmtree(cls.dir)

    def gateway(self, *options, credentials="cert"):
        pki = self.dir + "/pki"
        command = ["/usr/bin/python3", HERE + "/fake_gateway.py", "--pb", self.dir + "/pb", "--mqtt", str(self.mqtt)]
        if credentials != "plain":
            command += ["--cert", pki + "/server.pem", "--key", pki + "/server-key.pem"]
        if credentials == "cert":
            command += ["--client-ca", pki + "/ca.pem"]
        if credentials == "token":
            command += ["--tokens", self.dir + "/tokens"]
        # What websockets has to say about connections cut off on purpose is nobody's concern.
        process = subprocess.Popen(command + list(options), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        process.gateway_port = int(process.stdout.readline().split()[1])
        return process

    def stop(self, gateway):
        gateway.send_signal(signal.SIGTERM)
        return json.loads(gateway.stdout.readline())

    def command(self, gateway, *options, credentials="cert", verify=True):
        command = [SIM, "run", "--gateway", f"127.0.0.1:{gateway.gateway_port}", "--devices", "20", "--seconds", "3",
                   "--rate", "10", "--settle", "2", "--json", self.dir + "/summary.json"]
        if credentials == "plain":
            command += ["--plain"]
        else:
            command += ["--pki", self.dir + "/pki"]
        if credentials == "token":
            command += ["--secret-seed", "s3"]
        if verify:
            command += ["--verify", f"mqtt://127.0.0.1:{self.mqtt}"]
        return command + list(options)

    def run_sim(self, gateway, *options, **how):
        done = subprocess.run(self.command(gateway, *options, **how), capture_output=True, text=True, timeout=60)
        with open(self.dir + "/summary.json") as summary:
            return done, json.load(summary)

    def assert_clean(self, done, summary, seen):
        self.assertEqual(seen["faults"], [])
        self.assertEqual(summary["violations"], {})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(summary["verify"]["lost"], 0)
        self.assertEqual(summary["verify"]["mismatched"], 0)

    def test_steady_fleet_with_certificates_delivers_everything_in_order(self):
        gateway = self.gateway()
        done, summary = self.run_sim(gateway, "--events-every", "7", "--states-every", "11", "--opaques-every", "13",
                                     "--time-every", "1", "--require-order")
        seen = self.stop(gateway)
        self.assert_clean(done, summary, seen)
        self.assertEqual(seen["devices"], 20)
        self.assertEqual(seen["counts"]["byes"], 20)
        self.assertGreater(seen["counts"]["event"], 0)
        self.assertGreater(seen["counts"]["state"], 0)
        self.assertGreater(seen["counts"]["opaque"], 0)
        self.assertGreater(summary["time_rtt_ms"]["count"], 0)
        self.assertGreater(summary["frames_acked"], 20 * 10 * 2)
        self.assertEqual(summary["frames_acked"], summary["frames_sent"])
        self.assertEqual(summary["verify"]["mqtt_records"], seen["frames"])
        self.assertEqual(summary["verify"]["latency_ms"]["count"], seen["frames"])
        self.assertRegex(done.stdout.splitlines()[-1],
                         r"^summary: devices=20 frames_sent=\d+ frames_acked=\d+ mqtt_records=\d+ lost=0 "
                         r"duplicates=0 p50_ms=\d+\.\d\d p99_ms=\d+\.\d\d$")

    def test_tokens_authenticate_and_single_messages_are_verified_by_their_properties(self):
        gateway = self.gateway("--mode", "single", credentials="token")
        done, summary = self.run_sim(gateway, "--events-every", "5", credentials="token")
        self.assert_clean(done, summary, self.stop(gateway))
        self.assertGreater(summary["verify"]["latency_ms"]["count"], 0)

    def test_json_payloads_are_verified_by_their_properties(self):
        gateway = self.gateway("--mode", "json", credentials="plain")
        done, summary = self.run_sim(gateway, credentials="plain")
        self.assert_clean(done, summary, self.stop(gateway))
        self.assertGreater(summary["verify"]["mqtt_records"], 0)

    def test_lost_connections_are_resumed_without_loss(self):
        gateway = self.gateway("--drop-every", "40", "--refuse-every", "9")
        done, summary = self.run_sim(gateway, "--backoff-base", "0.1", "--tls-resume", "--tls12")
        self.assert_clean(done, summary, self.stop(gateway))
        self.assertGreater(summary["reconnects"], 3)
        self.assertGreater(summary["http_statuses"]["503"], 0)
        self.assertGreater(summary["tls_resumed"], 0)

    def test_what_a_restarted_gateway_forgot_is_sent_again(self):
        gateway = self.gateway("--forget-every", "50")
        done, summary = self.run_sim(gateway, "--profile", "burst", "--burst", "15")
        seen = self.stop(gateway)
        self.assert_clean(done, summary, seen)
        # How often depends on how much the machine gets through: each one is noticed.
        self.assertGreater(seen["counts"]["forgotten"], 0)
        self.assertEqual(summary["goodbyes"]["GOODBYE_REASON_DRAIN"], seen["counts"]["forgotten"])
        self.assertGreater(summary["frames_resent"], 0)

    def test_flapping_and_storm_profiles_reconnect_and_lose_nothing(self):
        for options in (["--profile", "flapping", "--flap-every", "0.8"], ["--profile", "storm", "--storm-every", "1.2"]):
            with self.subTest(options[1]):
                gateway = self.gateway()
                done, summary = self.run_sim(gateway, *options, "--connect-rate", "0")
                self.assert_clean(done, summary, self.stop(gateway))
                self.assertGreater(summary["reconnects"], 20)

    def test_slow_reader_and_silent_profiles_stay_connected(self):
        gateway = self.gateway()
        done, summary = self.run_sim(gateway, "--profile", "slow-reader")
        self.assertEqual(done.returncode, 0, done.stdout)
        done, summary = self.run_sim(gateway, "--profile", "silent", "--seconds", "7")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(summary["frames_sent"], 0)
        self.assertGreaterEqual(summary["pings_answered"], 20)
        self.assertEqual(self.stop(gateway)["faults"], [])

    def test_rejected_frames_are_not_reported_as_lost(self):
        gateway = self.gateway("--reject-every", "9")
        done, summary = self.run_sim(gateway)
        seen = self.stop(gateway)
        self.assert_clean(done, summary, seen)
        self.assertEqual(summary["frames_rejected"], seen["counts"]["rejected"])
        self.assertEqual(summary["verify"]["mqtt_records"] + summary["frames_rejected"], summary["frames_acked"])

    def test_a_reused_stream_is_answered_with_a_new_one(self):
        gateway = self.gateway("--reuse-after", "5", "--drop-every", "30")
        done, summary = self.run_sim(gateway, "--backoff-base", "0.1")
        self.assert_clean(done, summary, self.stop(gateway))
        self.assertGreater(summary["streams_restarted"], 0)

    def test_a_lost_record_is_found_and_fails_the_run(self):
        gateway = self.gateway("--lose-every", "50")
        done, summary = self.run_sim(gateway)
        seen = self.stop(gateway)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(summary["verify"]["lost"], seen["counts"]["lost_on_purpose"])
        self.assertIn("FAILED: acknowledged records were lost", done.stdout)

    def test_a_changed_record_is_found_and_fails_the_run(self):
        gateway = self.gateway("--corrupt-every", "50")
        done, summary = self.run_sim(gateway)
        self.stop(gateway)
        self.assertEqual(done.returncode, 1)
        self.assertGreater(summary["verify"]["mismatched"], 0)

    def test_verifier_of_its_own_process_judges_by_the_ledgers_of_two_simulators(self):
        gateway = self.gateway()
        ledgers = [self.dir + "/a.ledger", self.dir + "/b.ledger"]
        ready = self.dir + "/ready"
        verifier = subprocess.Popen([SIM, "verify", "--broker", f"mqtt://127.0.0.1:{self.mqtt}", "--ledger", ledgers[0],
                                     "--ledger", ledgers[1], "--ready-file", ready, "--wait", "30"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        wait_for(lambda: os.path.exists(ready))
        runs = [subprocess.Popen(self.command(gateway, "--ledger", ledger, "--first-index", first, verify=False),
                                 stdout=subprocess.DEVNULL) for ledger, first in zip(ledgers, ("1", "21"))]
        self.assertEqual([run.wait(60) for run in runs], [0, 0])
        output = verifier.communicate(timeout=60)[0]
        self.assertEqual(verifier.returncode, 0, output)
        self.assertRegex(output, r"summary: devices=40 .* lost=0 duplicates=0 ")
        self.assertEqual(self.stop(gateway)["faults"], [])

    def test_sigterm_ends_the_run_in_order_and_writes_the_ledger(self):
        gateway = self.gateway()
        ledger = self.dir + "/sigterm.ledger"
        run = subprocess.Popen(self.command(gateway, "--seconds", "0", "--ledger", ledger, "--progress"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in run.stderr:
            if re.search(r"connected 20/20", line):
                break
        run.send_signal(signal.SIGTERM)
        output = run.communicate(timeout=20)[0]
        self.assertEqual(run.returncode, 0, output)
        self.assertEqual(self.stop(gateway)["counts"]["byes"], 20)
        with open(ledger) as lines:
            self.assertEqual(json.loads(lines.readline())["streams"], 20)

    def test_a_gateway_that_is_not_there_fails_the_run(self):
        done = subprocess.run([SIM, "run", "--gateway", f"127.0.0.1:{free_port()}", "--plain", "--devices", "3",
                               "--seconds", "1", "--grace", "0"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("3 devices never got a Welcome", done.stdout)
        self.assertIn("mqtt_records=n/a", done.stdout)

    def test_mistaken_options_are_refused_with_status_2(self):
        for options in (["run", "--rate", "0"], ["run", "--profile", "wild"], ["run", "--auth", "cert"],
                        ["run", "--labels", "x"], ["run", "--gateway", "host:port"], ["verify"], []):
            with self.subTest(options):
                done = subprocess.run([SIM] + options, capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
