// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_inbox.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace fieldgate::http {
namespace {

TEST(StreamInbox, AddsUpWhatOfOtherNodesWasMissed) {
  StreamInbox inbox;
  EXPECT_TRUE(inbox.put(StreamInbox::Missed{3}));
  EXPECT_FALSE(inbox.put(StreamInbox::Missed{4}));
  auto content = inbox.take();
  EXPECT_EQ(content.missed_changes, 7U);
  EXPECT_FALSE(content.missed_uncounted);
  inbox.put(StreamInbox::Missed{std::nullopt});
  EXPECT_TRUE(inbox.take().missed_uncounted);
  EXPECT_FALSE(inbox.take().missed_uncounted);
}

TEST(StreamInbox, TellsOnceAndCountsWhatItCannotTake) {
  StreamInbox inbox;
  TappedRecord record;
  record.device = "a";
  record.payload.resize(1'000);
  EXPECT_TRUE(inbox.put(record));
  EXPECT_FALSE(inbox.put(record));
  EXPECT_FALSE(inbox.put(std::make_shared<const CommandEntry>(CommandEntry{"c", *DeviceId::parse("a"), "n"})));
  for (std::size_t i = 2; i < StreamInbox::k_records_max + 5; ++i) inbox.put(record);
  StreamInbox::Content content = inbox.take();
  EXPECT_EQ(content.commands.size(), 1U);
  EXPECT_LE(content.record_bytes, StreamInbox::k_record_bytes_max);
  EXPECT_EQ(content.records.size() + content.lost_records, StreamInbox::k_records_max + 5);
  EXPECT_TRUE(inbox.put(std::make_shared<const Twin>(Twin{*DeviceId::parse("a")})));
  record.payload.resize(StreamInbox::k_record_bytes_max);
  inbox.put(record);
  content = inbox.take();
  EXPECT_EQ(content.twins.size(), 1U);
  EXPECT_EQ(content.lost_records, 1U);
  EXPECT_TRUE(inbox.take().records.empty());
}

}  // namespace
}  // namespace fieldgate::http
