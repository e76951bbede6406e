// SPDX-License-Identifier: Apache-2.0
//
// fieldgate-sim: a fleet of simulated devices, and the subscriber that checks
// what became of what they sent. docs/simulator.md is the guide.
#include "tests/sim/pki.h"
#include "tests/sim/run.h"
#include "tests/sim/tokens.h"

#include <CLI/CLI.hpp>

#include <iostream>
#include <map>

namespace fieldgate::sim {
namespace {

// What the options fill in before it is checked and put together.
struct RunOptions {
  RunSettings run;
  std::string gateway = "127.0.0.1:8443";
  std::string auth;
  std::string pki;
  std::string verify_url;
  std::string verify_ca;
  std::string prefix = "fieldgate/v1";
  std::vector<std::string> labels;
  std::vector<std::string> varied_labels;
  bool skip_server_check = false;
  double time_every = 300;
  double flap_every = 5;
  double storm_every = 15;
  double backoff_base = 1;
  double backoff_max = 60;
  double connect_timeout = 30;
};

struct VerifyOptions {
  VerifySettings verify;
  std::string url = "mqtt://127.0.0.1:1883";
  std::string ca;
};

struct IdOptions {
  DeviceSettings naming;
  std::uint32_t devices = 0;
};

struct PkiOptions {
  IdOptions ids;
  std::string dir;
  std::vector<std::string> names;
  std::vector<std::string> extra;
};

struct TokenOptions {
  IdOptions ids;
  std::string out;
  std::string seed;
};

constexpr std::int64_t to_us(double seconds) noexcept { return static_cast<std::int64_t>(seconds * 1e6); }

std::vector<std::string> device_ids(const IdOptions& ids) {
  std::vector<std::string> list;
  for (std::uint32_t i = 0; i < ids.devices; ++i) list.push_back(device_id(ids.naming, i));
  return list;
}

void add_ids(CLI::App& app, IdOptions& ids) {
  app.add_option("--devices", ids.devices, "How many devices")->check(CLI::Range(0U, 1'000'000U));
  app.add_option("--id-prefix", ids.naming.id_prefix, "What their ids begin with")->capture_default_str();
  app.add_option("--first-index", ids.naming.first_index, "The number of the first one")->capture_default_str();
}

void add_fleet(CLI::App& app, RunOptions& o) {
  FleetSettings& fleet = o.run.fleet;
  app.add_option("--gateway", o.gateway, "HOST:PORT of the device listener")->capture_default_str();
  app.add_flag("--plain", fleet.plain, "ws:// instead of wss://");
  app.add_option("--devices", fleet.count, "How many devices")->check(CLI::Range(1U, 200'000U))->capture_default_str();
  app.add_option("--id-prefix", fleet.devices.id_prefix, "What their ids begin with")->capture_default_str();
  app.add_option("--first-index", fleet.devices.first_index, "The number of the first one")->capture_default_str();
  app.add_option("--threads", fleet.threads, "Threads that share the devices")
      ->check(CLI::Range(1U, 64U))
      ->capture_default_str();
  app.add_option("--connect-rate", fleet.connects_per_second, "First connects per second; 0: all at once")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--connecting-max", fleet.devices.connecting_max,
                 "Connections of a thread between connect and Welcome; 0: no limit")
      ->capture_default_str();
  app.add_option("--source-addresses", fleet.source_addresses,
                 "To a loopback gateway, connect from 127.0.0.1 to 127.0.0.N")
      ->check(CLI::Range(0U, 250U));
  app.add_option("--connect-timeout", o.connect_timeout, "Seconds for TCP, TLS and upgrade")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--backoff-base", o.backoff_base, "Seconds; full jitter, doubled with every failure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--backoff-max", o.backoff_max, "Seconds")->check(CLI::PositiveNumber)->capture_default_str();
}

void add_credentials(CLI::App& app, RunOptions& o) {
  TlsSettings& tls = o.run.fleet.tls;
  app.add_option("--auth", o.auth, "cert, token or none; by default what the other options call for")
      ->check(CLI::IsMember({"cert", "token", "none"}));
  app.add_option("--pki", o.pki,
                 "Directory made by 'fieldgate-sim pki': its CA is trusted, and signs each device's certificate");
  app.add_option("--ca", tls.ca_file, "PEM file: whom to trust as the gateway's CA");
  app.add_option("--ca-cert", tls.authority_file, "PEM file: the CA that signs device certificates");
  app.add_option("--ca-key", tls.authority_key_file, "PEM file: its key");
  app.add_option("--secret-seed", o.run.fleet.token_seed,
                 "Seed of the devices' tokens, as given to 'fieldgate-sim tokens'");
  app.add_flag("--skip-server-check", o.skip_server_check, "Take any server certificate");
  app.add_flag("--tls12", tls.only_tls12, "No TLS 1.3");
  app.add_flag("--tls-resume", tls.resume, "Keep each device's TLS session for its next connection");
}

void add_behaviour(CLI::App& app, RunOptions& o) {
  DeviceSettings& d = o.run.fleet.devices;
  app.add_option("--profile", o.run.profile_name, "steady, burst, flapping, slow-reader, silent or storm")
      ->check(CLI::IsMember({"steady", "burst", "flapping", "slow-reader", "silent", "storm"}))
      ->capture_default_str();
  app.add_option("--rate", d.frames_per_second, "Frames per second and device")
      ->check(CLI::Range(0.0001, 10'000.0))
      ->capture_default_str();
  app.add_option("--metrics", d.shape.metrics, "Metrics in a frame")
      ->check(CLI::Range(2U, 400U))
      ->capture_default_str();
  app.add_option("--payload-bytes", d.shape.payload_bytes, "Padding in a frame")
      ->check(CLI::Range(0U, 1'000'000U))
      ->capture_default_str();
  app.add_option("--burst", d.burst_frames, "burst: frames at a time")
      ->check(CLI::Range(1U, 1'000U))
      ->capture_default_str();
  app.add_option("--flap-every", o.flap_every, "flapping: mean seconds connected")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--storm-every", o.storm_every, "storm: seconds between two drops of all")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--events-every", d.event_every, "Every so many frames one is an event; 0: never");
  app.add_option("--states-every", d.state_every, "... a state");
  app.add_option("--opaques-every", d.opaque_every, "... an opaque payload");
  app.add_option("--time-every", o.time_every, "Seconds between time requests; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--heartbeat", d.heartbeat_seconds, "Wanted heartbeat in seconds; 0: the gateway's");
  app.add_option("--receive-max", d.receive_max_bytes, "Largest message from the gateway")
      ->check(CLI::Range(256U, 1'000'000U))
      ->capture_default_str();
  app.add_option("--buffer-frames", d.buffer_frames_max, "Unacknowledged frames that a device keeps")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  app.add_option("--buffer-bytes", d.buffer_bytes_max, "... and bytes of them")->capture_default_str();
  app.add_option("--labels", o.labels, "KEY=VALUE, for Hello; may be repeated")->take_all();
  app.add_option("--vary-label", o.varied_labels,
                 "KEY=VALUE,VALUE...: a label whose value goes round the devices; may be repeated")
      ->take_all();
  app.add_flag("--duties", d.duties, "Take commands and keep a twin; docs/simulator.md says which");
  app.add_option("--firmware", d.firmware, "Firmware version for Hello")->capture_default_str();
  app.add_option("--ack-stage,--stage", d.stage, "accepted, spooled or forwarded; by default the gateway's choice")
      ->transform(CLI::CheckedTransformer(std::map<std::string, v1::AckStage>{{"accepted", v1::ACK_STAGE_ACCEPTED},
                                                                              {"spooled", v1::ACK_STAGE_SPOOLED},
                                                                              {"forwarded", v1::ACK_STAGE_FORWARDED}}));
}

void add_course(CLI::App& app, RunOptions& o) {
  app.add_option("--seconds", o.run.seconds, "How long to send; 0: until a signal")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--grace", o.run.grace_seconds, "Seconds to wait for the last acknowledgements")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--signal-grace", o.run.signal_grace_seconds, "The same, where a signal ended the run")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--progress", o.run.progress, "A line a second on stderr, even if that is no terminal");
  app.add_option("--json", o.run.json_file, "Write the summary as JSON; -: standard output");
  app.add_option("--ledger", o.run.ledger_file, "Write what was acknowledged, for 'fieldgate-sim verify'");
  app.add_option("--verify", o.verify_url, "mqtt://HOST:PORT: subscribe there and check what arrives");
  app.add_option("--verify-ca", o.verify_ca, "PEM file: the broker's CA, for mqtts://");
  app.add_option("--prefix", o.prefix, "The gateway's topic prefix")->capture_default_str();
  app.add_option("--settle", o.run.settle_seconds, "Seconds without a new record, before what is missing is lost")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--require-order", o.run.require_order, "Records out of order are a failure too");
}

Outcome<BrokerSettings> broker(const std::string& url, const std::string& ca, const std::string& prefix) {
  bool tls = false;
  auto parsed = parse_broker(url, tls);
  if (!parsed) return parsed;
  if (tls && ca.empty()) return Problem{"an mqtts:// broker needs the file of its CA"};
  parsed->ca_file = tls ? ca : std::string();
  parsed->prefix = prefix;
  return parsed;
}

Outcome<DeviceSettings::VariedLabel> varied_label(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
    return Problem{"--vary-label takes KEY=VALUE,VALUE..., not '" + text + "'"};
  }
  DeviceSettings::VariedLabel label{text.substr(0, equals), {}};
  for (std::size_t from = equals + 1; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    label.values.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return label;
}

Outcome<void> complete_credentials(RunOptions& o) {
  FleetSettings& fleet = o.run.fleet;
  TlsSettings& tls = fleet.tls;
  if (!o.pki.empty()) {
    const PkiFiles files(o.pki);
    if (tls.ca_file.empty()) tls.ca_file = files.ca();
    if (o.auth.empty() && fleet.token_seed.empty()) o.auth = "cert";
    if (o.auth == "cert" && tls.authority_file.empty()) {
      tls.authority_file = files.ca();
      tls.authority_key_file = files.ca_key();
      tls.device_key_file = files.device_key();
    }
  }
  if (o.auth.empty()) o.auth = !fleet.token_seed.empty() ? "token" : tls.authority_file.empty() ? "none" : "cert";
  if (o.auth == "cert" && (tls.authority_file.empty() || tls.authority_key_file.empty())) {
    return Problem{"certificates need --pki, or --ca-cert and --ca-key"};
  }
  if (o.auth == "cert" && fleet.plain) return Problem{"--plain has no client certificates"};
  if (o.auth == "token" && fleet.token_seed.empty()) return Problem{"tokens need --secret-seed"};
  if (o.auth != "cert") tls.authority_file.clear();
  if (o.auth != "token") fleet.token_seed.clear();
  tls.verify_server = !o.skip_server_check;
  return {};
}

Outcome<void> complete(RunOptions& o) {
  FleetSettings& fleet = o.run.fleet;
  DeviceSettings& devices = fleet.devices;
  bool unused = false;
  auto gateway = parse_broker(o.gateway, unused);  // the same HOST:PORT
  if (!gateway || o.gateway.find("://") != std::string::npos) return Problem{"--gateway is to be HOST:PORT"};
  fleet.host = gateway->host;
  fleet.port = o.gateway.find(':') == std::string::npos ? 8443 : gateway->port;
  static const std::map<std::string, Profile> k_profiles = {
      {"steady", Profile::steady}, {"burst", Profile::burst}, {"flapping", Profile::flapping},
      {"silent", Profile::silent}, {"storm", Profile::storm}, {"slow-reader", Profile::slow_reader}};
  devices.profile = k_profiles.at(o.run.profile_name);
  for (const std::string& label : o.labels) {
    const auto equals = label.find('=');
    if (equals == 0 || equals == std::string::npos) return Problem{"--labels takes KEY=VALUE, not '" + label + "'"};
    devices.labels.emplace_back(label.substr(0, equals), label.substr(equals + 1));
  }
  for (const std::string& label : o.varied_labels) {
    auto varied = varied_label(label);
    if (!varied) return varied.error();
    devices.varied_labels.push_back(std::move(*varied));
  }
  devices.time_request_us = to_us(o.time_every);
  devices.flap_every_us = to_us(o.flap_every);
  devices.storm_every_us = to_us(o.storm_every);
  devices.backoff_base_us = to_us(o.backoff_base);
  devices.backoff_max_us = to_us(o.backoff_max);
  devices.connect_timeout_us = to_us(o.connect_timeout);
  if (!o.verify_url.empty()) {
    auto made = broker(o.verify_url, o.verify_ca, o.prefix);
    if (!made) return made.error();
    o.run.verify = std::move(*made);
  }
  return complete_credentials(o);
}

int report(const Outcome<void>& outcome) {
  if (outcome) return k_exit_ok;
  std::cerr << "fieldgate-sim: " << outcome.error().text << '\n';
  return k_exit_problem;
}

int run(RunOptions& options) {
  if (auto completed = complete(options); !completed) return report(completed);
  return run_fleet(options.run);
}

int verify(VerifyOptions& options) {
  auto made = broker(options.url, options.ca, options.verify.broker.prefix);
  if (!made) return report(made.error());
  made->client_id = options.verify.broker.client_id;
  options.verify.broker = std::move(*made);
  return run_verify(options.verify);
}

int pki(PkiOptions& options) {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  names.insert(names.end(), options.names.begin(), options.names.end());
  std::vector<std::string> ids = device_ids(options.ids);
  ids.insert(ids.end(), options.extra.begin(), options.extra.end());
  return report(write_pki(PkiFiles(options.dir), names, ids));
}

void add_verify(CLI::App& app, VerifyOptions& o) {
  app.add_option("--broker", o.url, "mqtt://HOST:PORT")->capture_default_str();
  app.add_option("--broker-ca", o.ca, "PEM file: the broker's CA, for mqtts://");
  app.add_option("--prefix", o.verify.broker.prefix, "The gateway's topic prefix")->capture_default_str();
  app.add_option("--client-id", o.verify.broker.client_id, "MQTT client id; its session outlives a restart");
  app.add_option("--ledger", o.verify.ledger_files, "Ledger of a simulator; waited for. May be repeated")->required();
  app.add_option("--ready-file", o.verify.ready_file, "Made once the subscriptions stand");
  app.add_option("--wait", o.verify.wait_seconds, "Seconds to wait for the ledgers; 0: until a signal");
  app.add_option("--settle", o.verify.settle_seconds, "Seconds without a new record, before what is missing is lost")
      ->capture_default_str();
  app.add_flag("--require-order", o.verify.require_order, "Records out of order are a failure too");
  app.add_option("--json", o.verify.json_file, "Write the summary as JSON; -: standard output");
}

int main_of(int argc, char** argv) {
  CLI::App app("A fleet of simulated devices for Fieldgate, and the subscriber that checks what became of their data.");
  app.set_version_flag("--version", "fieldgate-sim " FIELDGATE_VERSION);
  app.require_subcommand(1);

  RunOptions run_options;
  CLI::App& run_app = *app.add_subcommand("run", "Run a fleet, and with --verify check what arrives");
  // So that a script's own settings can be overridden by what is appended.
  run_app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_fleet(run_app, run_options);
  add_credentials(run_app, run_options);
  add_behaviour(run_app, run_options);
  add_course(run_app, run_options);

  VerifyOptions verify_options;
  CLI::App& verify_app = *app.add_subcommand("verify", "Subscribe, wait for the ledgers of simulators, and check");
  add_verify(verify_app, verify_options);

  PkiOptions pki_options;
  CLI::App& pki_app = *app.add_subcommand("pki", "Make a development CA, a server certificate and device certificates");
  pki_app.add_option("--dir", pki_options.dir, "Where to; what is there already is kept")->required();
  pki_app.add_option("--name", pki_options.names, "Another host name or address for the server; may be repeated");
  pki_app.add_option("--device", pki_options.extra, "Another device id; may be repeated");
  add_ids(pki_app, pki_options.ids);

  TokenOptions token_options;
  CLI::App& token_app = *app.add_subcommand("tokens", "Make a token file for the gateway");
  token_app.add_option("--out", token_options.out, "The file")->required();
  token_app.add_option("--secret-seed", token_options.seed, "What the tokens are made from")->required();
  add_ids(token_app, token_options.ids);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? k_exit_ok : k_exit_problem;
  }
  if (run_app.parsed()) return run(run_options);
  if (verify_app.parsed()) return verify(verify_options);
  if (pki_app.parsed()) return pki(pki_options);
  return report(write_tokens(token_options.out, token_options.seed, device_ids(token_options.ids)));
}

}  // namespace
}  // namespace fieldgate::sim

int main(int argc, char** argv) { return fieldgate::sim::main_of(argc, argv); }
