// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// As much of MQTT as a benchmark's clients need, without a library in between: it is the servers that are measured.
namespace fieldgate::bench {

enum class Mqtt : std::uint8_t { v311 = 4, v5 = 5 };

// Each appends one packet (MQTT 5.0, section 3; where the version is 3.1.1, without properties).
void mqtt_append_connect(std::string& out, Mqtt version, std::string_view client_id, std::uint16_t keep_alive_seconds);
// QoS 1. `response_topic` and `correlation`: v5 only; empty: left out.
struct MqttPublish {
  std::string_view topic;
  std::string_view payload;
  std::uint16_t id = 0;
  std::string_view response_topic{};
  std::string_view correlation{};
};
void mqtt_append_publish(std::string& out, Mqtt version, const MqttPublish& publish);
void mqtt_append_puback(std::string& out, std::uint16_t id);
// One filter, QoS 1.
void mqtt_append_subscribe(std::string& out, Mqtt version, std::uint16_t id, std::string_view filter);
void mqtt_append_pingreq(std::string& out);

enum class MqttType : std::uint8_t { connack = 2, publish = 3, puback = 4, suback = 9, pingresp = 13, disconnect = 14 };

struct MqttPacket {
  MqttType type{};
  unsigned reason = 0;       // connack, puback (v5), suback: 0x80 and up is a refusal
  std::uint16_t id = 0;      // puback, suback, publish above QoS 0
  unsigned qos = 0;          // publish
  std::string_view topic;    // publish
  std::string_view payload;  // publish
};

class MqttSink {
 public:
  virtual ~MqttSink() = default;
  // Borrowed for the call.
  virtual void on_packet(const MqttPacket& packet) = 0;
};

// Takes a broker's byte stream apart.
// Errors: false, and nothing more is to be fed: not MQTT.
class MqttDecoder {
 public:
  explicit MqttDecoder(Mqtt version) : version_(version) {}
  bool feed(std::string_view bytes, MqttSink& sink);

 private:
  const Mqtt version_;
  std::string partial_;
};

}  // namespace fieldgate::bench
