// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/access.h"

#include <algorithm>
#include <utility>

namespace fieldgate::http {
namespace {

// The widest scope among the words; nullopt: none is one of ours.
std::optional<Scope> widest(std::string_view words) {
  constexpr std::string_view k_ours = "fieldgate:";
  std::optional<Scope> found;
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    std::string_view word = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    if (word.starts_with(k_ours)) word.remove_prefix(k_ours.size());
    if (const auto scope = parse_scope(word)) found = std::max(found.value_or(*scope), *scope);
  }
  return found;
}

}  // namespace

Access::Access(TokenTable tokens, std::shared_ptr<const jwt::Verifier> jwts)
    : tokens_(std::move(tokens)), jwts_(std::move(jwts)) {}

Result<std::shared_ptr<const Access>> Access::load(const ApiSettings& settings) {
  if (settings.token_file.empty() && !settings.jwt.enabled()) {
    return make_error(Errc::invalid_argument,
                      "nobody could use the API: set api.token_file or api.jwt, or set api.enabled to false");
  }
  TokenTable tokens;
  if (!settings.token_file.empty()) {
    auto loaded = TokenTable::load(settings.token_file);
    if (!loaded) return loaded.error();
    tokens = std::move(*loaded);
  }
  std::shared_ptr<const jwt::Verifier> jwts;
  if (settings.jwt.enabled()) {
    auto loaded = jwt::Verifier::load(settings.jwt, "api.jwt");
    if (!loaded) return loaded.error();
    jwts = std::move(*loaded);
  }
  return std::make_shared<const Access>(std::move(tokens), std::move(jwts));
}

Result<TokenHolder> Access::identify(std::string_view token, std::int64_t now_unix_ms) const {
  if (token.empty()) return make_error(Errc::unauthenticated, "no bearer token");
  if (const TokenHolder* holder = tokens_.find(token)) return *holder;
  if (jwts_ == nullptr || !jwt::Verifier::looks_like_one(token)) {
    return make_error(Errc::unauthenticated, "token: not known");
  }
  auto claims = jwts_->verify(token, now_unix_ms);
  if (!claims) return claims.error();
  const auto scope = widest(claims->scope);
  if (!scope) {
    return make_error(Errc::unauthenticated,
                      "jwt: of '" + claims->subject + "': its scope names none of read, command and admin");
  }
  return TokenHolder{std::move(claims->subject), *scope, claims->expires_unix_ms, TokenKind::jwt};
}

}  // namespace fieldgate::http
