// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_context.h"
#include "tests/unit/net/tls_fixture.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <ctime>
#include <filesystem>

namespace fieldgate::test {
namespace {

std::string problem(const DeviceTlsSettings& settings) {
  const auto context = TlsContext::load(settings, nullptr);
  return context ? "none" : context.error().detail;
}

#define EXPECT_PROBLEM(settings, file, words)                                       \
  do {                                                                              \
    const std::string text = problem(settings);                                     \
    EXPECT_NE(text.find(file), std::string::npos) << text << "\nnames no " << file; \
    EXPECT_NE(text.find(words), std::string::npos) << text;                         \
  } while (false)

TEST(TlsContext, LoadsACertificateAndKnowsItsEnd) {
  const TlsSite site;
  const auto context = site.load();
  const std::int64_t in_a_day = std::time(nullptr) + 86'400;
  EXPECT_NEAR(static_cast<double>(context->not_after_unix()), static_cast<double>(in_a_day), 60);
}

TEST(TlsContext, NamesTheFileThatIsMissing) {
  TlsSite site;
  DeviceTlsSettings settings = site.settings;
  settings.certificate_file = site.dir.file("gone.pem");
  EXPECT_PROBLEM(settings, settings.certificate_file, "No such file");
  settings = site.settings;
  settings.key_file = site.dir.file("gone.key");
  EXPECT_PROBLEM(settings, settings.key_file, "No such file");
  settings = site.settings;
  settings.client_ca_file = site.dir.file("gone-ca.pem");
  EXPECT_PROBLEM(settings, settings.client_ca_file, "No such file");
  settings = site.settings;
  settings.certificate_file = site.dir.path();
  EXPECT_PROBLEM(settings, settings.certificate_file, "cannot be read");
  settings.certificate_file.clear();
  EXPECT_PROBLEM(settings, "certificate_file", "not set");
}

TEST(TlsContext, NamesTheFileThatIsNotPem) {
  TlsSite site;
  DeviceTlsSettings settings = site.settings;
  settings.certificate_file = site.dir.write("junk.pem", "junk\n");
  EXPECT_PROBLEM(settings, settings.certificate_file, "holds no certificate");
  settings = site.settings;
  settings.key_file = site.dir.write("junk.key", "junk\n");
  EXPECT_PROBLEM(settings, settings.key_file, "no PEM private key");
  settings = site.settings;
  settings.client_ca_file = site.dir.write("empty.pem", "");
  EXPECT_PROBLEM(settings, settings.client_ca_file, "holds no certificate");
  settings.client_ca_file =
      site.dir.write("cut.pem", site.authority.certificate() + site.authority.certificate().substr(0, 200));
  EXPECT_PROBLEM(settings, settings.client_ca_file, "certificate 2 cannot be read");
}

TEST(TlsContext, RefusesAKeyOfAnotherPair) {
  TlsSite site;
  site.settings.key_file = site.dir.write("other.key", site.authority.server().key);
  EXPECT_PROBLEM(site.settings, site.settings.certificate_file, "does not belong to the key");
  EXPECT_PROBLEM(site.settings, site.settings.key_file, "same pair");
}

TEST(TlsContext, RefusesAChainThatDoesNotBeginWithTheLeaf) {
  TlsSite site;
  site.settings.certificate_file =
      site.dir.write("upside-down.pem", site.authority.certificate() + site.server.certificate);
  EXPECT_PROBLEM(site.settings, site.settings.certificate_file, "leaf must come first");
}

TEST(TlsContext, RefusesAnEncryptedKeyAndSaysWhatToDo) {
  TlsSite site;
  site.settings.key_file = site.dir.write("locked.key", encrypted_key(site.server.key, "secret"));
  EXPECT_PROBLEM(site.settings, site.settings.key_file, "is encrypted; decrypt it");
}

TEST(TlsContext, RefusesAnExpiredCertificate) {
  TlsSite site;
  LeafOptions options;
  options.common_names = {"localhost"};
  options.server = true;
  options.not_before = std::chrono::hours(-48);
  options.not_after = std::chrono::hours(-24);
  const Identity expired = site.authority.issue(options);
  site.settings.certificate_file = site.dir.write("old.pem", expired.certificate);
  site.settings.key_file = site.dir.write("old.key", expired.key);
  EXPECT_PROBLEM(site.settings, site.settings.certificate_file, "expired at 20");
}

TEST(TlsContext, RefusesAClientCaThatIsNoCa) {
  TlsSite site;
  site.settings.client_ca_file = site.dir.write("leaf.pem", site.device.certificate);
  EXPECT_PROBLEM(site.settings, site.settings.client_ca_file, "is not a CA certificate");
}

TEST(TlsContext, RefusesToRequireCertificatesThatNobodyMaySign) {
  TlsSite site;
  site.settings.client_ca_file.clear();
  EXPECT_EQ(problem(site.settings), "none");
  site.settings.client_certificate = ClientCertificate::required;
  EXPECT_PROBLEM(site.settings, "client_ca_file", "not set");
}

TEST(TlsContextTrust, IsTheSameForTheSameCertificatesInAnyOrder) {
  TlsSite site;
  const Authority second("Second CA");
  const auto trust = [&](const std::string& pem, ClientCertificate mode = ClientCertificate::optional) {
    DeviceTlsSettings settings = site.settings;
    settings.client_ca_file = site.dir.write("trust.pem", pem);
    settings.client_certificate = mode;
    return TlsContext::load(settings, nullptr).value()->trust();
  };
  const std::string a = site.authority.certificate();
  const std::string b = second.certificate();
  EXPECT_EQ(trust(a + b), trust("a comment\n" + b + a));
  EXPECT_NE(trust(a), trust(b));
  EXPECT_NE(trust(a), trust(a + b));
  EXPECT_NE(trust(a), trust(a, ClientCertificate::required));
}

TEST(TlsContextTrust, CarriesTicketKeysOverAsLongAsItStaysTheSame) {
  TlsSite site;
  const auto first = site.load();
  const Identity renewed = site.authority.server();
  site.settings.certificate_file = site.dir.write("renewed.pem", renewed.certificate);
  site.settings.key_file = site.dir.write("renewed.key", renewed.key);
  const auto second = TlsContext::load(site.settings, &first->ticket_keys()).value();
  EXPECT_EQ(second->ticket_keys().bytes, first->ticket_keys().bytes);

  site.settings.client_ca_file = site.dir.write("other-ca.pem", Authority("Other CA").certificate());
  const auto third = TlsContext::load(site.settings, &second->ticket_keys()).value();
  EXPECT_NE(third->ticket_keys().bytes, second->ticket_keys().bytes);

  EXPECT_NE(site.load()->ticket_keys().bytes, site.load()->ticket_keys().bytes) << "without a carry-over";
}

TEST(TlsContextHolder, KeepsTheCurrentContextWhereTheNewOneIsBad) {
  TlsSite site;
  const auto first = site.load();
  TlsContextHolder holder(first);
  DeviceTlsSettings bad = site.settings;
  bad.key_file = site.dir.write("other.key", site.authority.server().key);
  EXPECT_FALSE(holder.rotate(bad).has_value());
  EXPECT_EQ(holder.current(), first);
}

TEST(TlsContextHolder, SaysWhetherTheTrustHasChanged) {
  TlsSite site;
  TlsContextHolder holder(site.load());
  const auto first = holder.current();
  EXPECT_EQ(holder.rotate(site.settings).value(), false);
  EXPECT_NE(holder.current(), first);
  site.settings.client_ca_file = site.dir.write("other-ca.pem", Authority("Other CA").certificate());
  EXPECT_EQ(holder.rotate(site.settings).value(), true);
}

// With OpenSSL's own copy of the certificates, and with what settle() leaves.
class StillTrusted : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<TlsPair> connect(const Identity* identity) {
    auto pair = std::make_unique<TlsPair>(*site.load(), site.client(identity));
    pair->run();
    EXPECT_TRUE(pair->established) << pair->io.failure().text;
    if (GetParam()) pair->channel.settle();
    return pair;
  }

