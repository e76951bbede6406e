// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/device_authenticator.h"

#include "tests/support/fakes.h"
#include "tests/support/jwt_keys.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <atomic>
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

// What a registry says of one device.
RegistryChange registered(std::string_view device, std::vector<DeviceCredential> credentials) {
  DeviceEntry entry{*DeviceId::parse(device), true, {}, {}};
  entry.credentials = std::move(credentials);
  return {entry.id, 1, std::move(entry)};
}
RegistryChange removed(std::string_view device) { return {*DeviceId::parse(device), 2, std::nullopt}; }
DeviceCredential token(std::string_view secret, std::int64_t expires_unix_ms = 0) {
  return {"c-" + std::string(secret), CredentialKind::token, sha256_hex(secret), 1, expires_unix_ms, ""};
}
DeviceCredential certificate(std::string_view der, std::int64_t expires_unix_ms = 0) {
  return {"c-" + std::string(der), CredentialKind::certificate, sha256_hex(der), 1, expires_unix_ms, ""};
}

struct Fixture {
  test::TempDir folder;
  test::FakeClock clock;
  TokenSettings settings;
  std::unique_ptr<DeviceAuthenticator> authenticator;

  explicit Fixture(bool allow_common_name = false, const JwtSettings& jwt = {}) {
    settings.file = folder.write("tokens", line("d-1", "one") + line("d-2", "two"));
    settings.jwt = jwt;
    auto opened = DeviceAuthenticator::open(settings, allow_common_name, clock);
    EXPECT_TRUE(opened) << opened.error().detail;
    authenticator = std::move(*opened);
  }
  // The device's id, or "refused: " and the detail.
  std::string ask(const PeerCredentials& peer) const {
    const auto id = authenticator->authenticate(peer);
    if (id) {
      EXPECT_TRUE(authenticator->still_valid(*id)) << "and not a moment later";
      return id->id.str();
    }
    EXPECT_EQ(id.error().code, make_error_code(Errc::unauthenticated));
    return "refused: " + id.error().detail;
  }
  std::string ask_token(std::string_view secret) const { return ask(with_token(secret)); }
  // With the certificate whose DER is `der`.
  std::string ask_certificate(std::string_view device, std::string_view der) const {
    PeerCredentials peer = with_certificate({"urn:fieldgate:device:" + std::string(device)});
    peer.certificate_sha256 = sha256_of(der);
    return ask(peer);
  }
  void change(RegistryChange change) const { authenticator->registry_changed({std::move(change)}); }
  std::int64_t in_ms(std::int64_t ms) const { return clock.unix_ms() + ms; }
};

DeviceIdentity by_token(std::string_view token, std::string_view device) {
  return {*DeviceId::parse(device), IdentityProof::token, sha256_of(token), 0};
}

