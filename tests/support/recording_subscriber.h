// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

struct mosquitto;

namespace fieldgate::test {

// An MQTT v5 client that writes down all it receives: QoS 1, with a session that
// outlives its connections, which it makes again by itself.
// Thread: any.
// Errors: throws, so that the test fails.
class RecordingSubscriber {
 public:
  struct Options {
    std::uint16_t port = 0;
    std::string client_id = "recorder";
    std::vector<std::string> filters = {"#"};
    std::string ca_file{};  // not empty: TLS
    std::string certificate_file{};
    std::string key_file{};
  };
  struct Message {
    std::string topic;
    std::string payload;
    bool retained = false;
    std::string content_type;
    int payload_format = 0;
    std::multimap<std::string, std::string> properties;  // user properties
  };

  // Returns once it is subscribed.
  explicit RecordingSubscriber(Options options);
  ~RecordingSubscriber();
  RecordingSubscriber(const RecordingSubscriber&) = delete;
  RecordingSubscriber& operator=(const RecordingSubscriber&) = delete;

  std::vector<Message> messages() const;
  void clear();
  // Waits until `enough` of what has come is true; false after `patience`. It is
  // called with a lock held: it must not call back.
  bool wait(const std::function<bool(const std::vector<Message>&)>& enough,
            std::chrono::milliseconds patience = std::chrono::seconds(60)) const;
  // The last message on `topic` satisfies `predicate`, now or within `patience`.
  bool wait_last(const std::string& topic, const std::function<bool(const Message&)>& predicate,
                 std::chrono::milliseconds patience = std::chrono::seconds(60)) const;

  // QoS 1; returns at once.
  void publish(const std::string& topic, const std::string& payload, bool retain);

 private:
  struct Callbacks;

  Options options_;
  ::mosquitto* mosq_ = nullptr;
  mutable Mutex mutex_;
  std::vector<Message> messages_ GUARDED_BY(mutex_);
  bool subscribed_ GUARDED_BY(mutex_) = false;
};

}  // namespace fieldgate::test
