#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the chart renders to, looked at without Helm: the manifests in golden/ are those of ci/*-values.yaml, which
render_test.py sees to."""

import json
import re
import shlex
import unittest

import jsonschema
import yaml

import chart
import generate

RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


class EveryManifest:
    """Rules that hold for each set of values: below there is a class of tests for each."""

    values: str
    found: list[chart.Document]

    def test_names_are_unique_and_short_enough_for_labels_and_dns(self):
        found = self.found
        names = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found]
        self.assertEqual(len(names), len(set(names)))
        for *_, name in names:
            self.assertRegex(name, r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")

    def test_everything_of_ours_is_in_the_namespace_and_says_whose_it_is(self):
        found = self.found
        for one in found:
            if "labels" not in one["metadata"]:
                continue  # an extra manifest
            self.assertEqual(one["metadata"].get("namespace"), None if one["kind"] == "PriorityClass" else "fieldgate")
            self.assertEqual(one["metadata"]["labels"]["app.kubernetes.io/instance"], "fieldgate")

    def test_pods_meet_the_restricted_pod_security_standard(self):
        found = self.found
        for name, template in chart.pods(found):
            spec = template["spec"]
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(spec), name)
            self.assertIs(spec["securityContext"]["runAsNonRoot"], True, name)
            self.assertGreater(spec["securityContext"]["runAsUser"], 0, name)
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, name)
            for volume in spec.get("volumes", []):
                self.assertLessEqual(set(volume) - {"name"}, RESTRICTED_VOLUMES, name)
            for container in spec["containers"] + spec.get("initContainers", []):
                context = container["securityContext"]
                self.assertIs(context["allowPrivilegeEscalation"], False, name)
                self.assertIs(context["readOnlyRootFilesystem"], True, name)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]}, name)
                self.assertFalse(any("hostPort" in port for port in container.get("ports", [])), name)

    def test_no_pod_gets_a_token_of_kubernetes_or_variables_of_services(self):
        found = self.found
        for name, template in chart.pods(found):
            self.assertIs(template["spec"]["automountServiceAccountToken"], False, name)
            self.assertIs(template["spec"]["enableServiceLinks"], False, name)
        for one in chart.of_kind(found, "ServiceAccount"):
            self.assertIs(one["automountServiceAccountToken"], False)
        self.assertFalse([one["kind"] for one in found if "Role" in one["kind"]], "the gateway asks nothing of Kubernetes")

    def test_containers_have_requests_and_a_memory_limit_and_an_image_with_a_version(self):
        found = self.found
        for name, template in chart.pods(found):
            for container in template["spec"]["containers"]:
                self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]), name)
                self.assertIn("memory", container["resources"]["limits"], name)
                self.assertRegex(container["image"], r"^[\w.-]+(/[\w.-]+)+(:v?\d[\w.-]*|@sha256:[0-9a-f]{64})$", name)

    def test_selectors_find_pods_and_never_change_with_a_version(self):
        found = self.found
        labels = [template["metadata"]["labels"] for _, template in chart.pods(found)]
        for one in found:
            spec = one.get("spec") or {}
            selector = spec.get("selector") or spec.get("podSelector")
            if not selector:
                continue
            selector = selector.get("matchLabels", selector)
            self.assertFalse({"helm.sh/chart", "app.kubernetes.io/version"} & set(selector), one["metadata"]["name"])
            if one["kind"] == "ServiceMonitor":
                labels_there = [service["metadata"]["labels"] for service in chart.of_kind(found, "Service")]
                self.assertEqual(1, sum(selector.items() <= there.items() for there in labels_there), "one Service, or scraped twice")
            else:
                self.assertTrue(any(selector.items() <= there.items() for there in labels), one["metadata"]["name"])

    def test_no_chart_version_in_pod_labels_so_that_a_new_chart_alone_is_no_rollout(self):
        found = self.found
        for name, template in chart.pods(found):
            if template.get("kind") != "Pod":
                self.assertNotIn("helm.sh/chart", template["metadata"]["labels"], name)

    def test_ports_that_are_named_are_there(self):
        found = self.found
        for service in chart.of_kind(found, "Service"):
            ports = {port["name"] for _, template in chart.pods(found)
                     if service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
                     for container in template["spec"]["containers"] for port in container.get("ports", [])}
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports, service["metadata"]["name"])

    def test_devices_api_and_metrics_have_services_of_their_own_and_only_devices_come_from_outside(self):
        found = self.found
        for service in chart.of_kind(found, "Service"):
            self.assertEqual(1, len(service["spec"]["ports"]))
            if not service["metadata"]["name"].endswith("-devices"):
                self.assertEqual(service["spec"]["type"], "ClusterIP")
            elif service["spec"]["type"] != "ClusterIP":
                self.assertEqual(service["spec"]["externalTrafficPolicy"], "Local", "or the devices' addresses are lost")

    def test_volumes_are_mounted_whole_and_mounted_volumes_are_there(self):
        found = self.found
        claims = {claim["metadata"]["name"] for claim in chart.workload(found)["spec"].get("volumeClaimTemplates", [])}
        for name, template in chart.pods(found):
            volumes = {volume["name"] for volume in template["spec"].get("volumes", [])} | claims
            for container in template["spec"]["containers"]:
                for mount in container.get("volumeMounts", []):
                    self.assertIn(mount["name"], volumes, name)
                    self.assertNotIn("subPath", mount, "a file mounted by itself never changes")
                    if mount["mountPath"].startswith("/etc/"):
                        self.assertIs(mount["readOnly"], True, name)

    def test_files_that_the_configuration_names_are_in_a_mounted_folder(self):
        def files_in(node):
            if isinstance(node, dict):
                for key, value in node.items():
                    if key.endswith("_file") or (key == "file" and isinstance(value, str)):
                        yield value
                    yield from files_in(value)
            elif isinstance(node, list):
                for item in node:
                    yield from files_in(item)

        found = self.found
        folders = {mount["mountPath"] for mount in chart.gateway(found)["volumeMounts"]}
        for file in files_in(chart.configuration(found)):
            self.assertIn(file.rsplit("/", 1)[0], folders)

    def test_of_each_secret_only_what_is_needed_is_mounted_and_all_that_is_needed(self):
        """A Secret may hold the token itself beside its hash; the gateway needs the hash."""
        volumes = {volume["name"]: volume for volume in chart.workload(self.found)["spec"]["template"]["spec"]["volumes"]}
        text = json.dumps(chart.configuration(self.found))
        for mount in chart.gateway(self.found)["volumeMounts"]:
            source = volumes.get(mount["name"], {})
            source = source.get("secret") or source.get("configMap")
            if not source or not mount["mountPath"].startswith("/etc/fieldgate/") or mount["name"] == "config" or mount["name"].startswith("file-"):
                continue
            self.assertTrue(source["items"], mount["name"])
            for item in source["items"]:
                self.assertIn(f"{mount['mountPath']}/{item['path']}", text)
            if "secretName" in source:
                self.assertEqual(source["defaultMode"], 0o440, mount["name"])

    def test_the_configuration_fits_the_gateways_schema(self):
        schema = json.loads((chart.ROOT / "config/fieldgate.schema.json").read_text())
        found = self.found
        jsonschema.validate(chart.configuration(found), schema)

    def test_the_gateway_listens_where_the_ports_say(self):
        found = self.found
        settings = chart.configuration(found)
        ports = {port["name"]: port["containerPort"] for port in chart.gateway(found)["ports"]}
        self.assertEqual(settings["devices"]["listen"].rsplit(":", 1)[1], str(ports["devices"]))
        self.assertEqual(settings["admin"]["listen"].rsplit(":", 1)[1], str(ports["metrics"]))
        self.assertEqual("api" in ports, settings["api"].get("enabled", True))
        self.assertEqual("api" in ports, bool(chart.of_kind(found, "Service") and any(
            one["metadata"]["name"].endswith("-api") for one in chart.of_kind(found, "Service"))))

    def test_the_grace_period_covers_the_whole_drain_and_ten_seconds(self):
        spec = chart.workload(self.found)["spec"]["template"]["spec"]
        node = chart.configuration(self.found)["node"]
        drain = chart.seconds(node["drain_delay"]) + chart.seconds(node.get("drain_period", "20s"))
        self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], drain + 10)
        self.assertEqual(chart.gateway(self.found)["lifecycle"]["preStop"]["exec"]["command"],
                         ["fieldgate", "drain", "--state-dir", node["state_dir"], "--timeout", f"{spec['terminationGracePeriodSeconds']}s"])

    def test_state_that_must_outlive_a_pod_is_on_a_volume_whose_template_never_changes(self):
        found = self.found
        settings, one = chart.configuration(found), chart.workload(found)
        needed = settings.get("uplink", {}).get("spool", {}).get("enabled") or settings.get("store", {}).get("kind", "sqlite") == "sqlite"
        self.assertEqual(one["kind"], "StatefulSet" if needed else "Deployment")
        for claim in one["spec"].get("volumeClaimTemplates", []):
            self.assertEqual(claim["metadata"], {"name": "state"}, "a label or annotation here could never be changed")
        if needed:
            self.assertEqual(one["spec"]["persistentVolumeClaimRetentionPolicy"], {"whenDeleted": "Retain", "whenScaled": "Retain"})
            self.assertTrue(chart.of_kind(found, "Service", one["spec"]["serviceName"]))
        if one["kind"] == "StatefulSet" or settings["store"]["kind"] != "postgres":
            self.assertFalse(chart.of_kind(found, "HorizontalPodAutoscaler"))
        if one["spec"].get("replicas", 2) > 1:
            self.assertEqual(settings["store"]["kind"], "postgres")

    def test_what_is_for_trying_out_says_so_and_is_there_only_when_asked_for(self):
        name, found = self.values, self.found
        tryout = [one for one in found if "tryout" in one["metadata"]["name"]]
        self.assertEqual(bool(tryout), name == "tryout")
        for one in tryout:
            self.assertEqual(one["metadata"]["annotations"]["fieldgate.io/for"], "trying out only")

    def test_only_the_secret_of_the_trial_database_is_made_here(self):
        name, found = self.values, self.found
        secrets = [one["metadata"]["name"] for one in chart.of_kind(found, "Secret")]
        self.assertEqual(secrets, ["fieldgate-tryout-postgresql"] if name == "tryout" else [])


for one_name in chart.NAMES:
    globals()[f"Manifests_{one_name}"] = type(f"Manifests_{one_name}", (EveryManifest, unittest.TestCase), {
        "values": one_name, "found": chart.golden(one_name) if (chart.GOLDEN / f"{one_name}.yaml").exists() else []})


class Sources(unittest.TestCase):
    def test_values_have_manifests_and_manifests_have_values(self):
        self.assertGreaterEqual(len(chart.NAMES), 6)
        self.assertEqual(chart.NAMES, sorted(path.stem for path in chart.GOLDEN.glob("*.yaml")))

    def test_golden_manifests_are_of_the_chart_as_it_is(self):
        self.assertEqual((chart.GOLDEN / "fingerprint").read_text(), chart.fingerprint(),
                         "the chart has changed: UPDATE_GOLDEN=1 tests/helm/render_test.py, with helm (`./dev check chart`)")

    def test_made_files_are_current(self):
        for path, text in generate.products().items():
            self.assertEqual(path.read_text(), text, f"{path.name} is not current: run tests/helm/generate.py")

    def test_every_value_says_what_it_is_for(self):
        def silent(keys):
            for key in keys:
                if key.is_leaf:
                    if not key.comment:
                        yield ".".join(key.path)
                else:
                    yield from silent(key.children)

        self.assertEqual(list(silent(generate.keys_of((chart.CHART / "values.yaml").read_text()))), [])

    def test_every_value_is_found_in_a_template(self):
        templates = "\n".join(path.read_text() for path in (chart.CHART / "templates").rglob("*.*"))

        def leaves(keys):
            for key in keys:
                if key.is_leaf:
                    yield key.path
                else:
                    yield from leaves(key.children)

        for path in leaves(generate.keys_of((chart.CHART / "values.yaml").read_text())):
            self.assertRegex(templates, rf"\.{path[-1]}\b", ".".join(path))

    def test_templates_make_nothing_up_and_ask_no_cluster(self):
        """Or a secret would be another one at each upgrade, and the same values would not give the same manifests."""
        for path in (chart.CHART / "templates").rglob("*.*"):
            self.assertNotRegex(path.read_text(), r"\b(rand\w+|genCA\w*|genSelfSigned\w*|genSigned\w*|genPrivateKey|uuidv4|lookup|now|htpasswd)\b",
                                path.name)

    def test_the_schema_takes_the_examples_and_what_umbrella_charts_add(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text())
        jsonschema.Draft7Validator.check_schema(schema)
        for name in chart.NAMES:
            jsonschema.validate(yaml.safe_load((chart.CHART / f"ci/{name}-values.yaml").read_text()), schema)
        jsonschema.validate({"global": {"region": "eu"}, "replicaCount": 1}, schema)

    def test_the_schema_refuses_what_is_misspelt_below_the_root(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text())
        for wrong in ({"config": {"limits": {"session_max": 1}}}, {"config": {"limits": {"sessions_max": 0}}}, {"config": {"limit": {}}},
                      {"services": {"devices": {"prt": 443}}}, {"services": {"devices": {"type": "ExternalName"}}},
                      {"tls": {"secret": "x"}}, {"replicaCount": "two"}, {"replicaCount": -1}, {"image": {"digest": "latest"}},
                      {"drainMarginSeconds": 0}, {"files": [{"name": "Up/er"}]}, {"alerts": {"disabled": ["Other"]}},
                      {"persistence": {"accessModes": ["ReadWriteMany"]}}, {"tests": {"gateway": "no-port"}},
                      {"tls": {"certManager": {"issuerRef": {"nme": "x"}}}}, {"tls": {"certManager": {"privateKey": {"algoritm": "RSA"}}}},
                      {"tls": {"certManager": {"privateKey": {"algorithm": "rsa"}}}},
                      {"persistence": {"retentionPolicy": {"whenDelete": "Delete"}}}, {"persistence": {"retentionPolicy": {"whenScaled": "Keep"}}}):
            with self.subTest(wrong=wrong), self.assertRaises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema)

    def test_the_chart_is_of_the_version_of_the_program(self):
        made = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        version = re.search(r"^project\(\s*fieldgate\b[^)]*?VERSION\s+([\d.]+)", (chart.ROOT / "CMakeLists.txt").read_text(), re.M)
        self.assertEqual(made["appVersion"], version[1])
        self.assertEqual(made["version"], version[1])

    def test_the_readme_installs_in_four_commands_what_the_chart_then_asks_for(self):
        section = re.search(r"^## On Kubernetes\n(.*?)^## ", (chart.ROOT / "README.md").read_text(), re.M | re.S)[1]
        blocks = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
        self.assertEqual(1, len(blocks))
        token, install, secret, test = (shlex.split(line) for line in blocks[0].splitlines())

        self.assertEqual(install[:4], ["helm", "install", "fieldgate", "helm/fieldgate"])
        values = install[install.index("-f") + 1]
        self.assertEqual(values, "helm/fieldgate/ci/tryout-values.yaml")
        self.assertTrue((chart.ROOT / values).exists())
        namespace = install[install.index("-n") + 1]
        self.assertIn("--create-namespace", install)

        found = chart.golden("tryout")
        pod = chart.only(found, "Pod")
        wanted = next(one["valueFrom"]["secretKeyRef"] for one in pod["spec"]["containers"][0]["env"] if "valueFrom" in one)
        mounted = next(volume["secret"] for volume in chart.workload(found)["spec"]["template"]["spec"]["volumes"] if volume["name"] == "api-tokens")
        self.assertEqual(secret[:-2], ["kubectl", "-n", namespace, "create", "secret", "generic", wanted["name"]])
        self.assertEqual(mounted["secretName"], wanted["name"])
        files = [option.removeprefix("--from-file=") for option in secret[-2:]]
        self.assertEqual(files, [*(item["key"] for item in mounted["items"]), wanted["key"]])

        # The hash goes into one of these files, the token into the other.
        self.assertEqual(token[:3], ["fieldgate", "token", "new"])
        self.assertEqual((token[token.index("--append") + 1], token[token.index("--scope") + 1]), (files[0], "admin"))
        self.assertEqual(token[-2:], [">", files[1]])

        self.assertEqual(test[:5], ["helm", "test", install[2], "-n", namespace])
        minutes = int(test[test.index("--timeout") + 1].removesuffix("m"))
        self.assertGreater(60 * minutes, pod["spec"]["activeDeadlineSeconds"], "Helm would give up before the pod does")

    def test_guides_name_values_files_that_are_there(self):
        for guide in (chart.CHART / "README.md", chart.ROOT / "README.md"):
            for name in re.findall(r"\bci/([\w-]+)\.yaml", guide.read_text()):
                self.assertTrue((chart.CHART / f"ci/{name}.yaml").exists(), name)


if __name__ == "__main__":
    unittest.main()
