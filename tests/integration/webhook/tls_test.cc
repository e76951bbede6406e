// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/webhook/lane_fixture.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace fieldgate::webhook {
namespace {

struct WebhookTls : LaneFixture {
  TargetProcess serve(const test::Identity& identity, bool ask_for_certificate = false) {
    std::vector<std::string> arguments = {"--certificate", dir.write("server.pem", identity.certificate), "--key",
                                          dir.write("server.key", identity.key)};
    if (ask_for_certificate) {
      arguments.push_back("--client-ca");
      arguments.push_back(dir.write("clients.pem", clients.certificate()));
    }
    return TargetProcess(arguments);
  }
  WebhookLaneSettings tls_settings(const TargetProcess& target) {
    auto with = settings(target.port());
    with.url = "https://localhost:" + std::to_string(target.port()) + "/in";
    with.allowed_networks.push_back("::1/128");
    with.ca_file = dir.write("ca.pem", authority.certificate());
    return with;
  }
  void expect_refused(const WebhookLaneSettings& with, const TargetProcess& target, const std::string& why) {
    start(with);
    feed_telemetry(1, 3);
    EXPECT_TRUE(complains(why)) << status().last_error;
    EXPECT_TRUE(reaches(LaneState::backing_off));
    lane->stop(milliseconds(0));
    EXPECT_EQ(feed.through(), 0U);
    EXPECT_EQ(target.counts().requests, 0U);
  }

  test::TempDir dir;
  test::Authority authority;
  test::Authority clients{"Clients"};
};

TEST_F(WebhookTls, ForwardsToATargetWhoseCertificateIsGood) {
  TargetProcess target = serve(authority.server());
  start(tls_settings(target));
  feed_telemetry(10, 200);
  expect_nothing_lost(target);
  EXPECT_EQ(probe.connects.get(), target.counts().connections);
}

TEST_F(WebhookTls, ForwardsToANumericAddressThatTheCertificateIsFor) {
  TargetProcess target = serve(authority.server());
  auto with = tls_settings(target);
  with.url = "https://127.0.0.1:" + std::to_string(target.port()) + "/in";
  start(with);
  feed_telemetry(1, 3);
  expect_nothing_lost(target);
}

TEST_F(WebhookTls, RefusesACertificateForAnotherHost) {
  test::LeafOptions options;
  options.common_names = {"localhost"};  // which counts for nothing
  options.san_dns = {"elsewhere.example"};
  options.server = true;
  TargetProcess target = serve(authority.issue(options));
  expect_refused(tls_settings(target), target, "certificate is not accepted: hostname mismatch");
}

TEST_F(WebhookTls, RefusesACertificateForAnotherAddress) {
  test::LeafOptions options;
  options.san_dns = {"localhost"};
  options.server = true;
  TargetProcess target = serve(authority.issue(options));
  auto with = tls_settings(target);
  with.url = "https://127.0.0.1:" + std::to_string(target.port()) + "/in";
  expect_refused(with, target, "certificate is not accepted: IP address mismatch");
}

TEST_F(WebhookTls, RefusesACertificateOfAnUnknownAuthority) {
  TargetProcess target = serve(authority.server());
  auto with = tls_settings(target);
  with.ca_file.clear();  // the system's
  expect_refused(with, target, "certificate is not accepted: ");
}

TEST_F(WebhookTls, RefusesACertificateThatHasExpired) {
  test::LeafOptions options;
  options.san_dns = {"localhost"};
  options.server = true;
  options.not_after = seconds(-60);
  TargetProcess target = serve(authority.issue(options));
  expect_refused(tls_settings(target), target, "certificate is not accepted: certificate has expired");
}

TEST_F(WebhookTls, ShowsItsClientCertificate) {
  TargetProcess target = serve(authority.server(), true);
  auto with = tls_settings(target);
  const test::Identity mine = clients.device("gw-1");
  with.certificate_file = dir.write("client.pem", mine.certificate);
  with.key_file = dir.write("client.key", mine.key);
  start(with);
  feed_telemetry(3, 20);
  expect_nothing_lost(target);
}

TEST_F(WebhookTls, BacksOffWhereAClientCertificateIsWantedAndTakesOneThatComesLater) {
  TargetProcess target = serve(authority.server(), true);
  auto with = tls_settings(target);
  const test::Identity wrong = authority.device("gw-1");
  with.certificate_file = dir.write("client.pem", wrong.certificate);
  with.key_file = dir.write("client.key", wrong.key);
  start(with);
  feed_telemetry(1, 3);
  EXPECT_TRUE(reaches(LaneState::backing_off));
  EXPECT_EQ(feed.through(), 0U);
  const test::Identity right = clients.device("gw-1");
  dir.write("client.pem", right.certificate);
  dir.write("client.key", right.key);
  expect_nothing_lost(target);
}

TEST_F(WebhookTls, GivesUpAHandshakeThatHangs) {
  TargetProcess target = serve(authority.server());
  target.tell("mute");
  auto with = tls_settings(target);
  with.connect_timeout = seconds(1);
  start(with);
  feed_telemetry(1, 3);
  EXPECT_TRUE(complains("TLS: no answer in time"));
  target.tell("loud");
  expect_nothing_lost(target);
}

TEST_F(WebhookTls, SaysThatThePlainTargetSpeaksNoTls) {
  TargetProcess target;
  expect_refused(tls_settings(target), target, "TLS: ");
}

}  // namespace
}  // namespace fieldgate::webhook
