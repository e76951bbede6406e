// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/ws_codec.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>
#include <vector>

namespace fieldgate {
namespace {

constexpr std::byte k_fin{0x80};
constexpr std::byte k_rsv{0x70};
constexpr std::byte k_mask{0x80};
constexpr std::byte k_length{0x7F};
constexpr std::size_t k_length_16 = 126;
constexpr std::size_t k_length_64 = 127;
constexpr std::size_t k_assembly_bytes_min = 256;

// Section 5.3. Rotates `mask` so that it fits the byte after these.
void unmask(std::span<std::byte> bytes, std::array<std::byte, 4>& mask) noexcept {
  std::array<std::byte, 8> twice{};
  std::memcpy(twice.data(), mask.data(), 4);
  std::memcpy(twice.data() + 4, mask.data(), 4);
  std::uint64_t key = 0;
  std::memcpy(&key, twice.data(), sizeof(key));

  std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= sizeof(key); left -= sizeof(key), at += sizeof(key)) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    word ^= key;
    std::memcpy(at, &word, sizeof(word));
  }
  for (std::size_t i = 0; i < left; ++i) at[i] ^= mask[i & 3];
  std::rotate(mask.begin(), mask.begin() + static_cast<std::ptrdiff_t>(bytes.size() & 3), mask.end());
}

// Section 7.4: those that may be seen on the wire. 1012 to 1014 came later (IANA
// registry); 1004 to 1006 and 1015 are reserved and never sent.
bool is_close_code(std::uint16_t code) noexcept {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::span<const std::byte> bytes) noexcept {
  std::size_t i = 0;
  while (i < bytes.size()) {
    const auto lead = std::to_integer<unsigned>(bytes[i++]);
    if (lead < 0x80) continue;
    const std::size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || bytes.size() - i < more) return false;
    const auto second = std::to_integer<unsigned>(bytes[i]);
    const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (second < low || second > high) return false;
    for (std::size_t k = 1; k < more; ++k) {
      if ((std::to_integer<unsigned>(bytes[i + k]) & 0xC0) != 0x80) return false;
    }
    i += more;
  }
  return true;
}

std::uint64_t big_endian(std::span<const std::byte> bytes) noexcept {
  std::uint64_t value = 0;
  for (const std::byte b : bytes) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}

std::string_view text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

// What has arrived of an unfinished message and, since control frames may come
// between its fragments (section 5.4), of an unfinished control frame.
struct WsCodec::Assembly {
  std::vector<std::byte> message;
  std::array<std::byte, k_ws_control_bytes_max> control{};
  std::size_t control_have = 0;
};

static_assert(sizeof(WsCodec) <= 64, "one for each connection, for as long as it lasts");

WsCodec::WsCodec(std::uint32_t message_bytes_max) noexcept : message_bytes_max_(message_bytes_max) {}
WsCodec::WsCodec(WsCodec&& other) noexcept = default;
WsCodec& WsCodec::operator=(WsCodec&& other) noexcept = default;
WsCodec::~WsCodec() = default;

Verdict WsCodec::feed(std::span<std::byte> bytes, WsSink& sink) {
  while (!bytes.empty() && !close_received_) {
    if (remaining_ == 0) {
      if (const Verdict end = feed_header(bytes, sink)) return end;
    } else {
      const auto part = bytes.first(std::min<std::size_t>(remaining_, bytes.size()));
      bytes = bytes.subspan(part.size());
      if (const Verdict end = feed_payload(part, sink)) return end;
    }
  }
  return std::nullopt;
}

