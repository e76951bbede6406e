// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/library_fault.h"
#include "adapters/mqtt/message.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

struct mosquitto;

namespace fieldgate::mqtt {

// All that is needed to open a connection.
struct ConnectPlan {
  MqttLaneSettings settings;  // client_id is set
  std::string will_topic;
  std::string will_payload;
  // Larger messages are not kept, nor does the broker send them.
  std::size_t incoming_bytes_max = 4'096;
  // Announced as our Maximum Packet Size: a broker that sends a larger packet is left.
  std::size_t packet_bytes_max() const noexcept { return incoming_bytes_max + 1'024; }
};

struct Connack {
  std::uint8_t reason = 0;
  bool session_present = false;
  std::uint16_t receive_max = 65'535;
  std::uint32_t packet_bytes_max = 268'435'460;  // the protocol's own limit
  bool retain_available = true;
  std::uint8_t qos_max = 2;
};

struct Incoming {
  std::string topic;
  std::string payload;
  bool retained = false;  // sent because we subscribed
  // Of requests; at most k_user_properties_max of the last.
  static constexpr std::size_t k_user_properties_max = 16;
  std::string response_topic{};
  std::string correlation_data{};
  std::optional<std::uint32_t> expiry_seconds{};
  std::vector<std::pair<std::string, std::string>> user_properties{};
};

// One libmosquitto object for the life of one connection, and what its callbacks
// have collected. A new connection gets a new object: so libmosquitto never holds
// a message of ours over a reconnect (where it would send it again by itself,
// and what is published while offline would pile up in it without bound), and a
// Receive Maximum, which it never takes back, cannot stick.
//
// Thread: one at a time; it may be handed over between two calls.
// Bounds: messages up to ConnectPlan::incoming_bytes_max; larger ones are not kept, and packets
// larger than was announced are not read. 64 KiB with one read().
class Link {
 public:
  // Resolves the name, connects, and prepares CONNECT. Blocks, without bound in
  // principle (name resolution, SYN retries). Errors: a detail that names the
  // file or address at fault and what to do.
  static Result<std::unique_ptr<Link>> open(const ConnectPlan& plan);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // -1: closed.
  int socket() const noexcept;

  // Both run callbacks. What read() leaves makes the socket readable again. False: the connection is over; error() says
  // why.
  bool read();
  bool write();
  // Keep-alive: call it about every second.
  bool tick();
  // Something waits to be written, and writing is what it waits for.
  bool wants_write() const noexcept;

  // Hand over a message or a subscription; write() sends it.
  struct Published {
    enum class Outcome : std::uint8_t {
      sent,
      too_large,  // for this broker: not sent
      lost,       // the connection is over; error() says why
    } outcome = Outcome::lost;
    int packet_id = 0;
  };
  Published publish(const Message& message);
  // The packet id that its SUBACK will carry; 0: the connection is over.
  int subscribe(const std::vector<std::string>& filters);
  // Ends the session in good order: no Will, nothing kept by the broker.
  void disconnect();

  // Filled by the calls above, to be emptied by the caller.
  struct Puback {
    int packet_id;
    std::uint8_t reason;
  };
  struct Suback {
    int packet_id;
    std::vector<std::uint8_t> reasons;  // in order of the filters
  };
  std::optional<Connack> connack;
  std::vector<Puback> pubacks;
  std::vector<Incoming> incoming;
  std::vector<Suback> subacks;

  const std::string& error() const noexcept { return error_; }
  // At most: what ended the connection has cost for as long as the process lives. Mostly 0.
  std::uint64_t lost_bytes() const noexcept { return lost_bytes_; }

 private:
  friend struct LinkCallbacks;
  Link(std::string address, std::string trust, const ConnectPlan& plan);
  Result<void> prepare(const ConnectPlan& plan);
  Result<void> prepare_tls(const MqttTlsSettings& tls);
  Result<void> connect(const ConnectPlan& plan);
  bool check(int rc, const char* doing);
  std::string library_failure() const;

  ::mosquitto* mosq_ = nullptr;
  std::string address_;  // "host:port"
  std::string trust_;    // the CA file; empty without TLS
  std::string error_;
  std::string library_error_;  // the library's last complaint
  std::optional<std::uint8_t> disconnect_reason_;
  bool topic_alias_ = false;  // there was one
  Intake intake_;
  std::uint64_t lost_bytes_ = 0;
  std::size_t incoming_bytes_max_;
};

}  // namespace fieldgate::mqtt
