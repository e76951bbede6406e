// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/end_reason.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

namespace fieldgate {
namespace {

TEST(EndReasons, HaveOneSnakeCaseNameEach) {
  const std::regex snake_case("[a-z][a-z0-9]*(_[a-z0-9]+)*");
  std::set<std::string_view> names;
  for (const EndReasonInfo& row : end_reasons()) {
    EXPECT_TRUE(std::regex_match(std::string(row.name), snake_case)) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
    EXPECT_EQ(to_string(row.reason), row.name);
  }
  EXPECT_EQ(names.size(), k_end_reasons);
}

TEST(EndReasons, SendACloseCodeThatMayBeSent) {
  std::set<std::uint16_t> own;
  for (const EndReasonInfo& row : end_reasons()) {
    const std::uint16_t code = row.close_code;
    if (code == 0) continue;
    // RFC 6455 section 7.4.1: 1005, 1006 and 1015 never appear on the wire.
    EXPECT_TRUE((code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
                (code >= 4000 && code <= 4999))
        << row.name;
    EXPECT_EQ(row.http_status, 0) << row.name << " answers twice";
    if (code >= 4000) {
      EXPECT_TRUE(own.insert(code).second) << row.name << " shares its code";
    }
  }
}

TEST(EndReasons, AnswerARefusedUpgradeWithAnError) {
  for (const EndReasonInfo& row : end_reasons()) {
    if (row.http_status != 0) {
      EXPECT_TRUE(row.http_status >= 400 && row.http_status < 600) << row.name;
    }
  }
}

}  // namespace
}  // namespace fieldgate
