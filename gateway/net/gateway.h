// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/address_book.h"
#include "gateway/core/error.h"
#include "gateway/core/restored_device.h"
#include "gateway/core/settings.h"
#include "gateway/net/session_config.h"
#include "gateway/net/shard_env.h"
#include "gateway/net/tls_context.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/owners.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/uplink.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::net {

class Shard;

// How long it takes to send so many away at `rate` a second (0: any), and no longer than `at_most`.
std::chrono::milliseconds drain_time(std::uint32_t connections, std::uint32_t rate, std::chrono::milliseconds at_most);

struct GatewayIdentity {
  std::string node;
  std::string boot_id;
};

// The southbound half of the process: the device port and its shards.
// Thread: made, opened, drained and stopped by one thread; the rest as said.
// Owns:   the shards and their threads. Borrows what GatewayPorts names.
class Gateway final : public LiveDevices, public Downlink, public Owners {
 public:
  using Ports = GatewayPorts;

  // Loads certificates and makes the shards; nothing runs yet.
  // Errors: what is wrong with which file.
  static Result<std::unique_ptr<Gateway>> make(const Settings& settings, GatewayIdentity identity, Ports ports);
  ~Gateway() override;

  std::uint32_t shards() const noexcept { return static_cast<std::uint32_t>(shards_.size()); }
  StageSink& stage_sink(std::uint32_t shard) noexcept;
  const ShardProbe& probe(std::uint32_t shard) const noexcept;

  // The devices that the log of earlier processes knows: each may resume where it
  // stood, the fleet hears of them, and those that were online are said to be
  // offline (EndReason::node_lost), paced by the room in the log, each before it may
  // be said to be online again. Before open(), once; each device once.
  void restore(std::vector<RestoredDevice> devices);

  // Binds the device port on every shard and starts their threads; accepts from
  // accept() on. Errors: the address, and what to do.
  Result<std::uint16_t> open();
  void accept();

  // Takes over what may change while running: limits, session settings, origins,
  // certificates. Sessions that are no longer allowed end CREDENTIAL_REVOKED.
  // Errors: a bad certificate pair; everything stays as it was.
  Result<void> reload(const Settings& settings);

  // Stops accepting and sends everyone away, spread over `period`, or sooner where
  // `rate` Goodbyes per second (0: any) allow it. Returns at once; connections() falls to 0,
  // and then awaited().
  void drain(std::chrono::milliseconds period, std::uint32_t rate);
  // Cuts what is left and joins the shards.
  void stop();

  // Any thread. While there is pressure nobody is let in; who is there stays.
  void set_pressure(Pressure pressure) noexcept { pressure_.store(pressure, std::memory_order_relaxed); }
  Pressure pressure() const noexcept { return pressure_.load(std::memory_order_relaxed); }
  std::uint64_t sessions() const noexcept;
  std::uint32_t connections() const noexcept { return connections_.load(std::memory_order_acquire); }
  // Devices that were sent away, and of which it is not yet said that they are offline: they
  // may come back. Of those whose connections() had gone before none is missing. stop() says it.
  std::uint64_t awaited() const noexcept;
  // Unix seconds; 0 on a plain listener.
  std::int64_t certificate_not_after() const;
  // When the first of the devices' revocation lists is due to be replaced; 0: there is none.
  std::int64_t crl_next_update() const;
  void detail(const DeviceId& id, LiveDevices::Answer answer) override;
  void watch(WatchSetPtr devices) override;
  // Downlink. After stop() nobody is connected, and the answer says so at once; what is asked just as it stops may not
  // be answered.
  void send(const DeviceId& id, DownMessage message, Downlink::Answer answer) override;
  void close(const DeviceId& id, EndReason reason, std::function<void(bool)> answer) override;
  void recheck(std::vector<DeviceId> devices) override;
  // Owners.
  void superseded(std::vector<Standing> by, const std::string& node) override;
  void renew(std::vector<Standing> lost, std::function<void(Standing)> failed) override;
  void end(const Standing& connection, EndReason reason) override;
  void list(std::function<void(std::vector<DeviceSummary>)> some) override;
  void compare(std::vector<Standing> believed, std::function<void(std::vector<DeviceSummary>)> otherwise) override;
  void tell_lost(std::vector<LostConnection> lost) override;

 private:
  // Each home shard gets those of `all` that are at home there.
  template <class T, class F>
  void to_homes(std::vector<T> all, F f);
  Gateway(const Settings& settings, GatewayIdentity identity, std::unique_ptr<TlsContextHolder> tls, Ports ports);
  SessionConfigPtr config_from(const Settings& settings) const;
  std::size_t home_index(std::string_view device) const noexcept { return home_shard(device, shards_.size()); }
  Shard* home_of(const DeviceId& id) const noexcept { return shards_[home_index(id)].get(); }

  Settings settings_;
  GatewayIdentity identity_;
  std::unique_ptr<TlsContextHolder> tls_;  // nullptr: plain
  AddressBook addresses_;
  std::atomic<std::uint32_t> connections_{0};
  std::atomic<std::uint32_t> leaving_{0};
  std::atomic<Pressure> pressure_{Pressure::none};
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace fieldgate::net
