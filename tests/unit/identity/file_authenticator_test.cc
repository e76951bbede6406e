// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/file_authenticator.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <thread>

namespace fieldgate {
namespace {

std::string line(const std::string& device, const std::string& token) {
  return device + " sha256:" + sha256_hex(token) + "\n";
}

PeerCredentials with_token(std::string_view token) {
  PeerCredentials peer;
  peer.bearer_token = token;
  return peer;
}

PeerCredentials with_certificate(std::vector<std::string> uris, std::string common_name = "cn-1") {
  PeerCredentials peer;
  peer.has_certificate = true;
  peer.san_uris = std::move(uris);
  peer.common_name = std::move(common_name);
  return peer;
}

struct Fixture {
  test::TempDir folder;
  std::string path = folder.write("tokens", line("d-1", "one") + line("d-2", "two"));
  std::unique_ptr<FileAuthenticator> authenticator;

  explicit Fixture(bool allow_common_name = false) {
    auto opened = FileAuthenticator::open(path, allow_common_name);
    EXPECT_TRUE(opened);
    authenticator = std::move(*opened);
  }
  // The device's id, or "refused: " and the detail.
  std::string ask(const PeerCredentials& peer) const {
    const auto id = authenticator->authenticate(peer);
    if (id) return id->id.str();
    EXPECT_EQ(id.error().code, make_error_code(Errc::unauthenticated));
    return "refused: " + id.error().detail;
  }
};

DeviceIdentity by_token(std::string_view token, std::string_view device) {
  return {*DeviceId::parse(device), IdentityProof::token, sha256_of(token), 0};
}

TEST(Sha256, IsThatOfTheStandard) {
  // FIPS 180-4, and the empty text.
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(FileAuthenticator, KnowsADeviceByItsToken) {
  const Fixture f;
  EXPECT_EQ(f.authenticator->tokens(), 2U);
  EXPECT_EQ(f.ask(with_token("one")), "d-1");
  EXPECT_EQ(f.ask(with_token("two")), "d-2");
  EXPECT_EQ(f.ask(with_token("three")), "refused: token: not known");
  EXPECT_EQ(f.ask(with_token(sha256_hex("one"))), "refused: token: not known");
}

TEST(FileAuthenticator, LetsTheTokenDecideWhereBothAreShown) {
  const Fixture f;
  PeerCredentials both = with_certificate({"urn:fieldgate:device:d-9"});
  both.bearer_token = "one";
  EXPECT_EQ(f.ask(both), "d-1");
  both.bearer_token = "wrong";
  EXPECT_EQ(f.ask(both), "refused: token: not known");
}

TEST(FileAuthenticator, KnowsADeviceByItsCertificate) {
  const Fixture f;
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:d-9"})), "d-9");
  EXPECT_EQ(f.ask(with_certificate({"https://a.example", "urn:fieldgate:device:d:9", "urn:other:x"})), "d:9");
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:d-9", "urn:fieldgate:device:d-9"})), "d-9");
}

TEST(FileAuthenticator, RefusesACertificateThatNamesNoOneDevice) {
  const Fixture f;
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:a", "urn:fieldgate:device:b"})),
            "refused: certificate: SAN URIs name more than one device");
  EXPECT_EQ(f.ask(with_certificate({})), "refused: certificate: no SAN URI urn:fieldgate:device:ID");
  EXPECT_EQ(f.ask(with_certificate({"URN:FIELDGATE:DEVICE:A"})),
            "refused: certificate: no SAN URI urn:fieldgate:device:ID");
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:"})),
            "refused: certificate: a SAN URI urn:fieldgate:device: names no device");
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:a/b"})).substr(0, 30), "refused: certificate: SAN URI:");
}

TEST(FileAuthenticator, TakesTheCommonNameOnlyIfToldTo) {
  const Fixture off(false);
  const Fixture on(true);
  EXPECT_EQ(off.ask(with_certificate({}, "cn-1")), "refused: certificate: no SAN URI urn:fieldgate:device:ID");
  EXPECT_EQ(on.ask(with_certificate({}, "cn-1")), "cn-1");
  EXPECT_EQ(on.ask(with_certificate({"urn:fieldgate:device:d-9"}, "cn-1")), "d-9");
  EXPECT_EQ(on.ask(with_certificate({}, "Some Device")).substr(0, 25), "refused: certificate: CN:");
  EXPECT_EQ(on.ask(with_certificate({}, "")).substr(0, 25), "refused: certificate: CN:");
}

TEST(FileAuthenticator, IgnoresNamesWithoutACertificate) {
  const Fixture f(true);
  PeerCredentials peer = with_certificate({"urn:fieldgate:device:d-9"});
  peer.has_certificate = false;
  EXPECT_EQ(f.ask(peer), "refused: neither a token nor a certificate");
}

TEST(FileAuthenticator, WorksWithoutATokenFile) {
  const auto authenticator = FileAuthenticator::open("", false);
  ASSERT_TRUE(authenticator);
  EXPECT_EQ((*authenticator)->tokens(), 0U);
  EXPECT_FALSE((*authenticator)->authenticate(with_token("one")));
  EXPECT_TRUE((*authenticator)->authenticate(with_certificate({"urn:fieldgate:device:d-9"})));
}

TEST(FileAuthenticator, SaysWhyAFileCannotBeUsed) {
  const test::TempDir folder;
  const auto missing = FileAuthenticator::open(folder.file("none"), false);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, make_error_code(Errc::not_found));
  EXPECT_EQ(missing.error().detail, folder.file("none") + ": No such file or directory");
  const auto bad = FileAuthenticator::open(folder.write("bad", "x y\n"), false);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, make_error_code(Errc::malformed));
  EXPECT_FALSE(FileAuthenticator::open(folder.path(), false));
}

TEST(FileAuthenticator, ReloadSwapsTheTable) {
  const Fixture f;
  EXPECT_TRUE(f.authenticator->still_valid(by_token("one", "d-1")));
  EXPECT_FALSE(f.authenticator->still_valid(by_token("one", "d-2")));
  f.folder.write("tokens", line("d-3", "one") + line("d-1", "fresh"));
  EXPECT_EQ(f.ask(with_token("one")), "d-1");
  ASSERT_TRUE(f.authenticator->reload(f.path));
  EXPECT_EQ(f.ask(with_token("one")), "d-3");
  EXPECT_EQ(f.ask(with_token("two")), "refused: token: not known");
  EXPECT_FALSE(f.authenticator->still_valid(by_token("one", "d-1")));
  EXPECT_FALSE(f.authenticator->token_still_valid(sha256_hex("two"), id("d-2")));
}

TEST(FileAuthenticator, KeepsTheTableWhenAReloadFails) {
  const Fixture f;
  f.folder.write("tokens", "broken\n");
  EXPECT_FALSE(f.authenticator->reload(f.path));
  EXPECT_FALSE(f.authenticator->reload(f.folder.file("gone")));
  EXPECT_EQ(f.ask(with_token("one")), "d-1");
}

TEST(FileAuthenticator, AnswersFromOneTableWhileItIsSwapped) {
  const Fixture f;
  const std::string other = f.folder.write("other", line("d-2", "one") + line("d-1", "two"));
  std::thread swapper([&] {
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(f.authenticator->reload(i % 2 == 0 ? other : f.path));
  });
  for (int i = 0; i < 2'000; ++i) {
    const std::string device = f.ask(with_token("one"));
    EXPECT_TRUE(device == "d-1" || device == "d-2") << device;
  }
  swapper.join();
}

}  // namespace
}  // namespace fieldgate
