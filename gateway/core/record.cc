// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/record.h"

namespace fieldgate {

std::string_view to_string(RecordKind kind) noexcept {
  switch (kind) {
    case RecordKind::telemetry: return "telemetry";
    case RecordKind::event: return "event";
    case RecordKind::state: return "state";
    case RecordKind::opaque: return "opaque";
    case RecordKind::presence: return "presence";
    case RecordKind::command_reply: return "command_reply";
  }
  return "unknown";
}

void RecordBlock::append(const RecordView& record) {
  Entry entry{};
  entry.stream = record.stream.value;
  entry.seq = record.seq.value;
  entry.epoch = record.epoch.value;
  entry.received_unix_ms = record.received_unix_ms;
  entry.session = record.session;
  entry.lanes = record.lanes;
  entry.offset = static_cast<std::uint32_t>(arena_.size());
  entry.payload_bytes = static_cast<std::uint32_t>(record.payload.size());
  entry.device_bytes = static_cast<std::uint16_t>(record.device.size());
  entry.name_bytes = static_cast<std::uint16_t>(record.name.size());
  entry.kind = record.kind;
  entries_.push_back(entry);
  arena_.append(record.device);
  arena_.append(record.name);
  arena_.append(reinterpret_cast<const char*>(record.payload.data()), record.payload.size());
}

RecordView RecordBlock::operator[](std::size_t i) const noexcept {
  const Entry& entry = entries_[i];
  const char* at = arena_.data() + entry.offset;
  RecordView view;
  view.kind = entry.kind;
  view.device = {at, entry.device_bytes};
  view.name = {at + entry.device_bytes, entry.name_bytes};
  view.stream = {entry.stream};
  view.seq = {entry.seq};
  view.epoch = {entry.epoch};
  view.received_unix_ms = entry.received_unix_ms;
  view.payload = {reinterpret_cast<const std::byte*>(at) + entry.device_bytes + entry.name_bytes, entry.payload_bytes};
  view.session = entry.session;
  view.lanes = entry.lanes;
  return view;
}

std::shared_ptr<RecordBlock> RecordBlock::take() {
  auto block = std::make_shared<RecordBlock>(shard_);
  block->entries_ = entries_;
  block->arena_ = arena_;
  entries_.clear();
  arena_.clear();
  return block;
}

void RecordBlock::seal() {
  // A block may live for as long as a broker is away: slack above a quarter is
  // worth one copy.
  if (arena_.capacity() > arena_.size() + arena_.size() / 4) arena_.shrink_to_fit();
  if (entries_.capacity() > entries_.size() + entries_.size() / 4) entries_.shrink_to_fit();
}

}  // namespace fieldgate
