// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_hub.h"

#include "adapters/http/request_gate.h"
#include "tests/unit/http/stream_fixture.h"

#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fieldgate::http {
namespace {

TEST_F(StreamHubTest, GreetsAndThenTellsWhatHappensInOrder) {
  make();
  Reader reader(subscribe(""));
  presence(1, 3);
  loop->run();
  const auto events = reader.events();
  ASSERT_EQ(events.size(), 4U) << reader.text;
  EXPECT_EQ(events[0].name, "hello");
  EXPECT_EQ(events[0].data.at("node").as_string(), "edge-1");
  EXPECT_EQ(events[0].id, "edge-1.b00t.0");
  EXPECT_EQ(events[3].id, "edge-1.b00t.3");
  EXPECT_EQ(reader.numbers("presence"), range(1, 3));
  EXPECT_EQ(reader.pieces, 2);  // what happened at once came at once
}

TEST_F(StreamHubTest, TellsEachWhatItAskedForAlone) {
  make();
  labels["a"] = {{"line", "3"}, {"site", "berlin"}};
  labels["b"] = {{"site", "paris"}};
  Reader all(subscribe("kinds=presence,command,lane,twin,registry"));
  Reader usual(subscribe(""));
  Reader only_a(subscribe("device=a&device=c"));
  Reader berlin(subscribe("label=site=berlin&label=line"));
  Reader data(subscribe("kinds=telemetry,event&device=a"));
  publish(StreamKind::presence, "a", 1);
  publish(StreamKind::presence, "b", 2);
  publish(StreamKind::command, "b", 3);
  publish(StreamKind::twin, "a", 4);
  publish(StreamKind::registry, "c", 5);
  publish(StreamKind::lane, {}, 6);
  publish(StreamKind::telemetry, "a", 7);
  publish(StreamKind::event, "a", 8);
  publish(StreamKind::state, "a", 9);
  publish(StreamKind::telemetry, "b", 10);
  loop->run();
  using Names = std::vector<std::string>;
  EXPECT_EQ(all.names(), (Names{"hello", "presence", "presence", "command", "twin", "registry", "lane"}));
  EXPECT_EQ(usual.names(), (Names{"hello", "presence", "presence", "command", "lane"}));
  EXPECT_EQ(only_a.names(), (Names{"hello", "presence", "lane"}));
  EXPECT_EQ(berlin.names(), (Names{"hello", "presence", "lane"}));
  EXPECT_EQ(data.names(), (Names{"hello", "telemetry", "event"}));
}

TEST_F(StreamHubTest, RefusesWhatCannotBeAskedFor) {
  make([](ApiStreamSettings& s) { s.devices_max = 2; });
  for (const char* query : {"kinds=", "kinds=presence,weather", "kinds=telemetry", "kinds=opaque,presence",
                            "device=a&device=b&device=c", "device=+", "label=", "label==x", "kind=presence",
                            "kinds=lane&kinds=lane", "last_event_id=1&last_event_id=2"}) {
    EXPECT_THROW(request(query), std::runtime_error) << query;
  }
  EXPECT_EQ(request("device=a&device=a&device=b").filter.devices.size(), 2U);
  EXPECT_EQ(request("last_event_id=one", "two").last_event_id, "two");
}

TEST_F(StreamHubTest, ResumesAfterTheLastEventThatItsReaderHas) {
  make();
  Reader first(subscribe(""));
  presence(1, 5);
  publish(StreamKind::lane, {}, 6);
  loop->run();
  first.leave();
  presence(7, 9);  // nobody is there
  Reader second(subscribe("", "edge-1.b00t.4"));
  EXPECT_EQ(second.names(),
            (std::vector<std::string>{"hello", "presence", "lane", "presence", "presence", "presence"}));
  presence(10, 10);
  loop->run();
  EXPECT_EQ(second.numbers("presence"), (std::vector<std::int64_t>{5, 7, 8, 9, 10}));
  EXPECT_EQ(second.events().front().id, "");  // hello must not move the place
  Reader none_missed(subscribe("last_event_id=edge-1.b00t.10"));
  EXPECT_EQ(none_missed.names(), std::vector<std::string>{"hello"});
}

TEST_F(StreamHubTest, ResetsWhomItCannotTellWhatWasMissed) {
  make([](ApiStreamSettings& s) { s.history_events = 20; });  // 10 of them for the fleet
  Reader first(subscribe(""));
  presence(1, 15);
  loop->run();
  using Names = std::vector<std::string>;
  for (const char* id : {"edge-1.b00t.3", "edge-1.other.12", "edge-2.b00t.12", "edge-1.b00t.16", "edge-1.b00t.",
                         "edge-1.b00t.12x", "edge-1.b00t.-1", "12", "edge-1.b00t.99999999999999999999"}) {
    Reader back(subscribe("", id));
    EXPECT_EQ(back.names(), (Names{"hello", "reset"})) << id;
    EXPECT_EQ(back.events().at(1).id, "edge-1.b00t.15");
  }
  Reader just(subscribe("", "edge-1.b00t.5"));
  EXPECT_EQ(just.numbers("presence"), range(6, 15));
}

TEST_F(StreamHubTest, HoldsNobodyUpForASlowReaderWhichCatchesUpFromTheHistory) {
  make([](ApiStreamSettings& s) { s.subscriber_bytes_max = 2'000; });
  Reader slow(subscribe(""));
  slow.greedy = false;
  Reader quick(subscribe(""));
  for (int n = 1; n <= 200; ++n) {
    presence(n, n);
    loop->run();
  }
  EXPECT_EQ(quick.numbers("presence"), range(1, 200));
  EXPECT_LE(slow.names().size(), 2U);
  slow.greedy = true;
  slow.ask();
  presence(201, 201);
  loop->run();
  EXPECT_EQ(slow.numbers("presence"), range(1, 201));
  EXPECT_EQ(slow.names().size(), 202U);
  EXPECT_EQ(probe.stream_missed.get(), 0U);
}

TEST_F(StreamHubTest, TellsAReaderThatIsTooSlowHowMuchItMissed) {
  make([](ApiStreamSettings& s) {
    s.subscriber_bytes_max = 2'000;
    s.history_events = 100;  // 50 of them for the fleet
  });
  Reader slow(subscribe("device=mine"));
  slow.greedy = false;
  for (int n = 1; n <= 200; ++n) {
    presence(n, n, "mine");
    presence(n, n, "other");
    loop->run();
  }
  slow.greedy = true;
  slow.ask();
  presence(201, 201, "mine");
  loop->run();
  const auto got = slow.numbers("presence");
  std::vector<Event> missed;
  for (const Event& event : slow.events()) {
    if (event.name == "missed") missed.push_back(event);
  }
  ASSERT_EQ(missed.size(), 1U) << slow.text;
  const auto count = missed[0].data.at("count").to_number<std::int64_t>();
  EXPECT_EQ(static_cast<std::int64_t>(got.size()) + count, 201);
  EXPECT_GT(count, 100);
  EXPECT_EQ(probe.stream_missed.get(), static_cast<std::uint64_t>(count));
  EXPECT_EQ(missed[0].data.at("to").as_string(), "edge-1.b00t.350");  // of 400, the history has 50
  EXPECT_EQ(got.front(), 1);
  EXPECT_EQ(got.back(), 201);
  // What waited, then what the history still had: the gap is where it says.
  const auto gap = std::adjacent_find(got.begin(), got.end(), [](auto a, auto b) { return b != a + 1; });
  ASSERT_NE(gap, got.end());
  EXPECT_EQ(*(gap + 1), 176);
  EXPECT_EQ(missed[0].data.at("from").as_string(), "edge-1.b00t." + std::to_string(2 * *gap + 1));
}

TEST_F(StreamHubTest, LetsAResumingReaderTakeTheHistoryAtItsOwnPace) {
  make([](ApiStreamSettings& s) { s.subscriber_bytes_max = 1'000; });
  Reader first(subscribe(""));
  for (int n = 1; n <= 3'000; ++n) {
    hub->publish(StreamKind::presence, "d", "{\"n\":" + std::to_string(n) + ",\"x\":\"" + std::string(80, 'x') + "\"}");
  }
  loop->run();
  Reader back(subscribe("", "edge-1.b00t.0"));
  presence(3'001, 3'002);
  loop->run();
  EXPECT_EQ(back.numbers("presence"), range(1, 3'002));
  EXPECT_EQ(back.names().size(), 3'003U);  // nothing missed, nothing twice
  EXPECT_GT(back.pieces, 4);
}

TEST_F(StreamHubTest, KeepsDataFromPushingComingsAndGoingsOutOfTheHistory) {
  make([](ApiStreamSettings& s) {
    s.history_events = 100;
    s.history_bytes_max = 20'000;
  });
  Reader both(subscribe("kinds=presence,telemetry&device=d"));
  presence(1, 3);
  for (int n = 0; n < 10'000; ++n) publish(StreamKind::telemetry, "d", n);
  loop->run();
  Reader back(subscribe("kinds=presence", "edge-1.b00t.1"));
  EXPECT_EQ(back.numbers("presence"), range(2, 3));
  Reader data(subscribe("kinds=presence,telemetry&device=d", "edge-1.b00t.1"));
  EXPECT_EQ(data.names().at(1), "reset");
}

TEST_F(StreamHubTest, HasTheDevicesWatchedThatSomebodyWantsRecordsOf) {
  make();
  Reader presence_only(subscribe("device=x"));
  loop->run();
  EXPECT_TRUE(watched.empty());
  Reader a(subscribe("kinds=telemetry&device=a&device=b"));
  Reader b(subscribe("kinds=event&device=b&device=c"));
  EXPECT_TRUE(hub->watches("c"));
  EXPECT_FALSE(hub->watches("x"));
  loop->run();
  ASSERT_EQ(watched.size(), 1U);  // once for both
  EXPECT_EQ(watched_now(), (std::set<std::string>{"a", "b", "c"}));
  a.leave();
  hub->tick();
  loop->run();
  EXPECT_EQ(watched_now(), (std::set<std::string>{"a", "b", "c"}));  // it may come back
  pass(seconds(31));
  hub->tick();
  loop->run();
  EXPECT_EQ(watched_now(), (std::set<std::string>{"b", "c"}));
  b.leave();
  pass(seconds(31));
  hub->tick();
  loop->run();
  EXPECT_EQ(watched.back(), nullptr);
}

TEST_F(StreamHubTest, ResumesRecordsOnlyWhereNoneCanBeMissing) {
  make();
  Reader first(subscribe("kinds=telemetry&device=a"));
  publish(StreamKind::telemetry, "a", 1);
  loop->run();
  first.leave();
  publish(StreamKind::telemetry, "a", 2);
  {
    Reader back(subscribe("kinds=telemetry&device=a", "edge-1.b00t.1"));
    EXPECT_EQ(back.numbers("telemetry"), range(2, 2));
    Reader more(subscribe("kinds=telemetry&device=a&device=b", "edge-1.b00t.1"));
    EXPECT_EQ(more.names().at(1), "reset");  // b was not watched then
  }
  pass(seconds(31));
  hub->tick();
  Reader late(subscribe("kinds=telemetry&device=a", "edge-1.b00t.2"));
  EXPECT_EQ(late.names(), (std::vector<std::string>{"hello", "reset"}));
}

TEST_F(StreamHubTest, TellsOfRecordsThatNeverCameAndResetsWhoComesBackBeyondThem) {
  make();
  Reader data(subscribe("kinds=telemetry&device=a"));
  Reader usual(subscribe(""));
  publish(StreamKind::telemetry, "a", 1);
  hub->lost(k_record_stream_kinds, 7);
  publish(StreamKind::telemetry, "a", 2);
  loop->run();
  EXPECT_EQ(data.names(), (std::vector<std::string>{"hello", "telemetry", "missed", "telemetry"}));
  EXPECT_EQ(data.events().at(2).data.at("count").to_number<int>(), 7);
  EXPECT_TRUE(data.events().at(2).data.at("from").is_null());
  EXPECT_EQ(usual.names(), std::vector<std::string>{"hello"});
  EXPECT_EQ(Reader(subscribe("kinds=telemetry&device=a", data.events().at(1).id)).names().at(1), "reset");
  EXPECT_EQ(Reader(subscribe("kinds=telemetry&device=a", data.events().at(3).id)).names().size(), 1U);
}

TEST_F(StreamHubTest, KeepsAnEventOnOneLineWhateverADeviceReports) {
  make();
  Reader reader(subscribe("kinds=state&device=a"));
  hub->publish(StreamKind::state, "a", "{\"n\":\n1,\r\"x\":\r\n\"\\n\"}");
  loop->run();
  ASSERT_EQ(reader.events().size(), 2U) << reader.text;
  EXPECT_EQ(reader.numbers("state"), range(1, 1));
}

TEST_F(StreamHubTest, GivesSignsOfLifeToWhomNothingHappens) {
  make();
  Reader reader(subscribe(""));
  const std::size_t before = reader.text.size();
  pass(seconds(14));
  hub->tick();
  EXPECT_EQ(reader.text.size(), before);
  pass(seconds(2));
  hub->tick();
  EXPECT_EQ(reader.text.substr(before), ":\n\n");
  hub->tick();
  EXPECT_EQ(reader.text.size(), before + 3);
}

TEST_F(StreamHubTest, EndsWhenTheTokenDoes) {
  make();
  auto source = hub->subscribe(request(""), "short", clock.unix_ms() + 5'000);
  ASSERT_TRUE(source.has_value());
  Reader expiring(std::move(*source));
  source = hub->subscribe(request(""), "revoked", 0);
  Reader revoked(std::move(*source));
  Reader other(subscribe(""));
  hub->tick();
  EXPECT_FALSE(expiring.ended);
  pass(seconds(5));
  hub->tick();
  EXPECT_TRUE(expiring.ended);
  hub->recheck([](std::string_view token) { return token != "revoked"; });
  EXPECT_TRUE(revoked.ended);
  EXPECT_FALSE(other.ended);
}

TEST_F(StreamHubTest, TakesSoManySubscribersAndForgetsThoseThatLeave) {
  make([](ApiStreamSettings& s) { s.subscribers_max = 2; });
  auto a = subscribe("");
  auto b = subscribe("kinds=telemetry&device=x");
  EXPECT_EQ(probe.stream_subscribers.get(), 2);
  EXPECT_EQ(subscribe(""), nullptr);
  b.reset();
  EXPECT_EQ(probe.stream_subscribers.get(), 1);
  EXPECT_EQ(hub->subscribers(), 1U);
  EXPECT_NE(subscribe(""), nullptr);
  hub.reset();
  a.reset();  // outlives what it came from
  EXPECT_EQ(probe.stream_subscribers.get(), 0);
}

TEST_F(StreamHubTest, WaitsLongerWithMoreReaders) {
  make();
  const milliseconds one = hub->pause();
  std::vector<std::shared_ptr<BodySource>> many;
  for (int i = 0; i < 1'000; ++i) many.push_back(subscribe(""));
  EXPECT_LE(one, milliseconds(20));
  EXPECT_GE(hub->pause(), milliseconds(200));
  EXPECT_LE(hub->pause(), milliseconds(300));
}

std::set<std::string> every_event() {
  std::set<std::string> names{"hello", "missed", "reset"};
  for (const std::string_view kind : k_stream_kinds) names.insert(std::string(kind));
  return names;
}

TEST(StreamDoc, HasASchemaOfEveryEvent) {
  std::ifstream in("adapters/http/openapi.json");
  const boost::json::value document =
      boost::json::parse(std::string{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()});
  const boost::json::value& answer =
      document.at("paths").at("/api/v1/stream").at("get").at("responses").at("200").at("content");
  std::set<std::string> described;
  for (const auto& [name, schema] : answer.at("text/event-stream").at("x-events").as_object()) {
    described.insert(std::string(name));
  }
  EXPECT_EQ(described, every_event());
}

TEST(StreamDoc, SaysWhichEventsThereAreAndWhichComeUnasked) {
  std::ifstream in("docs/stream.md");
  const std::string page{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  ASSERT_FALSE(page.empty());
  std::set<std::string> documented;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| `")) continue;
    const std::string cell = line.substr(2, line.find(" | ", 2) - 2);
    if (cell.find('=') != std::string::npos) continue;  // a parameter
    for (std::size_t at = 0; (at = cell.find('`', at)) != std::string::npos;) {
      const std::size_t end = cell.find('`', at + 1);
      documented.insert(cell.substr(at + 1, end - at - 1));
      at = end + 1;
    }
  }
  std::string unasked;
  for (std::size_t i = 0; i < k_stream_kinds.size(); ++i) {
    if ((k_default_kinds & bit(static_cast<StreamKind>(i))) == 0) continue;
    unasked.append(unasked.empty() ? "" : ",").append(k_stream_kinds[i]);
  }
  EXPECT_EQ(documented, every_event());
  EXPECT_NE(page.find("| `kinds=" + unasked + "` |"), std::string::npos) << unasked;
}

}  // namespace
}  // namespace fieldgate::http
