// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/disk_format.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <concepts>
#include <cstring>
#include <utility>

namespace fieldgate::spool {
namespace {

// kind, device, name and payload length, lanes, stream, seq, epoch, received, session.
constexpr std::size_t k_record_fixed_bytes = 1 + 2 + 2 + 4 + 4 + 8 + 8 + 8 + 8 + 4 + 4;

template <std::unsigned_integral T>
T little_endian(T value) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    return value;
  } else {
    auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    std::ranges::reverse(bytes);
    return std::bit_cast<T>(bytes);
  }
}

// Writes into memory that is known to be large enough.
class Writer {
 public:
  explicit Writer(std::byte* at) noexcept : at_(at) {}
  template <std::unsigned_integral T>
  void number(T value) noexcept {
    value = little_endian(value);
    std::memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
  }
  void bytes(const void* from, std::size_t count) noexcept {
    if (count != 0) std::memcpy(at_, from, count);
    at_ += count;
  }
  std::byte* at() const noexcept { return at_; }

 private:
  std::byte* at_;
};

class Appender {
 public:
  template <std::unsigned_integral T>
  Appender& number(T value) {
    value = little_endian(value);
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Appender& text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_.append(value);
    return *this;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Reads what may be anything: past the end it gives zeros and remembers.
class Reader {
 public:
  explicit Reader(Bytes bytes) noexcept : left_(bytes) {}
  template <std::unsigned_integral T>
  T number() noexcept {
    T value{};
    const Bytes from = take(sizeof value);
    if (!from.empty()) std::memcpy(&value, from.data(), sizeof value);
    return little_endian(value);
  }
  Bytes take(std::size_t count) noexcept {
    if (count > left_.size()) {
      short_ = true;
      left_ = {};
      return {};
    }
    const Bytes taken = left_.first(count);
    left_ = left_.subspan(count);
    return taken;
  }
  std::string_view view(std::size_t count) noexcept {
    const Bytes taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  std::string text() { return std::string(view(number<std::uint32_t>())); }
  // Everything was there, and nothing else.
  bool ended() const noexcept { return !short_ && left_.empty(); }
  bool good() const noexcept { return !short_; }

 private:
  Bytes left_;
  bool short_ = false;
};

std::uint32_t checksum(Bytes bytes) noexcept {
  return static_cast<std::uint32_t>(
      ::crc32_z(::crc32_z(0, nullptr, 0), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

Error malformed(std::string_view what) { return make_error(Errc::malformed, std::string(what)); }

void encode_record(const RecordView& record, Writer& out) noexcept {
  out.number(static_cast<std::uint8_t>(record.kind));
  out.number(static_cast<std::uint16_t>(record.device.size()));
  out.number(static_cast<std::uint16_t>(record.name.size()));
  out.number(static_cast<std::uint32_t>(record.payload.size()));
  out.number(record.lanes);
  out.number(record.stream.value);
  out.number(record.seq.value);
  out.number(record.epoch.value);
  out.number(static_cast<std::uint64_t>(record.received_unix_ms));
  out.number(record.session.slot);
  out.number(record.session.generation);
  out.bytes(record.device.data(), record.device.size());
  out.bytes(record.name.data(), record.name.size());
  out.bytes(record.payload.data(), record.payload.size());
}

bool decode_record(Reader& in, bool same_boot, RecordView& record) noexcept {
  const auto kind = in.number<std::uint8_t>();
  const auto device_bytes = in.number<std::uint16_t>();
  const auto name_bytes = in.number<std::uint16_t>();
  const auto payload_bytes = in.number<std::uint32_t>();
  record.kind = static_cast<RecordKind>(kind);
  record.lanes = in.number<std::uint32_t>();
  record.stream.value = in.number<std::uint64_t>();
  record.seq.value = in.number<std::uint64_t>();
  record.epoch.value = in.number<std::uint64_t>();
  record.received_unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  const auto slot = in.number<std::uint32_t>();
  const auto generation = in.number<std::uint32_t>();
  record.session = same_boot ? SessionRef{slot, generation} : SessionRef{};
  record.device = in.view(device_bytes);
  record.name = in.view(name_bytes);
  record.payload = in.take(payload_bytes);
  return in.good() && kind < k_record_kinds;
}

}  // namespace

std::size_t encoded_bytes(const RecordBlock& block) noexcept {
  std::size_t bytes = k_block_header_bytes + block.size() * k_record_fixed_bytes;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const RecordView record = block[i];
    bytes += record.device.size() + record.name.size() + record.payload.size();
  }
  return bytes;
}

void encode_block(const RecordBlock& block, std::uint64_t boot, std::span<std::byte> out) noexcept {
  Writer writer(out.data() + sizeof(std::uint32_t));
  writer.number(k_format_version);
  writer.number(static_cast<std::uint32_t>(block.size()));
  writer.number(block.shard());
  writer.number(boot);
  writer.number(block.first_position().value);
  for (std::size_t i = 0; i < block.size(); ++i) encode_record(block[i], writer);
  assert(writer.at() == out.data() + out.size());
  Writer(out.data()).number(checksum(out.subspan(sizeof(std::uint32_t))));
}

Result<std::shared_ptr<RecordBlock>> decode_block(Bytes bytes, LogPosition last, std::uint64_t boot) {
  Reader in(bytes);
  const auto sum = in.number<std::uint32_t>();
  const auto version = in.number<std::uint32_t>();
  const auto records = in.number<std::uint32_t>();
  const auto shard = in.number<std::uint32_t>();
  const auto written_in = in.number<std::uint64_t>();
  const auto first = in.number<std::uint64_t>();
  if (!in.good()) return malformed("shorter than a block's header");
  if (checksum(bytes.subspan(sizeof sum)) != sum) return malformed("wrong checksum");
  if (version != k_format_version) return malformed("a block of version " + std::to_string(version));
  if (records == 0 || first == 0 || first + records - 1 != last.value) return malformed("positions that do not fit");
  const bool same_boot = written_in == boot;
  auto block = std::make_shared<RecordBlock>(same_boot ? shard : 0);
  for (std::uint32_t i = 0; i < records; ++i) {
    RecordView record;
    if (!decode_record(in, same_boot, record)) return malformed("a record that does not fit");
    block->append(record);
  }
  if (!in.ended()) return malformed("more bytes than records");
  block->seal();
  block->set_first_position({first});
  return block;
}

LogPosition first_position_of(Bytes bytes) noexcept {
  if (bytes.size() < k_block_header_bytes) return {};
  Reader in(bytes.subspan(k_block_header_bytes - sizeof(std::uint64_t)));
  return {in.number<std::uint64_t>()};
}

std::string encode_lanes(const std::vector<SavedLane>& lanes) {
  Appender out;
  out.number(static_cast<std::uint32_t>(lanes.size()));
  for (const SavedLane& lane : lanes) {
    out.text(lane.name).number(lane.slot).number(lane.completed.value);
    out.number(static_cast<std::uint8_t>(lane.paused ? 1 : 0));
  }
  return out.take();
}

Result<std::vector<SavedLane>> decode_lanes(Bytes bytes) {
  Reader in(bytes);
  const auto count = in.number<std::uint32_t>();
  std::vector<SavedLane> lanes;
  for (std::uint32_t i = 0; i < count && in.good(); ++i) {
    SavedLane lane;
    lane.name = in.text();
    lane.slot = in.number<std::uint32_t>();
    lane.completed = {in.number<std::uint64_t>()};
    lane.paused = in.number<std::uint8_t>() != 0;
    if (lane.slot >= k_lanes_max) return malformed("a lane's slot out of range");
    lanes.push_back(std::move(lane));
  }
  if (!in.ended()) return malformed("not a list of lanes");
  return lanes;
}

std::string encode_device(const DeviceMarks& marks) {
  Appender out;
  for (const StreamMark& stream : marks.streams) {
    out.number(stream.id.value).number(stream.logged.value).number(stream.position.value);
  }
  out.number(marks.epoch.value).number(static_cast<std::uint8_t>(marks.online ? 1 : 0));
  out.number(static_cast<std::uint64_t>(marks.since_unix_ms));
  out.number(static_cast<std::uint64_t>(marks.last_data_unix_ms)).number(marks.presence_lanes);
  return out.take();
}

Result<DeviceMarks> decode_device(std::string_view id, Bytes bytes) {
  auto device = DeviceId::parse(id);
  if (!device) return std::move(device).error();
  DeviceMarks marks{.device = std::move(*device), .streams = {}, .epoch = {}};
  Reader in(bytes);
  for (StreamMark& stream : marks.streams) {
    stream.id = {in.number<std::uint64_t>()};
    stream.logged = {in.number<std::uint64_t>()};
    stream.position = {in.number<std::uint64_t>()};
  }
  marks.epoch = {in.number<std::uint64_t>()};
  marks.online = in.number<std::uint8_t>() != 0;
  marks.since_unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  marks.last_data_unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  marks.presence_lanes = in.number<std::uint32_t>();
  if (!in.ended()) return malformed("not a device's marks");
  return marks;
}

std::string encode_letter(const DeadLetter& letter) {
  Appender out;
  out.text(letter.lane).number(static_cast<std::uint8_t>(letter.kind)).text(letter.device).text(letter.name);
  out.number(letter.stream.value).number(letter.seq.value).number(letter.epoch.value);
  out.number(static_cast<std::uint64_t>(letter.received_unix_ms));
  out.number(static_cast<std::uint64_t>(letter.refused_unix_ms));
  out.text(letter.target).text(letter.reason).text(letter.detail).text(letter.payload);
  return out.take();
}

Result<DeadLetter> decode_letter(std::uint64_t id, Bytes bytes) {
  Reader in(bytes);
  DeadLetter letter;
  letter.id = id;
  letter.lane = in.text();
  const auto kind = in.number<std::uint8_t>();
  letter.kind = static_cast<RecordKind>(kind);
  letter.device = in.text();
  letter.name = in.text();
  letter.stream = {in.number<std::uint64_t>()};
  letter.seq = {in.number<std::uint64_t>()};
  letter.epoch = {in.number<std::uint64_t>()};
  letter.received_unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  letter.refused_unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  letter.target = in.text();
  letter.reason = in.text();
  letter.detail = in.text();
  letter.payload = in.text();
  if (!in.ended() || kind >= k_record_kinds) return malformed("not a dead letter");
  return letter;
}

std::string encode_number(std::uint64_t number) { return Appender().number(number).take(); }

Result<std::uint64_t> decode_number(Bytes bytes) {
  Reader in(bytes);
  const auto number = in.number<std::uint64_t>();
  if (!in.ended()) return malformed("not a number");
  return number;
}

}  // namespace fieldgate::spool
