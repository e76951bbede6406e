// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/end_reason.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fieldgate {

// RFC 6455 section 5.2.
enum class WsOpcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// "No status code was present", RFC 6455 section 7.1.5.
inline constexpr std::uint16_t k_ws_no_code = 1005;
inline constexpr std::size_t k_ws_control_bytes_max = 125;

// nullopt: go on. Else the connection is to end, for this reason.
using Verdict = std::optional<EndReason>;

// Takes what a WsCodec finds. Spans are valid and writable during the call only.
// Must not destroy the codec, nor feed it, from within a call.
class WsSink {
 public:
  // The header of any frame, control, empty and continuation frames too, before
  // its payload is looked at. `bytes`: header and declared payload. For metering.
  virtual Verdict on_frame(WsOpcode opcode, std::size_t bytes) = 0;
  // A whole binary message.
  virtual Verdict on_message(std::span<std::byte> payload) = 0;
  virtual Verdict on_ping(std::span<std::byte> payload) = 0;
  virtual Verdict on_pong(std::span<std::byte> payload) = 0;
  // The peer's Close, at most once and the last call. `code` is k_ws_no_code if
  // it had none; `reason` is valid UTF-8.
  virtual void on_close(std::uint16_t code, std::string_view reason) = 0;

 protected:
  ~WsSink() = default;
};

// Server side of RFC 6455 framing: strict, bounded, without extensions.
// Shard:  one, the session's.
// Bounds: holds at most message_bytes_max of an unfinished message plus 125 bytes
//         of a control frame, allocated as bytes arrive and freed at the end of
//         the message; nothing else while idle.
// Errors: a violation ends the connection as EndReason: websocket_protocol,
//         unsupported_data (text), frame_too_large. After one, do not feed again.
class WsCodec {
 public:
  explicit WsCodec(std::uint32_t message_bytes_max) noexcept;
  WsCodec(WsCodec&& other) noexcept;
  WsCodec& operator=(WsCodec&& other) noexcept;
  ~WsCodec();

  // Takes the next bytes of the stream; unmasks in place. The same stream gives
  // the same calls, however it is cut. Returns why the connection must end: a
  // violation, or what the sink said.
  Verdict feed(std::span<std::byte> bytes, WsSink& sink);

  // A Close has been sent (section 5.5.1): from now on frames are still checked
  // and metered, but messages, pings and pongs are dropped; the peer's Close is
  // still reported. What had been assembled is freed.
  void close_sent() noexcept;

  // The peer's Close has come: whatever follows it is ignored (section 7.1).
  bool close_received() const noexcept { return close_received_; }

  // Inside a frame or a fragmented message: the sender owes us bytes.
  bool mid_message() const noexcept { return header_have_ > 0 || remaining_ > 0 || in_message_; }

 private:
  struct Assembly;

  bool fin() const noexcept { return (header_[0] & std::byte{0x80}) != std::byte{0}; }
  WsOpcode opcode() const noexcept { return static_cast<WsOpcode>(header_[0] & std::byte{0x0F}); }
  bool is_control() const noexcept { return (header_[0] & std::byte{0x08}) != std::byte{0}; }

  bool take_header(std::span<std::byte>& bytes, std::size_t end) noexcept;
  Verdict check_start() const noexcept;
  std::size_t length_end() const noexcept;
  std::uint64_t declared_length() const noexcept;
  Verdict check_length() const noexcept;
  Verdict feed_header(std::span<std::byte>& bytes, WsSink& sink);
  Verdict feed_payload(std::span<std::byte> part, WsSink& sink);
  Verdict data_done(std::span<std::byte> part, WsSink& sink);
  Verdict control_done(std::span<std::byte> payload, WsSink& sink);
  void keep(std::span<const std::byte> part);

  std::unique_ptr<Assembly> assembly_;
  std::uint32_t message_bytes_max_;
  std::uint32_t message_bytes_ = 0;     // declared so far, of the message in progress
  std::uint32_t remaining_ = 0;         // payload of the current frame still to come
  std::array<std::byte, 4> mask_{};     // rotated: [0] is for the next byte
  std::array<std::byte, 14> header_{};  // of the current frame
  std::uint8_t header_have_ = 0;        // 0 again once the header is complete
  bool in_message_ = false;             // a fragmented message is open
  bool partial_ = false;                // an earlier part of the current frame is in assembly_
  bool close_sent_ = false;
  bool close_received_ = false;
};

// What goes down: unmasked, unfragmented frames (section 5.1). Each appends.
void append_header(std::string& out, WsOpcode opcode, std::uint64_t payload_bytes);
void append_frame(std::string& out, WsOpcode opcode, std::span<const std::byte> payload);
// A whole Close frame. `reason`: valid UTF-8, cut at a character boundary to fit.
void append_close(std::string& out, std::uint16_t code, std::string_view reason);

}  // namespace fieldgate
