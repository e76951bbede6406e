// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/print.h"

#include "gateway/config/yaml_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/config/bind_text.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace fieldgate::config {
namespace {

std::string source(const std::string& path) {
  const char* root = std::getenv("FIELDGATE_SOURCE");
  return (root == nullptr ? std::string(".") : std::string(root)) + "/" + path;
}

std::string read(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// With UPDATE_GENERATED=1 the file is written anew instead.
void expect_is_generated(const std::string& path, const std::string& expected) {
  if (std::getenv("UPDATE_GENERATED") != nullptr) {
    std::ofstream(source(path)) << expected;
    return;
  }
  EXPECT_TRUE(read(source(path)) == expected)
      << path << " is not what the declaration says: run this test once with UPDATE_GENERATED=1";
}

TEST(PrintConfig, IsAConfigurationThatMeansTheSame) {
  const Bound bound = bind_text(
      "node: {name: a.b, state_dir: \"/x y/$${z}\"}\ndevices: {listen: '[::]:1', tls: {certificate_file: \"no\", "
      "key_file: 'a: \"b\" \\ #c'}}\ntokens: {file: t}\napi: {token_file: a, cors_origins: ['http://[::1]:3']}\n"
      "mqtt: [{name: '1', username: 'null', batch_linger: 0ms, routes: [{kinds: [event], payload: json}, {kinds: "
      "[state]}]}, {}]\nlimits: {bytes_burst: 1000001}\n");
  ASSERT_TRUE(bound.settings.has_value()) << testing::PrintToString(lines(bound.problems));
  const std::string printed = print_yaml(*bound.settings);
  const Bound again = bind_text(printed);
  ASSERT_TRUE(again.settings.has_value()) << printed << testing::PrintToString(lines(again.problems));
  EXPECT_TRUE(changes(*bound.settings, *again.settings).empty());
  EXPECT_EQ(print_yaml(*again.settings), printed);
}

TEST(PrintConfig, HidesSecrets) {
  const Bound bound = bind_text(k_sound, {{"FIELDGATE_MQTT_0_PASSWORD", "hush"}});
  ASSERT_TRUE(bound.settings.has_value());
  const std::string printed = print_yaml(*bound.settings);
  EXPECT_FALSE(contains(printed, "hush"));
  EXPECT_TRUE(contains(printed, "    password: \"***\"\n"));
}

TEST(YamlScalar, QuotesWhatYamlWouldReadAsSomethingElse) {
  EXPECT_EQ(yaml_scalar("plain/text-1.0_x"), "plain/text-1.0_x");
  for (const char* text : {"", "yes", "Null", "1", "1.5", "0x1", "-", "~", "a b", "a:b", "#", "*a", "&a"}) {
    EXPECT_EQ(yaml_scalar(text), "\"" + std::string(text) + "\"");
  }
  EXPECT_EQ(yaml_scalar("a\"b\\c$"), "\"a\\\"b\\\\c$$\"");
}

TEST(Sample, FullIsMadeFromTheDeclaration) { expect_is_generated("config/full.yaml", sample_yaml()); }

TEST(Schema, IsMadeFromTheDeclaration) { expect_is_generated("config/fieldgate.schema.json", json_schema()); }

TEST(Reference, IsMadeFromTheDeclaration) {
  const std::string text = read(source("docs/configuration.md"));
  const std::string begin = "<!-- begin: made by `fieldgate config-reference` -->\n";
  const std::string end = "<!-- end -->\n";
  const std::size_t from = text.find(begin);
  const std::size_t to = text.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  expect_is_generated("docs/configuration.md",
                      text.substr(0, from + begin.size()) + "\n" + reference_markdown() + "\n" + text.substr(to));
}

TEST(Reference, ShowsWhatAListHoldsByDefault) {
  const std::string text = reference_markdown();
  EXPECT_NE(text.find("| `retry_statuses` | list of texts | `[401, 403, 407, 408, 421, 425, 429]` |"), text.npos);
  EXPECT_NE(text.find("| `allowed_networks` | list of texts | `[]` |"), text.npos);
}

TEST(Sample, EachBindsWithoutAProblem) {
  std::size_t samples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source("config"))) {
    if (entry.path().extension() != ".yaml") continue;
    ++samples;
    const Bound bound = bind_text(read(entry.path()));
    EXPECT_TRUE(bound.settings.has_value()) << entry.path();
    EXPECT_TRUE(says(lines(bound.problems), {})) << entry.path();
  }
  EXPECT_GE(samples, 3U);
}

