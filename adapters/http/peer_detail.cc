// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/peer_detail.h"

#include "gateway/core/hex.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <bit>
#include <span>
#include <stdexcept>
#include <utility>

namespace fieldgate::http {
namespace {

namespace json = boost::json;

// For what is not a last value.
constexpr std::size_t k_rest_bytes_max = 8'192;
constexpr std::size_t k_values_bytes_max = k_peer_body_bytes_max - k_rest_bytes_max;
constexpr std::array<std::string_view, 3> k_qualities{"good", "uncertain", "bad"};

std::vector<std::byte> unhex(std::string_view text) {
  if (text.size() % 2 != 0) throw std::invalid_argument("hex");
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]);
    const int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) throw std::invalid_argument("hex");
    bytes.push_back(static_cast<std::byte>(16 * high + low));
  }
  return bytes;
}

// A double by its bits: what is no number has no other way through JSON; bytes as digits, for any can be in them.
struct ValueText {
  json::object& out;
  void operator()(double v) const { out["double"] = std::bit_cast<std::uint64_t>(v); }
  void operator()(std::int64_t v) const { out["int"] = v; }
  void operator()(bool v) const { out["bool"] = v; }
  void operator()(const std::string& v) const { out["string"] = v; }
  void operator()(const std::vector<std::byte>& v) const { out["bytes"] = to_hex(v); }
};

LastValue read_value(const json::object& from) {
  LastValue out;
  out.name = from.at("name").as_string();
  out.unix_ms = from.at("ms").to_number<std::int64_t>();
  out.quality = k_qualities.at(from.at("quality").to_number<std::size_t>());
  if (const auto* bits = from.if_contains("double")) {
    out.value = std::bit_cast<double>(bits->to_number<std::uint64_t>());
  } else if (const auto* integer = from.if_contains("int")) {
    out.value = integer->to_number<std::int64_t>();
  } else if (const auto* flag = from.if_contains("bool")) {
    out.value = flag->as_bool();
  } else if (const auto* text = from.if_contains("string")) {
    out.value = std::string(text->as_string());
  } else {
    out.value = unhex(from.at("bytes").as_string());
  }
  return out;
}

std::string text_of(const json::object& from, std::string_view key) { return std::string(from.at(key).as_string()); }

template <class T>
T number_of(const json::object& from, std::string_view key) {
  return from.at(key).to_number<T>();
}

// Throws where anything is not as it has to be.
DeviceDetail read(const DeviceId& id, const json::object& from) {
  if (text_of(from, "device") != id.str()) throw std::invalid_argument("another device");
  DeviceSummary summary{id};
  summary.online = from.at("online").as_bool();
  summary.epoch = {number_of<std::uint64_t>(from, "epoch")};
  if (summary.epoch.value > k_epoch_max) throw std::invalid_argument("epoch");
  summary.since_unix_ms = number_of<std::int64_t>(from, "since");
  summary.last_seen_unix_ms = number_of<std::int64_t>(from, "last_seen");
  summary.last_data_unix_ms = number_of<std::int64_t>(from, "last_data");
  summary.reason = text_of(from, "reason");
  DeviceDetail out(std::move(summary));
  // Nodes of earlier versions do not say so: they say of such a device that it is offline.
  if (const auto* flag = from.if_contains("reconnecting")) out.reconnecting = flag->as_bool();
  out.address = text_of(from, "address");
  out.tls_version = text_of(from, "tls_version");
  out.tls_cipher = text_of(from, "tls_cipher");
  out.tls_resumed = from.at("tls_resumed").as_bool();
  out.credential = text_of(from, "credential");
  out.ack_stage = text_of(from, "ack_stage");
  out.heartbeat_seconds = number_of<std::uint32_t>(from, "heartbeat");
  out.frames_received = number_of<std::uint64_t>(from, "frames");
  out.bytes_received = number_of<std::uint64_t>(from, "bytes");
  out.unacked_frames = number_of<std::uint64_t>(from, "unacked");
  out.credit_frames = number_of<std::uint32_t>(from, "credit");
  for (const json::value& one : from.at("streams").as_array()) {
    const json::object& stream = one.as_object();
    if (out.streams.size() == 2) throw std::invalid_argument("streams");
    out.streams.push_back({{number_of<std::uint64_t>(stream, "id")},
                           {number_of<std::uint64_t>(stream, "received")},
                           {number_of<std::uint64_t>(stream, "forwarded")},
                           number_of<std::uint64_t>(stream, "gaps"),
                           number_of<std::uint64_t>(stream, "duplicates")});
  }
  for (const json::value& one : from.at("values").as_array()) out.last_values.push_back(read_value(one.as_object()));
  out.truncated = from.at("truncated").as_bool();
  return out;
}

}  // namespace

