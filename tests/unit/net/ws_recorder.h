// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/net/ws_codec.h"

#include <functional>
#include <string>
#include <vector>

namespace fieldgate::test {

// Bytes of a masked frame, as a client sends it.
struct ClientFrame {
  bool fin = true;
  std::uint8_t rsv = 0;  // the three bits, RSV1 highest
  std::uint8_t opcode = 2;
  bool masked = true;
  int length_bytes = -1;           // 0, 2 or 8 extended length bytes; -1: the minimal form
  std::uint64_t declared = ~0ULL;  // ~0: the payload's size
  std::string payload = {};

  std::string bytes() const {
    const std::uint64_t length = declared == ~0ULL ? payload.size() : declared;
    const int extended = length_bytes >= 0 ? length_bytes : length < 126 ? 0 : length <= 0xFFFF ? 2 : 8;
    std::string out;
    out.push_back(static_cast<char>((fin ? 0x80 : 0) | rsv << 4 | opcode));
    const std::uint64_t first = extended == 0 ? length : extended == 2 ? 126 : 127;
    out.push_back(static_cast<char>((masked ? 0x80 : 0) | first));
    for (int i = extended - 1; i >= 0; --i) out.push_back(static_cast<char>(length >> (8 * i)));
    const std::string key = "\x37\xfa\x21\x3d";
    if (masked) out += key;
    for (std::size_t i = 0; i < payload.size(); ++i) {
      out.push_back(masked ? static_cast<char>(payload[i] ^ key[i % 4]) : payload[i]);
    }
    return out;
  }
};

// Writes down every call, one line each.
class WsRecorder final : public WsSink {
 public:
  Verdict on_frame(WsOpcode opcode, std::size_t bytes) override {
    note("frame " + std::to_string(static_cast<int>(opcode)) + " " + std::to_string(bytes));
    return ask("frame");
  }
  Verdict on_message(std::span<std::byte> payload) override {
    note("message " + text(payload));
    return ask("message");
  }
  Verdict on_ping(std::span<std::byte> payload) override {
    note("ping " + text(payload));
    return ask("ping");
  }
  Verdict on_pong(std::span<std::byte> payload) override {
    note("pong " + text(payload));
    return ask("pong");
  }
  void on_close(std::uint16_t code, std::string_view reason) override {
    note("close " + std::to_string(code) + " " + std::string(reason));
    ask("close");
  }

  static std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::vector<std::string> calls;
  // Answers for the sink; told the kind of call.
  std::function<Verdict(std::string_view)> answer;

 private:
  void note(std::string line) { calls.push_back(std::move(line)); }
  Verdict ask(std::string_view kind) const { return answer ? answer(kind) : std::nullopt; }
};

// A run of the codec over `stream` cut into pieces that end at `cuts` (and at its
// end): what the sink heard, and the verdict as a last line.
inline std::vector<std::string> run_codec(std::string stream, const std::vector<std::size_t>& cuts,
                                          std::uint32_t message_bytes_max = 1000) {
  WsCodec codec(message_bytes_max);
  WsRecorder recorder;
  std::size_t at = 0;
  Verdict verdict;
  for (std::size_t i = 0; i <= cuts.size() && !verdict; ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : stream.size();
    // A copy of its own for each piece: a byte out of it is a byte out of bounds.
    std::vector<std::byte> piece(end - at);
    for (std::size_t k = 0; k < piece.size(); ++k) piece[k] = static_cast<std::byte>(stream[at + k]);
    verdict = codec.feed(piece, recorder);
    at = end;
  }
  recorder.calls.push_back(verdict ? "end " + std::string(to_string(*verdict)) : codec.mid_message() ? "mid" : "idle");
  return recorder.calls;
}

}  // namespace fieldgate::test
