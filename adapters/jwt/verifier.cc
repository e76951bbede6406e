// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/verifier.h"

#include "adapters/jwt/json_object.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace fieldgate::jwt {
namespace {

constexpr double k_seconds_max = 253'402'300'799;  // 9999-12-31T23:59:59Z

Error refused(std::string what) { return make_error(Errc::unauthenticated, "jwt: " + std::move(what)); }

// A NumericDate (RFC 7519 section 2) in milliseconds; nullopt: there is none.
Result<std::optional<std::int64_t>> time_of(const JsonObject& claims, std::string_view name) {
  if (!claims.has(name)) return std::optional<std::int64_t>();
  const double* seconds = claims.number(name);
  if (seconds == nullptr || !(*seconds >= 0 && *seconds <= k_seconds_max)) {
    return refused(std::string(name) + " is not a number of seconds since 1970");
  }
  return std::optional(static_cast<std::int64_t>(std::floor(*seconds * 1'000)));
}

std::string in_seconds(std::int64_t ms) { return std::to_string((ms + 999) / 1'000) + " s"; }

bool names(const JsonObject& claims, std::string_view audience) {
  if (const std::string* one = claims.text("aud")) return *one == audience;
  const auto* many = claims.texts("aud");
  return many != nullptr && std::ranges::find(*many, audience) != many->end();
}

bool is_subject(const std::string& text) {
  return !text.empty() && text.size() <= Verifier::k_subject_bytes_max &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

Result<std::shared_ptr<const Verifier>> Verifier::load(const JwtSettings& settings, std::string_view place) {
  const std::string where(place);
  if (settings.audience.empty()) {
    return make_error(Errc::invalid_argument,
                      where + ".audience is missing: a token made for somebody else would do here");
  }
  auto keys = Keys::load(settings);
  if (!keys) return Error{keys.error().code, where + ": " + keys.error().detail};
  return std::make_shared<const Verifier>(std::move(*keys), settings);
}

bool Verifier::looks_like_one(std::string_view token) noexcept { return std::ranges::count(token, '.') == 2; }

Result<Claims> Verifier::verify(std::string_view token, std::int64_t now_unix_ms) const {
  const auto signed_by = verify_jws(token, keys_);
  if (!signed_by) return refused(signed_by.error().detail);
  return read(*signed_by, now_unix_ms);
}

Result<Claims> Verifier::read(const Signed& token, std::int64_t now_unix_ms) const {
  const auto claims = JsonObject::parse(token.payload, {"sub", "iss", "aud", "exp", "nbf", "iat", "scope", "jti"});
  if (!claims) return refused("the payload " + claims.error().detail);
  const std::string* subject = claims->text("sub");
  if (subject == nullptr || !is_subject(*subject)) {
    return refused("sub is not a text of 1 to 256 bytes without control characters");
  }
  // From here on it is known who the log should name.
  const auto fail = [&](const std::string& what) { return refused("of '" + *subject + "': " + what); };

  const std::int64_t skew = milliseconds(settings_.clock_skew).count();
  const auto expires = time_of(*claims, "exp");
  const auto not_before = time_of(*claims, "nbf");
  const auto issued = time_of(*claims, "iat");
  for (const auto* time : {&expires, &not_before, &issued}) {
    if (!*time) return time->error();
  }
  if (!*expires) return fail("it never expires: exp is missing");
  if (now_unix_ms >= **expires + skew) return fail("it expired " + in_seconds(now_unix_ms - **expires) + " ago");
  if (**expires - now_unix_ms > milliseconds(settings_.lifetime_max).count() + skew) {
    return fail("it is good for longer than lifetime_max: " + in_seconds(**expires - now_unix_ms));
  }
  if (*not_before && **not_before > now_unix_ms + skew) {
    return fail("it is good only in " + in_seconds(**not_before - now_unix_ms) + " (nbf)");
  }
  if (*issued && **issued > now_unix_ms + skew) {
    return fail("it was issued " + in_seconds(**issued - now_unix_ms) + " in the future (iat)");
  }
  if (!names(*claims, settings_.audience)) return fail("aud does not name '" + settings_.audience + "'");
  const std::string* issuer = claims->text("iss");
  if (!settings_.issuer.empty() && (issuer == nullptr || *issuer != settings_.issuer)) {
    return fail("iss is not '" + settings_.issuer + "'");
  }
  if (claims->has("scope") && claims->text("scope") == nullptr) return fail("scope is not a text");

  Claims found;
  found.subject = *subject;
  if (issuer != nullptr) found.issuer = *issuer;
  if (const std::string* scope = claims->text("scope")) found.scope = *scope;
  if (const std::string* id = claims->text("jti")) found.id = *id;
  found.expires_unix_ms = **expires + skew;
  found.key_sha256 = token.key->sha256;
  return found;
}

}  // namespace fieldgate::jwt
