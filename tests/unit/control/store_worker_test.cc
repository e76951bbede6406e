// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/store_worker.h"

#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

DeviceEntry entry(const std::string& id) { return {.id = device_id(id), .labels = {}, .note = {}}; }

StoreWorker::Job put(const std::string& id) {
  return [id](DeviceStore& store) -> Result<void> {
    auto done = store.put_device(entry(id), std::nullopt);
    if (!done) return done.error();
    return {};
  };
}

StoreWorker::Job failing(Errc code) {
  return [code](DeviceStore&) -> Result<void> { return make_error(code, "this one alone"); };
}

struct StoreWorkerTest : testing::Test, StoreFixture {
  StoreWorkerTest() { EXPECT_TRUE(worker.open()); }

  StoreWorker::Done keep(const std::string& name) {
    return [this, name](const Result<void>& outcome) {
      told.push_back(name + (outcome ? " ok" : " " + outcome.error().code.message()));
    };
  }
  bool has(const std::string& id) {
    const auto found = ask<std::optional<DeviceEntry>>([&](DeviceStore& store) { return store.device(device_id(id)); });
    return found && found->has_value();
  }
  using Told = std::vector<std::string>;
  Told told;
};

TEST_F(StoreWorkerTest, RunsWhatWaitsInOneTransactionAndTellsInOrder) {
  for (const std::string id : {"a", "b", "c"}) ASSERT_TRUE(worker.submit(put(id), keep(id)));
  EXPECT_TRUE(told.empty());
  EXPECT_TRUE(worker.run_once());
  EXPECT_EQ(told, (Told{"a ok", "b ok", "c ok"}));
  EXPECT_EQ(faults->begins, 1U);
  EXPECT_EQ(faults->commits, 1U);
  EXPECT_TRUE(has("a") && has("b") && has("c"));
  EXPECT_FALSE(worker.run_once());
}

TEST_F(StoreWorkerTest, TakesNoMoreThanABatchAtATime) {
  StoreFixture small({.batch_max = 2});
  ASSERT_TRUE(small.worker.open());
  for (const std::string id : {"a", "b", "c"}) ASSERT_TRUE(small.worker.submit(put(id), keep(id)));
  EXPECT_EQ(small.worker.status().waiting, 3U);
  small.worker.run_once();
  EXPECT_EQ(told.size(), 2U);
  EXPECT_EQ(small.worker.status().waiting, 1U);
  small.settle();
  EXPECT_EQ(told.size(), 3U);
  EXPECT_EQ(small.faults->commits, 2U);
}

TEST_F(StoreWorkerTest, GivesEachJobItsOwnTransactionWhenOneSpoilsTheBatch) {
  ASSERT_TRUE(worker.submit(put("a"), keep("a")));
  ASSERT_TRUE(worker.submit(failing(Errc::conflict), keep("b")));
  ASSERT_TRUE(worker.submit(put("c"), keep("c")));
  settle();
  EXPECT_EQ(told, (Told{"a ok", "b conflict", "c ok"}));
  EXPECT_TRUE(has("a") && has("c"));
  EXPECT_EQ(faults->commits, 2U + 2U);  // has() asks in two more
  EXPECT_TRUE(worker.available());
}

TEST_F(StoreWorkerTest, UndoesWhatAFailingJobHadWritten) {
  const auto half = [](DeviceStore& store) -> Result<void> {
    EXPECT_TRUE(store.put_device(entry("half"), std::nullopt));
    return make_error(Errc::conflict, "no");
  };
  ASSERT_TRUE(worker.submit(half, keep("half")));
  ASSERT_TRUE(worker.submit(put("whole"), keep("whole")));
  settle();
  EXPECT_FALSE(has("half"));
  EXPECT_TRUE(has("whole"));
}

TEST_F(StoreWorkerTest, FailsAllAtOnceWhileTheStoreCannotBeReached) {
  faults->down = true;
  for (const std::string id : {"a", "b"}) ASSERT_TRUE(worker.submit(put(id), keep(id)));
  settle();
  EXPECT_EQ(told, (Told{"a unavailable", "b unavailable"}));
  EXPECT_FALSE(worker.available());
  EXPECT_EQ(worker.status().last_error, "no route to the store");
  const std::uint64_t calls = faults->calls;
  ASSERT_TRUE(worker.submit(put("c"), [&](const Result<void>& outcome) {
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().detail.find("no route"), std::string::npos)
        << "the store's own words are not for callers";
    told.push_back("c");
  }));
  settle();
  EXPECT_EQ(told.size(), 3U);
  EXPECT_EQ(faults->calls, calls) << "the store was asked although it is known to be away";
}

