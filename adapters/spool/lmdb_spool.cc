// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/lmdb_spool.h"

#include "adapters/spool/disk_format.h"
#include "adapters/spool/environment.h"
#include "adapters/spool/layout.h"
#include "gateway/ports/thread_scheduling.h"

#include <pthread.h>

#include <algorithm>
#include <random>
#include <utility>

namespace fieldgate::spool {
namespace {

constexpr std::uint64_t k_load_bytes = 1 << 20;  // read at once before open()

std::uint64_t random_number() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

// The file's largest size: the blocks with a quarter for what freed pages cannot
// be put to use, dead letters in whole pages, and the devices.
std::uint64_t file_bytes_max(const LmdbSpoolSettings& settings) {
  constexpr std::uint64_t k_devices_bytes = 64 << 20;
  return settings.bytes_max + settings.bytes_max / 4 + 2 * settings.dead_letter_bytes_max + k_devices_bytes;
}

std::uint64_t reserve_bytes(const LmdbSpoolSettings& settings) {
  return std::clamp<std::uint64_t>(settings.bytes_max / 64, 256 << 10, 4 << 20);
}

}  // namespace

Result<std::unique_ptr<LmdbSpool>> LmdbSpool::make(const LmdbSpoolSettings& settings, const Clock& clock, Log& log) {
  auto environment = Environment::open(settings.dir, file_bytes_max(settings));
  if (!environment) return environment.error();
  std::unique_ptr<LmdbSpool> spool(new LmdbSpool(settings, clock, log, std::move(*environment)));
  if (auto started = spool->start(); !started) return started.error();
  return spool;
}

LmdbSpool::LmdbSpool(const LmdbSpoolSettings& settings, const Clock& clock, Log& log,
                     std::unique_ptr<Environment> environment)
    : settings_(settings),
      clock_(clock),
      log_(log),
      boot_(random_number()),
      environment_(std::move(environment)),
      letters_(std::make_unique<LmdbDeadLetters>(
          *environment_, settings.dead_letter_bytes_max,
          [this](std::uint64_t id, LmdbDeadLetters::Change change, LogPosition after) {
            note(LetterChange{.id = id, .change = change, .after = after}, true);
          })),
      committer_(std::make_unique<Committer>(*environment_, *letters_, clock, probe_, boot_, reserve_bytes(settings))),
      tail_(settings.memory_bytes_max / 2),
      cache_(settings.memory_bytes_max / 4) {}

LmdbSpool::~LmdbSpool() { close(); }

Result<void> LmdbSpool::start() {
  if (auto loaded = committer_->load(); !loaded) return loaded.error();
  if (auto loaded = letters_->load(); !loaded) return loaded.error();
  probe_.file_bytes.set(environment_->file_bytes());
  const MutexLock lock(mutex_);
  committed_ = committer_->committed();
  live_bytes_ = environment_->pages().blocks * environment_->page_bytes();
  tail_.start({committed_.durable.value + 1});
  return {};
}

Result<SpoolRecovery> LmdbSpool::recover() {
  const auto fault = [&](const std::string& why) {
    return make_error(Errc::malformed, "spool: " + environment_->path() + ": " + why);
  };
  SpoolRecovery recovery;
  recovery.checkpoint = checkpoint();
  const ReadTransaction transaction(*environment_);
  if (transaction.status() != MDB_SUCCESS) return fault(::mdb_strerror(transaction.status()));
  MDB_val key = value_of(k_meta_lanes);
  MDB_val value{};
  Status rc = ::mdb_get(transaction.get(), environment_->meta(), &key, &value);
  if (rc == MDB_SUCCESS) {
    auto lanes = decode_lanes(bytes_of(value));
    if (!lanes) return fault("lanes: " + lanes.error().detail);
    recovery.lanes = std::move(*lanes);
  } else if (rc != MDB_NOTFOUND) {
    return fault(std::string("lanes: ") + ::mdb_strerror(rc));
  }
  Cursor cursor(transaction.get(), environment_->devices());
  for (rc = cursor.get(key, value, MDB_FIRST); rc == MDB_SUCCESS; rc = cursor.get(key, value, MDB_NEXT)) {
    auto marks = decode_device(text_of(key), bytes_of(value));
    if (!marks) return fault("device " + std::string(text_of(key)) + ": " + marks.error().detail);
    recovery.devices.push_back(std::move(*marks));
  }
  if (rc != MDB_NOTFOUND) return fault(std::string("devices: ") + ::mdb_strerror(rc));
  return recovery;
}

Result<RecordBlockPtr> LmdbSpool::load(LogPosition from) const {
  LogPosition before;
  {
    const MutexLock lock(mutex_);
    from = std::max(from, committed_.first);
    if (auto block = at_hand(from)) return block;
    if (from >= tail_.next()) return RecordBlockPtr();
    before = tail_.first();
  }
  const Fetched fetched = fetch(from, before, std::min(k_load_bytes, settings_.memory_bytes_max / 8));
  if (!fetched.fault.empty()) return make_error(Errc::malformed, "spool: " + fetched.fault);
  if (fetched.blocks.empty()) return RecordBlockPtr();
  const MutexLock lock(mutex_);
  for (const RecordBlockPtr& block : fetched.blocks) cache_.insert(block, false);
  return fetched.blocks.front();
}

void LmdbSpool::open(SpoolEvents& events) {
  {
    const MutexLock lock(mutex_);
    events_ = &events;
    open_ = true;
  }
  writer_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "spool-writer");
    let_work_gather();
    write_loop();
  });
  reader_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "spool-reader");
    let_work_gather();
    read_loop();
  });
}

