// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/binder.h"

#include "tests/support/temp_dir.h"
#include "tests/unit/config/bind_text.h"

#include <gtest/gtest.h>

namespace fieldgate::config {
namespace {

TEST(Binder, TakesAConfigurationWithoutAProblem) {
  const Bound bound = bind_text(k_sound);
  EXPECT_TRUE(says(lines(bound.problems), {}));
  ASSERT_TRUE(bound.settings.has_value());
  EXPECT_EQ(bound.settings->devices.tls.key_file, "k");
  EXPECT_EQ(bound.settings->mqtt.size(), 1U);
}

TEST(Binder, ListsFiveMistakesWithTheirPlaces) {
  const Bound bound = bind_text(R"(devices:
  listen: somewhere
  tls:
    certificate_file: c
    key_flie: k
session:
  heartbeat: 10 minutes
mqtt:
  - port: 70000
    routes:
      - kinds: [telemetry, evnt]
tokens: {file: t}
api: {token_file: a}
)");
  EXPECT_FALSE(bound.settings.has_value());
  EXPECT_TRUE(
      says(lines(bound.problems), {"f.yaml:2:11: devices.listen must be a numeric ADDRESS:PORT",
                                   "f.yaml:5:5: unknown key \"key_flie\" in devices.tls; did you mean key_file?",
                                   "f.yaml:7:14: session.heartbeat must be a whole number with ms, s, m or h",
                                   "f.yaml:9:11: mqtt[0].port must be a whole number, 1 to 65535, not \"70000\"",
                                   "f.yaml:11:28: mqtt[0].routes[0].kinds[1] must be one of telemetry, event"}));
}

TEST(Binder, SuggestsTheNearestWordOfAChoice) {
  EXPECT_TRUE(says(problems_with("log: {level: eror}"),
                   {"f.yaml:5:14: log.level must be one of debug, info, warn, error, not \"eror\"; did you mean "
                    "error?"}));
}

TEST(Binder, SuggestsNothingWhereNothingIsNear) {
  EXPECT_TRUE(says(problems_with("weather: {}"), {"f.yaml:5:1: unknown key \"weather\" at the top"}));
}

TEST(Binder, RefusesAKeyThatIsThereTwice) {
  EXPECT_TRUE(says(problems_with("log:\n  level: info\n  level: warn"),
                   {"f.yaml:7:3: key \"level\" is there already, at line 6"}));
}

TEST(Binder, PlacesAMissingValueAtItsKey) {
  EXPECT_TRUE(says(problems_with("log:\n  level:\nadmin: {}"),
                   {"f.yaml:6:3: log.level has no value; leave the key out for its default, info"}));
}

TEST(Binder, TakesASectionWithoutAnythingInItForItsDefaults) {
  EXPECT_TRUE(says(problems_with("log:\nsession:\n  deadlines:\n"), {}));
}

TEST(Binder, SaysWhatShapeItExpects) {
  EXPECT_TRUE(says(problems_with("log: 5"), {"f.yaml:5:1: log must be a section with keys of its own"}));
  EXPECT_TRUE(says(problems_with("log: {level: [info]}"), {"f.yaml:5:14: log.level must be one value, not a list"}));
  EXPECT_TRUE(says(problems_with("log: {level: {}}"), {"f.yaml:5:14: log.level must be one value, not a section"}));
  EXPECT_TRUE(mentions(lines(bind_text("mqtt: {host: a}").problems), "f.yaml:1:7: mqtt must be a list"));
  EXPECT_TRUE(
      mentions(lines(bind_text("mqtt: [a]").problems), "f.yaml:1:8: mqtt[0] must be a section with keys of its own"));
  EXPECT_TRUE(
      mentions(lines(bind_text("just words").problems), "f.yaml:1:1: the configuration must be a section with keys"));
}

TEST(Binder, RefusesMoreElementsThanAListMayHave) {
  std::string text =
      "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\nmqtt:\n";
  for (int i = 0; i < 17; ++i) text += "  - name: lane" + std::to_string(i) + "\n";
  EXPECT_TRUE(says(lines(bind_text(text).problems), {"f.yaml:21:5: mqtt must have at most 16 elements"}));
}

TEST(Binder, ReplacesVariablesInTexts) {
  const Bound bound = bind_text(
      "node: {name: \"${SITE}-${NUMBER}\", state_dir: /a$$b$c}\nlog: {level: \"${LEVEL}\"}\n" + std::string(k_sound),
      {{"SITE", "plant"}, {"NUMBER", "7"}, {"LEVEL", "debug"}});
  ASSERT_TRUE(bound.settings.has_value()) << testing::PrintToString(lines(bound.problems));
  EXPECT_EQ(bound.settings->node.name, "plant-7");
  EXPECT_EQ(bound.settings->node.state_dir, "/a$b$c");
  EXPECT_EQ(bound.settings->log.level, LogLevel::debug);
}

TEST(Binder, DoesNotReplaceWhatAVariableBringsIn) {
  const Bound bound = bind_text("node: {state_dir: \"/${A}\"}\n" + std::string(k_sound), {{"A", "${B}"}, {"B", "no"}});
  ASSERT_TRUE(bound.settings.has_value());
  EXPECT_EQ(bound.settings->node.state_dir, "/${B}");
}

TEST(Binder, NamesEveryVariableThatIsNotSet) {
  EXPECT_TRUE(says(problems_with("node: {name: \"${ONE}${TWO}\"}"),
                   {"f.yaml:5:14: node.name: environment variable ONE is not set",
                    "f.yaml:5:14: node.name: environment variable TWO is not set"}));
}

TEST(Binder, RefusesABrokenVariable) {
  for (const char* text : {"${", "${}", "${A", "${A B}", "${1}"}) {
    EXPECT_TRUE(says(problems_with("node: {name: \"" + std::string(text) + "\"}", {{"A", "a"}}),
                     {"node.name: ${ must be followed by a variable's name and }"}))
        << text;
  }
}

TEST(Binder, NeverRepeatsASecret) {
  const Bound bound = bind_text("mqtt: [{password: \"hush\\nhush\"}]");
  EXPECT_TRUE(mentions(lines(bound.problems), "f.yaml:1:19: mqtt[0].password must not contain control characters"));
  EXPECT_FALSE(contains(testing::PrintToString(lines(bound.problems)), "hush"));
}

TEST(Binder, ShortensAndEscapesWhatItRepeats) {
  EXPECT_TRUE(says(problems_with("log: {level: \"a\\e" + std::string(200, 'b') + "\"}"),
                   {"not \"a\\x1b" + std::string(62, 'b') + "...\""}));
}

TEST(CheckFiles, NamesEachFileThatCannotBeRead) {
  const test::TempDir folder;
  const std::string there = folder.write("cert.pem", "x");
  const Bound bound =
      bind_text("devices:\n  tls:\n    certificate_file: " + there + "\n    key_file: " + folder.file("key.pem") +
                "\ntokens:\n  file: " + folder.path().string() +
                "\napi: {enabled: false}\nmqtt: [{password_file: /nowhere}]\n"
                "webhooks: [{url: 'https://a', secret_file: /nowhere}]\n");
  ASSERT_TRUE(bound.settings.has_value()) << testing::PrintToString(lines(bound.problems));
  EXPECT_TRUE(says(
      lines(check_files(*bound.settings, bound.places)),
      {"f.yaml:4:15: devices.tls.key_file cannot be read: " + folder.file("key.pem") + ": No such file or directory",
       "f.yaml:6:9: tokens.file is not a file: " + folder.path().string(),
       "f.yaml:8:24: mqtt[0].password_file cannot be read: /nowhere: No such file or directory",
       "f.yaml:9:44: webhooks[0].secret_file cannot be read: /nowhere: No such file or directory"}));
}

}  // namespace
}  // namespace fieldgate::config
