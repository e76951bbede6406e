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
  // PEM, one or more: revoked device certificates. Empty: none is looked for.
  std::string crl_file;
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
  // Networks, as CIDR, of balancers that say by PROXY protocol version 2 whom they speak
  // for: their connections must begin with it, all others must not. Empty: nobody's.
  std::vector<std::string> proxy_trusted;
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
  // A connection that old is sent away to reconnect, give or take a fifth; 0: none is.
  seconds age_max{0};
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
  // Watermarks in percent. Above the high one no device is let in, until the use is at or
  // below the low one. Memory is what is resident, but for pages of files, of
  // memory_bytes_max (0: of what the cgroup allows; without such a limit, none).
  std::uint64_t memory_bytes_max = 0;
  std::uint32_t memory_high = 90;
  std::uint32_t memory_low = 80;
  std::uint32_t descriptors_high = 95;
  std::uint32_t descriptors_low = 90;
};

enum class JwtAlgorithm : std::uint8_t { rs256, es256, eddsa };

// One public key, good for one algorithm alone.
struct JwtKeySettings {
  std::string id;  // what a token's `kid` must be; empty: for tokens without one
  JwtAlgorithm algorithm = JwtAlgorithm::es256;
  std::string file;  // PEM, SubjectPublicKeyInfo or certificate
};

