// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/checks.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>
#include <tuple>

namespace fieldgate::config {
namespace {

// The address is numeric: the binder has seen to it.
bool is_loopback(const Endpoint& endpoint) { return endpoint.address.starts_with("127.") || endpoint.address == "::1"; }

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

// The host of an http:// URL, without brackets; empty for any other. The binder has
// seen to the URL's form.
std::string plain_http_host(std::string_view url) {
  constexpr std::string_view k_scheme = "http://";
  if (!url.starts_with(k_scheme)) return {};
  url.remove_prefix(k_scheme.size());
  if (url.starts_with('[')) return std::string(url.substr(1, url.find(']') - 1));
  return std::string(url.substr(0, url.find_first_of(":/?")));
}

bool has_user(std::string_view url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string_view::npos) return false;
  const std::string_view rest = url.substr(begin + 3);
  return rest.substr(0, rest.find_first_of("/?#")).find('@') != std::string_view::npos;
}

class Checker {
 public:
  Checker(const Settings& settings, const Places& places) : s_(settings), places_(places) {}

  std::vector<Problem> run() {
    listeners();
    device_tls();
    session();
    watermarks();
    uplink();
    for (std::size_t i = 0; i < s_.mqtt.size(); ++i) broker(s_.mqtt[i], "mqtt[" + std::to_string(i) + "]");
    for (std::size_t i = 0; i < s_.webhooks.size(); ++i) webhook(s_.webhooks[i], "webhooks[" + std::to_string(i) + "]");
    lanes_together();
    api();
    store();
    jwt("tokens.jwt", s_.tokens.jwt);
    return std::move(problems_);
  }

 private:
  using Paths = std::initializer_list<std::string_view>;

  // `beside`: the other keys that the verdict rests on. A refused key has left its
  // default behind, and that it fits ill would be a problem nobody has made.
  void report(Severity severity, const std::string& path, const std::string& message, Paths beside) {
    const auto is_refused = [this](std::string_view p) { return places_.is_refused(p); };
    if (is_refused(path) || std::ranges::any_of(beside, is_refused)) return;
    problems_.push_back({severity, places_.of(path), path + " " + message});
  }
  void error(const std::string& path, const std::string& message, Paths beside = {}) {
    report(Severity::error, path, message, beside);
  }
  void warning(const std::string& path, const std::string& message, Paths beside = {}) {
    report(Severity::warning, path, message, beside);
  }

  void pair(const std::string& section, const std::string& certificate, const std::string& key) {
    if (!certificate.empty() && key.empty()) {
      error(section + ".key_file", "is missing: certificate_file needs its private key",
            {section + ".certificate_file"});
    } else if (certificate.empty() && !key.empty()) {
      error(section + ".certificate_file", "is missing: key_file alone is of no use", {section + ".key_file"});
    }
  }

  void listeners() {
    std::vector<std::pair<std::string, const Endpoint*>> listeners = {{"devices.listen", &s_.devices.listen}};
    if (s_.api.enabled) listeners.emplace_back("api.listen", &s_.api.listen);
    listeners.emplace_back("admin.listen", &s_.admin.listen);
    for (std::size_t i = 0; i < listeners.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const Endpoint& a = *listeners[i].second;
        const Endpoint& b = *listeners[j].second;
        const bool same_address = a.address == b.address || a.address == "0.0.0.0" || b.address == "0.0.0.0";
        if (a.port != 0 && a.port == b.port && same_address) {
          error(listeners[i].first, "takes the port of " + listeners[j].first + ": choose another",
                {listeners[j].first, "api.enabled"});
        }
      }
    }
  }

  void device_tls() {
    const DeviceTlsSettings& tls = s_.devices.tls;
    if (!tls.enabled && !is_loopback(s_.devices.listen)) {
      error("devices.tls.enabled", "may be false only where devices.listen is a loopback address such as 127.0.0.1",
            {"devices.listen"});
    }
    if (tls.enabled && tls.certificate_file.empty() && tls.key_file.empty()) {
      error("devices.tls.certificate_file", "and key_file are missing: devices connect over TLS",
            {"devices.tls.key_file", "devices.tls.enabled"});
    } else if (tls.enabled) {
      pair("devices.tls", tls.certificate_file, tls.key_file);
    }
    const bool certificates = tls.enabled && !tls.client_ca_file.empty();
    if (tls.enabled && tls.client_certificate == ClientCertificate::required && !certificates) {
      error("devices.tls.client_ca_file", "is missing: client_certificate is required, so say who may sign it",
            {"devices.tls.client_certificate", "devices.tls.enabled"});
    } else if (!certificates && s_.tokens.file.empty() && !s_.tokens.jwt.enabled() &&
               s_.store.kind == StoreKind::none) {
      error("tokens.file", "is missing, and so is devices.tls.client_ca_file: no device could ever authenticate",
            {"devices.tls.client_ca_file", "devices.tls.enabled", "store.kind", "tokens.jwt"});
    }
  }

