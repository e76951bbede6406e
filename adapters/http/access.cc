// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/access.h"

#include <utility>

namespace fieldgate::http {

Access::Access(TokenTable tokens) : tokens_(std::move(tokens)) {}

Result<std::shared_ptr<const Access>> Access::load(const ApiSettings& settings) {
  if (settings.token_file.empty()) {
    return make_error(Errc::invalid_argument, "the API needs a token file: set api.token_file");
  }
  auto tokens = TokenTable::load(settings.token_file);
  if (!tokens) return tokens.error();
  return std::make_shared<const Access>(std::move(*tokens));
}

Result<TokenHolder> Access::identify(std::string_view token, std::int64_t /*now_unix_ms*/) const {
  if (token.empty()) return make_error(Errc::unauthenticated, "no bearer token");
  if (const TokenHolder* holder = tokens_.find(token)) return *holder;
  return make_error(Errc::unauthenticated, "token: not known");
}

}  // namespace fieldgate::http
