// SPDX-License-Identifier: Apache-2.0
#include "tests/support/recording_subscriber.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace fieldgate::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

void must(int rc, const char* what) {
  if (rc != MOSQ_ERR_SUCCESS) throw std::runtime_error(std::string(what) + ": " + mosquitto_strerror(rc));
}

std::string take(char* text) {
  std::string result = text == nullptr ? "" : text;
  std::free(text);
  return result;
}

}  // namespace

struct RecordingSubscriber::Callbacks {
  static void on_connect(::mosquitto* mosq, void* user, int reason, int, const mosquitto_property*) {
    if (reason != 0) return;
    const auto& self = *static_cast<RecordingSubscriber*>(user);
    std::vector<char*> names;
    for (const auto& filter : self.options_.filters) names.push_back(const_cast<char*>(filter.c_str()));
    mosquitto_subscribe_multiple(mosq, nullptr, static_cast<int>(names.size()), names.data(), 1, 0, nullptr);
  }

  static void on_subscribe(::mosquitto*, void* user, int, int, const int*, const mosquitto_property*) {
    auto& self = *static_cast<RecordingSubscriber*>(user);
    const MutexLock lock(self.mutex_);
    self.subscribed_ = true;
  }

  static void on_message(::mosquitto*, void* user, const mosquitto_message* message,
                         const mosquitto_property* properties) {
    Message recorded;
    recorded.topic = message->topic;
    recorded.payload.assign(static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen));
    recorded.retained = message->retain;
    char* name = nullptr;
    char* value = nullptr;
    if (mosquitto_property_read_string(properties, MQTT_PROP_CONTENT_TYPE, &value, false) != nullptr) {
      recorded.content_type = take(value);
    }
    std::uint8_t format = 0;
    mosquitto_property_read_byte(properties, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, &format, false);
    recorded.payload_format = format;
    const auto* at = mosquitto_property_read_string_pair(properties, MQTT_PROP_USER_PROPERTY, &name, &value, false);
    while (at != nullptr) {
      std::string key = take(name);
      recorded.properties.emplace(std::move(key), take(value));
      at = mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, &name, &value, true);
    }
    auto& self = *static_cast<RecordingSubscriber*>(user);
    const MutexLock lock(self.mutex_);
    self.messages_.push_back(std::move(recorded));
  }
};

RecordingSubscriber::RecordingSubscriber(Options options) : options_(std::move(options)) {
  mosquitto_lib_init();
  mosq_ = mosquitto_new(options_.client_id.c_str(), false, this);
  if (mosq_ == nullptr) throw std::runtime_error("mosquitto_new failed");
  mosquitto_int_option(mosq_, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
  mosquitto_connect_v5_callback_set(mosq_, Callbacks::on_connect);
  mosquitto_subscribe_v5_callback_set(mosq_, Callbacks::on_subscribe);
  mosquitto_message_v5_callback_set(mosq_, Callbacks::on_message);
  mosquitto_reconnect_delay_set(mosq_, 1, 1, false);
  if (!options_.ca_file.empty()) {
    const auto or_null = [](const std::string& file) { return file.empty() ? nullptr : file.c_str(); };
    must(mosquitto_tls_set(mosq_, options_.ca_file.c_str(), nullptr, or_null(options_.certificate_file),
                           or_null(options_.key_file), nullptr),
         "tls");
  }
  mosquitto_property* properties = nullptr;
  mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3'600);
  const int rc = mosquitto_connect_bind_v5(mosq_, "127.0.0.1", options_.port, 60, nullptr, properties);
  mosquitto_property_free_all(&properties);
  must(rc, "connect");
  must(mosquitto_loop_start(mosq_), "loop_start");
  const auto deadline = steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (subscribed_) return;
    }
    if (steady_clock::now() > deadline) throw std::runtime_error("not subscribed");
    std::this_thread::sleep_for(milliseconds(2));
  }
}

RecordingSubscriber::~RecordingSubscriber() {
  mosquitto_disconnect_v5(mosq_, 0, nullptr);
  mosquitto_loop_stop(mosq_, false);
  mosquitto_destroy(mosq_);
}

std::vector<RecordingSubscriber::Message> RecordingSubscriber::messages() const {
  const MutexLock lock(mutex_);
  return messages_;
}

void RecordingSubscriber::clear() {
  const MutexLock lock(mutex_);
  messages_.clear();
}

bool RecordingSubscriber::wait(const std::function<bool(const std::vector<Message>&)>& enough,
                               milliseconds patience) const {
  const auto deadline = steady_clock::now() + patience;
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (enough(messages_)) return true;
    }
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(10));
  }
}

bool RecordingSubscriber::wait_last(const std::string& topic, const std::function<bool(const Message&)>& predicate,
                                    milliseconds patience) const {
  return wait(
      [&](const std::vector<Message>& all) {
        for (auto it = all.rbegin(); it != all.rend(); ++it) {
          if (it->topic == topic) return predicate(*it);
        }
        return false;
      },
      patience);
}

void RecordingSubscriber::publish(const std::string& topic, const std::string& payload, bool retain) {
  must(mosquitto_publish_v5(mosq_, nullptr, topic.c_str(), static_cast<int>(payload.size()), payload.data(), 1, retain,
                            nullptr),
       "publish");
}

}  // namespace fieldgate::test
