// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/forwarder.h"

#include "adapters/northbound/record_batch.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace fieldgate::webhook {
namespace {

using northbound::BlockLedger;

constexpr std::size_t k_detail_bytes = 200;

}  // namespace

Forwarder::Forwarder(Parts parts) : parts_(std::move(parts)), writer_(parts_.payload, parts_.node) {
  parts_.records_max = std::max<std::size_t>(parts_.records_max, 1);
  lines_.resize(std::max<std::size_t>(parts_.lines, 1));
}

void Forwarder::attach(LaneFeed& feed) {
  feed_ = &feed;
  next_ = feed.start();
}

bool Forwarder::full(const Line& line) const {
  return line.waiting.size() >= parts_.records_max || line.waiting_bytes >= parts_.bytes_max;
}

// Two batches ahead, so that a line need not wait for the reader.
bool Forwarder::hungry(const Line& line) const {
  return line.waiting.size() < 2 * parts_.records_max && line.waiting_bytes < 2 * parts_.bytes_max;
}

bool Forwarder::fill() {
  if (feed_ == nullptr) return false;
  const Monotonic now = parts_.clock.now();
  const std::size_t ledger_bytes_max = std::max(k_ledger_bytes_max, 2 * parts_.bytes_max);
  bool any = false;
  while (std::ranges::any_of(lines_, [this](const Line& line) { return hungry(line); })) {
    if (!block_) {
      if (ledger_.size() >= k_ledger_blocks_max || ledger_.bytes() >= ledger_bytes_max) break;
      block_ = feed_->read(next_);
      if (!block_) break;
      const std::uint64_t first = block_->first_position().value;
      index_ = next_.value > first ? static_cast<std::uint32_t>(next_.value - first) : 0;
      block_number_ = ledger_.add(block_, index_);
      next_ = {block_->last_position().value + 1};
    }
    for (; index_ < block_->size(); ++index_) sort({block_number_, index_}, now);
    block_.reset();
    any = true;
  }
  return any;
}

void Forwarder::sort(RecordRef ref, Monotonic now) {
  const RecordView record = ledger_.record(ref);
  const LaneFeed::Fate fate = feed_->fate(record);
  if (fate == LaneFeed::Fate::expire) return ledger_.done(ref, BlockLedger::Fate::expired);
  if (fate == LaneFeed::Fate::filter) return ledger_.done(ref, BlockLedger::Fate::filtered);
  Line& line = lines_[stable_hash(record.device) % lines_.size()];
  const auto bytes = static_cast<std::uint32_t>(northbound::record_bytes(record));
  line.waiting.push_back({ref, bytes, now + parts_.linger});
  line.waiting_bytes += bytes;
}

Batch* Forwarder::take(std::size_t number) {
  if (held_) return nullptr;
  Line& line = lines_[number];
  while (!line.batch && !line.pieces.empty()) {
    line.batch = write(line.pieces.front());
    line.pieces.pop_front();
  }
  while (!line.batch && !line.waiting.empty()) {
    if (!hurry_ && !full(line) && line.waiting.front().due > parts_.clock.now()) return nullptr;
    line.batch = gather(line);
  }
  return line.batch ? &*line.batch : nullptr;
}

// As many of those that wait as fit; nullopt if none of them could be sent.
std::optional<Batch> Forwarder::gather(Line& line) {
  std::vector<RecordRef> refs;
  writer_.begin();
  while (!line.waiting.empty() && refs.size() < parts_.records_max) {
    const Waiting next = line.waiting.front();
    const RecordView record = ledger_.record(next.ref);
    const bool expired = feed_->fate(record) == LaneFeed::Fate::expire;
    const auto added = expired ? BatchWriter::Added::yes : writer_.add(record, parts_.bytes_max);
    if (added == BatchWriter::Added::no_room) break;
    line.waiting.pop_front();
    line.waiting_bytes -= next.bytes;
    if (expired) {
      ledger_.done(next.ref, BlockLedger::Fate::expired);
    } else if (added == BatchWriter::Added::unwritable) {
      bury(next.ref, "payload_format_invalid", "the payload is not what its kind says, and cannot be written as JSON");
    } else {
      refs.push_back(next.ref);
    }
  }
  if (refs.empty()) return std::nullopt;
  return finish(std::move(refs));
}

// A piece of what was written before, so all of it can be.
std::optional<Batch> Forwarder::write(const std::vector<RecordRef>& refs) {
  writer_.begin();
  for (const RecordRef ref : refs) writer_.add(ledger_.record(ref), SIZE_MAX);
  return finish(refs);
}

Batch Forwarder::finish(std::vector<RecordRef> refs) {
  Batch batch;
  batch.id = parts_.prefix + std::to_string(++batches_);
  batch.body = std::make_shared<const std::string>(writer_.finish());
  batch.records = std::move(refs);
  return batch;
}

void Forwarder::accepted(std::size_t number) {
  assert(lines_[number].batch);
  const Batch batch = *std::exchange(lines_[number].batch, std::nullopt);
  const std::int64_t now_ms = parts_.clock.unix_ms();
  for (const RecordRef ref : batch.records) {
    const std::int64_t age_ms = now_ms - ledger_.record(ref).received_unix_ms;
    parts_.probe.record_time.observe(static_cast<std::uint64_t>(std::max<std::int64_t>(age_ms, 0)) * 1'000);
    ledger_.done(ref, BlockLedger::Fate::forwarded);
  }
  parts_.probe.batch_records.add(batch.records.size());
}

void Forwarder::refused(std::size_t number, const Answer& answer) {
  Line& line = lines_[number];
  assert(line.batch);
  const Batch batch = *std::exchange(line.batch, std::nullopt);
  if (batch.records.size() == 1) {
    return bury(batch.records.front(), "http_" + std::to_string(answer.status), printable(answer.body, k_detail_bytes));
  }
  const auto middle = batch.records.begin() + static_cast<std::ptrdiff_t>(batch.records.size() / 2);
  line.pieces.emplace_front(middle, batch.records.end());
  line.pieces.emplace_front(batch.records.begin(), middle);
}

void Forwarder::bury(RecordRef ref, std::string reason, std::string detail) {
  const RecordView record = ledger_.record(ref);
  parts_.log.error("webhook_dead_letter", {{"lane", parts_.lane},
                                           {"device", record.device},
                                           {"stream", record.stream.value},
                                           {"seq", record.seq.value},
                                           {"kind", to_string(record.kind)},
                                           {"reason", reason},
                                           {"detail", detail}});
  DeadLetter letter = DeadLetter::of(record);
  letter.lane = parts_.lane;
  letter.refused_unix_ms = parts_.clock.unix_ms();
  letter.target = parts_.target;
  letter.reason = std::move(reason);
  letter.detail = std::move(detail);
  parts_.dead_letters.add(std::move(letter));
  ledger_.done(ref, BlockLedger::Fate::dead_lettered);
}

std::optional<Monotonic> Forwarder::due(std::size_t number) const {
  const Line& line = lines_[number];
  if (held_ || line.batch || line.waiting.empty()) return std::nullopt;
  return line.waiting.front().due;
}

void Forwarder::report() {
  if (const auto completion = ledger_.take_completed()) feed_->completed(completion->through, completion->outcome);
}

}  // namespace fieldgate::webhook
