// SPDX-License-Identifier: Apache-2.0
//
// How fast the stores take what a gateway writes: claims, presence events, timeline
// entries and commands, in transactions of 1, 16 and 256, beside the rate at which the
// disk takes a page (write + fdatasync), which bounds transactions of one writer.
//   fieldgate_bench_store [--quick] [SECONDS]    of each run (1); in the temporary directory
// Lines of key=value: items a second by transactions of so many, STORE.WHAT.by_N. The disk
// is asked before each store, for its rate may change in between.
#include "adapters/postgres/postgres_store.h"
#include "adapters/sqlite/sqlite_store.h"
#include "tests/integration/store/postgres_server.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::store {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t k_devices = 50'000;

// How often a second `once` is done.
double rate_of(double seconds, const std::function<void()>& once) {
  const auto begin = SteadyClock::now();
  std::size_t times = 0;
  std::chrono::duration<double> passed{};
  do {
    once();
    ++times;
    passed = SteadyClock::now() - begin;
  } while (passed.count() < seconds);
  return static_cast<double>(times) / passed.count();
}

void must(const Result<void>& done) {
  if (done) return;
  std::fprintf(stderr, "%s\n", done.error().detail.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> done) {
  if (!done) must(Result<void>(done.error()));
  return std::move(*done);
}

class Bench {
 public:
  Bench(const char* name, DeviceStore& store, double seconds) : name_(name), store_(store), seconds_(seconds) {
    for (std::size_t i = 0; i < k_devices; ++i) {
      devices_.push_back(DeviceId::parse("device-" + std::to_string(i)).value());
    }
    must(store_.open());
    std::vector<ClaimRequest> claims;
    for (const DeviceId& device : devices_) {
      claims.push_back({.device = device, .at_least = {}, .unix_ms = 1, .auto_register = true});
    }
    must(store_.claim(claims));
  }

  void run() {
    for (const std::size_t batch : {1U, 16U, 256U}) {
      measure("claims", batch, [&] {
        std::vector<ClaimRequest> claims;
        for (std::size_t i = 0; i < batch; ++i) claims.push_back({.device = next(), .at_least = {}, .unix_ms = 1});
        must(store_.claim(claims));
      });
      measure("presence", batch, [&] {
        std::vector<PresenceEvent> events;
        for (std::size_t i = 0; i < batch; ++i) {
          events.push_back({.device = next(),
                            .epoch = {1 + at_ / k_devices},
                            .online = true,
                            .node = "node-1",
                            .boot_id = "0123456789abcdef",
                            .unix_ms = 1'700'000'000'000});
        }
        must(store_.add_presence(events));
      });
      measure("timeline", batch, [&] {
        std::vector<TimelineEntry> entries;
        for (std::size_t i = 0; i < batch; ++i) {
          entries.push_back({.device = next(),
                             .kind = TimelineKind::connected,
                             .unix_ms = 1'700'000'000'000,
                             .epoch = {1},
                             .fields = {{"address", "192.0.2.1:4711"}, {"tls", "TLSv1.3"}, {"firmware", "1.2.3"}}});
        }
        must(store_.add_timeline(entries, 100));
      });
      measure("commands", batch, [&] {
        for (std::size_t i = 0; i < batch; ++i) {
          CommandEntry command{.id = "c-" + std::to_string(++commands_), .device = next(), .name = "reboot"};
          command.payload.resize(100);
          command.steps = {{.state = CommandState::queued, .unix_ms = 1}};
          must(store_.insert_command(command));
        }
      });
    }
  }

 private:
  const DeviceId& next() { return devices_[(at_++ * 7'919) % k_devices]; }

  void measure(const char* what, std::size_t batch, const std::function<void()>& work) {
    const double rate = rate_of(seconds_, [&] {
      must(store_.begin());
      work();
      must(store_.commit());
    });
    std::printf("%s.%s.by_%zu=%.0f\n", name_, what, batch, rate * static_cast<double>(batch));
  }

  const char* name_;
  DeviceStore& store_;
  const double seconds_;
  std::vector<DeviceId> devices_;
  std::size_t at_ = 0;
  std::size_t commands_ = 0;
};

// Over what is there already, as a write-ahead log is written once it has its size.
void bench_disk(const test::TempDir& dir, const char* before, double seconds) {
  constexpr std::size_t k_page = 4'096;
  constexpr std::size_t k_pages = 1'000;
  const int fd = ::open(dir.file("page").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const std::string pages(k_page * k_pages, 'x');
  std::size_t at = 0;
  const auto write = [&](std::size_t bytes) {
    const auto offset = static_cast<off_t>(k_page * at);
    if (::pwrite(fd, pages.data(), bytes, offset) == static_cast<ssize_t>(bytes) && ::fdatasync(fd) == 0) return;
    std::perror("page");
    std::exit(1);
  };
  write(pages.size());
  const double rate = rate_of(seconds, [&] {
    write(k_page);
    at = (at + 1) % k_pages;
  });
  ::close(fd);
  std::printf("%s.fdatasync_per_s=%.0f\n", before, rate);
}

bool run(double seconds) {
  if (!PostgresServer::is_installed()) {
    std::fprintf(stderr, "Debian's package postgresql-15 is not installed: ./dev setup bench\n");
    return false;
  }
  const test::TempDir dir;
  const SystemClock clock;
  std::printf("seconds=%g\n", seconds);
  bench_disk(dir, "sqlite", seconds);
  const auto sqlite = sqlite::make_sqlite_store(dir.file("bench.db"), clock);
  Bench("sqlite", *sqlite, seconds).run();
  PostgresServer server({"shared_buffers=128MB"});
  StoreSettings settings;
  settings.connection = server.connection(server.make_database());
  settings.password = {PostgresServer::k_password};
  const auto postgres = postgres::make_postgres_store(settings).value();
  bench_disk(dir, "postgres", seconds);
  Bench("postgres", *postgres, seconds).run();
  return true;
}

}  // namespace
}  // namespace fieldgate::store

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  if (quick) {
    ++argv;
    --argc;
  }
  return fieldgate::store::run(argc > 1 ? std::strtod(argv[1], nullptr) : quick ? 0.01 : 1.0) ? 0 : 1;
}
