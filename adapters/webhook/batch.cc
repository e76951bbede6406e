// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/batch.h"

#include "adapters/northbound/json_text.h"
#include "adapters/northbound/record_batch.h"

#include <utility>

namespace fieldgate::webhook {

void BatchWriter::begin() {
  body_.clear();
  any_ = false;
  if (payload_ == WebhookPayload::protobuf) return;
  body_ = "{\"node\":";
  northbound::append_json_string(node_, body_);
  body_ += ",\"records\":[";
}

BatchWriter::Added BatchWriter::add(const RecordView& record, std::size_t bytes_max) {
  if (payload_ == WebhookPayload::protobuf) {
    const std::size_t end = node_.size() + 3;  // the node's name ends the body
    if (any_ && body_.size() + northbound::record_bytes(record) + end > bytes_max) return Added::no_room;
    northbound::append_record(record, body_);
  } else {
    if (!write_json(record)) return Added::unwritable;
    if (any_ && body_.size() + scratch_.size() + 3 > bytes_max) return Added::no_room;
    if (any_) body_.push_back(',');
    body_ += scratch_;
  }
  any_ = true;
  return Added::yes;
}

// Presence by itself does not say whose it is.
bool BatchWriter::write_json(const RecordView& record) {
  if (!json_.write(record, scratch_)) return false;
  if (record.kind != RecordKind::presence) return true;
  std::string envelope = "{";
  northbound::append_json_key("device", envelope);
  northbound::append_json_string(record.device, envelope);
  northbound::append_json_key("received_unix_ms", envelope);
  northbound::append_number(record.received_unix_ms, envelope);
  northbound::append_json_key("presence", envelope);
  scratch_ = envelope + scratch_ + "}";
  return true;
}

std::string BatchWriter::finish() {
  if (payload_ == WebhookPayload::protobuf) {
    northbound::append_batch_node(node_, body_);
  } else {
    body_ += "]}";
  }
  return std::exchange(body_, {});
}

}  // namespace fieldgate::webhook
