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

// RFC 1952. Errors: empty on failure of zlib, which only want of memory can cause.
std::string gzip(std::string_view text);

// A weak entity tag made of the text (RFC 9110 section 8.8.3): weak, because the
// gzip form of an answer carries the same one.
std::string entity_tag(std::string_view text);

// Whether If-None-Match names `tag`, by weak comparison (RFC 9110 section 13.1.2).
bool none_match_names(std::string_view if_none_match, std::string_view tag);

// Turns a handler's answer into what this client gets: 304 where it has it
// already, gzip, CORS for the origins listed, and the headers that go with all
// answers. `request` may be without a head where none could be read.
void finish(const Request& request, const std::vector<std::string>& cors_origins, Response& response);

// The answer as bytes; without the body for HEAD.
std::string serialize(const Response& response, bool head_only, bool keep_alive, std::int64_t now_unix_ms);

}  // namespace fieldgate::http