  TlsSite site;
};

INSTANTIATE_TEST_SUITE_P(Channel, StillTrusted, testing::Bool(),
                         [](const auto& settled) { return settled.param ? "Settled" : "Fresh"; });

TEST_P(StillTrusted, JudgesALivePeerByTheNewTrust) {
  const auto pair = connect(&site.device);
  EXPECT_TRUE(still_trusted(pair->channel.native(), *site.load()));

  const Authority other("Other CA");
  site.settings.client_ca_file = site.dir.write("both.pem", other.certificate() + site.authority.certificate());
  EXPECT_TRUE(still_trusted(pair->channel.native(), *site.load()));
  site.settings.client_ca_file = site.dir.write("other.pem", other.certificate());
  EXPECT_FALSE(still_trusted(pair->channel.native(), *site.load()));
  site.settings.client_ca_file.clear();
  EXPECT_FALSE(still_trusted(pair->channel.native(), *site.load()));
}

TEST_P(StillTrusted, LetsAPeerWithoutCertificateStayUnlessOneIsRequired) {
  const auto pair = connect(nullptr);
  EXPECT_TRUE(still_trusted(pair->channel.native(), *site.load()));
  site.settings.client_certificate = ClientCertificate::required;
  EXPECT_FALSE(still_trusted(pair->channel.native(), *site.load()));
}

TEST_P(StillTrusted, UsesTheIntermediatesOfAFullHandshake) {
  const Authority issuing = site.authority.intermediate("Issuing CA");
  const Identity device = issuing.device("dev-2");
  const auto pair = connect(&device);
  EXPECT_TRUE(still_trusted(pair->channel.native(), *site.load()));
  site.settings.client_ca_file = site.dir.write("other.pem", Authority("Other CA").certificate());
  EXPECT_FALSE(still_trusted(pair->channel.native(), *site.load()));
}

TEST_P(StillTrusted, SeesThatACertificateHasExpired) {
  const auto pair = connect(&site.device);
  const auto later = site.load();
  X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(later->native()), std::time(nullptr) + 2 * 86'400);
  EXPECT_FALSE(still_trusted(pair->channel.native(), *later));
}

}  // namespace
}  // namespace fieldgate::test
