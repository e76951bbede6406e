// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/upgrade.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace fieldgate::test {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

// A request that is accepted, to be spoilt in one way at a time.
struct Request {
  std::string line = "GET /v1/connect HTTP/1.1";
  Headers headers = {{"Host", "gateway.example:8443"}, {"Upgrade", "websocket"},
                     {"Connection", "Upgrade"},        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                     {"Sec-WebSocket-Version", "13"},  {"Sec-WebSocket-Protocol", "fieldgate.v1"}};

  Request& set(const std::string& name, const std::string& value) {
    for (auto& header : headers) {
      if (header.first == name) header.second = value;
    }
    return *this;
  }
  Request& add(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
    return *this;
  }
  Request& remove(const std::string& name) {
    std::erase_if(headers, [&](const auto& header) { return header.first == name; });
    return *this;
  }
  std::string text() const {
    std::string out = line + "\r\n";
    for (const auto& [name, value] : headers) out += name + ": " + value + "\r\n";
    return out + "\r\n";
  }
};

UpgradeResult judge(const std::string& text, const std::vector<std::string>& origins = {}) {
  // A copy of its own: a byte beyond it is a byte out of bounds.
  std::vector<std::byte> bytes(text.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(text[i]);
  return parse_upgrade(bytes, origins);
}

std::string outcome(const UpgradeResult& result) {
  if (const auto* refused = std::get_if<UpgradeRefused>(&result)) return std::string(to_string(refused->reason));
  return std::holds_alternative<UpgradeAccepted>(result) ? "accepted" : "need_more";
}

std::string outcome(const Request& request, const std::vector<std::string>& origins = {}) {
  return outcome(judge(request.text(), origins));
}

TEST(Upgrade, AcceptsTheRequestThatDevicesSend) {
  const std::string text = Request().text();
  const auto result = judge(text + "\x82\x80more");
  ASSERT_TRUE(std::holds_alternative<UpgradeAccepted>(result)) << outcome(result);
  const auto& accepted = std::get<UpgradeAccepted>(result);
  EXPECT_EQ(accepted.consumed, text.size());
  EXPECT_EQ(accepted.key, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(accepted.token, "");
}

TEST(Upgrade, WaitsForTheWholeRequest) {
  const std::string text = Request().text();
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(outcome(judge(text.substr(0, size))), "need_more") << "after " << size << " bytes";
  }
  EXPECT_EQ(outcome(judge(text)), "accepted");
}

TEST(Upgrade, TakesNamesAndTokensInAnyCaseAndInLists) {
  EXPECT_EQ(outcome(Request().set("Upgrade", "WebSocket")), "accepted");
  EXPECT_EQ(outcome(Request().set("Upgrade", "h2c, websocket")), "accepted");
  EXPECT_EQ(outcome(Request().set("Connection", "keep-alive, UPGRADE")), "accepted");
  EXPECT_EQ(outcome(Request().set("Connection", "keep-alive").add("connection", "upgrade")), "accepted");
  EXPECT_EQ(outcome(Request().set("Sec-WebSocket-Protocol", "other ,\tfieldgate.v1")), "accepted");
  EXPECT_EQ(outcome(Request().set("Sec-WebSocket-Protocol", "other").add("SEC-WEBSOCKET-PROTOCOL", "fieldgate.v1")),
            "accepted");
}

TEST(Upgrade, IgnoresOfferedExtensions) {
  EXPECT_EQ(outcome(Request().add("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")),
            "accepted");
  std::string response;
  append_upgrade_accepted(response, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(response.find("Extensions"), std::string::npos);
}

TEST(Upgrade, RefusesOtherPaths) {
  for (const std::string target : {"/", "/v1/connect?x=1", "/v1/connect/", "/v1/Connect", "/v1/connect#f",
                                   "http://h/v1/connect", "/v1/%63onnect", "//v1/connect", "*"}) {
    Request request;
    request.line = "GET " + target + " HTTP/1.1";
    EXPECT_EQ(outcome(request), "upgrade_path") << target;
  }
}

TEST(Upgrade, RefusesOtherMethods) {
  for (const std::string method : {"POST", "HEAD", "PUT", "OPTIONS", "get", "FROB"}) {
    Request request;
    request.line = method + " /v1/connect HTTP/1.1";
    EXPECT_EQ(outcome(request), "upgrade_method") << method;
  }
}

TEST(Upgrade, RefusesWhatIsNotHttp11) {
  for (const std::string version : {"HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", ""}) {
    Request request;
    request.line = "GET /v1/connect " + version;
    EXPECT_EQ(outcome(request), "upgrade_malformed") << version;
  }
  EXPECT_EQ(outcome(judge("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), "upgrade_malformed");
  EXPECT_EQ(outcome(judge("\r\n\r\n\r\n\r\n")), "upgrade_malformed");
  EXPECT_EQ(outcome(judge(std::string("\0\0\r\n\r\n", 6))), "upgrade_malformed");
}

// Beast 1.81 lets each of these pass.
TEST(Upgrade, RefusesWhatBeastsParserAcceptsAlthoughItIsAmbiguous) {
  EXPECT_EQ(outcome(Request().add("Transfer-Encoding", "chunked, gzip")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Transfer-Encoding", "chunked")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Transfer-Encoding", "identity")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Host", "gateway.example:8443")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("host", "other.example")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().remove("Host")), "upgrade_malformed");
  Request chunked_10;
  chunked_10.line = "GET /v1/connect HTTP/1.0";
  EXPECT_EQ(outcome(chunked_10.add("Transfer-Encoding", "chunked")), "upgrade_malformed");
}

TEST(Upgrade, RefusesABody) {
  EXPECT_EQ(outcome(Request().add("Content-Length", "5")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Content-Length", "99999999999999999999")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Content-Length", "-1")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Content-Length", "0x0")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Content-Length", "0").add("Transfer-Encoding", "chunked")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Content-Length", "0")), "accepted");
}

TEST(Upgrade, RefusesMalformedHostsAndFoldedLines) {
  for (const std::string host : {"", "a b", "a,b", "a/b", "user@host", "<script>"}) {
    EXPECT_EQ(outcome(Request().set("Host", host)), "upgrade_malformed") << host;
  }
  EXPECT_EQ(outcome(Request().set("Host", std::string(256, 'a'))), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().set("Host", "[2001:db8::1]:8443")), "accepted");
  EXPECT_EQ(outcome(Request().add("X-Folded", "a\r\n b")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("X-Folded", "a\r\n\tb")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("X-Space ", "b")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("", "b")), "upgrade_malformed");
}

TEST(Upgrade, AsksForWebSocketVersion13) {
  EXPECT_EQ(outcome(Request().remove("Upgrade")), "upgrade_version");
  EXPECT_EQ(outcome(Request().set("Upgrade", "websockets")), "upgrade_version");
  EXPECT_EQ(outcome(Request().set("Upgrade", "web socket")), "upgrade_version");
  EXPECT_EQ(outcome(Request().remove("Connection")), "upgrade_version");
  EXPECT_EQ(outcome(Request().set("Connection", "keep-alive")), "upgrade_version");
  EXPECT_EQ(outcome(Request().remove("Sec-WebSocket-Version")), "upgrade_version");
  for (const std::string version : {"12", "8", "013", "13, 8", "13.0", ""}) {
    EXPECT_EQ(outcome(Request().set("Sec-WebSocket-Version", version)), "upgrade_version") << version;
  }
  EXPECT_EQ(outcome(Request().add("Sec-WebSocket-Version", "13")), "upgrade_version");
}

TEST(Upgrade, WantsOneKeyOfExactly16Bytes) {
  EXPECT_EQ(outcome(Request().remove("Sec-WebSocket-Key")), "upgrade_malformed");
  EXPECT_EQ(outcome(Request().add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")), "upgrade_malformed");
  for (const std::string key : {"", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZWE=", "dGhlIHNhbXBsZSBub25jZWVl",
                                "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZ-==",
                                "dGhl!HNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=a"}) {
    EXPECT_EQ(outcome(Request().set("Sec-WebSocket-Key", key)), "upgrade_malformed") << key;
  }
}

TEST(Upgrade, WantsTheSubprotocol) {
  EXPECT_EQ(outcome(Request().remove("Sec-WebSocket-Protocol")), "upgrade_subprotocol");
  for (const std::string protocol : {"fieldgate.v2", "Fieldgate.v1", "fieldgate.v1x", "mqtt", ""}) {
    EXPECT_EQ(outcome(Request().set("Sec-WebSocket-Protocol", protocol)), "upgrade_subprotocol") << protocol;
  }
}

TEST(Upgrade, RefusesBrowsersUnlessTheirOriginIsAllowed) {
  EXPECT_EQ(outcome(Request().add("Origin", "https://evil.example")), "upgrade_origin");
  EXPECT_EQ(outcome(Request().add("Origin", "null")), "upgrade_origin");
  EXPECT_EQ(outcome(Request().add("Origin", "")), "upgrade_origin");
  const std::vector<std::string> allowed = {"https://ui.example"};
  EXPECT_EQ(outcome(Request().add("Origin", "https://ui.example"), allowed), "accepted");
  EXPECT_EQ(outcome(Request().add("Origin", "https://evil.example"), allowed), "upgrade_origin");
  EXPECT_EQ(outcome(Request().add("Origin", "https://ui.example.evil.example"), allowed), "upgrade_origin");
  EXPECT_EQ(outcome(Request().add("Origin", "https://ui.example").add("Origin", "https://ui.example"), allowed),
            "upgrade_origin");
  EXPECT_EQ(outcome(Request(), allowed), "accepted");
}

TEST(Upgrade, TakesTheBearerToken) {
  for (const auto& [value, token] : Headers{{"Bearer abc", "abc"},
                                            {"bearer  AZaz09-._~+/==", "AZaz09-._~+/=="},
                                            {"BEARER " + std::string(4096, 't'), std::string(4096, 't')}}) {
    const auto result = judge(Request().add("Authorization", value).text());
    ASSERT_EQ(outcome(result), "accepted");
    EXPECT_EQ(std::get<UpgradeAccepted>(result).token, token);
  }
}

TEST(Upgrade, RefusesOtherCredentials) {
  for (const std::string value : {"Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "Bearer a b", "Bearer a,b",
                                  "Bearer =", "Bearer a=b", "Bearer \"a\"", "Bearerabc", "abc", ""}) {
    EXPECT_EQ(outcome(Request().add("Authorization", value)), "unauthenticated") << value;
  }
  EXPECT_EQ(outcome(Request().add("Authorization", "Bearer " + std::string(4097, 't'))), "upgrade_too_large");
  EXPECT_EQ(outcome(Request().add("Authorization", "Bearer a").add("authorization", "Bearer a")), "upgrade_malformed");
}

TEST(Upgrade, RefusesAnEndlessHeader) {
  std::string text = Request().text();
  text.resize(text.size() - 2);  // without the blank line
  text += "X-Filler: " + std::string(k_upgrade_bytes_max, 'x');
  EXPECT_EQ(outcome(judge(text.substr(0, k_upgrade_bytes_max - 1))), "need_more");
  EXPECT_EQ(outcome(judge(text.substr(0, k_upgrade_bytes_max))), "upgrade_too_large");
  EXPECT_EQ(outcome(judge(text + "\r\n\r\n")), "upgrade_too_large");
}

TEST(Upgrade, TakesARequestOfExactlyTheLimit) {
  const std::size_t bare = Request().add("X-Filler", "").text().size();
  const auto padded = [&](std::size_t size) { return Request().add("X-Filler", std::string(size - bare, 'x')).text(); };
  EXPECT_EQ(outcome(judge(padded(k_upgrade_bytes_max))), "accepted");
  EXPECT_EQ(outcome(judge(padded(k_upgrade_bytes_max + 1))), "upgrade_too_large");
}

TEST(UpgradeResponse, AcceptsWithTheExampleOfRfc6455Section13) {
  std::string out;
  append_upgrade_accepted(out, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(out,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: fieldgate.v1\r\n\r\n");
}

TEST(UpgradeResponse, RefusesEachReasonWithItsStatusAndABodyThatNamesIt) {
  std::size_t seen = 0;
  for (const auto& about : end_reasons()) {
    if (about.http_status == 0) continue;
    ++seen;
    std::string out;
    append_upgrade_refused(out, about.reason);
    const std::string status = std::to_string(about.http_status);
    EXPECT_TRUE(out.starts_with("HTTP/1.1 " + status + " ")) << out;
    EXPECT_NE(out.find("\r\nConnection: close\r\n"), std::string::npos) << out;
    EXPECT_NE(out.find("\r\nContent-Type: application/problem+json\r\n"), std::string::npos) << out;
    const std::size_t body = out.find("\r\n\r\n") + 4;
    EXPECT_NE(out.find("\r\nContent-Length: " + std::to_string(out.size() - body) + "\r\n"), std::string::npos) << out;
    EXPECT_NE(out.find("\"status\":" + status + ",", body), std::string::npos) << out;
    EXPECT_NE(out.find("\"reason\":\"" + std::string(about.name) + "\"", body), std::string::npos) << out;
  }
  EXPECT_EQ(seen, 9U);
}

TEST(UpgradeResponse, SaysWhatWouldBeAccepted) {
  const auto response = [](EndReason reason) {
    std::string out;
    append_upgrade_refused(out, reason);
    return out;
  };
  EXPECT_NE(response(EndReason::upgrade_version).find("\r\nSec-WebSocket-Version: 13\r\n"), std::string::npos);
  EXPECT_NE(response(EndReason::upgrade_version).find("\r\nUpgrade: websocket\r\n"), std::string::npos);
  EXPECT_NE(response(EndReason::unauthenticated).find("\r\nWWW-Authenticate: Bearer"), std::string::npos);
  EXPECT_NE(response(EndReason::upgrade_method).find("\r\nAllow: GET\r\n"), std::string::npos);
}

}  // namespace
}  // namespace fieldgate::test
