// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/probes.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace fieldgate::webhook {

// What the target said, as far as anything depends on it.
struct Answer {
  unsigned status = 0;
  std::string retry_after;  // the header; empty: none
  std::string location;     // the same
  std::string body;         // its beginning
};

// What follows from an answer.
struct Judgement {
  WebhookOutcome outcome = WebhookOutcome::accepted;
  // Not for accepted: for the status and the log, with what to do about it where
  // someone here can do something.
  std::string error;
};

// `retry_statuses`: the 4xx that do not speak of the records.
Judgement judge(const Answer& answer, const std::set<unsigned>& retry_statuses);

// How long Retry-After (RFC 9110 section 10.2.3) asks to wait: seconds or any of
// the three forms of HTTP-date (section 5.6.7). A date that is past is 0; what
// cannot be read is nullopt.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view text, std::int64_t now_unix_seconds);

// The beginning of `text` with whatever is not printable ASCII as spaces, runs of
// them as one.
std::string printable(std::string_view text, std::size_t bytes_max);

}  // namespace fieldgate::webhook
