// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/record.h"
#include "gateway/core/settings.h"

#include <array>
#include <optional>
#include <vector>

namespace fieldgate::mqtt {

// What becomes of each kind of record in this lane.
// Thread: any; immutable.
class Routes {
 public:
  // The first route that names a kind takes it. No routes at all: telemetry,
  // state, opaque and command_reply in batches, events per device as protobuf,
  // presence per device as JSON.
  // Errors: Errc::invalid_argument for a kind that there is not.
  static Result<Routes> make(const std::vector<RouteSettings>& routes);

  // nullopt: filtered out.
  std::optional<RoutePayload> operator[](RecordKind kind) const noexcept {
    return table_[static_cast<std::size_t>(kind)];
  }

 private:
  std::array<std::optional<RoutePayload>, k_record_kinds> table_;
};

}  // namespace fieldgate::mqtt
