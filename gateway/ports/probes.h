// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cell.h"
#include "gateway/core/command.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/record.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/wire.h"

#include <array>
#include <cstdint>
#include <string_view>

// Counters that the logic bumps. Names, help texts and labels are the Prometheus
// adapter's business. One writing thread each.
namespace fieldgate {

inline constexpr std::size_t k_reject_codes = 5;  // index: RejectCode, 0 unused

// Why accepting waits; each has the name of the end reason of those who are reset meanwhile.
enum class AcceptPause : std::uint8_t {
  memory,            // over its high watermark
  descriptors,       // the same, or the kernel gives none
  handshakes_max,    // as many at once as may be
  handshake_budget,  // as many a second as may be
};
inline constexpr std::array<std::string_view, 4> k_accept_pauses = {"memory", "descriptors", "handshakes_max",
                                                                    "handshake_budget"};

// Written by one shard's thread.
struct ShardProbe {
  Cell accepts;                                                 // TCP connections taken from the kernel
  std::array<GaugeCell, k_accept_pauses.size()> accept_paused;  // by AcceptPause: 1 while the shard's listener waits
  std::array<Cell, k_end_reasons> ends;                         // connections ended, refusals included, by reason
  Cell sessions_disabled;  // those of reason device_disabled that had been welcomed
  GaugeCell connections;   // open sockets, whatever the phase
  GaugeCell handshakes;    // TLS or upgrade or Hello not yet done
  GaugeCell sessions;      // welcomed
  Cell handshakes_full;
  Cell handshakes_resumed;
  HistogramCell handshake_time;  // accept to TLS done
  HistogramCell welcome_time;    // accept to Welcome
  Cell takeovers;
  Cell ends_held;                                  // at present: of devices sent away, see Ownership
  std::array<Cell, k_hold_ends.size()> hold_ends;  // what became of such, by HoldEnd
  std::array<Cell, k_record_kinds> records;        // taken into the log, by kind
  Cell samples;
  Cell metrics;
  Cell duplicates;  // frames recognised as sent before
  Cell gaps;        // sequence numbers that never came
  std::array<Cell, k_reject_codes> rejects;
  Cell records_refused;  // log full: the session was closed, the device keeps them
  Cell ws_frames_in;
  Cell bytes_in;  // WebSocket payload and headers
  Cell bytes_out;
  Cell acks_out;
  Cell pings_out;
  Cell throttles_out;
  // Messages to devices that others asked for, by kind (of DownMessage) and Delivery.
  std::array<std::array<Cell, k_deliveries>, k_down_kinds> down;
  Cell acked_records;       // covered by an Ack, at whatever stage
  HistogramCell ack_time;   // receipt to Ack
  Cell handler_exceptions;  // ended one session each
  Cell loop_turns;          // wheel ticks: a shard that stands still shows
};

enum class ReloadOutcome : std::uint8_t {
  done,            // all that a running process can take over
  partly_refused,  // a file could not be used; what it is for stays as it was
  refused,         // the configuration has problems: nothing was changed
};
inline constexpr std::array<std::string_view, 3> k_reload_outcomes = {"done", "partly_refused", "refused"};

// Of reloads, by signal or for a changed file. Written by the main thread.
struct ReloadProbe {
  std::array<Cell, k_reload_outcomes.size()> reloads;  // by ReloadOutcome
  // Whether all that is in the files is in use; the start counts as such a reload.
  std::atomic<bool> last_done{true};
  std::atomic<std::int64_t> last_done_unix{0};  // seconds

