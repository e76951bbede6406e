// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/checks.h"

#include "tests/unit/config/bind_text.h"

#include <gtest/gtest.h>

namespace fieldgate::config {
namespace {

// One configuration that does not fit together, in whole, and what is said.
struct Case {
  const char* name;
  const char* text;
  const char* problem;
};

constexpr const char* k_tls = "devices: {tls: {certificate_file: c, key_file: k}}\n";
constexpr const char* k_rest = "tokens: {file: t}\napi: {token_file: a}\nmqtt: [{}]\n";

class FitTogether : public testing::TestWithParam<Case> {};

TEST_P(FitTogether, SaysWhatDoesNot) {
  const Bound bound = bind_text(GetParam().text);
  EXPECT_TRUE(says(lines(bound.problems), {GetParam().problem}));
  EXPECT_EQ(bound.settings.has_value(), !any_error(bound.problems));
}

const Case k_cases[] = {
    {"PlainTextOffLoopback", "devices: {tls: {enabled: false}}\ntokens: {file: t}\napi: {token_file: a}\nmqtt: [{}]",
     "f.yaml:1:26: devices.tls.enabled may be false only where devices.listen is a loopback address"},
    {"NoCertificate", "tokens: {file: t}\napi: {token_file: a}\nmqtt: [{}]",
     "f.yaml:1:1: devices.tls.certificate_file and key_file are missing"},
    {"CertificateWithoutKey",
     "devices: {tls: {certificate_file: c}}\ntokens: {file: t}\napi: {token_file: a}\nmqtt: [{}]",
     "f.yaml:1:11: devices.tls.key_file is missing"},
    {"KeyWithoutCertificate", "devices: {tls: {key_file: c}}\ntokens: {file: t}\napi: {token_file: a}\nmqtt: [{}]",
     "f.yaml:1:11: devices.tls.certificate_file is missing"},
    {"RequiredCertificateWithoutCa",
     "devices: {tls: {certificate_file: c, key_file: k, client_certificate: required}}\ntokens: {file: t}\n"
     "api: {token_file: a}\nmqtt: [{}]",
     "devices.tls.client_ca_file is missing: client_certificate is required"},
    {"NobodyCouldAuthenticate",
     "devices: {tls: {certificate_file: c, key_file: k}}\napi: {token_file: a}\nmqtt: [{}]\nstore: {kind: none}",
     "tokens.file is missing, and so is devices.tls.client_ca_file: no device could ever authenticate"},
    {"NobodyCouldAuthenticateInPlainText",
     "devices: {listen: 127.0.0.1:1, tls: {enabled: false, client_ca_file: c}}\napi: {token_file: a}\nmqtt: "
     "[{}]\nstore: {kind: none}",
     "no device could ever authenticate"},
    {"ApiWithoutTokens", "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\nmqtt: [{}]",
     "f.yaml:1:1: api.token_file is missing"},
    {"ApiKeyWithoutCertificate",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a, key_file: k}\n"
     "mqtt: [{}]",
     "f.yaml:3:1: api.certificate_file is missing"},
    {"ApiInClear",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\n"
     "api: {token_file: a, listen: 0.0.0.0:8080}\nmqtt: [{}]",
     "f.yaml:3:30: warning: api.listen is not a loopback address"},
    {"OnePortTwice",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\n"
     "api: {token_file: a, listen: 127.0.0.1:8443}\nmqtt: [{}]",
     "f.yaml:3:30: api.listen takes the port of devices.listen"},
    {"NoLane", "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}",
     "warning: mqtt has no lane, and webhooks has none: records go nowhere"},
    {"NoRequiredLane",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{required: false}]",
     "f.yaml:4:1: warning: mqtt has no required lane: devices cannot be granted the FORWARDED stage"},
    {"NoRequiredLaneOfEitherKind",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "webhooks: [{url: 'https://a'}]",
     "f.yaml:4:1: warning: webhooks has no required lane: devices cannot be granted the FORWARDED stage"},
    {"RequiredLaneWithMaxAge",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{max_age: 24h}]",
     "f.yaml:4:18: warning: mqtt[0].max_age lets acknowledged records expire unsent: the lane is required"},
    {"LaneNameTwice",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{name: a}, {name: b}, {name: a}]",
     "f.yaml:4:37: mqtt[2].name is the name of mqtt[0] already"},
    {"ClientIdTwice",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{name: a, client_id: x}, {name: b, client_id: x}]",
     "f.yaml:4:54: mqtt[1].client_id is another lane's at the same broker"},
    {"KindTwiceInARoute",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{routes: [{kinds: [event, event]}]}]",
     "f.yaml:4:34: mqtt[0].routes[0].kinds[1] names event a second time"},
    {"KindInTwoRoutes",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{routes: [{kinds: [event]}, {kinds: [state, event]}]}]",
     "f.yaml:4:52: mqtt[0].routes[1].kinds[1] names event a second time"},
    {"RouteOfNothing",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{routes: [{payload: json}]}]",
     "mqtt[0].routes[0].kinds is empty"},
    {"TwoPasswords",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{password: p, password_file: f}]",
     "mqtt[0].password_file and password are both set"},
    {"PasswordInClear",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{password: p, host: broker.example.com}]",
     "warning: mqtt[0].tls.enabled is false: the password travels in clear to broker.example.com"},
    {"BrokerCertificateWithoutKey",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{tls: {certificate_file: c}}]",
     "f.yaml:4:9: mqtt[0].tls.key_file is missing"},
    {"BackoffUpsideDown",
     "devices: {tls: {certificate_file: c, key_file: k}}\ntokens: {file: t}\napi: {token_file: a}\n"
     "mqtt: [{backoff_min: 40s}]",
     "f.yaml:4:22: mqtt[0].backoff_min must not be above backoff_max"},
    {"JwtWithoutAudience",
     "devices: {tls: {certificate_file: c, key_file: k}}\napi: {token_file: a}\nmqtt: [{}]\n"
     "tokens: {jwt: {jwks_file: /x}}",
     "tokens.jwt.audience is missing"},
    {"JwtKeyWithoutFile",
     "devices: {tls: {certificate_file: c, key_file: k}}\napi: {token_file: a}\nmqtt: [{}]\n"
     "tokens: {jwt: {audience: a, keys: [{id: k}]}}",
     "tokens.jwt.keys[0].file is missing"},
    {"JwtKeysOfOneId",
     "devices: {tls: {certificate_file: c, key_file: k}}\napi: {token_file: a}\nmqtt: [{}]\n"
     "tokens: {jwt: {audience: a, keys: [{id: k, file: /x}, {id: k, file: /y}]}}",
     "tokens.jwt.keys[1].id is another key's"},
};

