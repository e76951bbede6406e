// SPDX-License-Identifier: Apache-2.0
//
// The load of the benches that count: told step by step on standard input what to do, one
// command a line; each is answered by a line of key=value once it is done:
//   connect N          N more devices: TLS, upgrade, Hello, Welcome
//   resume N           the same, by the ticket of the first one
//   send ROUNDS        in each round a pack from every device; the next begins when the
//                      server has read all of the one before, so that no two packs of a
//                      device are ever read at once. Ends when all are acknowledged
//   pace RATE FRAMES   so many frames, RATE a second in all, the devices in turn
// Ends, with its connections, at the end of its input.
#include "tests/bench/load/device.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <sys/epoll.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace fieldgate::bench {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t k_connecting = 32;  // at a time
constexpr std::chrono::seconds k_patience{600};

class Load {
 public:
  explicit Load(Fleet& fleet) : fleet_(fleet) {}

  void connect(std::size_t count, bool resume) {
    SSL_SESSION* ticket = resume && !devices_.empty() ? devices_.front()->ticket() : nullptr;
    if (resume && ticket == nullptr) throw std::runtime_error("the first device has no ticket");
    std::size_t resumed = 0;
    while (count > 0) {
      const std::size_t batch = std::min(count, k_connecting);
      const std::size_t first = devices_.size();
      count -= batch;
      for (std::size_t i = 0; i < batch; ++i) {
        devices_.push_back(std::make_unique<Device>(fleet_, static_cast<std::uint32_t>(devices_.size())));
        devices_.back()->connect(ticket);
      }
      for (std::size_t i = first; i < devices_.size(); ++i) devices_[i]->finish_tls();
      for (std::size_t i = first; i < devices_.size(); ++i) devices_[i]->finish_upgrade();
      for (std::size_t i = first; i < devices_.size(); ++i) {
        devices_[i]->finish_hello();
        resumed += devices_[i]->resumed() ? 1 : 0;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = devices_[i].get();
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, devices_[i]->fd(), &event);
      }
    }
    std::printf("connected=%zu resumed=%zu\n", devices_.size(), resumed);
  }

  void send(std::uint64_t rounds) {
    const auto began = steady_clock::now();
    for (std::uint64_t i = 0; i < rounds; ++i) {
      for (const auto& device : devices_) {
        await([&] { return device->has_credit(); });
        device->send_pack();
      }
      await([this] { return unread() == 0; });
    }
    finish(rounds * devices_.size() * fleet_.pack(), began);
  }

  void pace(double rate, std::uint64_t frames) {
    const auto began = steady_clock::now();
    const std::uint64_t packs = frames / fleet_.pack();
    for (std::uint64_t i = 0; i < packs; ++i) {
      const std::chrono::duration<double> due{static_cast<double>(i * fleet_.pack()) / rate};
      while (steady_clock::now() < began + due) serve(1);
      Device& device = *devices_[turn_++ % devices_.size()];
      await([&] { return device.has_credit(); });
      device.send_pack();
    }
    finish(packs * fleet_.pack(), began);
  }

 private:
  void finish(std::uint64_t frames, steady_clock::time_point began) {
    if (fleet_.acks) {
      await([this] { return std::ranges::all_of(devices_, [](const auto& device) { return device->all_acked(); }); });
    } else {
      await([this] { return unread() == 0; });
    }
    const std::chrono::duration<double> took = steady_clock::now() - began;
    std::printf("frames=%llu seconds=%.3f\n", static_cast<unsigned long long>(frames), took.count());
  }

  template <class Done>
  void await(Done done) {
    const auto end = steady_clock::now() + k_patience;
    while (!done()) {
      if (steady_clock::now() > end) throw std::runtime_error("the server does not get on");
      serve(1);
    }
  }

  void serve(int timeout_ms) {
    std::array<epoll_event, 256> events{};
    const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
    for (int i = 0; i < n; ++i) static_cast<Device*>(events[static_cast<std::size_t>(i)].data.ptr)->readable();
  }

  // Bytes that the kernel holds for the server, over all its connections.
  std::uint64_t unread() const {
    std::ifstream table("/proc/net/tcp");
    std::array<char, 16> port{};
    std::snprintf(port.data(), port.size(), ":%04X", ntohs(fleet_.server.sin_port));
    std::uint64_t sum = 0;
    std::string line;
    while (std::getline(table, line)) {
      // "  12: 0100007F:480B 0100007F:9C40 01 00000000:0000008F ...": local, peer, state, out:in
      std::istringstream fields(line);
      std::string slot, local, peer, state, queues;
      fields >> slot >> local >> peer >> state >> queues;
      if (!local.ends_with(port.data()) || state != "01") continue;
      sum += std::stoull(queues.substr(queues.find(':') + 1), nullptr, 16);
    }
    return sum;
  }

  Fleet& fleet_;
  const int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Device>> devices_;
  std::size_t turn_ = 0;
};