  void count(ReloadOutcome outcome, std::int64_t now_unix) noexcept {
    reloads[static_cast<std::size_t>(outcome)].add();
    last_done.store(outcome == ReloadOutcome::done, std::memory_order_relaxed);
    if (outcome == ReloadOutcome::done) last_done_unix.store(now_unix, std::memory_order_relaxed);
  }
};

// Written by one lane's thread.
struct MqttLaneProbe {
  Cell connects;  // CONNACK accepted
  Cell connect_failures;
  Cell disconnects;
  Cell publishes;  // QoS 1 messages handed over
  Cell publish_bytes;
  Cell pubacks;
  Cell presence_publishes;         // retained view
  std::array<Cell, 256> refusals;  // PUBACK reason codes >= 0x80
  Cell commands;                   // requests that are in the ledger, repetitions included
  Cell commands_refused;           // requests that are not
  Cell replies_dropped;            // for want of room
  Cell batches;
  Cell batch_records;
  HistogramCell puback_time;  // publish to PUBACK
  HistogramCell record_time;  // receipt by the gateway to PUBACK
  std::atomic<std::int64_t> in_flight{0};
};

// Why a message between nodes came to nothing.
enum class PeerDrop : std::uint8_t {
  full,          // out: too much waits to be sent
  expired,       // out: it waited for a connection longer than it was of use
  refused,       // out: by the broker
  too_large,     // out: for the protocol or the broker; in: for the protocol
  retained,      // in, and so below: somebody's mistake, or worse
  malformed,     // not such a message, or out of bounds
  version,       // of another form
  own,           // says that it comes from this very node
  unknown_kind,  // nothing here serves it
  busy,          // a question, while too many are being answered
  no_question,   // an answer to nothing that waits for one here, or not any more
};
inline constexpr std::array<std::string_view, 11> k_peer_drops = {
    "full",    "expired", "refused",      "too_large", "retained",   "malformed",
    "version", "own",     "unknown_kind", "busy",      "no_question"};

// Messages between nodes. Written under one lock.
struct PeerProbe {
  Cell sent;      // handed to the broker
  Cell received;  // whatever came to the inbox
  std::array<Cell, k_peer_drops.size()> dropped;
  Cell questions;             // asked here
  Cell questions_failed;      // without an answer from the other side
  HistogramCell answer_time;  // from the question to its answer
};

// Commands, as this node had to do with them. Written by the store's thread.
struct CommandProbe {
  Cell issued;      // taken here, and in the ledger
  Cell sent;        // handed to a device's connection here
  Cell sent_again;  // of those, to one that had it before, or may have
  // By final state (CommandState), by the node that wrote it down: what became of them, and
  // the time since they were asked for. A result that comes after timed_out counts as well.
  std::array<HistogramCell, k_command_states> ended;
};

// This node among those that share its store. Written by the store's thread.
struct MembershipProbe {
  Cell leases;            // taken or renewed
  Cell lease_failures;    // it was time to, and it could not be
  MomentCell leased;      // last
  MomentCell looked;      // last, at what the other nodes do; never: there are none
  Cell dead_nodes;        // whose connections this one has ended
  Cell connections_lost;  // of those nodes, ended by this one
};

// What became of one request of a webhook lane.
enum class WebhookOutcome : std::uint8_t {
  accepted,      // 2xx
  refused,       // 4xx that speaks of the records: they are split, or become dead letters
  denied,        // 4xx that speaks of this gateway, such as 401: tried again
  throttled,     // 429 or 503: tried again
  server_error,  // any other answer that is none of these: tried again
  redirected,    // 3xx: not followed, tried again
  timed_out,     // no whole answer in time: tried again
  broken,        // closed too early, or not HTTP: tried again
};
inline constexpr std::array<std::string_view, 8> k_webhook_outcomes = {
    "accepted", "refused", "denied", "throttled", "server_error", "redirected", "timed_out", "broken"};

// Written by one lane's thread.
struct WebhookLaneProbe {
  std::array<Cell, k_webhook_outcomes.size()> requests;  // concluded, by WebhookOutcome
  std::array<Cell, 5> responses;                         // by status class: [0] 1xx ... [4] 5xx
  Cell retries;                                          // requests that repeated an earlier one
  Cell connects;                                         // TLS done, where there is TLS
  Cell connect_failures;                                 // name look-up, refused addresses, TCP, TLS
  Cell batch_records;                                    // accepted
  Cell bytes;                                            // of request bodies, each time they are sent
  HistogramCell request_time;                            // first byte of a request to its whole answer
  HistogramCell record_time;                             // receipt by the gateway to 2xx
  GaugeCell in_flight;                                   // requests
};

// Written by the HTTP thread.
struct HttpProbe {
  static constexpr std::array<std::uint16_t, 25> k_statuses = {200, 201, 202, 204, 206, 304, 400, 401, 403,
                                                               404, 405, 406, 408, 409, 410, 412, 413, 415,
                                                               422, 428, 429, 431, 500, 501, 503};
  std::array<Cell, k_statuses.size() + 1> responses;  // the last: any other
  HistogramCell request_time;
  GaugeCell connections;
  Cell refused_full;     // connections: all were in use, by requests at work
  Cell refused_address;  // by the cap of their address
  Cell displaced;        // connections that waited for their client and made room for another
  GaugeCell stream_subscribers;
  Cell stream_events;  // that there were to tell
  Cell stream_sent;    // to subscribers, each counted
  Cell stream_missed;  // by subscribers that were too slow, each counted
};

// Of a spool on disk. Written by its writer's thread, the last two by its reader's.
struct SpoolProbe {
  Cell commits;  // transactions that became durable
  Cell committed_blocks;
  Cell committed_records;
  Cell trimmed_records;
  HistogramCell commit_time;  // one transaction, from its begin to durable
  Cell full_events;           // the disk or the file turned out full
  Cell file_bytes;            // allocated now: set, may not shrink
  Cell fetches;               // looks at the disk for a lane
  Cell fetched_blocks;
};

}  // namespace fieldgate
