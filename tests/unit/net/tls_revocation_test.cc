// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_context.h"
#include "tests/unit/net/tls_fixture.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <ctime>

namespace fieldgate::test {
namespace {

class Revocation : public TlsVersions {
 protected:
  Revocation() { revoke({}); }

  // A list of the site's authority with these in it, and no others.
  void revoke(std::vector<std::string> certificates) {
    write_lists(site.authority.revocation_list({.revoked = std::move(certificates)}));
  }
  void write_lists(const std::string& pem) { site.settings.crl_file = site.dir.write("revoked.pem", pem); }

  // "established", or why not.
  std::string connect(const Identity& identity) const { return connect(identity, *site.load()); }
  std::string connect(const Identity& identity, const TlsContext& context) const {
    TlsPair pair(context, client(&identity));
    pair.run();
    if (pair.established) return "established";
    EXPECT_TRUE(pair.io.failure().certificate) << pair.io.failure().text;
    return pair.io.failure().text;
  }
};

INSTANTIATE_TEST_SUITE_P(Tls, Revocation, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) { return version.param == TLS1_3_VERSION ? "Tls13" : "Tls12"; });

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

TEST_P(Revocation, KeepsARevokedDeviceOutAndNoOther) {
  const Identity other = site.authority.device("dev-2");
  EXPECT_EQ(connect(site.device), "established");
  revoke({site.device.certificate});
  EXPECT_TRUE(contains(connect(site.device), "revoked")) << connect(site.device);
  EXPECT_EQ(connect(other), "established");
}

TEST_P(Revocation, WantsAListOfWhoeverIssuedTheDevicesCertificate) {
  const Authority second("Second CA");
  site.settings.client_ca_file = site.dir.write("both.pem", site.authority.certificate() + second.certificate());
  const Identity of_second = second.device("dev-2");
  EXPECT_EQ(connect(site.device), "established");
  EXPECT_TRUE(contains(connect(of_second), "CRL")) << connect(of_second);
  write_lists(site.authority.revocation_list({}) + second.revocation_list({}));
  EXPECT_EQ(connect(of_second), "established");
}

TEST_P(Revocation, LooksAtIntermediatesWhereThereIsAListOfTheirIssuer) {
  const Authority issuing = site.authority.intermediate("Issuing CA");
  const Identity device = issuing.device("dev-2");
  EXPECT_TRUE(contains(connect(device), "CRL")) << "there is no list of the issuing authority";
  write_lists(issuing.revocation_list({}));
  EXPECT_EQ(connect(device), "established") << "the root's own list is not needed";
  write_lists(issuing.revocation_list({}) + site.authority.revocation_list({}));
  EXPECT_EQ(connect(device), "established");
  write_lists(issuing.revocation_list({}) + site.authority.revocation_list({.revoked = {issuing.certificate()}}));
  EXPECT_TRUE(contains(connect(device), "revoked"));
  write_lists(issuing.revocation_list({.revoked = {device.certificate}}));
  EXPECT_TRUE(contains(connect(device), "revoked"));
  // A list by somebody who only bears the name counts for nothing.
  const Authority impostor("Issuing CA");
  write_lists(impostor.revocation_list({}));
  EXPECT_NE(connect(device), "established");
}

// OpenSSL by itself would resume it as verified.
TEST_P(Revocation, ResumesNoSessionOfBeforeTheRevocation) {
  const auto before = site.load();
  TlsPair first(*before, client(&site.device));
  first.run();
  ASSERT_TRUE(first.established) << first.io.failure().text;
  ASSERT_TRUE(first.client.session());
  auto options = client(&site.device);
  options.resume = first.client.session();
  {
    TlsPair again(*TlsContext::load(site.settings, &before->ticket_keys()).value(), options);
    again.run();
    ASSERT_TRUE(again.established);
    EXPECT_TRUE(again.channel.peer().value().resumed) << "or the test below shows nothing";
  }
  revoke({site.device.certificate});
  const auto after = TlsContext::load(site.settings, &before->ticket_keys()).value();
  EXPECT_NE(after->ticket_keys().bytes, before->ticket_keys().bytes);
  TlsPair second(*after, options);
  second.run();
  EXPECT_EQ(second.status, TlsStatus::failed);
  EXPECT_TRUE(contains(second.io.failure().text, "revoked")) << second.io.failure().text;
}

TEST_P(Revocation, IsSeenOnALiveConnection) {
  for (const bool settled : {false, true}) {
    revoke({});
    const auto before = site.load();
    TlsPair pair(*before, client(&site.device));
    pair.run();
    ASSERT_TRUE(pair.established) << pair.io.failure().text;
    if (settled) pair.channel.settle();
    EXPECT_TRUE(still_trusted(pair.channel.native(), *site.load())) << settled;
    revoke({site.device.certificate});
    EXPECT_FALSE(still_trusted(pair.channel.native(), *site.load())) << settled;
    EXPECT_TRUE(still_trusted(pair.channel.native(), *before)) << "what is judged is the new trust";
  }
}

TEST_P(Revocation, GoesOnWithAListWhoseSuccessorDoesNotCome) {
  const Identity other = site.authority.device("dev-2");
  write_lists(site.authority.revocation_list(
      {.revoked = {site.device.certificate}, .next_update = std::chrono::seconds(3'600)}));
  const auto context = site.load();
  EXPECT_NEAR(static_cast<double>(context->crl_next_update_unix()), static_cast<double>(std::time(nullptr) + 3'600),
              60);
  X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(context->native()), std::time(nullptr) + 2 * 3'600);
  EXPECT_EQ(connect(other, *context), "established");
  EXPECT_TRUE(contains(connect(site.device, *context), "revoked"));
}

TEST(RevocationLists, AreOptional) {
  const TlsSite site;
  EXPECT_EQ(site.load()->crl_next_update_unix(), 0);
}

TEST(RevocationLists, ArePartOfTheTrust) {
  TlsSite site;
  const Authority second("Second CA");
  const auto trust = [&](const std::string& pem) {
    site.settings.crl_file = site.dir.write("revoked.pem", pem);
    return site.load()->trust();
  };
  const auto without = site.load()->trust();
  const std::string a = site.authority.revocation_list({});
  const std::string b = second.revocation_list({});
  EXPECT_NE(trust(a), without);
  EXPECT_EQ(trust(a + b), trust(b + a));
  EXPECT_NE(trust(a), trust(site.authority.revocation_list({.revoked = {site.device.certificate}})));
}

TEST(RevocationLists, SayWhatIsWrongWithThemAndWhatToDo) {
  TlsSite site;
  const auto problem = [&](const std::string& pem) {
    site.settings.crl_file = site.dir.write("revoked.pem", pem);
    const auto context = TlsContext::load(site.settings, nullptr);
    if (context) return std::string("none");
    EXPECT_TRUE(contains(context.error().detail, "crl_file " + site.settings.crl_file + ": "))
        << context.error().detail;
    return context.error().detail;
  };
  const Authority& authority = site.authority;
  const std::string good = authority.revocation_list({});
  EXPECT_EQ(problem(good), "none");
  EXPECT_TRUE(contains(problem("junk"), "holds no list; it must be PEM"));
  EXPECT_TRUE(contains(problem(""), "holds no list"));
  EXPECT_TRUE(contains(problem(good + good.substr(0, 200)), "list 2 cannot be read"));
  using std::chrono::hours;
  const std::string old = authority.revocation_list({.last_update = hours(-48), .next_update = hours(-24)});
  EXPECT_TRUE(contains(problem(good + old), "list 2, of /CN=Fieldgate test CA, is out of date since 20"));
  EXPECT_TRUE(contains(problem(old), "get the newest from the authority"));
  EXPECT_TRUE(contains(problem(authority.revocation_list({.last_update = hours(24), .next_update = hours(48)})),
                       "is valid only from 20"));
  EXPECT_TRUE(contains(problem(authority.revocation_list({.delta = true})), "is a delta"));
  EXPECT_TRUE(contains(problem(Authority().revocation_list({})), "is not signed by the authority of client_ca_file"));
  const Authority without_the_right("No lists", "critical,keyCertSign");
  site.settings.client_ca_file = site.dir.write("ca.pem", without_the_right.certificate());
  EXPECT_TRUE(contains(problem(without_the_right.revocation_list({})), "does not allow it to"));
}

TEST(RevocationLists, AreReadFromAFileThatIsThereAndWantAuthorities) {
  TlsSite site;
  site.settings.crl_file = site.dir.file("gone.pem");
  EXPECT_TRUE(
      contains(TlsContext::load(site.settings, nullptr).error().detail, "gone.pem: cannot be read: No such file"));
  site.settings.client_ca_file.clear();
  EXPECT_TRUE(contains(TlsContext::load(site.settings, nullptr).error().detail, "client_ca_file, whose authorities"));
}

TEST(TlsContextHolder, SaysThatARevocationHasChangedTheTrust) {
  TlsSite site;
  TlsContextHolder holder(site.load());
  site.settings.crl_file = site.dir.write("revoked.pem", site.authority.revocation_list({}));
  EXPECT_EQ(holder.rotate(site.settings).value(), true);
  EXPECT_EQ(holder.rotate(site.settings).value(), false);
  site.dir.write("revoked.pem", site.authority.revocation_list({.revoked = {site.device.certificate}}));
  EXPECT_EQ(holder.rotate(site.settings).value(), true);
  site.dir.write("revoked.pem", "junk");
  const auto kept = holder.current();
  EXPECT_FALSE(holder.rotate(site.settings).has_value());
  EXPECT_EQ(holder.current(), kept);
}

}  // namespace
}  // namespace fieldgate::test
