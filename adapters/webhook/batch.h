// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/northbound/json_writer.h"
#include "adapters/northbound/record_ref.h"
#include "gateway/core/record.h"
#include "gateway/core/settings.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::webhook {

// What one request carries.
struct Batch {
  std::string id;  // the same each time it is sent
  std::shared_ptr<const std::string> body;
  std::vector<northbound::RecordRef> records;
  std::uint32_t attempts = 0;  // times it was sent
};

// Writes the body of a batch, record by record: {"node":"gw-1","records":[...]} in
// JSON, with records as northbound::JsonWriter writes them, presence in an envelope
// {"device":..,"received_unix_ms":..,"presence":{..}}; or a RecordBatch in protobuf.
// Thread: one.
class BatchWriter {
 public:
  BatchWriter(WebhookPayload payload, std::string node) : payload_(payload), node_(std::move(node)) {}

  // Begins a body.
  void begin();
  enum class Added : std::uint8_t { yes, no_room, unwritable };
  // no_room: the body would exceed `bytes_max`; never the first record.
  // unwritable: the record is not what its kind says.
  Added add(const RecordView& record, std::size_t bytes_max);
  // Ends the body and gives it away.
  std::string finish();

 private:
  bool write_json(const RecordView& record);

  WebhookPayload payload_;
  std::string node_;
  northbound::JsonWriter json_;
  std::string body_;
  std::string scratch_;
  bool any_ = false;
};

}  // namespace fieldgate::webhook
