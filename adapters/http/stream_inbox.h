// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/mutex.h"
#include "gateway/core/twin.h"
#include "gateway/ports/live_tap.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace fieldgate::http {

// What the live stream is told of, on its way to the API's thread.
// Thread: any. Bounds: of each kind so many, of records so many bytes too; what does not
//         fit is dropped, and counted.
class StreamInbox {
 public:
  static constexpr std::size_t k_records_max = 8'192;
  static constexpr std::size_t k_record_bytes_max = 8'388'608;
  static constexpr std::size_t k_others_max = 65'536;

  struct Content {
    std::vector<std::shared_ptr<const CommandEntry>> commands{};
    std::vector<std::shared_ptr<const Twin>> twins{};
    std::vector<TappedRecord> records{};
    std::size_t record_bytes = 0;
    std::uint64_t lost_records = 0;
    std::uint64_t lost_others = 0;
    std::uint64_t missed_changes = 0;  // of what other nodes wrote
    bool missed_uncounted = false;     // and perhaps more
  };

  // Of what other nodes wrote, so many; nullopt: nobody knows.
  struct Missed {
    std::optional<std::uint64_t> changes;
  };

  // True if somebody must now be told to take(); once until it is done.
  bool put(std::shared_ptr<const CommandEntry> command) EXCLUDES(mutex_);
  bool put(std::shared_ptr<const Twin> twin) EXCLUDES(mutex_);
  bool put(TappedRecord record) EXCLUDES(mutex_);
  bool put(Missed missed) EXCLUDES(mutex_);

  Content take() EXCLUDES(mutex_);

 private:
  bool announce() REQUIRES(mutex_);

  Mutex mutex_;
  Content content_ GUARDED_BY(mutex_);
  bool announced_ GUARDED_BY(mutex_) = false;
};

}  // namespace fieldgate::http
