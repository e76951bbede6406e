// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/ws_client.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

namespace fieldgate::sim {
namespace {

constexpr std::size_t k_answer_bytes_max = 8'192;

std::string base64(const unsigned char* data, std::size_t size) {
  std::string text(4 * ((size + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), data, static_cast<int>(size));
  return text;
}

bool same_word(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) {
    const auto lower = [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; };
    return lower(x) == lower(y);
  });
}

std::string_view trimmed(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool has_token(std::string_view list, std::string_view token) noexcept {
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (same_word(trimmed(list.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

struct FrameHead {
  WsOpcode opcode{};
  std::size_t head_bytes = 0;
  std::uint64_t payload_bytes = 0;
};

std::uint64_t big_endian(std::string_view bytes) noexcept {
  std::uint64_t value = 0;
  for (const char c : bytes) value = (value << 8) | static_cast<unsigned char>(c);
  return value;
}

// nullopt: more bytes are needed.
std::optional<FrameHead> read_head(std::string_view bytes, std::size_t payload_max, WsFault& fault) {
  if (bytes.size() < 2) return std::nullopt;
  const auto b0 = static_cast<unsigned char>(bytes[0]);
  const auto b1 = static_cast<unsigned char>(bytes[1]);
  FrameHead head;
  head.opcode = static_cast<WsOpcode>(b0 & 0x0f);
  const bool control = (b0 & 0x08) != 0;
  if ((b0 & 0x70) != 0)
    fault = WsFault::reserved_bits;
  else if (control ? (b0 & 0x0f) > 10 : (b0 & 0x0f) > 2)
    fault = WsFault::unknown_opcode;
  else if ((b0 & 0x80) == 0 || head.opcode == WsOpcode::continuation)
    fault = WsFault::fragmented;
  else if ((b1 & 0x80) != 0)
    fault = WsFault::masked;
  else if (control && (b1 & 0x7f) > 125)
    fault = WsFault::long_control;
  if (fault != WsFault::none) return std::nullopt;

  const unsigned form = b1 & 0x7f;
  const std::size_t extra = form == 126 ? 2 : form == 127 ? 8 : 0;
  if (bytes.size() < 2 + extra) return std::nullopt;
  head.head_bytes = 2 + extra;
  head.payload_bytes = extra == 0 ? form : big_endian(bytes.substr(2, extra));
  if ((extra == 2 && head.payload_bytes < 126) || (extra == 8 && head.payload_bytes < 65'536)) {
    fault = WsFault::length_form;
  } else if (!control && head.payload_bytes > payload_max) {
    fault = WsFault::too_large;
  }
  if (fault != WsFault::none) return std::nullopt;
  return head;
}

struct AnswerHeaders {
  bool upgrade = false;
  bool connection = false;
  bool extensions = false;
  std::string_view accept;
  std::string_view subprotocol;
};

AnswerHeaders read_headers(std::string_view lines) {
  AnswerHeaders found;
  while (!lines.empty()) {
    const auto end = lines.find("\r\n");
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 2);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (same_word(name, "upgrade"))
      found.upgrade = same_word(value, "websocket");
    else if (same_word(name, "connection"))
      found.connection = has_token(value, "upgrade");
    else if (same_word(name, "sec-websocket-extensions"))
      found.extensions = true;
    else if (same_word(name, "sec-websocket-accept"))
      found.accept = value;
    else if (same_word(name, "sec-websocket-protocol"))
      found.subprotocol = value;
  }
  return found;
}

}  // namespace

std::string_view to_string(WsFault fault) noexcept {
  switch (fault) {
    case WsFault::none: return "none";
    case WsFault::reserved_bits: return "reserved_bits";
    case WsFault::unknown_opcode: return "unknown_opcode";
    case WsFault::masked: return "masked";
    case WsFault::fragmented: return "fragmented";
    case WsFault::long_control: return "long_control";
    case WsFault::too_large: return "too_large";
    case WsFault::length_form: return "length_form";
  }
  return "none";
}

void ws_append_frame(std::string& out, WsOpcode opcode, std::string_view payload, std::uint32_t mask) {
  const std::size_t size = payload.size();
  out.push_back(static_cast<char>(0x80 | static_cast<unsigned>(opcode)));
  if (size < 126) {
    out.push_back(static_cast<char>(0x80 | size));
  } else if (size < 65'536) {
    out.push_back(static_cast<char>(0x80 | 126));
    out.push_back(static_cast<char>(size >> 8));
    out.push_back(static_cast<char>(size));
  } else {
    out.push_back(static_cast<char>(0x80 | 127));
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  }
  char key[4];
  std::memcpy(key, &mask, sizeof key);
  out.append(key, sizeof key);
  const std::size_t start = out.size();
  out.append(payload);
  for (std::size_t i = 0; i < size; ++i) out[start + i] = static_cast<char>(out[start + i] ^ key[i & 3]);
}

void ws_append_close(std::string& out, std::uint16_t code, std::uint32_t mask) {
  const char body[2] = {static_cast<char>(code >> 8), static_cast<char>(code)};
  ws_append_frame(out, WsOpcode::close, {body, sizeof body}, mask);
}

WsFault WsDecoder::feed(std::string_view bytes, std::size_t payload_max, WsFrameSink& sink) {
  // Taken out of the object, so that a sink may reset it.
  std::string held = std::exchange(partial_, std::string());
  if (!held.empty()) {
    held.append(bytes);
    bytes = held;
  }
  WsFault fault = WsFault::none;
  while (const auto head = read_head(bytes, payload_max, fault)) {
    const std::size_t whole = head->head_bytes + static_cast<std::size_t>(head->payload_bytes);
    if (bytes.size() < whole) break;
    if (!sink.on_ws_frame(head->opcode, bytes.substr(head->head_bytes, whole - head->head_bytes))) return WsFault::none;
    bytes.remove_prefix(whole);
  }
  if (fault == WsFault::none && !bytes.empty()) partial_.assign(bytes);
  return fault;
}

std::string ws_accept(const WsKey& key) {
  const std::string text = base64(key.data(), key.size()) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  return base64(digest, size);
}

std::string ws_upgrade_request(const WsRequest& request, const WsKey& key) {
  std::string text = "GET ";
  text.append(request.path).append(" HTTP/1.1\r\nHost: ").append(request.host);
  text.append("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
  text.append(base64(key.data(), key.size()));
  text.append("\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ").append(request.subprotocol);
  if (!request.bearer.empty()) text.append("\r\nAuthorization: Bearer ").append(request.bearer);
  text.append("\r\nUser-Agent: fieldgate-sim/" FIELDGATE_VERSION "\r\n\r\n");
  return text;
}

WsAnswer ws_read_answer(std::string_view bytes, const WsKey& key, std::string_view subprotocol) {
  WsAnswer answer;
  const auto malformed = [&answer](std::string_view why) {
    answer.state = WsAnswer::State::malformed;
    answer.fault = why;
    return answer;
  };
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return bytes.size() > k_answer_bytes_max ? malformed("too_long") : answer;
  const auto line_end = bytes.find("\r\n");
  const std::string_view status_line = bytes.substr(0, line_end);
  if (!status_line.starts_with("HTTP/1.1 ") || status_line.size() < 12) return malformed("status_line");
  const auto [last, error] = std::from_chars(status_line.data() + 9, status_line.data() + 12, answer.http_status);
  if (error != std::errc() || last != status_line.data() + 12) return malformed("status_line");
  if (answer.http_status != 101) {
    answer.state = WsAnswer::State::refused;
    return answer;
  }
  const AnswerHeaders headers = read_headers(bytes.substr(line_end + 2, end - std::min(end, line_end + 2)));
  if (!headers.upgrade) return malformed("upgrade_header");
  if (!headers.connection) return malformed("connection_header");
  if (headers.accept != ws_accept(key)) return malformed("accept_header");
  if (headers.subprotocol != subprotocol) return malformed("subprotocol");
  if (headers.extensions) return malformed("extensions");
  answer.state = WsAnswer::State::accepted;
  answer.consumed = end + 4;
  return answer;
}

}  // namespace fieldgate::sim
