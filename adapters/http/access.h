// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/token_table.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace fieldgate::http {

// Who may use the API, and for what: by the token file, by JWTs, or by both.
// Thread: immutable; any.
class Access {
 public:
  explicit Access(TokenTable tokens);

  // Reads the token file and the keys that `settings` names. Blocks on disk.
  // Errors: as TokenTable::load(); Errc::invalid_argument where neither is there.
  static Result<std::shared_ptr<const Access>> load(const ApiSettings& settings);

  // Who presents `token`, at that time.
  // Errors: Errc::unauthenticated; the detail is for the log, not for the caller.
  Result<TokenHolder> identify(std::string_view token, std::int64_t now_unix_ms) const;

 private:
  TokenTable tokens_;
};

}  // namespace fieldgate::http
