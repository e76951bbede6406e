// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/change_listener.h"
#include "gateway/control/change_teller.h"
#include "tests/unit/control/fleet_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// What node "b" shows of that which node "a" writes.
namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

struct FleetChangesTest : testing::Test, FleetWorld {
  FleetChangesTest() {
    add("pump");
    add("valve");
  }
  static ChangeWatchPtr everything() { return watch_of({true, {}}, {true, {}}); }
  static ChangeWatchPtr watch_of(ChangeScope commands, ChangeScope twins) {
    return std::make_shared<const ChangeWatch>(ChangeWatch{std::move(commands), std::move(twins)});
  }
  void watch(ChangeWatchPtr what) {
    node("b").listener->watch(std::move(what));
    settle();
  }
  // Until what was written is told and read.
  Texts shown() {
    pass(1s);
    return std::exchange(node("b").seen, {});
  }
  void wish(const std::string& device, const std::string& json) {
    Asked<Twin> answer;
    node("a").twins->set_desired(device_id(device), json, false, {}, "api:test", answer.reply());
    settle();
    EXPECT_TRUE(answer.there() && answer->has_value());
  }
  std::size_t logged(const std::string& event) const {
    std::size_t count = 0;
    const std::string all = log.all();
    for (std::size_t at = 0; (at = all.find(event, at)) != std::string::npos; at += event.size()) ++count;
    return count;
  }
  std::size_t words() const { return net.count(k_peer_changes_told); }
};

TEST_F(FleetChangesTest, ShowsEachStepThatAnotherNodeWritesOnceAndInOrder) {
  fleet();
  watch(everything());
  const Epoch epoch = arrive("pump", "a");
  const std::string id = submit("a", request("pump"));
  say("pump", "a", CommandAckReply{id}, epoch);
  settle();
  EXPECT_EQ(shown(), (Texts{"pump queued", "pump queued", "pump sent", "pump acknowledged"}));
  say("pump", "a", CommandResultReply{id, CommandResultReply::Outcome::succeeded, "done", {}}, epoch);
  EXPECT_EQ(shown(), Texts{"pump succeeded"});
  EXPECT_EQ(entry(id).steps.size(), 5U);
  EXPECT_EQ(shown(), Texts{});
}

TEST_F(FleetChangesTest, ShowsNothingTwiceOfWhatThisNodeWritesItself) {
  fleet();
  watch(everything());
  submit("b", request("pump"));
  EXPECT_EQ(shown(), Texts{});
}

TEST_F(FleetChangesTest, ShowsAWishToCancelAndTheTwinThatIsDesired) {
  fleet();
  watch(everything());
  const std::string id = submit("a", request("pump"));
  EXPECT_EQ(shown(), Texts{"pump queued"});
  Asked<CommandEntry> answer;
  node("a").commands->cancel(id, "api:test", answer.reply());
  settle();
  EXPECT_EQ(shown(), Texts{"pump cancelled"});
  wish("pump", R"({"on":true})");
  wish("pump", R"({"on":false})");
  EXPECT_EQ(shown(), Texts{"pump desired 2"}) << "those of one moment together";
}

TEST_F(FleetChangesTest, TellsNobodyWhoDoesNotWantToHear) {
  post_works = false;
  fleet();
  submit("a", request("pump"));
  pass(60s);
  EXPECT_EQ(words(), 0U);
  EXPECT_EQ(net.count(k_peer_changes_watch), 0U);
}

TEST_F(FleetChangesTest, StopsTellingSomeTimeAfterNobodyWatchesAnyMore) {
  fleet();
  watch(everything());
  watch(nullptr);
  pass(ChangeTeller::k_term);
  post_works = false;
  submit("a", request("pump"));
  pass(1s);
  EXPECT_EQ(words(), 0U);
}

TEST_F(FleetChangesTest, ReadsOfDevicesThatSomebodyWatchesAlone) {
  fleet();
  ChangeScope pump;
  pump.devices.insert(device_id("pump"));
  watch(watch_of(pump, {}));
  submit("a", request("valve"));
  submit("a", request("pump"));
  wish("pump", R"({"on":true})");
  EXPECT_EQ(shown(), Texts{"pump queued"});
}

TEST_F(FleetChangesTest, HearsOfAnotherKindOnceSomebodyWantsIt) {
  fleet();
  watch(watch_of({true, {}}, {}));
  wish("pump", R"({"on":true})");
  EXPECT_EQ(shown(), Texts{});
  watch(everything());
  wish("pump", R"({"on":false})");
  EXPECT_EQ(shown(), Texts{"pump desired 2"});
}

