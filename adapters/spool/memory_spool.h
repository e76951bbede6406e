// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/spool.h"

#include <deque>
#include <memory>

namespace fieldgate::spool {

// Keeps the uplink log in this process's memory: what is in it dies with it.
// Bounds: as Spool; a block that does not fit is refused.
class MemorySpool final : public Spool {
 public:
  explicit MemorySpool(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  Result<SpoolRecovery> recover() override { return SpoolRecovery{}; }
  Result<RecordBlockPtr> load(LogPosition from) const override { return read(from); }
  void open(SpoolEvents& /*events*/) override {}
  void close() override {}
  Result<LogPosition> append(std::shared_ptr<RecordBlock> block) override;
  RecordBlockPtr read(LogPosition from) const override;
  void trim(LogPosition through) override;
  SpoolUsage usage() const override;
  LogPosition durable_through() const override { return {}; }
  bool durable() const noexcept override { return false; }
  void save_lanes(std::vector<SavedLane> /*lanes*/) override {}
  void save_devices(std::vector<DeviceMarks> /*changed*/, std::vector<DeviceId> /*gone*/,
                    LogPosition /*through*/) override {}
  LogPosition checkpoint() const override { return {}; }

 private:
  const std::uint64_t bytes_max_;
  mutable Mutex mutex_;
  std::deque<RecordBlockPtr> blocks_ GUARDED_BY(mutex_);  // oldest first
  std::uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  LogPosition next_ GUARDED_BY(mutex_){1};
};

}  // namespace fieldgate::spool
