#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Alerts and dashboard: what they ask for exists, each alert has a runbook, and each one fires when it should."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import chart

ALERTS = chart.CHART / "files/alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
OPERATIONS = (chart.ROOT / "docs/operations.md").read_text()
METRICS = (chart.ROOT / "docs/metrics.md").read_text()
PROTOCOL = (chart.ROOT / "docs/protocol.md").read_text()
PROMTOOL = os.environ.get("FIELDGATE_PROMTOOL") or shutil.which("promtool") or shutil.which(str(chart.tools.TOOLS / "promtool"))
FOREIGN = {"up"}  # Prometheus' own

DAY = 86400
# What makes each alert fire: series by name and labels, and how long it takes. `*` stands for job and instance.
FIRES = {
    "FieldgateDown": ("20m", {"up{*}": "1x10 0x20", "fieldgate_build_info{*}": "1x10 _x20"}),
    "FieldgateAbsent": ("10m", {"up{*}": "1x30"}),
    "FieldgateNotReady": ("15m", {"fieldgate_ready{*}": "0x30"}),
    "FieldgateRestarts": ("30m", {"process_start_time_seconds{*}": "1x9 2x9 3x9 4x9", "fieldgate_build_info{*}": "1x40"}),
    "FieldgateShardStuck": ("10m", {'fieldgate_shard_loop_turns_total{shard="1",*}': "0+60x3 180x20"}),
    "FieldgateInternalFault": ("10m", {'fieldgate_sessions_ended_total{reason="internal",*}': "0x3 1x20"}),
    "FieldgateDescriptorsLow": ("10m", {"process_open_fds{*}": "950x20", "process_max_fds{*}": "1000x20", "fieldgate_build_info{*}": "1x20"}),
    "FieldgateMemoryLow": ("10m", {"fieldgate_memory_watched_bytes{*}": "870x20", "fieldgate_memory_limit_bytes{*}": "1000x20"}),
    "FieldgateReloadRefused": ("15m", {"fieldgate_config_last_reload_successful{*}": "1x2 0x20"}),
    "FieldgatePeersSilent": ("40m", {"fieldgate_peer_questions_total{*}": "0+6x60", "fieldgate_peer_questions_failed_total{*}": "0+5x60"}),
    "FieldgateFleetViewOld": ("10m", {"fieldgate_fleet_view_age_seconds{*}": "0.5x2 61+60x30"}),
    "FieldgateDevicesLost": ("40m", {"fieldgate_sessions{*}": "1000x29 500x30"}),
    "FieldgateDevicesRefused": ("40m", {'fieldgate_connection_attempts_total{outcome="refused",*}': "0+60x60",
                                        'fieldgate_connection_attempts_total{outcome="accepted",*}': "0+6x60"}),
    "FieldgateFull": ("10m", {'fieldgate_sessions_ended_total{reason="sessions_max",*}': "0+5x30"}),
    "FieldgateAdmissionPaused": ("20m", {'fieldgate_admission_paused{reason="memory",*}': "0x3 1x30"}),
    "FieldgateReconnectStorm": ("30m", {'fieldgate_sessions_ended_total{reason="handshake_budget",*}': "0+600x60"}),
    "FieldgateCertificateExpires": ("2h", {'fieldgate_certificate_expiry_timestamp_seconds{use="device_listener",*}': f"{10 * DAY}x200"}),
    "FieldgateCertificateExpiresSoon": ("10m", {'fieldgate_certificate_expiry_timestamp_seconds{use="device_listener",*}': f"{DAY}x200"}),
    "FieldgateRevocationListDue": ("10m", {'fieldgate_certificate_expiry_timestamp_seconds{use="device_revocation_list",*}': "3600x200"}),
    "FieldgateLaneDown": ("10m", {'fieldgate_lane_state{lane="main",state="running",*}': "0x30", 'fieldgate_lane_held{lane="main",*}': "0x30"}),
    "FieldgateLaneHeld": ("70m", {'fieldgate_lane_held{lane="main",*}': "1x90"}),
    "FieldgateBacklog": ("15m", {'fieldgate_uplink_level{level="normal",*}': "0x30"}),
    "FieldgateCreditWithheld": ("5m", {'fieldgate_uplink_level{level="withheld",*}': "1x30"}),
    "FieldgateSpoolFull": ("5m", {'fieldgate_spool_state{state="full",*}': "1x30"}),
    "FieldgateSpoolFailed": ("2m", {'fieldgate_spool_state{state="failed",*}': "1x30"}),
    "FieldgateStoreDown": ("5m", {'fieldgate_readiness_reason{reason="store_down",*}': "1x30"}),
    "FieldgateRecordsLost": ("10m", {'fieldgate_lane_records_total{lane="main",outcome="expired",*}': "0x3 9x30"}),
    "FieldgateDeadLetters": ("20m", {'fieldgate_dead_letters{lane="main",*}': "3x30"}),
    "FieldgateDeadLettersEvicted": ("10m", {'fieldgate_dead_letters_evicted_total{lane="main",*}': "0x3 9x30"}),
}
OLD, NEW = ('job="fieldgate",namespace="iot",instance="old"', 'job="fieldgate",namespace="iot",instance="new"')
# What else makes them fire.
FIRES_ALSO = [
    # A new gateway that never comes up, beside an old one: a rollout that does not get on.
    ("FieldgateDown", ("10m", {f"up{{{OLD}}}": "1x30", f"fieldgate_build_info{{{OLD}}}": "1x30", f"up{{{NEW}}}": "0x30"})),
]
# What must not: it has an alert of its own already, is none of ours, or is as it should be.
SILENT = [
    ("FieldgateFleetViewOld", ("20m", {"fieldgate_fleet_view_age_seconds{*}": "61+60x30", 'fieldgate_readiness_reason{reason="store_down",*}': "1x30"})),
    ("FieldgateDown", ("10m", {"up{*}": "1x30", "fieldgate_build_info{*}": "1x30", 'up{job="broker",namespace="iot",instance="b"}': "0x30"})),
    ("FieldgateShardStuck", ("20m", {'fieldgate_shard_loop_turns_total{shard="0",*}': "60x30", 'fieldgate_readiness_reason{reason="drained",*}': "1x30"})),
    ("FieldgateMemoryLow", ("20m", {"fieldgate_memory_watched_bytes{*}": "1e12x30"})),  # there is no limit
]
# A gateway that is well: no alert may fire. A lane that is held does not also count as down.
WELL = {
    "up{*}": "1x200", "fieldgate_build_info{*}": "1x200", "fieldgate_ready{*}": "1x200", "process_start_time_seconds{*}": "1x200",
    'fieldgate_shard_loop_turns_total{shard="0",*}': "0+60x200", "fieldgate_handler_exceptions_total{*}": "0x200",
    'fieldgate_sessions_ended_total{reason="internal",*}': "0x200", 'fieldgate_sessions_ended_total{reason="sessions_max",*}': "0x200",
    'fieldgate_sessions_ended_total{reason="handshake_budget",*}': "0x200", "process_open_fds{*}": "100x200",
    "process_max_fds{*}": "1000x200", "fieldgate_sessions{*}": "1000x100 900x100",
    "fieldgate_memory_watched_bytes{*}": "800x200", "fieldgate_memory_limit_bytes{*}": "1000x200",
    'fieldgate_connection_attempts_total{outcome="refused",*}': "0+1x200",
    'fieldgate_connection_attempts_total{outcome="accepted",*}': "0+60x200",
    'fieldgate_certificate_expiry_timestamp_seconds{use="device_listener",*}': f"{80 * DAY}x200",
    'fieldgate_certificate_expiry_timestamp_seconds{use="device_revocation_list",*}': f"{5 * DAY}x200",
    'fieldgate_lane_state{lane="main",state="running",*}': "1x200", 'fieldgate_lane_held{lane="main",*}': "0x200",
    'fieldgate_lane_state{lane="held",state="running",*}': "0x30 1x169", 'fieldgate_lane_held{lane="held",*}': "1x30 0x170",
    "fieldgate_config_last_reload_successful{*}": "1x80 0x5 1x115",
    'fieldgate_admission_paused{reason="memory",*}': "0x30 1x3 0x167", 'fieldgate_admission_paused{reason="handshake_budget",*}': "1x200",
    "fieldgate_fleet_view_age_seconds{*}": "0.5x40 30+60x3 0.5x160",
    "fieldgate_peer_questions_total{*}": "0+6x200", "fieldgate_peer_questions_failed_total{*}": "0+1x200",
    'fieldgate_uplink_level{level="normal",*}': "1x200", 'fieldgate_uplink_level{level="withheld",*}': "0x200",
    'fieldgate_spool_state{state="full",*}': "0x200", 'fieldgate_spool_state{state="failed",*}': "0x200",
    'fieldgate_lane_records_total{lane="main",outcome="expired",*}': "0x200", 'fieldgate_dead_letters{lane="main",*}': "0x200",
    'fieldgate_dead_letters_evicted_total{lane="main",*}': "0x200",
}


