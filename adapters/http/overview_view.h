// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/token_table.h"
#include "gateway/core/fleet_index.h"
#include "gateway/ports/control.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/node_status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::http {

// What GET /overview is made of.
struct OverviewParts {
  std::int64_t unix_ms = 0;
  NodeInfo node;
  Overview overview;
  Readiness readiness;
  FleetCounts fleet;
  std::vector<LaneStatus> lanes;
  std::vector<DeadLetterUsage> dead_letters;
  std::optional<StoreStatus> store;  // nullopt: none
  std::uint64_t stream_subscribers = 0;
  TokenHolder asker;
};

std::string overview_json(const OverviewParts& parts);

}  // namespace fieldgate::http