  void session() {
    const SessionSettings& session = s_.session;
    if (session.heartbeat_min > session.heartbeat) {
      error("session.heartbeat_min", "must not be above session.heartbeat", {"session.heartbeat"});
    }
    if (session.heartbeat > session.heartbeat_max) {
      error("session.heartbeat_max", "must not be below session.heartbeat", {"session.heartbeat"});
    }
    if (session.credit_bytes < s_.limits.frame_bytes_max) {
      error("session.credit_bytes", "must be at least limits.frame_bytes_max, or a large frame could never be sent",
            {"limits.frame_bytes_max"});
    }
    if (s_.limits.bytes_burst < s_.limits.frame_bytes_max) {
      error("limits.bytes_burst", "must be at least limits.frame_bytes_max, or a large frame could never be taken",
            {"limits.frame_bytes_max"});
    }
    if (session.ack_every_frames > session.credit_frames) {
      warning("session.ack_every_frames", "is above session.credit_frames: a busy device waits for session.ack_every",
              {"session.credit_frames"});
    }
  }

  void watermarks() {
    const LimitSettings& limits = s_.limits;
    if (limits.memory_low > limits.memory_high) {
      error("limits.memory_low", "must not be above limits.memory_high", {"limits.memory_high"});
    }
    if (limits.descriptors_low > limits.descriptors_high) {
      error("limits.descriptors_low", "must not be above limits.descriptors_high", {"limits.descriptors_high"});
    }
  }

  void uplink() {
    // A block of records is taken whole or not at all.
    const std::uint64_t room = std::uint64_t{4} * s_.limits.frame_bytes_max;
    if (s_.uplink.memory_bytes_max < room) {
      error("uplink.memory_bytes_max",
            "must be at least 4 x limits.frame_bytes_max, or a large frame may never be taken",
            {"limits.frame_bytes_max"});
    }
    if (s_.uplink.spool.enabled && s_.uplink.spool.bytes_max < room) {
      error("uplink.spool.bytes_max",
            "must be at least 4 x limits.frame_bytes_max, or a large frame may never be taken",
            {"limits.frame_bytes_max", "uplink.spool.enabled"});
    }
  }

  // What lanes of every kind have; their names must differ over all kinds.
  template <class L>
  void lane(const L& lane, const std::string& path) {
    if (lane.name == "store") error(path + ".name", "is the name of the gateway's own lane to its store: take another");
    const auto [first, is_new] = lane_names_.emplace(lane.name, path);
    if (!is_new) {
      error(path + ".name", "is the name of " + first->second + " already: give each lane a name of its own",
            {first->second + ".name"});
    }
    if (lane.backoff_min > lane.backoff_max) {
      error(path + ".backoff_min", "must not be above backoff_max", {path + ".backoff_max"});
    }
    if (lane.required && lane.max_age > seconds(0)) {
      warning(path + ".max_age", "lets acknowledged records expire unsent: the lane is required", {path + ".required"});
    }
  }

  void webhook(const WebhookLaneSettings& hook, const std::string& path) {
    lane(hook, path);
    pair(path, hook.certificate_file, hook.key_file);
    if (hook.url.empty()) error(path + ".url", "is missing: say where the records are to be sent");
    // Here, and not with the rest of its form, whose complaints show what was written.
    if (has_user(hook.url)) error(path + ".url", "must not hold a user name: use headers for credentials");
    retry_statuses(hook, path);
    if (!hook.secret.value.empty() && !hook.secret_file.empty()) {
      error(path + ".secret_file", "and secret are both set: keep one", {path + ".secret"});
    }
    std::map<std::string, std::size_t> headers;
    for (std::size_t i = 0; i < hook.headers.size(); ++i) {
      const std::string name_path = path + ".headers[" + std::to_string(i) + "].name";
      if (hook.headers[i].name.empty()) {
        error(name_path, "is missing");
      } else if (!headers.emplace(lower(hook.headers[i].name), i).second) {
        error(name_path, "names " + hook.headers[i].name + " a second time");
      }
    }
    const bool credentials = !hook.secret.value.empty() || !hook.secret_file.empty() || !hook.headers.empty();
    const std::string host = plain_http_host(hook.url);
    if (credentials && !host.empty() && !is_loopback({host, 0}) && host != "localhost") {
      warning(path + ".url", "is not https: headers and records travel in clear to " + host);
    }
    if (hook.batch_bytes_max < s_.limits.frame_bytes_max) {
      warning(path + ".batch_bytes_max", "is below limits.frame_bytes_max: a larger frame goes out alone, over it",
              {"limits.frame_bytes_max"});
    }
  }

  // A list of one's own replaces the default, which is easily forgotten.
  void retry_statuses(const WebhookLaneSettings& hook, const std::string& path) {
    std::string missing;
    for (const char* status : {"401", "403", "429"}) {
      if (std::ranges::find(hook.retry_statuses, status) != hook.retry_statuses.end()) continue;
      missing.append(missing.empty() ? "" : ", ").append(status);
    }
    if (missing.empty()) return;
    warning(path + ".retry_statuses", "leaves out " + missing + ": records answered so become dead letters");
  }

