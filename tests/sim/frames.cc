// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/frames.h"

#include <boost/json.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace fieldgate::sim {
namespace {

constexpr std::string_view k_sent = "sent_us";
constexpr std::string_view k_check = "check";
constexpr std::string_view k_pad = "pad";
constexpr std::string_view k_schema = "sim.blob";
constexpr std::size_t k_value_bytes_max = 1'024;

struct Quantity {
  const char* name;
  double low;
  double span;
};
constexpr std::array<Quantity, 6> k_quantities = {{{"temperature", 18.0, 9.0},
                                                   {"humidity", 30.0, 40.0},
                                                   {"pressure", 985.0, 45.0},
                                                   {"battery", 3.3, 0.9},
                                                   {"vibration", 0.0, 2.5},
                                                   {"current", 0.1, 12.0}}};

class Checksum {
 public:
  explicit Checksum(std::uint64_t seed) noexcept : state_(seed) {}
  void add(std::uint64_t word) noexcept {
    state_ = (state_ ^ word) * 0x9fb21c651e98df25ULL;
    state_ ^= state_ >> 28;
  }
  void add(double value) noexcept { add(std::bit_cast<std::uint64_t>(value)); }
  void add(std::string_view text) noexcept {
    for (const unsigned char c : text) add(std::uint64_t{c});
    add(text.size());
  }
  // 52 bits: a double and a JSON number hold it exactly.
  std::uint64_t value() const noexcept { return state_ >> 12; }
  double as_double() const noexcept { return static_cast<double>(value()); }

 private:
  std::uint64_t state_;
};

void put_double(std::string& bytes, std::size_t at, double value) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<char>(bits >> (8 * i));
}

void append_varint(std::string& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
}

// Milliseconds since 1970 take six bytes from 2004 to 2109, so they can be
// patched in place.
constexpr std::size_t k_time_bytes = 6;
constexpr std::int64_t k_time_min_ms = std::int64_t{1} << 35;
constexpr std::int64_t k_time_max_ms = (std::int64_t{1} << 42) - 1;

std::string little_endian(std::uint64_t word) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(word >> (8 * i));
  return bytes;
}

std::uint64_t read_little_endian(std::string_view bytes) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 8; i-- > 0;) word = (word << 8) | static_cast<unsigned char>(bytes[i]);
  return word;
}

std::uint64_t simple_check(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us) noexcept {
  Checksum sum(seed);
  sum.add(seq);
  sum.add(static_cast<std::uint64_t>(wall_us));
  return sum.value();
}

}  // namespace

std::uint64_t check_seed(std::string_view device, std::uint64_t stream) noexcept {
  Checksum sum(0x5851f42d4c957f2dULL);
  sum.add(device);
  sum.add(stream);
  return sum.value();
}

FrameFactory::FrameFactory(const FrameShape& shape) {
  assert(shape.metrics >= 2);
  for (unsigned left = shape.payload_bytes; left > 0;) {
    const auto take = std::min<std::size_t>(left, k_value_bytes_max);
    pads_.emplace_back(take, static_cast<char>('a' + pads_.size() % 26));
    left -= static_cast<unsigned>(take);
  }
  // Every patched field is given a value that occurs nowhere else, and found
  // again by it in the serialized form.
  const auto mark = [](std::uint64_t i) { return std::bit_cast<double>(0x3ff5a5a5a5a5a500ULL + i); };
  constexpr std::int64_t k_time_mark = 0x123456789abLL;
  v1::Sample& sample = *scratch_.mutable_telemetry()->add_samples();
  sample.set_unix_ms(k_time_mark);
  for (unsigned i = 0; i < shape.metrics; ++i) {
    v1::Metric& metric = *sample.add_metrics();
    if (i < 2) {
      metric.set_name(std::string(i == 0 ? k_sent : k_check));
    } else {
      const Quantity& quantity = k_quantities[(i - 2) % k_quantities.size()];
      const unsigned round = (i - 2) / static_cast<unsigned>(k_quantities.size());
      metric.set_name(round == 0 ? quantity.name : quantity.name + std::to_string(round));
    }
    metric.set_double_value(mark(i));
  }
  for (const std::string& pad : pads_) {
    v1::Metric& metric = *sample.add_metrics();
    metric.set_name(std::string(k_pad) + std::to_string(sample.metrics_size()));
    metric.set_string_value(pad);
  }
  body_ = scratch_.SerializeAsString();
  const auto find = [this](const std::string& bytes) {
    const std::size_t at = body_.find(bytes);
    assert(at != std::string::npos && body_.find(bytes, at + 1) == std::string::npos);
    return at;
  };
  std::string time;
  append_varint(time, static_cast<std::uint64_t>(k_time_mark));
  time_at_ = find(time);
  for (unsigned i = 0; i < shape.metrics; ++i) {
    const std::size_t at = find(little_endian(std::bit_cast<std::uint64_t>(mark(i))));
    if (i == 0)
      sent_at_ = at;
    else if (i == 1)
      check_at_ = at;
    else
      values_at_.push_back(at);
  }
}

