// SPDX-License-Identifier: Apache-2.0
//
// A process with a spool, for tests that kill it or take its disk away.
//   fieldgate_spool_worker DIR BYTES_MAX MEMORY_BYTES_MAX
// Says "open", or "refused WHY" and ends. Then a line on standard input is a command,
// and its answer a line on standard output:
//   append N BYTES   N records in blocks of 10 with BYTES of payload: "appended N", less
//                    where no more were taken
//   trim POSITION    give up: "trimming"
//   checkpoint N     marks of N devices, through what is durable: "saving"
//   usage            "usage STATE RECORDS FIRST NEXT DURABLE CHECKPOINT BYTES ERROR"
//   check            reads everything: "checked RECORDS", or "broken POSITION"
//   fill, free       take what room the disk has left, give it back: "filled", "freed"
//   flood            until it is killed: appends, a dead letter for every record whose
//                    position is a multiple of 100, then the lane "main" as completed
//                    through it, now and then a trim; "durable POSITION" as that advances
// Each record's sequence number is its position.
#include "adapters/spool/lmdb_spool.h"
#include "tests/support/fakes.h"
#include "tests/unit/spool/spool_support.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace fieldgate::spool {
namespace {

class Worker {
 public:
  Worker(std::string dir, std::unique_ptr<LmdbSpool> spool) : dir_(std::move(dir)), spool_(std::move(spool)) {
    const SpoolRecovery recovery = spool_->recover().value();
    if (!recovery.lanes.empty()) completed_ = recovery.lanes[0].completed;
    spool_->open(events_);
  }

  std::string answer(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    words >> command >> first >> second;
    if (command == "append") return "appended " + std::to_string(append(first, second));
    if (command == "usage") return usage();
    if (command == "check") return check();
    if (command == "fill") return fill();
    if (command == "flood") flood();
    if (command == "trim") {
      spool_->trim({first});
      return "trimming";
    }
    if (command == "checkpoint") {
      save_devices(first);
      return "saving";
    }
    if (command == "free") {
      std::filesystem::remove(ballast());
      return "freed";
    }
    return "unknown";
  }

 private:
  std::string ballast() const { return dir_ + "/../ballast"; }

  std::uint64_t append(std::uint64_t records, std::size_t payload_bytes) {
    for (std::uint64_t done = 0; done < records; done += 10) {
      if (!spool_->append(make_block(10, spool_->usage().next.value, 0, payload_bytes))) return done;
    }
    return records;
  }

  std::string usage() const {
    const SpoolUsage usage = spool_->usage();
    std::ostringstream out;
    out << "usage " << to_string(usage.state) << ' ' << usage.records << ' ' << usage.first.value << ' '
        << usage.next.value << ' ' << spool_->durable_through().value << ' ' << spool_->checkpoint().value << ' '
        << usage.bytes << ' ' << usage.error;
    return out.str();
  }

  std::string check() {
    const SpoolUsage usage = spool_->usage();
    for (LogPosition at = usage.first; at < usage.next;) {
      RecordBlockPtr block;
      if (!events_.wait_for([&] { return (block = spool_->read(at)) != nullptr; })) break;
      for (std::size_t i = 0; i < block->size(); ++i) {
        if ((*block)[i].seq.value != block->first_position().value + i) return "broken " + std::to_string(at.value);
      }
      if (block->first_position() > at) return "broken " + std::to_string(at.value);
      at = {block->last_position().value + 1};
    }
    return "checked " + std::to_string(usage.records);
  }

  std::string fill() const {
    const int fd = ::open(ballast().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    for (std::size_t size = 1 << 20; size > 0; size /= 16) {
      const std::string zeros(size, '\0');
      while (::write(fd, zeros.data(), zeros.size()) > 0) {
      }
    }
    ::close(fd);
    return "filled";
  }

  void save_devices(std::uint64_t count) {
    std::vector<DeviceMarks> devices;
    for (std::uint64_t i = 0; i < count; ++i) {
      devices.push_back(
          {.device = DeviceId::parse("device-" + std::to_string(i)).value(), .streams = {}, .epoch = {++epoch_}});
    }
    spool_->save_devices(std::move(devices), {}, spool_->durable_through());
  }

  [[noreturn]] void flood() {
    LogPosition told;
    for (;;) {
      (void)append(50, 100);
      const LogPosition durable = spool_->durable_through();
      for (std::uint64_t at = completed_.value / 100 * 100 + 100; at <= durable.value; at += 100) {
        DeadLetter letter;
        letter.lane = "main";
        letter.seq = {at};
        spool_->dead_letters().add(std::move(letter));
      }
      if (durable > completed_) {
        completed_ = durable;
        SavedLane lane;
        lane.name = "main";
        lane.completed = durable;
        spool_->save_lanes({lane});
        if (durable.value > 20'000) spool_->trim({durable.value - 20'000});
      }
      if (durable > told) {
        told = durable;
        std::cout << "durable " << told.value << std::endl;
      }
    }
  }

  const std::string dir_;
  WatchedEvents events_;
  std::unique_ptr<LmdbSpool> spool_;
  LogPosition completed_;  // of the lane "main"
  std::uint64_t epoch_ = 0;
};

}  // namespace
}  // namespace fieldgate::spool

int main(int argc, char** argv) {
  using namespace fieldgate;
  if (argc != 4) return 2;
  const SystemClock clock;
  test::SilentLog log;
  auto spool = spool::LmdbSpool::make({.dir = argv[1],
                                       .bytes_max = std::strtoull(argv[2], nullptr, 10),
                                       .memory_bytes_max = std::strtoull(argv[3], nullptr, 10)},
                                      clock, log);
  if (!spool) {
    std::cout << "refused " << spool.error().detail << std::endl;
    return 1;
  }
  spool::Worker worker(argv[1], std::move(*spool));
  std::cout << "open" << std::endl;
  for (std::string line; std::getline(std::cin, line);) std::cout << worker.answer(line) << std::endl;
  return 0;
}
