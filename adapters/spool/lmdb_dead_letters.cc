// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/lmdb_dead_letters.h"

#include "adapters/spool/disk_format.h"
#include "adapters/spool/environment.h"
#include "adapters/spool/layout.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fieldgate::spool {
namespace {

constexpr std::size_t k_fetch = 256;  // letters to a read transaction

}  // namespace

Result<void> LmdbDeadLetters::load() {
  const ReadTransaction transaction(environment_);
  Status rc = transaction.status();
  const auto fault = [&](const std::string& why) {
    return make_error(Errc::malformed, "spool: " + environment_.path() + ": dead letters: " + why);
  };
  if (rc != MDB_SUCCESS) return fault(::mdb_strerror(rc));
  const MutexLock lock(mutex_);
  MDB_val key = value_of(k_meta_next_letter);
  MDB_val value{};
  if (::mdb_get(transaction.get(), environment_.meta(), &key, &value) == MDB_SUCCESS) {
    const auto next = decode_number(bytes_of(value));
    if (!next) return fault("next id: " + next.error().detail);
    next_ = *next;
  }
  Cursor cursor(transaction.get(), environment_.letters());
  for (rc = cursor.get(key, value, MDB_FIRST); rc == MDB_SUCCESS; rc = cursor.get(key, value, MDB_NEXT)) {
    std::uint64_t id = 0;
    if (key.mv_size != sizeof id) return fault("a key that is none");
    std::memcpy(&id, key.mv_data, sizeof id);
    const auto letter = decode_letter(id, bytes_of(value));
    if (!letter) return fault("id " + std::to_string(id) + ": " + letter.error().detail);
    // A smaller budget than last time: the oldest go, as if they had come just now.
    for (const std::uint64_t gone : index_.add(id, letter->lane, DeadLetterIndex::bytes_of(*letter))) {
      queue_(gone, Change::removed, {});
    }
    next_ = std::max(next_, id + 1);
  }
  if (rc != MDB_NOTFOUND) return fault(::mdb_strerror(rc));
  return {};
}

std::uint64_t LmdbDeadLetters::add(DeadLetter letter) {
  std::vector<std::uint64_t> gone;
  std::uint64_t id = 0;
  {
    const MutexLock lock(mutex_);
    id = next_++;
    letter.id = id;
    gone = index_.add(id, letter.lane, DeadLetterIndex::bytes_of(letter));
    unwritten_.emplace(id, std::make_shared<const DeadLetter>(std::move(letter)));
    for (const std::uint64_t old : gone) unwritten_.erase(old);
  }
  queue_(id, Change::added, {});
  for (const std::uint64_t old : gone) queue_(old, Change::removed, {});
  return id;
}

DeadLetterPage LmdbDeadLetters::list(const DeadLetterQuery& query) const {
  DeadLetterPage page;
  for (std::uint64_t after = query.after;;) {
    const std::vector<Candidate> next = candidates(query, after);
    if (next.empty()) return page;
    after = next.back().id;
    for (DeadLetter& letter : fetch(next)) {
      if (!query.device.empty() && letter.device != query.device) continue;
      if (page.letters.size() == query.limit) {  // there is one more
        page.next_after = page.letters.empty() ? query.after : page.letters.back().id;
        return page;
      }
      page.letters.push_back(std::move(letter));
    }
  }
}

std::optional<DeadLetter> LmdbDeadLetters::find(std::uint64_t id) const {
  Candidate candidate{id, nullptr};
  {
    const MutexLock lock(mutex_);
    if (!index_.contains(id)) return std::nullopt;
    if (const auto at = unwritten_.find(id); at != unwritten_.end()) candidate.letter = at->second;
  }
  std::vector<DeadLetter> found = fetch({candidate});
  return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
}

bool LmdbDeadLetters::remove(std::uint64_t id) {
  {
    const MutexLock lock(mutex_);
    if (!index_.remove(id)) return false;
    unwritten_.erase(id);
  }
  queue_(id, Change::removed, {});
  return true;
}

// One that is not on the disk yet still gets there: its lane may be saved as past it
// before the record that takes its place is durable.
bool LmdbDeadLetters::replayed(std::uint64_t id, LogPosition as) {
  {
    const MutexLock lock(mutex_);
    if (!index_.remove(id)) return false;
  }
  queue_(id, Change::removed, as);
  return true;
}

std::vector<DeadLetterUsage> LmdbDeadLetters::usage() const {
  const MutexLock lock(mutex_);
  return index_.usage();
}

std::shared_ptr<const DeadLetter> LmdbDeadLetters::unwritten(std::uint64_t id) const {
  const MutexLock lock(mutex_);
  const auto at = unwritten_.find(id);
  return at == unwritten_.end() ? nullptr : at->second;
}

void LmdbDeadLetters::written(std::span<const std::uint64_t> ids) {
  const MutexLock lock(mutex_);
  for (const std::uint64_t id : ids) unwritten_.erase(id);
}

std::vector<LmdbDeadLetters::Candidate> LmdbDeadLetters::candidates(const DeadLetterQuery& query,
                                                                    std::uint64_t after) const {
  std::vector<Candidate> found;
  const MutexLock lock(mutex_);
  for (const std::uint64_t id : index_.after(after, query.lane, k_fetch)) {
    const auto at = unwritten_.find(id);
    found.push_back({id, at == unwritten_.end() ? nullptr : at->second});
  }
  return found;
}

std::vector<DeadLetter> LmdbDeadLetters::fetch(const std::vector<Candidate>& candidates) const {
  std::vector<DeadLetter> letters;
  const ReadTransaction transaction(environment_);  // after the candidates were taken: sees what they left to it
  for (const Candidate& candidate : candidates) {
    if (candidate.letter) {
      letters.push_back(*candidate.letter);
      continue;
    }
    if (transaction.status() != MDB_SUCCESS) continue;
    MDB_val key = value_of(candidate.id);
    MDB_val value{};
    // Not there: removed since.
    if (::mdb_get(transaction.get(), environment_.letters(), &key, &value) != MDB_SUCCESS) continue;
    if (auto letter = decode_letter(candidate.id, bytes_of(value))) letters.push_back(std::move(*letter));
  }
  return letters;
}

}  // namespace fieldgate::spool
