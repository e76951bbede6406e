#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What Helm makes of the chart. UPDATE_GOLDEN=1 writes golden/ anew; `git diff` then is the review."""

import os
import pathlib
import shutil
import tempfile
import unittest

import yaml

import chart
from chart import configuration, documents, gateway, of_kind, only, render, workload

TLS = {"tls": {"secretName": "tls"}}
POSTGRES = {"store": {"kind": "postgres", "connection": "host=db"}}
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


@unittest.skipUnless(chart.HELM, chart.NO_HELM)
class Chart(unittest.TestCase):
    maxDiff = None

    def test_golden_manifests_are_what_helm_renders(self):
        chart.GOLDEN.mkdir(exist_ok=True)
        for name in chart.NAMES:
            with self.subTest(values=name):
                # Without the lines that Helm puts before each template's output, and the licence of the template's file.
                text = "".join(line for line in render(name).splitlines(keepends=True) if not line.startswith("# S"))
                text = f"# SPDX-License-Identifier: Apache-2.0\n# Of ci/{name}-values.yaml; made by UPDATE_GOLDEN=1 tests/helm/render_test.py\n{text}"
                path = chart.GOLDEN / f"{name}.yaml"
                if UPDATE:
                    path.write_text(text)
                self.assertEqual(path.read_text(), text, "golden is not current: UPDATE_GOLDEN=1 tests/helm/render_test.py, and look at the diff")

        if UPDATE:
            (chart.GOLDEN / "fingerprint").write_text(chart.fingerprint())

    def test_helm_lint_has_no_complaint(self):
        for name in chart.NAMES:
            with self.subTest(values=name):
                chart.helm("lint", "--strict", "--kube-version", chart.KUBERNETES, chart.CHART, "--values", chart.CHART / f"ci/{name}-values.yaml")

    def test_the_same_values_give_the_same_manifests_at_every_upgrade(self):
        for name in chart.NAMES:
            with self.subTest(values=name):
                self.assertEqual(render(name), render(name, "--is-upgrade"))

    def test_every_kubernetes_from_the_oldest_on_is_taken_and_older_ones_are_refused(self):
        render("fleet", "--kube-version", "1.27.0-eks-1")
        with self.assertRaisesRegex(chart.Refused, "kubeVersion"):
            render("fleet", "--kube-version", "1.26.9")

    def test_it_may_be_a_part_of_an_umbrella_chart(self):
        with tempfile.TemporaryDirectory() as folder:
            umbrella = pathlib.Path(folder) / "umbrella"
            shutil.copytree(chart.CHART, umbrella / "charts/fieldgate")
            (umbrella / "templates").mkdir()
            (umbrella / "Chart.yaml").write_text("apiVersion: v2\nname: umbrella\nversion: 1.0.0\n")
            found = documents(render(None, chart=umbrella, **{"global": {"region": "eu"}, "fieldgate": {**TLS, "ours": 1}}))
            self.assertEqual(workload(found)["metadata"]["name"], "fieldgate")
            with self.assertRaisesRegex(chart.Refused, "additional properties 'prt' not allowed"):
                render(None, chart=umbrella, fieldgate={**TLS, "services": {"devices": {"prt": 1}}})

    def test_a_package_of_it_holds_what_templates_read_and_no_test_values(self):
        with tempfile.TemporaryDirectory() as folder:
            chart.helm("package", chart.CHART, "--destination", folder)
            package = next(pathlib.Path(folder).glob("fieldgate-*.tgz"))
            self.assertEqual(documents(render(None, chart=package, **TLS)), documents(render(None, **TLS)))
            shutil.unpack_archive(package, folder)
            self.assertFalse((pathlib.Path(folder) / "fieldgate/ci").exists())
            self.assertTrue((pathlib.Path(folder) / "fieldgate/files/alerts.yaml").exists())