TEST_F(FleetChangesTest, SaysHowManyWereMissedAsWordsGetLost) {
  fleet();
  watch(everything());
  post_works = false;
  submit("a", request("pump"));
  submit("a", request("pump"));
  pass(200ms);
  ASSERT_EQ(words(), 1U);
  net.lose();
  post_works = true;
  submit("a", request("valve"));
  EXPECT_EQ(shown(), (Texts{"missed 2", "valve queued"}));
}

TEST_F(FleetChangesTest, SaysSoByTheNextAnswerIfNoWordFollows) {
  fleet();
  watch(everything());
  post_works = false;
  submit("a", request("pump"));
  pass(200ms);
  ASSERT_EQ(words(), 1U);
  net.lose();
  post_works = true;
  pass(ChangeListener::k_again + ChangeListener::k_tick);
  EXPECT_EQ(shown(), Texts{"missed 1"});
}

TEST_F(FleetChangesTest, CountsNothingAsMissedThatNobodyWanted) {
  fleet();
  watch(watch_of({true, {}}, {}));
  wish("pump", R"({"on":true})");
  submit("a", request("pump"));
  wish("pump", R"({"on":false})");
  pass(10s);
  EXPECT_EQ(shown(), Texts{"pump queued"});
}

TEST_F(FleetChangesTest, TakesAWordThatComesTwiceOnce) {
  fleet();
  watch(everything());
  post_works = false;
  submit("a", request("pump"));
  pass(200ms);
  ASSERT_EQ(words(), 1U);
  const auto at = std::ranges::find(net.letters, k_peer_changes_told, &test::FakePeerNet::Letter::kind);
  const auto letter = *at;
  post_works = true;
  settle();
  net.hand(letter);
  EXPECT_EQ(shown(), Texts{"pump queued"});
}

TEST_F(FleetChangesTest, SaysAgainAndAgainThatANodeCannotBeHeard) {
  fleet();
  watch(everything());
  post_works = false;
  std::size_t said = 0;
  for (int i = 0; i < 30; ++i) {
    pass(1s);
    net.lose();
    settle();
    said += static_cast<std::size_t>(std::ranges::count(std::exchange(node("b").seen, {}), "missed ?"));
  }
  EXPECT_GE(said, 3U);
  EXPECT_LE(said, 6U) << "once for each question";
  EXPECT_EQ(logged("changes_not_heard"), 1U);
  submit("a", request("pump"));
  post_works = true;
  pass(10s);
  EXPECT_EQ(logged("changes_heard_again"), 1U);
  const Texts seen = shown();
  EXPECT_TRUE(std::ranges::find(seen, "missed 1") != seen.end()) << "it had given up telling";
  submit("a", request("valve"));
  EXPECT_EQ(shown(), Texts{"valve queued"});
}

TEST_F(FleetChangesTest, SaysThatSomethingMayBeMissingAsANodeEndsOrBeginsAnew) {
  fleet();
  watch(everything());
  node("a").kill();
  fleet();
  EXPECT_EQ(shown(), Texts{"missed ?"});
  node("a").boot();
  submit("a", request("pump"));
  fleet();
  EXPECT_EQ(shown(), Texts{"missed 1"}) << "what it wrote before it was known";
  submit("a", request("valve"));
  EXPECT_EQ(shown(), Texts{"valve queued"});
  node("a").kill();
  node("a").boot();
  fleet();
  EXPECT_EQ(shown(), Texts{"missed ?"});
  submit("a", request("valve"));
  EXPECT_EQ(shown(), Texts{"valve queued"});
}

TEST_F(FleetChangesTest, BeginsWithoutACountOfWhatWasBefore) {
  submit("a", request("pump"));
  watch(everything());
  fleet();
  EXPECT_EQ(shown(), Texts{}) << "the fleet was heard of after the watch began";
  watch(nullptr);
  submit("a", request("pump"));
  pass(60s);
  watch(everything());
  EXPECT_EQ(shown(), Texts{});
}