TEST_F(StoreWorkerTest, GoesOnOnceTheStoreAnswersAgain) {
  int heard = 0;
  worker.on_available([&] { ++heard; });
  faults->down = true;
  ASSERT_TRUE(worker.submit(put("a"), keep("a")));
  settle();
  pass(10s);
  EXPECT_EQ(heard, 0);
  faults->down = false;
  pass(10s);
  EXPECT_EQ(heard, 1);
  EXPECT_TRUE(worker.available());
  EXPECT_TRUE(worker.status().available);
  ASSERT_TRUE(worker.submit(put("b"), keep("b")));
  settle();
  EXPECT_EQ(told, (Told{"a unavailable", "b ok"}));
  EXPECT_TRUE(log.has("store_unavailable"));
  EXPECT_TRUE(log.has("store_available"));
}

TEST_F(StoreWorkerTest, TriesLessAndLessOften) {
  faults->down = true;
  ASSERT_TRUE(worker.submit(put("a"), keep("a")));
  settle();
  std::vector<std::int64_t> at;
  const std::uint64_t begins = faults->begins;
  for (int ms = 0; ms < 40'000; ms += 100) {
    const std::uint64_t before = faults->begins;
    pass(100ms);
    if (faults->begins != before) at.push_back(clock.passed.count());
  }
  EXPECT_EQ(at, (std::vector<std::int64_t>{200, 600, 1'400, 3'000, 6'200, 12'600, 22'600, 32'600}));
  EXPECT_EQ(faults->begins - begins, at.size());
}

// As on a full disk: there is nothing to be said against an empty transaction.
TEST_F(StoreWorkerTest, TriesLessAndLessOftenAlsoWhatTakesNoChange) {
  int back = 0;
  worker.on_available([&] { ++back; });
  for (int ms = 0; ms < 60'000; ms += 100) {
    if (worker.available()) worker.submit(failing(Errc::unavailable), [](const Result<void>&) {});
    pass(100ms);
  }
  EXPECT_GE(back, 5);
  EXPECT_LE(back, 12);
  pass(60s);
  EXPECT_TRUE(worker.available());
  worker.submit(failing(Errc::unavailable), [](const Result<void>&) {});
  pass(200ms);
  EXPECT_TRUE(worker.available()) << "it had been there for long";
}

TEST_F(StoreWorkerTest, SaysSoWhenTheCommitIsLost) {
  faults->look = [&](std::string_view call) {
    if (call == "commit") faults->down = true;
  };
  ASSERT_TRUE(worker.submit(put("a"), keep("a")));
  settle();
  EXPECT_EQ(told, (Told{"a unavailable"}));
  EXPECT_EQ(faults->rollbacks, 1U);
}

TEST_F(StoreWorkerTest, RefusesWhatIsOverItsBound) {
  StoreFixture small({.jobs_max = 2});
  ASSERT_TRUE(small.worker.open());
  EXPECT_TRUE(small.worker.submit(put("a"), keep("a")));
  EXPECT_TRUE(small.worker.submit(put("b"), keep("b")));
  EXPECT_FALSE(small.worker.submit(put("c"), keep("c")));
  small.settle();
  EXPECT_EQ(told, (Told{"a ok", "b ok"}));
  EXPECT_TRUE(small.worker.submit(put("c"), keep("c")));
  small.worker.stop(0ms);
}

TEST_F(StoreWorkerTest, RunsPostsBeforeJobsAndTimersInTheOrderOfTheirTimes) {
  worker.after(20ms, [&] { told.push_back("20"); });
  worker.after(10ms, [&] { told.push_back("10 a"); });
  worker.after(10ms, [&] { told.push_back("10 b"); });
  ASSERT_TRUE(worker.submit(put("job"), keep("job")));
  ASSERT_TRUE(worker.post([&] { told.push_back("post"); }));
  settle();
  EXPECT_EQ(told, (Told{"post", "job ok"}));
  pass(9ms);
  EXPECT_EQ(told.size(), 2U);
  pass(11ms);
  EXPECT_EQ(told, (Told{"post", "job ok", "10 a", "10 b", "20"}));
}

TEST_F(StoreWorkerTest, OpensLaterWhatCouldNotBeReachedAtTheStart) {
  StoreFixture late;
  late.faults->down = true;
  const auto opened = late.worker.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::unavailable);
  ASSERT_TRUE(late.worker.submit(put("a"), keep("a")));
  late.settle();
  EXPECT_EQ(told, (Told{"a unavailable"}));
  late.faults->down = false;
  late.pass(1s);
  EXPECT_TRUE(late.worker.available());
  ASSERT_TRUE(late.worker.submit(put("b"), keep("b")));
  late.settle();
  EXPECT_EQ(told.back(), "b ok");
}

