// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"
#include "tests/sim/device_settings.h"
#include "tests/sim/duties.h"
#include "tests/sim/frame_buffer.h"
#include "tests/sim/ledger.h"
#include "tests/sim/pacer.h"
#include "tests/sim/stats.h"

#include "fieldgate/v1/device.pb.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::sim {

// What a device does to its connection. None of these calls back into the device.
class DeviceLink {
 public:
  virtual ~DeviceLink() = default;
  // Ends in Device::on_open or Device::on_lost.
  virtual void connect() = 0;
  // One binary message, in order.
  virtual void send(std::string_view message) = 0;
  virtual void ping() = 0;
  // The closing handshake; ends in Device::on_lost.
  virtual void close(std::uint16_t code) = 0;
  // Gone at once: by a reset, or by an end of stream without a Close frame.
  virtual void drop(bool by_reset) = 0;
  // The peer does not take what is sent: hold data frames back.
  virtual bool congested() const = 0;
};

// What the devices of one thread share.
struct DeviceContext {
  const DeviceSettings& settings;
  FrameFactory factory;
  Stats stats;
  Rng rng;
  // Streams that were given up, and every rejected frame.
  std::vector<StreamEntry> closed_streams;
  struct Rejected {
    std::uint32_t index;
    std::uint64_t stream;
    std::uint64_t seq;
  };
  std::vector<Rejected> rejected;
  // Devices between connect() and Welcome, and those that wait for a place there.
  std::uint32_t connecting = 0;
  std::deque<std::uint32_t> queue;
  // Reused by every device.
  v1::GatewayFrame down;
  v1::DeviceFrame up;
  std::string bytes;

  DeviceContext(const DeviceSettings& all, std::uint64_t seed) : settings(all), factory(all.shape), rng(seed) {}
};

// A simulated device: the protocol's device side without sockets or clocks of
// its own. It makes frames on schedule, online or not; sends within credit and
// limits; keeps what is not acknowledged; resumes after a loss; holds the
// gateway to the protocol and counts where it departs from it.
// Thread: its context's. Borrows: context and link.
class Device {
 public:
  enum class Phase : std::uint8_t { waiting, queued, connecting, hello_sent, online, closing, finished };

  Device(DeviceContext& context, std::uint32_t index, DeviceLink& link);

  // The first attempt to connect is due at `at_us`; storms come `storm_every_us`
  // after `epoch_us`, for all devices alike.
  void start(std::int64_t at_us, std::int64_t epoch_us);
  // A place has come free for this device, which is in DeviceContext::queue; true
  // if it took it.
  bool admit(const Now& now);
  // Does whatever is due.
  void wake(const Now& now);
  // When wake() has something to do next; k_never_us: after an input only.
  std::int64_t next_wake_us() const noexcept;

  // Inputs from the connection.
  void on_open(const Now& now);
  void on_heard(const Now& now) noexcept {
    heard_us_ = now.mono_us;
    pinged_ = false;
  }
  void on_message(std::string_view message, const Now& now);
  void on_writable(const Now& now) { send_due(now); }
  void on_lost(Loss loss, const Now& now);

  // The end: no new frames, but what is there is still delivered ...
  void stop_making() noexcept { making_ = false; }
  // ... then farewell. finished() follows, if need be by abandon().
  void finish(const Now& now);
  void abandon(const Now& now);

  Phase phase() const noexcept { return phase_; }
  bool finished() const noexcept { return phase_ == Phase::finished; }
  bool online() const noexcept { return phase_ == Phase::online; }
  std::uint32_t index() const noexcept { return index_; }
  // Frames in hand that no Ack covers.
  std::uint64_t unacked() const noexcept { return buffer_.frames(); }
  bool ever_welcomed() const noexcept { return welcomed_once_; }
  // The current stream, without its rejected frames (DeviceContext::rejected).
  StreamEntry ledger_entry() const;

 private:
  std::int64_t next_step_us() const noexcept;
  void begin_stream();
  void make_due(const Now& now);
  void make_one(const Now& now);
  void send_due(const Now& now);
  void send_hello();
  void connect(const Now& now);
  void leave_connecting() noexcept;
  void disrupt(const Now& now);
  void watch(const Now& now);
  void acknowledge(std::uint64_t through, const Now& now);
  void drop(bool by_reset, Loss loss, const Now& now);
  void welcome(const v1::Welcome& welcome, const Now& now);
  void reject(const v1::Reject& reject);
  void goodbye(const v1::Goodbye& goodbye);
  void told(const v1::GatewayFrame& down, const Now& now);
  Duties::Emit emitter(const Now& now);
  void violation(const char* which) { ++context_.stats.violations[which]; }
  std::int64_t reconnect_delay_us();
  std::int64_t next_storm_us(std::int64_t now_us) const noexcept;

  DeviceContext& context_;
  DeviceLink& link_;
  const std::uint32_t index_;
  Phase phase_ = Phase::waiting;
  bool making_ = true;
  bool finishing_ = false;
  bool welcomed_once_ = false;
  bool pinged_ = false;       // nothing heard since our ping
  bool planned_ = false;      // this loss is the profile's doing
  bool stream_lost_ = false;  // STREAM_REUSED: start another
  bool taken_over_ = false;
  unsigned attempts_ = 0;  // since the last connection that held

  std::unique_ptr<Duties> duties_;  // where the settings say so, from the first Welcome on
  FrameBuffer buffer_;
  std::uint64_t stream_ = 0;
  std::uint64_t seed_ = 0;
  std::uint64_t acked_ = 0;
  v1::AckStage stage_ = v1::ACK_STAGE_UNSPECIFIED;  // of the last Welcome
  std::uint64_t spooled_ = 0;                       // all at or below were acknowledged at SPOOLED
  std::uint64_t highest_sent_ = 0;
  std::uint32_t credit_frames_ = 0;
  std::uint64_t credit_bytes_ = 0;
  Pacer frame_pacer_;
  Pacer byte_pacer_;

  std::int64_t epoch_us_ = 0;
  std::int64_t connect_us_ = k_never_us;   // when to connect; then, when it began
  std::int64_t deadline_us_ = k_never_us;  // for Welcome
  std::int64_t online_us_ = 0;
  std::int64_t make_us_ = k_never_us;
  std::int64_t send_us_ = k_never_us;  // pacing lets the next frame go
  std::int64_t disrupt_us_ = k_never_us;
  std::int64_t time_us_ = k_never_us;
  std::int64_t heartbeat_us_ = 0;
  std::int64_t heard_us_ = 0;
  std::int64_t goodbye_within_us_ = -1;  // Goodbye.reconnect_after_ms; -1: none
};

}  // namespace fieldgate::sim
