// SPDX-License-Identifier: Apache-2.0
#include "gateway/northbound_part.h"

#include "adapters/spool/lmdb_spool.h"
#include "adapters/spool/memory_dead_letters.h"
#include "adapters/spool/memory_spool.h"
#include "adapters/webhook/webhook_lane.h"
#include "gateway/core/lane_filter.h"

#include <utility>

namespace fieldgate {
namespace {

Error of_lane(const std::string& name, const Error& error) {
  return {error.code, "lane " + name + ": " + error.detail};
}

}  // namespace

Result<std::unique_ptr<NorthboundPart>> NorthboundPart::make(const Settings& settings, const Clock& clock, Log& log) {
  std::unique_ptr<NorthboundPart> part(new NorthboundPart);
  if (const auto spool = part->make_spool(settings, clock, log); !spool) return spool.error();
  return part;
}

Result<void> NorthboundPart::make_spool(const Settings& settings, const Clock& clock, Log& log) {
  const UplinkSettings& of = settings.uplink;
  if (!of.spool.enabled) {
    spool_ = std::make_unique<spool::MemorySpool>(of.memory_bytes_max);
    own_dead_letters_ = std::make_unique<spool::MemoryDeadLetters>(of.dead_letter_bytes_max);
    dead_letters_ = own_dead_letters_.get();
    return {};
  }
  spool::LmdbSpoolSettings with;
  with.dir = of.spool.dir.empty() ? settings.node.state_dir + "/spool" : of.spool.dir;
  with.bytes_max = of.spool.bytes_max;
  with.memory_bytes_max = of.memory_bytes_max;
  with.commit_every = of.spool.commit_every;
  with.commit_records = of.spool.commit_records;
  with.dead_letter_bytes_max = of.dead_letter_bytes_max;
  auto opened = spool::LmdbSpool::make(with, clock, log);
  if (!opened) return opened.error();
  dead_letters_ = &(*opened)->dead_letters();
  spool_probe_ = &(*opened)->probe();
  spool_ = std::move(*opened);
  return {};
}

Result<void> NorthboundPart::build(const Settings& settings, const std::string& node, const std::string& boot_id,
                                   Lane* store_lane, Commands* commands, const Clock& clock, Log& log) {
  std::vector<uplink::LaneSpec> specs;
  const auto add = [&specs](Lane& lane, const auto& of) -> Result<void> {
    auto filter = LaneFilter::make(of.filter);
    if (!filter) return of_lane(of.name, filter.error());
    specs.push_back({&lane, std::move(*filter), of.max_age});
    return {};
  };
  for (const MqttLaneSettings& of : settings.mqtt) {
    MqttLanePart& part = mqtt_.emplace_back();
    part.name = of.name;
    part.probe = std::make_unique<MqttLaneProbe>();
    // One way between nodes is enough, and by two a message would come twice.
    const bool carries = settings.store.kind == StoreKind::postgres && peers_ == nullptr && of.inbox;
    auto lane = mqtt::make_mqtt_lane(of, {node, boot_id, FIELDGATE_VERSION, clock.unix_ms()}, clock, log, *part.probe,
                                     *dead_letters_, commands, carries ? &peer_probe_ : nullptr);
    if (!lane) return of_lane(of.name, lane.error());
    part.lane = std::move(*lane);
    if (carries) peers_ = part.lane->peers();
    if (of.commands) control_sinks_.push_back(part.lane.get());
    if (of.presence_retained) presence_views_.push_back(part.lane.get());
    if (auto added = add(*part.lane, of); !added) return added;
  }
  for (const WebhookLaneSettings& of : settings.webhooks) {
    WebhookLanePart& part = webhooks_.emplace_back();
    part.name = of.name;
    part.probe = std::make_unique<WebhookLaneProbe>();
    auto lane = webhook::make_webhook_lane(of, {node, boot_id}, clock, log, *part.probe, *dead_letters_);
    if (!lane) return of_lane(of.name, lane.error());
    part.lane = std::move(*lane);
    if (auto added = add(*part.lane, of); !added) return added;
  }
  if (store_lane != nullptr) specs.push_back({store_lane, LaneFilter(), seconds(0)});
  uplink_ =
      std::make_unique<uplink::UplinkLog>(*spool_, *dead_letters_, std::move(specs),
                                          uplink::UplinkTiming{settings.uplink.spool.checkpoint_every}, clock, log);
  return uplink_->recover();
}

void NorthboundPart::describe_to(metrics::Sources& sources) const {
  for (const MqttLanePart& part : mqtt_) sources.lanes.push_back({part.name, part.probe.get()});
  for (const WebhookLanePart& part : webhooks_) sources.lanes.push_back({part.name, part.probe.get()});
  sources.peers = &peer_probe_;
  sources.spool = [this] { return uplink_->usage(); };
  sources.uplink_level = [this] { return uplink_->level(); };
  sources.dead_letters = [this] { return dead_letters_->usage(); };
  if (!spool_->durable()) return;
  sources.spool_probe = spool_probe_;
  sources.spool_marks = [this] { return metrics::SpoolMarks{spool_->durable_through(), spool_->checkpoint()}; };
}

}  // namespace fieldgate