TEST(Sample, FullIsAtTheDefaultsButForItsExamples) {
  const Bound bound = bind_text(read(source("config/full.yaml")));
  ASSERT_TRUE(bound.settings.has_value());
  Settings expected;
  std::vector<std::string> different;
  expected.mqtt.emplace_back();
  expected.webhooks.emplace_back();
  for (const Change& change : changes(expected, *bound.settings)) different.push_back(change.path);
  EXPECT_EQ(different, (std::vector<std::string>{"api.token_file", "devices.tls.certificate_file",
                                                 "devices.tls.client_ca_file", "devices.tls.key_file", "mqtt[0].routes",
                                                 "tokens.file", "webhooks[0].headers", "webhooks[0].url"}));
}

// Which of the YAML files the schema accepts, by the judgement of Debian's
// python3-jsonschema: a "1" or "0" for each.
std::string accepted(const std::vector<std::string>& files) {
  const test::TempDir folder;
  const std::string script = folder.write(
      "validate.py",
      "import json, sys, yaml, jsonschema\n"
      "schema = json.load(open(sys.argv[1]))\n"
      "jsonschema.Draft202012Validator.check_schema(schema)\n"
      "validator = jsonschema.Draft202012Validator(schema)\n"
      "print(''.join('1' if validator.is_valid(yaml.safe_load(open(f))) else '0' for f in sys.argv[2:]), end='')\n");
  std::string command = "/usr/bin/python3 " + script + " " + source("config/fieldgate.schema.json");
  for (const std::string& file : files) command += " " + file;
  std::FILE* pipe = popen(command.c_str(), "r");
  std::string verdicts(files.size() + 1, ' ');
  verdicts.resize(std::fread(verdicts.data(), 1, verdicts.size(), pipe));
  EXPECT_EQ(pclose(pipe), 0);
  return verdicts;
}

TEST(Schema, AcceptsTheSamples) {
  EXPECT_EQ(accepted({source("config/minimal.yaml"), source("config/full.yaml"), source("config/production.yaml")}),
            "111");
}

TEST(Schema, RefusesWhatTheBinderRefuses) {
  const test::TempDir folder;
  std::vector<std::string> files;
  for (const char* text : {"devices: {listn: '0.0.0.0:1'}", "log: {level: loud}", "limits: {frames_per_second: 0}",
                           "session: {heartbeat: 10}", "mqtt: {host: a}", "mqtt: [{routes: [{kinds: [evnt]}]}]",
                           "node: [a]", "devices: {listen: nowhere}", "uplink: {memory_bytes_max: 1KB}"}) {
    files.push_back(folder.write(std::to_string(files.size()) + ".yaml", text));
    EXPECT_FALSE(bind_text(text).settings.has_value()) << text;
  }
  EXPECT_EQ(accepted(files), std::string(files.size(), '0'));
}

TEST(Schema, LetsAVariableStandForAnyValue) {
  const test::TempDir folder;
  EXPECT_EQ(accepted({folder.write("a.yaml",
                                   "log: {level: \"${LEVEL}\"}\nlimits: {frames_per_second: \"${N}\"}\n"
                                   "session: {heartbeat: \"${H}s\"}\ndevices: {listen: \"${L}\"}\n")}),
            "1");
}

}  // namespace
}  // namespace fieldgate::config
