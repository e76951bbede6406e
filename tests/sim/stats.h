// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/histogram.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace fieldgate::sim {

// How a connection, or the attempt to make one, came to its end.
enum class Loss : std::uint8_t {
  connect_refused,
  connect_failed,   // another error of connect()
  connect_timeout,  // not open in time, in whatever phase
  no_descriptor,    // this process has no descriptor left
  tls_failed,
  upgrade_refused,  // an HTTP status other than 101
  upgrade_malformed,
  reset,
  unclean_end,        // TCP end without a Close frame
  closed_by_gateway,  // a Close frame, then the end
  closed_by_device,   // our Close was answered
  close_timeout,      // our Close was not answered
  websocket_fault,    // the gateway broke RFC 6455
  welcome_timeout,
  heartbeat_lost,  // nothing heard for 2.5 heartbeats
  dropped,         // the profile cut it off
};
inline constexpr std::size_t k_losses = static_cast<std::size_t>(Loss::dropped) + 1;
std::string_view to_string(Loss loss) noexcept;

// What happened on one worker. Only counts: `connected` and the like are read
// off the devices.
struct Stats {
  std::uint64_t connects = 0;  // attempts
  std::uint64_t opens = 0;     // WebSocket up
  std::uint64_t tls_resumed = 0;
  std::uint64_t welcomes = 0;
  std::uint64_t reconnects = 0;  // welcomes after a device's first
  std::uint64_t frames_made = 0;
  std::uint64_t frames_sent = 0;    // each once
  std::uint64_t frames_resent = 0;  // sent again, after a loss
  std::uint64_t bytes_sent = 0;     // of both
  std::uint64_t frames_acked = 0;   // rejected ones included
  std::uint64_t frames_rejected = 0;
  std::uint64_t frames_withheld = 0;  // not made, because the buffer was full
  std::uint64_t acks = 0;
  std::uint64_t throttles = 0;
  std::uint64_t pings_answered = 0;
  std::uint64_t times = 0;
  std::uint64_t commands = 0;           // each id once
  std::uint64_t commands_repeated = 0;  // ids that had come before
  std::uint64_t cancels = 0;
  std::uint64_t desireds = 0;
  std::uint64_t streams_restarted = 0;
  // Frames acknowledged as SPOOLED that are above a later Welcome's received_through:
  // the gateway that said so came back without them.
  std::uint64_t acked_forgotten = 0;
  std::array<std::uint64_t, k_losses> losses{};
  std::map<unsigned, std::uint64_t> close_codes;    // received
  std::map<unsigned, std::uint64_t> http_statuses;  // instead of the upgrade
  std::map<std::string, std::uint64_t> goodbyes;
  std::map<std::string, std::uint64_t> stages;      // as granted by Welcome
  std::map<std::string, std::uint64_t> violations;  // of the protocol, by the gateway
  Histogram open_us;                                // connect() to WebSocket open
  Histogram welcome_us;                             // connect() to Welcome
  Histogram ack_us;                                 // a frame made to its Ack
  Histogram rtt_us;                                 // TimeRequest to Time

  void merge(const Stats& other);
  std::uint64_t failures() const noexcept;  // losses other than closed_* and dropped
  std::uint64_t violations_total() const noexcept;
};

}  // namespace fieldgate::sim
