// SPDX-License-Identifier: Apache-2.0
//
// Who is let in, who is resumed, and what is said of the peer.
#include "gateway/net/tls_channel.h"
#include "tests/unit/net/tls_fixture.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <ctime>
#include <memory>

namespace fieldgate::test {
namespace {

class TlsCredentials : public TlsVersions {};

INSTANTIATE_TEST_SUITE_P(TlsPeer, TlsCredentials, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) { return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(TlsCredentials, RequiresACertificateWhereItIsToldTo) {
  site.settings.client_certificate = ClientCertificate::required;
  const auto context = site.load();
  TlsPair without(*context, client());
  without.run();
  EXPECT_EQ(without.status, TlsStatus::failed);
  EXPECT_TRUE(without.io.failure().certificate) << without.io.failure().text;

  TlsPair with(*context, client(&site.device));
  with.run();
  ASSERT_TRUE(with.established) << with.io.failure().text;
  const auto credentials = with.channel.peer().value().credentials;
  EXPECT_TRUE(credentials.has_certificate);
  EXPECT_EQ(credentials.san_uris, std::vector<std::string>{"urn:fieldgate:device:dev-1"});
  EXPECT_EQ(credentials.common_name, "");
}

TEST_P(TlsCredentials, LetsADeviceWithoutCertificateInWhereItIsOptional) {
  TlsPair pair(*site.load(), client());
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  EXPECT_FALSE(pair.channel.peer().value().credentials.has_certificate);
}

TEST_P(TlsCredentials, RefusesCertificatesThatAreNotTrusted) {
  const auto context = site.load();
  const auto refused = [&](const Identity& identity) {
    TlsPair pair(*context, client(&identity));
    pair.run();
    EXPECT_EQ(pair.status, TlsStatus::failed);
    EXPECT_TRUE(pair.io.failure().certificate);
    EXPECT_NE(pair.client.error(), "") << "the client is told by an alert";
    return pair.io.failure().text;
  };
  EXPECT_NE(refused(Authority("Other CA").device("dev-1")).find("unable to get local issuer"), std::string::npos);
  EXPECT_NE(refused(site.authority.server()).find("unsuitable certificate purpose"), std::string::npos);
  LeafOptions expired;
  expired.san_uris = {"urn:fieldgate:device:dev-1"};
  expired.not_after = std::chrono::seconds(-60);
  EXPECT_NE(refused(site.authority.issue(expired)).find("certificate has expired"), std::string::npos);
}

TEST_P(TlsCredentials, TrustsAnIntermediateByItself) {
  const Authority issuing = site.authority.intermediate("Issuing CA");
  site.settings.client_ca_file = site.dir.write("issuing.pem", issuing.certificate());
  const auto context = site.load();
  const Identity ours = issuing.device("dev-1");
  TlsPair pair(*context, client(&ours));
  pair.run();
  EXPECT_TRUE(pair.established) << pair.io.failure().text;
  const Identity of_the_root = site.authority.device("dev-2");
  TlsPair other(*context, client(&of_the_root));
  other.run();
  EXPECT_TRUE(other.io.failure().certificate);
}

TEST_P(TlsCredentials, SaysThatTheClientDoesNotTrustTheGateway) {
  auto options = client();
  options.ca = Authority("Other CA").certificate();
  TlsPair pair(*site.load(), options);
  pair.run();
  pair.to_server(pair.client.take());
  EXPECT_EQ(pair.status, TlsStatus::failed);
  EXPECT_FALSE(pair.io.failure().certificate) << "not the client's certificate is at fault";
  EXPECT_TRUE(pair.io.failure().text.starts_with("alert from the peer: ")) << pair.io.failure().text;
}

TEST_P(TlsCredentials, ResumesAcrossANewLeafCertificate) {
  TlsContextHolder holder(site.load());
  TlsPair first(*holder.current(), client(&site.device));
  first.run();
  ASSERT_TRUE(first.client.session());

  const Identity renewed = site.authority.server();
  site.settings.certificate_file = site.dir.write("renewed.pem", renewed.certificate);
  site.settings.key_file = site.dir.write("renewed.key", renewed.key);
  ASSERT_EQ(holder.rotate(site.settings).value(), false);

  auto options = client(&site.device);
  options.resume = first.client.session();
  TlsPair second(*holder.current(), options);
  second.run();
  ASSERT_TRUE(second.established) << second.io.failure().text;
  EXPECT_EQ(SSL_session_reused(second.channel.native()), 1);
  EXPECT_EQ(SSL_session_reused(second.client.native()), 1);
  const auto peer = second.channel.peer().value();
  EXPECT_TRUE(peer.resumed);
  EXPECT_EQ(peer.credentials.san_uris, std::vector<std::string>{"urn:fieldgate:device:dev-1"});
}

TEST_P(TlsCredentials, DoesNotResumeAcrossAChangeOfTrust) {
  TlsContextHolder holder(site.load());
  TlsPair first(*holder.current(), client(&site.device));
  first.run();
  ASSERT_TRUE(first.client.session());

  site.settings.client_ca_file = site.dir.write("other.pem", Authority("Other CA").certificate());
  ASSERT_EQ(holder.rotate(site.settings).value(), true);
  auto options = client(&site.device);
  options.resume = first.client.session();
  TlsPair second(*holder.current(), options);
  second.run();
  EXPECT_EQ(second.status, TlsStatus::failed);
  EXPECT_TRUE(second.io.failure().certificate) << second.io.failure().text;
}

TEST_P(TlsCredentials, DoesNotResumeOnceTheClientsCertificateHasExpired) {
  LeafOptions brief;
  brief.san_uris = {"urn:fieldgate:device:dev-1"};
  brief.not_after = std::chrono::seconds(-60);
  const Identity device = site.authority.issue(brief);
  // A gateway that still lives half an hour ago, when the certificate was good.
  const auto earlier = site.load();
  X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(earlier->native()), std::time(nullptr) - 1800);
  TlsPair first(*earlier, client(&device));
  first.run();
  ASSERT_TRUE(first.established) << first.io.failure().text;
  ASSERT_TRUE(first.client.session());

  const auto now = TlsContext::load(site.settings, &earlier->ticket_keys()).value();
  ASSERT_EQ(now->ticket_keys().bytes, earlier->ticket_keys().bytes);
  auto options = client(&device);
  options.resume = first.client.session();
  TlsPair second(*now, options);
  second.run();
  EXPECT_EQ(second.status, TlsStatus::failed);
  EXPECT_TRUE(second.io.failure().certificate) << second.io.failure().text;
}

TEST_P(TlsCredentials, GivesNoTicketsWhereResumptionIsOff) {
  site.settings.resumption = false;
  TlsPair pair(*site.load(), client());
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  const auto session = pair.client.session();
  EXPECT_TRUE(!session || SSL_SESSION_has_ticket(session.get()) == 0);
}

TEST_P(TlsCredentials, GoesOnAsBeforeOnceSettled) {
  const auto context = site.load();
  TlsPair pair(*context, client(&site.device));
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  ASSERT_TRUE(pair.channel.peer().value().credentials.has_certificate);
  pair.channel.settle();
  pair.channel.settle();
  const auto peer = pair.channel.peer().value();
  EXPECT_STREQ(peer.version, is_13() ? "TLSv1.3" : "TLSv1.2");
  EXPECT_FALSE(peer.credentials.has_certificate);
  pair.client.write("up");
  pair.run();
  EXPECT_EQ(pair.received, "up");
  EXPECT_TRUE(pair.channel.write(pair.io, as_bytes("down")));
  pair.deliver();
  EXPECT_EQ(pair.client.plaintext(), "down");

  // The ticket was sealed before, and has the whole certificate.
  auto options = client(&site.device);
  options.resume = pair.client.session();
  TlsPair resumed(*context, options);
  resumed.run();
  const auto again = resumed.channel.peer().value();
  EXPECT_TRUE(again.resumed);
  EXPECT_EQ(again.credentials.san_uris, std::vector<std::string>{"urn:fieldgate:device:dev-1"});
  resumed.channel.settle();
  EXPECT_TRUE(still_trusted(resumed.channel.native(), *context));
}

// Which of the exchange's keys `ssl` can still show.
bool has_key(SSL* ssl, int which) {
  EVP_PKEY* key = nullptr;
  if (SSL_ctrl(ssl, which, 0, &key) != 1) return false;
  unsigned char* encoded = nullptr;
  const bool whole = EVP_PKEY_get1_encoded_public_key(key, &encoded) > 0;
  OPENSSL_free(encoded);
  EVP_PKEY_free(key);
  ERR_clear_error();
  return whole;
}

TEST_P(TlsCredentials, KeepsNeitherKeysNorSuitesOfTheExchangeOnceSettled) {
  const auto context = site.load();
  for (const char* group : {"X25519:P-256", "P-256"}) {  // TLS 1.2 asks for the certificate's among them
    auto options = client();
    options.groups = group;
    TlsPair pair(*context, options);
    pair.run();
    ASSERT_TRUE(pair.established) << pair.io.failure().text;
    SSL* const ssl = pair.channel.native();
    EXPECT_EQ(has_key(ssl, SSL_CTRL_GET_TMP_KEY), is_13()) << "TLS 1.2 frees its own at once";
    EXPECT_GT(sk_SSL_CIPHER_num(SSL_get_client_ciphers(ssl)), 0);
    pair.channel.settle();
    EXPECT_FALSE(has_key(ssl, SSL_CTRL_GET_TMP_KEY));
    EXPECT_FALSE(has_key(ssl, SSL_CTRL_GET_PEER_TMP_KEY));
    EXPECT_EQ(sk_SSL_CIPHER_num(SSL_get_client_ciphers(ssl)), 0);

    pair.client.write("up");
    if (is_13()) {
      ASSERT_EQ(SSL_key_update(pair.client.native(), SSL_KEY_UPDATE_REQUESTED), 1);
    }
    pair.client.write("and up");
    pair.run();
    EXPECT_EQ(pair.received, "upand up");
    EXPECT_TRUE(pair.channel.write(pair.io, as_bytes("down")));
    pair.deliver();
    EXPECT_EQ(pair.client.plaintext(), "down");

    options.resume = pair.client.session();
    TlsPair resumed(*context, options);
    resumed.run();
    EXPECT_TRUE(resumed.channel.peer().value().resumed);
    resumed.channel.settle();
    EXPECT_FALSE(has_key(resumed.channel.native(), SSL_CTRL_GET_TMP_KEY));
  }
}

// Of the first certificate in `pem`, by what is between its armour.
Sha256 fingerprint(const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                     BIO_free);
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  EXPECT_EQ(PEM_read_bio(in.get(), &name, &header, &der, &size), 1);
  Sha256 hash{};
  unsigned int bytes = 0;
  EVP_Digest(der, static_cast<std::size_t>(size), hash.data(), &bytes, EVP_sha256(), nullptr);
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(der);
  return hash;
}

TEST_P(TlsCredentials, NamesTheCertificateByItsFingerprintAlsoWhereItResumed) {
  const Authority issuing = site.authority.intermediate("Issuing CA");
  const Identity device = issuing.device("dev-1");
  const auto context = site.load();
  TlsPair first(*context, client(&device));
  first.run();
  ASSERT_TRUE(first.established) << first.io.failure().text;
  EXPECT_EQ(first.channel.peer().value().credentials.certificate_sha256, fingerprint(device.certificate));
  const std::int64_t end = first.channel.peer().value().certificate_not_after_unix;
  EXPECT_NEAR(static_cast<double>(end), static_cast<double>(std::time(nullptr) + 86'400), 3'600);
  auto options = client(&device);
  options.resume = first.client.session();
  TlsPair second(*context, options);
  second.run();
  ASSERT_TRUE(second.established) << second.io.failure().text;
  ASSERT_TRUE(second.channel.peer().value().resumed);
  EXPECT_EQ(second.channel.peer().value().credentials.certificate_sha256, fingerprint(device.certificate));
  EXPECT_EQ(second.channel.peer().value().certificate_not_after_unix, end);
}

TEST_P(TlsCredentials, KnowsWhichContextItBeganWith) {
  TlsContextHolder holder(site.load());
  const auto before = holder.current();
  TlsPair pair(*before, client());
  pair.run();
  EXPECT_TRUE(pair.channel.began_with(*before));
  holder.rotate(site.settings).value();
  EXPECT_FALSE(pair.channel.began_with(*holder.current()));
}

std::string peer_problem(const TlsSite& site, const LeafOptions& options) {
  const Identity identity = site.authority.issue(options);
  TlsPair pair(*site.load(), site.client(&identity));
  pair.run();
  EXPECT_TRUE(pair.established) << pair.io.failure().text;
  if (!pair.established) return "not established";
  const auto peer = pair.channel.peer();
  return peer ? "none" : peer.error().detail;
}

TEST(TlsPeer, ReadsNamesAsTheyAre) {
  const TlsSite site;
  LeafOptions options;
  options.common_names = {"Sensor Grün"};
  options.san_dns = {"ignored.example"};
  options.san_uris = {"urn:fieldgate:device:a", "spiffe://fleet/b"};
  const Identity identity = site.authority.issue(options);
  TlsPair pair(*site.load(), site.client(&identity));
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  const auto credentials = pair.channel.peer().value().credentials;
  EXPECT_EQ(credentials.common_name, "Sensor Grün");
  EXPECT_EQ(credentials.subject, "CN=Sensor Gr\\C3\\BCn") << "RFC 2253, in ASCII";
  EXPECT_EQ(credentials.san_uris, (std::vector<std::string>{"urn:fieldgate:device:a", "spiffe://fleet/b"}));
}

TEST(TlsPeer, CutsASubjectThatIsTooLongForPeople) {
  const TlsSite site;
  LeafOptions options;
  options.common_names = {"x"};
  for (int i = 0; i < 60; ++i) options.common_names[0] += "ü";  // six bytes each
  options.san_uris = {"urn:fieldgate:device:a"};
  const Identity identity = site.authority.issue(options);
  TlsPair pair(*site.load(), site.client(&identity));
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  const auto credentials = pair.channel.peer().value().credentials;
  EXPECT_EQ(credentials.subject.size(), 256U);
  EXPECT_TRUE(credentials.subject.starts_with("CN=x\\C3\\BC")) << credentials.subject;
}

TEST(TlsPeer, RefusesNamesThatCanBeReadInTwoWays) {
  const TlsSite site;
  const auto uri = [&](std::string value) {
    return peer_problem(site, {.common_names = {}, .san_uris = {std::move(value)}, .san_dns = {}, .san_ips = {}});
  };
  const auto names = [&](std::vector<std::string> values) {
    return peer_problem(site, {.common_names = std::move(values), .san_uris = {}, .san_dns = {}, .san_ips = {}});
  };
  using namespace std::string_literals;
  EXPECT_NE(uri("urn:fieldgate:device:a\0b"s).find("URI"), std::string::npos);
  EXPECT_NE(uri("urn:fieldgate:device:a b").find("URI"), std::string::npos);
  EXPECT_NE(uri("urn:fieldgate:device:a\n").find("URI"), std::string::npos);
  EXPECT_NE(uri("urn:fieldgate:device:\xC3\xBC").find("URI"), std::string::npos);
  EXPECT_NE(uri(std::string(513, 'u')).find("URI"), std::string::npos);
  EXPECT_NE(names({"a\0b"s}).find("common name"), std::string::npos);
  EXPECT_NE(names({"a\nb"}).find("common name"), std::string::npos);
  EXPECT_NE(names({"a", "b"}).find("more than one common name"), std::string::npos);
  EXPECT_EQ(uri("urn:fieldgate:device:a"), "none");
  EXPECT_EQ(names({"a"}), "none");
}

}  // namespace
}  // namespace fieldgate::test
