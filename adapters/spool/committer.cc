// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/committer.h"

#include "adapters/spool/disk_format.h"
#include "adapters/spool/layout.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

namespace fieldgate::spool {
namespace {

// Blocks given up in one transaction: each frees pages, and the list of what is
// free must find room too, which it does not for many when there is none.
constexpr std::size_t k_trims_max = 5'000;
constexpr std::size_t k_tight_trims_max = 100;
// Notes in one transaction: devices, dead letters, KiB of these.
constexpr std::uint64_t k_weight_max = 2'000;
constexpr std::uint64_t k_tight_weight_max = 100;
// Beside its blocks a transaction needs pages for the edges of its trees.
constexpr std::uint64_t k_transaction_pages = 32;

}  // namespace

std::uint64_t disk_cost(std::uint64_t encoded_bytes, std::uint64_t page_bytes) noexcept {
  constexpr std::uint64_t k_node_bytes = 18;  // node header, key, its place in the page
  constexpr std::uint64_t k_page_header_bytes = 16;
  const std::uint64_t inline_max = (page_bytes - k_page_header_bytes) / 2 - k_node_bytes;
  // Small ones share leaf pages, of which the last half may stay empty; a large
  // one has pages of its own and a pointer in a leaf.
  if (encoded_bytes <= inline_max) return 2 * (encoded_bytes + k_node_bytes);
  return (encoded_bytes + k_page_header_bytes + page_bytes - 1) / page_bytes * page_bytes + 4 * k_node_bytes;
}

namespace {

// How much of the log may be given up once the first `written` notes are: a record
// that is a dead letter now must not go before its letter is there.
LogPosition trim_through(const Work& work, std::size_t written) {
  for (std::size_t i = written; i < work.notes.size(); ++i) {
    const auto* letter = std::get_if<LetterChange>(&work.notes[i]);
    if (letter == nullptr || letter->change != LmdbDeadLetters::Change::added) continue;
    return std::min(work.trim_through, letter->give_up_until);
  }
  return work.trim_through;
}

}  // namespace

Committer::Committer(Environment& environment, LmdbDeadLetters& letters, const Clock& clock, SpoolProbe& probe,
                     std::uint64_t boot, std::uint64_t reserve_bytes)
    : environment_(environment),
      letters_(letters),
      clock_(clock),
      probe_(probe),
      boot_(boot),
      reserve_pages_(reserve_bytes / environment.page_bytes()) {}

Result<void> Committer::load() {
  const ReadTransaction transaction(environment_);
  const auto fault = [&](const std::string& why) {
    return make_error(Errc::malformed, "spool: " + environment_.path() + ": " + why);
  };
  if (transaction.status() != MDB_SUCCESS) return fault(::mdb_strerror(transaction.status()));
  const auto number = [&](std::string_view name) -> Result<std::uint64_t> {
    MDB_val key = value_of(name);
    MDB_val value{};
    const Status rc = ::mdb_get(transaction.get(), environment_.meta(), &key, &value);
    if (rc == MDB_NOTFOUND) return std::uint64_t{0};
    if (rc != MDB_SUCCESS) return fault(std::string(name) + ": " + ::mdb_strerror(rc));
    auto read = decode_number(bytes_of(value));
    return read ? read : fault(std::string(name) + ": " + read.error().detail);
  };
  const auto next = number(k_meta_next);
  if (!next) return next.error();
  const auto checkpoint = number(k_meta_checkpoint);
  if (!checkpoint) return checkpoint.error();
  committed_.checkpoint = {*checkpoint};
  committed_.first = {std::max<std::uint64_t>(*next, 1)};
  committed_.durable = {committed_.first.value - 1};
  Cursor cursor(transaction.get(), environment_.blocks());
  MDB_val key{};
  MDB_val value{};
  Status rc = cursor.get(key, value, MDB_FIRST);
  if (rc == MDB_SUCCESS) {
    committed_.first = first_position_of(bytes_of(value));
    rc = cursor.get(key, value, MDB_LAST);
    if (rc == MDB_SUCCESS) std::memcpy(&committed_.durable.value, key.mv_data, sizeof committed_.durable.value);
    if (committed_.first.value == 0 || committed_.first > committed_.durable)
      return fault("its oldest block is damaged");
  }
  if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) return fault(::mdb_strerror(rc));
  committed_.trimmed = {committed_.first.value - 1};
  return {};
}