// Section 5.2. Every check is made as soon as the bytes it needs are there.
Verdict WsCodec::feed_header(std::span<std::byte>& bytes, WsSink& sink) {
  if (header_have_ < 2) {
    if (!take_header(bytes, 2)) return std::nullopt;
    if (const Verdict end = check_start()) return end;
  }
  const std::size_t mask_at = length_end();
  if (header_have_ <= mask_at) {
    if (!take_header(bytes, mask_at)) return std::nullopt;
    if (const Verdict end = check_length()) return end;
  }
  if (!take_header(bytes, mask_at + 4)) return std::nullopt;

  header_have_ = 0;
  remaining_ = static_cast<std::uint32_t>(declared_length());
  std::memcpy(mask_.data(), header_.data() + mask_at, 4);
  if (!is_control()) message_bytes_ += remaining_;
  if (const Verdict end = sink.on_frame(opcode(), mask_at + 4 + remaining_)) return end;
  return remaining_ == 0 ? feed_payload({}, sink) : std::nullopt;
}

// Takes from `bytes` until the first `end` bytes of the header are there.
bool WsCodec::take_header(std::span<std::byte>& bytes, std::size_t end) noexcept {
  const std::size_t n = std::min(end - header_have_, bytes.size());
  std::copy_n(bytes.data(), n, header_.data() + header_have_);
  header_have_ = static_cast<std::uint8_t>(header_have_ + n);
  bytes = bytes.subspan(n);
  return header_have_ == end;
}

Verdict WsCodec::check_start() const noexcept {
  if ((header_[0] & k_rsv) != std::byte{0}) return EndReason::websocket_protocol;
  switch (opcode()) {
    case WsOpcode::continuation:
      if (!in_message_) return EndReason::websocket_protocol;  // section 5.4
      break;
    case WsOpcode::text:
    case WsOpcode::binary:
      if (in_message_) return EndReason::websocket_protocol;  // section 5.4
      break;
    case WsOpcode::close:
    case WsOpcode::ping:
    case WsOpcode::pong:  // section 5.5
      if (!fin() || std::to_integer<std::size_t>(header_[1] & k_length) > k_ws_control_bytes_max) {
        return EndReason::websocket_protocol;
      }
      break;
    default: return EndReason::websocket_protocol;
  }
  if ((header_[1] & k_mask) == std::byte{0}) return EndReason::websocket_protocol;  // section 5.1
  if (opcode() == WsOpcode::text) return EndReason::unsupported_data;
  return std::nullopt;
}

// Where the length ends and the masking key begins.
std::size_t WsCodec::length_end() const noexcept {
  const auto length = std::to_integer<std::size_t>(header_[1] & k_length);
  return length == k_length_64 ? 10 : length == k_length_16 ? 4 : 2;
}

std::uint64_t WsCodec::declared_length() const noexcept {
  const std::size_t end = length_end();
  if (end == 2) return std::to_integer<std::uint64_t>(header_[1] & k_length);
  return big_endian(std::span(header_).subspan(2, end - 2));
}

Verdict WsCodec::check_length() const noexcept {
  const std::uint64_t length = declared_length();
  const std::size_t end = length_end();
  if ((end == 4 && length < k_length_16) || (end == 10 && length <= 0xFFFF)) return EndReason::websocket_protocol;
  if (length >> 63 != 0) return EndReason::websocket_protocol;
  if (!is_control() && length > message_bytes_max_ - message_bytes_) return EndReason::frame_too_large;
  return std::nullopt;
}

// The next part of the current frame's payload, which may be all of it.
Verdict WsCodec::feed_payload(std::span<std::byte> part, WsSink& sink) {
  unmask(part, mask_);
  remaining_ -= static_cast<std::uint32_t>(part.size());
  const bool wanted = is_control() || !close_sent_;
  if (remaining_ > 0) {
    partial_ = true;
    if (wanted) keep(part);
    return std::nullopt;
  }
  if (!is_control()) return data_done(part, sink);
  if (!partial_) return control_done(part, sink);

  keep(part);
  partial_ = false;
  std::array<std::byte, k_ws_control_bytes_max> whole = assembly_->control;
  const std::size_t size = std::exchange(assembly_->control_have, 0);
  if (!in_message_) assembly_.reset();
  return control_done(std::span(whole).first(size), sink);
}

