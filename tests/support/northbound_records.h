// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "fieldgate/v1/device.pb.h"
#include "gateway/core/record.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::test {

// A record over memory that its owner keeps.
struct OwnedRecord {
  std::string device;
  std::string name;
  std::string payload;
  RecordKind kind = RecordKind::telemetry;
  std::uint64_t stream = 7;
  std::uint64_t seq = 1;

  RecordView view() const {
    RecordView record;
    record.kind = kind;
    record.device = device;
    record.name = name;
    record.stream = {stream};
    record.seq = {seq};
    record.epoch = {3};
    record.received_unix_ms = 1'700'000'000'000;
    record.payload = std::as_bytes(std::span(payload));
    return record;
  }
};

inline OwnedRecord telemetry(std::string device, std::uint64_t seq, std::string metric = "t") {
  v1::DeviceFrame frame;
  frame.set_seq(seq);
  auto* added = frame.mutable_telemetry()->add_samples()->add_metrics();
  added->set_name(std::move(metric));
  added->set_double_value(1.5);
  return {std::move(device), "", frame.SerializeAsString(), RecordKind::telemetry, 7, seq};
}

inline std::shared_ptr<RecordBlock> block_of(const std::vector<OwnedRecord>& records) {
  auto block = std::make_shared<RecordBlock>(0);
  for (const OwnedRecord& record : records) block->append(record.view());
  return block;
}

}  // namespace fieldgate::test
