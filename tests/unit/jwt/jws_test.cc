// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/jws.h"

#include "adapters/jwt/base64url.h"
#include "tests/support/jwt_keys.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace fieldgate::jwt {
namespace {

using test::JwtKeyPair;

// The payload of RFC 7515 appendix A.2 and A.3.
constexpr std::string_view k_payload =
    "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
constexpr std::string_view k_payload_base64 =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

struct Vector {
  const char* name;
  std::string jwk;
  std::string header;
  std::string payload;
  std::string signature;
  std::string_view meaning;
};

const std::vector<Vector>& vectors() {
  static const std::vector<Vector> all = {
      {"RFC 7515 A.2",
       R"("kty":"RSA","alg":"RS256","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-)"
       "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-"
       "bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_"
       "I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"",
       "eyJhbGciOiJSUzI1NiJ9", std::string(k_payload_base64),
       "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUA"
       "r7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO-"
       "-xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_"
       "IoypGlUPQGe77Rw",
       k_payload},
      {"RFC 7515 A.3",
       R"("kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
       R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")",
       "eyJhbGciOiJFUzI1NiJ9", std::string(k_payload_base64),
       "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", k_payload},
      {"RFC 8037 A.4", R"("kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")",
       "eyJhbGciOiJFZERTQSJ9", "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
       "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
       "Example of Ed25519 signing"},
  };
  return all;
}

Keys keys_of(std::initializer_list<std::string> jwks) {
  Keys keys;
  const auto added = keys.add_jwks(test::jwks(jwks), "jwks.json");
  EXPECT_TRUE(added) << added.error().detail;
  return keys;
}

std::string outcome(std::string_view token, const Keys& keys) {
  const auto result = verify_jws(token, keys);
  EXPECT_EQ(ERR_peek_error(), 0U) << "an error was left in the thread's queue";
  return result ? "good" : result.error().detail;
}

struct Each : testing::TestWithParam<JwtAlgorithm> {
  const JwtKeyPair& pair = [this]() -> const JwtKeyPair& {
    static const std::array<JwtKeyPair, 3> all = {JwtKeyPair(JwtAlgorithm::rs256), JwtKeyPair(JwtAlgorithm::es256),
                                                  JwtKeyPair(JwtAlgorithm::eddsa)};
    return all[static_cast<std::size_t>(GetParam())];
  }();
  const std::string alg{to_string(GetParam())};
  const Keys keys = keys_of({pair.jwk("k", alg)});
};

INSTANTIATE_TEST_SUITE_P(Jws, Each, testing::Values(JwtAlgorithm::rs256, JwtAlgorithm::es256, JwtAlgorithm::eddsa),
                         [](const auto& algorithm) { return std::string(to_string(algorithm.param)); });

TEST(Jws, TakesTheVectorsOfTheStandards) {
  for (const Vector& v : vectors()) {
    const auto result = verify_jws(v.header + "." + v.payload + "." + v.signature, keys_of({v.jwk}));
    ASSERT_TRUE(result) << v.name << ": " << result.error().detail;
    EXPECT_EQ(result->payload, v.meaning) << v.name;
  }
}

TEST(Jws, RefusesTheVectorsOnceAnythingInThemIsChanged) {
  for (const Vector& v : vectors()) {
    const Keys keys = keys_of({v.jwk});
    const std::string token = v.header + "." + v.payload + "." + v.signature;
    for (std::size_t i = 0; i < token.size(); ++i) {
      std::string changed = token;
      changed[i] = changed[i] == 'A' ? 'B' : 'A';
      EXPECT_NE(outcome(changed, keys), "good") << v.name << " at " << i;
    }
  }
}

TEST_P(Each, TakesWhatItsKeySigned) {
  EXPECT_EQ(outcome(pair.sign("{}", "k"), keys), "good");
  EXPECT_EQ(outcome(pair.sign("{}", ""), keys), "good") << "the only key there is";
  const auto result = verify_jws(pair.sign("payload", "k"), keys);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->payload, "payload");
  EXPECT_EQ(result->key->id, "k");
}

TEST_P(Each, RefusesWhatAnotherKeySigned) {
  const JwtKeyPair other(GetParam());
  EXPECT_EQ(outcome(other.sign("{}", "k"), keys), "the signature is not that of its key");
  // A key that the token brings along counts for nothing (RFC 8725 section 3.10).
  const std::string header = R"({"alg":")" + alg + R"(","kid":"k","jwk":{)" + other.jwk("k", alg) +
                             R"(},"jku":"http://127.0.0.1:1/jwks.json","x5u":"http://127.0.0.1:1/x"})";
  EXPECT_EQ(outcome(other.sign_as(header, "{}"), keys), "the signature is not that of its key");
}

