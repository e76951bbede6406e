// SPDX-License-Identifier: Apache-2.0
#include "gateway/serve.h"

#include "adapters/http/admin_server.h"
#include "adapters/http/api_server.h"
#include "adapters/identity/device_authenticator.h"
#include "adapters/log/process_log.h"
#include "adapters/prometheus/exporter.h"
#include "adapters/wire/protobuf_wire.h"
#include "gateway/config/print.h"
#include "gateway/control_part.h"
#include "gateway/net/epoch_source.h"
#include "gateway/net/gateway.h"
#include "gateway/node_state.h"
#include "gateway/northbound_part.h"
#include "gateway/ports/live_tap.h"

#include <openssl/rand.h>
#include <unistd.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <utility>
#include <vector>

namespace fieldgate {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_poll{50};
constexpr std::chrono::seconds k_tick{1};
constexpr milliseconds k_farewell_max{2'000};

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  static constexpr char k_hex[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += k_hex[byte >> 4];
    text += k_hex[byte & 15];
  }
  return text;
}

Result<std::string> node_name(const Settings& settings) {
  if (!settings.node.name.empty()) return settings.node.name;
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string name(host.data());
  if (is_valid_name(name)) return name;
  return make_error(Errc::invalid_argument, "the host name '" + name + "' cannot serve as node name: set node.name");
}

// The gateway is made before those it tells about devices, for they ask the gateway.
class FleetRelay final : public FleetSink {
 public:
  // Before the gateway is opened.
  void connect(FleetSink& to) { to_.push_back(&to); }
  void changed(std::vector<DeviceSummary> devices) override { pass(std::move(devices), &FleetSink::changed); }
  void seen(std::vector<SeenUpdate> updates) override { pass(std::move(updates), &FleetSink::seen); }

 private:
  template <class T>
  void pass(std::vector<T> news, void (FleetSink::*tell)(std::vector<T>)) {
    for (std::size_t i = 0; i + 1 < to_.size(); ++i) (to_[i]->*tell)(news);
    if (!to_.empty()) (to_.back()->*tell)(std::move(news));
  }

  std::vector<FleetSink*> to_;
};

// The same for those who watch devices live.
class TapRelay final : public LiveTap {
 public:
  void connect(LiveTap& to) { to_ = &to; }
  void tapped(TappedRecord record) override {
    if (to_ != nullptr) to_->tapped(std::move(record));
  }

 private:
  LiveTap* to_ = nullptr;
};

// The process: made once, run once. Members are destroyed in reverse, so each
// stands above those that borrow it.
class Process {
 public:
  Process(Settings settings, std::function<Result<Settings>()> reload)
      : settings_(std::move(settings)), reload_(std::move(reload)), log_(make_log(settings_.log)) {}

  int run();

 private:
  Result<void> build();
  Result<void> build_parts(const NodeInfo& info);
  Result<void> open();
  Result<void> start_control();
  void build_servers(NodeInfo info);
  metrics::Sources sources();
  void tick();
  void warn_of_an_old_list();
  void wait_signal();
  void on_signal(int number);
  void reload();
  void drain();
  void poll_drain();
  void flush_uplink();
  bool lanes_may_take_more() const;
  void account_for_the_rest();
  void finish();
  milliseconds until(Monotonic deadline) const {
    return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(deadline - clock_.now()));
  }
  template <class F>
  void later(F f) {
    timer_.expires_after(k_poll);
    timer_.async_wait([f](error_code ec) {
      if (!ec) f();
    });
  }

