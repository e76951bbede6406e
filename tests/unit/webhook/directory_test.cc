// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/directory.h"

#include "gateway/core/mutex.h"
#include "tests/support/lane_fakes.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::webhook {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using Endpoints = std::vector<asio::ip::tcp::endpoint>;

// Answers as it was told, in turn; the last answer stays.
class ScriptedNames final : public NameSource {
 public:
  using Answer = Result<Addresses>;
  explicit ScriptedNames(std::deque<Answer> answers) : answers_(std::move(answers)) {}
  Result<Addresses> look_up(const std::string& host) override {
    if (hang) hang->wait();
    const MutexLock lock(mutex_);
    hosts_.push_back(host);
    Answer answer = answers_.front();
    if (answers_.size() > 1) answers_.pop_front();
    return answer;
  }
  std::size_t count() const {
    const MutexLock lock(mutex_);
    return hosts_.size();
  }
  std::optional<std::shared_future<void>> hang;

 private:
  mutable Mutex mutex_;
  std::deque<Answer> answers_ GUARDED_BY(mutex_);
  std::vector<std::string> hosts_ GUARDED_BY(mutex_);
};

ScriptedNames::Answer at(std::vector<const char*> addresses) {
  Addresses list;
  for (const char* address : addresses) list.push_back(asio::ip::make_address(address));
  return list;
}

struct DirectoryTest : testing::Test {
  void make(std::deque<ScriptedNames::Answer> answers, std::vector<std::string> allowed = {},
            std::string host = "hooks.example.com", milliseconds patience = std::chrono::minutes(1)) {
    names = std::make_shared<ScriptedNames>(std::move(answers));
    directory = std::make_unique<Directory>(
        Directory::Parts{io, names, AddressPolicy::make(allowed).value(), log, "hook", std::move(host), 443, patience});
  }
  Result<Endpoints> find() {
    std::optional<Result<Endpoints>> result;
    directory->find([&result](Result<Endpoints> found) { result.emplace(std::move(found)); });
    EXPECT_FALSE(result) << "answered from within";
    const auto work = asio::make_work_guard(io);
    io.restart();
    while (!result) io.run_one();
    return *std::move(result);
  }

  asio::io_context io;
  test::TextLog log;
  std::shared_ptr<ScriptedNames> names;
  std::unique_ptr<Directory> directory;
};

TEST_F(DirectoryTest, GivesOnlyTheAddressesThatMayBeReached) {
  make({at({"10.0.0.1", "93.184.216.34", "::ffff:127.0.0.1", "2606:2800::1", "169.254.169.254"})});
  const auto found = find().value();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].address().to_string(), "93.184.216.34");
  EXPECT_EQ(found[0].port(), 443);
  EXPECT_EQ(found[1].address().to_string(), "2606:2800::1");
}

TEST_F(DirectoryTest, RefusesANameThatIsReboundToLoopback) {
  make({at({"93.184.216.34"}), at({"127.0.0.1"})});
  EXPECT_EQ(find().value().front().address().to_string(), "93.184.216.34");
  const auto second = find();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::forbidden);
  EXPECT_NE(second.error().detail.find("127.0.0.1 (loopback)"), std::string::npos);
  EXPECT_NE(second.error().detail.find("allowed_networks"), std::string::npos);
  EXPECT_EQ(names->count(), 2U) << "one look-up for each connection, none between check and use";
}

TEST_F(DirectoryTest, KeepsTheLastGoodAddressesWhileTheLookUpFails) {
  const auto failure = make_error(Errc::unavailable, "Temporary failure in name resolution");
  make({failure, at({"93.184.216.34"}), failure});
  const auto first = find();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::unavailable);
  EXPECT_NE(first.error().detail.find("hooks.example.com cannot be resolved: Temporary failure"), std::string::npos);
  EXPECT_TRUE(find());
  EXPECT_EQ(find().value().front().address().to_string(), "93.184.216.34");
  EXPECT_TRUE(log.has("webhook_look_up_failed"));
}

TEST_F(DirectoryTest, DoesNotKeepAddressesThatWereRefused) {
  make({at({"127.0.0.1"}), make_error(Errc::unavailable, "gone")});
  EXPECT_EQ(find().error().code, Errc::forbidden);
  EXPECT_EQ(find().error().code, Errc::unavailable);
}

TEST_F(DirectoryTest, SharesOneLookUpAmongThoseWhoAskMeanwhile) {
  make({at({"93.184.216.34"})});
  std::promise<void> go;
  names->hang = go.get_future().share();
  int answered = 0;
  for (int i = 0; i < 3; ++i)
    directory->find([&answered](const Result<Endpoints>& found) { answered += found ? 1 : 0; });
  go.set_value();
  const auto work = asio::make_work_guard(io);
  while (answered < 3) io.run_one();
  EXPECT_EQ(names->count(), 1U);
}

TEST_F(DirectoryTest, AnswersThoughTheLookUpHangsAndCanBeGivenUp) {
  make({at({"93.184.216.34"})}, {}, "hooks.example.com", milliseconds(1));
  std::promise<void> go;
  names->hang = go.get_future().share();
  const auto found = find();
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().detail.find("takes too long"), std::string::npos);
  directory.reset();  // does not wait for it
  EXPECT_EQ(names->count(), 0U);
  go.set_value();
}

TEST_F(DirectoryTest, ChecksANumericHostWithoutLookingItUp) {
  make({at({"93.184.216.34"})}, {}, "127.0.0.1");
  EXPECT_EQ(find().error().code, Errc::forbidden);
  make({at({"93.184.216.34"})}, {"127.0.0.0/8"}, "127.0.0.1");
  EXPECT_EQ(find().value().front().address().to_string(), "127.0.0.1");
  EXPECT_EQ(names->count(), 0U);
}

// What only the C library takes for an address is a name to us: looked up, and checked.
TEST_F(DirectoryTest, ChecksWhatTheSystemMakesOfOddNumbers) {
  for (const char* host : {"2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1"}) {
    directory = std::make_unique<Directory>(Directory::Parts{io, system_names(), AddressPolicy::make({}).value(), log,
                                                             "hook", host, 80, std::chrono::minutes(1)});
    EXPECT_EQ(find().error().code, Errc::forbidden) << host;
  }
}

}  // namespace
}  // namespace fieldgate::webhook
