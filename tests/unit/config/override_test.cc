// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/override.h"

#include "tests/unit/config/bind_text.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fieldgate::config {
namespace {

TEST(Override, GoesBeforeTheFile) {
  const Bound bound = bind_text(
      "devices:\n  listen: 127.0.0.1:1\n  tls: {certificate_file: c, key_file: k}\n"
      "tokens: {file: t}\napi: {token_file: a}\nmqtt: [{host: one}]\n",
      {{"FIELDGATE_DEVICES_LISTEN", "0.0.0.0:9"},
       {"FIELDGATE_MQTT_0_HOST", "two"},
       {"FIELDGATE_API_CORS_ORIGINS", "https://a.example,https://b.example"},
       {"FIELDGATE_SESSION_DEADLINES_TLS", "3s"}});
  ASSERT_TRUE(bound.settings.has_value()) << testing::PrintToString(lines(bound.problems));
  EXPECT_EQ(bound.settings->devices.listen.port, 9);
  EXPECT_EQ(bound.settings->devices.tls.key_file, "k");
  EXPECT_EQ(bound.settings->mqtt[0].host, "two");
  EXPECT_TRUE(says(bound.settings->api.cors_origins, {"https://a.example", "https://b.example"}));
  EXPECT_EQ(bound.settings->session.deadlines.tls, seconds(3));
}

TEST(Override, IsEnoughWithoutAFile) {
  const Bound bound = bind_text("", {{"FIELDGATE_DEVICES_TLS_CERTIFICATE_FILE", "c"},
                                     {"FIELDGATE_DEVICES_TLS_KEY_FILE", "k"},
                                     {"FIELDGATE_TOKENS_FILE", "t"},
                                     {"FIELDGATE_API_TOKEN_FILE", "a"},
                                     {"FIELDGATE_MQTT_0_HOST", "broker"},
                                     {"FIELDGATE_MQTT_0_ROUTES_0_KINDS", "telemetry,event"},
                                     {"FIELDGATE_MQTT_0_ROUTES_0_PAYLOAD", "json"}});
  ASSERT_TRUE(bound.settings.has_value()) << testing::PrintToString(lines(bound.problems));
  ASSERT_EQ(bound.settings->mqtt.size(), 1U);
  ASSERT_EQ(bound.settings->mqtt[0].routes.size(), 1U);
  EXPECT_TRUE(says(bound.settings->mqtt[0].routes[0].kinds, {"telemetry", "event"}));
}

TEST(Override, GrowsAListInTheOrderOfItsNumbers) {
  Environment environment;
  for (int i = 0; i < 12; ++i) {
    environment["FIELDGATE_MQTT_" + std::to_string(i) + "_NAME"] = "lane" + std::to_string(i);
  }
  const Bound bound = bind_text(
      "devices: {tls: {certificate_file: c, key_file: k}}\n"
      "tokens: {file: t}\napi: {token_file: a}\n",
      environment);
  ASSERT_TRUE(bound.settings.has_value()) << testing::PrintToString(lines(bound.problems));
  ASSERT_EQ(bound.settings->mqtt.size(), 12U);
  EXPECT_EQ(bound.settings->mqtt[10].name, "lane10");
}

TEST(Override, RefusesAGapInAList) {
  EXPECT_TRUE(says(problems_with("", {{"FIELDGATE_MQTT_3_HOST", "x"}}),
                   {"environment variable FIELDGATE_MQTT_3_HOST: mqtt has 1 elements, so the next is number 1, "
                    "not 3"}));
}

TEST(Override, NamesTheVariableOfAValueThatIsRefused) {
  EXPECT_TRUE(says(problems_with("", {{"FIELDGATE_LOG_LEVEL", "loud"}}),
                   {"environment variable FIELDGATE_LOG_LEVEL: log.level must be one of debug"}));
}

TEST(Override, TakesItsValueAsItIs) {
  const Bound bound = bind_text(k_sound, {{"FIELDGATE_MQTT_0_PASSWORD", "a${b}$$"}});
  ASSERT_TRUE(bound.settings.has_value());
  EXPECT_EQ(bound.settings->mqtt[0].password.value, "a${b}$$");
}

TEST(Override, RefusesAVariableThatSetsNothing) {
  EXPECT_TRUE(says(problems_with("", {{"FIELDGATE_DEVICE_LISTEN", "x"}, {"FIELDGATE_MQTT_0_HOSTS", "y"}}),
                   {"environment variable FIELDGATE_DEVICE_LISTEN: sets no key of the configuration; unset it, or "
                    "did you mean FIELDGATE_DEVICES_LISTEN?",
                    "environment variable FIELDGATE_MQTT_0_HOSTS: sets no key of the configuration; unset it, or "
                    "did you mean FIELDGATE_MQTT_0_HOST?"}));
}

TEST(Override, LeavesTheVariablesOfToolsAlone) {
  EXPECT_TRUE(says(problems_with("", {{"FIELDGATE_CONFIG", "f"},
                                      {"FIELDGATE_API", "a"},
                                      {"FIELDGATE_API_TOKEN", "t"},
                                      {"FIELDGATE_BIN", "b"},
                                      {"FIELDGATE_SOURCE", "s"},
                                      {"FIELDGATE_PROMTOOL", "p"},
                                      {"FIELDGAT", "other"},
                                      {"FIELDGATE", "other"}}),
                   {}));
}

TEST(Override, LeavesWhatKubernetesSetsForAServiceOfThatNameAlone) {
  EXPECT_TRUE(says(problems_with("", {{"FIELDGATE_SERVICE_HOST", "10.0.0.1"},
                                      {"FIELDGATE_SERVICE_PORT", "8443"},
                                      {"FIELDGATE_SERVICE_PORT_DEVICES", "8443"},
                                      {"FIELDGATE_PORT", "tcp://10.0.0.1:8443"},
                                      {"FIELDGATE_PORT_8443_TCP", "tcp://10.0.0.1:8443"},
                                      {"FIELDGATE_PORT_8443_TCP_PROTO", "tcp"},
                                      {"FIELDGATE_PORT_8443_TCP_PORT", "8443"},
                                      {"FIELDGATE_PORT_8443_TCP_ADDR", "10.0.0.1"},
                                      {"FIELDGATE_ADMIN_PORT_9090_TCP_ADDR", "10.0.0.1"}}),
                   {}));
  EXPECT_EQ(problems_with("", {{"FIELDGATE_PORT", "8443"}, {"FIELDGATE_PORT_X_TCP", "y"}}).size(), 2U);
}

TEST(Override, HasOneNamePerKey) {
  std::vector<std::string> patterns = override_patterns();
  EXPECT_GT(patterns.size(), 80U);
  EXPECT_TRUE(mentions(patterns, "FIELDGATE_MQTT_#_ROUTES_#_KINDS"));
  std::ranges::sort(patterns);
  EXPECT_EQ(std::ranges::adjacent_find(patterns), patterns.end());
}

}  // namespace
}  // namespace fieldgate::config
