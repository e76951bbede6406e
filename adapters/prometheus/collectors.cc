// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/collectors.h"

#include <array>
#include <string>

namespace fieldgate::metrics {
namespace {

std::uint64_t ends(const Snapshot& in, EndReason reason) {
  std::uint64_t sum = 0;
  for (const ShardProbe* shard : in.sources.shards) sum += shard->ends[static_cast<std::size_t>(reason)].get();
  return sum;
}

}  // namespace

// ------------------------------------------------------------ device shards

void connection_attempts(const Snapshot& in, Samples& out) {
  if (in.sources.shards.empty()) return;
  std::uint64_t accepted = 0;
  for (const ShardProbe* shard : in.sources.shards) {
    for (std::size_t i = 0; i < HistogramCell::k_buckets; ++i) accepted += shard->welcome_time.bucket(i);
  }
  // Looked at before the sum that they are in, lest that falls.
  std::uint64_t disabled = 0;
  for (const ShardProbe* shard : in.sources.shards) disabled += shard->sessions_disabled.get();
  // Reasons up to here come before Welcome and, but for device_disabled, no other time.
  std::uint64_t refused = 0;
  for (const EndReasonInfo& info : end_reasons()) {
    if (info.reason <= EndReason::no_epoch) refused += ends(in, info.reason);
  }
  refused -= disabled;
  out.add(static_cast<double>(accepted), {"accepted"});
  out.add(static_cast<double>(refused), {"refused"});
}

// By the watermarks for all shards alike, whether or not a device has come since; otherwise by each shard's listener.
void admission_paused(const Snapshot& in, Samples& out) {
  if (in.sources.shards.empty()) return;
  const Pressure pressure = in.sources.pressure ? in.sources.pressure() : Pressure::none;
  for (std::size_t i = 0; i < k_accept_pauses.size(); ++i) {
    const auto why = static_cast<AcceptPause>(i);
    bool paused = (why == AcceptPause::memory && pressure == Pressure::memory) ||
                  (why == AcceptPause::descriptors && pressure == Pressure::descriptors);
    for (const ShardProbe* shard : in.sources.shards) paused = paused || shard->accept_paused[i].get() > 0;
    out.add(paused ? 1 : 0, {k_accept_pauses[i]});
  }
}

void sessions_ended(const Snapshot& in, Samples& out) {
  if (in.sources.shards.empty()) return;
  for (const EndReasonInfo& info : end_reasons()) out.add(static_cast<double>(ends(in, info.reason)), {info.name});
}

void tls_handshakes(const Snapshot& in, Samples& out) {
  if (in.sources.shards.empty()) return;
  std::uint64_t full = 0;
  std::uint64_t resumed = 0;
  for (const ShardProbe* shard : in.sources.shards) {
    full += shard->handshakes_full.get();
    resumed += shard->handshakes_resumed.get();
  }
  out.add(static_cast<double>(full), {"full"});
  out.add(static_cast<double>(resumed), {"resumed"});
}

void records(const Snapshot& in, Samples& out) {
  for (std::size_t kind = 0; kind < k_record_kinds && !in.sources.shards.empty(); ++kind) {
    std::uint64_t sum = 0;
    for (const ShardProbe* shard : in.sources.shards) sum += shard->records[kind].get();
    out.add(static_cast<double>(sum), {to_string(static_cast<RecordKind>(kind))});
  }
}

void rejects(const Snapshot& in, Samples& out) {
  constexpr std::array<std::string_view, k_reject_codes> k_names = {"", "malformed", "unsupported", "forbidden",
                                                                    "too_large"};
  for (std::size_t code = 1; code < k_names.size() && !in.sources.shards.empty(); ++code) {
    std::uint64_t sum = 0;
    for (const ShardProbe* shard : in.sources.shards) sum += shard->rejects[code].get();
    out.add(static_cast<double>(sum), {k_names[code]});
  }
}

void downlink_messages(const Snapshot& in, Samples& out) {
  constexpr std::array<std::string_view, k_down_kinds> k_names = {"command", "command_cancel", "desired"};
  for (std::size_t kind = 0; kind < k_down_kinds && !in.sources.shards.empty(); ++kind) {
    for (std::size_t outcome = 0; outcome < k_deliveries; ++outcome) {
      std::uint64_t sum = 0;
      for (const ShardProbe* shard : in.sources.shards) sum += shard->down[kind][outcome].get();
      out.add(static_cast<double>(sum), {k_names[kind], to_string(static_cast<Delivery>(outcome))});
    }
  }
}

void shard_sessions(const Snapshot& in, Samples& out) {
  for (std::size_t i = 0; i < in.sources.shards.size(); ++i) {
    out.add(static_cast<double>(in.sources.shards[i]->sessions.get()), {std::to_string(i)});
  }
}

void shard_loop_turns(const Snapshot& in, Samples& out) {
  for (std::size_t i = 0; i < in.sources.shards.size(); ++i) {
    out.add(static_cast<double>(in.sources.shards[i]->loop_turns.get()), {std::to_string(i)});
  }
}

// --------------------------------------------------------------------- HTTP

void http_responses(const Snapshot& in, Samples& out) {
  if (in.sources.http == nullptr) return;
  const HttpProbe& http = *in.sources.http;
  for (std::size_t i = 0; i < http.responses.size(); ++i) {
    const bool other = i == HttpProbe::k_statuses.size();
    out.add(static_cast<double>(http.responses[i].get()),
            {other ? std::string("other") : std::to_string(HttpProbe::k_statuses[i])});
  }
}

void http_request_time(const Snapshot& in, Samples& out) {
  if (in.sources.http == nullptr) return;
  const std::array<const HistogramCell*, 1> one = {&in.sources.http->request_time};
  out.add(one);
}

void http_connections(const Snapshot& in, Samples& out) {
  if (in.sources.http != nullptr) out.add(static_cast<double>(in.sources.http->connections.get()));
}

void http_refused(const Snapshot& in, Samples& out) {
  if (in.sources.http == nullptr) return;
  const HttpProbe& http = *in.sources.http;
  out.add(static_cast<double>(http.refused_full.get()), {"full"});
  out.add(static_cast<double>(http.refused_address.get()), {"address"});
  out.add(static_cast<double>(http.displaced.get()), {"displaced"});
}

void stream_subscribers(const Snapshot& in, Samples& out) {
  if (in.sources.http != nullptr) out.add(static_cast<double>(in.sources.http->stream_subscribers.get()));
}

void stream_events(const Snapshot& in, Samples& out) {
  if (in.sources.http != nullptr) out.add(static_cast<double>(in.sources.http->stream_events.get()));
}

void stream_sent(const Snapshot& in, Samples& out) {
  if (in.sources.http != nullptr) out.add(static_cast<double>(in.sources.http->stream_sent.get()));
}

void stream_missed(const Snapshot& in, Samples& out) {
  if (in.sources.http != nullptr) out.add(static_cast<double>(in.sources.http->stream_missed.get()));
}

// ------------------------------------------------------------- node, process

void build_info(const Snapshot&, Samples& out) { out.add(1, {FIELDGATE_VERSION}); }

void ready(const Snapshot& in, Samples& out) {
  if (in.sources.status != nullptr) out.add(in.readiness.ready ? 1 : 0);
}

void readiness_reasons(const Snapshot& in, Samples& out) {
  if (in.sources.status == nullptr) return;
  std::vector<std::string> seen;  // several lanes may be down for one reason
  for (const Readiness::Reason& reason : in.readiness.reasons) {
    bool repeated = false;
    for (const std::string& name : seen) repeated = repeated || name == reason.name;
    if (!repeated) out.add(1, {reason.name});
    seen.push_back(reason.name);
  }
}

void memory_watched(const Snapshot& in, Samples& out) {
  if (!in.sources.memory) return;
  if (const std::uint64_t bytes = in.sources.memory().bytes; bytes != 0) out.add(static_cast<double>(bytes));
}

void memory_limit(const Snapshot& in, Samples& out) {
  if (!in.sources.memory) return;
  if (const std::uint64_t bytes = in.sources.memory().bytes_max; bytes != 0) out.add(static_cast<double>(bytes));
}

void certificate_expiry(const Snapshot& in, Samples& out) {
  if (!in.sources.certificates) return;
  for (const CertificateExpiry& one : in.sources.certificates()) {
    out.add(static_cast<double>(one.not_after_unix), {one.use});
  }
}

void reloads(const Snapshot& in, Samples& out) {
  if (in.sources.reloads == nullptr) return;
  for (std::size_t i = 0; i < k_reload_outcomes.size(); ++i) {
    out.add(static_cast<double>(in.sources.reloads->reloads[i].get()), {k_reload_outcomes[i]});
  }
}

void reload_last_done(const Snapshot& in, Samples& out) {
  if (in.sources.reloads != nullptr) out.add(in.sources.reloads->last_done.load(std::memory_order_relaxed) ? 1 : 0);
}

void reload_last_done_time(const Snapshot& in, Samples& out) {
  if (in.sources.reloads == nullptr) return;
  out.add(static_cast<double>(in.sources.reloads->last_done_unix.load(std::memory_order_relaxed)));
}

void log_dropped(const Snapshot& in, Samples& out) {
  if (in.sources.log_dropped_lines) out.add(static_cast<double>(in.sources.log_dropped_lines()));
}

}  // namespace fieldgate::metrics