std::string encode_detail(const DeviceDetail& detail) {
  const DeviceSummary& summary = detail.summary;
  json::array streams;
  for (const DeviceDetail::Stream& stream : detail.streams) {
    streams.push_back({{"id", stream.id.value},
                       {"received", stream.received_through.value},
                       {"forwarded", stream.forwarded_through.value},
                       {"gaps", stream.gaps},
                       {"duplicates", stream.duplicates}});
  }
  json::array values;
  std::size_t bytes = 0;
  bool truncated = detail.truncated;
  for (const LastValue& last : detail.last_values) {
    json::object value{{"name", last.name}, {"ms", last.unix_ms}};
    std::size_t quality = 0;
    while (quality + 1 < k_qualities.size() && k_qualities[quality] != last.quality) ++quality;
    value["quality"] = quality;
    std::visit(ValueText{value}, last.value);
    bytes += json::serialize(value).size() + 1;
    if (bytes > k_values_bytes_max) {
      truncated = true;
      break;
    }
    values.push_back(std::move(value));
  }
  return json::serialize(json::object{{"device", summary.id.str()},
                                      {"online", summary.online},
                                      {"reconnecting", detail.reconnecting},
                                      {"epoch", summary.epoch.value},
                                      {"since", summary.since_unix_ms},
                                      {"last_seen", summary.last_seen_unix_ms},
                                      {"last_data", summary.last_data_unix_ms},
                                      {"reason", summary.reason},
                                      {"address", detail.address},
                                      {"tls_version", detail.tls_version},
                                      {"tls_cipher", detail.tls_cipher},
                                      {"tls_resumed", detail.tls_resumed},
                                      {"credential", detail.credential},
                                      {"ack_stage", detail.ack_stage},
                                      {"heartbeat", detail.heartbeat_seconds},
                                      {"frames", detail.frames_received},
                                      {"bytes", detail.bytes_received},
                                      {"unacked", detail.unacked_frames},
                                      {"credit", detail.credit_frames},
                                      {"streams", std::move(streams)},
                                      {"values", std::move(values)},
                                      {"truncated", truncated}});
}

Result<DeviceDetail> decode_detail(const DeviceId& id, std::string_view body) {
  json::parse_options options;
  options.max_depth = 4;
  boost::system::error_code ec;
  const json::value value = json::parse(body, ec, {}, options);
  if (!ec && value.is_object()) {
    try {
      return read(id, value.get_object());
    } catch (const std::exception&) {  // how Boost.JSON says that a member is not there, or another thing
    }
  }
  return make_error(Errc::malformed, "that is not what a node tells of device '" + id.str() + "'");
}

void serve_details(Peers& peers, LiveDevices& devices) {
  peers.serve(k_peer_device_live, [&devices](const PeerMessage& message, const Peers::Answer& answer) {
    if (!answer) return;
    const auto id = DeviceId::parse(message.body);
    if (!id) return answer(make_error(Errc::invalid_argument, "that is not a device id"));
    devices.detail(*id, [answer](std::optional<DeviceDetail> detail) {
      if (!detail) return answer(make_error(Errc::not_found, "the device is not known here"));
      answer(encode_detail(*detail));
    });
  });
}

}  // namespace fieldgate::http
