// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::http {

// Answers below this are not worth compressing.
inline constexpr std::size_t k_gzip_bytes_min = 1'024;

// Whether an Accept-Encoding header asks for gzip (RFC 9110 section 12.5.3): by
// name or by `*`, and not with a weight of 0.
bool accepts_gzip(std::string_view accept_encoding);

// A weak entity tag made of the text (RFC 9110 section 8.8.3): weak, because the
// gzip form of an answer carries the same one.
std::string entity_tag(std::string_view text);

// Whether If-None-Match names `tag`, by weak comparison (RFC 9110 section 13.1.2).
bool none_match_names(std::string_view if_none_match, std::string_view tag);

// Turns a handler's answer into what this client gets: 304 where it has it
// already, gzip, CORS for the origins listed, and the headers that go with all
// answers, but for those that the handler has set itself. `request` may be without a
// head where none could be read.
void finish(const Request& request, const std::vector<std::string>& cors_origins, Response& response);

struct Framing {
  bool head_only = false;  // the answer to HEAD
  bool keep_alive = true;
  bool chunked = false;  // of an answer with a source
};

// The answer as bytes, without what its source will give.
std::string serialize(const Response& response, const Framing& framing, std::int64_t now_unix_ms);

// One chunk (RFC 9112 section 7.1) and, with the last, the end of them. Empty for
// nothing in the middle.
std::string chunk(std::string_view bytes, bool last);

}  // namespace fieldgate::http
