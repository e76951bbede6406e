// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/peer_post.h"

#include "fieldgate/v1/peer.pb.h"
#include "tests/support/lane_fakes.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::mqtt {
namespace {

using namespace std::chrono_literals;

// Two nodes, and a broker that is the test.
struct PeerPostTest : testing::Test {
  PeerPostTest() {
    a->set_connected(true);
    b->set_connected(true);
  }
  std::unique_ptr<PeerPost> make(const std::string& name, PeerProbe& probe) {
    return std::make_unique<PeerPost>(name, "boot-" + name, topics, clock, probe, [this] { ++wakes; });
  }
  // All that waits goes over.
  std::size_t carry() {
    std::size_t count = 0;
    for (bool any = true; any;) {
      any = false;
      while (auto message = a->take()) {
        EXPECT_EQ(message->topic, "fg/nodes/b/inbox");
        b->received(message->payload, false);
        any = ++count > 0;
      }
      while (auto message = b->take()) {
        EXPECT_EQ(message->topic, "fg/nodes/a/inbox");
        a->received(message->payload, false);
        any = ++count > 0;
      }
    }
    return count;
  }
  Peers::Answer kept() {
    return [this](Result<std::string> result) { answers.push_back(std::move(result)); };
  }
  std::uint64_t dropped(PeerDrop why) const { return b_probe.dropped[static_cast<std::size_t>(why)].get(); }
  std::uint64_t dropped_at_a(PeerDrop why) const { return a_probe.dropped[static_cast<std::size_t>(why)].get(); }

  test::HandClock clock;
  Topics topics = *Topics::make("fg", "a");
  PeerProbe a_probe;
  PeerProbe b_probe;
  int wakes = 0;
  std::vector<Result<std::string>> answers;
  std::unique_ptr<PeerPost> a = make("a", a_probe);
  std::unique_ptr<PeerPost> b = make("b", b_probe);
};

TEST_F(PeerPostTest, CarriesAWordWithItsSender) {
  std::vector<PeerMessage> heard;
  b->serve("look", [&](PeerMessage message, const Peers::Answer& answer) {
    EXPECT_FALSE(answer) << "nobody waits for one";
    heard.push_back(std::move(message));
  });
  const std::string body("pump\0\xFF", 6);
  a->tell("b", "look", body, 30s);
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(carry(), 1u);
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].from, "a");
  EXPECT_EQ(heard[0].boot_id, "boot-a");
  EXPECT_EQ(heard[0].body, body);
}

TEST_F(PeerPostTest, BringsTheAnswerToItsQuestion) {
  std::vector<Peers::Answer> open;
  b->serve("live", [&](const PeerMessage&, Peers::Answer answer) { open.push_back(std::move(answer)); });
  a->ask("b", "live", "one", 500ms, kept());
  a->ask("b", "live", "two", 500ms, kept());
  EXPECT_EQ(carry(), 2u);
  ASSERT_EQ(open.size(), 2u);
  open[1](std::string("second"));
  open[0](make_error(Errc::not_found, "no such device"));
  EXPECT_EQ(carry(), 2u);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(*answers[0], "second");
  EXPECT_EQ(answers[1].error().code, Errc::not_found);
  EXPECT_EQ(answers[1].error().detail, "no such device");
  EXPECT_EQ(a->wake_at(), std::nullopt);
}

TEST_F(PeerPostTest, AnswersOnceWhenPatienceEndsAndDropsWhatComesLater) {
  Peers::Answer late;
  b->serve("live", [&](const PeerMessage&, Peers::Answer answer) { late = std::move(answer); });
  a->ask("b", "live", "", 500ms, kept());
  carry();
  EXPECT_EQ(a->wake_at(), clock.now() + 500ms);
  clock.passed += 499ms;
  a->expire();
  EXPECT_TRUE(answers.empty());
  clock.passed += 1ms;
  a->expire();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, Errc::timed_out);
  late(std::string("too late"));
  carry();
  EXPECT_EQ(answers.size(), 1u);
  EXPECT_EQ(dropped_at_a(PeerDrop::no_question), 1u);
  EXPECT_EQ(a_probe.questions_failed.get(), 1u);
}