Committer::Verdict Committer::run(Work& work) {
  std::deque<Note> unready = take_unready(work.notes, committed_.durable);
  const Verdict verdict = run_ready(work);
  std::ranges::move(unready, std::back_inserter(work.notes));
  return verdict;
}

Committer::Verdict Committer::run_ready(Work& work) {
  if (blocks_that_fit(work) == work.blocks.size() && environment_.pages().room() >= reserve_pages_) {
    const Share all{work.blocks.size(), notes_share(work, k_weight_max), k_trims_max};
    const Status rc = transact_growing(work, all);
    if (!is_full(rc)) return judge(rc);
  }
  return run_tight(work);
}

// With little room everything goes by itself: first what is small, then what gives
// room back, then what takes it.
Committer::Verdict Committer::run_tight(Work& work) {
  Status notes = MDB_SUCCESS;
  while (!work.notes.empty() && notes == MDB_SUCCESS) {
    notes = transact_growing(work, {.notes = notes_share(work, k_tight_weight_max)});
  }
  if (notes != MDB_SUCCESS && !is_full(notes)) return judge(notes);
  if (work.trim_through > committed_.trimmed) {
    Status trims = MDB_MAP_FULL;
    for (std::size_t blocks = k_tight_trims_max; blocks > 0 && is_full(trims); blocks /= 10) {
      trims = transact_growing(work, {.trims = blocks});
    }
    if (trims != MDB_SUCCESS) return judge(trims);
  }
  const Verdict blocks = append_tight(work);
  return blocks == Verdict::done ? judge(notes) : blocks;
}

Committer::Verdict Committer::append_tight(Work& work) {
  if (work.blocks.empty()) return Verdict::done;
  const std::size_t fit = blocks_that_fit(work);
  if (fit == 0) return judge(MDB_MAP_FULL);
  const bool all = fit == work.blocks.size();
  Status rc = transact_growing(work, {.blocks = fit});
  // What a transaction has freed can be written by the second after it: let two go
  // by that free and take next to nothing.
  for (int turns = 0; turns < 2 && is_full(rc); ++turns) {
    rc = turn();
    if (rc == MDB_SUCCESS) rc = transact(work, {.blocks = fit});
  }
  return judge(rc == MDB_SUCCESS && !all ? MDB_MAP_FULL : rc);
}

Status Committer::transact_growing(Work& work, const Share& share) {
  Status rc = transact(work, share);
  while (rc == MDB_MAP_FULL && grow(1) == MDB_SUCCESS) rc = transact(work, share);
  return rc;
}

// All of `share`, durable, or nothing.
Status Committer::transact(Work& work, const Share& share) {
  if (share.blocks == 0 && share.notes == 0 && (share.trims == 0 || work.trim_through <= committed_.trimmed)) {
    return MDB_SUCCESS;
  }
  const Monotonic begin = clock_.now();
  Committed after = committed_;
  WriteTransaction transaction(environment_);
  Status rc = transaction.begin();
  if (rc == MDB_SUCCESS) rc = write(transaction.get(), work, share, after);
  if (rc == MDB_SUCCESS) rc = transaction.commit();
  if (rc != MDB_SUCCESS) return rc;
  probe_.commits.add();
  probe_.commit_time.observe(
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(clock_.now() - begin).count()));
  conclude(work, share, after);
  return environment_.count_pages();
}

