// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/fleet.h"
#include "gateway/ports/lane.h"

#include <vector>

namespace fieldgate {

// The process about itself. Thread: any; never waits.
class NodeStatus {
 public:
  virtual ~NodeStatus() = default;
  virtual Readiness readiness() const = 0;
  virtual NodeInfo node() const = 0;
  virtual std::vector<LaneStatus> lanes() const = 0;
};

}  // namespace fieldgate
