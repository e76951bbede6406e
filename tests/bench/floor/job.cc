// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/floor/job.h"

#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>
#include <variant>

namespace fieldgate::bench {
namespace {

class Keep final : public MetricSink {
 public:
  explicit Keep(LastValues* values) : values_(values) {}
  void metric(std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) override {
    if (values_ != nullptr) values_->update(name, value, unix_ms, quality);
  }

 private:
  LastValues* values_;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

}  // namespace

ServerOptions read_options(int argc, char** argv, const char* what) {
  ServerOptions options;
  CLI::App app(what);
  app.add_option("--port", options.port, "Where to listen, on every loopback address")->required();
  app.add_option("--pki", options.pki, "Directory made by 'fieldgate-sim pki'")->required();
  const std::map<std::string, Level> levels = {{"tls", Level::tls},
                                               {"frame", Level::frame},
                                               {"decode", Level::decode},
                                               {"values", Level::values},
                                               {"ack", Level::ack}};
  app.add_option("--level", options.level, "How far messages go")->transform(CLI::CheckedTransformer(levels));
  app.add_option("--ack-every-ms", options.ack_every_ms, "Acknowledge after this time at the latest");
  app.add_flag("--read-ahead", options.read_ahead, "Let OpenSSL read a whole record at once");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return options;
}

std::shared_ptr<const TlsContext> load_tls(const std::string& pki) {
  DeviceTlsSettings settings;
  settings.certificate_file = pki + "/server.pem";
  settings.key_file = pki + "/server-key.pem";
  settings.client_ca_file = pki + "/ca.pem";
  auto context = TlsContext::load(settings, nullptr);
  if (!context) give_up(context.error().detail);
  return *context;
}

int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 || ::listen(fd, 4'096) != 0) {
    give_up("cannot listen on port " + std::to_string(port));
  }
  return fd;
}

Job::Job(const ServerOptions& options)
    : level_(options.level), wire_(LimitSettings{}), decoder_(wire_.make_decoder()) {}

Job::Outcome Job::take(Device& device, std::span<const std::byte> message) {
  if (device.welcomed && level_ < Level::decode) return Outcome::done;
  Keep sink(device.last_values.get());
  const auto decoded = decoder_->decode(message, SystemClock().unix_ms(), sink);
  if (!decoded) return Outcome::fault;
  const auto* frame = std::get_if<UpFrame>(&*decoded);
  if (frame == nullptr) return Outcome::fault;
  if (!device.welcomed) return welcome(device, *frame);
  if (!is_data(frame->kind) || frame->seq <= device.received) return Outcome::fault;
  device.received = frame->seq;
  if (level_ < Level::ack) return Outcome::done;
  if (++device.since_ack >= SessionSettings{}.ack_every_frames) {
    acknowledge(device);
    return Outcome::answer;
  }
  if (device.ack_listed) return Outcome::done;
  device.ack_listed = true;
  return Outcome::wait;
}

Job::Outcome Job::welcome(Device& device, const UpFrame& frame) {
  if (frame.kind != FrameKind::hello) return Outcome::fault;
  device.welcomed = true;
  device.received = frame.hello->last;
  if (level_ >= Level::values) {
    device.last_values = std::make_unique<LastValues>(SessionSettings{}.last_values_bytes_max);
  }
  const SessionSettings session;
  WelcomeFrame welcome;
  welcome.epoch = Epoch{1};
  welcome.stage = frame.hello->stage;
  welcome.credit = {session.credit_frames, session.credit_bytes};
  welcome.heartbeat_seconds = frame.hello->heartbeat_seconds;
  welcome.ack_every_frames = session.ack_every_frames;
  welcome.ack_every_ms = static_cast<std::uint32_t>(session.ack_every.count());
  welcome.acked_through = welcome.received_through = frame.hello->last;
  welcome.server_unix_ms = SystemClock().unix_ms();
  welcome.node = "bench";
  wire_.encoder().welcome(welcome, answer_);
  return Outcome::answer;
}

const std::string* Job::acknowledge(Device& device) {
  if (std::exchange(device.since_ack, 0) == 0) return nullptr;
  wire_.encoder().ack(device.received, answer_);
  return &answer_;
}

}  // namespace fieldgate::bench
