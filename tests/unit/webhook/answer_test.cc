// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/answer.h"

#include <gtest/gtest.h>

namespace fieldgate::webhook {
namespace {

using std::chrono::seconds;

const std::set<unsigned> k_retry = {401, 403, 407, 408, 421, 425, 429};
constexpr std::int64_t k_now = 1'700'000'000;  // Tue, 14 Nov 2023 22:13:20 GMT

WebhookOutcome outcome(unsigned status) { return judge({status, {}, {}, {}}, k_retry).outcome; }

TEST(Judge, TakesEveryStatusForWhatItSays) {
  for (const unsigned status : {200U, 201U, 202U, 204U, 299U}) EXPECT_EQ(outcome(status), WebhookOutcome::accepted);
  for (const unsigned status : {300U, 301U, 302U, 304U, 307U, 308U}) {
    EXPECT_EQ(outcome(status), WebhookOutcome::redirected) << status;
  }
  for (const unsigned status : {400U, 404U, 405U, 410U, 413U, 415U, 422U, 499U}) {
    EXPECT_EQ(outcome(status), WebhookOutcome::refused) << status;
  }
  for (const unsigned status : {401U, 403U, 407U}) EXPECT_EQ(outcome(status), WebhookOutcome::denied) << status;
  for (const unsigned status : {429U, 503U}) EXPECT_EQ(outcome(status), WebhookOutcome::throttled) << status;
  for (const unsigned status : {408U, 421U, 425U, 500U, 502U, 504U, 599U, 600U, 999U}) {
    EXPECT_EQ(outcome(status), WebhookOutcome::server_error) << status;
  }
}

TEST(Judge, FollowsTheListOfStatusesToRetry) {
  EXPECT_EQ(judge({404, {}, {}, {}}, {404}).outcome, WebhookOutcome::denied);
  EXPECT_EQ(judge({401, {}, {}, {}}, {404}).outcome, WebhookOutcome::refused);
  EXPECT_EQ(judge({429, {}, {}, {}}, {}).outcome, WebhookOutcome::refused);
  EXPECT_EQ(judge({503, {}, {}, {}}, {}).outcome, WebhookOutcome::throttled);
}

TEST(Judge, SaysWhatTheOperatorCanDo) {
  EXPECT_NE(judge({401, {}, {}, "bad key\r\n"}, k_retry).error.find("401 (bad key): check the credentials"),
            std::string::npos);
  const std::string moved = judge({301, {}, "https://new.example/in?token=s3cret", {}}, k_retry).error;
  EXPECT_NE(moved.find("https://new.example/in"), std::string::npos);
  EXPECT_EQ(moved.find("s3cret"), std::string::npos);
  EXPECT_NE(moved.find("not followed"), std::string::npos);
}

TEST(RetryAfter, ReadsSeconds) {
  EXPECT_EQ(parse_retry_after("0", k_now), seconds(0));
  EXPECT_EQ(parse_retry_after(" 120 ", k_now), seconds(120));
  EXPECT_EQ(parse_retry_after("99999999999999999999999999", k_now), seconds(2'147'483'647));
}

TEST(RetryAfter, ReadsTheThreeFormsOfADate) {
  EXPECT_EQ(parse_retry_after("Tue, 14 Nov 2023 22:13:50 GMT", k_now), seconds(30));
  EXPECT_EQ(parse_retry_after("Tuesday, 14-Nov-23 22:13:50 GMT", k_now), seconds(30));
  EXPECT_EQ(parse_retry_after("Tue Nov 14 22:13:50 2023", k_now), seconds(30));
  EXPECT_EQ(parse_retry_after("Wed Nov  1 00:00:00 2023", k_now), seconds(0));  // past
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", k_now), seconds(0));
  EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", k_now), seconds(0));  // not 2094
  EXPECT_EQ(parse_retry_after("Thu, 29 Feb 2024 00:00:00 GMT", 1'709'164'800 - 5), seconds(5));
}

TEST(RetryAfter, LeavesAloneWhatItCannotRead) {
  for (const char* text : {"", " ", "soon", "-5", "1.5", "0x10", "12 seconds", "Tue, 14 Nov 2023 22:13:50 CET",
                           "Tue, 14 Foo 2023 22:13:50 GMT", "Tue, 31 Feb 2023 22:13:50 GMT",
                           "Tue, 14 Nov 2023 25:13:50 GMT", "Tue, 14 Nov 2023", "Tue, 14 Nov 2023 22:13:50 GMT extra",
                           "Tue, 14 Nov +023 22:13:50 GMT", "Tue, 14 Nov 2023 22-13-50 GMT", "a b c d e"}) {
    EXPECT_EQ(parse_retry_after(text, k_now), std::nullopt) << text;
  }
}

TEST(Printable, KeepsTheBeginningInPlainAscii) {
  EXPECT_EQ(printable("", 10), "");
  EXPECT_EQ(printable("  a\r\n\tb\x01\x1b[31m\xC3\xA9 c \n", 100), "a b [31m c");
  EXPECT_EQ(printable("abcdef", 3), "abc");
  EXPECT_EQ(printable(std::string(100'000, '\0') + "x", 5), "x");
}

}  // namespace
}  // namespace fieldgate::webhook
