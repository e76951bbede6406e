// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Every knob, as plain values with its default. gateway/config binds a
// configuration file to these and knows their ranges and documentation; each
// module takes the struct that concerns it.
namespace fieldgate {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A secret: printed as *** wherever configuration is shown.
struct Secret {
  std::string value;
};

struct Endpoint {
  std::string address = "127.0.0.1";  // numeric IPv4 or IPv6
  std::uint16_t port = 0;             // 0: any free port (tests)
};

enum class ClientCertificate : std::uint8_t { required, optional };

struct DeviceTlsSettings {
  // Plain text instead of TLS: allowed on loopback addresses only.
  bool enabled = true;
  std::string certificate_file;  // PEM, leaf first, then intermediates
  std::string key_file;          // PEM, unencrypted
  std::string client_ca_file;    // PEM; who may sign device certificates
  ClientCertificate client_certificate = ClientCertificate::optional;
  // Take the CN as the device id where there is no urn:fieldgate:device: SAN.
  bool allow_common_name = false;
  bool resumption = true;
};

struct DeviceListenerSettings {
  Endpoint listen{"0.0.0.0", 8443};
  DeviceTlsSettings tls;
  // Browsers' origins that may connect as devices; empty: every request with an
  // Origin header is refused.
  std::vector<std::string> allowed_origins;
};

// How long each phase of a connection may take.
struct PhaseDeadlines {
  seconds tls{10};
  seconds upgrade{5};
  seconds hello{5};
  seconds close{3};  // from our Close to the peer's end of stream
};

struct SessionSettings {
  PhaseDeadlines deadlines;
  seconds heartbeat{30};
  seconds heartbeat_min{5};
  seconds heartbeat_max{600};
  std::uint32_t ack_every_frames = 32;
  milliseconds ack_every{50};
  std::uint32_t credit_frames = 64;
  std::uint64_t credit_bytes = 131'072;
  std::uint64_t outbox_bytes_max = 65'536;
  // The retained last values of one device, in bytes of memory.
  std::uint32_t last_values_bytes_max = 4'096;
  // Connected, but no data for this long: listed as inactive.
  seconds inactive_after{300};
};

struct LimitSettings {
  std::uint32_t frame_bytes_max = 65'536;
  seconds message_assembly{10};
  // Per session; every WebSocket frame counts, control and empty ones too.
  std::uint32_t frames_per_second = 100;
  std::uint32_t frames_burst = 400;
  std::uint64_t bytes_per_second = 262'144;
  std::uint64_t bytes_burst = 1'048'576;
  std::uint32_t metrics_per_frame = 512;
  std::uint32_t value_bytes_max = 1'024;
  std::uint32_t labels_max = 32;
  std::uint32_t sessions_max = 18'000;
  std::uint32_t sessions_per_address_max = 0;  // 0: no cap (carrier NAT)
  std::uint32_t handshakes_max = 512;          // at once
  std::uint32_t handshakes_per_second = 1'000;
  std::uint32_t takeovers_per_minute = 12;  // per device id
};

struct TokenSettings {
  // Lines of "DEVICE_ID sha256:HEX"; empty: no tokens.
  std::string file;
};

struct UplinkSettings {
  // Memory for records on their way north, in bytes. Above 50 % credit shrinks,
  // above 80 % it is withheld, at 100 % sessions that still send are closed.
  std::uint64_t memory_bytes_max = 268'435'456;
};

enum class RoutePayload : std::uint8_t { protobuf, json, batch };

// Which records of a lane go where. The first route that names a record's kind
// takes it; a kind that no route names is filtered out.
struct RouteSettings {
  std::vector<std::string> kinds;  // names of RecordKind
  RoutePayload payload = RoutePayload::batch;
};

struct MqttTlsSettings {
  bool enabled = false;
  std::string ca_file;  // empty: the system's CA bundle
  std::string certificate_file;
  std::string key_file;
  bool verify_host = true;
};

struct MqttLaneSettings {
  std::string name = "main";
  bool required = true;
  std::string host = "127.0.0.1";
  std::uint16_t port = 1883;
  std::string client_id;  // empty: fieldgate-NODE-NAME
  std::string username;
  Secret password;
  std::string password_file;
  MqttTlsSettings tls;
  std::string topic_prefix = "fieldgate/v1";
  seconds keep_alive{30};
  seconds connect_timeout{10};
  milliseconds backoff_min{500};
  milliseconds backoff_max{30'000};
  std::uint32_t window_max = 100;  // QoS 1 messages in flight
  std::uint32_t batch_bytes_max = 32'768;
  std::uint32_t batch_records_max = 500;
  milliseconds batch_linger{5};
  std::uint32_t partitions = 16;
  seconds will_delay{30};
  bool presence_retained = true;
  std::vector<RouteSettings>
      routes;  // empty: telemetry, state, opaque and command_reply in batches, the rest per device
};

struct ApiSettings {
  bool enabled = true;
  Endpoint listen{"127.0.0.1", 8080};
  std::string certificate_file;  // both set: HTTPS
  std::string key_file;
  // Lines of "NAME sha256:HEX": whoever presents a token with that hash may read.
  std::string token_file;
  std::vector<std::string> cors_origins;
  std::uint32_t connections_max = 1'024;
  std::uint32_t header_bytes_max = 16'384;
  std::uint32_t body_bytes_max = 65'536;
  seconds request_timeout{10};
  seconds idle_timeout{60};
};

struct AdminSettings {
  Endpoint listen{"127.0.0.1", 9090};
};

enum class LogFormat : std::uint8_t { logfmt, json };
enum class LogLevel : std::uint8_t { debug, info, warn, error };

struct LogSettings {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::logfmt;
  // Lines per second of one event name; what is over is counted and summed up.
  std::uint32_t per_event_per_second = 20;
};

struct NodeSettings {
  std::string name;  // empty: the host name
  std::string state_dir = "/var/lib/fieldgate";
  std::uint32_t shards = 0;  // 0: one per core
  seconds drain_period{20};
};

struct Settings {
  NodeSettings node;
  LogSettings log;
  DeviceListenerSettings devices;
  TokenSettings tokens;
  SessionSettings session;
  LimitSettings limits;
  UplinkSettings uplink;
  std::vector<MqttLaneSettings> mqtt;
  ApiSettings api;
  AdminSettings admin;
};

}  // namespace fieldgate
