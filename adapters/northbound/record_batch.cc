// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/record_batch.h"

#include <bit>
#include <cstdint>

namespace fieldgate::northbound {
namespace {

// Field numbers of northbound.proto.
enum RecordField : std::uint32_t { k_device = 1, k_stream = 2, k_seq = 3, k_received = 4, k_frame = 5, k_presence = 6 };
enum BatchField : std::uint32_t { k_records = 1, k_node = 2 };

constexpr char tag(std::uint32_t field, std::uint32_t wire_type) { return static_cast<char>(field << 3 | wire_type); }
constexpr char varint_tag(std::uint32_t field) { return tag(field, 0); }
constexpr char bytes_tag(std::uint32_t field) { return tag(field, 2); }

std::size_t varint_bytes(std::uint64_t value) noexcept {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

void append_varint(std::uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// proto3: a zero or empty field is left out.
std::size_t number_bytes(std::uint64_t value) noexcept { return value == 0 ? 0 : 1 + varint_bytes(value); }
std::size_t text_bytes(std::size_t size) noexcept { return size == 0 ? 0 : 1 + varint_bytes(size) + size; }

void append_number(std::uint32_t field, std::uint64_t value, std::string& out) {
  if (value == 0) return;
  out.push_back(varint_tag(field));
  append_varint(value, out);
}

void append_text(std::uint32_t field, std::string_view text, std::string& out) {
  if (text.empty()) return;
  out.push_back(bytes_tag(field));
  append_varint(text.size(), out);
  out.append(text);
}

// The body is there even when empty: a oneof shows which one it is.
std::size_t body_bytes(const RecordView& record) noexcept {
  return text_bytes(record.device.size()) + number_bytes(record.stream.value) + number_bytes(record.seq.value) +
         number_bytes(static_cast<std::uint64_t>(record.received_unix_ms)) + 1 + varint_bytes(record.payload.size()) +
         record.payload.size();
}

}  // namespace

std::size_t record_bytes(const RecordView& record) noexcept {
  const std::size_t body = body_bytes(record);
  return 1 + varint_bytes(body) + body;
}

void append_record(const RecordView& record, std::string& out) {
  out.push_back(bytes_tag(k_records));
  append_varint(body_bytes(record), out);
  append_text(k_device, record.device, out);
  append_number(k_stream, record.stream.value, out);
  append_number(k_seq, record.seq.value, out);
  append_number(k_received, static_cast<std::uint64_t>(record.received_unix_ms), out);
  out.push_back(bytes_tag(record.kind == RecordKind::presence ? k_presence : k_frame));
  append_varint(record.payload.size(), out);
  out.append(reinterpret_cast<const char*>(record.payload.data()), record.payload.size());
}

void append_batch_node(std::string_view node, std::string& out) { append_text(k_node, node, out); }

}  // namespace fieldgate::northbound
