// SPDX-License-Identifier: Apache-2.0
#include "gateway/serve.h"

#include "adapters/http/admin_server.h"
#include "adapters/http/api_server.h"
#include "adapters/http/peer_detail.h"
#include "adapters/identity/device_authenticator.h"
#include "adapters/log/process_log.h"
#include "adapters/prometheus/exporter.h"
#include "adapters/wire/protobuf_wire.h"
#include "gateway/config/binder.h"
#include "gateway/config/environment.h"
#include "gateway/config/print.h"
#include "gateway/control/random_id.h"
#include "gateway/control_part.h"
#include "gateway/net/epoch_source.h"
#include "gateway/net/gateway.h"
#include "gateway/node_state.h"
#include "gateway/northbound_part.h"
#include "gateway/process/drain.h"
#include "gateway/process/drain_door.h"
#include "gateway/process/file_watch.h"
#include "gateway/process/relays.h"
#include "gateway/process/service_manager.h"
#include "gateway/process/watermarks.h"

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

constexpr std::chrono::seconds k_tick{1};
constexpr milliseconds k_farewell_max{2'000};
// Of what follows a drain: the lanes' last records, the lanes, the presence log and the store, the last two a second
// more.
constexpr milliseconds k_farewells_max = 4 * k_farewell_max + milliseconds(2'000);

Result<std::string> node_name(const Settings& settings) {
  if (!settings.node.name.empty()) return settings.node.name;
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string name(host.data());
  if (is_valid_name(name)) return name;
  return make_error(Errc::invalid_argument, "the host name '" + name + "' cannot serve as node name: set node.name");
}

// The process: made once, run once. Members are destroyed in reverse, so each
// stands above those that borrow it.
class Process {
 public:
  Process(Settings settings, std::string config_path, std::function<Result<Settings>()> reload)
      : settings_(std::move(settings)),
        limits_(settings_.limits),
        config_path_(std::move(config_path)),
        reload_(std::move(reload)),
        log_(make_log(settings_.log)) {}

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
  ReloadOutcome take_over();
  void watch_files(const Settings& settings);
  void look_at_resources();
  void begin_drain(std::string_view asked_by);
  void drained();
  void end();
  void account_for_the_rest();
  void finish();

  Settings settings_;
  LimitSettings limits_;  // as reloaded last
  std::string config_path_;
  std::function<Result<Settings>()> reload_;
  SystemClock clock_;
  // Above all that takes time to end: a signal meanwhile must not end the process.
  boost::asio::io_context io_{1};
  boost::asio::signal_set signals_{io_, SIGTERM, SIGINT, SIGHUP};
  std::unique_ptr<ProcessLog> log_;
  boost::asio::steady_timer tick_timer_{io_};
  ServiceManager manager_{config::process_environment(), ::getpid()};
  std::unique_ptr<net::EpochSource> epochs_;
  std::unique_ptr<DeviceAuthenticator> authenticator_;
  std::unique_ptr<wire::ProtobufWire> wire_;
  std::unique_ptr<NorthboundPart> northbound_;
  std::unique_ptr<ControlPart> control_;  // nullptr: no store
  uplink::UplinkLog* uplink_ = nullptr;   // northbound_'s
  FleetRelay fleet_;
  TapRelay tap_;
  HttpProbe http_probe_;
  ReloadProbe reload_probe_;
  Watermarks watermarks_;
  std::unique_ptr<net::Gateway> gateway_;
  std::unique_ptr<NodeState> state_;
  std::unique_ptr<http::ApiServer> api_;
  std::unique_ptr<metrics::Exporter> exporter_;
  std::unique_ptr<http::AdminServer> admin_;
  std::unique_ptr<NodeState::Pulse> pulse_;
  std::unique_ptr<Drain> drain_;
  std::unique_ptr<DrainDoor> drain_door_;
  std::unique_ptr<FileWatch> files_;
  bool stop_asked_ = false;
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
  info.boot_id = control::random_id();
  info.version = FIELDGATE_VERSION;
  info.started_unix_ms = clock_.unix_ms();
  reload_probe_.last_done_unix = info.started_unix_ms / 1'000;
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
  // Also where this node has no API itself.
  if (Peers* peers = northbound_->peers(); peers != nullptr) http::serve_details(*peers, *gateway_);
  if (settings_.api.enabled) {
    http::ApiPorts ports{*gateway_, *state_, *uplink_, clock_, *log_, http_probe_};
    if (control_) ports.control = control_->ports();
    ports.downlink = gateway_.get();
    ports.peers = northbound_->peers();
    api_ = std::make_unique<http::ApiServer>(settings_.api, settings_.session.inactive_after, std::move(ports));
    fleet_.connect(*api_);
    tap_.connect(*api_);
  }
  exporter_ = std::make_unique<metrics::Exporter>(sources());
  admin_ = std::make_unique<http::AdminServer>(
      settings_.admin, *state_, [this] { return exporter_->text(); },
      [pulse = NodeState::Pulse(*state_)]() mutable { return pulse.beats(); }, clock_, *log_);
  pulse_ = std::make_unique<NodeState::Pulse>(*state_);
  drain_ = std::make_unique<Drain>(io_, settings_.node, durable_,
                                   Drain::Parts{*gateway_, *uplink_, *state_, clock_, *log_,
                                                [this] { return !control_ || control_->has_left_the_dead(); }},
                                   [this] { drained(); });
  drain_door_ = std::make_unique<DrainDoor>(
      io_, *log_,
      [this] {
        if (!drain_->begun()) begin_drain("fieldgate drain");
      },
      [this] { return drain_->progress(); });
}

metrics::Sources Process::sources() {
  metrics::Sources from;
  for (std::uint32_t i = 0; i < gateway_->shards(); ++i) from.shards.push_back(&gateway_->probe(i));
  northbound_->describe_to(from);
  if (api_) from.http = &http_probe_;
  from.clock = &clock_;
  if (control_) from.commands = &control_->command_probe();
  if (control_) from.membership = &control_->membership_probe();
  from.reloads = &reload_probe_;
  from.status = state_.get();
  from.pressure = [this] { return gateway_->pressure(); };
  from.memory = [this] { return metrics::WatchedMemory{watermarks_.memory_bytes(), watermarks_.memory_bytes_max()}; };
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
  links.owners = gateway_.get();
  links.sinks = northbound_->control_sinks();
  links.peers = northbound_->peers();
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
  if (const auto door = drain_door_->open(settings_.node.state_dir); !door) {
    log_->warn("no_drain_requests", {{"error", door.error().detail}, {"hint", "SIGTERM drains as well"}});
  }
  if (settings_.node.reload_on_change) {
    files_ = std::make_unique<FileWatch>(io_, *log_, FileWatch::Pace{}, [this] {
      log_->info("files_changed");
      reload();
    });
    watch_files(settings_);
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
  manager_.ready();
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
  look_at_resources();
  if (pulse_->beats()) manager_.alive();
  tick_timer_.expires_after(k_tick);
  tick_timer_.async_wait([this](error_code ec) {
    if (!ec) tick();
  });
}

// The memory and the descriptors that are left decide whether anybody is let in.
void Process::look_at_resources() {
  watermarks_.look(resource_use(), limits_);
  const Pressure now = watermarks_.memory()        ? Pressure::memory
                       : watermarks_.descriptors() ? Pressure::descriptors
                                                   : Pressure::none;
  if (now == gateway_->pressure()) return;
  gateway_->set_pressure(now);
  if (now == Pressure::none) return log_->info("admission_resumed");
  log_->warn("admission_paused", {{"why", now == Pressure::memory ? "memory" : "descriptors"},
                                  {"hint", "who is connected stays; /readyz says which limit it is"}});
}

// --- signals, changed files, requests

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
    if (drain_->begun()) return;
    if (files_) files_->seen();
    return reload();
  }
  const bool again = std::exchange(stop_asked_, true);
  if (drain_->over()) return end();
  if (!drain_->begun()) return begin_drain(number == SIGINT ? "SIGINT" : "SIGTERM");
  if (!again) return manager_.stopping(drain_->patience() + k_farewells_max);  // a request has begun it
  log_->warn("drain_cut_short", {{"signal", number}});
  drain_->cut_short();
}

void Process::watch_files(const Settings& settings) {
  if (!files_) return;
  std::vector<std::string> files = config::named_files(settings_);
  const std::vector<std::string> more = config::named_files(settings);
  files.insert(files.end(), more.begin(), more.end());
  files.push_back(config_path_);
  files_->watch(files);
}

void Process::reload() {
  manager_.reloading();
  reload_probe_.count(take_over(), clock_.unix_ms() / 1'000);
  manager_.ready();
}

ReloadOutcome Process::take_over() {
  const auto fresh = reload_();
  if (!fresh) {
    log_->error("reload_refused", {{"error", fresh.error().detail}, {"hint", "nothing was changed"}});
    return ReloadOutcome::refused;
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
  limits_ = fresh->limits;
  watch_files(*fresh);
  // Before the gateway, which then looks at every session anew.
  note("tokens", authenticator_->reload(settings_.tokens));
  if (api_) note("api", api_->reload());
  Settings taken = *fresh;
  taken.devices.tls = settings_.devices.tls;
  note("devices", gateway_->reload(taken));
  if (failed) return ReloadOutcome::partly_refused;
  log_->info("reloaded");
  return ReloadOutcome::done;
}

// --- drain: devices first, then what they sent, then the farewells, then the spool

void Process::begin_drain(std::string_view asked_by) {
  log_->info("draining", {{"asked_by", asked_by},
                          {"delay_s", settings_.node.drain_delay.count()},
                          {"period_s", settings_.node.drain_period.count()}});
  if (files_) files_->stop();
  if (stop_asked_) manager_.stopping(drain_->patience() + k_farewells_max);
  manager_.status("draining");
  if (control_) control_->leave_the_dead();
  drain_->begin();
}

// Asked for by `fieldgate drain`, it goes on without devices until it is told to stop: who
// asked hears that it is drained, and decides what comes next.
void Process::drained() {
  if (stop_asked_) return end();
  log_->info("drained", {{"hint", "no device is here any more, and none is let in; SIGTERM ends the process"}});
  manager_.status("drained");
}

void Process::end() {
  finish();
  account_for_the_rest();
  log_->info("stopped", {{"status", status_}});
  tick_timer_.cancel();
  signals_.cancel();
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
  if (drain_door_) drain_door_->close();
  if (files_) files_->stop();
  if (api_) api_->stop();
  if (gateway_) gateway_->stop();
  if (uplink_ != nullptr) uplink_->stop(k_farewell_max);
  if (control_) control_->stop(k_farewell_max);
  if (admin_) admin_->stop();
}

}  // namespace

int serve(Settings settings, const std::string& config_path, std::function<Result<Settings>()> reload) {
  // A peer that has gone is an error of that write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  return Process(std::move(settings), config_path, std::move(reload)).run();
}

}  // namespace fieldgate
