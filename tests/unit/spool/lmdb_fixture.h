// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/lmdb_spool.h"
#include "tests/support/fakes.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/spool/spool_support.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace fieldgate::spool {

// A spool in a directory that outlives it.
class LmdbFixture : public testing::Test {
 protected:
  ~LmdbFixture() override { shut(); }

  Result<std::unique_ptr<LmdbSpool>> try_make() { return LmdbSpool::make(settings_, clock_, log_); }
  // Opens what is there; what an earlier process left is in recovery_.
  LmdbSpool& start() {
    auto made = try_make();
    if (!made) throw std::runtime_error(made.error().detail);
    spool_ = std::move(*made);
    recovery_ = spool_->recover().value();
    spool_->open(events_);
    return *spool_;
  }
  void shut() {
    if (spool_) spool_->close();
    spool_.reset();
  }
  LmdbSpool& restart() {
    shut();
    return start();
  }
  bool durable(std::uint64_t position) {
    return events_.wait_for([&] { return spool_->durable_through().value >= position; });
  }
  bool eventually(const std::function<bool(const SpoolUsage&)>& met) {
    return events_.wait_for([&] { return met(spool_->usage()); });
  }
  RecordBlockPtr read(std::uint64_t from) {
    RecordBlockPtr block;
    const auto there = [&] { return (block = spool_->read({from})) != nullptr; };
    EXPECT_TRUE(events_.wait_for(there));
    return block;
  }
  std::string data_file() const { return settings_.dir + "/data.mdb"; }

  test::TempDir temp_;
  SystemClock clock_;
  test::SilentLog log_;
  LmdbSpoolSettings settings_{.dir = temp_.file("spool"),
                              .bytes_max = 64 << 20,
                              .memory_bytes_max = 16 << 20,
                              .dead_letter_bytes_max = 1 << 20};
  WatchedEvents events_;
  SpoolRecovery recovery_;
  std::unique_ptr<LmdbSpool> spool_;
};

}  // namespace fieldgate::spool
