// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <memory>
#include <string>

namespace fieldgate::northbound {

// Writes a record as one JSON object, to be read without any other message:
//
//   {"device":"pump-7","stream":"81733","seq":12,"received_unix_ms":1700000000000,
//    "telemetry":{"samples":[{"unix_ms":1700000000000,"metrics":[
//      {"name":"temperature","type":"double","value":21.5}]}]}}
//
// After the envelope comes one member that names the kind as device.proto does:
//   telemetry       samples: [{unix_ms | at_uptime_ms, metrics}], uptime_ms, historical
//   event           name, unix_ms, severity, text, attributes: metrics
//   state           reported: the document itself, full
//   command_ack     id
//   command_result  id, outcome, text, payload
//   desired_ack     version, error
//   opaque          schema_id, data
// A metric is {name, type: double | int | bool | string | bytes, value, quality};
// members at their default (quality good, false, 0, empty) are left out. Times are
// numbers, `stream` is always a string; other 64-bit integers are numbers up to
// 2^53 in magnitude and strings beyond; bytes are base64; NaN and the infinities
// are the strings "NaN", "Infinity", "-Infinity". A reported document that is not
// a JSON object arrives as the string `reported_text` instead.
//
// Presence is flat and without envelope:
//   {"online":false,"epoch":"42","node":"gw-1","boot_id":"b1","unix_ms":17,"reason":"bye"}
//
// Thread: one; reuses its memory from one record to the next.
class JsonWriter {
 public:
  JsonWriter();
  ~JsonWriter();

  // Replaces `out`. False, with `out` unspecified, if the payload is not what the
  // record's kind says.
  bool write(const RecordView& record, std::string& out);

 private:
  struct Scratch;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace fieldgate::northbound
