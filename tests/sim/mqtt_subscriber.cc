// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/mqtt_subscriber.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace fieldgate::sim {
namespace {

constexpr int k_keep_alive_seconds = 30;
constexpr std::uint32_t k_session_seconds = 3'600;
constexpr std::uint16_t k_receive_maximum = 1'000;
constexpr std::int64_t k_retry_us = k_second_us / 2;
// Messages in one poll(), so that the caller gets its turn.
constexpr int k_reads_max = 512;

struct Free {
  void operator()(char* p) const noexcept { std::free(p); }
};
using Text = std::unique_ptr<char, Free>;

// mosquitto's property lists are C and const-less.
struct Properties {
  mosquitto_property* list = nullptr;
  ~Properties() { mosquitto_property_free_all(&list); }
};

}  // namespace

Outcome<BrokerSettings> parse_broker(const std::string& url, bool& tls) {
  std::string_view rest = url;
  tls = rest.starts_with("mqtts://");
  for (const std::string_view scheme : {"mqtts://", "mqtt://"}) {
    if (rest.starts_with(scheme)) rest.remove_prefix(scheme.size());
  }
  BrokerSettings broker;
  broker.port = tls ? 8883 : 1883;
  const auto colon = rest.rfind(':');
  if (colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos) {
    const std::string_view digits = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), broker.port);
    if (error != std::errc() || end != digits.data() + digits.size() || broker.port == 0) {
      return Problem{"'" + url + "' has no valid port"};
    }
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  if (rest.empty() || rest.find('/') != std::string_view::npos) {
    return Problem{"'" + url + "' is not mqtt://HOST[:PORT]"};
  }
  broker.host = rest;
  return broker;
}

MqttSubscriber::MqttSubscriber(BrokerSettings settings) : settings_(std::move(settings)), reader_(settings_.prefix) {
  if (settings_.client_id.empty()) settings_.client_id = "fieldgate-sim-verify-" + std::to_string(::getpid());
  mosquitto_lib_init();
}

MqttSubscriber::~MqttSubscriber() {
  if (client_ != nullptr) mosquitto_destroy(client_);
  mosquitto_lib_cleanup();
}

