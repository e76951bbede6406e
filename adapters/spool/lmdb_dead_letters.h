// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/dead_letter_index.h"
#include "gateway/core/error.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/dead_letters.h"

#include <functional>
#include <map>
#include <memory>
#include <span>

namespace fieldgate::spool {

class Environment;

// Keeps dead letters in the spool's file, through the spool's writer: in the order
// in which it is asked, and durable a commit later. Until then they are here.
class LmdbDeadLetters final : public DeadLetterStore {
 public:
  enum class Change : std::uint8_t { added, removed };
  // Tells the writer; never waits. Not before everything <= `after` is durable.
  using Queue = std::function<void(std::uint64_t id, Change change, LogPosition after)>;

  // `environment` outlives this.
  LmdbDeadLetters(Environment& environment, std::uint64_t bytes_max, Queue queue)
      : environment_(environment), queue_(std::move(queue)), index_(bytes_max) {}
  // Takes in what the file holds. Before everything else.
  Result<void> load();

  std::uint64_t add(DeadLetter letter) override;
  DeadLetterPage list(const DeadLetterQuery& query) const override;
  std::optional<DeadLetter> find(std::uint64_t id) const override;
  bool remove(std::uint64_t id) override;
  bool replayed(std::uint64_t id, LogPosition as) override;
  std::vector<DeadLetterUsage> usage() const override;

  // For the writer: a letter that is to be written; nullptr if it was removed
  // meanwhile. written(): the disk has them now.
  std::shared_ptr<const DeadLetter> unwritten(std::uint64_t id) const;
  void written(std::span<const std::uint64_t> ids);

 private:
  // A letter to look up; `letter` if it is not on the disk yet.
  struct Candidate {
    std::uint64_t id;
    std::shared_ptr<const DeadLetter> letter;
  };
  std::vector<Candidate> candidates(const DeadLetterQuery& query, std::uint64_t after) const;
  std::vector<DeadLetter> fetch(const std::vector<Candidate>& candidates) const;

  Environment& environment_;
  const Queue queue_;
  mutable Mutex mutex_;
  DeadLetterIndex index_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, std::shared_ptr<const DeadLetter>> unwritten_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
};

}  // namespace fieldgate::spool
