// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/keys.h"

#include "tests/support/jwt_keys.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

namespace fieldgate::jwt {
namespace {

using test::JwtKeyPair;

const JwtKeyPair& rsa() {
  static const JwtKeyPair pair(JwtAlgorithm::rs256);
  return pair;
}
const JwtKeyPair& p256() {
  static const JwtKeyPair pair(JwtAlgorithm::es256);
  return pair;
}
const JwtKeyPair& ed25519() {
  static const JwtKeyPair pair(JwtAlgorithm::eddsa);
  return pair;
}

std::string set_problem(const std::string& json) {
  Keys keys;
  const auto added = keys.add_jwks(json, "f");
  EXPECT_EQ(ERR_peek_error(), 0U);
  return added ? "none" : added.error().detail;
}
std::string problem(const std::string& jwk) { return set_problem(test::jwks({jwk})); }

std::string pem_problem(const std::string& pem, JwtAlgorithm algorithm) {
  Keys keys;
  const auto added = keys.add_pem(pem, "f", "k", algorithm);
  EXPECT_EQ(ERR_peek_error(), 0U);
  return added ? "none" : added.error().detail;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

TEST(Keys, AreReadFromPemFilesAndAKeySet) {
  const test::TempDir folder;
  JwtSettings settings;
  settings.keys = {{"a", JwtAlgorithm::rs256, folder.write("a.pem", rsa().public_pem)},
                   {"", JwtAlgorithm::eddsa, folder.write("b.pem", ed25519().public_pem)}};
  settings.jwks_file = folder.write("set.json", test::jwks({p256().jwk("c", "")}));
  const auto keys = Keys::load(settings);
  ASSERT_TRUE(keys) << keys.error().detail;
  EXPECT_EQ(keys->size(), 3U);
  EXPECT_EQ(keys->with_id("a")->algorithm, JwtAlgorithm::rs256);
  EXPECT_EQ(keys->with_id("c")->algorithm, JwtAlgorithm::es256);
  EXPECT_EQ(keys->without_id()->algorithm, JwtAlgorithm::eddsa);
  EXPECT_EQ(keys->with_id(""), nullptr);
  EXPECT_TRUE(keys->knows(keys->with_id("c")->sha256));
  EXPECT_FALSE(keys->knows({}));
}

TEST(Keys, AreTheSameWhateverFormTheyComeIn) {
  for (const JwtKeyPair* pair : {&rsa(), &p256(), &ed25519()}) {
    Keys keys;
    ASSERT_TRUE(keys.add_pem(pair->public_pem, "f", "pem", pair->algorithm));
    ASSERT_TRUE(keys.add_jwks(test::jwks({pair->jwk("jwk", to_string(pair->algorithm))}), "f"));
    EXPECT_EQ(keys.with_id("pem")->sha256, keys.with_id("jwk")->sha256);
  }
  Keys keys;
  ASSERT_TRUE(keys.add_pem(rsa().public_pem, "f", "a", JwtAlgorithm::rs256));
  ASSERT_TRUE(keys.add_pem(p256().public_pem, "f", "b", JwtAlgorithm::es256));
  EXPECT_NE(keys.with_id("a")->sha256, keys.with_id("b")->sha256);
}

TEST(Keys, AreTakenFromACertificate) {
  const test::Authority authority;
  EXPECT_EQ(pem_problem(authority.certificate(), JwtAlgorithm::es256), "none");
}

TEST(Keys, SayWhichFileCannotBeRead) {
  const test::TempDir folder;
  JwtSettings settings;
  settings.keys = {{"a", JwtAlgorithm::es256, folder.file("gone.pem")}};
  auto keys = Keys::load(settings);
  ASSERT_FALSE(keys);
  EXPECT_EQ(keys.error().code, make_error_code(Errc::not_found));
  EXPECT_EQ(keys.error().detail, folder.file("gone.pem") +
                                     ": cannot be read: No such file or directory; check the path and its permissions");
  settings.keys.clear();
  settings.jwks_file = folder.path().string();
  keys = Keys::load(settings);
  ASSERT_FALSE(keys);
  EXPECT_TRUE(contains(keys.error().detail, folder.path().string() + ": cannot be read")) << keys.error().detail;
  settings.jwks_file = folder.write("large.json", std::string(1'048'577, ' '));
  EXPECT_TRUE(contains(Keys::load(settings).error().detail, "larger than 1 MiB"));
}

TEST(Keys, MustFitTheirAlgorithm) {
  EXPECT_EQ(pem_problem(p256().public_pem, JwtAlgorithm::rs256), "f (id 'k'): RS256 needs an RSA key");
  EXPECT_EQ(pem_problem(ed25519().public_pem, JwtAlgorithm::es256), "f (id 'k'): ES256 needs an EC key");
  EXPECT_EQ(pem_problem(rsa().public_pem, JwtAlgorithm::eddsa), "f (id 'k'): EdDSA needs an Ed25519 key");
  const JwtKeyPair weak(JwtAlgorithm::rs256, 1'024);
  const std::string few = "has 1024 bits, and RS256 needs 2048 to 8192 (RFC 7518 section 3.3)";
  EXPECT_EQ(pem_problem(weak.public_pem, JwtAlgorithm::rs256), "f (id 'k'): " + few);
  EXPECT_EQ(problem(weak.jwk("w", "RS256")), "f: key 1 (kid 'w'): " + few);
}

TEST(Keys, RefuseAPrivateKeyAndSayThatItShouldNotBeThere) {
  for (const JwtKeyPair* pair : {&rsa(), &p256(), &ed25519()}) {
    EXPECT_TRUE(contains(pem_problem(pair->private_pem, pair->algorithm), "f: holds a private key, which belongs to"));
    EXPECT_TRUE(contains(pem_problem(pair->public_pem + pair->private_pem, pair->algorithm), "holds a private key"));
    EXPECT_TRUE(contains(problem(pair->jwk("p", to_string(pair->algorithm)) + ",\"d\":\"AAAA\""),
                         "f: key 1 (kid 'p'): is a private key ('d'), which belongs to"));
  }
  EXPECT_TRUE(contains(pem_problem("junk", JwtAlgorithm::es256), "f: holds no public key"));
}

TEST(Keys, RefuseASymmetricKey) {
  EXPECT_TRUE(contains(problem(R"("kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"s")"),
                       "f: key 1 (kid 's'): is a symmetric key: whoever checks with it could sign as well"));
}

TEST(Keys, WantOneAlgorithmEach) {
  EXPECT_EQ(problem(p256().jwk("", "")), "none");
  EXPECT_EQ(problem(p256().jwk("", "ES256")), "none");
  EXPECT_EQ(problem(ed25519().jwk("", "EdDSA")), "none");
  EXPECT_EQ(problem(ed25519().jwk("", "Ed25519")), "none");
  EXPECT_EQ(problem(rsa().jwk("", "RS256")), "none");
  EXPECT_TRUE(contains(problem(rsa().jwk("", "")), "f: key 1: is an RSA key without 'alg'"));
  for (const char* other : {"RS512", "PS256", "ES256", "HS256", "none", "rs256"}) {
    EXPECT_TRUE(contains(problem(rsa().jwk("", other)), "its 'alg' is not RS256")) << other;
  }
  EXPECT_TRUE(contains(problem(p256().jwk("", "HS256")), "its 'alg' is not ES256"));
  EXPECT_TRUE(contains(problem(ed25519().jwk("", "ES256")), "its 'alg' is not EdDSA"));
  EXPECT_TRUE(contains(problem(rsa().jwk("", "") + ",\"alg\":[\"RS256\"]"), "its 'alg' is not a text"));
}

TEST(Keys, RefuseTypesAndCurvesThatAreNotSupported) {
  for (const char* jwk :
       {R"("kty":"EC","crv":"P-384","x":"AA","y":"AA")", R"("kty":"EC","crv":"secp256k1","x":"AA","y":"AA")",
        R"("kty":"OKP","crv":"X25519","x":"AA")", R"("kty":"AKP")", R"("kid":"nothing")"}) {
    EXPECT_TRUE(contains(problem(jwk), "is of a type that is not supported")) << jwk;
  }
}

TEST(Keys, RefuseNumbersThatMakeNoKey) {
  const std::string zeros(43, 'A');
  EXPECT_TRUE(contains(problem(R"("kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA")"), "make no key of ES256"));
  EXPECT_TRUE(
      contains(problem("\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" + zeros + "\",\"y\":\"" + zeros + "\""), "f: key 1"))
      << "a point that is not on the curve";
  EXPECT_NE(problem("\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" + zeros + "\",\"y\":\"" + zeros + "\""), "none");
  EXPECT_TRUE(contains(problem(R"("kty":"EC","crv":"P-256","x":"!")"), "its 'x' is not base64url"));
  EXPECT_TRUE(contains(problem(R"("kty":"OKP","crv":"Ed25519","x":"AAAA")"), "make no key of EdDSA"));
  EXPECT_TRUE(contains(problem(R"("kty":"RSA","alg":"RS256","n":"AQAB")"), "its 'e' is not base64url"));
}

TEST(Keys, HaveOneIdEach) {
  const JwtKeyPair other(JwtAlgorithm::es256);
  EXPECT_EQ(set_problem(test::jwks({p256().jwk("a", ""), other.jwk("a", "")})),
            "f: key 2 (kid 'a'): another key has the same id; give each its own");
  EXPECT_EQ(set_problem(test::jwks({p256().jwk("", ""), other.jwk("", "")})),
            "f: key 2: is the second key without an id, and one at most may have none");
  EXPECT_EQ(set_problem(test::jwks({p256().jwk("", "") + ",\"kid\":7"})),
            "f: key 1: its 'kid' is not a text of 1 to 256 bytes");
  EXPECT_NE(set_problem(test::jwks({p256().jwk(std::string(257, 'x'), "")})), "none");
}

TEST(Keys, PassOverWhatIsNotForSignatures) {
  Keys keys;
  ASSERT_TRUE(keys.add_jwks(test::jwks({R"("kty":"RSA","use":"enc","alg":"RSA-OAEP","n":"AQAB","e":"AQAB")",
                                        R"("kty":"EC","crv":"P-521","key_ops":["deriveKey"])",
                                        p256().jwk("a", "") + R"(,"use":"sig","key_ops":["verify"])"}),
                            "f"));
  EXPECT_EQ(keys.size(), 1U);
  EXPECT_TRUE(contains(problem(R"("kty":"RSA","use":"enc")"), "f: holds no key for signatures"));
}

TEST(Keys, WantAKeySet) {
  for (const char* json : {"", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]", "junk"}) {
    EXPECT_TRUE(contains(set_problem(json), "f: is not a JSON Web Key Set")) << json;
  }
  EXPECT_EQ(set_problem("{\"keys\":[]}"), "f: holds no key for signatures; add one, or take jwks_file out");
  EXPECT_EQ(set_problem("{\"keys\":[1]}"), "f: key 1: is not a JSON object");
}

}  // namespace
}  // namespace fieldgate::jwt