Outcome<void> MqttSubscriber::start(std::int64_t patience_us) {
  client_ = mosquitto_new(settings_.client_id.c_str(), /*clean_start=*/false, this);
  if (client_ == nullptr) return Problem{"libmosquitto cannot be set up"};
  mosquitto_int_option(client_, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
  mosquitto_int_option(client_, MOSQ_OPT_RECEIVE_MAXIMUM, k_receive_maximum);
  // Without it, Nagle holds our acknowledgements back and the broker waits for them.
  mosquitto_int_option(client_, MOSQ_OPT_TCP_NODELAY, 1);
  if (!settings_.username.empty()) {
    mosquitto_username_pw_set(client_, settings_.username.c_str(), settings_.password.c_str());
  }
  if (!settings_.ca_file.empty()) {
    mosquitto_tls_set(client_, settings_.ca_file.c_str(), nullptr, nullptr, nullptr, nullptr);
    mosquitto_tls_opts_set(client_, 1, "tlsv1.2", nullptr);
  }
  mosquitto_connect_v5_callback_set(client_,
                                    [](mosquitto*, void* self, int reason, int flags, const mosquitto_property*) {
                                      static_cast<MqttSubscriber*>(self)->on_connected(reason, flags);
                                    });
  mosquitto_disconnect_v5_callback_set(client_, [](mosquitto*, void* self, int, const mosquitto_property*) {
    static_cast<MqttSubscriber*>(self)->connected_ = false;
  });
  mosquitto_subscribe_v5_callback_set(
      client_, [](mosquitto*, void* self, int, int count, const int* granted, const mosquitto_property*) {
        auto& subscriber = *static_cast<MqttSubscriber*>(self);
        for (int i = 0; i < count; ++i) {
          if (granted[i] >= 128) subscriber.refused_ = "the broker refuses a subscription";
        }
        if (subscriber.subscriptions_pending_ > 0) --subscriber.subscriptions_pending_;
      });
  mosquitto_message_v5_callback_set(
      client_, [](mosquitto*, void* self, const mosquitto_message* message, const mosquitto_property* properties) {
        static_cast<MqttSubscriber*>(self)->on_message(*message, properties);
      });

  Properties properties;
  mosquitto_property_add_int32(&properties.list, MQTT_PROP_SESSION_EXPIRY_INTERVAL, k_session_seconds);
  const int result = mosquitto_connect_bind_v5(client_, settings_.host.c_str(), settings_.port, k_keep_alive_seconds,
                                               nullptr, properties.list);
  if (result != MOSQ_ERR_SUCCESS) {
    return Problem{"cannot connect to the broker at " + settings_.host + ":" + std::to_string(settings_.port) + ": " +
                   (result == MOSQ_ERR_ERRNO ? std::strerror(errno) : mosquitto_strerror(result))};
  }
  const std::int64_t until = read_clocks().mono_us + patience_us;
  while (!ever_connected_ || subscriptions_pending_ > 0) {
    if (!refused_.empty()) return Problem{refused_};
    if (read_clocks().mono_us >= until) return Problem{"the broker did not acknowledge the subscriptions in time"};
    poll(50);
  }
  if (!refused_.empty()) return Problem{refused_};
  return {};
}

void MqttSubscriber::on_connected(int reason, int flags) {
  if (reason != 0) {
    refused_ = std::string("the broker refuses the connection: ") + mosquitto_reason_string(reason);
    return;
  }
  connected_ = true;
  if (ever_connected_) {
    ++reconnects_;
    if ((flags & 1) == 0) ++sessions_lost_;  // session present
  }
  ever_connected_ = true;
  for (const char* filter :
       {"/batches/+", "/devices/+/telemetry", "/devices/+/events/+", "/devices/+/state", "/devices/+/opaque/+"}) {
    ++subscriptions_pending_;
    mosquitto_subscribe_v5(client_, nullptr, (settings_.prefix + filter).c_str(), 1, 0, nullptr);
  }
}

void MqttSubscriber::on_message(const mosquitto_message& message, const mosquitto_property* properties) {
  Text values[3];
  bool skip_first = false;
  for (const mosquitto_property* at = properties; at != nullptr; skip_first = true) {
    char* name = nullptr;
    char* value = nullptr;
    at = mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, &name, &value, skip_first);
    if (at == nullptr) break;
    const Text owned_name(name);
    Text owned_value(value);
    constexpr std::string_view k_names[] = {"device", "stream", "seq"};
    for (std::size_t i = 0; i < 3; ++i) {
      if (k_names[i] == name) values[i] = std::move(owned_value);
    }
  }
  const auto view = [](const Text& text) { return text ? std::string_view(text.get()) : std::string_view(); };
  NorthMessage north;
  north.topic = message.topic;
  north.payload = {static_cast<const char*>(message.payload), static_cast<std::size_t>(message.payloadlen)};
  north.device = view(values[0]);
  north.stream = view(values[1]);
  north.seq = view(values[2]);
  north.received_wall_us = read_clocks().wall_us;
  reader_.on_message(north);
  records_.store(reader_.tally().records(), std::memory_order_relaxed);
}

bool MqttSubscriber::readable() const {
  pollfd fd{mosquitto_socket(client_), POLLIN, 0};
  return fd.fd >= 0 && ::poll(&fd, 1, 0) > 0;
}

void MqttSubscriber::poll(int wait_ms) {
  const std::int64_t now = read_clocks().mono_us;
  pollfd fd{mosquitto_socket(client_), POLLIN, 0};
  if (fd.fd < 0) {
    if (now >= retry_us_) {
      retry_us_ = now + k_retry_us;
      mosquitto_reconnect(client_);
    } else {
      ::poll(nullptr, 0, static_cast<int>(std::min<std::int64_t>(wait_ms, (retry_us_ - now) / 1000 + 1)));
    }
    return;
  }
  if (mosquitto_want_write(client_)) fd.events |= POLLOUT;
  int result = MOSQ_ERR_SUCCESS;
  if (::poll(&fd, 1, wait_ms) > 0) {
    if ((fd.revents & POLLOUT) != 0) result = mosquitto_loop_write(client_, 1);
    if ((fd.revents & ~POLLOUT) != 0) {
      for (int i = 0; i < k_reads_max && result == MOSQ_ERR_SUCCESS; ++i) {
        result = mosquitto_loop_read(client_, 1);
        if (!readable()) break;
      }
    }
  }
  if (now - misc_us_ >= k_second_us) {
    misc_us_ = now;
    mosquitto_loop_misc(client_);
  }
  if (result != MOSQ_ERR_SUCCESS) retry_us_ = now + k_retry_us;
}

void MqttSubscriber::finish() {
  if (client_ == nullptr || !connected_) return;
  Properties properties;
  mosquitto_property_add_int32(&properties.list, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 0);
  mosquitto_disconnect_v5(client_, 0, properties.list);
  for (int i = 0; i < 10 && mosquitto_socket(client_) >= 0; ++i) poll(20);
}

}  // namespace fieldgate::sim