void obey(Load& load) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    double rate = 0;
    std::uint64_t count = 0;
    words >> command;
    if (command == "pace") words >> rate;
    words >> count;
    if (!words) throw std::runtime_error("not a command: " + line);
    if (command == "connect" || command == "resume") {
      load.connect(count, command == "resume");
    } else if (command == "send") {
      load.send(count);
    } else if (command == "pace") {
      load.pace(rate, count);
    } else {
      throw std::runtime_error("not a command: " + line);
    }
    std::fflush(stdout);
  }
}

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string pki;
  bool certificates = false;
};

void parse(int argc, char** argv, Options& options, Fleet& fleet) {
  CLI::App app("The load of the benches that count; commands on standard input");
  app.add_option("--host", options.host, "Address of the server");
  app.add_option("--port", options.port, "Its port")->required();
  app.add_option("--pki", options.pki, "Directory made by 'fieldgate-sim pki'")->required();
  app.add_flag("--certificates", options.certificates, "A certificate for each device");
  app.add_option("--secret-seed", fleet.token_seed, "A token for each device, as 'fieldgate-sim tokens' made them");
  app.add_option("--first-index", fleet.first_index, "The number of the first device");
  app.add_option("--first-source", fleet.first_source, "Connect from 127.0.0.N on");
  app.add_option("--source-addresses", fleet.source_addresses, "... from so many addresses in turn")
      ->check(CLI::Range(1U, 200U));
  const std::map<std::string, Packing> packings = {
      {"single", Packing::single}, {"segment", Packing::segment}, {"record", Packing::record}};
  app.add_option("--packing", fleet.packing, "How frames are packed")->transform(CLI::CheckedTransformer(packings));
  app.add_option("--frames-per-pack", fleet.frames_per_pack, "Frames in a segment or record");
  const std::map<std::string, v1::AckStage> stages = {
      {"accepted", v1::ACK_STAGE_ACCEPTED}, {"spooled", v1::ACK_STAGE_SPOOLED}, {"forwarded", v1::ACK_STAGE_FORWARDED}};
  app.add_option("--stage", fleet.stage, "What devices ask for")->transform(CLI::CheckedTransformer(stages));
  app.add_flag("!--no-acks", fleet.acks, "The server does not acknowledge");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
}

int run(int argc, char** argv) {
  Options options;
  Fleet fleet;
  parse(argc, argv, options, fleet);
  fleet.server.sin_family = AF_INET;
  fleet.server.sin_port = htons(options.port);
  if (::inet_pton(AF_INET, options.host.c_str(), &fleet.server.sin_addr) != 1) throw std::runtime_error("--host");
  fleet.host = options.host + ":" + std::to_string(options.port);
  sim::TlsSettings tls;
  const sim::PkiFiles pki(options.pki);
  tls.ca_file = pki.ca();
  tls.server_name = "127.0.0.1";
  tls.resume = true;
  if (options.certificates) {
    tls.authority_file = pki.ca();
    tls.authority_key_file = pki.ca_key();
    tls.device_key_file = pki.device_key();
  }
  const auto client = sim::TlsClient::make(tls);
  if (!client) throw std::runtime_error(client.error().text);
  fleet.tls = client->get();
  fleet.out = BIO_new(BIO_s_mem());
  {
    Load load(fleet);
    obey(load);
  }
  BIO_free(fleet.out);
  return 0;
}

}  // namespace
}  // namespace fieldgate::bench

int main(int argc, char** argv) {
  try {
    return fieldgate::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fieldgate_bench_load: %s\n", error.what());
    return 1;
  }
}
