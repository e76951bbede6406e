// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::http {

// A request's head, as the request gate let it pass.
struct Head {
  std::string method;
  std::string target;  // origin form
  bool http_1_1 = true;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, values trimmed
  bool keep_alive = true;
  bool chunked = false;
  std::optional<std::uint64_t> content_length;
  bool expects_continue = false;

  bool has_body() const noexcept { return chunked || content_length.value_or(0) > 0; }
  // The first of that name (in lower case); nullptr: none.
  const std::string* header(std::string_view name) const noexcept {
    for (const auto& [key, value] : headers) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

// A target, taken apart and percent-decoded.
struct Target {
  // Between the slashes; a decoded slash stays inside its segment.
  std::vector<std::string> segments;
  std::vector<std::pair<std::string, std::string>> parameters;  // in order
};

struct Request {
  Head head;
  Target target;
  std::string body;                    // BodyMode::whole
  std::shared_ptr<BodySource> stream;  // BodyMode::streamed; broken: the connection answers, unless an answer has begun
  std::string id;                      // made here; in the answer, its problem document and the log
  std::string peer;                    // address:port
};

struct Response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  // Instead of `body`: sent piece by piece (chunked in HTTP/1.1, up to the connection's
  // end in HTTP/1.0). Destroyed as soon as the answer is over, or the client has gone.
  std::shared_ptr<BodySource> source{};
  std::vector<std::pair<std::string_view, std::string>> headers;  // names are literals
  bool tagged = false;                                            // give it an ETag and honour If-None-Match
  std::size_t changed = 0;                                        // lanes or dead letters, for the audit line
  bool close = false;                                             // the connection cannot go on
};

}  // namespace fieldgate::http
