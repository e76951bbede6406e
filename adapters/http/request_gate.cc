// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/request_gate.h"

#include "adapters/http/text.h"
#include "gateway/core/hex.h"

#include <algorithm>
#include <charconv>

namespace fieldgate::http {
namespace {

// tchar of RFC 9110 section 5.6.2.
bool is_token_char(char c) {
  return is_alnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

bool is_field_char(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u == '\t' || (u >= 0x20 && u != 0x7f);
}

bool is_host_char(char c) { return is_alnum(c) || std::string_view(".-_:[]%~").find(c) != std::string_view::npos; }

Error malformed(std::string_view what) { return make_error(Errc::malformed, std::string(what)); }

// The line up to CRLF, taken off the front of `rest`. find_head_end saw to it
// that each LF has its CR; a stray CR is caught as a control character.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(rest.size(), line.size() + 2));
  return line;
}

std::optional<Error> read_request_line(std::string_view line, Head& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return malformed("the request line is not METHOD TARGET VERSION");
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(head.method) || head.method.size() > 32) return malformed("the method is not a token");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return malformed("the version is neither HTTP/1.1 nor HTTP/1.0");
  head.http_1_1 = version == "HTTP/1.1";
  if (head.target.empty() || head.target[0] != '/') return malformed("the target is not in origin form (/path?query)");
  if (!std::all_of(head.target.begin(), head.target.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '#'; })) {
    return malformed("the target has a character that must be percent-encoded");
  }
  return std::nullopt;
}

std::optional<Error> read_field(std::string_view line, Head& head) {
  if (line[0] == ' ' || line[0] == '\t') return malformed("a header field is folded over several lines");
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return malformed("a header field has no valid name");
  const std::string_view value = trim(line.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), is_field_char)) {
    return malformed("a header field has a control character in its value");
  }
  head.headers.emplace_back(to_lower(line.substr(0, colon)), value);
  return std::nullopt;
}

// The only field of that name, if there is one.
struct Single {
  const std::string* value = nullptr;
  bool repeated = false;
};

Single single(const Head& head, std::string_view name) {
  Single found;
  for (const auto& [key, value] : head.headers) {
    if (key != name) continue;
    found.repeated = found.value != nullptr;
    if (found.repeated) return found;
    found.value = &value;
  }
  return found;
}

std::optional<Error> check_host(const Head& head) {
  const Single host = single(head, "host");
  if (host.repeated) return malformed("more than one Host");
  if (host.value == nullptr) {
    return head.http_1_1 ? std::optional(malformed("no Host")) : std::nullopt;
  }
  if (host.value->empty() || !std::all_of(host.value->begin(), host.value->end(), is_host_char)) {
    return malformed("Host is not a name or an address with an optional port");
  }
  return std::nullopt;
}

std::optional<Error> check_body(Head& head) {
  const Single encoding = single(head, "transfer-encoding");
  const Single length = single(head, "content-length");
  if (encoding.repeated) return malformed("more than one Transfer-Encoding");
  if (length.repeated) return malformed("more than one Content-Length");
  if (encoding.value != nullptr) {
    if (!head.http_1_1) return malformed("Transfer-Encoding in HTTP/1.0");
    if (length.value != nullptr) return malformed("Transfer-Encoding beside Content-Length");
    if (to_lower(*encoding.value) != "chunked") return malformed("Transfer-Encoding other than chunked");
    head.chunked = true;
  }
  if (length.value != nullptr) {
    const std::string& digits = *length.value;
    std::uint64_t n = 0;
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
    if (ec != std::errc() || end != digits.data() + digits.size()) return malformed("Content-Length is not a number");
    head.content_length = n;
  }
  return std::nullopt;
}

std::optional<Error> check_rest(Head& head) {
  for (const std::string_view name : {"authorization", "origin"}) {
    if (single(head, name).repeated) return malformed("more than one " + std::string(name));
  }
  const Single expect = single(head, "expect");
  if (expect.repeated || (expect.value != nullptr && to_lower(*expect.value) != "100-continue")) {
    return malformed("Expect other than 100-continue");
  }
  head.expects_continue = expect.value != nullptr && head.http_1_1;
  head.keep_alive = head.http_1_1;
  for (const auto& [name, value] : head.headers) {
    if (name != "connection") continue;
    for_each_item(value, [&](std::string_view item) {
      if (to_lower(item) == "close") head.keep_alive = false;
    });
  }
  return std::nullopt;
}

}  // namespace

Result<std::size_t> find_head_end(std::string_view bytes, std::size_t searched) {
  if (!bytes.empty() && !is_token_char(bytes[0])) return malformed("not an HTTP request");
  for (std::size_t at = bytes.find('\n', searched); at != std::string_view::npos; at = bytes.find('\n', at + 1)) {
    if (at == 0 || bytes[at - 1] != '\r') return malformed("a line ends in LF without CR");
    if (at >= 3 && bytes[at - 2] == '\n') return at + 1;
  }
  return std::size_t{0};
}

Result<Head> parse_head(std::string_view bytes) {
  if (!bytes.ends_with("\r\n\r\n")) return malformed("the head is cut short");
  Head head;
  bytes.remove_suffix(2);
  if (auto error = read_request_line(take_line(bytes), head)) return std::move(*error);
  while (!bytes.empty()) {
    const std::string_view line = take_line(bytes);
    if (line.empty()) return malformed("an empty line within the head");
    if (head.headers.size() == k_header_fields_max) return make_error(Errc::too_large, "more than 100 header fields");
    if (auto error = read_field(line, head)) return std::move(*error);
  }
  for (const auto check : {+[](Head& h) { return check_host(h); }, &check_body, &check_rest}) {
    if (auto error = check(head)) return std::move(*error);
  }
  return head;
}

namespace {

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return malformed("the target has a % that is not followed by two hexadecimal digits");
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  const bool controls = std::any_of(out.begin(), out.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7f;
  });
  if (controls) return malformed("the target has an encoded control character");
  if (!is_utf8(out)) return malformed("the target is not UTF-8 when decoded");
  return out;
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  const std::size_t question = text.find('?');
  std::string_view path = text.substr(0, question);
  std::string_view query = question == std::string_view::npos ? std::string_view() : text.substr(question + 1);
  if (!path.starts_with('/')) return malformed("the target is not in origin form (/path?query)");

  Target target;
  do {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    Result<std::string> segment = decode(path.substr(0, end), false);
    if (!segment) return segment.error();
    target.segments.push_back(std::move(*segment));
    path.remove_prefix(end);
  } while (!path.empty());

  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(query.size(), end + 1));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    Result<std::string> name = decode(pair.substr(0, equals), true);
    if (!name) return name.error();
    Result<std::string> value = decode(pair.substr(std::min(pair.size(), equals + 1)), true);
    if (!value) return value.error();
    target.parameters.emplace_back(std::move(*name), std::move(*value));
  }
  return target;
}

}  // namespace fieldgate::http