void LmdbSpool::close() {
  {
    const MutexLock lock(mutex_);
    if (closing_) return;
    closing_ = true;
  }
  work_.notify_all();
  requested_.notify_all();
  if (writer_.joinable()) {
    writer_.join();
    reader_.join();
  } else {
    write_loop();  // never opened: what waits is written all the same
  }
  const MutexLock lock(mutex_);
  if (tail_.unsaved_records() > 0) {
    log_.error("spool_closed_with_unsaved_records", {{"records", tail_.unsaved_records()}, {"error", error_}});
  }
}

Result<LogPosition> LmdbSpool::append(std::shared_ptr<RecordBlock> block) {
  if (block->empty()) return make_error(Errc::invalid_argument, "a block without records");
  const std::uint64_t page = environment_->page_bytes();
  const std::uint64_t memory = block->bytes();
  const std::uint64_t disk = disk_cost(encoded_bytes(*block), page);
  const MutexLock lock(mutex_);
  if (state_ == SpoolState::failed) return make_error(Errc::unavailable, error_);
  if (closing_) return make_error(Errc::unavailable, "the spool is closed");
  if (live_bytes_ + tail_.unsaved_disk_bytes() + disk + k_tree_edge_pages * page > settings_.bytes_max) {
    return make_error(Errc::full, "the spool has reached its largest size");
  }
  if (tail_.unsaved_bytes() + memory > settings_.memory_bytes_max / 2) {
    return make_error(Errc::full, "too much waits for the spool's disk");
  }
  const std::uint64_t waiting = tail_.unsaved_records();
  if (waiting == 0) blocks_since_ = std::chrono::steady_clock::now();
  const std::size_t records = block->size();
  const LogPosition first = tail_.append(std::move(block), disk);
  const std::uint64_t enough = settings_.commit_records;
  if (waiting == 0 || (waiting < enough && waiting + records >= enough)) work_.notify_one();
  return first;
}

RecordBlockPtr LmdbSpool::read(LogPosition from) const {
  const MutexLock lock(mutex_);
  from = std::max(from, committed_.first);
  if (auto block = at_hand(from)) return block;
  if (from < tail_.next()) request(from);
  return nullptr;
}

RecordBlockPtr LmdbSpool::at_hand(LogPosition from) const {
  if (auto block = tail_.find(from)) return block;
  return cache_.find(from);
}

void LmdbSpool::request(LogPosition from) const {
  if (!open_ || closing_ || fetching_ == from || std::ranges::find(requests_, from) != requests_.end()) return;
  // More askers than may be served at once: who asked first asks again.
  if (requests_.size() == BlockCache::k_awaited_max) requests_.pop_front();
  requests_.push_back(from);
  requested_.notify_one();
}

void LmdbSpool::trim(LogPosition through) {
  const MutexLock lock(mutex_);
  const LogPosition last = std::min(through, LogPosition{tail_.next().value - 1});
  if (last <= trim_through_) return;
  if (!trims_wait()) trim_since_ = std::chrono::steady_clock::now();
  trim_through_ = last;
  if (state_ == SpoolState::full) retry_at_ = trim_since_;
  work_.notify_one();
}

SpoolUsage LmdbSpool::usage() const {
  const MutexLock lock(mutex_);
  SpoolUsage usage;
  usage.first = committed_.first;
  usage.next = tail_.next();
  usage.records = usage.next.value - usage.first.value;
  usage.bytes = live_bytes_ + tail_.unsaved_disk_bytes();
  usage.bytes_max = settings_.bytes_max;
  usage.unsaved_bytes = tail_.unsaved_bytes();
  usage.unsaved_bytes_max = settings_.memory_bytes_max / 2;
  usage.state = state_;
  usage.error = error_;
  return usage;
}

LogPosition LmdbSpool::durable_through() const {
  const MutexLock lock(mutex_);
  return committed_.durable;
}

LogPosition LmdbSpool::checkpoint() const {
  const MutexLock lock(mutex_);
  return committed_.checkpoint;
}

void LmdbSpool::save_lanes(std::vector<SavedLane> lanes) { note(std::move(lanes), false); }

void LmdbSpool::save_devices(std::vector<DeviceMarks> changed, std::vector<DeviceId> gone, LogPosition through) {
  note(DeviceGroup{std::move(changed), std::move(gone), through}, true);
}

void LmdbSpool::note(Note note, bool urgent) {
  const MutexLock lock(mutex_);
  if (closing_ || state_ == SpoolState::failed) return;
  if (auto* letter = std::get_if<LetterChange>(&note)) letter->give_up_until = trim_through_;
  if (notes_.empty()) {
    notes_since_ = std::chrono::steady_clock::now();
    notes_urgent_ = false;
  }
  const auto is_lanes = [](const Note& of) { return std::holds_alternative<std::vector<SavedLane>>(of); };
  if (!notes_.empty() && is_lanes(note) && is_lanes(notes_.back())) {
    notes_.back() = std::move(note);
    return;
  }
  const bool wake = notes_.empty() || (urgent && !notes_urgent_);
  // A checkpoint lets the log be trimmed: on a full disk that is not to wait.
  const bool checkpoint = std::holds_alternative<DeviceGroup>(note);
  if (checkpoint && state_ == SpoolState::full) retry_at_ = std::chrono::steady_clock::now();
  notes_urgent_ = notes_urgent_ || urgent;
  notes_.push_back(std::move(note));
  if (wake || checkpoint) work_.notify_one();
}

DeadLetterStore& LmdbSpool::dead_letters() { return *letters_; }

const SpoolProbe& LmdbSpool::probe() const { return probe_; }

}  // namespace fieldgate::spool