  void broker(const MqttLaneSettings& lane, const std::string& path) {
    this->lane(lane, path);
    pair(path + ".tls", lane.tls.certificate_file, lane.tls.key_file);
    if (!lane.password.value.empty() && !lane.password_file.empty()) {
      error(path + ".password_file", "and password are both set: keep one");
    }
    const bool secret = !lane.password.value.empty() || !lane.password_file.empty();
    if (secret && !lane.tls.enabled && !is_loopback({lane.host, 0}) && lane.host != "localhost") {
      warning(path + ".tls.enabled", "is false: the password travels in clear to " + lane.host);
    }
    std::set<std::string> taken;
    for (std::size_t i = 0; i < lane.routes.size(); ++i) {
      const std::string kinds = path + ".routes[" + std::to_string(i) + "].kinds";
      if (lane.routes[i].kinds.empty()) error(kinds, "is empty: name the kinds of record that the route takes");
      for (std::size_t k = 0; k < lane.routes[i].kinds.size(); ++k) {
        const std::string& kind = lane.routes[i].kinds[k];
        if (!taken.insert(kind).second) {
          error(kinds + "[" + std::to_string(k) + "]", "names " + kind + " a second time: the first route has it");
        }
      }
    }
  }

  void lanes_together() {
    if (s_.mqtt.empty() && s_.webhooks.empty()) {
      warning("mqtt", "has no lane, and webhooks has none: records go nowhere", {"webhooks"});
    } else if (std::ranges::none_of(s_.mqtt, &MqttLaneSettings::required) &&
               std::ranges::none_of(s_.webhooks, &WebhookLaneSettings::required)) {
      warning(s_.mqtt.empty() ? "webhooks" : "mqtt",
              "has no required lane: devices cannot be granted the FORWARDED stage", {"mqtt", "webhooks"});
    }
    std::set<std::tuple<std::string, std::uint16_t, std::string>> clients;
    for (std::size_t i = 0; i < s_.mqtt.size(); ++i) {
      const MqttLaneSettings& lane = s_.mqtt[i];
      if (!lane.client_id.empty() && !clients.emplace(lane.host, lane.port, lane.client_id).second) {
        error("mqtt[" + std::to_string(i) + "].client_id",
              "is another lane's at the same broker, which would disconnect one for the other");
      }
    }
  }

  void api() {
    if (!s_.api.enabled) return;
    pair("api", s_.api.certificate_file, s_.api.key_file);
    if (s_.api.token_file.empty() && !s_.api.jwt.enabled()) {
      error("api.token_file", "is missing: say who may use the API, or set api.enabled to false",
            {"api.enabled", "api.jwt"});
    }
    jwt("api.jwt", s_.api.jwt);
    if (s_.api.certificate_file.empty() && !is_loopback(s_.api.listen)) {
      warning("api.listen", "is not a loopback address: without certificate_file, tokens travel in clear",
              {"api.certificate_file"});
    }
  }

  void jwt(const std::string& path, const JwtSettings& of) {
    if (!of.enabled()) return;
    if (of.audience.empty()) {
      error(path + ".audience", "is missing: a token made for somebody else would do here", {path});
    }
    std::set<std::string> ids;
    for (std::size_t i = 0; i < of.keys.size(); ++i) {
      const std::string key = path + ".keys[" + std::to_string(i) + "]";
      if (of.keys[i].file.empty()) error(key + ".file", "is missing: name the file with the public key", {key});
      if (!ids.insert(of.keys[i].id).second) error(key + ".id", "is another key's: each `kid` names one key", {key});
    }
  }

  void store() {
    const StoreSettings& of = s_.store;
    if (of.kind == StoreKind::postgres && of.connection.empty()) {
      error("store.connection", "is missing: say where PostgreSQL is", {"store.kind"});
    }
    if (!of.password.value.empty() && !of.password_file.empty()) {
      error("store.password_file", "and password are both set: one of them is enough", {"store.password"});
    }
    if (of.kind == StoreKind::none && s_.registry.auto_register) {
      warning("registry.auto_register", "has no effect without a store", {"store.kind"});
    }
    for (std::size_t i = 0; i < s_.mqtt.size(); ++i) {
      if (of.kind != StoreKind::none || !s_.mqtt[i].commands) continue;
      error("mqtt[" + std::to_string(i) + "].commands", "need a store to keep them in", {"store.kind"});
    }
    if (s_.commands.timeout > s_.commands.timeout_max) {
      error("commands.timeout", "is over commands.timeout_max", {"commands.timeout_max"});
    }
    if (s_.commands.ttl > s_.commands.ttl_max) error("commands.ttl", "is over commands.ttl_max", {"commands.ttl_max"});
  }

  const Settings& s_;
  const Places& places_;
  std::map<std::string, std::string> lane_names_;  // path of the first lane of each name
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> check_together(const Settings& settings, const Places& places) {
  return Checker(settings, places).run();
}

}  // namespace fieldgate::config
