// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fieldgate::northbound {

// A record in the block ledger.
struct RecordRef {
  std::uint64_t block = 0;  // number that the ledger gave the block
  std::uint32_t index = 0;  // within the block
};

}  // namespace fieldgate::northbound