INSTANTIATE_TEST_SUITE_P(Config, FitTogether, testing::ValuesIn(k_cases),
                         [](const auto& one) { return std::string(one.param.name); });

// The same for keys of sections that k_tls and k_rest leave out.
const Case k_section_cases[] = {
    {"HeartbeatBelowItsMinimum", "session: {heartbeat: 4s}",
     "session.heartbeat_min must not be above session.heartbeat"},
    {"HeartbeatAboveItsMaximum", "session: {heartbeat_max: 20s}",
     "session.heartbeat_max must not be below session.heartbeat"},
    {"CreditBelowAFrame", "session: {credit_bytes: 32KiB}",
     "session.credit_bytes must be at least limits.frame_bytes_max"},
    {"BurstBelowAFrame", "limits: {bytes_burst: 32KiB}", "limits.bytes_burst must be at least limits.frame_bytes_max"},
    {"MemoryTooSmallForAFrame",
     "uplink: {memory_bytes_max: 1MiB}\nlimits: {frame_bytes_max: 512KiB, bytes_burst: 1MiB}\n"
     "session: {credit_bytes: 1MiB}",
     "uplink.memory_bytes_max must be at least 4 x limits.frame_bytes_max"},
    {"SpoolTooSmallForAFrame",
     "uplink: {spool: {enabled: true, bytes_max: 4MiB}}\n"
     "limits: {frame_bytes_max: 2MiB, bytes_burst: 2MiB}\nsession: {credit_bytes: 2MiB}",
     "uplink.spool.bytes_max must be at least 4 x limits.frame_bytes_max"},
    {"WebhookWithoutUrl", "webhooks: [{name: a}]", "f.yaml:5:12: webhooks[0].url is missing"},
    {"WebhookWithAUserName", "webhooks: [{url: 'https://u:p@a'}]",
     "f.yaml:5:18: webhooks[0].url must not hold a user name: use headers for credentials"},
    {"WebhookThatRetriesTooLittle", "webhooks: [{url: 'https://a', retry_statuses: [404, 429]}]",
     "warning: webhooks[0].retry_statuses leaves out 401, 403: records answered so become dead letters"},
    {"WebhookWithTheNameOfABroker", "webhooks: [{name: main, url: 'https://a'}]",
     "f.yaml:5:19: webhooks[0].name is the name of mqtt[0] already"},
    {"TwoWebhooksWithoutNames", "webhooks: [{url: 'https://a'}, {url: 'https://b'}]",
     "f.yaml:5:32: webhooks[1].name is the name of webhooks[0] already"},
    {"TwoSecrets", "webhooks: [{url: 'https://a', secret: s, secret_file: f}]",
     "webhooks[0].secret_file and secret are both set"},
    {"WebhookCertificateWithoutKey", "webhooks: [{url: 'https://a', certificate_file: c}]",
     "webhooks[0].key_file is missing"},
    {"WebhookKeyWithoutCertificate", "webhooks: [{url: 'https://a', key_file: k}]",
     "webhooks[0].certificate_file is missing"},
    {"WebhookBackoffUpsideDown", "webhooks: [{url: 'https://a', backoff_max: 100ms}]",
     "webhooks[0].backoff_min must not be above backoff_max"},
    {"WebhookSecretInClear", "webhooks: [{url: 'http://a.example.com:8080/x', secret: s}]",
     "f.yaml:5:18: warning: webhooks[0].url is not https: headers and records travel in clear to a.example.com"},
    {"WebhookHeaderInClear", "webhooks: [{url: 'http://[2001:db8::1]', headers: [{name: Authorization, value: x}]}]",
     "warning: webhooks[0].url is not https: headers and records travel in clear to 2001:db8::1"},
    {"WebhookHeaderTwice",
     "webhooks: [{url: 'https://a', headers: [{name: X-Key, value: a}, {name: x-key, value: b}]}]",
     "f.yaml:5:73: webhooks[0].headers[1].name names x-key a second time"},
    {"WebhookHeaderWithoutName", "webhooks: [{url: 'https://a', headers: [{value: a}]}]",
     "webhooks[0].headers[0].name is missing"},
    {"WebhookBatchBelowAFrame", "webhooks: [{url: 'https://a', batch_bytes_max: 32KiB}]",
     "f.yaml:5:48: warning: webhooks[0].batch_bytes_max is below limits.frame_bytes_max"},
    {"RequiredWebhookWithMaxAge", "webhooks: [{url: 'https://a', required: true, max_age: 1h}]",
     "f.yaml:5:56: warning: webhooks[0].max_age lets acknowledged records expire unsent"},
    {"AcksBeyondTheCredit", "session: {ack_every_frames: 65}",
     "warning: session.ack_every_frames is above session.credit_frames"},
    {"PostgresWithoutConnection", "store: {kind: postgres}", "store.connection is missing"},
    {"StorePasswordTwice", "store: {kind: postgres, connection: 'host=db', password: a, password_file: /x}",
     "store.password_file and password are both set"},
    {"AutoRegisterWithoutAStore", "store: {kind: none}\nregistry: {auto_register: true}",
     "warning: registry.auto_register has no effect without a store"},
    {"CommandsTimeoutOverItsMost", "commands: {timeout: 2h, timeout_max: 1h}", "commands.timeout is over"},
    {"CommandsTtlOverItsMost", "commands: {ttl: 2h, ttl_max: 1h}", "commands.ttl is over"},
    {"MemoryMarksTheWrongWayRound", "limits: {memory_low: 95}", "limits.memory_low must not be above"},
    {"DescriptorMarksTheWrongWayRound", "limits: {descriptors_high: 50}", "limits.descriptors_low must not be above"},
    {"LaneNamedAsTheStores", "webhooks: [{url: 'https://a', name: store}]", "webhooks[0].name is the name"},
};

