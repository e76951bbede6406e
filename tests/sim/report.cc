// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/report.h"

#include <boost/json.hpp>

#include <cstdio>

namespace fieldgate::sim {
namespace {

namespace json = boost::json;

constexpr struct {
  const char* name;
  double q;
} k_quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

json::object quantiles(const Histogram& histogram) {
  json::object out{{"count", histogram.count()}};
  for (const auto& [name, q] : k_quantiles) out[name] = histogram.quantile_ms(q);
  out["max"] = static_cast<double>(histogram.max_us()) / 1000.0;
  return out;
}

std::string quantile_line(const char* what, const Histogram& histogram) {
  if (histogram.count() == 0) return {};
  char line[160];
  std::snprintf(line, sizeof line, "  %-10s p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms\n", what,
                histogram.quantile_ms(0.5), histogram.quantile_ms(0.9), histogram.quantile_ms(0.99),
                histogram.quantile_ms(0.999), static_cast<double>(histogram.max_us()) / 1000.0);
  return line;
}

template <class Map>
json::object counts(const Map& map) {
  json::object out;
  for (const auto& [key, count] : map) {
    if constexpr (std::is_same_v<typename Map::key_type, std::string>)
      out[key] = count;
    else
      out[std::to_string(key)] = count;
  }
  return out;
}

template <class Map>
std::string count_line(const char* what, const Map& map) {
  if (map.empty()) return {};
  std::string line = std::string("  ") + what + ":";
  for (const auto& [key, count] : counts(map)) {
    line.append(" ").append(std::string_view(key)).append("=").append(json::serialize(count));
  }
  return line + "\n";
}

std::map<std::string, std::uint64_t> losses(const Stats& stats) {
  std::map<std::string, std::uint64_t> out;
  for (std::size_t i = 0; i < k_losses; ++i) {
    if (stats.losses[i] > 0) out[std::string(to_string(static_cast<Loss>(i)))] = stats.losses[i];
  }
  return out;
}

json::object fleet_json(const Snapshot& fleet) {
  const Stats& stats = fleet.stats;
  return {{"devices_welcomed", fleet.welcomed_ever},
          {"connects", stats.connects},
          {"opens", stats.opens},
          {"tls_resumed", stats.tls_resumed},
          {"welcomes", stats.welcomes},
          {"reconnects", stats.reconnects},
          {"failures", stats.failures()},
          {"ends", counts(losses(stats))},
          {"close_codes", counts(stats.close_codes)},
          {"http_statuses", counts(stats.http_statuses)},
          {"goodbyes", counts(stats.goodbyes)},
          {"stages", counts(stats.stages)},
          {"violations", counts(stats.violations)},
          {"frames_made", stats.frames_made},
          {"frames_resent", stats.frames_resent},
          {"frames_rejected", stats.frames_rejected},
          {"frames_withheld", stats.frames_withheld},
          {"bytes_sent", stats.bytes_sent},
          {"acks", stats.acks},
          {"throttles", stats.throttles},
          {"pings_answered", stats.pings_answered},
          {"time_answers", stats.times},
          {"streams_restarted", stats.streams_restarted},
          {"commands", stats.commands},
          {"commands_repeated", stats.commands_repeated},
          {"command_cancels", stats.cancels},
          {"desireds", stats.desireds},
          {"acked_forgotten", stats.acked_forgotten},
          {"open_ms", quantiles(stats.open_us)},
          {"welcome_ms", quantiles(stats.welcome_us)},
          {"ack_ms", quantiles(stats.ack_us)},
          {"time_rtt_ms", quantiles(stats.rtt_us)}};
}

json::object verify_json(const VerifyReport& verify) {
  return {{"mqtt_messages", verify.messages},
          {"mqtt_records", verify.records},
          {"presence_records", verify.presence_records},
          {"lost", verify.verdict.lost},
          {"never_sent", verify.verdict.extra},
          {"duplicates", verify.duplicates},
          {"out_of_order", verify.out_of_order},
          {"mismatched", verify.mismatched},
          {"unreadable", verify.unreadable},
          {"broker_reconnects", verify.broker_reconnects},
          {"broker_sessions_lost", verify.broker_sessions_lost},
          {"examples", json::value_from(verify.verdict.examples)},
          {"first_mismatch", verify.first_mismatch},
          {"latency_ms", quantiles(verify.latency_us)}};
}

std::string summary_line(const Report& report) {
  const auto count = [&](auto member) {
    return report.verify ? std::to_string(member(*report.verify)) : std::string("n/a");
  };
  const auto ms = [&](double q) {
    if (!report.verify || report.verify->latency_us.count() == 0) return std::string("n/a");
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", report.verify->latency_us.quantile_ms(q));
    return std::string(text);
  };
  return "summary: devices=" + std::to_string(report.devices) + " frames_sent=" + std::to_string(report.frames_sent) +
         " frames_acked=" + std::to_string(report.frames_acked) +
         " mqtt_records=" + count([](const VerifyReport& v) { return v.records; }) +
         " lost=" + count([](const VerifyReport& v) { return v.verdict.lost; }) +
         " duplicates=" + count([](const VerifyReport& v) { return v.duplicates; }) + " p50_ms=" + ms(0.5) +
         " p99_ms=" + ms(0.99);
}

}  // namespace

VerifyReport make_verify_report(const MqttSubscriber& subscriber, const Ledger& ledger) {
  const NorthReader& reader = subscriber.reader();
  const Tally& tally = reader.tally();
  VerifyReport report;
  report.messages = reader.messages();
  report.records = tally.records();
  report.presence_records = reader.presence_records();
  report.duplicates = tally.duplicates();
  report.out_of_order = tally.out_of_order();
  report.mismatched = tally.mismatched();
  report.unreadable = reader.unreadable();
  report.broker_reconnects = subscriber.reconnects();
  report.broker_sessions_lost = subscriber.sessions_lost();
  report.first_mismatch = tally.first_mismatch();
  report.verdict = tally.judge(ledger);
  report.latency_us = tally.latency_us();
  return report;
}

std::string fault(const Report& report) {
  if (report.fleet) {
    if (report.fleet->stats.violations_total() > 0) return "the gateway broke the protocol";
    if (report.fleet->welcomed_ever < report.devices) {
      return std::to_string(report.devices - report.fleet->welcomed_ever) + " devices never got a Welcome";
    }
  }
  if (report.sends_data && report.frames_acked == 0) return "nothing was acknowledged";
  if (!report.verify) return {};
  if (report.sends_data && report.verify->records == 0) return "nothing arrived at the broker";
  if (report.verify->verdict.lost > 0) return "acknowledged records were lost";
  if (report.verify->verdict.extra > 0) return "records arrived that were never sent";
  if (report.verify->mismatched > 0) return "records arrived changed: " + report.verify->first_mismatch;
  if (report.verify->unreadable > 0) return "messages arrived that cannot be read or are not labelled";
  if (report.require_order && report.verify->out_of_order > 0) return "records arrived out of order";
  return {};
}

std::string to_text(const Report& report) {
  std::string text;
  if (report.fleet) {
    const Stats& stats = report.fleet->stats;
    text += "devices: " + std::to_string(report.fleet->welcomed_ever) + " of " + std::to_string(report.devices) +
            " welcomed, at most " + std::to_string(report.online_peak) + " at once; " + std::to_string(stats.connects) +
            " connects, " + std::to_string(stats.reconnects) + " reconnects, " + std::to_string(stats.failures()) +
            " failures\n";
    text += "frames: " + std::to_string(stats.frames_sent) + " sent, " + std::to_string(stats.frames_resent) +
            " sent again, " + std::to_string(stats.frames_rejected) + " rejected, " +
            std::to_string(stats.frames_withheld) + " withheld, " + std::to_string(report.unacked_at_end) +
            " unacknowledged at the end\n";
    text += count_line("ends", losses(stats)) + count_line("close codes", stats.close_codes) +
            count_line("HTTP statuses", stats.http_statuses) + count_line("goodbyes", stats.goodbyes) +
            count_line("violations", stats.violations);
    text += quantile_line("welcome", stats.welcome_us) + quantile_line("ack", stats.ack_us);
  }
  if (report.verify) {
    const VerifyReport& verify = *report.verify;
    text += "broker: " + std::to_string(verify.records) + " records in " + std::to_string(verify.messages) +
            " messages, " + std::to_string(verify.out_of_order) + " out of order, " +
            std::to_string(verify.mismatched) + " changed, " + std::to_string(verify.verdict.extra) + " never sent, " +
            std::to_string(verify.unreadable) + " unreadable\n";
    for (const std::string& example : verify.verdict.examples) text += "  " + example + "\n";
    text += quantile_line("latency", verify.latency_us);
  }
  const std::string wrong = fault(report);
  if (!wrong.empty()) text += "FAILED: " + wrong + "\n";
  return text + summary_line(report) + "\n";
}

std::string to_json(const Report& report) {
  json::object out{{"ok", fault(report).empty()},        {"fault", fault(report)},
                   {"profile", report.profile},          {"seconds", report.seconds},
                   {"devices", report.devices},          {"frames_sent", report.frames_sent},
                   {"frames_acked", report.frames_acked}};
  if (report.fleet) {
    out["online_peak"] = report.online_peak;
    out["unacked_at_end"] = report.unacked_at_end;
    for (auto& [key, value] : fleet_json(*report.fleet)) out[key] = std::move(value);
  }
  if (report.verify) out["verify"] = verify_json(*report.verify);
  return json::serialize(out) + "\n";
}

}  // namespace fieldgate::sim
