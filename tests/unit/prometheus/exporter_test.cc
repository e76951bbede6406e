// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/exporter.h"

#include "adapters/prometheus/metric_table.h"
#include "tests/support/http_fakes.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace fieldgate::metrics {
namespace {

using namespace fieldgate::test;

class ExporterTest : public testing::Test {
 protected:
  ExporterTest() {
    Sources sources;
    sources.shards = {&shards[0], &shards[1]};
    sources.lanes = {{"main", &lane}, {"archive", &webhook}};
    sources.http = &http;
    sources.commands = &commands;
    sources.peers = &peers;
    sources.membership = &membership;
    sources.clock = &clock;
    sources.reloads = &reloads;
    sources.status = &status;
    sources.pressure = [this] { return pressure; };
    sources.memory = [this] { return memory; };
    sources.spool = [] {
      SpoolUsage usage;
      usage.records = 10;
      usage.bytes = 2'000;
      usage.bytes_max = 4'000;
      usage.first = {1};
      usage.next = {11};
      usage.unsaved_bytes = 300;
      usage.unsaved_bytes_max = 1'000;
      usage.state = SpoolState::full;
      return usage;
    };
    sources.spool_marks = [] { return SpoolMarks{{8}, {3}}; };
    sources.spool_probe = &spool;
    sources.dead_letters = [] { return std::vector<DeadLetterUsage>{{"main", 4, 400, 1}, {"gone", 2, 20, 0}}; };
    sources.uplink_level = [] { return UplinkLevel::reduced; };
    sources.certificates = [] { return std::vector<CertificateExpiry>{{"device_listener", 1'800'000'000}}; };
    sources.log_dropped_lines = [] { return std::uint64_t{3}; };
    exporter = std::make_unique<Exporter>(sources);
  }

  // The values of all series, by "name{label="value",...}".
  std::map<std::string, double> series() const {
    std::map<std::string, double> out;
    std::istringstream text(exporter->text());
    for (std::string line; std::getline(text, line);) {
      if (line.empty() || line[0] == '#') continue;
      const std::size_t gap = line.rfind(' ');
      EXPECT_TRUE(out.emplace(line.substr(0, gap), std::strtod(line.c_str() + gap, nullptr)).second)
          << "twice: " << line;
    }
    return out;
  }
  double value(const std::string& name) const {
    const auto all = series();
    const auto at = all.find(name);
    EXPECT_NE(at, all.end()) << name;
    return at == all.end() ? -1 : at->second;
  }

  ShardProbe shards[2];
  MqttLaneProbe lane;
  WebhookLaneProbe webhook;
  SpoolProbe spool;
  HttpProbe http;
  CommandProbe commands;
  PeerProbe peers;
  MembershipProbe membership;
  FakeClock clock;
  ReloadProbe reloads;
  Pressure pressure = Pressure::none;
  WatchedMemory memory{3'000, 4'000};
  FakeNodeStatus status;
  std::unique_ptr<Exporter> exporter;
};

TEST_F(ExporterTest, SumsTheShards) {
  shards[0].accepts.add(3);
  shards[1].accepts.add(4);
  const GaugeHold first(shards[0].sessions);
  const GaugeHold second(shards[1].sessions);
  shards[1].records[static_cast<std::size_t>(RecordKind::event)].add(5);
  EXPECT_EQ(value("fieldgate_connections_opened_total"), 7);
  EXPECT_EQ(value("fieldgate_sessions"), 2);
  EXPECT_EQ(value("fieldgate_shard_sessions{shard=\"1\"}"), 1);
  EXPECT_EQ(value("fieldgate_records_total{kind=\"event\"}"), 5);
}

TEST_F(ExporterTest, ShowsEveryEndReasonFromTheStart) {
  const auto all = series();
  for (const EndReasonInfo& info : end_reasons()) {
    EXPECT_EQ(all.count("fieldgate_sessions_ended_total{reason=\"" + std::string(info.name) + "\"}"), 1U) << info.name;
  }
  shards[0].ends[static_cast<std::size_t>(EndReason::flow_violation)].add();
  EXPECT_EQ(value("fieldgate_sessions_ended_total{reason=\"flow_violation\"}"), 1);
}

TEST_F(ExporterTest, TellsAcceptedAttemptsFromRefusedOnes) {
  shards[0].welcome_time.observe(1'000);
  shards[1].welcome_time.observe(1'000);
  shards[0].ends[static_cast<std::size_t>(EndReason::unauthenticated)].add(3);
  shards[0].ends[static_cast<std::size_t>(EndReason::drain)].add(9);  // after Welcome
  EXPECT_EQ(value("fieldgate_connection_attempts_total{outcome=\"accepted\"}"), 2);
  EXPECT_EQ(value("fieldgate_connection_attempts_total{outcome=\"refused\"}"), 3);
}

TEST_F(ExporterTest, SaysWhyAcceptingWaitsAsLongAsItDoes) {
  const auto paused = [this](std::string_view why) {
    return value("fieldgate_admission_paused{reason=\"" + std::string(why) + "\"}");
  };
  for (const std::string_view why : k_accept_pauses) EXPECT_EQ(paused(why), 0) << why;
  // A watermark holds for all shards, and before anybody has come.
  pressure = Pressure::memory;
  EXPECT_EQ(paused("memory"), 1);
  EXPECT_EQ(paused("descriptors"), 0);
  pressure = Pressure::descriptors;
  EXPECT_EQ(paused("memory"), 0);
  EXPECT_EQ(paused("descriptors"), 1);
  pressure = Pressure::none;
  // One shard is enough, and two are not two reasons.
  for (std::size_t i = 0; i < k_accept_pauses.size(); ++i) {
    const GaugeHold first(shards[0].accept_paused[i]);
    EXPECT_EQ(paused(k_accept_pauses[i]), 1);
    const GaugeHold second(shards[1].accept_paused[i]);
    EXPECT_EQ(paused(k_accept_pauses[i]), 1);
    EXPECT_EQ(paused(k_accept_pauses[(i + 1) % k_accept_pauses.size()]), 0);
  }
  for (const std::string_view why : k_accept_pauses) EXPECT_EQ(paused(why), 0) << why;
}

TEST_F(ExporterTest, TellsOfReloadsAndWhetherTheLastOneTookEverythingOver) {
  reloads.last_done_unix = 1'700'000'000;  // the start
  auto all = series();
  EXPECT_EQ(all.at("fieldgate_config_reloads_total{outcome=\"done\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_config_last_reload_successful"), 1);
  EXPECT_EQ(all.at("fieldgate_config_last_reload_success_timestamp_seconds"), 1'700'000'000);
  reloads.count(ReloadOutcome::done, 1'700'000'010);
  reloads.count(ReloadOutcome::refused, 1'700'000'020);
  reloads.count(ReloadOutcome::partly_refused, 1'700'000'030);
  all = series();
  for (const std::string_view outcome : k_reload_outcomes) {
    EXPECT_EQ(all.at("fieldgate_config_reloads_total{outcome=\"" + std::string(outcome) + "\"}"), 1) << outcome;
  }
  EXPECT_EQ(all.at("fieldgate_config_last_reload_successful"), 0);
  EXPECT_EQ(all.at("fieldgate_config_last_reload_success_timestamp_seconds"), 1'700'000'010);
  reloads.count(ReloadOutcome::done, 1'700'000'040);
  all = series();
  EXPECT_EQ(all.at("fieldgate_config_last_reload_successful"), 1);
  EXPECT_EQ(all.at("fieldgate_config_last_reload_success_timestamp_seconds"), 1'700'000'040);
}

TEST_F(ExporterTest, TellsOfTheNodeAmongTheOthersAndNoAgeOfWhatNeverWas) {
  EXPECT_EQ(value("fieldgate_node_lease_renewals_total{outcome=\"failed\"}"), 0);
  EXPECT_EQ(series().count("fieldgate_node_lease_age_seconds"), 0U);
  EXPECT_EQ(series().count("fieldgate_fleet_view_age_seconds"), 0U) << "there are no other nodes";
  membership.leases.add(3);
  membership.lease_failures.add(2);
  membership.dead_nodes.add();
  membership.connections_lost.add(700);
  membership.leased.set(clock.now());
  clock.set(clock.unix_ms() + 4'500);
  membership.looked.set(clock.now());
  clock.set(clock.unix_ms() + 500);
  EXPECT_EQ(value("fieldgate_node_lease_renewals_total{outcome=\"renewed\"}"), 3);
  EXPECT_EQ(value("fieldgate_node_lease_renewals_total{outcome=\"failed\"}"), 2);
  EXPECT_EQ(value("fieldgate_node_lease_age_seconds"), 5);
  EXPECT_EQ(value("fieldgate_fleet_view_age_seconds"), 0.5);
  EXPECT_EQ(value("fieldgate_dead_nodes_total"), 1);
  EXPECT_EQ(value("fieldgate_dead_node_connections_total"), 700);
}

TEST_F(ExporterTest, ShowsWhoIsAwaitedAndWhatBecameOfThose) {
  shards[0].ends_held.set(4);
  shards[1].ends_held.set(1);
  shards[1].hold_ends[static_cast<std::size_t>(HoldEnd::elsewhere)].add(7);
  EXPECT_EQ(value("fieldgate_presence_ends_held"), 5);
  EXPECT_EQ(value("fieldgate_presence_holds_ended_total{outcome=\"elsewhere\"}"), 7);
  EXPECT_EQ(value("fieldgate_presence_holds_ended_total{outcome=\"said\"}"), 0);
}

TEST_F(ExporterTest, GivesHistogramsInSecondsAndCumulatively) {
  shards[0].ack_time.observe(100);
  shards[1].ack_time.observe(101);
  shards[1].ack_time.observe(99'000'000);
  const auto all = series();
  EXPECT_EQ(all.at("fieldgate_ack_seconds_bucket{le=\"0.0001\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_ack_seconds_bucket{le=\"0.00025\"}"), 2);
  EXPECT_EQ(all.at("fieldgate_ack_seconds_bucket{le=\"60\"}"), 2);
  EXPECT_EQ(all.at("fieldgate_ack_seconds_bucket{le=\"+Inf\"}"), 3);
  EXPECT_EQ(all.at("fieldgate_ack_seconds_count"), 3);
  EXPECT_NEAR(all.at("fieldgate_ack_seconds_sum"), 99.000201, 1e-9);
}

TEST_F(ExporterTest, ShowsLanesWithTheirStateAndAccount) {
  lane.refusals[0x97].add(2);
  lane.refusals[0xa0].add();
  const auto all = series();
  EXPECT_EQ(all.at("fieldgate_lane_state{lane=\"main\",state=\"backing_off\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_lane_state{lane=\"main\",state=\"running\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_lane_records_total{lane=\"main\",outcome=\"forwarded\"}"), 100);
  EXPECT_EQ(all.at("fieldgate_lane_oldest_pending_seconds{lane=\"main\"}"), 1.5);
  EXPECT_EQ(all.at("fieldgate_lane_refusals_total{lane=\"main\",code=\"0x97\"}"), 2);
  EXPECT_EQ(all.at("fieldgate_lane_refusals_total{lane=\"main\",code=\"0x87\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_lane_refusals_total{lane=\"main\",code=\"0xa0\"}"), 1);
}

TEST_F(ExporterTest, NamesWhatBothSortsOfLaneHaveAlikeAndTheRestApart) {
  lane.connects.add(2);
  webhook.connects.add(3);
  webhook.connect_failures.add();
  lane.record_time.observe(100);
  webhook.record_time.observe(200);
  webhook.requests[static_cast<std::size_t>(WebhookOutcome::throttled)].add(4);
  webhook.responses[3].add(5);
  webhook.batch_records.add(6);
  const GaugeHold sent(webhook.in_flight);
  const auto all = series();
  EXPECT_EQ(all.at("fieldgate_lane_connection_attempts_total{lane=\"main\",outcome=\"connected\"}"), 2);
  EXPECT_EQ(all.at("fieldgate_lane_connection_attempts_total{lane=\"archive\",outcome=\"connected\"}"), 3);
  EXPECT_EQ(all.at("fieldgate_lane_connection_attempts_total{lane=\"archive\",outcome=\"failed\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_lane_record_seconds_count{lane=\"main\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_lane_record_seconds_count{lane=\"archive\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_lane_requests_total{lane=\"archive\",outcome=\"throttled\"}"), 4);
  EXPECT_EQ(all.at("fieldgate_lane_responses_total{lane=\"archive\",class=\"4xx\"}"), 5);
  EXPECT_EQ(all.at("fieldgate_lane_request_records_total{lane=\"archive\"}"), 6);
  EXPECT_EQ(all.at("fieldgate_lane_in_flight_requests{lane=\"archive\"}"), 1);
  EXPECT_EQ(all.count("fieldgate_lane_requests_total{lane=\"main\",outcome=\"accepted\"}"), 0U);
  EXPECT_EQ(all.count("fieldgate_lane_publishes_total{lane=\"archive\"}"), 0U);
}

TEST_F(ExporterTest, ShowsDeadLettersOfEveryLaneAndOfThoseThatAreNoMore) {
  status.hold("archive", true);
  const auto all = series();
  EXPECT_EQ(all.at("fieldgate_dead_letters{lane=\"main\"}"), 4);
  EXPECT_EQ(all.at("fieldgate_dead_letter_bytes{lane=\"main\"}"), 400);
  EXPECT_EQ(all.at("fieldgate_dead_letters_evicted_total{lane=\"main\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_dead_letters{lane=\"archive\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_dead_letters{lane=\"gone\"}"), 2);
  EXPECT_EQ(all.at("fieldgate_lane_held{lane=\"archive\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_lane_held{lane=\"main\"}"), 0);
}

TEST_F(ExporterTest, ShowsTheSpool) {
  spool.commit_time.observe(2'000);
  spool.commits.add();
  spool.file_bytes.set(65'536);
  spool.fetched_blocks.add(7);
  const auto all = series();
  EXPECT_EQ(all.at("fieldgate_spool_state{state=\"full\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_spool_state{state=\"ok\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_spool_state{state=\"failed\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_spool_unsaved_bytes"), 300);
  EXPECT_EQ(all.at("fieldgate_spool_unsaved_limit_bytes"), 1'000);
  EXPECT_EQ(all.at("fieldgate_spool_undurable_records"), 2);
  EXPECT_EQ(all.at("fieldgate_spool_uncheckpointed_records"), 7);
  EXPECT_EQ(all.at("fieldgate_spool_file_bytes"), 65'536);
  EXPECT_EQ(all.at("fieldgate_spool_commits_total"), 1);
  EXPECT_EQ(all.at("fieldgate_spool_commit_seconds_sum"), 0.002);
  EXPECT_EQ(all.at("fieldgate_spool_fetched_blocks_total"), 7);
}

// Lanes that are busy: every figure has moved at each look.
class BusyStatus final : public NodeStatus {
 public:
  Readiness readiness() const override { return {}; }
  NodeInfo node() const override { return {}; }
  Overview overview() const override { return {}; }
  std::vector<LaneStatus> lanes() const override {
    const std::uint64_t n = ++looks_;
    LaneStatus lane;
    lane.name = "main";
    lane.forwarded_records = 7 * n;
    lane.filtered_records = 5 * n;
    lane.dead_lettered_records = 3 * n;
    lane.expired_records = 2 * n;
    lane.skipped_records = n;
    lane.pending_records = 100 - n;
    lane.records_in = 17 * n + 100;
    return {lane};
  }

 private:
  mutable std::uint64_t looks_ = 0;
};

TEST_F(ExporterTest, TakesAllOfALanesAccountAtOneMoment) {
  const BusyStatus busy;
  Sources sources;
  sources.status = &busy;
  exporter = std::make_unique<Exporter>(sources);
  for (int scrape = 0; scrape < 3; ++scrape) {
    const auto all = series();
    double sum = all.at("fieldgate_lane_pending_records{lane=\"main\"}");
    for (const auto& [name, value] : all) {
      if (name.starts_with("fieldgate_lane_records_total{")) sum += value;
    }
    EXPECT_EQ(all.at("fieldgate_lane_records_in_total{lane=\"main\"}"), sum);
  }
}

TEST_F(ExporterTest, ShowsUplinkNodeAndCertificates) {
  const auto all = series();
  EXPECT_EQ(all.at("fieldgate_uplink_bytes"), 2'000);
  EXPECT_EQ(all.at("fieldgate_uplink_appended_records_total"), 10);
  EXPECT_EQ(all.at("fieldgate_uplink_level{level=\"reduced\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_uplink_level{level=\"normal\"}"), 0);
  EXPECT_EQ(all.at("fieldgate_ready"), 1);
  EXPECT_EQ(all.at("fieldgate_readiness_reason{reason=\"lane_down\"}"), 1);
  EXPECT_EQ(all.at("fieldgate_certificate_expiry_timestamp_seconds{use=\"device_listener\"}"), 1'800'000'000);
  EXPECT_EQ(all.at("fieldgate_build_info{version=\"" FIELDGATE_VERSION "\"}"), 1);
}

TEST_F(ExporterTest, ShowsTheMemoryThatIsWatchedAndItsLimitWhereThereIsOne) {
  EXPECT_EQ(value("fieldgate_memory_watched_bytes"), 3'000);
  EXPECT_EQ(value("fieldgate_memory_limit_bytes"), 4'000);
  memory.bytes_max = 0;
  EXPECT_EQ(series().count("fieldgate_memory_limit_bytes"), 0U) << "a share of it would be beyond all measure";
  memory.bytes = 0;
  EXPECT_EQ(series().count("fieldgate_memory_watched_bytes"), 0U);
}

TEST_F(ExporterTest, KnowsItsOwnProcess) {
  const auto all = series();
  EXPECT_GT(all.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GE(all.at("process_open_fds"), 3);
  EXPECT_GE(all.at("process_threads"), 1);
  const auto now = static_cast<double>(SystemClock().unix_ms()) / 1e3;
  EXPECT_NEAR(all.at("process_start_time_seconds"), now, 3'600);
}

TEST_F(ExporterTest, LeavesOutWhatHasNoSource) {
  Sources none;
  const std::string text = Exporter(none).text();
  EXPECT_EQ(text.find("fieldgate_sessions"), std::string::npos);
  EXPECT_NE(text.find("fieldgate_build_info"), std::string::npos);
}

TEST_F(ExporterTest, HasTheSameSeriesHoweverManyDevicesThereAre) {
  const std::size_t before = series().size();
  for (int i = 0; i < 1'000; ++i) {
    shards[i % 2].accepts.add();
    shards[i % 2].ends[static_cast<std::size_t>(i) % k_end_reasons].add();
    shards[i % 2].ack_time.observe(static_cast<std::uint64_t>(i) * 1'000);
  }
  EXPECT_EQ(series().size(), before);
}

// name -> type and labels, as "counter lane,outcome".
using Declared = std::map<std::string, std::string>;

// What docs/metrics.md says: the rows of its tables that begin with a name in
// backquotes, "| `name` | type | labels | ...".
Declared documented() {
  Declared out;
  std::ifstream in("docs/metrics.md");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    std::istringstream row(line.substr(2));
    for (std::string cell; std::getline(row, cell, '|');) {
      std::string bare;
      for (const char c : cell) {
        if (c != '`' && c != ' ') bare += c;
      }
      cells.push_back(bare);
    }
    EXPECT_EQ(cells.size(), 6U) << line;
    if (cells.size() != 6) continue;
    EXPECT_FALSE(cells[4].empty() || cells[5].empty()) << "says too little: " << line;
    out[cells[0]] = cells[1] + " " + cells[2];
  }
  return out;
}

Declared exported(const std::string& text) {
  Declared out;
  std::map<std::string, std::string> types;
  std::map<std::string, std::set<std::string>> labels;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string mark, word, name, type;
    if (line.starts_with("# TYPE ")) {
      words >> mark >> word >> name >> type;
      types[name] = type;
      continue;
    }
    if (line.starts_with("#") || line.empty()) continue;
    name = line.substr(0, line.find_first_of("{ "));
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      const std::string base =
          name.ends_with(suffix) ? name.substr(0, name.size() - std::string_view(suffix).size()) : "";
      if (types.count(base) != 0) name = base;
    }
    const std::size_t open = line.find('{');
    if (open == std::string::npos) continue;
    std::istringstream pairs(line.substr(open + 1, line.rfind('}') - open - 1));
    for (std::string pair; std::getline(pairs, pair, ',');) {
      const std::string label = pair.substr(0, pair.find('='));
      if (label != "le") labels[name].insert(label);
    }
  }
  for (const auto& [name, type] : types) {
    std::string joined;
    for (const MetricInfo& info : metric_table()) {
      if (info.name != name) continue;
      for (const std::string_view label : info.labels) {
        EXPECT_EQ(labels[name].count(std::string(label)), 1U) << name << " has no " << label;
        joined += (joined.empty() ? "" : ",") + std::string(label);
      }
      EXPECT_EQ(labels[name].size(), info.labels.size()) << name;
    }
    out[name] = type + " " + joined;
  }
  return out;
}

TEST_F(ExporterTest, ExportsExactlyWhatTheDocumentationLists) {
  membership.leased.set(clock.now());
  membership.looked.set(clock.now());
  const Declared docs = documented();
  const Declared real = exported(exporter->text());
  EXPECT_EQ(real.size(), metric_table().size()) << "the sources of this test leave some metric out";
  for (const auto& [name, shape] : real) {
    const auto at = docs.find(name);
    if (at == docs.end()) {
      ADD_FAILURE() << "docs/metrics.md lacks " << name;
    } else {
      EXPECT_EQ(at->second, shape) << name;
    }
  }
  for (const auto& [name, shape] : docs) EXPECT_EQ(real.count(name), 1U) << "docs/metrics.md has " << name;
}

TEST_F(ExporterTest, NamesMetricsByTheRules) {
  for (const MetricInfo& info : metric_table()) {
    EXPECT_TRUE(info.name.starts_with("fieldgate_") || info.name.starts_with("process_")) << info.name;
    EXPECT_EQ(info.name.ends_with("_total"), info.type == MetricType::counter) << info.name;
    EXPECT_TRUE(info.help.ends_with('.')) << info.name;
    for (const char* unit : {"_ms", "_us", "_milliseconds", "_kilobytes", "_minutes"}) {
      EXPECT_EQ(info.name.find(unit), std::string_view::npos) << info.name;
    }
    for (const std::string_view label : info.labels) EXPECT_NE(label, "device") << info.name;
  }
}

TEST_F(ExporterTest, PassesPromtoolsLint) {
  const char* from_environment = std::getenv("FIELDGATE_PROMTOOL");
  const std::string promtool = from_environment != nullptr ? from_environment : "promtool";
  if (std::system(("command -v '" + promtool + "' >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << "no promtool on PATH, and FIELDGATE_PROMTOOL is not set";
  }
  TempDir dir;
  const std::string text = dir.write("metrics", exporter->text());
  const std::string report = dir.file("report");
  const int status_code =
      std::system(("'" + promtool + "' check metrics < " + text + " > " + report + " 2>&1").c_str());
  std::ostringstream said;
  said << std::ifstream(report).rdbuf();
  EXPECT_EQ(WEXITSTATUS(status_code), 0) << said.str();
}

}  // namespace
}  // namespace fieldgate::metrics
