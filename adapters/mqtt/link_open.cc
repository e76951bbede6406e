// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/link.h"

#include "adapters/mqtt/properties.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <mutex>

namespace fieldgate::mqtt {
namespace {

constexpr const char* k_system_ca_file = "/etc/ssl/certs/ca-certificates.crt";

// What a broker may send with QoS > 0 before it has our acknowledgement: one more, and it is left. We
// subscribe with QoS 1 and acknowledge at once, but the library keeps a message of QoS 2, which nobody
// has asked for, until the broker releases it.
constexpr int k_receive_max = 32;

// MQTT's own keep-alive bounds as libmosquitto takes them.
int keep_alive_seconds(const MqttLaneSettings& settings) {
  return static_cast<int>(std::clamp<std::int64_t>(settings.keep_alive.count(), 5, 65'535));
}

Result<void> readable(const char* setting, const std::string& path) {
  errno = 0;
  const std::ifstream file(path);
  if (file) return {};
  return make_error(Errc::unavailable, std::string(setting) + " " + path + " cannot be read: " + std::strerror(errno));
}

Result<std::string> read_password(const std::string& path) {
  if (auto ok = readable("password_file", path); !ok) return ok.error();
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.empty()) return make_error(Errc::unavailable, "password_file " + path + ": its first line is empty");
  return line;
}

// Without one OpenSSL would ask on the terminal for the password of a key.
int no_password(char* /*buffer*/, int /*size*/, int /*rwflag*/, void* /*data*/) { return 0; }

}  // namespace

// What libmosquitto calls: each only writes down what happened. The caller acts
// on it after the library has returned, for the library must not be called from
// within its own callbacks (a publish there goes out by itself, packet by packet).
struct LinkCallbacks {
  static Link& self(void* user) { return *static_cast<Link*>(user); }

  static void on_connect(::mosquitto*, void* user, int reason, int flags, const mosquitto_property* properties) {
    Connack connack;
    connack.reason = static_cast<std::uint8_t>(reason);
    connack.session_present = (flags & 1) != 0;
    std::uint8_t retain = 1;
    mosquitto_property_read_int16(properties, MQTT_PROP_RECEIVE_MAXIMUM, &connack.receive_max, false);
    mosquitto_property_read_int32(properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, &connack.packet_bytes_max, false);
    mosquitto_property_read_byte(properties, MQTT_PROP_RETAIN_AVAILABLE, &retain, false);
    mosquitto_property_read_byte(properties, MQTT_PROP_MAXIMUM_QOS, &connack.qos_max, false);
    connack.retain_available = retain != 0;
    self(user).connack = connack;
  }

  static void on_publish(::mosquitto*, void* user, int packet_id, int reason, const mosquitto_property*) {
    self(user).pubacks.push_back({packet_id, static_cast<std::uint8_t>(reason)});
  }

  static std::string taken(char* text) {
    std::string copy(text == nullptr ? "" : text);
    std::free(text);
    return copy;
  }

  static void read_properties(const mosquitto_property* from, Incoming& to) {
    char* text = nullptr;
    if (mosquitto_property_read_string(from, MQTT_PROP_RESPONSE_TOPIC, &text, false) != nullptr) {
      to.response_topic = taken(text);
    }
    void* bytes = nullptr;
    std::uint16_t size = 0;
    if (mosquitto_property_read_binary(from, MQTT_PROP_CORRELATION_DATA, &bytes, &size, false) != nullptr) {
      if (size > 0) to.correlation_data.assign(static_cast<const char*>(bytes), size);
      std::free(bytes);
    }
    std::uint32_t expiry = 0;
    if (mosquitto_property_read_int32(from, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &expiry, false) != nullptr) {
      to.expiry_seconds = expiry;
    }
    char* name = nullptr;
    char* value = nullptr;
    const mosquitto_property* at =
        mosquitto_property_read_string_pair(from, MQTT_PROP_USER_PROPERTY, &name, &value, false);
    while (at != nullptr) {
      std::string key = taken(name);
      to.user_properties.emplace_back(std::move(key), taken(value));
      if (to.user_properties.size() >= Incoming::k_user_properties_max) return;
      at = mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, &name, &value, true);
    }
  }

