// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/routes.h"

#include <gtest/gtest.h>

namespace fieldgate::mqtt {
namespace {

TEST(Routes, DefaultToBatchesButKeepEventsAndPresencePerDevice) {
  const auto routes = Routes::make({}).value();
  EXPECT_EQ(routes[RecordKind::telemetry], RoutePayload::batch);
  EXPECT_EQ(routes[RecordKind::state], RoutePayload::batch);
  EXPECT_EQ(routes[RecordKind::opaque], RoutePayload::batch);
  EXPECT_EQ(routes[RecordKind::command_reply], RoutePayload::batch);
  EXPECT_EQ(routes[RecordKind::event], RoutePayload::protobuf);
  EXPECT_EQ(routes[RecordKind::presence], RoutePayload::json);
}

TEST(Routes, LetTheFirstThatNamesAKindHaveItAndFilterTheRest) {
  const auto routes =
      Routes::make({{{"telemetry"}, RoutePayload::json}, {{"telemetry", "event"}, RoutePayload::batch}}).value();
  EXPECT_EQ(routes[RecordKind::telemetry], RoutePayload::json);
  EXPECT_EQ(routes[RecordKind::event], RoutePayload::batch);
  EXPECT_EQ(routes[RecordKind::state], std::nullopt);
}

TEST(Routes, RefuseAKindThatThereIsNot) {
  const auto routes = Routes::make({{{"telemetri"}, RoutePayload::json}});
  ASSERT_FALSE(routes);
  EXPECT_NE(routes.error().detail.find("telemetri"), std::string::npos);
}

}  // namespace
}  // namespace fieldgate::mqtt