class SectionFits : public testing::TestWithParam<Case> {};

TEST_P(SectionFits, SaysWhatDoesNot) {
  const std::string text = std::string(k_tls) + k_rest + GetParam().text;
  EXPECT_TRUE(says(lines(bind_text(text).problems), {GetParam().problem}));
}

INSTANTIATE_TEST_SUITE_P(Config, SectionFits, testing::ValuesIn(k_section_cases),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(CheckTogether, LetsPlainTextBeOnLoopback) {
  EXPECT_TRUE(says(
      lines(bind_text("devices: {listen: '[::1]:8443', tls: {enabled: false}}\n" + std::string(k_rest)).problems), {}));
}

TEST(CheckTogether, TakesARequiredWebhookForARequiredLane) {
  EXPECT_TRUE(says(lines(bind_text(std::string(k_tls) + "tokens: {file: t}\napi: {token_file: a}\n"
                                                        "webhooks: [{url: 'https://a', required: true}]")
                             .problems),
                   {}));
}

TEST(CheckTogether, LetsASecretGoInClearOverLoopback) {
  for (const char* host : {"127.0.0.1:8080", "[::1]", "localhost"}) {
    EXPECT_TRUE(says(problems_with("webhooks: [{url: 'http://" + std::string(host) + "/x', secret: s}]"), {})) << host;
  }
}

TEST(CheckTogether, LetsALaneThatIsNotRequiredForgetWhatIsOld) {
  EXPECT_TRUE(says(problems_with("webhooks: [{url: 'https://a', max_age: 1h}]"), {}));
}

TEST(CheckTogether, LeavesOutWhatRestsOnARefusedKey) {
  // The misspelt certificate is not missing as well, nor is the heartbeat, which
  // nobody has chosen, below its minimum.
  const Bound bound = bind_text("devices: {tls: {certificat_file: c, key_file: k}}\n" + std::string(k_rest) +
                                "session: {heartbeat: x, heartbeat_min: 40s}\n");
  EXPECT_TRUE(
      says(lines(bound.problems), {"unknown key \"certificat_file\"", "session.heartbeat must be a whole number"}));
}

TEST(CheckTogether, StillChecksWhatIsBesideARefusedKey) {
  EXPECT_TRUE(says(problems_with("log: {level: x}\nsession: {heartbeat_min: 40s}"),
                   {"log.level", "session.heartbeat_min must not be above"}));
}

}  // namespace
}  // namespace fieldgate::config
