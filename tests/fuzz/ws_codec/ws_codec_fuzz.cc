// SPDX-License-Identifier: Apache-2.0
//
// The same stream of bytes must give the same calls and the same verdict however
// it is cut, also when our own Close falls somewhere into it.
//
// Input: a seed for the cuts (2 bytes), where our Close is sent (2 bytes, beyond
// the end: never), the message limit (1 byte, times 16), then the stream.
#include "gateway/net/ws_codec.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace {

using namespace fieldgate;

// Writes the calls down in a form that can be compared.
class Transcript final : public WsSink {
 public:
  explicit Transcript(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  Verdict on_frame(WsOpcode opcode, std::size_t bytes) override {
    line('f', {});
    text += std::to_string(static_cast<int>(opcode)) + " " + std::to_string(bytes);
    return std::nullopt;
  }
  Verdict on_message(std::span<std::byte> payload) override {
    if (payload.size() > message_bytes_max_) std::abort();
    line('m', payload);
    return std::nullopt;
  }
  Verdict on_ping(std::span<std::byte> payload) override {
    if (payload.size() > k_ws_control_bytes_max) std::abort();
    line('i', payload);
    return std::nullopt;
  }
  Verdict on_pong(std::span<std::byte> payload) override {
    if (payload.size() > k_ws_control_bytes_max) std::abort();
    line('o', payload);
    return std::nullopt;
  }
  void on_close(std::uint16_t code, std::string_view reason) override {
    line('c', std::as_bytes(std::span(reason)));
    text += std::to_string(code);
  }

  std::string text;

 private:
  void line(char kind, std::span<const std::byte> payload) {
    if (std::exchange(closed_, closed_ || kind == 'c')) std::abort();  // a Close is the last call
    text += "\n";
    text += kind;
    text += " " + std::to_string(payload.size()) + " ";
    text.append(reinterpret_cast<const char*>(payload.data()), payload.size());
  }

  std::size_t message_bytes_max_;
  bool closed_ = false;
};

struct Input {
  std::uint16_t seed = 0;
  std::size_t close_at = 0;
  std::uint32_t message_bytes_max = 0;
  std::span<const std::uint8_t> stream;
};

// Pieces of pseudo-random length, for seed 0 as long as can be.
std::string run(const Input& input, std::uint16_t seed) {
  WsCodec codec(input.message_bytes_max);
  Transcript transcript(input.message_bytes_max);
  Verdict end;
  std::uint32_t state = seed;
  for (std::size_t at = 0; at < input.stream.size() && !end;) {
    if (at == input.close_at) codec.close_sent();
    std::size_t size = input.stream.size() - at;
    if (seed != 0) {
      state = state * 1664525 + 1013904223;
      size = std::min<std::size_t>(size, 1 + (state >> 24) % (seed % 37 + 1));
    }
    if (at < input.close_at) size = std::min(size, input.close_at - at);
    std::vector<std::byte> piece(size);  // exactly as large: a byte beyond is found
    std::memcpy(piece.data(), input.stream.data() + at, size);
    end = codec.feed(piece, transcript);
    at += size;
  }
  transcript.text += "\nend " + (end ? std::string(to_string(*end)) : codec.mid_message() ? "mid" : "idle");
  return transcript.text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  Input input;
  input.seed = static_cast<std::uint16_t>(data[0] << 8 | data[1]);
  input.close_at = static_cast<std::size_t>(data[2] << 8 | data[3]);
  input.message_bytes_max = data[4] * 16U;
  input.stream = {data + 5, size - 5};
  const std::string whole = run(input, 0);
  if (run(input, 36) != whole) std::abort();  // short pieces
  if (run(input, 37) != whole) std::abort();  // single bytes
  if (input.seed != 0 && run(input, input.seed) != whole) std::abort();
  return 0;
}
