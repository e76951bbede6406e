// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_inbox.h"

#include <utility>

namespace fieldgate::http {
namespace {

template <class T>
void add(std::vector<T>& to, T what, std::uint64_t& lost) {
  if (to.size() < StreamInbox::k_others_max) {
    to.push_back(std::move(what));
  } else {
    ++lost;
  }
}

}  // namespace

bool StreamInbox::announce() { return !std::exchange(announced_, true); }

bool StreamInbox::put(std::shared_ptr<const CommandEntry> command) {
  MutexLock lock(mutex_);
  add(content_.commands, std::move(command), content_.lost_others);
  return announce();
}

bool StreamInbox::put(std::shared_ptr<const Twin> twin) {
  MutexLock lock(mutex_);
  add(content_.twins, std::move(twin), content_.lost_others);
  return announce();
}

bool StreamInbox::put(TappedRecord record) {
  MutexLock lock(mutex_);
  const std::size_t bytes = sizeof(record) + record.payload.size();
  if (content_.records.size() >= k_records_max || content_.record_bytes + bytes > k_record_bytes_max) {
    ++content_.lost_records;
  } else {
    content_.record_bytes += bytes;
    content_.records.push_back(std::move(record));
  }
  return announce();
}

bool StreamInbox::put(Missed missed) {
  MutexLock lock(mutex_);
  content_.missed_changes += missed.changes.value_or(0);
  content_.missed_uncounted = content_.missed_uncounted || !missed.changes;
  return announce();
}

StreamInbox::Content StreamInbox::take() {
  MutexLock lock(mutex_);
  announced_ = false;
  return std::exchange(content_, {});
}

}  // namespace fieldgate::http
