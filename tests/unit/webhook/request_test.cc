// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/request.h"

#include "adapters/webhook/signature.h"

#include <gtest/gtest.h>

namespace fieldgate::webhook {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(TargetUrl, TakesAUrlApart) {
  const auto url = TargetUrl::parse("https://hooks.example.com/in/a%20b?token=s3cret&x=1").value();
  EXPECT_TRUE(url.tls);
  EXPECT_EQ(url.host, "hooks.example.com");
  EXPECT_EQ(url.port, 443);
  EXPECT_EQ(url.authority, "hooks.example.com");
  EXPECT_EQ(url.request, "/in/a%20b?token=s3cret&x=1");
  EXPECT_EQ(url.display, "https://hooks.example.com:443/in/a%20b");
}

TEST(TargetUrl, TakesPortsAndAddresses) {
  const auto v6 = TargetUrl::parse("http://[2001:db8::1]:8080").value();
  EXPECT_FALSE(v6.tls);
  EXPECT_EQ(v6.host, "2001:db8::1");
  EXPECT_EQ(v6.port, 8080);
  EXPECT_EQ(v6.authority, "[2001:db8::1]:8080");
  EXPECT_EQ(v6.request, "/");
  EXPECT_EQ(TargetUrl::parse("http://10.0.0.1").value().port, 80);
  EXPECT_EQ(TargetUrl::parse("http://10.0.0.1:/").value().port, 80);
  EXPECT_EQ(TargetUrl::parse("http://host:80/").value().authority, "host");
  EXPECT_EQ(TargetUrl::parse("https://host:80/?a").value().authority, "host:80");
  EXPECT_EQ(TargetUrl::parse("HTTPS://Host/").value().host, "Host");
}

TEST(TargetUrl, RefusesWhatCannotBeATarget) {
  for (const char* text :
       {"", "example.com", "/path", "ftp://example.com/", "file:///etc/passwd", "http://", "http:///x",
        "http://user@example.com/", "http://user:pw@example.com/", "http://example.com/#part", "http://example.com:0/",
        "http://example.com:99999/", "http://exa mple.com/", "http://example.com/\r\nX: y", "http://ex%41mple.com/",
        "http://b\xC3\xBC"
        "cher.example/",
        "http://[::1", "http://[v1.x]/", "http://a,b/"}) {
    const auto url = TargetUrl::parse(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, Errc::invalid_argument);
  }
}

// python3 -c 'import hmac; print(hmac.new(b"key", b"1700000000.{...}", "sha256").hexdigest())'
TEST(Signature, IsTheHmacOfTimestampAndBody) {
  EXPECT_EQ(signature_of("key", 1'700'000'000, R"({"node":"gw-1","records":[]})"),
            "v1=e4a8575b5f78a507d15b58725bfe224015e806675db5e3d33ac93a82d73f26af");
  EXPECT_NE(signature_of("key", 1'700'000'001, "x"), signature_of("key", 1'700'000'000, "x"));
  EXPECT_NE(signature_of("kez", 1'700'000'000, "x"), signature_of("key", 1'700'000'000, "x"));
}

TEST(RequestWriter, WritesAHeadAsTheDocumentationSays) {
  const auto target = TargetUrl::parse("https://hooks.example.com/in?x=1").value();
  const auto writer =
      RequestWriter::make(target, WebhookPayload::json, {{"Authorization", {"Bearer abc"}}}, "gw-1", "key").value();
  EXPECT_EQ(writer.head("boot.hook.7", 2, R"({"node":"gw-1","records":[]})", 1'700'000'000),
            "POST /in?x=1 HTTP/1.1\r\n"
            "Host: hooks.example.com\r\n"
            "Content-Type: application/json\r\n"
            "User-Agent: fieldgate/" FIELDGATE_VERSION
            "\r\n"
            "Accept: */*\r\n"
            "Fieldgate-Node: gw-1\r\n"
            "Authorization: Bearer abc\r\n"
            "Fieldgate-Batch-Id: boot.hook.7\r\n"
            "Idempotency-Key: boot.hook.7\r\n"
            "Fieldgate-Attempt: 2\r\n"
            "Fieldgate-Timestamp: 1700000000\r\n"
            "Fieldgate-Signature: t=1700000000,"
            "v1=e4a8575b5f78a507d15b58725bfe224015e806675db5e3d33ac93a82d73f26af\r\n"
            "Content-Length: 28\r\n\r\n");
}

TEST(RequestWriter, LeavesOutTheSignatureWithoutAKey) {
  const auto target = TargetUrl::parse("http://h/").value();
  const auto writer = RequestWriter::make(target, WebhookPayload::protobuf, {}, "gw-1", "").value();
  const std::string head = writer.head("id", 1, "", 1);
  EXPECT_FALSE(has(head, "Signature"));
  EXPECT_TRUE(has(head, "Content-Type: application/x-protobuf\r\n"));
}

TEST(RequestWriter, LetsTheConfigurationReplaceWhatIsOnlyADefault) {
  const auto target = TargetUrl::parse("http://h/").value();
  const auto writer = RequestWriter::make(target, WebhookPayload::json,
                                          {{"user-agent", {"mine"}}, {"IDEMPOTENCY-KEY", {"fixed"}}}, "gw-1", "")
                          .value();
  const std::string head = writer.head("id", 1, "", 1);
  EXPECT_TRUE(has(head, "user-agent: mine\r\n"));
  EXPECT_FALSE(has(head, "fieldgate/"));
  EXPECT_FALSE(has(head, "Idempotency-Key: id"));
}

TEST(RequestWriter, RefusesAHeaderThatWouldBreakTheRequestWithoutTellingItsValue) {
  const auto target = TargetUrl::parse("http://h/").value();
  for (const WebhookHeader& header :
       {WebhookHeader{"X-A", {"s3cret\r\nX-B: 1"}}, WebhookHeader{"X A", {"s3cret"}}, WebhookHeader{"", {"s3cret"}},
        WebhookHeader{"X-A", {std::string("s3cret\0", 7)}}}) {
    const auto writer = RequestWriter::make(target, WebhookPayload::json, {header}, "gw-1", "");
    ASSERT_FALSE(writer) << header.name;
    EXPECT_FALSE(has(writer.error().detail, "s3cret"));
  }
}

}  // namespace
}  // namespace fieldgate::webhook
