// SPDX-License-Identifier: Apache-2.0
//
// fieldgate-bench-traffic: the devices and the consumer of the benchmarks under load. Driven by lines on standard
// input, so that a benchmark can go from one rate to the next without connecting anew.
#include "tests/bench/traffic/fleet.h"
#include "tests/bench/traffic/hostile.h"
#include "tests/bench/traffic/sink.h"

#include <CLI/CLI.hpp>

#include <iostream>
#include <map>

namespace fieldgate::bench {
namespace {

void add_links(CLI::App& app, LinkSettings& links) {
  app.add_option("--server", links.server, "ADDRESS:PORT, on 127.0.0.0/8")->required();
  app.add_option("--path", links.path, "Of the WebSocket")->capture_default_str();
  app.add_option("--subprotocol", links.subprotocol, "Of the WebSocket")->capture_default_str();
  app.add_option("--ca", links.ca_file, "PEM file: whom to trust as the server's CA");
  app.add_option("--pki", links.pki, "Directory of 'fieldgate-sim pki': devices show certificates");
  app.add_option("--secret-seed", links.token_seed, "Devices show tokens, as of 'fieldgate-sim tokens'");
  app.add_option("--id-prefix", links.id_prefix, "Of the devices' ids")->capture_default_str();
  app.add_option("--first-source", links.first_source, "Connections come from 127.0.0.1 + this ...");
  app.add_option("--source-addresses", links.source_addresses, "... and so many more")->capture_default_str();
  app.add_flag("--tls-resume", links.tls_resume, "Keep each device's TLS session for its next connection");
}

void add_fleet(CLI::App& app, FleetSettings& fleet) {
  static const std::map<std::string, Protocol> k_protocols{{"fieldgate", Protocol::fieldgate},
                                                           {"mqtt", Protocol::mqtt}};
  static const std::map<std::string, v1::AckStage> k_stages{
      {"accepted", v1::ACK_STAGE_ACCEPTED}, {"spooled", v1::ACK_STAGE_SPOOLED}, {"forwarded", v1::ACK_STAGE_FORWARDED}};
  app.add_option("--protocol", fleet.protocol, "fieldgate or mqtt")->transform(CLI::CheckedTransformer(k_protocols));
  app.add_option("--stage", fleet.stage, "accepted, spooled or forwarded")
      ->transform(CLI::CheckedTransformer(k_stages));
  app.add_option("--devices", fleet.devices, "How many")->capture_default_str();
  app.add_option("--first-index", fleet.first_index, "The number of the first")->capture_default_str();
  app.add_option("--connect-rate", fleet.connects_per_second, "First connects per second; 0: all at once")
      ->capture_default_str();
  app.add_option("--connecting-max", fleet.connecting_max, "Between connect and Welcome; 0: no limit")
      ->capture_default_str();
  app.add_option("--window", fleet.window, "Unacknowledged frames of a device")->capture_default_str();
  app.add_option("--per-record", fleet.per_record, "Frames in a TLS record")->capture_default_str();
  app.add_option("--metrics", fleet.shape.metrics, "Metrics in a frame")->capture_default_str();
  app.add_option("--payload-bytes", fleet.shape.payload_bytes, "Padding in a frame")->capture_default_str();
  app.add_option("--heartbeat", fleet.heartbeat_seconds, "Seconds; MQTT: keep-alive")->capture_default_str();
  app.add_option("--backoff-base", fleet.backoff_base, "Seconds")->capture_default_str();
  app.add_option("--backoff-max", fleet.backoff_max, "Seconds")->capture_default_str();
  app.add_option("--connect-timeout", fleet.connect_timeout, "Seconds, to Welcome")->capture_default_str();
  app.add_option("--prefix", fleet.topic_prefix, "MQTT: topics begin with this")->capture_default_str();
  app.add_flag("--commands", fleet.commands, "Answer commands");
}

void add_hostile(CLI::App& app, HostileSettings& hostile) {
  app.add_option("--harm", hostile.harm, "What they do; hostile.h says more")
      ->transform(CLI::CheckedTransformer(harms()))
      ->required();
  app.add_option("--clients", hostile.clients, "How many")->capture_default_str();
  app.add_option("--first-index", hostile.first_index, "The number of the first")->capture_default_str();
  app.add_option("--chunks", hostile.chunks_per_second, "Of each that floods, per second; 16 KB each")
      ->capture_default_str();
  app.add_option("--back-within", hostile.back_within, "Seconds, after it was thrown out")->capture_default_str();
}

void add_sink(CLI::App& app, SinkSettings& sink) {
  app.add_option("--broker-port", sink.port, "On 127.0.0.1")->required();
  app.add_option("--filter", sink.filters, "What to subscribe to; may be repeated")->take_all();
  app.add_option("--client-id", sink.client_id, "At the broker")->capture_default_str();
  app.add_option("--prefix", sink.topic_prefix, "Commands go to topics that begin with this")->capture_default_str();
  app.add_option("--id-prefix", sink.id_prefix, "Of the devices' ids")->capture_default_str();
  app.add_option("--devices", sink.devices, "Commands go to so many devices in turn")->capture_default_str();
  app.add_option("--first-index", sink.first_index, "The number of the first")->capture_default_str();
}

int report(const sim::Outcome<void>& outcome) {
  if (outcome) return 0;
  std::cerr << "fieldgate-bench-traffic: " << outcome.error().text << '\n';
  return 2;
}

int main_of(int argc, char** argv) {
  CLI::App app("Devices under load, and the consumer that times what arrives; for the benchmarks.");
  app.require_subcommand(1);
  LinkSettings links;
  FleetSettings fleet;
  CLI::App& devices_app = *app.add_subcommand("devices", "Devices of either protocol");
  add_links(devices_app, links);
  add_fleet(devices_app, fleet);
  HostileSettings hostile;
  CLI::App& hostile_app = *app.add_subcommand("hostile", "Clients that mean harm");
  add_links(hostile_app, links);
  add_hostile(hostile_app, hostile);
  SinkSettings sink;
  CLI::App& sink_app = *app.add_subcommand("sink", "The consumer at the broker");
  add_sink(sink_app, sink);
  CLI11_PARSE(app, argc, argv);
  if (devices_app.parsed()) {
    Fleet driver(fleet);
    if (auto opened = driver.open(links, fleet.first_index); !opened) return report(opened);
    driver.run();
    return 0;
  }
  if (hostile_app.parsed()) {
    Hostile driver(hostile);
    links.depth = driver.depth();
    if (auto opened = driver.open(links, hostile.first_index); !opened) return report(opened);
    driver.run();
    return 0;
  }
  Sink consumer(sink);
  if (auto opened = consumer.open(); !opened) return report(opened);
  return report(consumer.run());
}

}  // namespace
}  // namespace fieldgate::bench

int main(int argc, char** argv) { return fieldgate::bench::main_of(argc, argv); }
