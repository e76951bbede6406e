// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"
#include "gateway/ports/wire.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace fieldgate {

// How full the uplink log is, and what that means for devices' credit.
enum class UplinkLevel : std::uint8_t {
  normal,    // full credit
  reduced,   // above 50 %: an eighth of it
  withheld,  // above 80 %: none
};
std::string_view to_string(UplinkLevel level) noexcept;

// A shard, as the uplink sees it. Any thread; the implementation posts to its
// own and returns.
class StageSink {
 public:
  virtual ~StageSink() = default;
  // Every record of `block`, and of every earlier block of this shard, has
  // reached `stage`.
  virtual void staged(AckStage stage, RecordBlockPtr block) = 0;
  virtual void level_changed(UplinkLevel level) = 0;
};

// The way north, as a shard sees it.
// Thread: any; never waits.
class Uplink {
 public:
  virtual ~Uplink() = default;

  // Takes a shard's records; on success they have reached ACCEPTED.
  // Errors: Errc::full or Errc::unavailable; nothing of the block was taken.
  virtual Result<void> submit(std::shared_ptr<RecordBlock> block) = 0;

  virtual UplinkLevel level() const noexcept = 0;

  // The stage a device gets that asks for `wanted` (unspecified: the default).
  virtual AckStage grant(AckStage wanted) const noexcept = 0;
};

}  // namespace fieldgate
