// SPDX-License-Identifier: Apache-2.0
//
// Whatever is sent as a JSON Web Token: without the private key nothing is believed;
// and what the key has signed is believed only with a sound header and sound claims.
// The first byte says what the others are: a whole token, a header, a payload, or a key set.
#include "adapters/jwt/base64url.h"
#include "adapters/jwt/json_object.h"
#include "adapters/jwt/verifier.h"
#include "tests/support/jwt_keys.h"

#include <openssl/err.h>
#include <boost/json/parse.hpp>

#include <cstdint>
#include <cstdlib>

namespace {

using namespace fieldgate;

constexpr std::int64_t k_now = 1'800'000'000'000;

void require(bool holds) {
  if (!holds) std::abort();
}

const test::JwtKeyPair& pair() {
  static const test::JwtKeyPair made(JwtAlgorithm::eddsa);
  return made;
}

const jwt::Verifier& verifier() {
  static const jwt::Verifier made = [] {
    jwt::Keys keys;
    require(keys.add_jwks(test::jwks({pair().jwk("k", "")}), "keys").has_value());
    JwtSettings settings;
    settings.audience = "fieldgate";
    return jwt::Verifier(std::move(keys), settings);
  }();
  return made;
}

void whole(std::string_view text) {
  require(!verifier().verify(text, k_now));
  const auto plain = jwt::from_base64url(text);
  if (plain) require(jwt::to_base64url(*plain) == text);
}

void header(std::string_view text) {
  constexpr std::string_view k_payload = R"({"sub":"d","aud":"fieldgate","exp":1800000600})";
  if (!verifier().verify(pair().sign_as(text, k_payload), k_now)) return;
  const auto read = jwt::JsonObject::parse(text, {"alg", "kid", "crit"});
  require(read && read->text("alg") != nullptr && *read->text("alg") == "EdDSA" && !read->has("crit"));
  require(!read->has("kid") || *read->text("kid") == "k");
}

void payload(std::string_view text) {
  const auto claims = verifier().verify(pair().sign(text, "k"), k_now);
  if (!claims) return;
  require(!claims->subject.empty() && claims->subject.size() <= jwt::Verifier::k_subject_bytes_max);
  require(claims->expires_unix_ms > k_now && claims->expires_unix_ms <= k_now + (86'400 + 120) * 1'000);
  boost::json::error_code ec;
  const auto document = boost::json::parse(text, ec);
  require(!ec && document.is_object() && document.at("sub").as_string() == claims->subject);
}

void key_set(std::string_view text) {
  jwt::Keys keys;
  if (keys.add_jwks(text, "keys")) require(keys.size() > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'h': header(text); break;
    case 'p': payload(text); break;
    case 'k': key_set(text); break;
    default: whole(text);
  }
  require(ERR_peek_error() == 0);
  return 0;
}
