// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/identity/sha256.h"
#include "gateway/core/error.h"
#include "gateway/core/ids.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

namespace fieldgate {

// Which device each token belongs to, by the token's SHA-256.
// Thread: immutable; any.
// Bounds: k_bytes_max of text.
class TokenTable {
 public:
  static constexpr std::size_t k_bytes_max = 256 * 1'048'576;

  // `source` names the text in the detail.
  // Errors: Errc::malformed; the detail has a line "source:line: problem" for
  // each problem, of which there may be k_problems_max before the rest is counted.
  static constexpr std::size_t k_problems_max = 100;
  static Result<TokenTable> parse(std::string_view text, const std::string& source);

  // Errors: Errc::not_found, Errc::too_large, and as parse().
  static Result<TokenTable> read(const std::string& path);

  // nullptr: nobody's.
  const DeviceId* find(const Sha256& token) const;
  std::size_t size() const noexcept { return devices_.size(); }

 private:
  std::unordered_map<Sha256, DeviceId, HashOfSha256> devices_;
};

}  // namespace fieldgate
