// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/declaration_parts.h"
#include "gateway/config/text_checks.h"
#include "gateway/core/ids.h"

namespace fieldgate::config {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr std::uint64_t k_kib = 1'024;
constexpr std::uint64_t k_mib = 1'024 * k_kib;
constexpr std::uint64_t k_gib = 1'024 * k_mib;

void describe(Visitor& v, JwtKeySettings& s) {
  v.value({"id", "The `kid` of tokens that this key signs. Empty: of tokens without one."},
          Text(s.id, k_name_bytes_max, must_be_empty_or_name));
  v.value({"algorithm", "The one algorithm that is accepted with this key."},
          Choice(s.algorithm,
                 {{"RS256", JwtAlgorithm::rs256}, {"ES256", JwtAlgorithm::es256}, {"EdDSA", JwtAlgorithm::eddsa}}));
  v.value({"file", "The public key, or a certificate with it, PEM.", Reload::content}, File(s.file));
}

void describe(Visitor& v, ApiStreamSettings& s) {
  v.value({"subscribers_max", "Event streams at once."}, Number(s.subscribers_max, 1, 100'000));
  v.value({"devices_max", "Devices that one subscription to telemetry may name."}, Number(s.devices_max, 1, 10'000));
  v.value(
      {"subscriber_bytes_max",
       "Bytes waiting for one subscriber; a slower one goes on from the history, and is told what that had given up."},
      Size(s.subscriber_bytes_max, 16 * k_kib, 64 * k_mib));
  v.value({"history_events", "Events kept for subscribers that come back."}, Number(s.history_events, 0, 1'000'000));
  v.value({"history_bytes_max", "Bytes of them."}, Size(s.history_bytes_max, 64 * k_kib, 1 * k_gib));
  v.value({"keep_alive", "A comment is sent on a silent stream this often."},
          Duration(s.keep_alive, seconds(1), minutes(5)));
}

}  // namespace

void describe(Visitor& v, JwtSettings& s) {
  v.value({"jwks_file", "Public keys as a JSON Web Key Set (RFC 7517).", Reload::content}, File(s.jwks_file));
  v.list({"keys", "Public keys, one file each."}, ListOf<JwtKeySettings>(s.keys, 64, describe));
  v.value({"issuer", "What `iss` must be. Empty: not looked at."}, Text(s.issuer, 256));
  v.value({"audience", "What `aud` must name. Required with keys: or a token made for somebody else would do."},
          Text(s.audience, 256));
  v.value({"clock_skew", "By how much clocks may differ."}, Duration(s.clock_skew, seconds(0), minutes(10)));
  v.value({"lifetime_max", "How far ahead `exp` may be."}, Duration(s.lifetime_max, seconds(1), hours(24 * 366)));
}

void describe(Visitor& v, StoreSettings& s) {
  v.value(
      {"kind",
       "sqlite: a file of this node's own. postgres: for several nodes. none: no registry, commands, twins or "
       "timelines; every device that authenticates is let in."},
      Choice(s.kind, {{"sqlite", StoreKind::sqlite}, {"postgres", StoreKind::postgres}, {"none", StoreKind::none}}));
  v.value({"file", "The SQLite file. Empty: fieldgate.db in node.state_dir."},
          Text(s.file, 4'096, must_be_empty_or_absolute_path));
  v.value({"connection",
           "Where PostgreSQL is: a libpq connection string or URI, such as "
           "postgresql://fieldgate@db.example/fieldgate?sslmode=verify-full, without the password."},
          Text(s.connection, 4'096));
  v.value({"password", "PostgreSQL's password."}, SecretText(s.password));
  v.value({"password_file", "A file with the password, read at each connect."}, File(s.password_file));
  v.value({"statement_timeout", "How long the store may take for one statement."},
          Duration(s.statement_timeout, seconds(1), minutes(5)));
  v.value({"lease", "How long this node is believed to live without word from it."},
          Duration(s.lease, seconds(3), minutes(10)));
  v.value({"presence_events_max", "Connects and disconnects kept, over all devices."},
          Number(s.presence_events_max, 1'000, 1'000'000'000));
  v.value({"timeline_entries", "Lines of the flight recorder kept per device."},
          Number(s.timeline_entries, 10, 10'000));
  v.value({"refusals", "Refusals kept of those who were turned away before it was known who they are."},
          Number(s.refusals, 10, 100'000));
  v.value({"commands_kept", "How long a command stays in the ledger after its end."},
          Duration(s.commands_kept, minutes(1), hours(24 * 366)));
}

void describe(Visitor& v, RegistrySettings& s) {
  v.value({"auto_register",
           "Register a device that authenticates and is not known. Off: it is refused with device_unknown."},
          Flag(s.auto_register));
}

void describe(Visitor& v, CommandSettings& s) {
  v.value({"timeout", "How long a device has for the result of a command that does not say."},
          Duration(s.timeout, seconds(1), hours(24 * 7)));
  v.value({"timeout_max", "The most that a command may ask for."}, Duration(s.timeout_max, seconds(1), hours(24 * 7)));
  v.value({"ttl", "How long a command that does not say waits for its device."},
          Duration(s.ttl, seconds(0), hours(24 * 366)));
  v.value({"ttl_max", "The most that a command may ask for."}, Duration(s.ttl_max, seconds(0), hours(24 * 366)));
  v.value({"payload_bytes_max", "Bytes of a command's payload."}, Size(s.payload_bytes_max, 0, 4 * k_mib));
  v.value({"queued_per_device_max", "Commands that have not ended, per device."},
          Number(s.queued_per_device_max, 1, 10'000));
  v.value({"in_flight_per_device", "Commands sent to a device and not yet acknowledged by it."},
          Number(s.in_flight_per_device, 1, 1'000));
  v.value({"open_max", "Commands that have not ended, over all devices."}, Number(s.open_max, 1, 10'000'000));
  v.value({"resend_after", "A command that a connected device does not acknowledge is sent again after this."},
          Duration(s.resend_after, seconds(1), hours(1)));
}

void describe(Visitor& v, TwinSettings& s) {
  v.value({"document_bytes_max", "Bytes of each of a twin's documents."},
          Size(s.document_bytes_max, 1 * k_kib, 1 * k_mib));
}

void describe(Visitor& v, ApiSettings& s) {
  v.value({"enabled", "The HTTP API."}, Flag(s.enabled));
  v.value({"listen", "Where the API listens."}, EndpointValue(s.listen));
  v.value({"certificate_file",
           "Certificate, PEM. With key_file: HTTPS. Empty: HTTP, for loopback or behind a proxy that speaks TLS.",
           Reload::content},
          File(s.certificate_file));
  v.value({"key_file", "Its private key, PEM, not encrypted.", Reload::content}, File(s.key_file));
  v.value({"token_file",
           "Who may use the API: one line `NAME sha256:HEX SCOPE...` each, HEX being the token's SHA-256, SCOPE read "
           "(the default), command or admin. Required with the API, unless it takes JWTs.",
           Reload::content},
          File(s.token_file));
  v.value({"dashboard", "The web page at /."}, Flag(s.dashboard));
  v.texts({"cors_origins", "Origins whose pages may call the API."}, TextList(s.cors_origins, 64, must_be_origin));
  v.value({"connections_max",
           "Connections at once. Beyond it, the one that has waited longest for its client to send a request or to "
           "take an answer is closed; a new one is refused where all of them have one at work."},
          Number(s.connections_max, 1, 100'000));
  v.value({"connections_per_address_max",
           "Connections at once from one address (IPv6: one /64). 0: no cap, as behind a proxy that has one address "
           "for everybody."},
          Number(s.connections_per_address_max, 0, 100'000));
  v.value({"header_bytes_max", "The largest request head."}, Size(s.header_bytes_max, 1 * k_kib, 1 * k_mib));
  v.value({"body_bytes_max", "The largest request body."}, Size(s.body_bytes_max, 1 * k_kib, 64 * k_mib));
  v.value({"request_timeout",
           "From the first byte of a request to its last; for the first one of a connection, from its accept on."},
          Duration(s.request_timeout, seconds(1), minutes(10)));
  v.value({"idle_timeout", "How long a connection may wait for its next request."},
          Duration(s.idle_timeout, seconds(1), hours(1)));
  v.enter({"jwt", "JSON Web Tokens whose `scope` names what they are good for."});
  describe(v, s.jwt);
  v.leave();
  v.enter({"stream", "The live stream (server-sent events)."});
  describe(v, s.stream);
  v.leave();
}

void describe(Visitor& v, AdminSettings& s) {
  v.value({"listen",
           "Where /metrics, /livez and /readyz are served, in plain HTTP and without a token: keep it off public "
           "networks."},
          EndpointValue(s.listen));
}

}  // namespace fieldgate::config