  Settings settings_;
  std::function<Result<Settings>()> reload_;
  SystemClock clock_;
  // Above all that takes time to end: a signal meanwhile must not end the process.
  boost::asio::io_context io_{1};
  boost::asio::signal_set signals_{io_, SIGTERM, SIGINT, SIGHUP};
  std::unique_ptr<ProcessLog> log_;
  boost::asio::steady_timer timer_{io_};
  boost::asio::steady_timer tick_timer_{io_};
  std::unique_ptr<net::EpochSource> epochs_;
  std::unique_ptr<DeviceAuthenticator> authenticator_;
  std::unique_ptr<wire::ProtobufWire> wire_;
  std::unique_ptr<NorthboundPart> northbound_;
  std::unique_ptr<ControlPart> control_;  // nullptr: no store
  uplink::UplinkLog* uplink_ = nullptr;   // northbound_'s
  FleetRelay fleet_;
  TapRelay tap_;
  HttpProbe http_probe_;
  std::unique_ptr<net::Gateway> gateway_;
  std::unique_ptr<NodeState> state_;
  std::unique_ptr<http::ApiServer> api_;
  std::unique_ptr<metrics::Exporter> exporter_;
  std::unique_ptr<http::AdminServer> admin_;
  Monotonic drain_end_;
  bool draining_ = false;
  std::int64_t old_list_told_ = 0;  // the nextUpdate that was warned of last
  bool durable_ = false;            // the spool outlives the process
  int status_ = 0;
};

// --- start

