// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/store_fixture.h"

namespace fieldgate::store {
namespace {

std::vector<std::byte> all_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

std::vector<std::string> ids_of(const Result<std::vector<CommandEntry>>& commands) {
  EXPECT_TRUE(ok(commands));
  std::vector<std::string> ids;
  for (const CommandEntry& command : *commands) ids.push_back(command.id);
  return ids;
}

using Ids = std::vector<std::string>;

class Commands : public StoreTest {
 protected:
  void insert(const CommandEntry& command) {
    const auto inserted = store_->insert_command(command);
    ASSERT_TRUE(ok(inserted));
    ASSERT_TRUE(inserted->fresh);
  }
  bool advance(const CommandAdvance& advance) {
    const auto advanced = store_->advance_command(advance);
    EXPECT_TRUE(ok(advanced));
    return advanced && advanced->has_value();
  }
  CommandEntry read(std::string_view command_id) {
    const auto found = store_->command(command_id);
    EXPECT_TRUE(ok(found));
    EXPECT_TRUE(found->has_value());
    return **found;
  }
};

TEST_P(Commands, GivesBackACommandAsItWasInserted) {
  CommandEntry put = command("0001", "dev-1");
  put.payload = all_bytes(16'384);
  put.expires_unix_ms = 1'700'000'000'000;
  put.timeout_ms = 4'294'967'295;
  put.at_most_once = true;
  put.idempotency_key = std::string("k\0\xFF' ", 5) + std::string(120, 'k');
  put.source = "mqtt:\"main\"";
  put.response_topic = "a/'b'/ü";
  put.correlation_data = std::string("\0\x01\xFE\xFF", 4);
  put.steps[0].detail = std::string(1'024, '\\');
  insert(put);
  const CommandEntry found = read("0001");
  EXPECT_EQ(found.id, put.id);
  EXPECT_EQ(found.device, put.device);
  EXPECT_EQ(found.name, put.name);
  EXPECT_EQ(found.payload, put.payload);
  EXPECT_EQ(found.created_unix_ms, put.created_unix_ms);
  EXPECT_EQ(found.expires_unix_ms, put.expires_unix_ms);
  EXPECT_EQ(found.timeout_ms, put.timeout_ms);
  EXPECT_EQ(found.at_most_once, true);
  EXPECT_EQ(found.idempotency_key, put.idempotency_key);
  EXPECT_EQ(found.source, put.source);
  EXPECT_EQ(found.response_topic, put.response_topic);
  EXPECT_EQ(found.correlation_data, put.correlation_data);
  EXPECT_EQ(found.state, CommandState::queued);
  EXPECT_EQ(found.steps, put.steps);
  EXPECT_EQ(found.sends, 0u);
  EXPECT_FALSE(found.cancel_wanted);
  EXPECT_TRUE(found.result_payload.empty());
  EXPECT_FALSE(store_->command("0002")->has_value());
  EXPECT_FALSE(store_->command("no'\xFF")->has_value());
}

TEST_P(Commands, GivesAnIdempotencyKeyToOneCommandOfADevice) {
  CommandEntry first = command("1", "a");
  first.idempotency_key = "key";
  insert(first);
  CommandEntry again = command("2", "a");
  again.idempotency_key = "key";
  again.name = "other";
  const auto same = store_->insert_command(again);
  ASSERT_TRUE(ok(same));
  EXPECT_FALSE(same->fresh);
  EXPECT_EQ(same->command.id, "1");
  EXPECT_EQ(same->command.name, "reboot");
  EXPECT_FALSE(store_->command("2")->has_value());
  CommandEntry elsewhere = command("3", "b");
  elsewhere.idempotency_key = "key";
  insert(elsewhere);
  insert(command("4", "a"));  // without a key each is a new one
  insert(command("5", "a"));
  EXPECT_TRUE(failed_with(store_->insert_command(command("5", "b")), Errc::conflict));
}

TEST_P(Commands, RefusesAnIdThatIsNoText) {
  EXPECT_TRUE(failed_with(store_->insert_command(command("a\xFF", "a")), Errc::invalid_argument));
  CommandEntry odd = command("1", "a");
  odd.response_topic = std::string("a\0b", 3);
  EXPECT_TRUE(failed_with(store_->insert_command(odd), Errc::invalid_argument));
  EXPECT_TRUE(store_->open_commands(id("a"), "", 10)->empty());
}

TEST_P(Commands, TakesStepsAsTheyMayFollow) {
  insert(command("1", "a"));
  EXPECT_TRUE(advance(step("1", CommandState::sent, 2'000)));
  EXPECT_TRUE(advance(step("1", CommandState::sent, 2'500)));
  EXPECT_TRUE(advance(step("1", CommandState::acknowledged, 3'000)));
  EXPECT_FALSE(advance(step("1", CommandState::sent)));
  CommandAdvance result = step("1", CommandState::succeeded, 4'000);
  result.result_text = "gut \xFF";
  result.result_payload = all_bytes(300);
  EXPECT_TRUE(advance(result));
  EXPECT_FALSE(advance(step("1", CommandState::failed)));
  EXPECT_FALSE(advance(step("no-such", CommandState::sent)));
  const CommandEntry found = read("1");
  EXPECT_EQ(found.state, CommandState::succeeded);
  EXPECT_EQ(found.sends, 2u);
  EXPECT_EQ(found.first_sent_unix_ms, 2'000);
  EXPECT_EQ(found.result_text, "gut \xEF\xBF\xBD");
  EXPECT_EQ(found.result_payload, result.result_payload);
  ASSERT_EQ(found.steps.size(), 5u);
  EXPECT_EQ(found.steps[3], (CommandStep{CommandState::acknowledged, 3'000, {7}, ""}));
  EXPECT_EQ(found.steps[4].state, CommandState::succeeded);
}

// Every pair of states, as may_follow() has it.
TEST_P(Commands, TakesNoStepThatMayNotFollow) {
  const auto path = [](CommandState to) -> std::vector<CommandState> {
    if (to == CommandState::queued) return {};
    if (to == CommandState::timed_out || to == CommandState::acknowledged) return {CommandState::sent, to};
    return {to};
  };
  for (std::size_t from = 0; from < k_command_states; ++from) {
    for (std::size_t to = 0; to < k_command_states; ++to) {
      const std::string name = std::to_string(from) + "-" + std::to_string(to);
      insert(command(name, "a"));
      for (const CommandState state : path(static_cast<CommandState>(from))) ASSERT_TRUE(advance(step(name, state)));
      const bool allowed = may_follow(static_cast<CommandState>(from), static_cast<CommandState>(to));
      EXPECT_EQ(advance(step(name, static_cast<CommandState>(to))), allowed) << name;
      EXPECT_EQ(read(name).state, static_cast<CommandState>(allowed ? to : from)) << name;
    }
  }
}

TEST_P(Commands, KeepsRoomForTheEndHoweverOftenItIsSent) {
  insert(command("1", "a"));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(advance(step("1", CommandState::queued, 1'001 + i)));
  EXPECT_EQ(read("1").steps.back().unix_ms, 1'100);  // the newest is there in any case
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(advance(step("1", CommandState::sent, 2'000 + i)));
  EXPECT_EQ(read("1").steps.back().unix_ms, 2'199);
  ASSERT_TRUE(advance(step("1", CommandState::acknowledged, 3'000)));
  ASSERT_TRUE(advance(step("1", CommandState::timed_out, 4'000)));
  ASSERT_TRUE(advance(step("1", CommandState::failed, 5'000)));
  const CommandEntry found = read("1");
  EXPECT_EQ(found.sends, 200u);
  EXPECT_EQ(found.first_sent_unix_ms, 2'000);
  EXPECT_LE(found.steps.size(), k_command_steps_max);
  EXPECT_EQ(found.steps.back().state, CommandState::failed);
  EXPECT_EQ(found.steps[found.steps.size() - 3].state, CommandState::acknowledged);
}

TEST_P(Commands, WritesDownAWishToCancel) {
  insert(command("1", "a"));
  const CommandAdvance wish{.id = "1", .step = {}, .cancel_wanted = true};
  EXPECT_TRUE(advance(wish));
  EXPECT_TRUE(read("1").cancel_wanted);
  EXPECT_EQ(read("1").state, CommandState::queued);
  EXPECT_EQ(read("1").steps.size(), 1u);
  EXPECT_TRUE(advance(step("1", CommandState::cancelled)));
  EXPECT_FALSE(advance(wish));  // it has ended
}

TEST_P(Commands, PagesOpenOnesFromTheOldest) {
  for (const char* name : {"v", "w", "x", "y", "z"}) insert(command(name, "a"));
  insert(command("u", "b"));
  ASSERT_TRUE(advance(step("y", CommandState::expired)));
  ASSERT_TRUE(advance(step("x", CommandState::sent)));
  EXPECT_EQ(ids_of(store_->open_commands(id("a"), "", 10)), (Ids{"v", "w", "x", "z"}));
  EXPECT_EQ(ids_of(store_->open_commands(id("a"), "", 2)), (Ids{"v", "w"}));
  EXPECT_EQ(ids_of(store_->open_commands(id("a"), "w", 2)), (Ids{"x", "z"}));
  EXPECT_EQ(ids_of(store_->open_commands(id("a"), "y", 9)), (Ids{"z"}));  // also after one that has ended
  const auto refs = store_->open_command_refs("", 3);
  ASSERT_TRUE(ok(refs));
  ASSERT_EQ(refs->size(), 3u);
  EXPECT_EQ((*refs)[0].id, "u");
  EXPECT_EQ((*refs)[0].device.str(), "b");
  EXPECT_EQ((*refs)[2].id, "w");
  EXPECT_FALSE((*refs)[2].cancel_wanted);
  CommandAdvance wish{.id = "w"};
  wish.cancel_wanted = true;
  ASSERT_TRUE(advance(wish));
  EXPECT_TRUE(store_->open_command_refs("v", 1)->at(0).cancel_wanted);
  EXPECT_EQ(store_->open_command_refs("w", 10)->size(), 2u);
  EXPECT_EQ(*store_->queued_commands(id("a")), 3u);
  EXPECT_EQ(*store_->open_command_count(), 5u);
}

TEST_P(Commands, LeavesPayloadsOutOfWhatIsOpen) {
  CommandEntry put = command("1", "a");
  put.payload = all_bytes(300);
  put.expires_unix_ms = 5;
  insert(put);
  EXPECT_TRUE(store_->open_commands(id("a"), "", 10)->at(0).payload.empty());
  EXPECT_TRUE(store_->overdue_commands(5, {}, 10)->at(0).payload.empty());
  EXPECT_EQ(read("1").payload, put.payload);
}

TEST_P(Commands, ReadsSeveralByTheirIdsWithoutPayloads) {
  for (const char* name : {"c1", "c2", "c3"}) {
    CommandEntry one = command(name, "pump");
    one.payload = {std::byte{1}};
    ASSERT_TRUE(ok(store_->insert_command(one)));
  }
  ASSERT_TRUE(ok(store_->advance_command(step("c3", CommandState::expired))));
  const std::vector<std::string> ids{"c3", "none", "c1", std::string("\xFF\0", 2)};
  const auto found = store_->commands_by_id(ids);
  ASSERT_TRUE(ok(found));
  ASSERT_EQ(found->size(), 2u) << "those that are there";
  for (const CommandEntry& entry : *found) {
    EXPECT_TRUE(entry.id == "c1" || entry.id == "c3") << entry.id;
    EXPECT_EQ(entry.state, entry.id == "c3" ? CommandState::expired : CommandState::queued);
    EXPECT_TRUE(entry.payload.empty());
    EXPECT_EQ(entry.steps.size(), entry.id == "c3" ? 2u : 1u);
  }
  EXPECT_TRUE(store_->commands_by_id({}).value().empty());
}

TEST_P(Commands, FindsWhatIsOverdueByTheTimeThatCounts) {
  CommandEntry waits = command("waits", "a");
  waits.expires_unix_ms = 1'000;
  insert(waits);
  CommandEntry runs = command("runs", "a");
  runs.expires_unix_ms = 500;
  runs.timeout_ms = 2'000;
  insert(runs);
  CommandAdvance sent = step("runs", CommandState::sent);
  sent.step.unix_ms = 100;
  sent.sent_again = true;
  ASSERT_TRUE(advance(sent));
  EXPECT_TRUE(store_->overdue_commands(999, {}, 10)->empty());
  EXPECT_EQ(ids_of(store_->overdue_commands(1'000, {}, 10)), (Ids{"waits"}));
  EXPECT_EQ(ids_of(store_->overdue_commands(2'100, {}, 10)), (Ids{"waits", "runs"}));
  EXPECT_EQ(ids_of(store_->overdue_commands(2'100, {}, 1)), (Ids{"waits"}));
  ASSERT_TRUE(advance(step("waits", CommandState::expired)));
  EXPECT_EQ(ids_of(store_->overdue_commands(2'100, {}, 10)), (Ids{"runs"}));
}

TEST_P(Commands, GoesOnAmongWhatIsOverdueWhereItStopped) {
  for (const auto& [name, due] : std::vector<std::pair<const char*, std::int64_t>>{
           {"d", 100}, {"b", 200}, {"c", 200}, {"a", 200}, {"e", 300}, {"later", 400}}) {
    CommandEntry one = command(name, "pump");
    one.expires_unix_ms = due;
    insert(one);
  }
  const auto page = [&](const CommandDue& after, std::size_t limit) {
    return store_->overdue_commands(300, after, limit);
  };
  const auto first = page({}, 2);
  EXPECT_EQ(ids_of(first), (Ids{"d", "a"}));
  EXPECT_EQ(due_of(first->back()).unix_ms, 200);
  EXPECT_EQ(ids_of(page(due_of(first->back()), 10)), (Ids{"b", "c", "e"})) << "also of those due at the same time";
  EXPECT_EQ(ids_of(page({200, "c"}, 10)), (Ids{"e"}));
  EXPECT_TRUE(page({300, "e"}, 10)->empty());
  // One that was sent is due by its timeout.
  CommandAdvance sent = step("a", CommandState::sent);
  sent.step.unix_ms = 5;
  sent.sent_again = true;
  ASSERT_TRUE(advance(sent));
  const std::int64_t due = sent.step.unix_ms + read("a").timeout_ms;
  EXPECT_EQ(due_of(read("a")).unix_ms, due);
  EXPECT_EQ(ids_of(store_->overdue_commands(due, {due, ""}, 10)), (Ids{"a"}));
}

TEST_P(Commands, LetsOneOfSeveralHandItOver) {
  insert(command("1", "a"));
  const auto hand = [](std::uint64_t epoch, Epoch during) {
    CommandAdvance advance{.id = "1", .step = {CommandState::queued, 10, Epoch{epoch}}};
    advance.while_handed_to = during;
    return advance;
  };
  EXPECT_TRUE(advance(hand(7, Epoch{})));
  EXPECT_FALSE(advance(hand(8, Epoch{}))) << "one is at it already";
  CommandAdvance expired = step("1", CommandState::expired);
  expired.while_handed_to = Epoch{};
  EXPECT_FALSE(advance(expired));
  EXPECT_FALSE(advance(hand(0, Epoch{8}))) << "not its to say";
  EXPECT_TRUE(advance(hand(0, Epoch{7})));
  EXPECT_TRUE(advance(hand(8, Epoch{})));
  EXPECT_FALSE(advance(hand(0, Epoch{7}))) << "said twice, the second time too late";
  ASSERT_TRUE(advance(step("1", CommandState::sent)));
  EXPECT_FALSE(advance(expired));
  EXPECT_EQ(read("1").state, CommandState::sent);
}

TEST_P(Commands, PagesThoseOfADeviceFromTheNewest) {
  for (const char* name : {"1", "2", "3"}) insert(command(name, "a"));
  insert(command("4", "b"));
  EXPECT_EQ(ids_of(store_->commands(id("a"), "", 2)), (Ids{"3", "2"}));
  EXPECT_EQ(ids_of(store_->commands(id("a"), "2", 2)), (Ids{"1"}));
  EXPECT_EQ(ids_of(store_->commands(id("c"), "", 2)), Ids{});
  EXPECT_TRUE(failed_with(store_->commands(id("a"), "nobody", 1), Errc::not_found));
}

TEST_P(Commands, TrimsThoseThatEndedLongAgo) {
  for (const char* name : {"1", "2", "3", "4"}) insert(command(name, "a"));
  ASSERT_TRUE(advance(step("1", CommandState::succeeded, 10)));
  ASSERT_TRUE(advance(step("2", CommandState::cancelled, 20)));
  ASSERT_TRUE(advance(step("3", CommandState::expired, 30)));
  EXPECT_EQ(*store_->trim_commands(30, 1), 1u);
  EXPECT_EQ(ids_of(store_->commands(id("a"), "", 9)), (Ids{"4", "3", "2"}));
  EXPECT_EQ(*store_->trim_commands(30, 100), 1u);
  EXPECT_EQ(*store_->trim_commands(30, 100), 0u);
  EXPECT_EQ(ids_of(store_->commands(id("a"), "", 9)), (Ids{"4", "3"}));
}

INSTANTIATE_TEST_SUITE_P(Store, Commands, testing::Values(EngineKind::sqlite, EngineKind::postgres),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace fieldgate::store
