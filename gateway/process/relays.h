// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/fleet.h"
#include "gateway/ports/live_tap.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace fieldgate {

// The gateway is made before those it tells about devices, for they ask the gateway.
// Thread: connect() before the gateway is opened; the rest any.
class FleetRelay final : public FleetSink {
 public:
  void connect(FleetSink& to) { to_.push_back(&to); }
  void changed(std::vector<DeviceSummary> devices) override { pass(std::move(devices), &FleetSink::changed); }
  void seen(std::vector<SeenUpdate> updates) override { pass(std::move(updates), &FleetSink::seen); }

 private:
  template <class T>
  void pass(std::vector<T> news, void (FleetSink::*tell)(std::vector<T>)) {
    for (std::size_t i = 0; i + 1 < to_.size(); ++i) (to_[i]->*tell)(news);
    if (!to_.empty()) (to_.back()->*tell)(std::move(news));
  }

  std::vector<FleetSink*> to_;
};

// The same for those who watch devices live.
class TapRelay final : public LiveTap {
 public:
  void connect(LiveTap& to) { to_ = &to; }
  void tapped(TappedRecord record) override {
    if (to_ != nullptr) to_->tapped(std::move(record));
  }

 private:
  LiveTap* to_ = nullptr;
};

}  // namespace fieldgate