Result<void> Process::build() {
  const auto node = node_name(settings_);
  if (!node) return node.error();
  auto epochs = net::EpochSource::make(settings_.node.state_dir, clock_.unix_ms() / 1'000);
  if (!epochs) return epochs.error();
  epochs_ = std::move(*epochs);
  auto authenticator = DeviceAuthenticator::open(settings_.tokens, settings_.devices.tls.allow_common_name, clock_);
  if (!authenticator) return authenticator.error();
  authenticator_ = std::move(*authenticator);
  wire_ = std::make_unique<wire::ProtobufWire>(settings_.limits);
  NodeInfo info;
  info.name = *node;
  info.boot_id = random_id();
  info.version = FIELDGATE_VERSION;
  info.started_unix_ms = clock_.unix_ms();
  if (auto parts = build_parts(info); !parts) return parts;
  build_servers(std::move(info));
  return {};
}

// From the far sides to the devices: each needs those before it.
Result<void> Process::build_parts(const NodeInfo& info) {
  auto northbound = NorthboundPart::make(settings_, clock_, *log_);
  if (!northbound) return northbound.error();
  northbound_ = std::move(*northbound);
  durable_ = settings_.uplink.spool.enabled;

  auto control = ControlPart::make(settings_, {info.name, info.boot_id, info.version, info.started_unix_ms},
                                   {clock_, *log_, wire_->reader(), northbound_->dead_letters(), epochs_->floor()});
  if (!control) return control.error();
  control_ = std::move(*control);
  auto built = northbound_->build(settings_, info.name, info.boot_id, control_ ? &control_->lane() : nullptr,
                                  control_ ? control_->ports().commands : nullptr, clock_, *log_);
  if (!built) return built;
  uplink_ = &northbound_->uplink();

  net::GatewayPorts ports{clock_,
                          *log_,
                          *wire_,
                          *authenticator_,
                          *uplink_,
                          fleet_,
                          northbound_->presence_views(),
                          control_ ? control_->admission() : *epochs_};
  ports.filters = uplink_->filters();
  ports.tap = &tap_;
  if (control_) {
    ports.recorder = &control_->recorder();
    fleet_.connect(*control_);
  }
  auto gateway = net::Gateway::make(settings_, {info.name, info.boot_id}, std::move(ports));
  if (!gateway) return gateway.error();
  gateway_ = std::move(*gateway);
  for (std::uint32_t i = 0; i < gateway_->shards(); ++i) uplink_->attach(i, gateway_->stage_sink(i));
  return {};
}

void Process::build_servers(NodeInfo info) {
  state_ = std::make_unique<NodeState>(std::move(info), *gateway_, *uplink_, clock_);
  if (settings_.api.enabled) {
    http::ApiPorts ports{*gateway_, *state_, *uplink_, clock_, *log_, http_probe_};
    if (control_) ports.control = control_->ports();
    ports.downlink = gateway_.get();
    api_ = std::make_unique<http::ApiServer>(settings_.api, settings_.session.inactive_after, std::move(ports));
    fleet_.connect(*api_);
    tap_.connect(*api_);
  }
  exporter_ = std::make_unique<metrics::Exporter>(sources());
  admin_ = std::make_unique<http::AdminServer>(
      settings_.admin, *state_, [this] { return exporter_->text(); }, [this] { return state_->alive(); }, clock_,
      *log_);
}

metrics::Sources Process::sources() {
  metrics::Sources from;
  for (std::uint32_t i = 0; i < gateway_->shards(); ++i) from.shards.push_back(&gateway_->probe(i));
  northbound_->describe_to(from);
  if (api_) from.http = &http_probe_;
  from.status = state_.get();
  from.certificates = [this]() -> std::vector<metrics::CertificateExpiry> {
    std::vector<metrics::CertificateExpiry> known;
    if (const std::int64_t until = gateway_->certificate_not_after(); until != 0) {
      known.push_back({"device_listener", until});
    }
    if (const std::int64_t until = gateway_->crl_next_update(); until != 0) {
      known.push_back({"device_revocation_list", until});
    }
    return known;
  };
  from.log_dropped_lines = [this] { return log_->dropped_lines(); };
  return from;
}

Result<void> Process::start_control() {
  if (!control_) return {};
  control::ControlLinks links;
  links.downlink = gateway_.get();
  links.sinks = northbound_->control_sinks();
  links.sinks.push_back(authenticator_.get());
  if (api_) links.sinks.push_back(api_.get());
  return control_->start(std::move(links));
}

Result<void> Process::open() {
  const auto admin_port = admin_->start();
  if (!admin_port) return admin_port.error();
  // The fleet hears of the devices of earlier processes before it hears of any other.
  gateway_->restore(uplink_->take_restored());
  if (auto started = start_control(); !started) return started;
  uplink_->start();
  const auto device_port = gateway_->open();
  if (!device_port) return device_port.error();
  std::uint16_t api_port = 0;
  if (api_) {
    const auto port = api_->start();
    if (!port) return port.error();
    api_port = *port;
  }
  gateway_->accept();
  state_->enter(NodeState::Phase::running);
  if (!settings_.devices.tls.enabled) {
    log_->warn(
        "device_port_is_plain_text",
        {{"hint", "anyone on this machine can read and send; devices.tls.enabled: true for anything but development"}});
  }
  log_->info("ready",
             {{"version", FIELDGATE_VERSION},
              {"node", state_->node().name},
              {"boot_id", state_->node().boot_id},
              {"shards", gateway_->shards()},
              {"devices", settings_.devices.listen.address + ":" + std::to_string(*device_port)},
              {"api", api_ ? settings_.api.listen.address + ":" + std::to_string(api_port) : std::string("off")},
              {"admin", settings_.admin.listen.address + ":" + std::to_string(*admin_port)}});
  return {};
}

int Process::run() {
  Result<void> started = build();
  if (started) started = open();
  if (!started) {
    log_->error("start_failed", {{"error", started.error().detail}});
    finish();
    return k_exit_start_failed;
  }
  wait_signal();
  tick();
  io_.run();
  return status_;
}

// The list goes on being used: somebody has to know.
void Process::warn_of_an_old_list() {
  const std::int64_t due = gateway_->crl_next_update();
  if (due == 0 || due == old_list_told_ || clock_.unix_ms() < due * 1'000) return;
  old_list_told_ = due;
  log_->warn("revocation_list_out_of_date",
             {{"file", settings_.devices.tls.crl_file},
              {"risk", "revocations since then are not known; put the newest list there and send SIGHUP"}});
}

void Process::tick() {
  uplink_->tick();
  warn_of_an_old_list();
  tick_timer_.expires_after(k_tick);
  tick_timer_.async_wait([this](error_code ec) {
    if (!ec) tick();
  });
}

// --- signals

void Process::wait_signal() {
  signals_.async_wait([this](error_code ec, int number) {
    if (ec) return;
    // First: with nothing to drain, on_signal() ends the waiting at once.
    wait_signal();
    on_signal(number);
  });
}

void Process::on_signal(int number) {
  if (number == SIGHUP) {
    if (!draining_) reload();
  } else if (!draining_) {
    log_->info("draining", {{"signal", number}, {"period_s", settings_.node.drain_period.count()}});
    drain();
  } else {
    log_->warn("drain_cut_short", {{"signal", number}});
    drain_end_ = clock_.now();
  }
}

void Process::reload() {
  const auto fresh = reload_();
  if (!fresh) {
    log_->error("reload_refused", {{"error", fresh.error().detail}, {"hint", "nothing was changed"}});
    return;
  }
  bool failed = false;
  const auto note = [&](std::string_view what, const Result<void>& result) {
    if (result) return;
    failed = true;
    log_->error("reload_partly_refused", {{"what", what}, {"error", result.error().detail}});
  };
  for (const config::Change& change : config::changes(settings_, *fresh)) {
    if (!change.taken_over) log_->warn("reload_needs_restart", {{"key", change.path}});
  }
  log_->set_level(fresh->log.level);
  // Before the gateway, which then looks at every session anew.
  note("tokens", authenticator_->reload(settings_.tokens));
  if (api_) note("api", api_->reload());
  Settings taken = *fresh;
  taken.devices.tls = settings_.devices.tls;
  note("devices", gateway_->reload(taken));
  if (!failed) log_->info("reloaded");
}

// --- drain: devices first, then what they sent, then the farewells, then the spool

void Process::drain() {
  draining_ = true;
  state_->enter(NodeState::Phase::draining);
  drain_end_ = clock_.now() + settings_.node.drain_period;
  // Goodbyes take half of the period; the rest is for closing and flushing.
  gateway_->drain(std::chrono::duration_cast<milliseconds>(settings_.node.drain_period) / 2);
  poll_drain();
}

void Process::poll_drain() {
  if (gateway_->connections() > 0 && until(drain_end_) > settings_.node.drain_period / 4) {
    return later([this] { poll_drain(); });
  }
  gateway_->stop();
  flush_uplink();
}

// With a spool on disk nothing need be waited for, but whatever the lanes can still
// take need not wait for the next start.
void Process::flush_uplink() {
  if (uplink_->pending() > 0 && until(drain_end_) > milliseconds(0) && lanes_may_take_more()) {
    return later([this] { flush_uplink(); });
  }
  finish();
  account_for_the_rest();
  log_->info("stopped", {{"status", status_}});
  tick_timer_.cancel();
  signals_.cancel();
}

bool Process::lanes_may_take_more() const {
  if (!durable_) return true;
  const auto lanes = uplink_->lanes();
  return std::ranges::any_of(lanes, [](const LaneStatus& lane) { return !lane.held && lane.pending_records > 0; });
}

// Once the spool is closed: what is in it survives, and what is neither there nor
// forwarded is lost. Both are the newest records, so the smaller number is both.
void Process::account_for_the_rest() {
  std::uint64_t pending = uplink_->pending();
  if (durable_) {
    for (const LaneStatus& lane : uplink_->lanes()) pending = std::max(pending, lane.pending_records);
  }
  const std::uint64_t lost = durable_ ? std::min(pending, uplink_->unsaved()) : pending;
  if (pending > lost) {
    log_->info("records_kept",
               {{"records", pending - lost}, {"hint", "in the spool; the next start goes on with them"}});
  }
  if (lost == 0) return;
  log_->error("records_lost_at_stop",
              {{"records", lost},
               {"hint", durable_ ? "the spool could not write them; devices that asked for SPOOLED still hold theirs"
                                 : "the lane could not take them in time; devices that asked for FORWARDED still hold "
                                   "theirs"}});
  status_ = k_exit_unflushed;
}

void Process::finish() {
  if (api_) api_->stop();
  if (gateway_) gateway_->stop();
  if (uplink_ != nullptr) uplink_->stop(k_farewell_max);
  if (control_) control_->stop(k_farewell_max);
  if (admin_) admin_->stop();
}

}  // namespace

int serve(Settings settings, const std::string& config_path, std::function<Result<Settings>()> reload) {
  static_cast<void>(config_path);
  // A peer that has gone is an error of that write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  return Process(std::move(settings), std::move(reload)).run();
}

}  // namespace fieldgate
