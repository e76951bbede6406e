// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/verifier.h"

#include "tests/support/jwt_keys.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

namespace fieldgate::jwt {
namespace {

using test::JwtKeyPair;

constexpr std::int64_t k_now = 1'800'000'000;  // seconds

struct Fixture {
  Fixture() {
    settings.audience = "fieldgate";
    settings.clock_skew = seconds(60);
    settings.lifetime_max = seconds(86'400);
    settings.keys = {{"k", JwtAlgorithm::es256, folder.write("k.pem", pair().public_pem)}};
  }
  static const JwtKeyPair& pair() {
    static const JwtKeyPair made(JwtAlgorithm::es256);
    return made;
  }
  Result<Claims> verify(const std::string& payload) const {
    const auto verifier = Verifier::load(settings, "tokens.jwt");
    EXPECT_TRUE(verifier) << verifier.error().detail;
    return (*verifier)->verify(pair().sign(payload, "k"), k_now * 1'000);
  }
  // The claims in `members` beside a subject, or "good".
  std::string ask(const std::string& members) const { return outcome("{\"sub\":\"pump-1\"," + members + "}"); }
  std::string outcome(const std::string& payload) const {
    const auto claims = verify(payload);
    if (claims) return "good";
    EXPECT_EQ(claims.error().code, make_error_code(Errc::unauthenticated));
    return claims.error().detail;
  }

  test::TempDir folder;
  JwtSettings settings;
};

std::string exp(std::int64_t from_now) { return "\"exp\":" + std::to_string(k_now + from_now); }
const std::string k_good = exp(600) + ",\"aud\":\"fieldgate\"";

TEST(Verifier, SaysWhatATokenClaims) {
  const Fixture f;
  const auto claims =
      f.verify("{\"sub\":\"pump-1\",\"iss\":\"i\",\"scope\":\"read command\",\"jti\":\"7\"," + k_good + "}");
  ASSERT_TRUE(claims) << claims.error().detail;
  EXPECT_EQ(claims->subject, "pump-1");
  EXPECT_EQ(claims->issuer, "i");
  EXPECT_EQ(claims->scope, "read command");
  EXPECT_EQ(claims->id, "7");
  EXPECT_EQ(claims->expires_unix_ms, (k_now + 600 + 60) * 1'000);
  const auto verifier = Verifier::load(f.settings, "tokens.jwt");
  EXPECT_TRUE((*verifier)->knows_key(claims->key_sha256));
  EXPECT_FALSE((*verifier)->knows_key({}));
}

TEST(Verifier, WantsAnEndAndHoldsToItGiveOrTakeTheSkew) {
  const Fixture f;
  EXPECT_EQ(f.ask("\"aud\":\"fieldgate\""), "jwt: of 'pump-1': it never expires: exp is missing");
  const auto ending = [&](const std::string& time) { return f.ask("\"aud\":\"fieldgate\"," + time); };
  EXPECT_EQ(ending(exp(-59)), "good");
  EXPECT_EQ(ending(exp(-60)), "jwt: of 'pump-1': it expired 60 s ago");
  EXPECT_EQ(ending(exp(-86'400)), "jwt: of 'pump-1': it expired 86400 s ago");
  EXPECT_EQ(ending(exp(86'460)), "good");
  EXPECT_EQ(ending(exp(86'461)), "jwt: of 'pump-1': it is good for longer than lifetime_max: 86461 s");
  EXPECT_EQ(ending("\"exp\":" + std::to_string(k_now - 60) + ".5"), "good");
  for (const char* bad : {"\"1800000600\"", "null", "true", "[1800000600]", "-1", "1e300", "99999999999999999999"}) {
    EXPECT_EQ(ending("\"exp\":" + std::string(bad)), "jwt: exp is not a number of seconds since 1970") << bad;
  }
}

TEST(Verifier, HoldsToTheTimesOfItsBeginning) {
  const Fixture f;
  const auto with = [&](const std::string& name, std::int64_t from_now) {
    return f.ask(k_good + ",\"" + name + "\":" + std::to_string(k_now + from_now));
  };
  EXPECT_EQ(with("nbf", 60), "good");
  EXPECT_EQ(with("nbf", 61), "jwt: of 'pump-1': it is good only in 61 s (nbf)");
  EXPECT_EQ(with("iat", 60), "good");
  EXPECT_EQ(with("iat", 61), "jwt: of 'pump-1': it was issued 61 s in the future (iat)");
  EXPECT_EQ(with("iat", -1'000'000), "good");
  EXPECT_EQ(f.ask(k_good + ",\"nbf\":\"0\""), "jwt: nbf is not a number of seconds since 1970");
  EXPECT_EQ(f.ask(k_good + ",\"iat\":{}"), "jwt: iat is not a number of seconds since 1970");
}

TEST(Verifier, WantsItsAudience) {
  const Fixture f;
  const auto with = [&](const std::string& aud) { return f.ask(exp(600) + aud); };
  const std::string refusal = "jwt: of 'pump-1': aud does not name 'fieldgate'";
  EXPECT_EQ(with(",\"aud\":\"fieldgate\""), "good");
  EXPECT_EQ(with(",\"aud\":[\"other\",\"fieldgate\"]"), "good");
  for (const char* bad :
       {"", ",\"aud\":\"Fieldgate\"", ",\"aud\":\"fieldgate2\"", ",\"aud\":[]", ",\"aud\":[\"other\"]",
        ",\"aud\":[\"fieldgate\",1]", ",\"aud\":null", ",\"aud\":{\"fieldgate\":1}"}) {
    EXPECT_EQ(with(bad), refusal) << bad;
  }
}

TEST(Verifier, WantsItsIssuerWhereOneIsNamed) {
  Fixture f;
  EXPECT_EQ(f.ask(k_good + ",\"iss\":\"anybody\""), "good");
  f.settings.issuer = "https://id.example";
  EXPECT_EQ(f.ask(k_good + ",\"iss\":\"https://id.example\""), "good");
  for (const char* bad :
       {"", ",\"iss\":\"https://id.example/\"", ",\"iss\":[\"https://id.example\"]", ",\"iss\":null"}) {
    EXPECT_EQ(f.ask(k_good + bad), "jwt: of 'pump-1': iss is not 'https://id.example'") << bad;
  }
}

TEST(Verifier, WantsASubject) {
  const Fixture f;
  const std::string refusal = "jwt: sub is not a text of 1 to 256 bytes without control characters";
  EXPECT_EQ(f.outcome("{" + k_good + "}"), refusal);
  for (const std::string& bad : {std::string("\"\""), std::string("1"), std::string("null"), std::string("[\"a\"]"),
                                 std::string("\"a\\nb\""), "\"" + std::string(257, 'a') + "\""}) {
    EXPECT_EQ(f.outcome("{\"sub\":" + bad + "," + k_good + "}"), refusal) << bad;
  }
}

TEST(Verifier, RefusesAPayloadThatTwoReadersCouldReadDifferently) {
  const Fixture f;
  EXPECT_EQ(f.ask(k_good + ",\"sub\":\"pump-2\""), "jwt: the payload holds 'sub' twice");
  EXPECT_EQ(f.ask(k_good + ",\"exp\":9999999999"), "jwt: the payload holds 'exp' twice");
  EXPECT_EQ(f.ask(k_good + ",\"x\":1,\"x\":2"), "good") << "members that nobody looks at";
  EXPECT_EQ(f.outcome("[]"), "jwt: the payload is not a JSON object");
  EXPECT_EQ(f.outcome("hello").substr(0, 27), "jwt: the payload is not JSO");
  EXPECT_EQ(f.ask(k_good + ",\"scope\":[\"read\"]"), "jwt: of 'pump-1': scope is not a text");
}

TEST(Verifier, SaysWhatIsWrongWithTheSignature) {
  const Fixture f;
  const auto verifier = Verifier::load(f.settings, "tokens.jwt");
  const auto refused = (*verifier)->verify(f.pair().sign("{}", "other"), k_now * 1'000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, make_error_code(Errc::unauthenticated));
  EXPECT_EQ(refused.error().detail, "jwt: no key has the id 'other' (kid)");
}

TEST(Verifier, IsNotMadeWithoutAnAudienceOrWithABadKey) {
  Fixture f;
  f.settings.audience.clear();
  EXPECT_EQ(Verifier::load(f.settings, "api.jwt").error().detail,
            "api.jwt.audience is missing: a token made for somebody else would do here");
  f.settings.audience = "a";
  f.settings.keys[0].file = f.folder.write("bad.pem", "junk");
  EXPECT_EQ(Verifier::load(f.settings, "api.jwt").error().detail.substr(0, 9 + f.folder.path().string().size()),
            "api.jwt: " + f.folder.path().string());
}

TEST(Verifier, TellsAJwtFromOtherTokensByItsDots) {
  EXPECT_TRUE(Verifier::looks_like_one("a.b.c"));
  EXPECT_TRUE(Verifier::looks_like_one(".."));
  for (const char* other : {"", "a", "a.b", "a.b.c.d"}) EXPECT_FALSE(Verifier::looks_like_one(other)) << other;
}

}  // namespace
}  // namespace fieldgate::jwt
