// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/ws_client.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace fieldgate::sim {
namespace {

class Frames final : public WsFrameSink {
 public:
  bool on_ws_frame(WsOpcode opcode, std::string_view payload) override {
    seen.emplace_back(opcode, payload);
    return seen.size() < stop_after;
  }
  std::vector<std::pair<WsOpcode, std::string>> seen;
  std::size_t stop_after = 1'000;
};

// A frame as the gateway would send it.
std::string frame(unsigned char b0, std::string_view payload) {
  std::string bytes(1, static_cast<char>(b0));
  if (payload.size() < 126) {
    bytes += static_cast<char>(payload.size());
  } else if (payload.size() < 65'536) {
    bytes += {126, static_cast<char>(payload.size() >> 8), static_cast<char>(payload.size())};
  } else {
    bytes += {127,
              0,
              0,
              0,
              0,
              0,
              static_cast<char>(payload.size() >> 16),
              static_cast<char>(payload.size() >> 8),
              static_cast<char>(payload.size())};
  }
  return bytes.append(payload);
}

TEST(WsClient, MasksAsInRfc6455Section57) {
  // "a single-frame masked text message": Hello, with mask 37 fa 21 3d.
  std::string out;
  ws_append_frame(out, WsOpcode::text, "Hello", 0x3d21fa37);
  EXPECT_EQ(out, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

TEST(WsClient, UsesTheShortestFormOfEveryLength) {
  for (const auto& [size, head] : {std::pair<std::size_t, std::size_t>{125, 6}, {126, 8}, {65'535, 8}, {65'536, 14}}) {
    std::string out;
    ws_append_frame(out, WsOpcode::binary, std::string(size, 'x'), 0);
    EXPECT_EQ(out.size(), head + size);
  }
  std::string out;
  ws_append_close(out, 1000, 0);
  EXPECT_EQ(out.substr(6), std::string("\x03\xe8"));
}

TEST(WsDecoder, ReadsFramesSplitAtEveryByte) {
  const std::string bytes = frame(0x82, "first") + frame(0x89, "ping") + frame(0x82, std::string(300, 'y')) +
                            frame(0x88, "\x03\xe8") + frame(0x82, std::string(70'000, 'z'));
  for (std::size_t cut = 0; cut <= 330; ++cut) {
    Frames sink;
    WsDecoder decoder;
    EXPECT_EQ(decoder.feed(std::string_view(bytes).substr(0, cut), 100'000, sink), WsFault::none);
    EXPECT_EQ(decoder.feed(std::string_view(bytes).substr(cut), 100'000, sink), WsFault::none);
    ASSERT_EQ(sink.seen.size(), 5u) << cut;
    EXPECT_EQ(sink.seen[0].second, "first");
    EXPECT_EQ(sink.seen[1].first, WsOpcode::ping);
    EXPECT_EQ(sink.seen[2].second, std::string(300, 'y'));
    EXPECT_EQ(sink.seen[3].first, WsOpcode::close);
    EXPECT_EQ(sink.seen[4].second.size(), 70'000u);
    EXPECT_LE(decoder.bytes_held(), 15u);  // nothing but an empty string's own
  }
}

TEST(WsDecoder, NamesEveryFault) {
  const std::vector<std::pair<std::string, WsFault>> faulty = {
      {frame(0xc2, "x"), WsFault::reserved_bits},
      {frame(0xa2, "x"), WsFault::reserved_bits},
      {frame(0x92, "x"), WsFault::reserved_bits},
      {frame(0x83, "x"), WsFault::unknown_opcode},
      {frame(0x8b, "x"), WsFault::unknown_opcode},
      {frame(0x02, "x"), WsFault::fragmented},
      {frame(0x80, "x"), WsFault::fragmented},
      {frame(0x09, "x"), WsFault::fragmented},
      {"\x82\x81mmmmx", WsFault::masked},
      {frame(0x89, std::string(126, 'p')), WsFault::long_control},
      {frame(0x82, std::string(101, 'p')), WsFault::too_large},
      {std::string("\x82\x7e\x00\x7d", 4), WsFault::length_form},
      {std::string("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10), WsFault::length_form},
      {std::string("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10), WsFault::too_large},
  };
  for (const auto& [bytes, fault] : faulty) {
    Frames sink;
    WsDecoder decoder;
    EXPECT_EQ(decoder.feed(bytes, 100, sink), fault) << to_string(fault);
    EXPECT_TRUE(sink.seen.empty());
  }
}

TEST(WsDecoder, StopsWhenTheSinkHasHadEnough) {
  Frames sink;
  sink.stop_after = 1;
  WsDecoder decoder;
  decoder.feed(frame(0x88, "") + frame(0x82, "late"), 100, sink);
  EXPECT_EQ(sink.seen.size(), 1u);
}

class Upgrade : public testing::Test {
 protected:
  // The key of RFC 6455 section 1.3: "the sample nonce".
  WsKey key_{'t', 'h', 'e', ' ', 's', 'a', 'm', 'p', 'l', 'e', ' ', 'n', 'o', 'n', 'c', 'e'};
  const std::string good_ =
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: fieldgate.v1\r\n\r\n";
  std::string without(const std::string& part, const std::string& instead = {}) const {
    std::string text = good_;
    return text.replace(text.find(part), part.size(), instead);
  }
};

TEST_F(Upgrade, ComputesTheAcceptValueOfTheRfcsExample) { EXPECT_EQ(ws_accept(key_), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); }

TEST_F(Upgrade, RequestCarriesEveryRequiredHeader) {
  const std::string request = ws_upgrade_request({"gw:8443", "/v1/connect", "fieldgate.v1", "secret"}, key_);
  for (const char* part : {"GET /v1/connect HTTP/1.1\r\n", "\r\nHost: gw:8443\r\n", "\r\nUpgrade: websocket\r\n",
                           "\r\nConnection: Upgrade\r\n", "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                           "\r\nSec-WebSocket-Version: 13\r\n", "\r\nSec-WebSocket-Protocol: fieldgate.v1\r\n",
                           "\r\nAuthorization: Bearer secret\r\n"}) {
    EXPECT_NE(request.find(part), std::string::npos) << part;
  }
  EXPECT_TRUE(request.ends_with("\r\n\r\n"));
  EXPECT_EQ(ws_upgrade_request({"h", "/", "p", ""}, key_).find("Authorization"), std::string::npos);
}

TEST_F(Upgrade, AcceptsAGoodAnswerAndLeavesWhatFollows) {
  const WsAnswer answer = ws_read_answer(good_ + "more", key_, "fieldgate.v1");
  EXPECT_EQ(answer.state, WsAnswer::State::accepted);
  EXPECT_EQ(answer.consumed, good_.size());
  for (std::size_t cut = 0; cut < good_.size(); ++cut) {
    EXPECT_EQ(ws_read_answer(good_.substr(0, cut), key_, "fieldgate.v1").state, WsAnswer::State::incomplete) << cut;
  }
}

TEST_F(Upgrade, ReportsARefusalWithItsStatus) {
  const WsAnswer answer = ws_read_answer("HTTP/1.1 401 Unauthorized\r\n\r\n", key_, "fieldgate.v1");
  EXPECT_EQ(answer.state, WsAnswer::State::refused);
  EXPECT_EQ(answer.http_status, 401u);
}

TEST_F(Upgrade, RefusesAnAnswerThatBreaksARule) {
  const std::vector<std::pair<std::string, std::string_view>> bad = {
      {without("HTTP/1.1", "HTTP/1.0"), "status_line"},
      {without("101", "1x1"), "status_line"},
      {without("upgrade: WebSocket\r\n"), "upgrade_header"},
      {without("keep-alive, Upgrade", "keep-alive"), "connection_header"},
      {without("s3pPLM", "s3pPLN"), "accept_header"},
      {without("fieldgate.v1", "other"), "subprotocol"},
      {without("Sec-WebSocket-Protocol: fieldgate.v1\r\n"), "subprotocol"},
      {without("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), "extensions"},
      {"HTTP/1.1 101 OK\r\n\r\n", "upgrade_header"},
      {std::string(9'000, 'x'), "too_long"},
  };
  for (const auto& [text, why] : bad) {
    const WsAnswer answer = ws_read_answer(text, key_, "fieldgate.v1");
    EXPECT_EQ(answer.state, WsAnswer::State::malformed) << why;
    EXPECT_EQ(answer.fault, why);
  }
}

}  // namespace
}  // namespace fieldgate::sim