  static void on_message(::mosquitto*, void* user, const mosquitto_message* message,
                         const mosquitto_property* properties) {
    // The library takes them all the same, and keeps a topic for each of 65,535.
    std::uint16_t alias = 0;
    if (mosquitto_property_read_int16(properties, MQTT_PROP_TOPIC_ALIAS, &alias, false) != nullptr) {
      self(user).topic_alias_ = true;
    }
    const auto size = static_cast<std::size_t>(message->payloadlen);
    if (size > self(user).incoming_bytes_max_) return;
    Incoming incoming;
    incoming.topic = message->topic;
    incoming.retained = message->retain;
    read_properties(properties, incoming);
    if (size > 0) incoming.payload.assign(static_cast<const char*>(message->payload), size);
    self(user).incoming.push_back(std::move(incoming));
  }

  static void on_subscribe(::mosquitto*, void* user, int packet_id, int count, const int* reasons,
                           const mosquitto_property*) {
    std::vector<std::uint8_t> codes;
    for (int i = 0; i < count; ++i) codes.push_back(static_cast<std::uint8_t>(reasons[i]));
    self(user).subacks.push_back({packet_id, std::move(codes)});
  }

  // Also called, with one of the library's own small error numbers, when it gives
  // a connection up: only what the broker may send is kept.
  static void on_disconnect(::mosquitto*, void* user, int reason, const mosquitto_property*) {
    if (reason >= 0x80 && reason <= 0xFF) self(user).disconnect_reason_ = static_cast<std::uint8_t>(reason);
  }