Status Committer::write(MDB_txn* txn, const Work& work, const Share& share, Committed& after) {
  Status rc = MDB_SUCCESS;
  for (std::size_t i = 0; i < share.blocks && rc == MDB_SUCCESS; ++i) {
    rc = put_block(txn, *work.blocks[i]);
    after.durable = work.blocks[i]->last_position();
  }
  for (std::size_t i = 0; i < share.notes && rc == MDB_SUCCESS; ++i) {
    const Note& note = work.notes[i];
    if (const auto* letter = std::get_if<LetterChange>(&note)) {
      rc = put_letter(txn, *letter);
    } else if (const auto* devices = std::get_if<DeviceGroup>(&note)) {
      rc = put_devices(txn, *devices, after);
    } else {
      rc = put_lanes(txn, std::get<std::vector<SavedLane>>(note), after);
    }
  }
  if (rc == MDB_SUCCESS && share.trims > 0) rc = trim(txn, trim_through(work, share.notes), share.trims, after);
  return rc;
}

void Committer::conclude(Work& work, const Share& share, const Committed& after) {
  probe_.committed_blocks.add(share.blocks);
  probe_.committed_records.add(after.durable.value - committed_.durable.value);
  probe_.trimmed_records.add(after.first.value - committed_.first.value);
  committed_ = after;
  std::vector<std::uint64_t> written;
  for (std::size_t i = 0; i < share.notes; ++i) {
    if (const auto* letter = std::get_if<LetterChange>(&work.notes[i])) written.push_back(letter->id);
  }
  if (!written.empty()) letters_.written(written);
  work.blocks.erase(work.blocks.begin(), work.blocks.begin() + static_cast<std::ptrdiff_t>(share.blocks));
  work.notes.erase(work.notes.begin(), work.notes.begin() + static_cast<std::ptrdiff_t>(share.notes));
}

Status Committer::put_block(MDB_txn* txn, const RecordBlock& block) const {
  const std::uint64_t last = block.last_position().value;
  MDB_val key = value_of(last);
  MDB_val value{encoded_bytes(block), nullptr};
  const Status rc = ::mdb_put(txn, environment_.blocks(), &key, &value, MDB_APPEND | MDB_RESERVE);
  if (rc == MDB_SUCCESS) encode_block(block, boot_, {static_cast<std::byte*>(value.mv_data), value.mv_size});
  return rc;
}

Status Committer::put_letter(MDB_txn* txn, const LetterChange& change) const {
  MDB_val key = value_of(change.id);
  if (change.change == LmdbDeadLetters::Change::removed) {
    const Status rc = ::mdb_del(txn, environment_.letters(), &key, nullptr);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;  // removed before it was written
  }
  const auto letter = letters_.unwritten(change.id);
  if (!letter) return MDB_SUCCESS;
  const std::string encoded = encode_letter(*letter);
  MDB_val value = value_of(std::string_view(encoded));
  const Status rc = ::mdb_put(txn, environment_.letters(), &key, &value, 0);
  return rc == MDB_SUCCESS ? put_meta(txn, k_meta_next_letter, encode_number(change.id + 1)) : rc;
}

Status Committer::put_lanes(MDB_txn* txn, std::vector<SavedLane> lanes, const Committed& after) const {
  for (SavedLane& lane : lanes) lane.completed = std::min(lane.completed, after.durable);
  return put_meta(txn, k_meta_lanes, encode_lanes(lanes));
}

Status Committer::put_devices(MDB_txn* txn, const DeviceGroup& group, Committed& after) const {
  for (const DeviceMarks& marks : group.changed) {
    const std::string encoded = encode_device(marks);
    MDB_val key = value_of(std::string_view(marks.device.str()));
    MDB_val value = value_of(std::string_view(encoded));
    if (const Status rc = ::mdb_put(txn, environment_.devices(), &key, &value, 0); rc != MDB_SUCCESS) return rc;
  }
  for (const DeviceId& id : group.gone) {
    MDB_val key = value_of(std::string_view(id.str()));
    const Status rc = ::mdb_del(txn, environment_.devices(), &key, nullptr);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) return rc;
  }
  if (!group.checkpoint) return MDB_SUCCESS;
  after.checkpoint = *group.checkpoint;
  return put_meta(txn, k_meta_checkpoint, encode_number(after.checkpoint.value));
}