def anchors(markdown: str) -> set[str]:
    """The fragments that headings of a document have, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", markdown, re.M)}


def documented_metrics() -> set[str]:
    return set(re.findall(r"^\| `((?:fieldgate|process)_\w+)` \|", METRICS, re.M))


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names; of a histogram's series, the histogram."""
    names = set(re.findall(r"\b(?:fieldgate|process)_\w+|\bup\b", expression))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_file(name: str, case: tuple, *, fires: bool = True, every: str = "1m") -> dict:
    at, series = case
    lines = [{"series": key.replace("*", 'job="fieldgate",namespace="iot",instance="gw"'), "values": value} for key, value in series.items()]
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})' if name else 'ALERTS{alertstate="firing"}'
    return {"interval": every, "input_series": lines, "promql_expr_test": [
        {"expr": firing, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}] if name and fires else []}]}


def killed_after() -> int:
    """Seconds that a process that stands still has left in Kubernetes: until /livez says so, and the probe has asked often
    enough."""
    standstill = re.search(r"std::chrono::seconds k_standstill\{(\d+)\}", (chart.ROOT / "gateway/node_state.cc").read_text())
    liveness = yaml.safe_load((chart.CHART / "values.yaml").read_text())["probes"]["liveness"]
    return int(standstill[1]) + liveness["periodSeconds"] * liveness["failureThreshold"]