TEST_F(FleetChangesTest, DropsWhatIsForgedAndReadsNothingForIt) {
  fleet();
  watch(everything());
  const std::string id = submit("a", request("pump"));
  EXPECT_EQ(shown(), Texts{"pump queued"});
  std::size_t reads = 0;
  node("b").faults->look = [&](std::string_view call) { reads += call == "commands_by_id" ? 1 : 0; };
  ChangeWord forged{.tag = "guessed", .after = 1, .through = 9};
  forged.commands.push_back({id, device_id("pump"), 1, 1});
  net.hand({"a", "b", std::string(k_peer_changes_told), encode(forged)});
  net.hand({"a", "b", std::string(k_peer_changes_told), "rubbish"});
  net.hand({"nobody", "b", std::string(k_peer_changes_told), encode(forged)});
  EXPECT_EQ(shown(), Texts{});
  EXPECT_EQ(reads, 0U);
  net.hand({"b", "a", std::string(k_peer_changes_watch), "rubbish", "boot", [](const Result<std::string>& answer) {
              EXPECT_EQ(answer.error().code, make_error_code(Errc::malformed));
            }});
  submit("a", request("valve"));
  EXPECT_EQ(shown(), Texts{"valve queued"}) << "and what is true goes on";
}

TEST_F(FleetChangesTest, LetsSoManyNodesWatch) {
  fleet();
  const auto ask = [&](const std::string& from) {
    std::string outcome = "none";
    net.hand({from, "a", std::string(k_peer_changes_watch), encode(WatchQuestion{"tag", true, true}), "boot",
              [&outcome](const Result<std::string>& answer) {
                outcome = answer ? "taken" : answer.error().code.message();
              }});
    settle();
    return outcome;
  };
  for (std::size_t i = 0; i < ChangeTeller::k_watchers_max; ++i) EXPECT_EQ(ask("n" + std::to_string(i)), "taken");
  EXPECT_EQ(ask("one-more"), make_error_code(Errc::full).message());
  EXPECT_EQ(ask("n0"), "taken");
  pass(ChangeTeller::k_term);
  EXPECT_EQ(ask("one-more"), "taken") << "those that did not ask again are forgotten";
}

TEST_F(FleetChangesTest, SaysWhatTheStoreDidNotGive) {
  fleet();
  watch(everything());
  node("b").faults->down = true;
  submit("a", request("pump"));
  EXPECT_EQ(shown(), Texts{"missed 1"});
  node("b").faults->down = false;
  pass(20s);
  submit("a", request("valve"));
  EXPECT_EQ(shown(), Texts{"valve queued"});
}

TEST_F(FleetChangesTest, ShowsNothingOfACommandThatWentWithItsDevice) {
  fleet();
  watch(everything());
  post_works = false;
  submit("a", request("pump"));
  ASSERT_TRUE(store->delete_device(device_id("pump"), {}));
  post_works = true;
  EXPECT_EQ(shown(), Texts{});
}

// The two ends alone, with as much as there can be.
struct ChangeFloodTest : FleetChangesTest {
  void write(std::size_t count, const std::string& device) {
    for (std::size_t i = 0; i < count; ++i) {
      auto command = std::make_shared<CommandEntry>(
          CommandEntry{.id = "c" + std::to_string(written++), .device = device_id(device), .name = "ping"});
      command->expires_unix_ms = clock.unix_ms() + 3'600'000;
      command->steps.push_back({CommandState::queued, 1});
      ASSERT_TRUE(store->insert_command(*command));
      node("a").teller->command_changed(command);
    }
  }
  std::size_t written = 0;
};

TEST_F(ChangeFloodTest, TellsAllOfAMomentInAsManyWordsAsItTakes) {
  fleet();
  watch(everything());
  const std::string device(120, 'd');
  add(device);
  write(ChangeTeller::k_batch_max, device);
  post_works = false;
  pass(200ms);
  EXPECT_GE(words(), 2U);
  for (const auto& letter : net.letters) EXPECT_LE(letter.body.size(), k_peer_body_bytes_max);
  post_works = true;
  const Texts seen = shown();
  EXPECT_EQ(std::ranges::count(seen, device + " queued"), static_cast<std::ptrdiff_t>(ChangeTeller::k_batch_max));
  EXPECT_EQ(seen.size(), ChangeTeller::k_batch_max) << "none counted as missed";
}

TEST_F(ChangeFloodTest, SaysHowManyThereWasNoRoomFor) {
  fleet();
  watch(everything());
  write(ChangeTeller::k_batch_max + 50, "pump");
  const Texts seen = shown();
  EXPECT_EQ(std::ranges::count(seen, "missed 50"), 1);
  EXPECT_EQ(seen.size(), ChangeTeller::k_batch_max + 1);
}