TEST_P(Each, RefusesEveryTruncation) {
  const std::string token = pair.sign("{\"sub\":\"a\"}", "k");
  for (std::size_t size = 0; size < token.size(); ++size) {
    EXPECT_NE(outcome(token.substr(0, size), keys), "good") << size;
  }
  EXPECT_NE(outcome(token + "A", keys), "good");
  EXPECT_NE(outcome(token + "=", keys), "good");
  EXPECT_NE(outcome(token + ".", keys), "good");
  EXPECT_NE(outcome(token + "." + token, keys), "good");
  EXPECT_NE(outcome(token + "\n", keys), "good");
  EXPECT_NE(outcome(" " + token, keys), "good");
}

TEST_P(Each, RefusesTheAlgorithmNone) {
  const std::string rest = "." + to_base64url("{\"sub\":\"a\"}") + ".";
  for (const char* none : {"none", "None", "NONE", "nOnE", ""}) {
    for (const char* id : {R"(,"kid":"k")", ""}) {
      const std::string header = to_base64url(R"({"alg":")" + std::string(none) + "\"" + id + "}");
      EXPECT_EQ(outcome(header + rest, keys),
                "the algorithm (alg) is '" + std::string(none) + "', and its key is for " + alg + " alone");
    }
  }
  // The true signature under the false name changes nothing.
  EXPECT_NE(outcome(pair.sign_as(R"({"alg":"none","kid":"k"})", "{}"), keys), "good");
}

// The public key taken for the secret of an HMAC, in every form in which it is public.
TEST_P(Each, RefusesAnHmacWithThePublicKey) {
  for (const std::string& secret : {pair.public_pem, pair.jwk("k", alg), std::string(), std::string("secret")}) {
    const std::string text = to_base64url(R"({"alg":"HS256","kid":"k"})") + "." + to_base64url("{\"sub\":\"a\"}");
    std::array<unsigned char, 32> mac{};
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), nullptr);
    const std::string token = text + "." + to_base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
    EXPECT_EQ(outcome(token, keys), "the algorithm (alg) is 'HS256', and its key is for " + alg + " alone");
  }
}

TEST_P(Each, RefusesEveryOtherAlgorithmThanItsKeys) {
  for (const char* name :
       {"RS256", "ES256", "EdDSA", "RS384", "RS512", "PS256", "ES384", "ES256K", "HS512", "Ed25519"}) {
    if (name == alg) continue;
    EXPECT_NE(outcome(pair.sign_as(R"({"kid":"k","alg":")" + std::string(name) + "\"}", "{}"), keys), "good") << name;
  }
  EXPECT_EQ(outcome(pair.sign_as(R"({"kid":"k"})", "{}"), keys), "the header names no algorithm (alg)");
  EXPECT_EQ(outcome(pair.sign_as(R"({"kid":"k","alg":1})", "{}"), keys), "the header names no algorithm (alg)");
}

TEST_P(Each, RefusesExtensionsThatMustBeUnderstood) {
  for (const char* crit : {R"(["b64"])", "[]", "null", "\"b64\""}) {
    const std::string header = R"({"alg":")" + alg + R"(","kid":"k","b64":false,"crit":)" + crit + "}";
    EXPECT_EQ(outcome(pair.sign_as(header, "{}"), keys),
              "the header asks for extensions (crit), and none is supported");
  }
}

TEST_P(Each, RefusesAHeaderThatTwoReadersCouldReadDifferently) {
  const std::string good = "\"alg\":\"" + alg + "\",\"kid\":\"k\"";
  EXPECT_EQ(outcome(pair.sign_as("{" + good + "}", "{}"), keys), "good");
  EXPECT_EQ(outcome(pair.sign_as("{\"alg\":\"none\"," + good + "}", "{}"), keys), "the header holds 'alg' twice");
  EXPECT_EQ(outcome(pair.sign_as("{" + good + ",\"kid\":\"other\"}", "{}"), keys), "the header holds 'kid' twice");
  for (const std::string& header :
       {"[" + good + "]", "{" + good, "{" + good + "}{}", std::string(), std::string("null")}) {
    EXPECT_NE(outcome(pair.sign_as(header, "{}"), keys), "good") << header;
  }
}

