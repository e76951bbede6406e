// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/uplink/uplink_log.h"

#include <chrono>
#include <cstdint>

namespace fieldgate::uplink {

// One lane's view of the log. Any thread.
class UplinkLog::Feed final : public LaneFeed {
 public:
  Feed(UplinkLog& log, std::size_t lane, std::uint32_t slot, const LaneSpec& spec, LogPosition start)
      : log_(log), lane_(lane), slot_(LaneSet{1} << slot), spec_(spec), start_(start) {}

  RecordBlockPtr read(LogPosition from) const override { return log_.read(lane_, from); }
  Fate fate(const RecordView& record) const noexcept override {
    if ((record.lanes & slot_) == 0 || !spec_.filter.takes(record.kind)) return Fate::filter;
    const std::chrono::milliseconds max_age = spec_.max_age;
    if (max_age.count() > 0 && log_.clock_.unix_ms() - record.received_unix_ms > max_age.count()) return Fate::expire;
    return Fate::send;
  }
  LogPosition start() const override { return start_; }
  void completed(LogPosition through, const LaneOutcome& outcome) override { log_.completed(lane_, through, outcome); }

 private:
  UplinkLog& log_;
  const std::size_t lane_;
  const LaneSet slot_;
  const LaneSpec& spec_;  // the log's own
  const LogPosition start_;
};

}  // namespace fieldgate::uplink
