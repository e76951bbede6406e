// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// The client's half of RFC 6455, as far as a device needs it.
namespace fieldgate::sim {

enum class WsOpcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// What the gateway may not send (RFC 6455, and proto/fieldgate/v1: nothing
// fragmented, nothing larger than receive_max_bytes).
enum class WsFault : std::uint8_t {
  none,
  reserved_bits,
  unknown_opcode,
  masked,
  fragmented,
  long_control,  // a control frame above 125 bytes
  too_large,
  length_form,  // not the shortest form of the length
};
std::string_view to_string(WsFault fault) noexcept;

// Appends one final frame, masked with `mask` (section 5.3).
void ws_append_frame(std::string& out, WsOpcode opcode, std::string_view payload, std::uint32_t mask);
// A Close frame with `code` and no reason.
void ws_append_close(std::string& out, std::uint16_t code, std::uint32_t mask);

class WsFrameSink {
 public:
  virtual ~WsFrameSink() = default;
  // `payload` is borrowed for the call. False: feed no more.
  virtual bool on_ws_frame(WsOpcode opcode, std::string_view payload) = 0;
};

// Takes the gateway's byte stream apart. Holds memory only while a frame is
// incomplete.
// Bounds: `payload_max` bytes and a header.
class WsDecoder {
 public:
  // Gives every complete frame to `sink`. After a fault, or after the sink has
  // said false, the decoder is to be reset.
  WsFault feed(std::string_view bytes, std::size_t payload_max, WsFrameSink& sink);
  void reset() noexcept { partial_ = std::string(); }
  std::size_t bytes_held() const noexcept { return partial_.capacity(); }

 private:
  std::string partial_;
};

using WsKey = std::array<unsigned char, 16>;

struct WsRequest {
  std::string_view host;
  std::string_view path;
  std::string_view subprotocol;
  std::string_view bearer;  // empty: no Authorization header
};
// The opening handshake's request (section 4.1).
std::string ws_upgrade_request(const WsRequest& request, const WsKey& key);

struct WsAnswer {
  enum class State : std::uint8_t { incomplete, accepted, refused, malformed };
  State state = State::incomplete;
  unsigned http_status = 0;
  std::size_t consumed = 0;  // accepted: bytes of the response; frames may follow
  std::string_view fault;    // malformed: which rule of section 4.1 it breaks
};
// Checks the response. Bounds: one above 8 KB is malformed.
WsAnswer ws_read_answer(std::string_view bytes, const WsKey& key, std::string_view subprotocol);

// Sec-WebSocket-Accept for `key` (section 4.2.2, item 5.4).
std::string ws_accept(const WsKey& key);

}  // namespace fieldgate::sim
