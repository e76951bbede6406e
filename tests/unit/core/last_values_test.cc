// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/last_values.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace fieldgate {
namespace {

struct Kept {
  std::string value;  // as text, so that all types compare alike
  std::int64_t unix_ms;
  MetricQuality quality;
  friend bool operator==(const Kept&, const Kept&) = default;
};

std::string printed(const MetricValue& value) {
  if (const auto* real = std::get_if<double>(&value)) return "d" + std::to_string(*real);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return "i" + std::to_string(*integer);
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* text = std::get_if<std::string_view>(&value)) return "s" + std::string(*text);
  return "b" + std::string(std::get<MetricBytes>(value).data);
}

std::map<std::string, Kept> snapshot(const LastValues& values) {
  std::map<std::string, Kept> kept;
  values.for_each([&](std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) {
    EXPECT_TRUE(kept.emplace(name, Kept{printed(value), unix_ms, quality}).second) << name << " is there twice";
  });
  return kept;
}

TEST(LastValues, KeepsEveryTypeAsItCame) {
  LastValues values(4'096);
  values.update("real", 1.5, 10, MetricQuality::good);
  values.update("integer", std::int64_t{-7}, 11, MetricQuality::uncertain);
  values.update("boolean", true, 12, MetricQuality::bad);
  values.update("text", std::string_view("hello"), 13, MetricQuality::good);
  values.update("bytes", MetricBytes{std::string_view("\0\1", 2)}, 14, MetricQuality::good);
  const std::map<std::string, Kept> expected = {
      {"real", {"d1.500000", 10, MetricQuality::good}},
      {"integer", {"i-7", 11, MetricQuality::uncertain}},
      {"boolean", {"true", 12, MetricQuality::bad}},
      {"text", {"shello", 13, MetricQuality::good}},
      {"bytes", {std::string("b\0\1", 3), 14, MetricQuality::good}},
  };
  EXPECT_EQ(snapshot(values), expected);
  EXPECT_FALSE(values.truncated());
}

TEST(LastValues, ReplacesByWhatIsNewerOrAsNew) {
  LastValues values(4'096);
  values.update("t", 1.0, 100, MetricQuality::good);
  values.update("t", 2.0, 100, MetricQuality::good);
  EXPECT_EQ(snapshot(values).at("t").value, "d2.000000");
  values.update("t", 3.0, 99, MetricQuality::good);
  EXPECT_EQ(snapshot(values).at("t").value, "d2.000000");
  values.update("t", std::string_view("warm"), 101, MetricQuality::bad);
  EXPECT_EQ(snapshot(values).at("t"), (Kept{"swarm", 101, MetricQuality::bad}));
  EXPECT_EQ(values.size(), 1U);
}

TEST(LastValues, TellsNamesApartThatLookAlike) {
  LastValues values(4'096);
  values.update("temperature", 1.0, 1, MetricQuality::good);
  values.update("temperature2", 2.0, 1, MetricQuality::good);
  values.update("temperaturf", 3.0, 1, MetricQuality::good);
  values.update("", 4.0, 1, MetricQuality::good);
  EXPECT_EQ(values.size(), 4U);
  EXPECT_EQ(snapshot(values).at("temperature").value, "d1.000000");
}

TEST(LastValues, TakesLittleMemoryForSixShortNamedNumbers) {
  LastValues values(4'096);
  for (int round = 0; round < 3; ++round) {
    for (const char* name : {"temperature", "humidity", "pressure", "battery", "rssi", "uptime"}) {
      values.update(name, 21.5 + round, 1'000 + round, MetricQuality::good);
    }
  }
  EXPECT_EQ(values.size(), 6U);
  EXPECT_LE(values.bytes() + sizeof(values), 6 * 64U);
}

TEST(LastValues, DropsTheLeastRecentlyUpdatedAndSaysSo) {
  LastValues values(1'000);
  const auto name = [](int i) { return "metric-" + std::to_string(i); };
  int count = 0;
  while (!values.truncated()) {
    values.update(name(count++), 1.0, 1, MetricQuality::good);
    if (!values.truncated()) {
      ASSERT_EQ(values.size(), static_cast<std::size_t>(count));
    }
    values.update(name(0), 2.0, 2, MetricQuality::good);  // the first of all, but never the oldest
    ASSERT_LE(values.bytes(), 1'000U);
  }
  EXPECT_GT(count, 15);
  const auto kept = snapshot(values);
  EXPECT_TRUE(kept.contains(name(0)));
  EXPECT_FALSE(kept.contains(name(1)));
  EXPECT_TRUE(kept.contains(name(count - 1)));
  EXPECT_GT(kept.size(), static_cast<std::size_t>(count) * 3 / 4);
}

TEST(LastValues, ForgetsAMetricWhoseNewValueCannotFit) {
  LastValues values(500);
  values.update("a", std::string_view("short"), 1, MetricQuality::good);
  values.update("b", 1.0, 1, MetricQuality::good);
  values.update("a", std::string(600, 'x'), 2, MetricQuality::good);
  EXPECT_TRUE(values.truncated());
  EXPECT_EQ(values.size(), 1U);
  EXPECT_TRUE(snapshot(values).contains("b"));
}

TEST(LastValues, KeepsNothingWithoutABudget) {
  LastValues values(0);
  values.update("a", 1.0, 1, MetricQuality::good);
  EXPECT_EQ(values.size(), 0U);
  EXPECT_EQ(values.bytes(), 0U);
  EXPECT_TRUE(values.truncated());
}

TEST(LastValues, HoldsABoundedNumberOfMetricsHoweverLargeItsBudget) {
  LastValues values(10'000'000);
  for (int i = 0; i < 3'000; ++i) values.update("m" + std::to_string(i), 1.0, i, MetricQuality::good);
  EXPECT_LE(values.size(), LastValues::k_metrics_max);
  EXPECT_GT(values.size(), LastValues::k_metrics_max / 2);
  EXPECT_TRUE(snapshot(values).contains("m2999"));
}

// Against a map that forgets nothing: what is kept is what was said last, and
// everything is kept while nothing was truncated.
TEST(LastValues, AgreesWithAMapUnderRandomUpdates) {
  std::mt19937 random(11);
  int truncated_runs = 0;
  for (int run = 0; run < 300; ++run) {
    const std::uint32_t budget = 200 + random() % 6'000;
    const unsigned names = 1 + random() % 60;
    LastValues values(budget);
    std::map<std::string, Kept> model;
    for (int i = 0; i < 400; ++i) {
      const std::string name(1 + random() % names, static_cast<char>('a' + random() % 3));
      const std::int64_t unix_ms = 1'000 + i - static_cast<std::int64_t>(random() % 4);
      const auto quality = static_cast<MetricQuality>(random() % 3);
      const std::string text(random() % (run % 2 == 0 ? 10 : 200), static_cast<char>('0' + random() % 10));
      MetricValue value;
      switch (random() % 5) {
        case 0: value = static_cast<double>(random() % 1'000) / 8; break;
        case 1: value = static_cast<std::int64_t>(random()) - 1'000'000; break;
        case 2: value = random() % 2 == 0; break;
        case 3: value = std::string_view(text); break;
        default: value = MetricBytes{text}; break;
      }
      values.update(name, value, unix_ms, quality);
      const auto at = model.find(name);
      if (at == model.end() || at->second.unix_ms <= unix_ms) model[name] = {printed(value), unix_ms, quality};
      ASSERT_LE(values.bytes(), budget);
    }
    const auto kept = snapshot(values);
    if (values.truncated()) {
      ++truncated_runs;
      // A metric that came back after it was dropped may be older than the
      // newest the model knows; all others agree.
      for (const auto& [name, one] : kept) {
        ASSERT_TRUE(model.contains(name));
        ASSERT_TRUE(one == model[name] || one.unix_ms < model[name].unix_ms) << name;
      }
    } else {
      ASSERT_EQ(kept, model);
    }
  }
  EXPECT_GT(truncated_runs, 30);
  EXPECT_LT(truncated_runs, 270);
}

}  // namespace
}  // namespace fieldgate
