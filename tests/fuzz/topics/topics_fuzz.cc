// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/presence_book.h"
#include "adapters/mqtt/presence_json.h"
#include "adapters/mqtt/topics.h"

#include <mosquitto.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

// What a device may call itself, and what a hostile broker may send back. Input:
// kind byte, then two texts divided by the first NUL.
namespace {

using namespace fieldgate;

void require(bool holds) {
  if (!holds) std::abort();
}

void build(const mqtt::Topics& topics, RecordKind kind, std::string_view device, std::string_view name) {
  RecordView record;
  record.kind = kind;
  record.device = device;
  record.name = name;
  const auto topic = topics.record(record);
  if (!topic) return;
  require(mosquitto_pub_topic_check2(topic->data(), topic->size()) == MOSQ_ERR_SUCCESS);
  require(std::ranges::count(*topic, '/') <= 5);
  require(topic->starts_with(std::string("fieldgate/v1/devices/").append(device).append("/")));
}

void receive(const mqtt::Topics& topics, std::string_view topic, std::string_view payload) {
  if (const auto node = mqtt::parse_node_state(payload)) require(is_valid_name(node->node));
  const auto presence = mqtt::parse_presence(payload);
  if (presence) {
    require(presence->epoch.value <= k_epoch_max);
    require(mqtt::parse_presence(
                mqtt::write_presence({presence->online, presence->epoch, 0, ""}, presence->node, presence->boot_id))
                .has_value());
  }
  auto device = topics.parse_presence(topic);
  if (!device) device = DeviceId::parse("pump-7").value();
  mqtt::PresenceBook book("gw-1", "b2", 4);
  book.apply(DeviceId::parse("pump-7").value(), {true, {5}, 1, ""});
  book.seen(*device, presence, true, 0);
  book.seen(*device, presence, false, 0);
  for (int i = 0; i < 4; ++i) {
    if (auto update = book.next()) book.done(update->device, true);
  }
  require(book.idle());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const mqtt::Topics topics = mqtt::Topics::make("fieldgate/v1", "gw-1").value();
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t nul = std::min(text.find('\0'), text.size());
  const std::string_view first = text.substr(0, nul);
  const std::string_view second = nul < text.size() ? text.substr(nul + 1) : std::string_view();
  build(topics, static_cast<RecordKind>(data[0] % k_record_kinds), first, second);
  receive(topics, first, second);
  return 0;
}
