// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/traffic/mqtt_packets.h"

#include <optional>
#include <utility>

namespace fieldgate::bench {
namespace {

constexpr std::uint8_t k_response_topic = 0x08;
constexpr std::uint8_t k_correlation_data = 0x09;

void put_u16(std::string& out, std::size_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value));
}

void put_text(std::string& out, std::string_view text) {
  put_u16(out, text.size());
  out.append(text);
}

void put_varint(std::string& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

std::size_t varint_bytes(std::size_t value) noexcept {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : 4;
}

std::size_t u16_at(std::string_view bytes, std::size_t at) noexcept {
  return (static_cast<unsigned>(static_cast<unsigned char>(bytes[at])) << 8) |
         static_cast<unsigned char>(bytes[at + 1]);
}

// Takes a variable byte integer (section 1.5.5) off the front. nullopt: more bytes are needed, or there is no end to
// it.
std::optional<std::size_t> take_varint(std::string_view& bytes) noexcept {
  std::size_t value = 0;
  for (unsigned i = 0; i < 4 && i < bytes.size(); ++i) {
    value |= static_cast<std::size_t>(static_cast<unsigned char>(bytes[i]) & 0x7fU) << (7 * i);
    if ((static_cast<unsigned char>(bytes[i]) & 0x80U) != 0) continue;
    bytes.remove_prefix(i + 1);
    return value;
  }
  return std::nullopt;
}

bool read_publish(std::string_view body, unsigned flags, Mqtt version, MqttPacket& packet) {
  if (body.size() < 2) return false;
  const std::size_t topic = u16_at(body, 0);
  packet.qos = (flags >> 1) & 3;
  const std::size_t head = 2 + topic + (packet.qos > 0 ? 2 : 0);
  if (body.size() < head) return false;
  packet.topic = body.substr(2, topic);
  if (packet.qos > 0) packet.id = static_cast<std::uint16_t>(u16_at(body, 2 + topic));
  packet.payload = body.substr(head);
  if (version == Mqtt::v311) return true;
  const auto properties = take_varint(packet.payload);
  if (!properties || *properties > packet.payload.size()) return false;
  packet.payload.remove_prefix(*properties);
  return true;
}

bool read(std::string_view body, unsigned first, Mqtt version, MqttPacket& packet) {
  packet = {};
  packet.type = static_cast<MqttType>(first >> 4);
  switch (packet.type) {
    case MqttType::publish: return read_publish(body, first & 15U, version, packet);
    case MqttType::connack:
      if (body.size() < 2) return false;
      packet.reason = static_cast<unsigned char>(body[1]);
      return true;
    case MqttType::puback:
    case MqttType::suback:
      if (body.size() < 2) return false;
      packet.id = static_cast<std::uint16_t>(u16_at(body, 0));
      if (packet.type == MqttType::suback) packet.reason = static_cast<unsigned char>(body.back());
      if (packet.type == MqttType::puback && body.size() > 2) packet.reason = static_cast<unsigned char>(body[2]);
      return true;
    default: return true;
  }
}

}  // namespace

void mqtt_append_connect(std::string& out, Mqtt version, std::string_view client_id, std::uint16_t keep_alive_seconds) {
  std::string body;
  put_text(body, "MQTT");
  body.push_back(static_cast<char>(version));
  body.push_back(2);  // clean start
  put_u16(body, keep_alive_seconds);
  if (version == Mqtt::v5) {
    // Receive Maximum (0x21): the broker is to push all it has.
    body.append("\x03\x21\xff\xff", 4);
  }
  put_text(body, client_id);
  out.push_back(0x10);
  put_varint(out, body.size());
  out.append(body);
}

void mqtt_append_publish(std::string& out, Mqtt version, const MqttPublish& publish) {
  std::string properties;
  if (!publish.response_topic.empty()) {
    properties.push_back(k_response_topic);
    put_text(properties, publish.response_topic);
  }
  if (!publish.correlation.empty()) {
    properties.push_back(k_correlation_data);
    put_text(properties, publish.correlation);
  }
  const std::size_t more = version == Mqtt::v5 ? varint_bytes(properties.size()) + properties.size() : 0;
  out.push_back(0x32);
  put_varint(out, 2 + publish.topic.size() + 2 + more + publish.payload.size());
  put_text(out, publish.topic);
  put_u16(out, publish.id);
  if (version == Mqtt::v5) {
    put_varint(out, properties.size());
    out.append(properties);
  }
  out.append(publish.payload);
}

void mqtt_append_puback(std::string& out, std::uint16_t id) {
  out.append("\x40\x02", 2);
  put_u16(out, id);
}

void mqtt_append_subscribe(std::string& out, Mqtt version, std::uint16_t id, std::string_view filter) {
  out.push_back(static_cast<char>(0x82));
  put_varint(out, 2 + (version == Mqtt::v5 ? 1 : 0) + 2 + filter.size() + 1);
  put_u16(out, id);
  if (version == Mqtt::v5) out.push_back(0);
  put_text(out, filter);
  out.push_back(1);
}

void mqtt_append_pingreq(std::string& out) { out.append("\xc0\x00", 2); }

bool MqttDecoder::feed(std::string_view bytes, MqttSink& sink) {
  std::string held = std::exchange(partial_, std::string());
  if (!held.empty()) {
    held.append(bytes);
    bytes = held;
  }
  MqttPacket packet;
  while (bytes.size() >= 2) {
    std::string_view rest = bytes.substr(1);
    const auto length = take_varint(rest);
    if (!length && rest.size() >= 4) return false;
    if (!length || rest.size() < *length) break;
    if (!read(rest.substr(0, *length), static_cast<unsigned char>(bytes[0]), version_, packet)) return false;
    sink.on_packet(packet);
    bytes = rest.substr(*length);
  }
  if (!bytes.empty()) partial_.assign(bytes);
  return true;
}

}  // namespace fieldgate::bench