TEST_F(ChangeFloodTest, KeepsSoManyUnreadAndSaysHowManyMore) {
  fleet();
  watch(everything());
  node("b").worker->run_once();
  // All at once, before any is read.
  std::string tag;
  post_works = false;
  write(1, "pump");
  pass(200ms);
  for (const auto& letter : net.letters) {
    if (letter.kind == k_peer_changes_told) tag = decode_change_word(letter.body)->tag;
  }
  ChangeWord word{.tag = tag, .after = 0, .through = 0};
  for (std::size_t i = 0; i < 500; ++i) word.commands.push_back({"c0", device_id("pump"), 1, 1});
  net.letters.clear();
  for (std::size_t i = 0; i < 22; ++i) {
    word.after = word.through;
    word.through += 500;
    net.hand({"a", "b", std::string(k_peer_changes_told), encode(word)});
  }
  pass(5s);
  const Texts seen = std::exchange(node("b").seen, {});
  EXPECT_EQ(std::ranges::count(seen, "pump queued"), static_cast<std::ptrdiff_t>(ChangeListener::k_unread_max));
  EXPECT_EQ(std::ranges::count(seen, "missed 500"), 2);
}

TEST(ChangeWords, ComeBackAsTheyWere) {
  ChangeWord word{.tag = "t", .after = 3, .through = 9, .untold = 2};
  word.commands.push_back({"0a", device_id("pump"), 2, 64});
  word.twins.push_back(device_id("valve"));
  const auto read = decode_change_word(encode(word));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->tag, "t");
  EXPECT_EQ(read->after, 3U);
  EXPECT_EQ(read->through, 9U);
  EXPECT_EQ(read->untold, 2U);
  ASSERT_EQ(read->commands.size(), 1U);
  EXPECT_EQ(read->commands[0].id, "0a");
  EXPECT_EQ(read->commands[0].device.str(), "pump");
  EXPECT_EQ(read->commands[0].first, 2U);
  EXPECT_EQ(read->commands[0].last, 64U);
  EXPECT_EQ(read->twins, std::vector{device_id("valve")});
  const auto question = decode_watch_question(encode(WatchQuestion{"t", true, false}));
  ASSERT_TRUE(question);
  EXPECT_TRUE(question->commands);
  EXPECT_FALSE(question->twins);
  const auto answer = decode_watch_answer(encode(WatchAnswer{"boot", 1, 2}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->boot_id, "boot");
  EXPECT_EQ(answer->through, 2U);
}

TEST(ChangeWords, AreNotReadInAnyOtherForm) {
  const auto word = [](const std::string& commands, const std::string& numbers = R"("after":1,"through":2,"untold":0)",
                       const std::string& twins = "[]", const std::string& tag = R"("t")") {
    return decode_change_word(R"({"tag":)" + tag + "," + numbers + R"(,"commands":)" + commands + R"(,"twins":)" +
                              twins + "}");
  };
  ASSERT_TRUE(word(R"([["c","d",1,2]])"));
  for (const char* commands :
       {"1", "{}", "[1]", "[[]]", R"([["c","d",1]])", R"([["c","d",0,1]])", R"([["c","d",2,1]])", R"([["c","d",1,65]])",
        R"([["c","d",1,-1]])", R"([["c","d",1,1.5]])", R"([["","d",1,1]])", R"([["c","#",1,1]])", R"([[1,"d",1,1]])",
        R"([["c","d",1,18446744073709551615]])", R"([["c",{"d":[]},1,1]])"}) {
    EXPECT_FALSE(word(commands)) << commands;
  }
  EXPECT_FALSE(word("[[\"" + std::string(65, 'c') + "\",\"d\",1,1]]"));
  EXPECT_FALSE(word("[]", R"("after":3,"through":2,"untold":0)"));
  EXPECT_FALSE(word("[]", R"("after":1,"through":2,"untold":2)"));
  EXPECT_FALSE(word("[]", R"("after":1,"through":2)"));
  EXPECT_FALSE(word("[]", R"("after":1,"through":"2","untold":0)"));
  EXPECT_FALSE(word("[]", R"("after":1,"through":2,"untold":0)", R"(["#"])"));
  EXPECT_FALSE(word("[]", R"("after":1,"through":2,"untold":0)", "[]", R"("+")"));
  for (const char* body : {"", "[]", "null", "{", R"({"tag":"t"})", "[[[[[[[[[[]]]]]]]]]]"}) {
    EXPECT_FALSE(decode_change_word(body)) << body;
    EXPECT_FALSE(decode_watch_question(body)) << body;
    EXPECT_FALSE(decode_watch_answer(body)) << body;
  }
  EXPECT_FALSE(decode_watch_question(R"({"tag":"t","commands":1,"twins":true})"));
  EXPECT_FALSE(decode_watch_answer(R"({"boot_id":"b","after":2,"through":1})"));
}

}  // namespace
}  // namespace fieldgate::control
