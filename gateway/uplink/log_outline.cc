// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/log_outline.h"

#include <algorithm>

namespace fieldgate::uplink {
namespace {

constexpr std::int64_t k_stretch_ms = 1'000;

}  // namespace

void LogOutline::add(const RecordBlock& block) {
  add(block.last_position(), block.bytes(), block[0].received_unix_ms, block[block.size() - 1].received_unix_ms);
}

void LogOutline::add(LogPosition last, std::uint64_t bytes, std::int64_t oldest_unix_ms, std::int64_t newest_unix_ms) {
  bytes_ += bytes;
  if (!stretches_.empty()) {
    Stretch& open = stretches_.back();
    newest_unix_ms = std::max(newest_unix_ms, open.newest_unix_ms);
    if (open.bytes + bytes <= stretch_bytes_ && newest_unix_ms - open.oldest_unix_ms <= k_stretch_ms) {
      open.last = last;
      open.bytes += bytes;
      open.newest_unix_ms = newest_unix_ms;
      return;
    }
  }
  stretches_.push_back({last, bytes, oldest_unix_ms, newest_unix_ms});
  if (stretches_.size() > k_stretches_max) halve();
}

void LogOutline::trim(LogPosition through) {
  while (!stretches_.empty() && stretches_.front().last <= through) {
    bytes_ -= stretches_.front().bytes;
    stretches_.pop_front();
  }
}

std::optional<LogPosition> LogOutline::through_bytes(std::uint64_t bytes, LogPosition limit) const {
  std::optional<LogPosition> through;
  std::uint64_t seen = 0;
  for (const Stretch& stretch : stretches_) {
    if (seen >= bytes || stretch.last > limit) break;
    seen += stretch.bytes;
    through = stretch.last;
  }
  return through;
}

std::optional<LogPosition> LogOutline::through_time(std::int64_t unix_ms) const {
  const auto at = std::ranges::lower_bound(stretches_, unix_ms, {}, &Stretch::newest_unix_ms);
  if (at == stretches_.begin()) return std::nullopt;
  return std::prev(at)->last;
}

std::int64_t LogOutline::received_unix_ms(LogPosition position) const {
  const auto at = std::ranges::lower_bound(stretches_, position, {}, &Stretch::last);
  return at == stretches_.end() ? 0 : at->oldest_unix_ms;
}

void LogOutline::halve() {
  std::deque<Stretch> fewer;
  for (std::size_t i = 0; i < stretches_.size(); i += 2) {
    Stretch both = stretches_[i];
    if (i + 1 < stretches_.size()) {
      both.last = stretches_[i + 1].last;
      both.bytes += stretches_[i + 1].bytes;
      both.newest_unix_ms = stretches_[i + 1].newest_unix_ms;
    }
    fewer.push_back(both);
  }
  stretches_.swap(fewer);
}

}  // namespace fieldgate::uplink
