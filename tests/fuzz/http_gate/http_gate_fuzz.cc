// SPDX-License-Identifier: Apache-2.0
//
// Whatever arrives: the gate finds the same end of the head however the bytes
// are cut, and what it lets through is the same request to Beast's parser, or none.
#include "adapters/http/dead_letter_query.h"
#include "adapters/http/finish.h"
#include "adapters/http/list_query.h"
#include "adapters/http/request_gate.h"
#include "adapters/http/routes.h"
#include "adapters/http/text.h"
#include "adapters/http/token_table.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace fieldgate;
using namespace fieldgate::http;
namespace beast_http = boost::beast::http;

void require(bool holds) {
  if (!holds) std::abort();
}

void compare(const Head& head, std::string_view bytes) {
  beast_http::request_parser<beast_http::string_body> parser;
  parser.header_limit(1 << 20);
  parser.body_limit(1 << 20);
  boost::system::error_code ec;
  const std::size_t used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
  if (ec) return;  // stricter than the gate in places: the connection answers 400
  require(used == bytes.size());
  require(parser.is_header_done());
  const auto& request = parser.get();
  require(std::string_view(request.method_string().data(), request.method_string().size()) == head.method);
  require(std::string_view(request.target().data(), request.target().size()) == head.target);
  require(request.version() == (head.http_1_1 ? 11U : 10U));
  require(static_cast<std::size_t>(std::distance(request.begin(), request.end())) == head.headers.size());
  require(parser.chunked() == head.chunked);
  require(parser.is_done() == !head.has_body());
  if (head.content_length) require(parser.content_length().value_or(0) == *head.content_length);
}

void check_target(const std::string& text) {
  const Result<Target> target = parse_target(text);
  if (!target) return;
  const auto clean = [](const std::string& part) {
    return is_utf8(part) && std::none_of(part.begin(), part.end(), [](char c) { return c >= 0 && c < 0x20; });
  };
  require(!target->segments.empty());
  for (const std::string& segment : target->segments) require(clean(segment));
  for (const auto& [name, value] : target->parameters) require(clean(name) && clean(value));
  static const CursorSeal seal;
  Request request;
  request.target = *target;
  const auto query = read_list_query(request, seal);
  if (const auto* read = std::get_if<ListRequest>(&query)) {
    require(read->query.limit >= 1 && read->query.limit <= FleetQuery::k_limit_max);
    require(!read->query.after);  // no cursor can be guessed
  }
  const auto letters = read_dead_letter_request(*target, seal, true);
  if (const auto* read = std::get_if<DeadLetterRequest>(&letters)) {
    require(read->query.limit >= 1 && read->query.limit <= k_dead_letters_max);
    require(read->query.after == 0 && read->begun_unix_ms == 0);
    require(is_valid_name(read->query.lane.empty() ? read->query.device : read->query.lane));  // never all of them
  }
  if (const RouteInfo* route = find_route(target->segments)) {
    require(allows(*route, "OPTIONS"));
    require(route->route == Route::page || target->segments.back() != "");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Result<std::size_t> whole = find_head_end(bytes, 0);
  // The same verdict from the pieces.
  const std::size_t step = 1 + size / 7;
  std::size_t searched = 0;
  Result<std::size_t> pieces = std::size_t{0};
  for (std::size_t n = std::min(step, size);; n = std::min(n + step, size)) {
    pieces = find_head_end(bytes.substr(0, n), searched);
    if (!pieces || *pieces > 0 || n == size) break;
    searched = n;
  }
  if (whole && *whole > 0) require(pieces && *pieces == *whole);
  if (whole && *whole == 0) require(pieces && *pieces == 0);
  if (!whole || *whole == 0) return 0;

  const Result<Head> head = parse_head(bytes.substr(0, *whole));
  if (!head) return 0;
  compare(*head, bytes.substr(0, *whole));
  check_target(head->target);
  for (const auto& [name, value] : head->headers) {
    accepts_gzip(value);
    none_match_names(value, "W/\"0\"");
    TokenTable::bearer(value);
  }
  return 0;
}