  static void on_log(::mosquitto* mosq, void* user, int level, const char* text) {
    if (level != MOSQ_LOG_ERR) return;
    Link& link = self(user);
    std::string& error = link.library_error_;
    if (!error.empty()) return;  // the first is the cause
    error = text;
    if (error.find("host name verification failed") != std::string::npos) {
      error = "the broker's certificate is for another host: check the lane's host, or the certificate";
      return;
    }
    const auto* ssl = static_cast<const ::SSL*>(mosquitto_ssl_get(mosq));
    const long verified = ssl == nullptr ? X509_V_OK : SSL_get_verify_result(ssl);
    if (verified != X509_V_OK) {
      error = std::string("the broker's certificate is not accepted (") + X509_verify_cert_error_string(verified) +
              "); trusted are those signed by " + link.trust_ + ": check the lane's tls.ca_file";
    }
  }
};

Link::Link(std::string address, std::string trust, const ConnectPlan& plan)
    : address_(std::move(address)),
      trust_(std::move(trust)),
      intake_{.packet_bytes_max = plan.packet_bytes_max()},
      incoming_bytes_max_(plan.incoming_bytes_max) {}

Result<std::unique_ptr<Link>> Link::open(const ConnectPlan& plan) {
  static std::once_flag initialised;
  std::call_once(initialised, [] { mosquitto_lib_init(); });
  const MqttLaneSettings& settings = plan.settings;
  std::string trust;
  if (settings.tls.enabled) trust = settings.tls.ca_file.empty() ? k_system_ca_file : settings.tls.ca_file;
  auto link =
      std::unique_ptr<Link>(new Link(settings.host + ":" + std::to_string(settings.port), std::move(trust), plan));
  if (auto ok = link->prepare(plan); !ok) return ok.error();
  if (auto ok = link->connect(plan); !ok) return ok.error();
  return link;
}

Result<void> Link::prepare(const ConnectPlan& plan) {
  const MqttLaneSettings& settings = plan.settings;
  // Not a clean start: beginning a new session would end the old one, and with
  // it set off the Will of the connection before, in spite of its delay.
  mosq_ = mosquitto_new(settings.client_id.c_str(), false, this);
  if (mosq_ == nullptr) return make_error(Errc::internal, std::string("mosquitto_new: ") + std::strerror(errno));
  mosquitto_log_callback_set(mosq_, LinkCallbacks::on_log);
  mosquitto_connect_v5_callback_set(mosq_, LinkCallbacks::on_connect);
  mosquitto_disconnect_v5_callback_set(mosq_, LinkCallbacks::on_disconnect);
  mosquitto_publish_v5_callback_set(mosq_, LinkCallbacks::on_publish);
  mosquitto_message_v5_callback_set(mosq_, LinkCallbacks::on_message);
  mosquitto_subscribe_v5_callback_set(mosq_, LinkCallbacks::on_subscribe);

  // v5: only there does a PUBACK say why.
  mosquitto_int_option(mosq_, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
  // The window is ours to keep; the library's default of 20 would queue the rest.
  mosquitto_int_option(mosq_, MOSQ_OPT_SEND_MAXIMUM, static_cast<int>(std::clamp(settings.window_max, 1U, 65'535U)));
  mosquitto_int_option(mosq_, MOSQ_OPT_RECEIVE_MAXIMUM, k_receive_max);
  mosquitto_int_option(mosq_, MOSQ_OPT_TCP_NODELAY, 1);
  // Publishing only queues; one write() then sends the lot. Unthreaded, every
  // publish would write by itself.
  mosquitto_threaded_set(mosq_, true);

  std::string password = settings.password.value;
  if (!settings.password_file.empty()) {
    auto read = read_password(settings.password_file);
    if (!read) return read.error();
    password = *std::move(read);
  }
  if (!settings.username.empty() || !password.empty()) {
    mosquitto_username_pw_set(mosq_, settings.username.c_str(), password.empty() ? nullptr : password.c_str());
  }
  if (settings.tls.enabled) {
    if (auto ok = prepare_tls(settings.tls); !ok) return ok;
  }

  Properties properties;
  properties.add_int32(MQTT_PROP_WILL_DELAY_INTERVAL, static_cast<std::uint32_t>(settings.will_delay.count()));
  properties.add_byte(MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
  properties.add_string(MQTT_PROP_CONTENT_TYPE, "application/json");
  const int rc =
      mosquitto_will_set_v5(mosq_, plan.will_topic.c_str(), static_cast<int>(plan.will_payload.size()),
                            plan.will_payload.data(), 1, true, const_cast<mosquitto_property*>(properties.get()));
  if (rc != MOSQ_ERR_SUCCESS) return make_error(Errc::internal, std::string("will: ") + mosquitto_strerror(rc));
  properties.release();  // the library's now
  return {};
}

Result<void> Link::prepare_tls(const MqttTlsSettings& tls) {
  // A bundle named outright: with the library's own switch for the system's
  // certificates a second connect fails.
  if (auto ok = readable("tls.ca_file", trust_); !ok) return ok;
  const bool has_certificate = !tls.certificate_file.empty();
  if (has_certificate != !tls.key_file.empty()) {
    return make_error(Errc::invalid_argument, "tls.certificate_file and tls.key_file: set both or neither");
  }
  if (has_certificate) {
    if (auto ok = readable("tls.certificate_file", tls.certificate_file); !ok) return ok;
    if (auto ok = readable("tls.key_file", tls.key_file); !ok) return ok;
  }
  int rc = mosquitto_tls_set(mosq_, trust_.c_str(), nullptr, has_certificate ? tls.certificate_file.c_str() : nullptr,
                             has_certificate ? tls.key_file.c_str() : nullptr, no_password);
  // "tlsv1.2" means 1.2 and up; without it this version of the library takes 1.1.
  if (rc == MOSQ_ERR_SUCCESS) rc = mosquitto_tls_opts_set(mosq_, SSL_VERIFY_PEER, "tlsv1.2", nullptr);
  if (rc == MOSQ_ERR_SUCCESS && !tls.verify_host) rc = mosquitto_tls_insecure_set(mosq_, true);
  if (rc != MOSQ_ERR_SUCCESS)
    return make_error(Errc::unavailable, std::string("TLS set-up: ") + mosquitto_strerror(rc));
  return {};
}

Result<void> Link::connect(const ConnectPlan& plan) {
  const MqttLaneSettings& settings = plan.settings;
  Properties properties;
  // At least as long as the Will waits, or the end of the session would set it off.
  properties.add_int32(MQTT_PROP_SESSION_EXPIRY_INTERVAL, static_cast<std::uint32_t>(settings.will_delay.count()));
  properties.add_int32(MQTT_PROP_MAXIMUM_PACKET_SIZE, static_cast<std::uint32_t>(plan.packet_bytes_max()));
  // The name and not an address, for SNI and the check of the certificate. Only
  // this blocking form takes properties for CONNECT.
  errno = 0;
  const int rc = mosquitto_connect_bind_v5(mosq_, settings.host.c_str(), settings.port, keep_alive_seconds(settings),
                                           nullptr, properties.get());
  const int cause = errno;
  if (rc == MOSQ_ERR_SUCCESS) return {};
  std::string text;
  if (!library_error_.empty()) {
    text = library_failure();
  } else if (rc == MOSQ_ERR_EAI) {
    text = "host " + settings.host + " cannot be resolved: " + gai_strerror(cause);
  } else if (rc == MOSQ_ERR_ERRNO && cause == ECONNREFUSED) {
    text = "connection refused by " + address_;
  } else if (rc == MOSQ_ERR_ERRNO) {
    text = "connecting to " + address_ + ": " + std::strerror(cause);
  } else {
    text = "connecting to " + address_ + ": " + mosquitto_strerror(rc);
  }
  return make_error(Errc::unavailable, std::move(text));
}

}  // namespace fieldgate::mqtt