// Whose JSON Web Tokens (RFC 7519) are believed; without keys: nobody's.
struct JwtSettings {
  std::string jwks_file;  // RFC 7517; each key must say its algorithm, or its type must
  std::vector<JwtKeySettings> keys;
  std::string issuer;    // `iss` must be this; empty: not looked at
  std::string audience;  // `aud` must name this; required with keys
  seconds clock_skew{60};
  seconds lifetime_max{86'400};  // `exp` at most this far ahead
  bool enabled() const noexcept { return !jwks_file.empty() || !keys.empty(); }
};

struct TokenSettings {
  // Lines of "DEVICE_ID sha256:HEX"; empty: no tokens.
  std::string file;
  JwtSettings jwt;  // `sub` is the device's id
};

enum class StoreKind : std::uint8_t { none, sqlite, postgres };

// Where the registry, presence, commands, twins and timelines are kept.
struct StoreSettings {
  StoreKind kind = StoreKind::sqlite;
  std::string file;  // sqlite; empty: "fieldgate.db" in node.state_dir
  // postgres: a libpq connection string or URI, without the password.
  std::string connection;
  Secret password;
  std::string password_file;
  seconds statement_timeout{5};
  seconds lease{15};  // of a node; renewed every third of it
  std::uint64_t presence_events_max = 1'000'000;
  std::uint32_t timeline_entries = 100;  // per device
  std::uint32_t refusals = 1'000;        // in memory, before anyone was known
  seconds commands_kept{604'800};        // after their end
};

struct RegistrySettings {
  // Devices that authenticate but are not registered: taken into the registry, or refused.
  bool auto_register = false;
};

struct CommandSettings {
  seconds timeout{30};
  seconds timeout_max{86'400};
  seconds ttl{300};
  seconds ttl_max{604'800};
  std::uint32_t payload_bytes_max = 16'384;
  std::uint32_t queued_per_device_max = 100;
  std::uint32_t in_flight_per_device = 8;  // sent and not yet acknowledged
  std::uint32_t open_max = 100'000;        // not ended, over all devices
  seconds resend_after{10};                // no CommandAck on a live connection
};

struct TwinSettings {
  std::uint32_t document_bytes_max = 32'768;
};

// Records on disk, so that they outlive the process.
struct SpoolSettings {
  bool enabled = false;
  std::string dir;  // empty: "spool" in node.state_dir
  // Of live data; the file may grow to a quarter more. Above 50 % credit shrinks,
  // above 80 % it is withheld, at 100 % sessions that still send are closed.
  std::uint64_t bytes_max = 1'073'741'824;
  // A commit takes what has come within this time, or this many records.
  milliseconds commit_every{5};
  std::uint32_t commit_records = 1'000;
  // The devices' marks; a restart replays the records since the last.
  seconds checkpoint_every{30};
};

struct UplinkSettings {
  // Memory for records on their way north, in bytes. Without a spool it is all
  // there is, and its level decides the devices' credit; with one it holds what is
  // not on disk yet and what the lanes are reading.
  std::uint64_t memory_bytes_max = 268'435'456;
  SpoolSettings spool;
  // Dead letters of all lanes; beyond it the oldest goes. In memory, or on disk
  // where the spool is.
  std::uint64_t dead_letter_bytes_max = 67'108'864;
};

// Which records a lane gets; core/lane_filter.h says how it is read.
struct LaneFilterSettings {
  std::vector<std::string> kinds;    // names of RecordKind; empty: all
  std::vector<std::string> devices;  // patterns; empty: all
  std::vector<std::string> labels;   // conditions
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
  LaneFilterSettings filter;
  seconds max_age{0};  // records received longer ago expire in this lane; 0: never
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
  // Commands by request/response (MQTT 5.0 section 4.10) on
  // PREFIX/devices/+/commands/+; off: not subscribed to.
  bool commands = false;
  // Topic filters that a Response Topic must match, outside the prefix.
  std::vector<std::string> response_topics;
  bool presence_retained = true;
  // Messages between nodes on PREFIX/nodes/NODE/inbox. With StoreKind::postgres the first
  // lane that allows it carries them.
  bool inbox = true;
  std::vector<RouteSettings>
      routes;  // empty: telemetry, state, opaque and command_reply in batches, the rest per device
};

enum class WebhookPayload : std::uint8_t { json, protobuf };

struct WebhookHeader {
  std::string name;
  Secret value;
};

struct WebhookLaneSettings {
  std::string name = "webhook";
  bool required = false;
  LaneFilterSettings filter;
  seconds max_age{0};
  std::string url;  // http:// or https://
  WebhookPayload payload = WebhookPayload::json;
  // Key of the HMAC-SHA256 signature; empty: not signed.
  Secret secret;
  std::string secret_file;
  std::vector<WebhookHeader> headers;  // such as Authorization
  std::string ca_file;                 // empty: the system's CA bundle
  std::string certificate_file;        // for mutual TLS
  std::string key_file;
  // Addresses that the host name may resolve to, as CIDR, beyond public ones:
  // loopback, private and link-local ranges are refused unless listed.
  std::vector<std::string> allowed_networks;
  seconds connect_timeout{5};
  seconds request_timeout{30};
  milliseconds backoff_min{500};
  milliseconds backoff_max{60'000};
  // Requests at once, each on a connection of its own; a device keeps its place.
  std::uint32_t connections = 2;
  std::uint32_t batch_records_max = 500;
  std::uint32_t batch_bytes_max = 262'144;
  milliseconds batch_linger{100};
  // 4xx answers that speak of us or of the moment, not of the records: tried again
  // instead of dead-lettered.
  std::vector<std::string> retry_statuses{"401", "403", "407", "408", "421", "425", "429"};
};

// Server-sent events.
struct ApiStreamSettings {
  std::uint32_t subscribers_max = 1'000;
  std::uint32_t devices_max = 100;               // named by one subscription to telemetry
  std::uint32_t subscriber_bytes_max = 262'144;  // waiting for one subscriber; a slower one goes on from the history
  std::uint32_t history_events = 10'000;         // kept for those who come back
  std::uint64_t history_bytes_max = 16'777'216;
  seconds keep_alive{15};
};

struct ApiSettings {
  bool enabled = true;
  Endpoint listen{"127.0.0.1", 8080};
  std::string certificate_file;  // both set: HTTPS
  std::string key_file;
  // Lines of "NAME sha256:HEX [SCOPES]": whoever presents a token with that hash may
  // do what its scopes allow: "read" (where none is named), "command", "admin".
  std::string token_file;
  // Besides: tokens whose `scope` (RFC 8693 section 4.2) names such scopes.
  JwtSettings jwt;
  bool dashboard = true;  // the web page at /
  ApiStreamSettings stream;
  std::vector<std::string> cors_origins;
  std::uint32_t connections_max = 1'024;
  std::uint32_t connections_per_address_max = 256;  // 0: no cap
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
  // A drain: not ready at once, but serving for this long, so that balancers notice.
  seconds drain_delay{0};
  seconds drain_period{20};      // then: Goodbyes in the first half of it
  std::uint32_t drain_rate = 0;  // Goodbyes per second; 0: spread over that half
  // Reload when the configuration file, or one that it names, has changed.
  bool reload_on_change = true;
};

struct Settings {
  NodeSettings node;
  LogSettings log;
  DeviceListenerSettings devices;
  TokenSettings tokens;
  StoreSettings store;
  RegistrySettings registry;
  CommandSettings commands;
  TwinSettings twins;
  SessionSettings session;
  LimitSettings limits;
  UplinkSettings uplink;
  std::vector<MqttLaneSettings> mqtt;
  std::vector<WebhookLaneSettings> webhooks;
  ApiSettings api;
  AdminSettings admin;
};

}  // namespace fieldgate
