// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/link.h"

#include "adapters/mqtt/library_fault.h"
#include "adapters/mqtt/properties.h"
#include "adapters/mqtt/reasons.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <cstring>

namespace fieldgate::mqtt {
namespace {

// Taken off the socket in one read(): what becomes of it here, until it has been dealt with, is a few
// MB at most. What a broker has sent beyond that comes with the next.
constexpr std::size_t k_bytes_at_once = 65'536;

::SSL* ssl_of(::mosquitto* mosq) noexcept { return static_cast<::SSL*>(mosquitto_ssl_get(mosq)); }

}  // namespace

bool Link::check(int rc, const char* doing) {
  if (!error_.empty()) return false;
  if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(mosq_) != -1) return true;
  if (disconnect_reason_) {
    error_ = address_ + " ended the connection: " + describe_refusal(*disconnect_reason_);
  } else if (!library_error_.empty()) {
    error_ = library_failure();
  } else if (rc == MOSQ_ERR_ERRNO) {
    error_ = std::string(doing) + " " + address_ + ": " + std::strerror(errno);
  } else if (rc == MOSQ_ERR_CONN_LOST || rc == MOSQ_ERR_SUCCESS) {
    error_ = "connection closed by " + address_;
  } else {
    error_ = std::string(doing) + " " + address_ + ": " + mosquitto_strerror(rc);
  }
  return false;
}

std::string Link::library_failure() const {
  return (trust_.empty() ? "connection to " : "TLS connection to ") + address_ + " failed: " + library_error_;
}

int Link::socket() const noexcept { return mosquitto_socket(mosq_); }

bool Link::read() {
  intake_.bytes_left = k_bytes_at_once;
  ::SSL* ssl = nullptr;
  do {
    // libmosquitto takes a stale EAGAIN for its own, stops early, and would leave
    // bytes inside TLS where no readiness event tells of them.
    errno = 0;
    int rc = MOSQ_ERR_SUCCESS;
    switch (read_packets(mosq_, intake_, rc)) {
      case Intaken::all: break;
      case Intaken::too_large:
        error_ = address_ + " sends a packet of " + std::to_string(intake_.packet_bytes) +
                 " bytes, larger than the limit we announced (" + std::to_string(intake_.packet_bytes_max) + ")";
        return false;
      case Intaken::unknown_property:
        lost_bytes_ = mqtt::lost_bytes(intake_);
        error_ = address_ + " sent a property that MQTT 5 does not know";
        return false;
    }
    if (!check(rc, "reading from")) return false;
    ssl = ssl_of(mosq_);
  } while (ssl != nullptr && SSL_pending(ssl) > 0);
  // What the library would write down of every packet from here on costs more than the rest
  // of its work, and is of no use: only how a connection failed to begin is in its log alone.
  if (connack && connack->reason < 0x80) mosquitto_log_callback_set(mosq_, nullptr);
  if (topic_alias_) error_ = address_ + " used a topic alias, though none was offered to it";
  return !topic_alias_;
}

bool Link::write() {
  errno = 0;
  return check(mosquitto_loop_write(mosq_, 1), "writing to");
}

bool Link::tick() { return check(mosquitto_loop_misc(mosq_), "keep-alive with"); }

bool Link::wants_write() const noexcept {
  if (!mosquitto_want_write(mosq_)) return false;
  // Half-way through a TLS handshake there is something to write, but what it
  // waits for is the other side's word: waiting for writability would spin.
  const ::SSL* ssl = ssl_of(mosq_);
  return ssl == nullptr || SSL_want_read(ssl) == 0;
}

Link::Published Link::publish(const Message& message) {
  Properties properties;
  const bool json = message.format == PayloadFormat::json;
  if (json) properties.add_byte(MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
  properties.add_string(MQTT_PROP_CONTENT_TYPE, json ? "application/json" : "application/x-protobuf");
  if (!message.correlation_data.empty()) properties.add_binary(MQTT_PROP_CORRELATION_DATA, message.correlation_data);
  if (message.expiry_seconds > 0) properties.add_int32(MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, message.expiry_seconds);
  for (const auto& [name, value] : message.properties) properties.add_user(name, value);
  int packet_id = 0;
  const int rc =
      mosquitto_publish_v5(mosq_, &packet_id, message.topic.c_str(), static_cast<int>(message.payload.size()),
                           message.payload.data(), 1, message.retain, properties.get());
  switch (rc) {
    case MOSQ_ERR_SUCCESS: return {Published::Outcome::sent, packet_id};
    case MOSQ_ERR_OVERSIZE_PACKET:
    case MOSQ_ERR_PAYLOAD_SIZE: return {Published::Outcome::too_large, 0};
    default: check(rc, "publishing to"); return {Published::Outcome::lost, 0};
  }
}

int Link::subscribe(const std::vector<std::string>& filters) {
  std::vector<char*> names;
  for (const std::string& filter : filters) names.push_back(const_cast<char*>(filter.c_str()));
  int packet_id = 0;
  const int rc = mosquitto_subscribe_multiple(mosq_, &packet_id, static_cast<int>(names.size()), names.data(), 1,
                                              MQTT_SUB_OPT_SEND_RETAIN_ALWAYS, nullptr);
  return check(rc, "subscribing at") ? packet_id : 0;
}

void Link::disconnect() {
  Properties properties;
  properties.add_int32(MQTT_PROP_SESSION_EXPIRY_INTERVAL, 0);
  mosquitto_disconnect_v5(mosq_, MQTT_RC_NORMAL_DISCONNECTION, properties.get());
}

Link::~Link() { mosquitto_destroy(mosq_); }

}  // namespace fieldgate::mqtt