@unittest.skipUnless(chart.HELM, chart.NO_HELM)
class Refusals(unittest.TestCase):
    """What fits together ill is refused before anything reaches a cluster, with what to do."""

    def refused(self, words: str, **values) -> None:
        with self.subTest(values=values), self.assertRaisesRegex(chart.Refused, words):
            render(None, **{**TLS, **values})

    def test_no_certificate_or_two(self):
        self.refused("tls: no certificate", tls={})
        self.refused("one of them is enough", tls={"secretName": "x", "certManager": {"enabled": True, "selfSigned": True}})
        self.refused("issuerRef.name is missing", tls={"certManager": {"enabled": True}})
        self.refused("config.devices.tls.enabled is false", config={"devices": {"tls": {"enabled": False}}})

    def test_a_grace_period_that_is_too_short_for_the_drain(self):
        self.refused("at least 40 are needed", terminationGracePeriodSeconds=39)
        self.refused("at least 141 are needed", terminationGracePeriodSeconds=140, config={"node": {"drain_period": "2m", "drain_delay": "5500ms"}})
        self.refused("at least 51 are needed", terminationGracePeriodSeconds=50, drainMarginSeconds=50,
                     config={"node": {"drain_period": "500ms", "drain_delay": "0s"}})
        for key in ("drain_period", "drain_delay"):
            self.refused(f"{key} is .{{TIME}}: the chart must know", config={"node": {key: "${TIME}"}})

    def test_load_balancers_that_are_everybody(self):
        for network in ("0.0.0.0/0", "::/0"):
            self.refused("is everybody", config={"devices": {"proxy_trusted": ["10.0.0.0/8", network]}})

    def test_several_gateways_without_one_store(self):
        self.refused("replicaCount: 2 with config.store.kind: sqlite", replicaCount=2)
        self.refused("replicaCount: 2 with config.store.kind: none", replicaCount=2, config={"store": {"kind": "none"}})
        self.refused("autoscaling.enabled with config.store.kind: sqlite", autoscaling={"enabled": True})
        self.refused("config.store.kind is .{KIND}", config={"store": {"kind": "${KIND}"}})

    def test_autoscaling_with_a_disk_spool(self):
        self.refused("leaves its records behind", autoscaling={"enabled": True}, config={**POSTGRES, "uplink": {"spool": {"enabled": True}}})
        self.refused("minReplicas is above", autoscaling={"enabled": True, "minReplicas": 5, "maxReplicas": 4}, config=POSTGRES)
        self.refused("spool.enabled is a variable", config={"uplink": {"spool": {"enabled": "${ON}"}}})

    def test_settings_that_are_the_charts_own(self):
        for config in ({"devices": {"listen": "0.0.0.0:1"}}, {"api": {"listen": "0.0.0.0:1"}}, {"admin": {"listen": "0.0.0.0:1"}},
                       {"node": {"name": "x"}}, {"node": {"state_dir": "/x"}}, {"store": {"file": "/x"}}, {"uplink": {"spool": {"dir": "/x"}}}):
            self.refused("is the chart's own", config=config)
        for name in ("FIELDGATE_STORE_KIND", "FIELDGATE_UPLINK_SPOOL_ENABLED", "FIELDGATE_NODE_NAME", "FIELDGATE_NODE_DRAIN_PERIOD"):
            self.refused("behind the chart's back", extraEnv=[{"name": name, "value": "x"}])

    def test_halves_of_things(self):
        self.refused("files: ca needs secretName or configMapName", files=[{"name": "ca"}])
        self.refused("files: ca needs secretName or configMapName", files=[{"name": "ca", "secretName": "a", "configMapName": "b"}])
        self.refused("clientCa", tls={"secretName": "x", "clientCa": {"secretName": "a", "configMapName": "b"}})
        self.refused("tlsRoute.parentRefs is empty", tlsRoute={"enabled": True, "hostnames": ["x"]})
        self.refused("tlsRoute.hostnames is empty", tlsRoute={"enabled": True, "parentRefs": [{"name": "x"}]})
        self.refused("there is no API", tests={"apiTokenSecret": "x"})
        self.refused("the certificate would be for nobody", tls={"certManager": {"enabled": True, "selfSigned": True, "serviceNames": False}})
        self.refused("priorityClass.name is empty", priorityClass={"create": True})
        self.refused("tryout.postgresql.password is missing", tryout={"postgresql": {"enabled": True}})

    def test_a_test_that_could_not_pass(self):
        api, trusted = {"apiTokens": {"secretName": "t"}}, {"secretName": "x", "clientCa": {"secretName": "ca"}}
        demanded = {"devices": {"tls": {"client_certificate": "required"}}}
        self.refused("client_certificate: required. The test's device would have none", tests={"apiTokenSecret": "x"}, tls=trusted, config=demanded, **api)
        self.refused("There is no registry for the test's device", tests={"apiTokenSecret": "x"}, config={"store": {"kind": "none"}}, **api)
        self.refused("tests.clientSecret is set, but no device certificate is trusted", tests={"clientSecret": "x"})
        self.refused("one of them is enough", tests={"apiTokenSecret": "one", "clientSecret": "other"}, tls=trusted, **api)
        for config in (demanded, {"store": {"kind": "none"}}):
            render(None, tests={"clientSecret": "x"}, tls=trusted, config=config)
        render(None, tests={"apiTokenSecret": "x"}, tls=trusted, config={"devices": {"tls": {"client_certificate": "optional"}}}, **api)

    def test_all_problems_are_told_at_once(self):
        with self.assertRaises(chart.Refused) as told:
            render(None, replicaCount=3, terminationGracePeriodSeconds=1, priorityClass={"create": True})
        self.assertEqual(4, str(told.exception).count("\n- "))


