// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/declaration.h"

#include "gateway/config/declaration_parts.h"
#include "gateway/config/text_checks.h"
#include "gateway/core/record.h"

namespace fieldgate::config {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr std::uint64_t k_kib = 1'024;
constexpr std::uint64_t k_mib = 1'024 * k_kib;
constexpr std::uint64_t k_gib = 1'024 * k_mib;

constexpr std::size_t k_mqtt_lanes_max = 16;
constexpr std::size_t k_webhooks_max = 15;
static_assert(k_mqtt_lanes_max + k_webhooks_max <= k_lanes_max, "each lane has a slot of its own in LaneSet");

std::vector<std::string> record_kind_names() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < k_record_kinds; ++i) names.emplace_back(to_string(static_cast<RecordKind>(i)));
  return names;
}

void describe(Visitor& v, NodeSettings& s) {
  v.value({"name",
           "Name of this node in topics, lists and logs, unique among the nodes of one topic prefix. Empty: the host "
           "name."},
          Text(s.name, k_name_bytes_max, must_be_empty_or_name));
  v.value({"state_dir", "Folder for what must survive a restart, such as the boot generation. It must be writable."},
          Text(s.state_dir, 4'096, must_be_absolute_path));
  v.value({"shards", "Threads that carry device connections. 0: one per core."}, Number(s.shards, 0, 256));
  v.value({"drain_delay",
           "At shutdown, how long devices are still let in and served while /readyz says no already, so that load "
           "balancers look elsewhere first."},
          Duration(s.drain_delay, seconds(0), hours(1)));
  v.value({"drain_period",
           "Then: the Goodbyes to the devices are spread over the first half of this time, the rest is for closing and "
           "for what they sent. Keep drain_delay and drain_period together well below the supervisor's grace period."},
          Duration(s.drain_period, seconds(0), hours(1)));
  v.value(
      {"drain_rate",
       "Goodbyes per second, what the other nodes can admit; but no slower than that half of drain_period asks for. "
       "0: spread evenly over it."},
      Number(s.drain_rate, 0, 1'000'000));
  v.value({"reload_on_change",
           "Reload, as on SIGHUP, when the configuration file or a file that it names has changed or been replaced, as "
           "Kubernetes does with mounted Secrets and ConfigMaps."},
          Flag(s.reload_on_change));
}

void describe(Visitor& v, LogSettings& s) {
  v.value({"level", "The least severe lines that are written.", Reload::value},
          Choice(s.level, {{"debug", LogLevel::debug},
                           {"info", LogLevel::info},
                           {"warn", LogLevel::warn},
                           {"error", LogLevel::error}}));
  v.value({"format", "logfmt reads well in a terminal; json is for collectors."},
          Choice(s.format, {{"logfmt", LogFormat::logfmt}, {"json", LogFormat::json}}));
  v.value({"per_event_per_second",
           "Lines per second of one event name. What is over is counted and summed up in one line."},
          Number(s.per_event_per_second, 1, 100'000));
}

void describe(Visitor& v, DeviceTlsSettings& s) {
  v.value({"enabled", "TLS on the device listener. Without it the listener must be on a loopback address."},
          Flag(s.enabled));
  v.value(
      {"certificate_file", "The gateway's certificate, PEM, leaf first and intermediates after it. Required with TLS.",
       Reload::content},
      File(s.certificate_file));
  v.value({"key_file", "The certificate's private key, PEM, not encrypted. Required with TLS.", Reload::content},
          File(s.key_file));
  v.value(
      {"client_ca_file", "Certificate authorities that may sign device certificates, PEM. Empty: devices show tokens.",
       Reload::content},
      File(s.client_ca_file));
  v.value(
      {"crl_file", "Revoked device certificates, PEM, one list or more. Empty: none is looked for.", Reload::content},
      File(s.crl_file));
  v.value({"client_certificate",
           "required: the TLS handshake fails without a trusted device certificate. optional: a device may show a "
           "token instead."},
          Choice(s.client_certificate,
                 {{"optional", ClientCertificate::optional}, {"required", ClientCertificate::required}}));
  v.value({"allow_common_name",
           "Take the certificate's CN as the device id where it has no SAN URI urn:fieldgate:device:ID."},
          Flag(s.allow_common_name));
  v.value({"resumption", "Hand out session tickets, so that a returning device saves part of the handshake."},
          Flag(s.resumption));
}

void describe(Visitor& v, DeviceListenerSettings& s) {
  v.value({"listen", "Where devices connect."}, EndpointValue(s.listen));
  v.texts({"allowed_origins",
           "Origins whose browsers may connect as devices. Empty: a request with an Origin header is refused.",
           Reload::value},
          TextList(s.allowed_origins, 64, must_be_origin));
  v.texts({"proxy_trusted",
           "Networks such as 10.0.0.0/8 of load balancers that speak PROXY protocol version 2: a connection from there "
           "must begin with it, and its address counts; from anywhere else it must not. Empty: nobody may.",
           Reload::value},
          TextList(s.proxy_trusted, 64, must_be_network));
  v.enter({"tls", "TLS towards devices."});
  describe(v, s.tls);
  v.leave();
}

void describe(Visitor& v, TokenSettings& s) {
  v.value({"file",
           "Device tokens, one line `DEVICE_ID sha256:HEX` each, HEX being the token's SHA-256. Empty: devices show "
           "certificates.",
           Reload::content},
          File(s.file));
  v.enter({"jwt", "JSON Web Tokens whose subject is the device's id."});
  describe(v, s.jwt);
  v.leave();
}

void describe(Visitor& v, PhaseDeadlines& s) {
  v.value({"tls", "From the TCP connection to the end of the TLS handshake.", Reload::value},
          Duration(s.tls, seconds(1), minutes(5)));
  v.value({"upgrade", "From there to the complete WebSocket request.", Reload::value},
          Duration(s.upgrade, seconds(1), minutes(5)));
  v.value({"hello", "From there to the device's Hello.", Reload::value}, Duration(s.hello, seconds(1), minutes(5)));
  v.value({"close", "From the gateway's Close to the end of the device's stream.", Reload::value},
          Duration(s.close, seconds(1), minutes(5)));
}

void describe(Visitor& v, SessionSettings& s) {
  v.value({"heartbeat",
           "Ping interval of a device that does not ask for one. A device is lost after 1.5 intervals of silence.",
           Reload::value},
          Duration(s.heartbeat, seconds(1), hours(24)));
  v.value({"heartbeat_min", "The shortest interval that a device may ask for.", Reload::value},
          Duration(s.heartbeat_min, seconds(1), hours(24)));
  v.value({"heartbeat_max", "The longest interval that a device may ask for.", Reload::value},
          Duration(s.heartbeat_max, seconds(1), hours(24)));
  v.value({"ack_every_frames", "Acknowledge after this many frames at the latest.", Reload::value},
          Number(s.ack_every_frames, 1, 10'000));
  v.value({"ack_every", "Acknowledge after this time at the latest.", Reload::value},
          Duration(s.ack_every, milliseconds(1), seconds(60)));
  v.value({"credit_frames", "Frames that a device may have unacknowledged.", Reload::value},
          Number(s.credit_frames, 1, 65'536));
  v.value(
      {"credit_bytes", "Bytes that a device may have unacknowledged. At least limits.frame_bytes_max.", Reload::value},
      Size(s.credit_bytes, 1 * k_kib, 1 * k_gib));
  v.value({"outbox_bytes_max", "Bytes waiting for a slow device; one more and it is disconnected.", Reload::value},
          Size(s.outbox_bytes_max, 1 * k_kib, 64 * k_mib));
  v.value({"last_values_bytes_max", "Memory for the last values of one device's metrics. 0: keep none.", Reload::value},
          Size(s.last_values_bytes_max, 0, 1 * k_mib));
  v.value(
      {"age_max",
       "A connection that old is sent away with a Goodbye, to connect anew at once: so new nodes get their share of "
       "the fleet. Up to a fifth sooner or later, so that not all go at once. 0s: never."},
      Duration(s.age_max, seconds(0), hours(24 * 14)));
  v.value({"inactive_after", "A connected device without data for this long is listed as inactive."},
          Duration(s.inactive_after, seconds(1), hours(24 * 30)));
  v.enter({"deadlines", "How long each phase of a connection may take."});
  describe(v, s.deadlines);
  v.leave();
}

void describe(Visitor& v, LimitSettings& s) {
  v.value({"frame_bytes_max", "The largest message of a device."}, Size(s.frame_bytes_max, 1 * k_kib, 16 * k_mib));
  v.value({"message_assembly", "From the first fragment of a message to its last.", Reload::value},
          Duration(s.message_assembly, seconds(1), minutes(5)));
  v.value(
      {"frames_per_second", "WebSocket frames per second of one session, empty and control frames too.", Reload::value},
      Number(s.frames_per_second, 1, 1'000'000));
  v.value({"frames_burst", "Frames that a session may save up for a burst.", Reload::value},
          Number(s.frames_burst, 1, 10'000'000));
  v.value({"bytes_per_second", "Bytes per second of one session.", Reload::value},
          Size(s.bytes_per_second, 1 * k_kib, 1 * k_gib));
  v.value({"bytes_burst", "Bytes that a session may save up for a burst. At least frame_bytes_max.", Reload::value},
          Size(s.bytes_burst, 1 * k_kib, 4 * k_gib));
  v.value({"metrics_per_frame", "Metrics in one telemetry frame."}, Number(s.metrics_per_frame, 1, 65'536));
  v.value({"value_bytes_max", "Bytes of one text or binary metric value."}, Size(s.value_bytes_max, 1, 1 * k_mib));
  v.value({"labels_max", "Labels of one device."}, Number(s.labels_max, 0, 256));
  v.value({"sessions_max", "Device connections in all. Each needs a file descriptor.", Reload::value},
          Number(s.sessions_max, 1, 1'000'000));
  v.value({"sessions_per_address_max",
           "Device connections from one address. 0: no cap, for many devices may share a carrier's address.",
           Reload::value},
          Number(s.sessions_per_address_max, 0, 1'000'000));
  v.value({"handshakes_max", "Handshakes at once.", Reload::value}, Number(s.handshakes_max, 1, 100'000));
  v.value({"handshakes_per_second", "New connections per second; what is over is reset and comes back later.",
           Reload::value},
          Number(s.handshakes_per_second, 1, 100'000));
  v.value(
      {"takeovers_per_minute",
       "How often one device id may move to a newer connection. From being gone it may come back four times as often."},
      Number(s.takeovers_per_minute, 1, 10'000));
  v.value({"memory_bytes_max",
           "Memory of this process that the two watermarks below are a share of. 0: what its control group may use; "
           "where that has no limit, memory is not watched.",
           Reload::value},
          Size(s.memory_bytes_max, 0, 1'024 * k_gib));
  v.value(
      {"memory_high",
       "Percent of that memory in use, above which no device is let in. 100: never. In use is what is resident, but "
       "for pages of files, which the kernel takes away again when it wants memory.",
       Reload::value},
      Number(s.memory_high, 10, 100));
  v.value({"memory_low", "Percent of that memory in use, at which devices are let in again.", Reload::value},
          Number(s.memory_low, 1, 100));
  v.value({"descriptors_high",
           "Percent of the file descriptors in use (`ulimit -n`), above which no device is let in. 100: when there is "
           "none left.",
           Reload::value},
          Number(s.descriptors_high, 10, 100));
  v.value(
      {"descriptors_low", "Percent of the file descriptors in use, at which devices are let in again.", Reload::value},
      Number(s.descriptors_low, 1, 100));
}

void describe(Visitor& v, SpoolSettings& s) {
  v.value({"enabled", "Keep records on disk until every lane is done with them. Off: in memory only."},
          Flag(s.enabled));
  v.value({"dir", "Folder of the spool, for this process alone. Empty: `spool` in node.state_dir."},
          Text(s.dir, 4'096, must_be_empty_or_absolute_path));
  v.value({"bytes_max",
           "Disk for records. Above 50 % credit shrinks, above 80 % it is withheld, at 100 % sessions that still send "
           "are closed. The file may become a quarter larger, and does not shrink."},
          Size(s.bytes_max, 4 * k_mib, 16'384 * k_gib));
  v.value({"commit_every", "How long a record may wait for others before it is written and fsynced with them."},
          Duration(s.commit_every, milliseconds(1), seconds(1)));
  v.value({"commit_records", "As many records do not wait any longer."}, Number(s.commit_records, 1, 1'000'000));
  v.value({"checkpoint_every",
           "How often it is written how far every device has come. A start reads the records since the last time."},
          Duration(s.checkpoint_every, seconds(1), hours(1)));
}

void describe(Visitor& v, UplinkSettings& s) {
  v.value({"memory_bytes_max",
           "Memory for records on their way north. Without a spool: above 50 % credit shrinks, above 80 % it is "
           "withheld, at 100 % sessions that still send are closed. With one: for what is not on disk yet, and for "
           "what the lanes are reading."},
          Size(s.memory_bytes_max, 1 * k_mib, 1'024 * k_gib));
  v.value({"dead_letter_bytes_max",
           "Room for the dead letters of all lanes: on disk with the spool, else in memory. Beyond it the oldest are "
           "lost, and counted."},
          Size(s.dead_letter_bytes_max, 64 * k_kib, 1'024 * k_gib));
  v.enter({"spool", "Records on disk, so that nothing acknowledged is lost with the process."});
  describe(v, s.spool);
  v.leave();
}

void describe_max_age(Visitor& v, seconds& s) {
  v.value({"max_age", "Records that were received longer ago than this expire in this lane. 0s: never."},
          Duration(s, seconds(0), hours(24 * 365)));
}

void describe_filter(Visitor& v, LaneFilterSettings& s) {
  v.enter({"filter", "Which records this lane takes. Conditions of several sorts must all hold."});
  v.texts({"kinds", "Kinds of record. Empty: all."}, TextList(s.kinds, k_record_kinds, record_kind_names()));
  v.texts({"devices", "Device ids, any of which may fit; * stands for any characters, ? for one. Empty: all."},
          TextList(s.devices, 256, must_be_device_pattern));
  v.texts({"labels",
           "Conditions on the device's labels, all of which must hold: KEY=VALUE, KEY!=VALUE, KEY (has it), !KEY (has "
           "it not). Empty: any device."},
          TextList(s.labels, 32, must_be_label_selector));
  v.leave();
}

void describe(Visitor& v, RouteSettings& s) {
  v.texts({"kinds", "The kinds of record that this route takes. A kind may be named once in a lane."},
          TextList(s.kinds, k_record_kinds, record_kind_names()));
  v.value({"payload",
           "protobuf: one message per frame, on the device's topic, as it arrived. json: the same as JSON. batch: many "
           "records in one message, by partition."},
          Choice(s.payload,
                 {{"protobuf", RoutePayload::protobuf}, {"json", RoutePayload::json}, {"batch", RoutePayload::batch}}));
}

void describe(Visitor& v, MqttTlsSettings& s) {
  v.value({"enabled", "TLS to the broker."}, Flag(s.enabled));
  v.value({"ca_file",
           "Certificate authorities that the broker's certificate is checked against, PEM. Empty: the system's."},
          File(s.ca_file));
  v.value({"certificate_file", "This node's client certificate, PEM. Empty: none."}, File(s.certificate_file));
  v.value({"key_file", "Its private key, PEM, not encrypted."}, File(s.key_file));
  v.value({"verify_host", "Whether the broker's certificate must be for `host`."}, Flag(s.verify_host));
}

void describe_broker(Visitor& v, MqttLaneSettings& s) {
  v.value({"name", "Name of the lane in lists, logs and metrics."}, Text(s.name, k_name_bytes_max, must_be_name));
  v.value({"required", "Whether FORWARDED waits for this lane."}, Flag(s.required));
  describe_max_age(v, s.max_age);
  v.value({"host", "The broker's name or address."}, Text(s.host, 253, must_be_host));
  v.value({"port", "The broker's port."}, Number(s.port, 1));
  v.value({"client_id", "MQTT client id, unique at the broker. Empty: fieldgate-NODE-NAME."}, Text(s.client_id, 128));
  v.value({"username", "Empty: none."}, Text(s.username));
  v.value({"password", "Better written as ${VARIABLE}, or in password_file."}, SecretText(s.password));
  v.value({"password_file", "A file whose first line is the password, read again at each connect."},
          File(s.password_file));
}

void describe_lane(Visitor& v, MqttLaneSettings& s) {
  describe_broker(v, s);
  v.value({"topic_prefix", "What every topic of this gateway begins with."},
          Text(s.topic_prefix, 128, must_be_topic_prefix));
  v.value({"keep_alive", "MQTT keep-alive interval."}, Duration(s.keep_alive, seconds(5), hours(1)));
  v.value({"connect_timeout", "From the start of a connect to the broker's CONNACK."},
          Duration(s.connect_timeout, seconds(1), minutes(5)));
  v.value({"backoff_min", "The shortest pause before a new connect."},
          Duration(s.backoff_min, milliseconds(10), hours(1)));
  v.value({"backoff_max", "The longest pause before a new connect."},
          Duration(s.backoff_max, milliseconds(10), hours(1)));
  v.value({"window_max", "QoS 1 messages in flight."}, Number(s.window_max, 1, 200));
  v.value({"batch_bytes_max", "The largest batch."}, Size(s.batch_bytes_max, 1 * k_kib, 16 * k_mib));
  v.value({"batch_records_max", "Records in one batch."}, Number(s.batch_records_max, 1, 100'000));
  v.value({"batch_linger", "How long a batch may wait for more records."},
          Duration(s.batch_linger, milliseconds(0), seconds(10)));
  v.value(
      {"partitions", "Topics that batches are spread over. A device keeps its partition as long as this number stays."},
      Number(s.partitions, 1, 1'024));
  v.value({"will_delay", "How long the broker waits before it announces this node's loss."},
          Duration(s.will_delay, seconds(0), hours(1)));
  v.value({"presence_retained", "Keep each device's presence as a retained message."}, Flag(s.presence_retained));
  v.value({"inbox",
           "With a PostgreSQL store: messages between the nodes may go over this broker. The first lane that allows it "
           "carries them."},
          Flag(s.inbox));
  v.value({"commands", "Take commands from this broker, as MQTT 5 requests to PREFIX/devices/DEVICE/commands/NAME."},
          Flag(s.commands));
  v.texts({"response_topics",
           "Topic filters, one of which a request's Response Topic must match; outside the prefix. Empty: none is "
           "allowed."},
          TextList(s.response_topics, 64, must_be_topic_filter));
  describe_filter(v, s.filter);
  v.enter({"tls", "TLS towards the broker. The files are read again at each connect."});
  describe(v, s.tls);
  v.leave();
  v.list({"routes",
          "Which records go where; a kind that no route names is left out. Empty: telemetry, state, opaque and "
          "command_reply in batches, events as protobuf and presence as JSON per device."},
         ListOf<RouteSettings>(s.routes, k_record_kinds, describe));
}

void describe(Visitor& v, WebhookHeader& s) {
  v.value({"name", "Its name, such as Authorization."}, Text(s.name, 128, must_be_header_name));
  v.value({"value", "Its value. Better written as ${VARIABLE}."}, SecretText(s.value));
}

void describe_target(Visitor& v, WebhookLaneSettings& s) {
  v.value({"name", "Name of the lane in lists, logs and metrics."}, Text(s.name, k_name_bytes_max, must_be_name));
  v.value({"required", "Whether FORWARDED waits for this lane."}, Flag(s.required));
  describe_max_age(v, s.max_age);
  v.value({"url", "Where batches of records are POSTed: http:// or https://, without user name or fragment."},
          Text(s.url, 2'048, must_be_webhook_url));
  v.value({"payload", "json: readable. protobuf: a RecordBatch with the frames as they arrived."},
          Choice(s.payload, {{"json", WebhookPayload::json}, {"protobuf", WebhookPayload::protobuf}}));
  v.value({"secret", "Key of the HMAC-SHA256 signature. Better written as ${VARIABLE}, or in secret_file."},
          SecretText(s.secret));
  v.value({"secret_file", "A file whose first line is the key, read at start."}, File(s.secret_file));
  v.value({"ca_file",
           "Certificate authorities that the target's certificate is checked against, PEM. Empty: the "
           "system's."},
          File(s.ca_file));
  v.value({"certificate_file", "This node's client certificate, PEM. Empty: none."}, File(s.certificate_file));
  v.value({"key_file", "Its private key, PEM, not encrypted."}, File(s.key_file));
  v.texts({"allowed_networks",
           "Networks such as 10.1.0.0/16 that the target may be in besides public ones: loopback, private, link-local "
           "and other special addresses are refused unless listed."},
          TextList(s.allowed_networks, 64, must_be_network));
}

void describe_lane(Visitor& v, WebhookLaneSettings& s) {
  describe_target(v, s);
  v.value({"connect_timeout", "For resolving, connecting and TLS."},
          Duration(s.connect_timeout, seconds(1), minutes(5)));
  v.value({"request_timeout", "From the request's first byte to the answer's last."},
          Duration(s.request_timeout, seconds(1), minutes(30)));
  v.value({"backoff_min", "The shortest pause before a request is tried again."},
          Duration(s.backoff_min, milliseconds(10), hours(1)));
  v.value({"backoff_max", "The longest pause, also where Retry-After asks for more."},
          Duration(s.backoff_max, milliseconds(10), hours(24)));
  v.value({"connections", "Requests at once. A device's records always take the same one, in order."},
          Number(s.connections, 1, 64));
  v.value({"batch_records_max", "Records in one request."}, Number(s.batch_records_max, 1, 100'000));
  v.value({"batch_bytes_max", "Bytes of records in one request."}, Size(s.batch_bytes_max, 1 * k_kib, 64 * k_mib));
  v.value({"batch_linger", "How long a batch may wait for more records."},
          Duration(s.batch_linger, milliseconds(0), minutes(1)));
  v.texts({"retry_statuses",
           "4xx answers that speak of this gateway or of the moment, not of the records: tried again. After any other "
           "4xx the offending records become dead letters."},
          TextList(s.retry_statuses, 64, must_be_client_error));
  describe_filter(v, s.filter);
  v.list({"headers", "Further headers of every request."}, ListOf<WebhookHeader>(s.headers, 16, describe));
}

template <class T>
void section(Visitor& v, const Key& key, T& settings) {
  v.enter(key);
  describe(v, settings);
  v.leave();
}

}  // namespace

void describe(Visitor& visitor, Settings& settings) {
  section(visitor, {"node", "This process."}, settings.node);
  section(visitor, {"log", "Log lines on standard error."}, settings.log);
  section(visitor, {"devices", "The listener for devices: WebSocket over TLS, path /v1/connect."}, settings.devices);
  section(visitor, {"tokens", "Devices that show a bearer token."}, settings.tokens);
  section(visitor, {"store", "Where the registry, presence, commands, twins and timelines are kept."}, settings.store);
  section(visitor, {"registry", "Which devices are known."}, settings.registry);
  section(visitor, {"commands", "Commands to devices."}, settings.commands);
  section(visitor, {"twins", "Reported and desired state of devices."}, settings.twins);
  section(visitor, {"session", "Sessions of devices."}, settings.session);
  section(visitor, {"limits", "What devices may ask of the gateway."}, settings.limits);
  section(visitor, {"uplink", "Records on their way to the lanes."}, settings.uplink);
  visitor.list({"mqtt", "MQTT brokers, each a lane of its own."},
               ListOf<MqttLaneSettings>(settings.mqtt, k_mqtt_lanes_max, describe_lane));
  visitor.list({"webhooks", "HTTP endpoints, each a lane of its own."},
               ListOf<WebhookLaneSettings>(settings.webhooks, k_webhooks_max, describe_lane));
  section(visitor, {"api", "The HTTP API."}, settings.api);
  section(visitor, {"admin", "Health and metrics."}, settings.admin);
}

}  // namespace fieldgate::config
