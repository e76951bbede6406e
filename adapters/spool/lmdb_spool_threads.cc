// SPDX-License-Identifier: Apache-2.0
//
// What the spool's own two threads do.
#include "adapters/spool/disk_format.h"
#include "adapters/spool/environment.h"
#include "adapters/spool/layout.h"
#include "adapters/spool/lmdb_spool.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fieldgate::spool {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t k_commit_bytes_max = 4 << 20;  // of blocks in one transaction
constexpr std::uint64_t k_read_ahead_bytes = 256 << 10;
constexpr milliseconds k_lanes_every{100};
constexpr milliseconds k_retry_every{1'000};

Monotonic steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace

void LmdbSpool::write_loop() {
  Work work;
  while (take(work)) {
    const Monotonic begun = steady_now();
    const Committer::Verdict verdict = committer_->run(work);
    unwritten_notes_ = std::move(work.notes);
    settle(verdict, begun);
  }
}

// Waits until there is something to write, and takes it. False: closed, and all
// is written that can be.
bool LmdbSpool::take(Work& work) {
  std::deque<Note> fresh;
  {
    const MutexLock lock(mutex_);
    for (;;) {
      const std::optional<Monotonic> when = due();
      if (closing_ && (!when || given_up_ || state_ == SpoolState::failed)) return false;
      if (when && (closing_ || *when <= steady_now())) break;
      if (when) {
        work_.wait_until(mutex_, *when);
      } else {
        work_.wait(mutex_);
      }
    }
    work.blocks = tail_.unsaved(k_commit_bytes_max);
    work.trim_through = trim_through_;
    fresh = std::exchange(notes_, {});
  }
  work.notes = std::move(unwritten_notes_);
  move_in_parts(fresh, work.notes);
  return true;
}

// When the writer is to go to work; nothing: there is none.
std::optional<Monotonic> LmdbSpool::due() const {
  if (state_ == SpoolState::failed) return std::nullopt;
  std::optional<Monotonic> when;
  const auto at = [&](Monotonic then) { when = when ? std::min(*when, then) : then; };
  if (tail_.unsaved_records() >= settings_.commit_records) {
    at(blocks_since_);
  } else if (tail_.unsaved_records() > 0) {
    at(blocks_since_ + settings_.commit_every);
  }
  if (notes_left_) at(Monotonic::min());
  if (!notes_.empty()) at(notes_since_ + (notes_urgent_ ? settings_.commit_every : k_lanes_every));
  if (trims_wait()) at(trim_since_ + settings_.commit_every);
  return when && state_ == SpoolState::full ? retry_at_ : when;
}

bool LmdbSpool::trims_wait() const { return std::min(trim_through_, committed_.durable) > committed_.trimmed; }

// Makes known what the writer has done.
void LmdbSpool::settle(Committer::Verdict verdict, Monotonic begun) {
  std::vector<RecordBlockPtr> dropped;  // freed without the lock
  bool durable_advanced = false;
  bool usage_changed = false;
  probe_.file_bytes.set(environment_->file_bytes());
  {
    const MutexLock lock(mutex_);
    const Committed before = std::exchange(committed_, committer_->committed());
    durable_advanced = committed_.durable > before.durable;
    const bool trimmed = committed_.trimmed > before.trimmed;
    live_bytes_ = committer_->pages().blocks * environment_->page_bytes();
    tail_.saved_through(committed_.durable, dropped);
    tail_.drop_through(committed_.trimmed, dropped);
    cache_.drop_through(committed_.trimmed);
    // What is not ready waits for records, and those are written without a reminder.
    notes_left_ = std::ranges::any_of(
        unwritten_notes_, [this](const Note& note) { return is_ready(note, committer_->committed().durable); });
    blocks_since_ = begun;  // what came meanwhile came after that
    trim_since_ = begun;
    const SpoolState state = verdict == Committer::Verdict::done   ? SpoolState::ok
                             : verdict == Committer::Verdict::full ? SpoolState::full
                                                                   : SpoolState::failed;
    usage_changed = trimmed || state != state_;
    if (state_ != SpoolState::failed) change_state(state, committer_->error());  // the reader may have found damage
    if (state == SpoolState::full) retry_at_ = trimmed && trims_wait() ? begun : steady_now() + k_retry_every;
    given_up_ = closing_ && state != SpoolState::ok && !trimmed;
  }
  if (events_ == nullptr) return;
  if (durable_advanced) events_->durable_advanced();
  if (usage_changed) events_->usage_changed();
}

void LmdbSpool::change_state(SpoolState state, const std::string& error) {
  error_ = state == SpoolState::ok ? std::string() : error;
  if (state == state_) return;
  state_ = state;
  switch (state) {
    case SpoolState::ok: log_.info("spool_recovered", {{"path", environment_->path()}}); break;
    case SpoolState::full: log_.warn("spool_full", {{"error", error}}); break;
    case SpoolState::failed: log_.error("spool_failed", {{"error", error}}); break;
  }
}

void LmdbSpool::fail(const std::string& error) {
  {
    const MutexLock lock(mutex_);
    if (state_ == SpoolState::failed) return;
    change_state(SpoolState::failed, error);
  }
  work_.notify_all();
  events_->usage_changed();
}

void LmdbSpool::read_loop() {
  for (;;) {
    LogPosition from;
    LogPosition before;
    {
      const MutexLock lock(mutex_);
      while (requests_.empty() && !closing_) requested_.wait(mutex_);
      if (closing_) return;
      from = std::max(requests_.front(), committed_.first);
      before = tail_.first();
      requests_.pop_front();
      fetching_ = from;
    }
    const Fetched fetched = fetch(from, before, std::min(k_read_ahead_bytes, settings_.memory_bytes_max / 64));
    probe_.fetches.add();
    probe_.fetched_blocks.add(fetched.blocks.size());
    {
      const MutexLock lock(mutex_);
      fetching_ = {};
      for (const RecordBlockPtr& block : fetched.blocks) {
        if (block->last_position() > committed_.trimmed) cache_.insert(block, block == fetched.blocks.front());
      }
    }
    if (!fetched.fault.empty()) fail(fetched.fault);
    // Whoever is told asks again: of what cannot be read, for ever.
    if (fetched.fault.empty() || !fetched.blocks.empty()) events_->readable();
  }
}

// Blocks from the one that holds `from` on, all before `before`: at least one, if
// there is any, then more as long as they are below bytes_max.
LmdbSpool::Fetched LmdbSpool::fetch(LogPosition from, LogPosition before, std::uint64_t bytes_max) const {
  Fetched fetched;
  const ReadTransaction transaction(*environment_);
  Status rc = transaction.status();
  if (rc == MDB_SUCCESS) {
    Cursor cursor(transaction.get(), environment_->blocks());
    MDB_val key = value_of(from.value);
    MDB_val value{};
    std::uint64_t bytes = 0;
    for (rc = cursor.get(key, value, MDB_SET_RANGE); rc == MDB_SUCCESS; rc = cursor.get(key, value, MDB_NEXT)) {
      LogPosition last;
      if (key.mv_size == sizeof last.value) std::memcpy(&last.value, key.mv_data, sizeof last.value);
      bytes += value.mv_size;
      if (!fetched.blocks.empty() && (bytes > bytes_max || last >= before)) return fetched;
      auto block = decode_block(bytes_of(value), last, boot_);
      if (!block) {
        fetched.fault = environment_->path() + ": the block that ends at position " + std::to_string(last.value) +
                        " is damaged: " + block.error().detail;
        return fetched;
      }
      fetched.blocks.push_back(std::move(*block));
    }
  }
  if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) {
    fetched.fault = environment_->path() + ": cannot be read: " + ::mdb_strerror(rc);
  }
  return fetched;
}

}  // namespace fieldgate::spool
