// SPDX-License-Identifier: Apache-2.0
//
// Messages between nodes, by way of a real broker.
#include "gateway/ports/peers.h"
#include "adapters/mqtt/peer_codec.h"
#include "adapters/mqtt/peer_post.h"
#include "fieldgate/v1/peer.pb.h"
#include "gateway/core/mutex.h"
#include "tests/integration/mqtt/lane_fixture.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <thread>
#include <utility>

namespace fieldgate::mqtt {
namespace {

using namespace std::chrono_literals;

// What a node hears, and what it is answered.
class Heard {
 public:
  void put(std::string text) {
    const MutexLock lock(mutex_);
    all_.push_back(std::move(text));
  }
  std::vector<std::string> all() const {
    const MutexLock lock(mutex_);
    return all_;
  }
  std::size_t count() const { return all().size(); }
  std::size_t count(std::string_view text) const {
    const auto texts = all();
    return static_cast<std::size_t>(std::count(texts.begin(), texts.end(), text));
  }
  bool has(std::size_t count) const {
    return eventually([&] { return this->count() >= count; });
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> all_ GUARDED_BY(mutex_);
};

// One node: a lane, and its post.
struct Node {
  Node(std::string of, std::uint16_t port) : name(std::move(of)) {
    lane = make_mqtt_lane(LaneFixture::settings(port), {name, "boot-" + name, "0.1.0", 1}, clock, log, lane_probe,
                          dead_letters, nullptr, &probe)
               .value();
    peers = lane->peers();
    peers->serve("look", [this](const PeerMessage& message, const Peers::Answer& answer) {
      heard.put(message.from + "/" + message.boot_id + " " + message.body + (answer ? "?" : ""));
      if (answer) answer("seen " + message.body);
    });
    peers->serve("refuse", [](const PeerMessage&, const Peers::Answer& answer) {
      if (answer) answer(make_error(Errc::not_found, "no such thing"));
    });
    peers->serve("keep", [this](const PeerMessage&, Peers::Answer answer) {
      const MutexLock lock(mutex);
      kept.push_back(std::move(answer));
    });
  }
  ~Node() {
    kept.clear();  // no answer outlives the lane
    lane.reset();
  }
  void start() { lane->start(feed); }
  bool connected() const {
    return eventually([this] { return peers->connected(); });
  }
  std::uint64_t dropped(PeerDrop why) const { return probe.dropped[static_cast<std::size_t>(why)].get(); }
  // The answer's text, or the error's name and detail.
  Peers::Answer kept_in(Heard& answers) const {
    return [&answers](const Result<std::string>& answer) {
      answers.put(answer ? *answer : answer.error().code.message() + ": " + answer.error().detail);
    };
  }
  std::size_t kept_count() {
    const MutexLock lock(mutex);
    return kept.size();
  }