@unittest.skipUnless(chart.HELM, chart.NO_HELM)
class Templates(unittest.TestCase):
    """Each template by itself: what a value changes, and that it changes nothing else."""

    def found(self, **values) -> list[chart.Document]:
        return documents(render(None, **{**TLS, **values}))

    def test_workload_is_a_deployment_only_where_nothing_must_outlive_a_pod(self):
        for config, kind in (({}, "StatefulSet"), (POSTGRES, "Deployment"), ({"store": {"kind": "none"}}, "Deployment"),
                             ({**POSTGRES, "uplink": {"spool": {"enabled": True}}}, "StatefulSet"), ({"store": None, "uplink": None}, "StatefulSet")):
            with self.subTest(config=config):
                self.assertEqual(workload(self.found(config=config))["kind"], kind)

    def test_config_keeps_what_is_written_and_adds_what_is_mounted(self):
        found = self.found(config={"log": {"format": "logfmt"}, "devices": {"tls": {"certificate_file": "/mine.crt"}}, "uplink": {"memory_bytes_max": 1073741824}},
                           apiTokens={"secretName": "t", "key": "k"}, deviceTokens={"secretName": "d"}, storePassword={"secretName": "p"},
                           tls={"secretName": "tls", "clientCa": {"secretName": "ca", "crlKey": "crl"}})
        settings = configuration(found)
        self.assertEqual(settings["log"]["format"], "logfmt")
        self.assertEqual(settings["uplink"]["memory_bytes_max"], 1073741824)
        self.assertEqual(settings["devices"]["tls"], {"certificate_file": "/mine.crt", "key_file": "/etc/fieldgate/tls/tls.key",
                                                      "client_ca_file": "/etc/fieldgate/client-ca/ca.crt", "crl_file": "/etc/fieldgate/client-ca/crl"})
        self.assertEqual(settings["api"]["token_file"], "/etc/fieldgate/api-tokens/k")
        self.assertEqual(settings["tokens"]["file"], "/etc/fieldgate/device-tokens/device-tokens")
        self.assertEqual(settings["store"]["password_file"], "/etc/fieldgate/store-password/password")

    def test_there_is_no_api_until_somebody_may_use_it(self):
        for values, there in (({}, False), ({"apiTokens": {"secretName": "t"}}, True), ({"config": {"api": {"enabled": True, "token_file": "/x"}}}, True),
                              ({"config": {"api": {"jwt": {"audience": "a"}}}}, True),
                              ({"apiTokens": {"secretName": "t"}, "config": {"api": {"enabled": False}}}, False)):
            with self.subTest(values=values):
                self.assertEqual(bool(of_kind(self.found(**values), "Service", "fieldgate-api")), there)

    def template(self, **values) -> dict:
        return workload(self.found(**values))["spec"]["template"]

    def test_a_rollout_is_what_a_running_gateway_cannot_take_over(self):
        plain = self.template()
        for config in ({"log": {"format": "logfmt"}}, {"session": {"inactive_after": "1m"}}, {"node": {"drain_period": "19s"}},
                       {"mqtt": [{"host": "b"}]}, {"devices": {"tls": {"allow_common_name": True}}}):
            self.assertNotEqual(self.template(config=config)["metadata"], plain["metadata"], config)
        for config in ({"log": {"level": "debug"}}, {"session": {"heartbeat": "1m", "deadlines": {"tls": "5s"}}}, {"limits": {"sessions_max": 5}},
                       {"devices": {"proxy_trusted": ["10.0.0.0/8"]}}, {"limits": {}, "session": None}):
            self.assertEqual(self.template(config=config), plain, config)
        self.assertEqual(self.template(services={"devices": {"port": 8443}}, alerts={"enabled": True}, replicaCount=0), plain)

    def test_every_change_is_a_rollout_where_the_gateway_is_not_to_reload(self):
        still = {"node": {"reload_on_change": False}}
        self.assertNotEqual(self.template(config={**still, "log": {"level": "debug"}}), self.template(config=still))

    def test_the_grace_period_is_the_sum_unless_it_is_given(self):
        def grace(**values) -> int:
            return self.template(**values)["spec"]["terminationGracePeriodSeconds"]
        self.assertEqual(grace(), 5 + 20 + 15)
        self.assertEqual(grace(config={"node": {"drain_period": "1h"}}), 5 + 3600 + 15)
        self.assertEqual(grace(config={"node": {"drain_delay": "2m", "drain_period": "1500ms"}}), 120 + 2 + 15)
        self.assertEqual(grace(drainMarginSeconds=60), 5 + 20 + 60)
        self.assertEqual(grace(terminationGracePeriodSeconds=100), 100)

    def test_shards_follow_the_requested_cpus_unless_they_are_given(self):
        def names(**values) -> set[str]:
            return {variable["name"] for variable in gateway(self.found(**values))["env"]}
        self.assertEqual(names(), {"FIELDGATE_NODE_NAME", "FIELDGATE_NODE_SHARDS"})
        self.assertEqual(names(config={"node": {"shards": 4}}), {"FIELDGATE_NODE_NAME"})
        self.assertEqual(names(resources={"requests": {"cpu": None}}), {"FIELDGATE_NODE_NAME"})

    def test_image_by_tag_or_digest(self):
        digest = "sha256:" + "0" * 64
        for image, expected in (({}, "ghcr.io/fieldgate/fieldgate:0.1.0"), ({"tag": "1.2"}, "ghcr.io/fieldgate/fieldgate:1.2"),
                                ({"repository": "r/f", "tag": "1.2", "digest": digest}, f"r/f@{digest}")):
            self.assertEqual(gateway(self.found(image=image))["image"], expected)

    def test_names_fit_even_if_the_release_has_a_long_one(self):
        found = documents(chart.helm("template", "a" * 53, chart.CHART, "--kube-version", chart.KUBERNETES,
                                     "--values", chart.CHART / "ci/tryout-values.yaml"))
        self.assertLessEqual(max(len(one["metadata"]["name"]) for one in found), 63)

    def test_probes_may_be_of_another_kind(self):
        container = gateway(self.found(probes={"liveness": {"exec": {"command": ["true"]}}}))
        self.assertNotIn("httpGet", container["livenessProbe"])
        self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "metrics"})

    def test_certificate_has_the_names_of_the_service_and_yours(self):
        found = self.found(tls={"certManager": {"enabled": True, "issuerRef": {"name": "ca"}, "dnsNames": ["gw.example.com"]}})
        made = only(found, "Certificate")["spec"]
        self.assertEqual(made["dnsNames"], ["fieldgate-devices", "fieldgate-devices.fieldgate", "fieldgate-devices.fieldgate.svc", "gw.example.com"])
        self.assertEqual(made["issuerRef"], {"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"})
        self.assertFalse(of_kind(found, "Issuer"))
        public = self.found(tls={"certManager": {"enabled": True, "issuerRef": {"name": "ca"}, "dnsNames": ["gw.example.com"], "serviceNames": False}})
        self.assertEqual(only(public, "Certificate")["spec"]["dnsNames"], ["gw.example.com"])
        volumes = workload(found)["spec"]["template"]["spec"]["volumes"]
        self.assertIn(made["secretName"], [volume["secret"]["secretName"] for volume in volumes if volume["name"] == "tls"])

    def test_an_authority_of_its_own_signs_the_certificate_and_not_the_certificate_itself(self):
        found = self.found(tls={"certManager": {"enabled": True, "selfSigned": True}})
        leaf, authority = only(found, "Certificate", "fieldgate")["spec"], only(found, "Certificate", "fieldgate-ca")["spec"]
        self.assertEqual((leaf["issuerRef"]["name"], authority["issuerRef"]["name"]), ("fieldgate-ca", "fieldgate-self-signed"))
        self.assertEqual(only(found, "Issuer", "fieldgate-ca")["spec"], {"ca": {"secretName": authority["secretName"]}})
        self.assertTrue(authority["isCA"] and "isCA" not in leaf)
        self.assertEqual(leaf["secretName"], "fieldgate-tls")

    def test_tls_route_takes_the_version_that_the_cluster_has(self):
        for arguments, values, version in (((), {}, "v1alpha2"), (("--api-versions", "gateway.networking.k8s.io/v1/TLSRoute"), {}, "v1"),
                                           ((), {"tlsRoute": {"apiVersion": "gateway.networking.k8s.io/v1alpha3"}}, "v1alpha3")):
            found = documents(render("tlsroute", *arguments, **values))
            self.assertEqual(only(found, "TLSRoute")["apiVersion"], f"gateway.networking.k8s.io/{version}")

    def test_services_take_their_type_ports_and_annotations(self):
        found = self.found(services={"devices": {"type": "LoadBalancer", "port": 8443, "loadBalancerClass": "c", "loadBalancerSourceRanges": ["10.0.0.0/8"],
                                                 "nodePort": 30000, "annotations": {"a": "b"}}})
        service = only(found, "Service", "fieldgate-devices")
        self.assertEqual(service["metadata"]["annotations"], {"a": "b"})
        self.assertEqual((service["spec"]["loadBalancerClass"], service["spec"]["loadBalancerSourceRanges"]), ("c", ["10.0.0.0/8"]))
        self.assertEqual(service["spec"]["ports"], [{"name": "devices", "port": 8443, "targetPort": "devices", "appProtocol": "tls"}])

    def test_disruption_budget_and_autoscaling(self):
        found = self.found(config=POSTGRES, autoscaling={"enabled": True, "sessionsPerReplica": 9000, "metricName": "m"})
        self.assertNotIn("replicas", workload(found)["spec"])
        scaler = only(found, "HorizontalPodAutoscaler")["spec"]
        self.assertEqual(scaler["scaleTargetRef"]["name"], workload(found)["metadata"]["name"])
        self.assertEqual(scaler["metrics"], [{"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "9000"}}}])
        budget = only(found, "PodDisruptionBudget")["spec"]
        self.assertEqual((budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]), (1, "AlwaysAllow"))
        self.assertFalse(of_kind(self.found(podDisruptionBudget={"enabled": False}), "PodDisruptionBudget"))

    def test_pods_are_spread_by_revision_with_our_selector_or_with_yours(self):
        def constraints(**values) -> list:
            return workload(self.found(**values))["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        labels = workload(self.found())["spec"]["selector"]["matchLabels"]
        self.assertEqual([one["matchLabelKeys"] for one in constraints()], [["controller-revision-hash"]] * 2)
        self.assertEqual([one["matchLabelKeys"] for one in constraints(config=POSTGRES)], [["pod-template-hash"]] * 2)
        self.assertTrue(all(one["labelSelector"] == {"matchLabels": labels} for one in constraints()))
        mine = {"topologyKey": "k", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}
        self.assertEqual(constraints(topologySpread=[mine]), [mine])
        self.assertEqual(constraints(topologySpread=[]), [])

    def test_network_policy_keeps_metrics_and_api_away_from_strangers(self):
        def rules(**values) -> dict:
            policy = only(self.found(**values), "NetworkPolicy")["spec"]
            return {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
        self.assertEqual(set(rules()), {"devices", "metrics"})
        self.assertIsNone(rules()["devices"])
        self.assertEqual(rules(networkPolicy={"devicesFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})["devices"], [{"ipBlock": {"cidr": "10.0.0.0/8"}}])
        self.assertTrue(rules(apiTokens={"secretName": "t"})["api"])
        self.assertNotIn("metrics", rules(networkPolicy={"metricsFrom": []}), "an empty list lets nobody in")
        self.assertEqual(only(self.found(), "NetworkPolicy")["spec"]["policyTypes"], ["Ingress"])
        self.assertFalse(of_kind(self.found(networkPolicy={"enabled": False}), "NetworkPolicy"))

    def test_monitor_by_service_or_pod(self):
        service = only(self.found(monitor={"enabled": True, "labels": {"release": "p"}}), "ServiceMonitor")
        self.assertEqual(service["metadata"]["labels"]["release"], "p")
        self.assertEqual([(one["port"], one["path"], one["interval"]) for one in service["spec"]["endpoints"]], [("metrics", "/metrics", "15s")])
        pod = only(self.found(monitor={"enabled": True, "kind": "PodMonitor", "interval": ""}), "PodMonitor")
        self.assertEqual(pod["spec"]["podMetricsEndpoints"], [{"port": "metrics", "path": "/metrics"}])

    def test_alerts_are_those_of_the_file_without_the_disabled_and_with_your_labels(self):
        there = [rule["alert"] for group in yaml.safe_load((chart.CHART / "files/alerts.yaml").read_text())["groups"] for rule in group["rules"]]
        made = only(self.found(alerts={"enabled": True, "disabled": ["FieldgateDown"], "alertLabels": {"team": "x", "severity": "info"},
                                       "runbookUrl": "https://wiki/ops"}), "PrometheusRule")
        rules = [rule for group in made["spec"]["groups"] for rule in group["rules"]]
        self.assertEqual([rule["alert"] for rule in rules], [name for name in there if name != "FieldgateDown"])
        for rule in rules:
            self.assertEqual(rule["labels"], {"team": "x", "severity": "info"})
            self.assertEqual(rule["annotations"]["runbook_url"], f"https://wiki/ops#{rule['alert'].lower()}")
        one_group = only(self.found(alerts={"enabled": True, "disabled": there, "extraRules": [{"record": "r", "expr": "1"}]}), "PrometheusRule")
        self.assertEqual([group["name"] for group in one_group["spec"]["groups"]], ["fieldgate-extra"])

    def test_dashboard_is_the_file(self):
        made = only(self.found(dashboard={"enabled": True}), "ConfigMap", "fieldgate-dashboard")
        self.assertEqual(made["data"]["fieldgate.json"], (chart.CHART / "files/dashboard.json").read_text())
        self.assertEqual(made["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_service_account_of_ours_of_yours_or_none(self):
        def account(**values) -> str:
            return workload(self.found(serviceAccount=values))["spec"]["template"]["spec"]["serviceAccountName"]
        self.assertEqual([account(), account(name="mine"), account(create=False), account(create=False, name="mine")],
                         ["fieldgate", "mine", "default", "mine"])

    def test_test_pod_speaks_https_and_takes_the_ca_alone(self):
        pod = only(self.found(apiTokens={"secretName": "t"}, apiTls={"secretName": "a"}, tests={"apiTokenSecret": "t"}), "Pod")
        environment = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        self.assertEqual(environment["FIELDGATE_API"], "https://fieldgate-api:8080")
        self.assertEqual(environment["TEST_GATEWAY"], "fieldgate-devices:443")
        self.assertEqual(pod["metadata"]["annotations"]["helm.sh/hook"], "test")
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                self.assertEqual([item["path"] for item in volume["secret"]["items"]], ["ca.crt"], "never a private key")
        script = pod["spec"]["containers"][0]["args"][0]
        self.assertEqual(script, (chart.CHART / "files/round-trip.sh").read_text())

    def test_test_pod_comes_with_the_certificate_of_a_device_and_needs_no_api(self):
        pod = only(self.found(tls={"secretName": "tls", "clientCa": {"secretName": "ca"}}, tests={"clientSecret": "pump"}), "Pod")
        container = pod["spec"]["containers"][0]
        environment = {one["name"]: one.get("value") for one in container["env"]}
        self.assertEqual(set(environment), {"TEST_GATEWAY", "TEST_CA", "TEST_CERTIFICATE", "TEST_KEY"})
        secrets = {volume["name"]: volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume}
        self.assertEqual(secrets["client"]["secretName"], "pump")
        folder = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "client")
        self.assertEqual([f"{folder}/{item['path']}" for item in secrets["client"]["items"]], [environment["TEST_CERTIFICATE"], environment["TEST_KEY"]])
        self.assertNotIn("fieldgate.io/api-client", pod["metadata"]["labels"])

    def test_test_pod_is_let_through_to_the_gateways_where_others_are_named(self):
        others = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
        values = {"apiTokens": {"secretName": "t"}, "tests": {"apiTokenSecret": "t"}}

        def devices_from(found: list) -> list | None:
            return next(rule.get("from") for rule in only(found, "NetworkPolicy")["spec"]["ingress"] if rule["ports"][0]["port"] == "devices")

        found = self.found(**values, networkPolicy={"devicesFrom": others})
        *named, test = devices_from(found)
        self.assertEqual(named, others)
        labels = test["podSelector"]["matchLabels"].items()
        self.assertLessEqual(labels, only(found, "Pod")["metadata"]["labels"].items())
        self.assertFalse(labels <= workload(found)["spec"]["template"]["metadata"]["labels"].items())
        self.assertIsNone(devices_from(self.found(**values)), "everybody, as before")

    def test_trial_broker_and_database_do_not_replace_what_config_names(self):
        tryout = {"mosquitto": {"enabled": True}, "postgresql": {"enabled": True, "password": "p"}}
        settings = configuration(self.found(tryout=tryout, config={"mqtt": [{"host": "mine"}], "store": {"kind": "none"}}))
        self.assertEqual(([lane["host"] for lane in settings["mqtt"]], settings["store"]["kind"]), (["mine"], "none"))
        settings = configuration(self.found(tryout=tryout))
        self.assertEqual(([lane["host"] for lane in settings["mqtt"]], settings["store"]["kind"]), (["fieldgate-tryout-mosquitto"], "postgres"))

    def test_extra_manifests_may_be_templates(self):
        found = self.found(extraManifests=["apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-a'}",
                                           {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}])
        self.assertEqual({one["metadata"]["name"] for one in of_kind(found, "ConfigMap")}, {"fieldgate", "fieldgate-a", "b"})


if __name__ == "__main__":
    unittest.main()
