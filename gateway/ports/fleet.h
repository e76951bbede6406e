// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_summary.h"
#include "gateway/core/ids.h"
#include "gateway/ports/live_tap.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

// What the rest of the process may know of the devices.
namespace fieldgate {

// Hears of every change, in order per device; what carries an older epoch than
// one heard before is stale and to be dropped.
// Thread: any; never waits.
class FleetSink {
 public:
  virtual ~FleetSink() = default;
  virtual void changed(std::vector<DeviceSummary> devices) = 0;
  virtual void seen(std::vector<SeenUpdate> updates) = 0;
};

struct LastValue {
  std::string name;
  std::variant<double, std::int64_t, bool, std::string, std::vector<std::byte>> value;
  std::int64_t unix_ms = 0;
  std::string_view quality;  // "good", "uncertain", "bad"
};

// All there is to know of one device.
struct DeviceDetail {
  explicit DeviceDetail(DeviceSummary of) : summary(std::move(of)) {}

  DeviceSummary summary;
  // Its connection was ended here a moment ago for it to connect anew: it counts as online
  // until it is clear that it does not. What follows then is as in an offline device.
  bool reconnecting = false;
  // Online only.
  std::string address;      // peer's IP and port
  std::string tls_version;  // "TLSv1.3"; empty on a plain listener
  std::string tls_cipher;
  bool tls_resumed = false;
  std::string credential;  // "certificate", "token" or "jwt"
  std::string ack_stage;
  std::uint32_t heartbeat_seconds = 0;
  std::uint64_t frames_received = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t unacked_frames = 0;
  std::uint32_t credit_frames = 0;
  // Per stream, at most two: what has arrived, what has been forwarded, what was
  // skipped by the device.
  struct Stream {
    StreamId id;
    Seq received_through;
    Seq forwarded_through;
    std::uint64_t gaps = 0;
    std::uint64_t duplicates = 0;
  };
  std::vector<Stream> streams;
  std::vector<LastValue> last_values;  // sorted by name
  bool truncated = false;              // some were dropped for want of room
};

// Asks the devices' own shards.
// Thread: any; never waits. The answer comes on a shard's thread: post it where
// it belongs and return.
class LiveDevices {
 public:
  virtual ~LiveDevices() = default;
  using Answer = std::function<void(std::optional<DeviceDetail>)>;
  virtual void detail(const DeviceId& id, Answer answer) = 0;
  // From now on the LiveTap gets the records of these devices and no others (nullptr:
  // of none); a shard with many sessions needs a moment for it.
  virtual void watch(WatchSetPtr devices) = 0;
};

// Why the process does or does not take new devices, and what is wrong with it.
struct Readiness {
  bool ready = false;
  // Constant snake_case names with a text for people: "starting", "draining",
  // "lane_down", "uplink_backlog" ... A reason may be shown while ready.
  struct Reason {
    std::string name;
    std::string text;
    bool blocks = false;  // this one makes it not ready
  };
  std::vector<Reason> reasons;
};

struct NodeInfo {
  std::string name;
  std::string boot_id;
  std::string version;
  std::int64_t started_unix_ms = 0;
  std::uint32_t shards = 0;
  std::uint64_t sessions = 0;
};

}  // namespace fieldgate
