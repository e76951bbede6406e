// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/batcher.h"

#include "adapters/northbound/record_batch.h"

#include <algorithm>

namespace fieldgate::mqtt {

using northbound::append_batch_node;
using northbound::append_record;
using northbound::record_bytes;

Batcher::Batcher(BatchLimits limits, const Topics& topics) : limits_(std::move(limits)), topics_(topics) {
  limits_.partitions = std::max<std::uint32_t>(limits_.partitions, 1);
  limits_.records_max = std::max<std::uint32_t>(limits_.records_max, 1);
  open_.resize(limits_.partitions);
}

std::optional<Message> Batcher::add(const RecordView& record, RecordRef ref, Monotonic since) {
  const auto partition = static_cast<std::uint32_t>(stable_hash(record.device) % limits_.partitions);
  Open& batch = open_[partition];
  std::optional<Message> closed;
  const std::size_t bytes = record_bytes(record);
  // The node's name ends the payload.
  const std::size_t payload_bytes = batch.payload.size() + bytes + limits_.node.size() + 3;
  if (!batch.records.empty() && (batch.records.size() == limits_.records_max || payload_bytes > limits_.bytes_max)) {
    closed = close(partition);
  }
  if (batch.records.empty()) {
    batch.since = since;
    waiting_.push_back(partition);
    batch.payload.reserve(batch.last_bytes);
    batch.records.reserve(batch.last_records);
  }
  append_record(record, batch.payload);
  batch.records.push_back(ref);
  return closed;
}

std::optional<Message> Batcher::take_due(Monotonic now) {
  if (const auto at = due(); !at || *at > now) return std::nullopt;
  if (leaving_ == 0) leaving_ = waiting_.size();
  return close(waiting_.front());
}

std::optional<Message> Batcher::take_oldest() {
  if (waiting_.empty()) return std::nullopt;
  return close(waiting_.front());
}

std::optional<Monotonic> Batcher::due() const {
  if (waiting_.empty()) return std::nullopt;
  if (leaving_ > 0) return Monotonic{};
  return open_[waiting_.front()].since + limits_.linger;
}

Message Batcher::close(std::uint32_t partition) {
  const auto at = std::ranges::find(waiting_, partition);
  if (at - waiting_.begin() < static_cast<std::ptrdiff_t>(leaving_)) --leaving_;
  waiting_.erase(at);
  Open batch = std::move(open_[partition]);
  open_[partition] = {};
  open_[partition].last_bytes = batch.payload.size() + limits_.node.size() + 3;
  open_[partition].last_records = batch.records.size();
  return finish(topics_.batch(partition), std::move(batch.payload), std::move(batch.records));
}

Message Batcher::rebuild(const std::string& topic, std::span<const RecordRef> refs,
                         const std::function<RecordView(RecordRef)>& record_of) const {
  std::string payload;
  for (const RecordRef ref : refs) append_record(record_of(ref), payload);
  return finish(topic, std::move(payload), {refs.begin(), refs.end()});
}

Message Batcher::finish(std::string topic, std::string payload, std::vector<RecordRef> records) const {
  Message message;
  message.is_batch = true;
  message.topic = std::move(topic);
  message.payload = std::move(payload);
  append_batch_node(limits_.node, message.payload);
  message.properties.emplace_back("records", std::to_string(records.size()));
  message.records = std::move(records);
  return message;
}

}  // namespace fieldgate::mqtt
