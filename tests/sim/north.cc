// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/north.h"

#include <charconv>
#include <optional>

namespace fieldgate::sim {
namespace {

std::optional<std::uint64_t> number(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// A DeviceFrame's first byte is the tag of one of its fields; a JSON object's is
// a brace, which is not.
bool is_json(std::string_view payload) noexcept { return payload.starts_with('{'); }

}  // namespace

void NorthReader::on_message(const NorthMessage& message) {
  ++messages_;
  if (message.topic.starts_with(batches_))
    batch(message);
  else
    single(message);
}

void NorthReader::batch(const NorthMessage& message) {
  if (!batch_.ParseFromArray(message.payload.data(), static_cast<int>(message.payload.size()))) {
    ++unreadable_;
    return;
  }
  for (const v1::Record& record : batch_.records()) {
    if (record.has_presence()) {
      ++presence_records_;
      continue;
    }
    // The label must be the one inside the frame.
    if (record.seq() == 0 || record.frame().seq() != record.seq()) {
      ++unreadable_;
      continue;
    }
    tally_.add(record.device_id(), record.stream_id(), record.seq(),
               inspect(record.frame(), record.device_id(), record.stream_id()), message.received_wall_us);
  }
}

void NorthReader::single(const NorthMessage& message) {
  const auto stream = number(message.stream);
  const auto seq = number(message.seq);
  if (message.device.empty() || !stream || !seq || *seq == 0) {
    ++unreadable_;
    return;
  }
  std::optional<Inspection> content;
  if (!is_json(message.payload)) {
    if (!frame_.ParseFromArray(message.payload.data(), static_cast<int>(message.payload.size())) ||
        frame_.seq() != *seq) {
      ++unreadable_;
      return;
    }
    content = inspect(frame_, message.device, *stream);
  }
  tally_.add(message.device, *stream, *seq, content, message.received_wall_us);
}

}  // namespace fieldgate::sim
