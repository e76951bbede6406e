// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/link.h"

#include "adapters/mqtt/library_fault.h"
#include "adapters/mqtt/properties.h"
#include "adapters/mqtt/reasons.h"

#include <linux/tcp.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace fieldgate::mqtt {
namespace {

// We announce what we take, but libmosquitto does not hold a broker to
// it: it would allocate whatever length a packet claims to have. So a broker that
// sends this much without completing one packet is left.
constexpr std::size_t k_packet_bytes_bearable = 1 << 20;

// All that came over it; 0: that is not known.
std::uint64_t received_bytes(int socket) noexcept {
  ::tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

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
  progress_ = false;
  ::SSL* ssl = nullptr;
  do {
    // libmosquitto takes a stale EAGAIN for its own, stops early, and would leave
    // bytes inside TLS where no readiness event tells of them.
    errno = 0;
    int rc = MOSQ_ERR_SUCCESS;
    if (!read_packets(mosq_, rc)) {
      error_ = address_ + " sent a property that MQTT 5 does not know";
      return false;
    }
    if (!check(rc, "reading from")) return false;
    ssl = ssl_of(mosq_);
  } while (ssl != nullptr && SSL_pending(ssl) > 0);
  // What the library would write down of every packet from here on costs more than the rest
  // of its work, and is of no use: only how a connection failed to begin is in its log alone.
  if (connack && connack->reason < 0x80) mosquitto_log_callback_set(mosq_, nullptr);
  const std::uint64_t received = received_bytes(socket());
  if (progress_) answered_bytes_ = received;
  if (received > answered_bytes_ + k_packet_bytes_bearable) {
    error_ = address_ + " sends a packet larger than the limit we announced";
    return false;
  }
  return true;
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