TEST(Sha256, IsThatOfTheStandard) {
  // FIPS 180-4, and the empty text.
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(DeviceAuthenticator, KnowsADeviceByItsToken) {
  const Fixture f;
  EXPECT_EQ(f.authenticator->tokens(), 2U);
  EXPECT_EQ(f.ask(with_token("one")), "d-1");
  EXPECT_EQ(f.ask(with_token("two")), "d-2");
  EXPECT_EQ(f.ask(with_token("three")), "refused: token: not known");
  EXPECT_EQ(f.ask(with_token(sha256_hex("one"))), "refused: token: not known");
}

TEST(DeviceAuthenticator, LetsTheTokenDecideWhereBothAreShown) {
  const Fixture f;
  PeerCredentials both = with_certificate({"urn:fieldgate:device:d-9"});
  both.bearer_token = "one";
  EXPECT_EQ(f.ask(both), "d-1");
  both.bearer_token = "wrong";
  EXPECT_EQ(f.ask(both), "refused: token: not known");
}

TEST(DeviceAuthenticator, KnowsADeviceByItsCertificate) {
  const Fixture f;
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:d-9"})), "d-9");
  EXPECT_EQ(f.ask(with_certificate({"https://a.example", "urn:fieldgate:device:d:9", "urn:other:x"})), "d:9");
  EXPECT_EQ(f.ask(with_certificate({"urn:fieldgate:device:d-9", "urn:fieldgate:device:d-9"})), "d-9");
}

TEST(DeviceAuthenticator, RefusesACertificateThatNamesNoOneDevice) {
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

TEST(DeviceAuthenticator, TakesTheCommonNameOnlyIfToldTo) {
  const Fixture off(false);
  const Fixture on(true);
  EXPECT_EQ(off.ask(with_certificate({}, "cn-1")), "refused: certificate: no SAN URI urn:fieldgate:device:ID");
  EXPECT_EQ(on.ask(with_certificate({}, "cn-1")), "cn-1");
  EXPECT_EQ(on.ask(with_certificate({"urn:fieldgate:device:d-9"}, "cn-1")), "d-9");
  EXPECT_EQ(on.ask(with_certificate({}, "Some Device")).substr(0, 25), "refused: certificate: CN:");
  EXPECT_EQ(on.ask(with_certificate({}, "")).substr(0, 25), "refused: certificate: CN:");
}

TEST(DeviceAuthenticator, IgnoresNamesWithoutACertificate) {
  const Fixture f(true);
  PeerCredentials peer = with_certificate({"urn:fieldgate:device:d-9"});
  peer.has_certificate = false;
  EXPECT_EQ(f.ask(peer), "refused: neither a token nor a certificate");
}

TEST(DeviceAuthenticator, WorksWithoutATokenFile) {
  const test::FakeClock clock;
  const auto authenticator = DeviceAuthenticator::open({}, false, clock);
  ASSERT_TRUE(authenticator);
  EXPECT_EQ((*authenticator)->tokens(), 0U);
  EXPECT_FALSE((*authenticator)->authenticate(with_token("one")));
  EXPECT_TRUE((*authenticator)->authenticate(with_certificate({"urn:fieldgate:device:d-9"})));
}

TEST(DeviceAuthenticator, SaysWhyAFileCannotBeUsed) {
  const test::TempDir folder;
  const test::FakeClock clock;
  const auto open = [&](const std::string& file) {
    TokenSettings settings;
    settings.file = file;
    return DeviceAuthenticator::open(settings, false, clock);
  };
  const auto missing = open(folder.file("none"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, make_error_code(Errc::not_found));
  EXPECT_EQ(missing.error().detail, folder.file("none") + ": No such file or directory");
  const auto bad = open(folder.write("bad", "x y\n"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, make_error_code(Errc::malformed));
  EXPECT_FALSE(open(folder.path().string()));
}

TEST(DeviceAuthenticator, ReloadSwapsTheTable) {
  const Fixture f;
  EXPECT_TRUE(f.authenticator->still_valid(by_token("one", "d-1")));
  EXPECT_FALSE(f.authenticator->still_valid(by_token("one", "d-2")));
  f.folder.write("tokens", line("d-3", "one") + line("d-1", "fresh"));
  EXPECT_EQ(f.ask(with_token("one")), "d-1");
  ASSERT_TRUE(f.authenticator->reload(f.settings));
  EXPECT_EQ(f.ask(with_token("one")), "d-3");
  EXPECT_EQ(f.ask(with_token("two")), "refused: token: not known");
  EXPECT_FALSE(f.authenticator->still_valid(by_token("one", "d-1")));
  EXPECT_FALSE(f.authenticator->still_valid(by_token("two", "d-2")));
}

TEST(DeviceAuthenticator, KeepsTheTableWhenAReloadFails) {
  Fixture f;
  f.folder.write("tokens", "broken\n");
  EXPECT_FALSE(f.authenticator->reload(f.settings));
  f.settings.file = f.folder.file("gone");
  EXPECT_FALSE(f.authenticator->reload(f.settings));
  EXPECT_EQ(f.ask(with_token("one")), "d-1");
}

TEST(DeviceAuthenticator, AnswersFromOneTableWhileItIsSwapped) {
  const Fixture f;
  TokenSettings other;
  other.file = f.folder.write("other", line("d-2", "one") + line("d-1", "two"));
  std::thread swapper([&] {
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(f.authenticator->reload(i % 2 == 0 ? other : f.settings));
  });
  int valid = 0;
  for (int i = 0; i < 2'000; ++i) {
    const auto device = f.authenticator->authenticate(with_token("one"));
    ASSERT_TRUE(device);
    EXPECT_TRUE(device->id.str() == "d-1" || device->id.str() == "d-2") << device->id.str();
    // An answer out of a table that is gone is for the sanitizers to see, if it falls into the moment.
    DeviceIdentity first = *device, second = *device;
    first.id = *DeviceId::parse("d-1");
    second.id = *DeviceId::parse("d-2");
    valid += f.authenticator->still_valid(first) ? 1 : 0;
    valid += f.authenticator->still_valid(second) ? 1 : 0;
  }
  swapper.join();
  EXPECT_GT(valid, 0);
}

// --- the registry

TEST(DeviceAuthenticator, KnowsADeviceByATokenOfTheRegistry) {
  const Fixture f;
  EXPECT_EQ(f.ask_token("secret"), "refused: token: not known");
  f.change(registered("d-7", {token("secret"), token("spare")}));
  EXPECT_EQ(f.ask_token("secret"), "d-7");
  EXPECT_EQ(f.ask_token("spare"), "d-7");
  EXPECT_EQ(f.ask_token(sha256_hex("secret")), "refused: token: not known");
  const auto id = f.authenticator->authenticate(with_token("secret"));
  EXPECT_EQ(id->proof, IdentityProof::token);
  EXPECT_EQ(id->sha256, sha256_of("secret"));
  EXPECT_EQ(id->expires_unix_ms, 0);
}

TEST(DeviceAuthenticator, ForgetsATokenThatTheRegistryTakesAway) {
  const Fixture f;
  f.change(registered("d-7", {token("old"), token("new")}));
  f.change(registered("d-7", {token("new")}));
  EXPECT_EQ(f.ask_token("old"), "refused: token: not known");
  EXPECT_EQ(f.ask_token("new"), "d-7");
  EXPECT_FALSE(f.authenticator->still_valid(by_token("old", "d-7")));
  EXPECT_TRUE(f.authenticator->still_valid(by_token("new", "d-7")));
  EXPECT_FALSE(f.authenticator->still_valid(by_token("new", "d-8")));
  f.change(removed("d-7"));
  EXPECT_EQ(f.ask_token("new"), "refused: token: not known");
  EXPECT_FALSE(f.authenticator->still_valid(by_token("new", "d-7")));
  f.change(removed("d-7"));  // and a device that was never there
}

TEST(DeviceAuthenticator, LetsATokenGoToAnotherDevice) {
  const Fixture f;
  f.change(registered("d-7", {token("secret")}));
  f.change(registered("d-8", {token("secret")}));
  EXPECT_EQ(f.ask_token("secret"), "d-8");
  f.change(registered("d-7", {}));
  EXPECT_EQ(f.ask_token("secret"), "d-8");
}

TEST(DeviceAuthenticator, RefusesATokenOfTheRegistryOnceItsTimeHasPassed) {
  Fixture f;
  f.change(registered("d-7", {token("secret", f.in_ms(10'000))}));
  const auto id = f.authenticator->authenticate(with_token("secret"));
  ASSERT_TRUE(id);
  EXPECT_EQ(id->expires_unix_ms, f.in_ms(10'000));
  f.clock.advance(std::chrono::milliseconds(9'999));
  EXPECT_EQ(f.ask_token("secret"), "d-7");
  f.clock.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(f.ask_token("secret"), "refused: token: of 'd-7': it has expired");
  EXPECT_FALSE(f.authenticator->still_valid(*id));
}

// Rotation with overlap: the old token gets an end that it did not have.
TEST(DeviceAuthenticator, HoldsALiveSessionToAnEndThatItsTokenGotLater) {
  Fixture f;
  f.change(registered("d-7", {token("old")}));
  const auto id = f.authenticator->authenticate(with_token("old"));
  f.change(registered("d-7", {token("old", f.in_ms(5'000)), token("new")}));
  EXPECT_TRUE(f.authenticator->still_valid(*id));
  f.clock.advance(std::chrono::milliseconds(5'000));
  EXPECT_FALSE(f.authenticator->still_valid(*id));
  EXPECT_EQ(f.ask_token("new"), "d-7");
}

TEST(DeviceAuthenticator, LetsTheFileDecideWhereTheRegistryHasTheSameToken) {
  const Fixture f;
  f.change(registered("d-7", {token("one")}));
  EXPECT_EQ(f.ask_token("one"), "d-1");
  f.folder.write("tokens", "");
  ASSERT_TRUE(f.authenticator->reload(f.settings));
  EXPECT_EQ(f.ask_token("one"), "d-7");
}

TEST(DeviceAuthenticator, TakesAnyCertificateForADeviceThatHasNoneInTheRegistry) {
  const Fixture f;
  f.change(registered("d-7", {token("secret")}));
  EXPECT_EQ(f.ask_certificate("d-7", "der"), "d-7");
  EXPECT_EQ(f.ask_certificate("d-8", "der"), "d-8");
}

TEST(DeviceAuthenticator, TakesOnlyItsOwnCertificatesForADeviceThatHasSome) {
  const Fixture f;
  f.change(registered("d-7", {certificate("first"), certificate("second")}));
  EXPECT_EQ(f.ask_certificate("d-7", "first"), "d-7");
  EXPECT_EQ(f.ask_certificate("d-7", "second"), "d-7");
  EXPECT_EQ(f.ask_certificate("d-7", "third"),
            "refused: certificate: of 'd-7': the registry has others for it, not sha256 " + sha256_hex("third"));
  EXPECT_EQ(f.ask_certificate("d-8", "third"), "d-8");
  // A certificate's hash is no token.
  EXPECT_EQ(f.ask_token("first"), "refused: token: not known");
}

TEST(DeviceAuthenticator, EndsSessionsWhoseCertificateIsNoLongerTheirDevices) {
  Fixture f;
  const DeviceIdentity first{*DeviceId::parse("d-7"), IdentityProof::certificate, sha256_of("first"), 0};
  EXPECT_TRUE(f.authenticator->still_valid(first));
  f.change(registered("d-7", {certificate("first", f.in_ms(1'000)), certificate("second")}));
  EXPECT_TRUE(f.authenticator->still_valid(first));
  f.clock.advance(std::chrono::milliseconds(1'000));
  EXPECT_FALSE(f.authenticator->still_valid(first));
  EXPECT_EQ(f.ask_certificate("d-7", "first"),
            "refused: certificate: of 'd-7': its time in the registry has passed: sha256 " + sha256_hex("first"));
  f.change(registered("d-7", {certificate("first"), certificate("second")}));
  EXPECT_TRUE(f.authenticator->still_valid(first));
  f.change(registered("d-7", {certificate("second")}));
  EXPECT_FALSE(f.authenticator->still_valid(first));
}

// Or a device would be open to any certificate of its CA once its own have run out.
TEST(DeviceAuthenticator, TakesNoOtherCertificateWhereAllOfTheRegistrysHaveExpired) {
  const Fixture f;
  f.change(registered("d-7", {certificate("first", f.in_ms(-1))}));
  EXPECT_EQ(f.ask_certificate("d-7", "other").substr(0, 27), "refused: certificate: of 'd");
}

TEST(DeviceAuthenticator, KnowsTwoHundredThousandDevicesOfTheRegistry) {
  const Fixture f;
  constexpr int k_devices = 200'000;
  std::vector<RegistryChange> all;
  for (int i = 0; i < k_devices; ++i) {
    const std::string number = std::to_string(i);
    all.push_back(registered("device-" + number, {token("t" + number), certificate("c" + number)}));
  }
  f.authenticator->registry_changed(std::move(all));
  for (int i = 0; i < k_devices; i += 97) {
    const std::string number = std::to_string(i);
    ASSERT_EQ(f.ask_token("t" + number), "device-" + number);
    ASSERT_EQ(f.ask_certificate("device-" + number, "c" + number), "device-" + number);
    ASSERT_NE(f.ask_certificate("device-" + number, "c"), "device-" + number);
  }
}

TEST(DeviceAuthenticator, NeverMissesATokenThatStaysWhileTheRegistryChanges) {
  const Fixture f;
  f.change(registered("d-7", {token("kept")}));
  std::atomic<bool> done{false};
  std::thread changer([&] {
    for (int i = 0; i < 2'000; ++i) {
      f.change(registered("d-7", {token("kept"), token("t" + std::to_string(i))}));
      f.change(registered("d-" + std::to_string(10 + i % 100), {token("u" + std::to_string(i))}));
    }
    done = true;
  });
  while (!done) {
    const auto id = f.authenticator->authenticate(with_token("kept"));
    EXPECT_TRUE(id && id->id.str() == "d-7");
    EXPECT_TRUE(f.authenticator->still_valid(by_token("kept", "d-7")));
  }
  changer.join();
  EXPECT_EQ(f.ask_token("t1999"), "d-7");
  EXPECT_EQ(f.ask_token("t1998"), "refused: token: not known");
}

// --- JSON Web Tokens

struct JwtFixture {
  test::TempDir keys;
  test::JwtKeyPair pair{JwtAlgorithm::es256};
  Fixture f{false, settings()};

  JwtSettings settings() {
    JwtSettings jwt;
    jwt.audience = "fieldgate";
    jwt.jwks_file = keys.write("jwks.json", test::jwks({pair.jwk("k", "")}));
    return jwt;
  }
  std::string jwt(std::string_view subject, std::int64_t seconds = 600) const {
    return pair.sign("{\"sub\":\"" + std::string(subject) + "\",\"aud\":\"fieldgate\",\"exp\":" +
                         std::to_string(f.clock.unix_ms() / 1'000 + seconds) + "}",
                     "k");
  }
};

TEST(DeviceAuthenticator, KnowsADeviceByTheSubjectOfAJwt) {
  const JwtFixture j;
  const std::string token = j.jwt("d-7");
  const auto id = j.f.authenticator->authenticate(with_token(token));
  ASSERT_TRUE(id) << id.error().detail;
  EXPECT_EQ(id->id.str(), "d-7");
  EXPECT_EQ(id->proof, IdentityProof::jwt);
  EXPECT_EQ(id->expires_unix_ms, (j.f.clock.unix_ms() / 1'000 + 600 + 60) * 1'000);
  EXPECT_EQ(j.f.ask_token("one"), "d-1") << "tokens of the file go on beside it";
}

TEST(DeviceAuthenticator, RefusesAJwtWhoseSubjectIsNoDeviceId) {
  const JwtFixture j;
  for (const char* subject : {"a/b", "+", "#", ".hidden", "a b", "caf\xC3\xA9", "../d-7"}) {
    EXPECT_EQ(j.f.ask_token(j.jwt(subject)).substr(0, 18), "refused: jwt: sub:") << subject;
  }
  EXPECT_EQ(j.f.ask_token(j.jwt("")).substr(0, 17), "refused: jwt: sub");
}

TEST(DeviceAuthenticator, RefusesJwtsWhereNoKeysAreConfigured) {
  const JwtFixture j;
  const Fixture without;
  EXPECT_EQ(without.ask_token(j.jwt("d-7")), "refused: token: not known");
}

TEST(DeviceAuthenticator, RefusesAnExpiredJwtAndOneOfAnotherKey) {
  const JwtFixture j;
  EXPECT_EQ(j.f.ask_token(j.jwt("d-7", -100)), "refused: jwt: of 'd-7': it expired 100 s ago");
  const test::JwtKeyPair other(JwtAlgorithm::es256);
  EXPECT_EQ(j.f.ask_token(other.sign("{}", "k")), "refused: jwt: the signature is not that of its key");
  EXPECT_EQ(j.f.ask_token("a.b.c").substr(0, 13), "refused: jwt:");
}

TEST(DeviceAuthenticator, LetsAJwtsSessionLiveUntilItExpires) {
  JwtFixture j;
  const auto id = j.f.authenticator->authenticate(with_token(j.jwt("d-7")));
  ASSERT_TRUE(id);
  j.f.clock.advance(std::chrono::seconds(659));
  EXPECT_TRUE(j.f.authenticator->still_valid(*id));
  j.f.clock.advance(std::chrono::seconds(1));
  EXPECT_FALSE(j.f.authenticator->still_valid(*id));
}

TEST(DeviceAuthenticator, EndsAJwtsSessionOnceItsKeyIsGone) {
  const JwtFixture j;
  const auto id = j.f.authenticator->authenticate(with_token(j.jwt("d-7")));
  ASSERT_TRUE(id);
  const test::JwtKeyPair next(JwtAlgorithm::es256);
  // Overlap: both keys are there, and the old one under another id.
  j.keys.write("jwks.json", test::jwks({next.jwk("k", ""), j.pair.jwk("old", "")}));
  ASSERT_TRUE(j.f.authenticator->reload(j.f.settings));
  EXPECT_TRUE(j.f.authenticator->still_valid(*id));
  // Its id is still there, but stands for another key.
  j.keys.write("jwks.json", test::jwks({next.jwk("k", "")}));
  ASSERT_TRUE(j.f.authenticator->reload(j.f.settings));
  EXPECT_FALSE(j.f.authenticator->still_valid(*id));
  EXPECT_EQ(j.f.ask_token(j.jwt("d-7")), "refused: jwt: the signature is not that of its key");
}

TEST(DeviceAuthenticator, KeepsTokensAndKeysWhereEitherCannotBeReloaded) {
  const JwtFixture j;
  j.f.folder.write("tokens", line("d-3", "one"));
  j.keys.write("jwks.json", "junk");
  EXPECT_FALSE(j.f.authenticator->reload(j.f.settings));
  EXPECT_EQ(j.f.ask_token("one"), "d-1");
  EXPECT_EQ(j.f.ask_token(j.jwt("d-7")), "d-7");
}

}  // namespace
}  // namespace fieldgate