TEST_F(PeerPostTest, SaysWhichQuestionsItServesNot) {
  a->ask("b", "what", "", 500ms, kept());
  carry();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, Errc::unsupported);
  EXPECT_EQ(dropped(PeerDrop::unknown_kind), 1u);
}

TEST_F(PeerPostTest, RefusesAtOnceWhatCannotBeAsked) {
  a->ask("a", "live", "", 500ms, kept());
  a->ask("no/name", "live", "", 500ms, kept());
  a->ask("b", "live", std::string(k_peer_body_bytes_max + 1, 'x'), 500ms, kept());
  a->set_connected(false);
  a->ask("b", "live", "", 500ms, kept());
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_EQ(answers[0].error().code, Errc::invalid_argument);
  EXPECT_EQ(answers[1].error().code, Errc::invalid_argument);
  EXPECT_EQ(answers[2].error().code, Errc::too_large);
  EXPECT_EQ(answers[3].error().code, Errc::unavailable);
  a->tell("a", "look", "", 30s);
  a->tell("+", "look", "", 30s);
  EXPECT_EQ(a->take(), std::nullopt) << "nothing of it is sent";
}

TEST_F(PeerPostTest, KeepsNoMoreThanItMay) {
  for (std::size_t i = 0; i < PeerPost::k_waiting_max + 10; ++i) a->tell("b", "look", "x", 30s);
  EXPECT_EQ(dropped_at_a(PeerDrop::full), 10u);
  std::size_t sent = 0;
  while (a->take()) ++sent;
  EXPECT_EQ(sent, PeerPost::k_waiting_max);
  const std::string large(k_peer_body_bytes_max, 'x');
  for (int i = 0; i < 200; ++i) a->tell("b", "look", large, 30s);
  std::size_t bytes = 0;
  while (const auto message = a->take()) bytes += message->payload.size();
  EXPECT_LE(bytes, PeerPost::k_waiting_bytes_max);
  EXPECT_GT(bytes, PeerPost::k_waiting_bytes_max / 2);
}

TEST_F(PeerPostTest, AsksNoMoreAtOnceThanItMay) {
  for (std::size_t i = 0; i <= PeerPost::k_questions_max; ++i) a->ask("b", "live", "", 500ms, kept());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, Errc::full);
}

TEST_F(PeerPostTest, AnswersNoMoreAtOnceThanItMayAndForgetsWhoWillNotAnswer) {
  std::vector<Peers::Answer> open;
  b->serve("live", [&](const PeerMessage&, Peers::Answer answer) { open.push_back(std::move(answer)); });
  for (std::size_t i = 0; i < PeerPost::k_serving_max + 3; ++i) a->ask("b", "live", "", 500ms, kept());
  carry();
  EXPECT_EQ(open.size(), PeerPost::k_serving_max);
  EXPECT_EQ(dropped(PeerDrop::busy), 3u);
  open.clear();
  a->ask("b", "live", "", 500ms, kept());
  carry();
  EXPECT_EQ(open.size(), 1u);
}

TEST_F(PeerPostTest, SendsNothingThatIsOfNoUseAnyMore) {
  a->tell("b", "look", "old", 2s);
  a->tell("b", "look", "new", 30s);
  clock.passed += 2s;
  auto message = a->take();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->expiry_seconds, 28u);
  EXPECT_EQ(dropped_at_a(PeerDrop::expired), 1u);
  clock.passed += 10'500ms;
  a->put_back(std::move(*message));
  message = a->take();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->expiry_seconds, 18u) << "what is left, in whole seconds";
  clock.passed += 30s;
  a->put_back(std::move(*message));
  EXPECT_EQ(a->take(), std::nullopt);
}

TEST_F(PeerPostTest, AnswersWhoAsksAsItStops) {
  a->ask("b", "live", "", 500ms, kept());
  a->stop();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, Errc::unavailable);
  a->ask("b", "live", "", 500ms, kept());
  EXPECT_EQ(answers.size(), 2u);
  a->tell("b", "look", "", 30s);
  EXPECT_EQ(a->take(), std::nullopt);
}