Verdict WsCodec::data_done(std::span<std::byte> part, WsSink& sink) {
  const bool alone = fin() && !in_message_ && !partial_;
  in_message_ = !fin();
  partial_ = false;
  if (fin()) message_bytes_ = 0;
  if (close_sent_) return std::nullopt;
  if (alone) return sink.on_message(part);

  keep(part);
  if (in_message_) return std::nullopt;
  // Out of the codec before the sink sees it: freed whatever the sink does.
  const std::unique_ptr<Assembly> whole = std::move(assembly_);
  return sink.on_message(whole->message);
}

Verdict WsCodec::control_done(std::span<std::byte> payload, WsSink& sink) {
  if (opcode() == WsOpcode::ping) return close_sent_ ? std::nullopt : sink.on_ping(payload);
  if (opcode() == WsOpcode::pong) return close_sent_ ? std::nullopt : sink.on_pong(payload);

  // Section 5.5.1: nothing, or a code and a reason.
  std::uint16_t code = k_ws_no_code;
  std::span<const std::byte> reason;
  if (!payload.empty()) {
    if (payload.size() < 2) return EndReason::websocket_protocol;
    code = static_cast<std::uint16_t>(big_endian(payload.first(2)));
    reason = payload.subspan(2);
    if (!is_close_code(code) || !is_utf8(reason)) return EndReason::websocket_protocol;
  }
  close_received_ = true;
  in_message_ = false;
  assembly_.reset();
  sink.on_close(code, text(reason));
  return std::nullopt;
}

// Copies what cannot be handed on yet.
void WsCodec::keep(std::span<const std::byte> part) {
  if (part.empty() && assembly_) return;
  if (!assembly_) assembly_ = std::make_unique<Assembly>();
  if (is_control()) {
    std::ranges::copy(part, assembly_->control.begin() + static_cast<std::ptrdiff_t>(assembly_->control_have));
    assembly_->control_have += part.size();
    return;
  }
  auto& message = assembly_->message;
  const std::size_t size = message.size() + part.size();
  if (size > message.capacity()) {
    const std::size_t ample = std::max({size, 2 * message.capacity(), k_assembly_bytes_min});
    message.reserve(std::min<std::size_t>(ample, message_bytes_max_));
  }
  message.insert(message.end(), part.begin(), part.end());
}

void WsCodec::close_sent() noexcept {
  close_sent_ = true;
  // A control frame in progress may be the peer's Close: that part stays.
  if (assembly_) std::vector<std::byte>().swap(assembly_->message);
}

void append_header(std::string& out, WsOpcode opcode, std::uint64_t payload_bytes) {
  out.push_back(static_cast<char>(k_fin | static_cast<std::byte>(opcode)));
  int shift = 0;  // of the first byte of the extended length
  if (payload_bytes < k_length_16) {
    out.push_back(static_cast<char>(payload_bytes));
    return;
  }
  if (payload_bytes <= 0xFFFF) {
    out.push_back(static_cast<char>(k_length_16));
    shift = 8;
  } else {
    out.push_back(static_cast<char>(k_length_64));
    shift = 56;
  }
  for (; shift >= 0; shift -= 8) out.push_back(static_cast<char>(payload_bytes >> shift & 0xFF));
}

void append_frame(std::string& out, WsOpcode opcode, std::span<const std::byte> payload) {
  append_header(out, opcode, payload.size());
  out.append(text(payload));
}

void append_close(std::string& out, std::uint16_t code, std::string_view reason) {
  assert(is_close_code(code));
  std::size_t size = std::min(reason.size(), k_ws_control_bytes_max - 2);
  while (size > 0 && size < reason.size() && (static_cast<unsigned char>(reason[size]) & 0xC0) == 0x80) --size;
  append_header(out, WsOpcode::close, 2 + size);
  out.push_back(static_cast<char>(code >> 8));
  out.push_back(static_cast<char>(code & 0xFF));
  out.append(reason.substr(0, size));
}

}  // namespace fieldgate
