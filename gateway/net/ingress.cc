// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/ingress.h"

#include <utility>

namespace fieldgate::net {

bool Ingress::add(const RecordView& record) {
  data_.append(record);
  return data_.size() >= k_records_max || data_.filled_bytes() >= k_bytes_max;
}

void Ingress::add_presence(const RecordView& record) {
  if (presence_.empty() || presence_.back()->size() >= k_records_max) {
    presence_.push_back(std::make_shared<RecordBlock>(shard_));
  }
  presence_.back()->append(record);
  ++presence_records_;
}

Ingress::Flushed Ingress::flush() {
  Flushed flushed;
  if (!data_.empty()) {
    std::shared_ptr<RecordBlock> block = data_.take();
    if (uplink_.submit(block)) {
      flushed.taken = std::move(block);
    } else {
      flushed.refused = std::move(block);
    }
  }
  while (!presence_.empty()) {
    const std::size_t records = presence_.front()->size();
    presence_.front()->seal();
    if (!uplink_.submit(presence_.front())) break;
    flushed.presence += records;
    presence_records_ -= records;
    presence_.pop_front();
  }
  return flushed;
}

}  // namespace fieldgate::net