// --- what a hostile message could be

TEST_F(PeerPostTest, BelievesOnlyWhoWasAsked) {
  b->serve("live", [](const PeerMessage&, const Peers::Answer&) {});
  a->ask("b", "live", "", 500ms, kept());
  const auto question = a->take();
  ASSERT_TRUE(question);
  const auto sent = std::get<PeerEnvelope>(decode_peer(question->payload));
  PeerEnvelope forged{.node = "c", .boot_id = "x", .kind = "live", .body = "lies", .question = sent.question};
  forged.answer = true;
  a->received(encode(forged), false);
  forged.node = "b";
  forged.kind = "other";
  a->received(encode(forged), false);
  forged.kind = "live";
  forged.question = std::string(k_question_bytes, '?');
  a->received(encode(forged), false);
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(dropped_at_a(PeerDrop::no_question), 3u);
}

TEST_F(PeerPostTest, DropsWhatIsNoMessageAndCountsWhy) {
  int heard = 0;
  b->serve("look", [&](const PeerMessage&, const Peers::Answer&) { ++heard; });
  const PeerEnvelope good{.node = "a", .boot_id = "x", .kind = "look"};
  b->received(encode(good), true);
  EXPECT_EQ(dropped(PeerDrop::retained), 1u);
  b->received("", false);
  b->received("\xFF\xFF\xFF", false);
  b->received(std::string(1'000, '\x0A'), false);
  EXPECT_EQ(dropped(PeerDrop::malformed), 3u);
  b->received(std::string(k_peer_message_bytes_max + 1, 'x'), false);
  EXPECT_EQ(dropped(PeerDrop::too_large), 1u);
  auto own = good;
  own.node = "b";
  b->received(encode(own), false);
  EXPECT_EQ(dropped(PeerDrop::own), 1u);
  for (const auto& change : std::vector<std::function<void(v1::PeerMessage&)>>{
           [](v1::PeerMessage& m) { m.set_node("no/name"); }, [](v1::PeerMessage& m) { m.set_boot_id(""); },
           [](v1::PeerMessage& m) { m.set_kind(""); }, [](v1::PeerMessage& m) { m.set_kind(std::string(33, 'k')); },
           [](v1::PeerMessage& m) { m.set_question("short"); }, [](v1::PeerMessage& m) { m.set_answer(true); },
           [](v1::PeerMessage& m) { m.set_error(3); },
           [](v1::PeerMessage& m) { m.set_error_detail(std::string(513, 'd')); }}) {
    v1::PeerMessage message;
    message.ParseFromString(encode(good));
    change(message);
    b->received(message.SerializeAsString(), false);
  }
  EXPECT_EQ(dropped(PeerDrop::malformed), 11u);
  v1::PeerMessage later;
  later.ParseFromString(encode(good));
  later.set_version(2);
  b->received(later.SerializeAsString(), false);
  EXPECT_EQ(dropped(PeerDrop::version), 1u);
  later.set_version(1);
  later.set_body(std::string(k_peer_body_bytes_max + 1, 'x'));
  b->received(later.SerializeAsString(), false);
  EXPECT_EQ(dropped(PeerDrop::too_large), 2u);
  EXPECT_EQ(heard, 0);
  b->received(encode(good), false);
  EXPECT_EQ(heard, 1);
}

TEST_F(PeerPostTest, CarriesAnErrorOfAnyKindAsWhatItIs) {
  PeerEnvelope envelope{.node = "a", .boot_id = "x", .kind = "live"};
  envelope.question = std::string(k_question_bytes, 'q');
  envelope.answer = true;
  envelope.error = Error{std::make_error_code(std::errc::io_error), std::string(1'000, 'x') + "\xFF"};
  const auto back = std::get<PeerEnvelope>(decode_peer(encode(envelope)));
  EXPECT_EQ(back.error->code, Errc::internal) << "another category's number says nothing elsewhere";
  EXPECT_EQ(back.error->detail.size(), k_peer_detail_bytes_max);
}

}  // namespace
}  // namespace fieldgate::mqtt