Status Committer::put_meta(MDB_txn* txn, std::string_view name, std::string_view value) const {
  MDB_val key = value_of(name);
  MDB_val data = value_of(value);
  return ::mdb_put(txn, environment_.meta(), &key, &data, 0);
}

Status Committer::trim(MDB_txn* txn, LogPosition through, std::size_t blocks_max, Committed& after) const {
  const LogPosition last = std::min(through, after.durable);
  if (last <= after.trimmed) return MDB_SUCCESS;
  Cursor cursor(txn, environment_.blocks());
  MDB_val key{};
  MDB_val value{};
  for (std::size_t i = 0;; ++i) {
    Status rc = cursor.get(key, value, MDB_FIRST);
    if (rc == MDB_NOTFOUND) {  // empty: the position must be kept elsewhere
      after.first = {after.durable.value + 1};
      after.trimmed = last;
      return put_meta(txn, k_meta_next, encode_number(after.first.value));
    }
    if (rc != MDB_SUCCESS) return rc;
    std::uint64_t position = 0;
    std::memcpy(&position, key.mv_data, sizeof position);
    if (position > last.value || i == blocks_max) {
      after.first = first_position_of(bytes_of(value));
      after.trimmed = position > last.value ? last : LogPosition{after.first.value - 1};
      return MDB_SUCCESS;
    }
    if (rc = cursor.erase(); rc != MDB_SUCCESS) return rc;
  }
}

// A commit that changes nothing, so that the pages freed before the last come of age.
Status Committer::turn() {
  WriteTransaction transaction(environment_);
  Status rc = transaction.begin();
  const std::uint64_t next = committed_.durable.value + 1;
  if (rc == MDB_SUCCESS) rc = put_meta(transaction.get(), k_meta_next, encode_number(next));
  if (rc == MDB_SUCCESS) rc = transaction.commit();
  return rc == MDB_SUCCESS ? environment_.count_pages() : rc;
}

Status Committer::grow(std::uint64_t pages) {
  const Status rc = environment_.grow(pages);
  if (rc != MDB_SUCCESS) no_room_ = rc;
  return rc;
}

// How many of the oldest leave the reserve untouched; makes the file larger for it.
std::size_t Committer::blocks_that_fit(const Work& work) {
  if (work.blocks.empty()) return 0;
  const std::uint64_t page = environment_.page_bytes();
  const std::uint64_t kept = reserve_pages_ + k_transaction_pages;
  std::uint64_t bytes = 0;
  for (std::size_t fit = 0; fit < work.blocks.size(); ++fit) {
    bytes += disk_cost(encoded_bytes(*work.blocks[fit]), page);
    const std::uint64_t needed = kept + bytes / page + 1;
    const std::uint64_t room = environment_.pages().room();
    if (room < needed && grow(needed - room) != MDB_SUCCESS) return fit;
  }
  return work.blocks.size();
}

// How many of the oldest notes make one transaction of a sensible size; at least one.
std::size_t Committer::notes_share(const Work& work, std::uint64_t weight_max) const {
  std::uint64_t weight = 0;
  std::size_t share = 0;
  for (const Note& note : work.notes) {
    if (const auto* devices = std::get_if<DeviceGroup>(&note)) {
      weight += devices->changed.size() + devices->gone.size();
    } else if (const auto* letter = std::get_if<LetterChange>(&note)) {
      const auto added = letters_.unwritten(letter->id);
      weight += 1 + (added ? DeadLetterIndex::bytes_of(*added) / 1'024 : 0);
    } else {
      weight += 1;
    }
    if (weight > weight_max && share > 0) break;
    ++share;
  }
  return share;
}

Committer::Verdict Committer::judge(Status status) {
  if (status == MDB_SUCCESS) return Verdict::done;
  if (is_full(status)) {
    error_ = environment_.describe(status == MDB_MAP_FULL ? no_room_ : status);
    return Verdict::full;
  }
  error_ = environment_.describe(status);
  return Verdict::failed;
}

}  // namespace fieldgate::spool
