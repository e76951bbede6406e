// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/timeline.h"

namespace fieldgate {

// Takes down what happens to devices. Always on.
// Thread: any; never waits. Bounds: what cannot be queued is dropped and counted.
class FlightRecorder {
 public:
  virtual ~FlightRecorder() = default;
  virtual void record(TimelineEntry entry) = 0;
  virtual void refused(RefusalEntry refusal) = 0;
};

}  // namespace fieldgate