class Alerts(unittest.TestCase):
    def test_names_are_unique_and_begin_alike(self):
        names = [rule["alert"] for rule in RULES]
        self.assertEqual(len(names), len(set(names)))
        for name in names:
            self.assertRegex(name, r"^Fieldgate[A-Z]\w+$")

    def test_every_alert_has_a_severity_a_summary_and_a_runbook_that_is_there(self):
        there = anchors(OPERATIONS)
        for rule in RULES:
            with self.subTest(alert=rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
                self.assertTrue(rule["annotations"]["summary"].endswith("."))
                self.assertEqual(rule["annotations"]["runbook_url"], f"docs/operations.md#{rule['alert'].lower()}")
                self.assertIn(rule["alert"].lower(), there)

    def test_every_runbook_is_of_an_alert(self):
        runbooks = set(re.findall(r"^#+ (Fieldgate[A-Z]\w+)$", OPERATIONS, re.M))
        self.assertEqual(runbooks, {rule["alert"] for rule in RULES})

    def test_metrics_and_label_values_of_alerts_are_documented(self):
        for rule in RULES:
            with self.subTest(alert=rule["alert"]):
                self.assertTrue(metrics_in(rule["expr"]))
                self.assertLessEqual(metrics_in(rule["expr"]), documented_metrics() | FOREIGN)
                for label, values in re.findall(r'(\w+)=~?"([\w|]+)"', rule["expr"]):
                    for value in values.split("|"):
                        self.assertIn(f"`{value}`", PROTOCOL + METRICS + OPERATIONS, f"{label}={value}")

    def test_every_alert_has_a_case_that_makes_it_fire(self):
        self.assertEqual(set(FIRES), {rule["alert"] for rule in RULES})

    @unittest.skipUnless(PROMTOOL, "no promtool: neither FIELDGATE_PROMTOOL nor one on PATH (Debian package prometheus)")
    def test_promtool_has_no_complaint(self):
        done = subprocess.run([PROMTOOL, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(RULES)} rules found", done.stdout)

    @unittest.skipUnless(PROMTOOL, "no promtool: neither FIELDGATE_PROMTOOL nor one on PATH (Debian package prometheus)")
    def test_each_alert_fires_when_it_should_and_none_when_all_is_well(self):
        cases = [test_file(name, case) for name, case in (*FIRES.items(), *FIRES_ALSO)]
        cases += [test_file("", (at, WELL)) for at in ("5m", "90m", "150m")]
        cases += [test_file(name, case, fires=False) for name, case in SILENT]
        self.judge(cases, "1m")

    @unittest.skipUnless(PROMTOOL, "no promtool: neither FIELDGATE_PROMTOOL nor one on PATH (Debian package prometheus)")
    def test_a_shard_that_stands_still_is_told_of_before_kubernetes_ends_the_process(self):
        scrape = yaml.safe_load((chart.CHART / "values.yaml").read_text())["monitor"]["interval"]
        self.assertEqual(scrape, "15s")
        turns = 'fieldgate_shard_loop_turns_total{shard="1",*}'
        # It stands still right after the scrape at 300 s, or right before the next one.
        cases = [test_file("FieldgateShardStuck", (f"{still + killed_after()}s", {turns: f"0+15x20 {still}x30"}), every=scrape)
                 for still in (300, 314)]
        cases.append(test_file("FieldgateShardStuck", ("300s", {turns: "0+15x20 300x30"}), fires=False, every=scrape))
        self.judge(cases, "30s")  # as the Prometheus operator evaluates them, unless told otherwise

    def judge(self, cases: list[dict], evaluated_every: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "tests.yaml"
            file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": evaluated_every, "tests": cases}))
            done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Dashboard(unittest.TestCase):
    def setUp(self):
        self.dashboard = json.loads((chart.CHART / "files/dashboard.json").read_text())
        self.panels = [panel for panel in self.dashboard["panels"] if panel["type"] != "row"]

    def test_every_panel_says_what_it_shows_in_a_unit_and_overlaps_no_other(self):
        taken = set()
        for panel in self.dashboard["panels"]:
            where = panel["gridPos"]
            cells = {(x, y) for x in range(where["x"], where["x"] + where["w"]) for y in range(where["y"], where["y"] + where["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        for panel in self.panels:
            self.assertTrue(panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"])

    def test_metrics_of_the_dashboard_are_documented(self):
        for panel in self.panels:
            for target in panel["targets"]:
                self.assertTrue(metrics_in(target["expr"]), panel["title"])
                self.assertLessEqual(metrics_in(target["expr"]), documented_metrics(), panel["title"])

    def test_every_selector_follows_the_choice_of_namespace_and_job(self):
        for panel in self.panels:
            for target in panel["targets"]:
                for selector in re.findall(r"(?:fieldgate|process)_\w+\{([^}]*)\}", target["expr"]):
                    self.assertTrue(selector.startswith('namespace=~"$namespace", job=~"$job"'), panel["title"])

    @unittest.skipUnless(PROMTOOL, "no promtool: neither FIELDGATE_PROMTOOL nor one on PATH (Debian package prometheus)")
    def test_prometheus_can_read_every_query(self):
        rules = [{"record": f"panel:{panel['id']}:{number}", "expr": target["expr"].replace("$__rate_interval", "1m")}
                 for panel in self.panels for number, target in enumerate(panel["targets"])]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "queries.yaml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
            done = subprocess.run([PROMTOOL, "check", "rules", file], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
