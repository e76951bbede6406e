// SPDX-License-Identifier: Apache-2.0
#include "gateway/ports/dead_letters.h"

#include <span>

namespace fieldgate {

DeadLetter DeadLetter::of(const RecordView& record) {
  DeadLetter letter;
  letter.kind = record.kind;
  letter.device = record.device;
  letter.name = record.name;
  letter.stream = record.stream;
  letter.seq = record.seq;
  letter.epoch = record.epoch;
  letter.received_unix_ms = record.received_unix_ms;
  letter.payload.assign(reinterpret_cast<const char*>(record.payload.data()), record.payload.size());
  return letter;
}

RecordView DeadLetter::record() const noexcept {
  RecordView view;
  view.kind = kind;
  view.device = device;
  view.name = name;
  view.stream = stream;
  view.seq = seq;
  view.epoch = epoch;
  view.received_unix_ms = received_unix_ms;
  view.payload = std::as_bytes(std::span(payload));
  return view;
}

}  // namespace fieldgate
