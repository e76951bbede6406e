// SPDX-License-Identifier: Apache-2.0
//
// What a page of the fleet costs while telemetry flows: each kind of query over 50,000
// and 200,000 devices, with the changes and time stamps that such a fleet makes applied
// in between, beside a floor: one look at every device, at what a query at least reads.
//   fieldgate_bench_fleet [--quick] [FEW MANY]
// Lines of key=value, for `few` and for `many` devices: of each kind the p50 and p99 over
// its queries, how many devices the first page had, and the query's plan; `slowest` is the
// kind with the highest p50.
#include "gateway/core/fleet_index.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t k_now = 1'700'000'000'000;
// Between two queries, which come every 20 ms: of 5,000 changes a second, and of a stamp for each device every 10 s.
constexpr std::size_t k_changes_between = 100;

class Fleet {
 public:
  explicit Fleet(std::size_t devices) : devices_(devices) {
    for (std::size_t i = 0; i < devices; ++i) {
      index_.apply(summary(i, 1));
      if (i % 2 == 0) index_.apply(registration(i));
    }
  }

  FleetIndex& index() { return index_; }

  // Some 20 ms of a fleet's life. Gives what it took.
  double live() {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < k_changes_between; ++i) {
      const std::size_t which = random_() % devices_;
      index_.apply(summary(which, ++epoch_));
    }
    for (std::size_t i = 0; i < devices_ / 500; ++i) {
      const std::size_t which = stamped_++ % devices_;
      const auto known = index_.find(id(which).str(), k_now);
      index_.apply(SeenUpdate{id(which), known->epoch, k_now - static_cast<std::int64_t>(random_() % 10'000), k_now});
    }
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  }

 private:
  static DeviceId id(std::size_t i) {
    std::string text = std::to_string(i * 2'654'435'761U % 1'000'000'007U);
    return *DeviceId::parse("plant-" + std::to_string(i % 40) + "-device-" + text + "-" + std::to_string(i));
  }
  DeviceSummary summary(std::size_t i, std::uint64_t epoch) {
    DeviceSummary out{id(i)};
    out.online = random_() % 10 != 0;
    out.epoch = {epoch};
    out.since_unix_ms = k_now - static_cast<std::int64_t>(random_() % 86'400'000);
    out.last_seen_unix_ms = k_now - static_cast<std::int64_t>(random_() % 600'000);
    out.last_data_unix_ms = out.last_seen_unix_ms;
    out.firmware = "2." + std::to_string(i % 9) + ".0";
    out.labels = {
        {"line", std::to_string(i % 25)}, {"serial", "SN" + std::to_string(i)}, {"site", std::to_string(i % 40)}};
    if (!out.online) out.reason = i % 3 == 0 ? "heartbeat_lost" : "peer_closed";
    out.node = "edge-1";
    return out;
  }
  static RegistryChange registration(std::size_t i) {
    DeviceEntry entry{
        id(i), i % 50 != 0, {{"owner", "team-" + std::to_string(i % 12)}}, "cabinet " + std::to_string(i)};
    return {entry.id, i + 1, std::move(entry)};
  }

  const std::size_t devices_;
  std::mt19937_64 random_{7};
  FleetIndex index_{300'000};
  std::uint64_t epoch_ = 1;
  std::size_t stamped_ = 0;
};

struct Kind {
  std::string name;
  FleetQuery query;
};

std::vector<Kind> kinds() {
  using Is = LabelCondition::Is;
  std::vector<Kind> out;
  const auto add = [&out](std::string name, auto change) {
    out.push_back({std::move(name), {}});
    change(out.back().query);
  };
  add("first_page", [](FleetQuery&) {});
  add("count", [](FleetQuery& q) { q.count = true; });
  add("online", [](FleetQuery& q) { q.online = true; });
  add("offline_by_reason", [](FleetQuery& q) { q.reason = "heartbeat_lost"; });
  add("inactive", [](FleetQuery& q) { q.inactive = true; });
  add("label_rare", [](FleetQuery& q) { q.labels = {{"serial", Is::equal, "SN4711"}}; });
  add("label_common", [](FleetQuery& q) { q.labels = {{"site", Is::equal, "7"}}; });
  add("labels_and_count", [](FleetQuery& q) {
    q.labels = {{"site", Is::different, "7"}, {"owner"}, {"retired", Is::absent}};
    q.count = true;
  });
  add("firmware", [](FleetQuery& q) { q.firmware = "2.4.0"; });
  add("prefix", [](FleetQuery& q) { q.id_prefix = "plant-17-"; });
  add("text_common", [](FleetQuery& q) { q.text = "CABINET 1"; });
  add("text_rare", [](FleetQuery& q) { q.text = "sn4711"; });
  add("text_none", [](FleetQuery& q) { q.text = "no such text"; });
  add("registered_disabled", [](FleetQuery& q) { q.enabled = false; });
  add("seen_window", [](FleetQuery& q) {
    q.last_seen_after = k_now - 60'000;
    q.last_seen_before = k_now - 59'000;
  });
  for (const auto& [name, sort] : {std::pair("last_seen", FleetSort::last_seen), std::pair("since", FleetSort::since),
                                   std::pair("firmware", FleetSort::firmware)}) {
    add(std::string("sort_") + name, [sort = sort](FleetQuery& q) {
      q.sort = sort;
      q.descending = true;
    });
    add(std::string("sort_") + name + "_filtered_500", [sort = sort](FleetQuery& q) {
      q.sort = sort;
      q.limit = 500;
      q.online = true;
      q.labels = {{"line", Is::equal, "3"}};
      q.count = true;
    });
  }
  return out;
}

double at(std::vector<double>& times, double share) {
  std::sort(times.begin(), times.end());
  return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
}

void print_times(const char* size, const char* what, std::vector<double>& times) {
  std::printf("%s.%s.p50_ms=%.4f\n%s.%s.p99_ms=%.4f\n", size, what, at(times, 0.5), size, what, at(times, 0.99));
}

void run(const char* size, std::size_t devices, int queries) {
  Fleet fleet(devices);
  std::vector<double> updates;
  std::vector<double> floor;
  for (int i = 0; i < queries; ++i) {
    updates.push_back(fleet.live());
    const auto begin = Clock::now();
    const FleetCounts counts = fleet.index().counts(k_now);
    floor.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    if (counts.known != devices) std::abort();
  }
  std::printf("%s.devices=%zu\n%s.queries=%d\n", size, devices, size, queries);
  print_times(size, "floor", floor);
  print_times(size, "updates_of_20ms", updates);
  std::vector<Kind> all = kinds();
  std::string slowest;
  std::vector<double> slowest_times;
  for (Kind& kind : all) {
    std::vector<double> times;
    FleetPlan plan;
    std::size_t found = 0;
    kind.query.after.reset();
    for (int i = 0; i < queries; ++i) {
      fleet.live();
      const auto begin = Clock::now();
      FleetPage page = fleet.index().query(kind.query, k_now);
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      if (i == 0) {
        plan = page.plan;
        found = page.devices.size();
      }
      kind.query.after = std::move(page.next);  // page after page; from the beginning again after the last
    }
    print_times(size, kind.name.c_str(), times);
    std::printf("%s.%s.found=%zu\n%s.%s.plan=%s, walked %zu, scanned %zu, matched %zu\n", size, kind.name.c_str(),
                found, size, kind.name.c_str(), std::string(plan.path).c_str(), plan.walked, plan.scanned,
                plan.matched);
    if (slowest.empty() || at(times, 0.5) > at(slowest_times, 0.5)) {
      slowest = kind.name;
      slowest_times = std::move(times);
    }
  }
  std::printf("%s.kinds=%zu\n%s.slowest.kind=%s\n", size, all.size(), size, slowest.c_str());
  print_times(size, "slowest", slowest_times);
}

}  // namespace
}  // namespace fieldgate

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  std::vector<std::size_t> sizes;
  for (int i = quick ? 2 : 1; i < argc; ++i) sizes.push_back(std::strtoull(argv[i], nullptr, 10));
  if (sizes.empty()) sizes = quick ? std::vector<std::size_t>{1'000, 2'000} : std::vector<std::size_t>{50'000, 200'000};
  if (sizes.size() != 2 || sizes[0] == 0 || sizes[1] == 0) {
    std::fprintf(stderr, "fieldgate_bench_fleet: either no sizes, or FEW and MANY, in numbers of devices\n");
    return 2;
  }
  const int queries = quick ? 20 : 300;
  fieldgate::run("few", sizes[0], queries);
  fieldgate::run("many", sizes[1], queries);
  return 0;
}
