// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/dead_letters.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace fieldgate::test {

// Dead letters in a vector, none of which is ever given up. Any thread.
class FakeDeadLetters final : public DeadLetterStore {
 public:
  std::uint64_t add(DeadLetter letter) override {
    const MutexLock lock(mutex_);
    letter.id = ++last_id_;
    letters_.push_back(std::move(letter));
    return last_id_;
  }
  DeadLetterPage list(const DeadLetterQuery& query) const override {
    const MutexLock lock(mutex_);
    DeadLetterPage page;
    for (const DeadLetter& letter : letters_) {
      const bool meets = letter.id > query.after && (query.lane.empty() || letter.lane == query.lane) &&
                         (query.device.empty() || letter.device == query.device);
      if (!meets) continue;
      if (page.letters.size() == query.limit) {
        page.next_after = page.letters.back().id;
        break;
      }
      page.letters.push_back(letter);
    }
    return page;
  }
  std::optional<DeadLetter> find(std::uint64_t id) const override {
    const MutexLock lock(mutex_);
    const auto it = std::ranges::find(letters_, id, &DeadLetter::id);
    return it == letters_.end() ? std::nullopt : std::optional(*it);
  }
  bool remove(std::uint64_t id) override {
    const MutexLock lock(mutex_);
    return std::erase_if(letters_, [id](const DeadLetter& letter) { return letter.id == id; }) > 0;
  }
  std::vector<DeadLetterUsage> usage() const override {
    const MutexLock lock(mutex_);
    std::vector<DeadLetterUsage> all;
    for (const DeadLetter& letter : letters_) {
      auto it = std::ranges::find(all, letter.lane, &DeadLetterUsage::lane);
      if (it == all.end()) it = all.insert(all.end(), {letter.lane, 0, 0, 0});
      ++it->letters;
      it->bytes += letter.payload.size();
    }
    return all;
  }

  std::vector<DeadLetter> all() const {
    const MutexLock lock(mutex_);
    return letters_;
  }

 private:
  mutable Mutex mutex_;
  std::uint64_t last_id_ GUARDED_BY(mutex_) = 0;
  std::vector<DeadLetter> letters_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::test