TEST_F(StoreWorkerTest, RunsWhatWaitsBeforeItStops) {
  ASSERT_TRUE(worker.submit(put("a"), keep("a")));
  worker.stop(1s);
  EXPECT_EQ(told, (Told{"a ok"}));
  EXPECT_FALSE(worker.submit(put("b"), keep("b")));
  EXPECT_FALSE(worker.post([] {}));
  EXPECT_TRUE(has("a"));
}

TEST_F(StoreWorkerTest, TellsTheRestThatThereIsNoTimeLeft) {
  ASSERT_TRUE(worker.submit(put("a"), keep("a")));
  worker.stop(0ms);
  EXPECT_EQ(told, (Told{"a unavailable"}));
  EXPECT_FALSE(has("a"));
}

// Whatever call fails, and how: a job that was told that it is done is in the store, one
// that was refused is not, and each is told once.
TEST_F(StoreWorkerTest, SaysTheTruthWhicheverCallFails) {
  for (const Errc error : {Errc::unavailable, Errc::conflict, Errc::internal}) {
    for (std::uint64_t n = 0;; ++n) {
      SCOPED_TRACE(make_error_code(error).message() + " at call " + std::to_string(n));
      StoreFixture f;
      ASSERT_TRUE(f.worker.open());
      f.faults->error = error;
      f.faults->fail_at = f.faults->calls + n;
      std::vector<std::optional<Result<void>>> outcomes(4);
      for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const auto done = [&outcomes, i](const Result<void>& outcome) {
          EXPECT_FALSE(outcomes[i]) << "told twice";
          outcomes[i] = outcome;
        };
        ASSERT_TRUE(f.worker.submit(put("d" + std::to_string(i)), done));
      }
      f.settle();
      const bool failed = !f.faults->fail_at;
      f.faults->fail_at.reset();
      f.pass(10s);
      for (std::size_t i = 0; i < outcomes.size(); ++i) {
        ASSERT_TRUE(outcomes[i]);
        const auto found = f.ask<std::optional<DeviceEntry>>(
            [&](DeviceStore& store) { return store.device(device_id("d" + std::to_string(i))); });
        ASSERT_TRUE(found);
        EXPECT_EQ(found->has_value(), outcomes[i]->has_value()) << i;
      }
      if (!failed) break;
      ASSERT_LT(n, 100U);
    }
  }
}

TEST(StoreWorkerThread, DoesTheWorkOfManyThreadsOnceEach) {
  constexpr int k_threads = 4;
  constexpr int k_jobs = 500;
  SystemClock clock;
  test::SilentLog log;
  StoreWorker worker(sqlite::make_sqlite_store(":memory:", clock), clock, log);
  ASSERT_TRUE(worker.open());
  worker.start();
  std::atomic<int> done{0};
  std::atomic<int> posts{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < k_threads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < k_jobs; ++i) {
        const std::string id = "d" + std::to_string(t) + "-" + std::to_string(i);
        EXPECT_TRUE(worker.submit(put(id), [&](const Result<void>& outcome) { done += outcome.has_value() ? 1 : 0; }));
        EXPECT_TRUE(worker.post([&] { ++posts; }));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::promise<void> timer;
  worker.run_between([&] { worker.after(1ms, [&] { timer.set_value(); }); });
  timer.get_future().wait();
  worker.stop(60s);
  EXPECT_EQ(done, k_threads * k_jobs);
  EXPECT_EQ(posts, k_threads * k_jobs);
}

// A store that does not come back holds up the end of the process no longer than it is given.
TEST(StoreWorkerThread, InterruptsAStoreThatDoesNotAnswerWhenItIsToStop) {
  SystemClock clock;
  test::SilentLog log;
  auto faults = std::make_shared<test::FaultyStore::Faults>();
  std::promise<void> hangs;
  std::promise<void> interrupted;
  faults->look = [&, first = true](std::string_view call) mutable {
    if (call != "nodes" || !std::exchange(first, false)) return;
    hangs.set_value();
    interrupted.get_future().wait();
  };
  faults->interrupted = [&] { interrupted.set_value(); };
  std::promise<Result<void>> told;
  {
    StoreWorker worker(std::make_unique<test::FaultyStore>(sqlite::make_sqlite_store(":memory:", clock), faults), clock,
                       log);
    ASSERT_TRUE(worker.open());
    worker.start();
    ASSERT_TRUE(worker.submit(
        [](DeviceStore& store) -> Result<void> {
          auto nodes = store.nodes();
          return nodes ? Result<void>() : nodes.error();
        },
        [&](const Result<void>& outcome) { told.set_value(outcome); }));
    hangs.get_future().wait();
    worker.stop(10ms);  // without the interruption it would never return
  }
  EXPECT_TRUE(told.get_future().get());
}

}  // namespace
}  // namespace fieldgate::control
