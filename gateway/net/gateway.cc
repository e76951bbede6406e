// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/gateway.h"

#include "gateway/net/shard.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace fieldgate::net {

std::chrono::milliseconds drain_time(std::uint32_t connections, std::uint32_t rate, std::chrono::milliseconds at_most) {
  if (rate == 0) return at_most;
  return std::min(at_most, std::chrono::milliseconds(std::uint64_t{connections} * 1'000 / rate));
}

Result<std::unique_ptr<Gateway>> Gateway::make(const Settings& settings, GatewayIdentity identity, Ports ports) {
  std::unique_ptr<TlsContextHolder> tls;
  if (settings.devices.tls.enabled) {
    auto context = TlsContext::load(settings.devices.tls, nullptr);
    if (!context) return context.error();
    tls = std::make_unique<TlsContextHolder>(std::move(*context));
  }
  return std::unique_ptr<Gateway>(new Gateway(settings, std::move(identity), std::move(tls), std::move(ports)));
}

Gateway::Gateway(const Settings& settings, GatewayIdentity identity, std::unique_ptr<TlsContextHolder> tls, Ports ports)
    : settings_(settings), identity_(std::move(identity)), tls_(std::move(tls)) {
  if (settings_.node.shards == 0) settings_.node.shards = std::max(1U, std::thread::hardware_concurrency());
  const SessionConfigPtr config = config_from(settings_);
  const ShardEnv env{std::move(ports), addresses_, connections_, leaving_, &pressure_};
  std::vector<Shard*> all;
  for (std::uint32_t i = 0; i < settings_.node.shards; ++i) {
    shards_.push_back(std::make_unique<Shard>(i, env, config));
    all.push_back(shards_.back().get());
  }
  for (const auto& shard : shards_) shard->link(all);
}

Gateway::~Gateway() { stop(); }

SessionConfigPtr Gateway::config_from(const Settings& settings) const {
  auto config = std::make_shared<SessionConfig>();
  config->session = settings.session;
  config->limits = settings.limits;
  // What the decoders were made with holds until a restart.
  config->limits.frame_bytes_max = settings_.limits.frame_bytes_max;
  // Or a reload that turns it on would send all who are older away at once.
  config->session.age_max = settings_.session.age_max;
  config->allowed_origins = settings.devices.allowed_origins;
  // The configuration has been checked; of one that has not, nobody is trusted.
  if (auto trusted = NetworkSet::parse(settings.devices.proxy_trusted)) config->proxy_trusted = std::move(*trusted);
  if (tls_) config->tls = tls_->current();
  config->node = identity_.node;
  config->boot_id = identity_.boot_id;
  config->shards = settings_.node.shards;
  config->peers = settings_.store.kind == StoreKind::postgres;
  return config;
}

StageSink& Gateway::stage_sink(std::uint32_t shard) noexcept { return *shards_[shard]; }

const ShardProbe& Gateway::probe(std::uint32_t shard) const noexcept { return std::as_const(*shards_[shard]).probe(); }

void Gateway::restore(std::vector<RestoredDevice> devices) {
  std::vector<std::vector<RestoredDevice>> homes(shards_.size());
  for (RestoredDevice& device : devices) homes[home_index(device.id)].push_back(std::move(device));
  for (std::size_t i = 0; i < homes.size(); ++i) shards_[i]->restore(std::move(homes[i]));
}

Result<std::uint16_t> Gateway::open() {
  Endpoint endpoint = settings_.devices.listen;
  if (const auto unused = check_unused(endpoint); !unused) return unused.error();
  for (const auto& shard : shards_) {
    const auto port = shard->listen(endpoint);
    if (!port) return port.error();
    endpoint.port = *port;
  }
  for (const auto& shard : shards_) shard->start();
  return endpoint.port;
}

void Gateway::accept() {
  for (const auto& shard : shards_) shard->post([s = shard.get()] { s->accept(); });
}

Result<void> Gateway::reload(const Settings& settings) {
  bool trust_changed = false;
  if (tls_) {
    // Where the listener is, and whether it speaks TLS, is settled at start.
    const auto rotated = tls_->rotate(settings.devices.tls);
    if (!rotated) return rotated.error();
    trust_changed = *rotated;
  }
  const SessionConfigPtr config = config_from(settings);
  for (const auto& shard : shards_) {
    shard->post([s = shard.get(), config, trust_changed] {
      s->set_config(config);
      s->recheck_credentials(trust_changed);
    });
  }
  return {};
}

void Gateway::drain(std::chrono::milliseconds period, std::uint32_t rate) {
  period = drain_time(connections(), rate, period);
  for (const auto& shard : shards_) shard->post([s = shard.get(), period] { s->drain(period); });
}

void Gateway::stop() {
  for (const auto& shard : shards_) shard->stop();
}

std::uint64_t Gateway::sessions() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) {
    sum += static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::as_const(*shard).probe().sessions.get()));
  }
  return sum;
}

std::uint64_t Gateway::awaited() const noexcept {
  std::uint64_t sum = leaving_.load(std::memory_order_acquire);
  for (const auto& shard : shards_) sum += std::as_const(*shard).probe().ends_held.get();
  return sum;
}

std::int64_t Gateway::certificate_not_after() const { return tls_ ? tls_->current()->not_after_unix() : 0; }

std::int64_t Gateway::crl_next_update() const { return tls_ ? tls_->current()->crl_next_update_unix() : 0; }

void Gateway::detail(const DeviceId& id, LiveDevices::Answer answer) {
  Shard* home = home_of(id);
  if (home->stopped()) return answer(std::nullopt);
  home->post([home, id, answer = std::move(answer)] { home->detail(id, answer); });
}

void Gateway::watch(WatchSetPtr devices) {
  for (const auto& shard : shards_) shard->post([s = shard.get(), devices] { s->watch(devices); });
}

void Gateway::send(const DeviceId& id, DownMessage message, Downlink::Answer answer) {
  Shard* home = home_of(id);
  if (home->stopped()) return answer(Delivery::offline, Epoch{});
  home->post([home, id, message = std::move(message), answer = std::move(answer)]() mutable {
    home->send_down(id, std::move(message), std::move(answer));
  });
}

void Gateway::close(const DeviceId& id, EndReason reason, std::function<void(bool)> answer) {
  Shard* home = home_of(id);
  if (home->stopped()) return answer(false);
  home->post([home, id, reason, answer = std::move(answer)] { home->close_device(id, reason, answer); });
}

void Gateway::recheck(std::vector<DeviceId> devices) {
  std::vector<std::vector<DeviceId>> homes(shards_.size());
  for (DeviceId& device : devices) homes[home_index(device)].push_back(std::move(device));
  for (std::size_t i = 0; i < homes.size(); ++i) {
    if (homes[i].empty()) continue;
    auto of_shard = std::make_shared<const std::vector<DeviceId>>(std::move(homes[i]));
    shards_[i]->post([s = shards_[i].get(), of_shard = std::move(of_shard)] { s->recheck(of_shard, 0); });
  }
}

}  // namespace fieldgate::net