  const std::string name;
  SystemClock clock;
  test::TextLog log;
  MqttLaneProbe lane_probe;
  PeerProbe probe;
  test::FakeDeadLetters dead_letters;
  test::FakeFeed feed;
  Heard heard;
  Mutex mutex;
  std::vector<Peers::Answer> kept;
  std::unique_ptr<MqttLane> lane;
  Peers* peers = nullptr;
};

std::string name_of(Errc code) { return make_error_code(code).message(); }

struct PeersOverBroker : testing::Test {
  void start() {
    a.start();
    b.start();
    ASSERT_TRUE(a.connected());
    ASSERT_TRUE(b.connected());
  }
  Heard answers;
  MosquittoBroker broker;
  Node a{"a", broker.port()};
  Node b{"b", broker.port()};
};

TEST_F(PeersOverBroker, CarriesWordsQuestionsAndAnswers) {
  start();
  const std::string body("any\0bytes\xFF", 10);
  a.peers->tell("b", "look", body, 60s);
  ASSERT_TRUE(b.heard.has(1));
  EXPECT_EQ(b.heard.all()[0], "a/boot-a " + body);
  a.peers->ask("b", "look", "pump", 60s, a.kept_in(answers));
  b.peers->ask("a", "look", "valve", 60s, b.kept_in(answers));
  ASSERT_TRUE(answers.has(2));
  EXPECT_EQ(answers.count("seen pump"), 1u);
  EXPECT_EQ(answers.count("seen valve"), 1u);
  const std::string large(k_peer_body_bytes_max, 'x');
  a.peers->ask("b", "look", large, 60s, a.kept_in(answers));
  ASSERT_TRUE(answers.has(3));
  EXPECT_EQ(answers.count(name_of(Errc::too_large) + ": the answer is too large for a message between nodes"), 1u)
      << "with what comes before it, it is";
  EXPECT_EQ(b.heard.count("a/boot-a " + large + "?"), 1u);
}

TEST_F(PeersOverBroker, BringsRefusalsAsTheyWereMeantAndTellsWhoIsNotThere) {
  start();
  a.peers->ask("b", "refuse", "", 60s, a.kept_in(answers));
  a.peers->ask("b", "unheard-of", "", 60s, a.kept_in(answers));
  ASSERT_TRUE(answers.has(2));
  EXPECT_EQ(answers.count(name_of(Errc::not_found) + ": no such thing"), 1u);
  EXPECT_EQ(answers.count(name_of(Errc::unsupported) + ": node b does not serve this"), 1u);
  a.peers->ask("nobody", "look", "", 200ms, a.kept_in(answers));
  a.peers->ask("a", "look", "", 200ms, a.kept_in(answers));
  a.peers->ask("no+name", "look", "", 200ms, a.kept_in(answers));
  ASSERT_TRUE(answers.has(5));
  EXPECT_EQ(answers.count(name_of(Errc::timed_out) + ": node nobody did not answer in time"), 1u);
  EXPECT_EQ(a.probe.questions_failed.get(), 1u);
}

TEST_F(PeersOverBroker, DropsAndCountsWhatIsHostileAndGoesOn) {
  start();
  RecordingSubscriber hostile({.port = broker.port(), .client_id = "hostile", .filters = {"fg/nodes/none"}});
  const std::string inbox = "fg/nodes/b/inbox";
  const auto forged = [](const std::function<void(v1::PeerMessage&)>& change) {
    v1::PeerMessage message;
    message.set_version(1);
    message.set_node("a");
    message.set_boot_id("boot-a");
    message.set_kind("look");
    message.set_body("forged");
    change(message);
    return message.SerializeAsString();
  };
  const std::vector<std::pair<PeerDrop, std::string>> all{
      {PeerDrop::malformed, "rubbish"},
      {PeerDrop::malformed, forged([](auto& message) { message.set_node("no/name"); })},
      {PeerDrop::malformed, forged([](auto& message) { message.set_kind(std::string(33, 'k')); })},
      {PeerDrop::malformed, forged([](auto& message) { message.set_question("short"); })},
      {PeerDrop::malformed, forged([](auto& message) { message.set_answer(true); })},
      {PeerDrop::version, forged([](auto& message) { message.set_version(2); })},
      {PeerDrop::own, forged([](auto& message) { message.set_node("b"); })},
      {PeerDrop::unknown_kind, forged([](auto& message) { message.set_kind("shutdown"); })},
      {PeerDrop::no_question, forged([](auto& message) {
         message.set_question(std::string(k_question_bytes, 'q'));
         message.set_answer(true);
       })},
      {PeerDrop::too_large,
       forged([](auto& message) { message.set_body(std::string(k_peer_body_bytes_max + 1, 'x')); })},
      {PeerDrop::too_large, std::string(k_peer_message_bytes_max + 1, 'x')},
  };
  std::map<PeerDrop, std::uint64_t> expected;
  for (const auto& [why, payload] : all) {
    hostile.publish(inbox, payload, false);
    ++expected[why];
    ASSERT_TRUE(eventually([&, why = why] { return b.dropped(why) == expected[why]; }))
        << k_peer_drops[static_cast<std::size_t>(why)] << " " << payload.substr(0, 60);
  }
  hostile.publish(inbox, forged([](auto&) {}), true);  // comes as any other, to who is subscribed already
  ASSERT_TRUE(b.heard.has(1));
  Node late("late", broker.port());
  hostile.publish("fg/nodes/late/inbox", forged([](auto&) {}), true);
  late.start();
  EXPECT_TRUE(eventually([&] { return late.dropped(PeerDrop::retained) == 1; })) << "kept there by somebody";
  a.peers->tell("b", "look", "true", 60s);
  ASSERT_TRUE(b.heard.has(2));
  EXPECT_EQ(b.heard.all().back(), "a/boot-a true");
  EXPECT_EQ(late.heard.count(), 0u);
  EXPECT_EQ(b.lane->status().state, LaneState::running);
}

TEST_F(PeersOverBroker, SaysHowLongAWordIsOfUseToTheBroker) {
  start();
  const std::string command =
      "mosquitto_sub -V mqttv5 -p " + std::to_string(broker.port()) + " -t fg/nodes/elsewhere/inbox -C 1 -W 60 -F %E";
  std::string said;
  std::atomic<bool> over{false};
  std::thread reader([&] {
    FILE* pipe = ::popen(command.c_str(), "r");
    std::array<char, 64> line{};
    if (pipe != nullptr && ::fgets(line.data(), line.size(), pipe) != nullptr) said = line.data();
    if (pipe != nullptr) ::pclose(pipe);
    over = true;
  });
  while (!over) {  // until it has subscribed, too
    a.peers->tell("elsewhere", "look", "x", 600s);
    std::this_thread::sleep_for(20ms);
  }
  reader.join();
  ASSERT_FALSE(said.empty());
  EXPECT_GT(std::stoi(said), 0);
  EXPECT_LE(std::stoi(said), 600);
}

TEST_F(PeersOverBroker, GivesUpWhatIsOfNoUseAnyMoreByTheTimeThereIsAConnection) {
  b.start();
  ASSERT_TRUE(b.connected());
  const auto told = std::chrono::steady_clock::now();
  a.peers->tell("b", "look", "short", 1s);
  a.peers->tell("b", "look", "long", 600s);
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - told > 1'100ms; }));
  a.start();
  ASSERT_TRUE(b.heard.has(1));
  EXPECT_EQ(b.heard.all(), std::vector<std::string>{"a/boot-a long"});
  EXPECT_EQ(a.dropped(PeerDrop::expired), 1u);
}

TEST_F(PeersOverBroker, AsksNobodyWithoutABrokerAndGoesOnWithItsNextLife) {
  start();
  broker.kill();
  ASSERT_TRUE(eventually([&] { return !a.peers->connected() && !b.peers->connected(); }));
  a.peers->ask("b", "look", "now", 60s, a.kept_in(answers));
  ASSERT_EQ(answers.count(), 1u) << "at once";
  EXPECT_EQ(answers.all()[0], name_of(Errc::unavailable) + ": there is no connection to node b at present");
  broker.start();
  ASSERT_TRUE(a.connected());
  ASSERT_TRUE(b.connected());
  a.peers->ask("b", "look", "again", 60s, a.kept_in(answers));
  ASSERT_TRUE(answers.has(2));
  EXPECT_EQ(answers.all()[1], "seen again");
  a.peers->tell("b", "look", "word", 60s);
  EXPECT_TRUE(eventually([&] { return b.heard.count("a/boot-a word") == 1; }));
}

TEST_F(PeersOverBroker, KeepsSoMuchForABrokerThatIsAwayAndCountsTheRest) {
  constexpr std::size_t k_more = 300;
  a.start();
  ASSERT_TRUE(a.connected());
  broker.kill();
  ASSERT_TRUE(eventually([&] { return !a.peers->connected(); }));
  for (std::size_t i = 0; i < PeerPost::k_waiting_max + k_more; ++i) {
    a.peers->tell("b", "look", std::to_string(i), 3'600s);
  }
  EXPECT_EQ(a.dropped(PeerDrop::full), k_more);
  broker.start();
  EXPECT_TRUE(eventually([&] { return a.probe.sent.get() >= PeerPost::k_waiting_max; }));
  b.start();
  ASSERT_TRUE(b.connected());
  a.peers->tell("b", "look", "after", 600s);
  EXPECT_TRUE(eventually([&] { return b.heard.count("a/boot-a after") == 1; })) << "and then there is room again";
  EXPECT_EQ(a.dropped(PeerDrop::full), k_more);
}

TEST_F(PeersOverBroker, AnswersSoManyAtOnce) {
  constexpr std::size_t k_more = 40;
  start();
  for (std::size_t i = 0; i < PeerPost::k_serving_max + k_more; ++i) {
    a.peers->ask("b", "keep", std::to_string(i), 60s, a.kept_in(answers));
  }
  EXPECT_TRUE(eventually([&] { return b.dropped(PeerDrop::busy) == k_more; })) << b.dropped(PeerDrop::busy);
  ASSERT_EQ(b.kept_count(), PeerPost::k_serving_max);
  std::vector<Peers::Answer> kept;
  {
    const MutexLock lock(b.mutex);
    kept.swap(b.kept);
  }
  for (const auto& answer : std::exchange(kept, {})) answer(std::string("late"));
  ASSERT_TRUE(answers.has(PeerPost::k_serving_max));
  EXPECT_EQ(answers.count("late"), PeerPost::k_serving_max);
  a.peers->ask("b", "look", "free", 60s, a.kept_in(answers));
  EXPECT_TRUE(eventually([&] { return answers.count("seen free") == 1; }));
}

}  // namespace
}  // namespace fieldgate::mqtt