TEST(Jws, LooksAKeyUpByItsIdAlone) {
  const JwtKeyPair one(JwtAlgorithm::es256);
  const JwtKeyPair two(JwtAlgorithm::es256);
  const Keys both = keys_of({one.jwk("one", ""), two.jwk("two", "")});
  EXPECT_EQ(outcome(one.sign("{}", "one"), both), "good");
  EXPECT_EQ(outcome(two.sign("{}", "two"), both), "good");
  EXPECT_EQ(outcome(one.sign("{}", "two"), both), "the signature is not that of its key");
  EXPECT_EQ(outcome(one.sign("{}", "three"), both), "no key has the id 'three' (kid)");
  EXPECT_EQ(outcome(one.sign("{}", ""), both), "the header has no kid, and there is no key for tokens without one");
  const auto kid = [&](const std::string& value) {
    return outcome(one.sign_as(R"({"alg":"ES256","kid":)" + value + "}", "{}"), both);
  };
  EXPECT_EQ(kid("\"\""), "no key has the id '' (kid)");
  EXPECT_EQ(kid("1"), "the header's kid is not a text");
  EXPECT_EQ(kid("null"), "the header's kid is not a text");
  // It names no file, and no query, and its own bytes do not reach the log as they are.
  EXPECT_EQ(kid("\"../../etc/passwd\""), "no key has the id '../../etc/passwd' (kid)");
  EXPECT_EQ(kid("\"\\u0000\\n\\u001b[2J\""), "no key has the id '???[2J' (kid)");
  EXPECT_EQ(kid("\"" + std::string(100, 'x') + "\""), "no key has the id '" + std::string(64, 'x') + "...' (kid)");

  const Keys with_one_without = keys_of({one.jwk("", ""), two.jwk("two", "")});
  EXPECT_EQ(outcome(one.sign("{}", ""), with_one_without), "good");
  EXPECT_EQ(outcome(two.sign("{}", ""), with_one_without), "the signature is not that of its key");
}

TEST(Jws, RefusesSignaturesOfAnotherForm) {
  const JwtKeyPair pair(JwtAlgorithm::es256);
  const Keys keys = keys_of({pair.jwk("k", "")});
  const std::string token = pair.sign("{}", "k");
  const std::string text = token.substr(0, token.rfind('.') + 1);
  const std::string raw = *from_base64url(token.substr(text.size()));
  EXPECT_EQ(outcome(text + to_base64url(raw), keys), "good");
  EXPECT_NE(outcome(text, keys), "good") << "none at all";
  EXPECT_NE(outcome(text + to_base64url(std::string(64, '\0')), keys), "good") << "r and s 0 (CVE-2022-21449)";
  EXPECT_NE(outcome(text + to_base64url(std::string(1, '\0') + raw), keys), "good");
  EXPECT_NE(outcome(text + to_base64url("\x30\x44\x02\x20" + raw.substr(0, 32) + "\x02\x20" + raw.substr(32)), keys),
            "good")
      << "DER";
  EXPECT_NE(outcome(text + to_base64url(std::string(64, '\xFF')), keys), "good") << "beyond the curve's order";
}

TEST(Jws, RefusesWhatIsTooLargeBeforeItReadsAnyOfIt) {
  const JwtKeyPair pair(JwtAlgorithm::es256);
  const Keys keys = keys_of({pair.jwk("k", "")});
  EXPECT_EQ(outcome(pair.sign(std::string(5'000, ' '), "k"), keys), "good");
  EXPECT_EQ(outcome(pair.sign(std::string(7'000, ' '), "k"), keys), "larger than 8192 bytes");
  EXPECT_EQ(outcome(std::string(1'000'000, '.'), keys), "larger than 8192 bytes");
}

TEST(Jws, DoesNotLookAtThePayloadBeforeTheSignatureHolds) {
  const JwtKeyPair pair(JwtAlgorithm::es256);
  const Keys keys = keys_of({pair.jwk("k", "")});
  const std::string token = pair.sign("{}", "k");
  const std::size_t dot = token.find('.');
  const std::string broken = token.substr(0, dot + 1) + "!!" + token.substr(token.rfind('.'));
  EXPECT_EQ(outcome(broken, keys), "the signature is not that of its key");
}

}  // namespace
}  // namespace fieldgate::jwt