void FrameFactory::telemetry(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, Rng& rng, std::string& out) {
  const double sent = static_cast<double>(wall_us);
  Checksum sum(seed);
  sum.add(seq);
  put_double(body_, sent_at_, sent);
  sum.add(sent);
  for (std::size_t i = 0; i < values_at_.size(); ++i) {
    const Quantity& quantity = k_quantities[i % k_quantities.size()];
    const double value = quantity.low + quantity.span * rng.uniform();
    put_double(body_, values_at_[i], value);
    sum.add(value);
  }
  for (const std::string& pad : pads_) sum.add(std::string_view(pad));
  put_double(body_, check_at_, sum.as_double());
  auto ms = static_cast<std::uint64_t>(std::clamp(wall_us / 1000, k_time_min_ms, k_time_max_ms));
  for (std::size_t i = 0; i < k_time_bytes; ++i, ms >>= 7) {
    body_[time_at_ + i] = static_cast<char>((ms & 0x7f) | (i + 1 < k_time_bytes ? 0x80 : 0));
  }
  out.clear();
  out.push_back('\x08');  // DeviceFrame.seq, varint
  append_varint(out, seq);
  out.append(body_);
}

void FrameFactory::event(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, std::string& out) {
  scratch_.Clear();
  scratch_.set_seq(seq);
  v1::Event& event = *scratch_.mutable_event();
  event.set_name("door.opened");
  event.set_unix_ms(wall_us / 1000);
  event.set_severity(v1::SEVERITY_INFO);
  event.set_text("The cabinet door was opened.");
  const auto attribute = [&event](std::string_view name, std::uint64_t value) {
    v1::Metric& metric = *event.add_attributes();
    metric.set_name(std::string(name));
    metric.set_int_value(static_cast<std::int64_t>(value));
  };
  attribute(k_sent, static_cast<std::uint64_t>(wall_us));
  attribute(k_check, simple_check(seed, seq, wall_us));
  scratch_.SerializeToString(&out);
}

void FrameFactory::state(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, std::string& out) {
  scratch_.Clear();
  scratch_.set_seq(seq);
  const boost::json::object reported = {
      {"mode", "auto"}, {k_sent, wall_us}, {k_check, simple_check(seed, seq, wall_us)}};
  scratch_.mutable_state()->set_reported_json(boost::json::serialize(reported));
  scratch_.mutable_state()->set_full(true);
  scratch_.SerializeToString(&out);
}

void FrameFactory::opaque(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, std::string& out) {
  scratch_.Clear();
  scratch_.set_seq(seq);
  scratch_.mutable_opaque()->set_schema_id(std::string(k_schema));
  scratch_.mutable_opaque()->set_data(little_endian(static_cast<std::uint64_t>(wall_us)) +
                                      little_endian(simple_check(seed, seq, wall_us)));
  scratch_.SerializeToString(&out);
}

namespace {

std::optional<Inspection> inspect_telemetry(const v1::DeviceFrame& frame, std::uint64_t seed) {
  if (frame.telemetry().samples_size() != 1) return std::nullopt;
  std::optional<double> sent;
  std::optional<double> check;
  Checksum sum(seed);
  sum.add(frame.seq());
  for (const v1::Metric& metric : frame.telemetry().samples(0).metrics()) {
    if (metric.name() == k_check) {
      check = metric.double_value();
      continue;
    }
    if (metric.name() == k_sent) sent = metric.double_value();
    if (metric.value_case() == v1::Metric::kStringValue)
      sum.add(std::string_view(metric.string_value()));
    else
      sum.add(metric.double_value());
  }
  if (!sent || !check) return std::nullopt;
  return Inspection{static_cast<std::int64_t>(*sent), sum.as_double() == *check};
}

Inspection compare(std::uint64_t seed, std::uint64_t seq, std::int64_t sent_us, std::uint64_t check) noexcept {
  return {sent_us, simple_check(seed, seq, sent_us) == check};
}

std::optional<Inspection> inspect_event(const v1::DeviceFrame& frame, std::uint64_t seed) {
  const auto& attributes = frame.event().attributes();
  if (attributes.size() != 2 || attributes[0].name() != k_sent || attributes[1].name() != k_check) return std::nullopt;
  return compare(seed, frame.seq(), attributes[0].int_value(), static_cast<std::uint64_t>(attributes[1].int_value()));
}

std::optional<Inspection> inspect_state(const v1::DeviceFrame& frame, std::uint64_t seed) {
  boost::system::error_code error;
  const boost::json::value document = boost::json::parse(frame.state().reported_json(), error);
  if (error || !document.is_object()) return std::nullopt;
  const boost::json::value* sent = document.get_object().if_contains(k_sent);
  const boost::json::value* check = document.get_object().if_contains(k_check);
  if (sent == nullptr || check == nullptr || !sent->is_int64() || !check->is_int64()) return std::nullopt;
  return compare(seed, frame.seq(), sent->get_int64(), static_cast<std::uint64_t>(check->get_int64()));
}

}  // namespace

std::optional<Inspection> inspect(const v1::DeviceFrame& frame, std::string_view device, std::uint64_t stream) {
  const std::uint64_t seed = check_seed(device, stream);
  switch (frame.kind_case()) {
    case v1::DeviceFrame::kTelemetry: return inspect_telemetry(frame, seed);
    case v1::DeviceFrame::kEvent: return inspect_event(frame, seed);
    case v1::DeviceFrame::kState: return inspect_state(frame, seed);
    case v1::DeviceFrame::kOpaque: {
      const std::string& data = frame.opaque().data();
      if (frame.opaque().schema_id() != k_schema || data.size() != 16) return std::nullopt;
      return compare(seed, frame.seq(), static_cast<std::int64_t>(read_little_endian(data)),
                     read_little_endian(std::string_view(data).substr(8)));
    }
    default: return std::nullopt;
  }
}

}  // namespace fieldgate::sim
