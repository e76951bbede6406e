// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/decoder.h"
#include "adapters/wire/text.h"

#include <algorithm>
#include <string>

namespace fieldgate::wire {
namespace {

// Field numbers and sizes: Hello in proto/fieldgate/v1/device.proto.
constexpr Shape k_hello{bits(1, 10), bits(8, 8) | bits(10, 10)};
constexpr Shape k_label{bits(1, 2), 0};
constexpr std::uint64_t k_stage_last = 3;
constexpr std::uint64_t k_u32_max = ~std::uint32_t{0};
constexpr std::uint32_t k_receive_bytes_default = 4'096;
constexpr std::uint32_t k_receive_bytes_min = 256;
constexpr std::size_t k_label_key_bytes_max = 64;
constexpr std::size_t k_label_value_bytes_max = 256;
constexpr std::size_t k_firmware_bytes_max = 64;
constexpr std::size_t k_capabilities_max = 32;
constexpr std::size_t k_capability_bytes_max = 64;

void clear(HelloFrame& hello) {
  hello.device_id.clear();
  hello.stream = {};
  hello.oldest = {};
  hello.last = {};
  hello.stage = AckStage::unspecified;
  hello.heartbeat_seconds = 0;
  hello.receive_max_bytes = 0;
  hello.labels.clear();
  hello.firmware_version.clear();
  hello.takes_commands = hello.takes_command_cancels = hello.takes_desired = false;
}

bool read_u32(std::uint64_t value, const char* field, std::uint32_t& out, Fault& fault) {
  if (value > k_u32_max) return refuse(fault, std::string(field) + " is over 2^32 - 1");
  out = static_cast<std::uint32_t>(value);
  return true;
}

// What holds between the fields, or of those that must be there.
bool check(HelloFrame& hello, Fault& fault) {
  if (!is_valid_name(hello.device_id)) return refuse(fault, "hello.device_id is not 1 to 128 of A-Z a-z 0-9 . _ : -");
  if (hello.stream.value == 0) return refuse(fault, "hello.stream_id is missing");
  if (hello.last.value > k_seq_max) return refuse(fault, "hello.last_seq is over 2^63 - 1");
  if (hello.oldest > hello.last) return refuse(fault, "hello.oldest_seq is above last_seq");
  if (hello.receive_max_bytes == 0) hello.receive_max_bytes = k_receive_bytes_default;
  return hello.receive_max_bytes >= k_receive_bytes_min || refuse(fault, "hello.receive_max_bytes is below 256");
}

}  // namespace

bool Decoder::read_hello(std::string_view body, Fault& fault) {
  clear(hello_);
  std::size_t capabilities = 0;
  MessageReader in(body, k_hello, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): hello_.device_id.assign(in.bytes().substr(0, k_name_bytes_max + 1)); break;
      case varint(2): hello_.stream = {in.value()}; break;
      case varint(3): hello_.oldest = {in.value()}; break;
      case varint(4): hello_.last = {in.value()}; break;
      case varint(5):
        if (in.value() > k_stage_last) return refuse(fault, "hello.ack_stage is unknown");
        hello_.stage = static_cast<AckStage>(in.value());
        break;
      case varint(6):
        if (!read_u32(in.value(), "hello.heartbeat_seconds", hello_.heartbeat_seconds, fault)) return false;
        break;
      case varint(7):
        if (!read_u32(in.value(), "hello.receive_max_bytes", hello_.receive_max_bytes, fault)) return false;
        break;
      case delimited(8):
        if (!read_label(in.bytes(), fault)) return refused_in(fault, "hello.labels");
        break;
      case delimited(9):
        if (in.bytes().size() > k_firmware_bytes_max || !is_plain_text(in.bytes())) {
          return refuse(fault, "hello.firmware_version is not at most 64 bytes of UTF-8 without control characters");
        }
        hello_.firmware_version.assign(in.bytes());
        break;
      case delimited(10):
        if (++capabilities > k_capabilities_max) return refuse(fault, "hello.capabilities are over 32");
        if (in.bytes().size() > k_capability_bytes_max || !is_plain_text(in.bytes())) {
          return refuse(fault, "hello.capabilities: one is not at most 64 bytes of UTF-8 without control characters");
        }
        hello_.takes_commands |= in.bytes() == "command";
        hello_.takes_command_cancels |= in.bytes() == "command_cancel";
        hello_.takes_desired |= in.bytes() == "desired";
        break;
      default: in.wrong_type(fault); return refused_in(fault, "hello: ");
    }
  }
  if (!in.finish(fault)) return refused_in(fault, "hello: ");
  return check(hello_, fault) && sort_labels(fault);
}

bool Decoder::read_label(std::string_view body, Fault& fault) {
  if (hello_.labels.size() >= limits_.labels_max) {
    return refuse(fault, RejectCode::too_large, " are over " + std::to_string(limits_.labels_max));
  }
  std::string_view key;
  std::string_view value;
  MessageReader in(body, k_label, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): key = in.bytes(); break;
      case delimited(2): value = in.bytes(); break;
      default: in.wrong_type(fault); return refused_in(fault, ": ");
    }
  }
  if (!in.finish(fault)) return refused_in(fault, ": ");
  if (key.empty() || key.size() > k_label_key_bytes_max || !is_plain_text(key)) {
    return refuse(fault, ": a key is not 1 to 64 bytes of UTF-8 without control characters");
  }
  if (value.size() > k_label_value_bytes_max || !is_plain_text(value)) {
    return refuse(fault, ": a value is not at most 256 bytes of UTF-8 without control characters");
  }
  hello_.labels.emplace_back(key, value);
  return true;
}

bool Decoder::sort_labels(Fault& fault) {
  std::ranges::sort(hello_.labels);
  const auto twin = std::ranges::adjacent_find(hello_.labels, {}, &std::pair<std::string, std::string>::first);
  return twin == hello_.labels.end() || refuse(fault, "hello.labels: a key is there twice");
}

}  // namespace fieldgate::wire
