// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/ws_codec.h"
#include "tests/unit/net/ws_recorder.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <numeric>

namespace fieldgate::test {
namespace {

using Calls = std::vector<std::string>;

// What the codec makes of `stream`; first makes sure that it makes the same of it
// cut in two at every place, and cut into single bytes.
Calls hear(const std::string& stream, std::uint32_t message_bytes_max = 1000) {
  const Calls whole = run_codec(stream, {}, message_bytes_max);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    EXPECT_EQ(run_codec(stream, {cut}, message_bytes_max), whole) << "cut at " << cut;
  }
  std::vector<std::size_t> everywhere(stream.size());
  std::iota(everywhere.begin(), everywhere.end(), 1);
  EXPECT_EQ(run_codec(stream, everywhere, message_bytes_max), whole) << "cut everywhere";
  return whole;
}

std::string frame(std::uint8_t opcode, std::string payload, bool fin = true) {
  return ClientFrame{.fin = fin, .opcode = opcode, .payload = std::move(payload)}.bytes();
}

std::string close_payload(std::uint16_t code, std::string_view reason = "") {
  std::string payload;
  payload.push_back(static_cast<char>(code >> 8));
  payload.push_back(static_cast<char>(code & 0xFF));
  return payload.append(reason);
}

const Calls k_protocol = {"end websocket_protocol"};

TEST(WsCodecSection52, DeliversABinaryMessage) {
  EXPECT_EQ(hear(frame(2, "Hello")), (Calls{"frame 2 11", "message Hello", "idle"}));
}

TEST(WsCodecSection52, DeliversAnEmptyMessage) {
  EXPECT_EQ(hear(frame(2, "")), (Calls{"frame 2 6", "message ", "idle"}));
}

TEST(WsCodecSection52, DeliversSeveralMessagesOfOneRead) {
  EXPECT_EQ(hear(frame(2, "a") + frame(2, "") + frame(2, "bc")),
            (Calls{"frame 2 7", "message a", "frame 2 6", "message ", "frame 2 8", "message bc", "idle"}));
}

TEST(WsCodecSection52, TakesEachLengthFormInItsRange) {
  for (const std::size_t size : {1U, 7U, 8U, 9U, 125U}) {
    const std::string payload(size, 'x');
    EXPECT_EQ(hear(frame(2, payload)), (Calls{"frame 2 " + std::to_string(size + 6), "message " + payload, "idle"}));
  }
  for (const std::size_t size : {126U, 127U, 300U}) {
    const std::string payload(size, 'y');
    EXPECT_EQ(hear(frame(2, payload)), (Calls{"frame 2 " + std::to_string(size + 8), "message " + payload, "idle"}));
  }
  for (const std::size_t size : {65'535U, 65'536U}) {
    const std::string payload(size, 'z');
    const std::string header = std::to_string(size + (size > 65'535 ? 14 : 8));
    EXPECT_EQ(run_codec(frame(2, payload), {5, 20, 40'000}, 70'000),
              (Calls{"frame 2 " + header, "message " + payload, "idle"}));
  }
}

TEST(WsCodecSection52, RefusesReservedBits) {
  for (std::uint8_t rsv = 1; rsv < 8; ++rsv) {
    EXPECT_EQ(hear(ClientFrame{.rsv = rsv, .payload = "x"}.bytes()), k_protocol);
  }
}

// With permessage-deflate, Boost 1.81 answers this frame with std::bad_alloc.
TEST(WsCodecSection52, RefusesACompressedFrameOfHugeDeclaredLength) {
  ClientFrame bomb{.rsv = 4, .declared = std::uint64_t{1} << 62, .payload = std::string(300, 'x')};
  EXPECT_EQ(hear(bomb.bytes()), k_protocol);
}

TEST(WsCodecSection52, RefusesReservedOpcodes) {
  for (const std::uint8_t opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) EXPECT_EQ(hear(frame(opcode, "x")), k_protocol);
}

TEST(WsCodecSection52, RefusesLengthsNotInTheMinimalForm) {
  for (const std::size_t size : {0U, 5U, 125U}) {
    EXPECT_EQ(hear(ClientFrame{.length_bytes = 2, .payload = std::string(size, 'x')}.bytes()), k_protocol);
    EXPECT_EQ(hear(ClientFrame{.length_bytes = 8, .payload = std::string(size, 'x')}.bytes()), k_protocol);
  }
  for (const std::size_t size : {126U, 200U}) {
    EXPECT_EQ(hear(ClientFrame{.length_bytes = 8, .payload = std::string(size, 'x')}.bytes()), k_protocol);
  }
  const std::string longest(65'535, 'x');
  EXPECT_EQ(run_codec(ClientFrame{.length_bytes = 8, .payload = longest}.bytes(), {}, 70'000), k_protocol);
}

TEST(WsCodecSection52, RefusesALengthWithTheTopBit) {
  EXPECT_EQ(hear(ClientFrame{.declared = std::uint64_t{1} << 63}.bytes()), k_protocol);
}

TEST(WsCodecSection51, RefusesUnmaskedFrames) {
  EXPECT_EQ(hear(ClientFrame{.masked = false, .payload = "x"}.bytes()), k_protocol);
  EXPECT_EQ(hear(ClientFrame{.opcode = 9, .masked = false}.bytes()), k_protocol);
  EXPECT_EQ(hear(ClientFrame{.opcode = 8, .masked = false}.bytes()), k_protocol);
}

TEST(WsCodecSection53, UnmasksTheExampleOfSection57) {
  // "A single-frame masked text message", as binary.
  const std::string stream = "\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
  EXPECT_EQ(hear(stream), (Calls{"frame 2 11", "message Hello", "idle"}));
}

TEST(WsCodecSection54, PutsFragmentsTogether) {
  EXPECT_EQ(hear(frame(2, "Hel", false) + frame(0, "", false) + frame(0, "lo ", false) + frame(0, "World")),
            (Calls{"frame 2 9", "frame 0 6", "frame 0 9", "frame 0 11", "message Hello World", "idle"}));
}

TEST(WsCodecSection54, PutsTogetherFragmentsThatAreAllEmpty) {
  EXPECT_EQ(hear(frame(2, "", false) + frame(0, "", false) + frame(0, "")),
            (Calls{"frame 2 6", "frame 0 6", "frame 0 6", "message ", "idle"}));
}

TEST(WsCodecSection54, TakesControlFramesBetweenFragments) {
  EXPECT_EQ(
      hear(frame(2, "a", false) + frame(9, "are you there") + frame(0, "b", false) + frame(10, "") + frame(0, "c")),
      (Calls{"frame 2 7", "frame 9 19", "ping are you there", "frame 0 7", "frame 10 6", "pong ", "frame 0 7",
             "message abc", "idle"}));
}

TEST(WsCodecSection54, StartsAfreshAfterAFragmentedMessage) {
  EXPECT_EQ(hear(frame(2, "a", false) + frame(0, "b") + frame(2, "c") + frame(2, "d", false) + frame(0, "e")),
            (Calls{"frame 2 7", "frame 0 7", "message ab", "frame 2 7", "message c", "frame 2 7", "frame 0 7",
                   "message de", "idle"}));
}

TEST(WsCodecSection54, RefusesAContinuationOfNothing) {
  EXPECT_EQ(hear(frame(0, "x")), k_protocol);
  EXPECT_EQ(hear(frame(0, "x", false)), k_protocol);
  EXPECT_EQ(hear(frame(2, "a", false) + frame(0, "b") + frame(0, "c")),
            (Calls{"frame 2 7", "frame 0 7", "message ab", "end websocket_protocol"}));
}

TEST(WsCodecSection54, RefusesNewDataInsideAFragmentedMessage) {
  const Calls refused{"frame 2 7", "end websocket_protocol"};
  EXPECT_EQ(hear(frame(2, "a", false) + frame(2, "b")), refused);
  EXPECT_EQ(hear(frame(2, "a", false) + frame(2, "b", false)), refused);
  EXPECT_EQ(hear(frame(2, "a", false) + frame(1, "b")), refused);
}

TEST(WsCodecSection55, RefusesFragmentedControlFrames) {
  for (const std::uint8_t opcode : {8, 9, 10}) EXPECT_EQ(hear(frame(opcode, "", false)), k_protocol);
}

TEST(WsCodecSection55, RefusesControlFramesOver125Bytes) {
  for (const std::uint8_t opcode : {8, 9, 10}) {
    EXPECT_EQ(hear(frame(opcode, std::string(126, 'x'))), k_protocol);
    EXPECT_EQ(hear(ClientFrame{.opcode = opcode, .length_bytes = 8, .payload = "x"}.bytes()), k_protocol);
  }
  const std::string longest(125, 'x');
  EXPECT_EQ(hear(frame(9, longest)), (Calls{"frame 9 131", "ping " + longest, "idle"}));
}

TEST(WsCodecSection551, ReportsACloseWithoutCode) {
  EXPECT_EQ(hear(frame(8, "")), (Calls{"frame 8 6", "close 1005 ", "idle"}));
}

TEST(WsCodecSection551, ReportsCodeAndReason) {
  EXPECT_EQ(hear(frame(8, close_payload(1000))), (Calls{"frame 8 8", "close 1000 ", "idle"}));
  EXPECT_EQ(hear(frame(8, close_payload(1001, "moving"))), (Calls{"frame 8 14", "close 1001 moving", "idle"}));
}

TEST(WsCodecSection551, RefusesAPayloadOfOneByte) {
  EXPECT_EQ(hear(frame(8, "\x03")), (Calls{"frame 8 7", "end websocket_protocol"}));
}

TEST(WsCodecSection551, RefusesAReasonThatIsNotUtf8) {
  for (const std::string reason : {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                                   "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xE2\x82"}) {
    EXPECT_EQ(hear(frame(8, close_payload(1000, reason))).back(), "end websocket_protocol");
  }
  for (const std::string reason : {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                                   "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "\xE2\x82\xAC 5"}) {
    EXPECT_EQ(hear(frame(8, close_payload(1000, reason))).at(1), "close 1000 " + reason);
  }
}

TEST(WsCodecSection551, IgnoresWhatFollowsTheClose) {
  EXPECT_EQ(hear(frame(8, close_payload(1000)) + frame(2, "late") + frame(3, "worse") + frame(8, "")),
            (Calls{"frame 8 8", "close 1000 ", "idle"}));
}

TEST(WsCodecSection551, DropsAnUnfinishedMessageAtTheClose) {
  EXPECT_EQ(hear(frame(2, "half", false) + frame(8, close_payload(1000))),
            (Calls{"frame 2 10", "frame 8 8", "close 1000 ", "idle"}));
}

TEST(WsCodecSection551, DropsMessagesAndPingsOnceOurCloseIsSent) {
  WsCodec codec(1000);
  WsRecorder sink;
  codec.close_sent();
  std::string stream = frame(2, "late") + frame(9, "?") + frame(10, "!") + frame(2, "x", false) + frame(0, "y") +
                       frame(8, close_payload(1000));
  EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(stream)), sink), std::nullopt);
  EXPECT_EQ(sink.calls,
            (Calls{"frame 2 10", "frame 9 7", "frame 10 7", "frame 2 7", "frame 0 7", "frame 8 8", "close 1000 "}));
  EXPECT_TRUE(codec.close_received());
}

TEST(WsCodecSection551, StillChecksFramesOnceOurCloseIsSent) {
  WsCodec codec(1000);
  WsRecorder sink;
  codec.close_sent();
  std::string stream = frame(2, "late") + frame(3, "");
  EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(stream)), sink), EndReason::websocket_protocol);
}

// Our Close may go out at any moment of the peer's stream.
TEST(WsCodecSection551, FindsThePeersCloseWhereverOursFallsInItsStream) {
  const std::string stream =
      frame(2, "he", false) + frame(9, "p") + frame(0, "llo") + frame(8, close_payload(1001, "r"));
  for (std::size_t cut = 0; cut < stream.size(); ++cut) {
    WsCodec codec(1000);
    WsRecorder sink;
    std::string first = stream.substr(0, cut);
    std::string second = stream.substr(cut);
    EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(first)), sink), std::nullopt);
    codec.close_sent();
    EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(second)), sink), std::nullopt);
    EXPECT_EQ(sink.calls.back(), "close 1001 r") << "cut at " << cut;
    EXPECT_FALSE(codec.mid_message());
  }
}

TEST(WsCodecSection552, HandsOverPingsAndPongs) {
  EXPECT_EQ(hear(frame(9, "") + frame(10, "data")), (Calls{"frame 9 6", "ping ", "frame 10 10", "pong data", "idle"}));
}

TEST(WsCodecSection56, RefusesText) {
  EXPECT_EQ(hear(frame(1, "{}")), (Calls{"end unsupported_data"}));
  EXPECT_EQ(hear(frame(1, "", false)), (Calls{"end unsupported_data"}));
}

TEST(WsCodecSection74, KnowsWhichCloseCodesMayBeSent) {
  for (const std::uint16_t code :
       {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
    EXPECT_EQ(hear(frame(8, close_payload(code))).at(1), "close " + std::to_string(code) + " ");
  }
  for (const std::uint16_t code : {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65'535}) {
    EXPECT_EQ(hear(frame(8, close_payload(code))).back(), "end websocket_protocol") << code;
  }
}

TEST(WsCodecLimit, TakesAMessageOfExactlyTheLimit) {
  EXPECT_EQ(hear(frame(2, std::string(200, 'x')), 200).back(), "idle");
  EXPECT_EQ(hear(frame(2, std::string(150, 'x'), false) + frame(0, std::string(50, 'x')), 200).back(), "idle");
}

TEST(WsCodecLimit, RefusesALargerMessageAsSoonAsTheHeaderTells) {
  // No byte of the masking key or the payload has come yet.
  EXPECT_EQ(hear(ClientFrame{.declared = 201}.bytes().substr(0, 4), 200), (Calls{"end frame_too_large"}));
  EXPECT_EQ(hear(ClientFrame{.declared = std::uint64_t{1} << 62}.bytes().substr(0, 10), 200),
            (Calls{"end frame_too_large"}));
}

TEST(WsCodecLimit, CountsAllFragmentsOfAMessage) {
  EXPECT_EQ(hear(frame(2, std::string(150, 'x'), false) + frame(0, std::string(51, 'x')), 200),
            (Calls{"frame 2 158", "end frame_too_large"}));
  EXPECT_EQ(hear(frame(2, std::string(200, 'x'), false) + frame(0, "", false) + frame(0, "x"), 200).back(),
            "end frame_too_large");
}

TEST(WsCodecLimit, DoesNotCountControlFramesAsPartOfAMessage) {
  EXPECT_EQ(hear(frame(2, std::string(200, 'x'), false) + frame(9, std::string(100, 'p')) + frame(0, ""), 200).back(),
            "idle");
}

TEST(WsCodecMemory, GrowsWithWhatArrivesAndNotWithWhatIsDeclared) {
  WsCodec codec(64 * 1024 * 1024);
  WsRecorder sink;
  const std::size_t before = mallinfo2().uordblks;
  std::string start = ClientFrame{.declared = 60 * 1024 * 1024, .payload = "few bytes"}.bytes();
  EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(start)), sink), std::nullopt);
  EXPECT_TRUE(codec.mid_message());
  EXPECT_LT(mallinfo2().uordblks, before + 4096);
}

TEST(WsCodecMemory, HoldsNothingBetweenMessages) {
  WsCodec codec(100'000);
  struct Quiet final : WsSink {
    Verdict on_frame(WsOpcode, std::size_t) override { return {}; }
    Verdict on_message(std::span<std::byte>) override { return {}; }
    Verdict on_ping(std::span<std::byte>) override { return {}; }
    Verdict on_pong(std::span<std::byte>) override { return {}; }
    void on_close(std::uint16_t, std::string_view) override {}
  } sink;
  std::string stream =
      frame(2, std::string(50'000, 'x'), false) + frame(9, "ping") + frame(0, std::string(20'000, 'y'));
  std::size_t before = 0;
  for (int round = 0; round < 2; ++round) {  // the first fills malloc's own caches
    before = mallinfo2().uordblks;
    std::string copy = stream;
    for (char& c : copy) ASSERT_EQ(codec.feed(std::as_writable_bytes(std::span(&c, 1)), sink), std::nullopt);
    EXPECT_FALSE(codec.mid_message());
  }
  EXPECT_EQ(mallinfo2().uordblks, before);
}

TEST(WsCodecMemory, FreesAnUnfinishedMessageWhenOurCloseIsSent) {
  WsCodec codec(100'000);
  WsRecorder sink;
  std::string stream = frame(2, std::string(50'000, 'x'), false);
  ASSERT_EQ(codec.feed(std::as_writable_bytes(std::span(stream)), sink), std::nullopt);
  const std::size_t before = mallinfo2().uordblks;
  if (before == 0) GTEST_SKIP() << "a sanitizer's allocator keeps no count";
  codec.close_sent();
  EXPECT_LE(mallinfo2().uordblks + 50'000, before);
}

TEST(WsCodec, IsMidMessageExactlyWhileTheSenderOwesBytes) {
  const std::string stream = frame(2, "ab") + frame(2, "c", false) + frame(9, "") + frame(0, "d");
  const std::vector<std::size_t> idle_at = {0, 8, stream.size()};
  WsCodec codec(1000);
  WsRecorder sink;
  for (std::size_t at = 0; at <= stream.size(); ++at) {
    const bool idle = std::ranges::find(idle_at, at) != idle_at.end();
    EXPECT_EQ(codec.mid_message(), !idle) << "after " << at << " bytes";
    if (at == stream.size()) break;
    std::string next = stream.substr(at, 1);
    ASSERT_EQ(codec.feed(std::as_writable_bytes(std::span(next)), sink), std::nullopt);
  }
}

TEST(WsCodec, StopsWhereTheSinkSaysSo) {
  for (const std::string_view kind : {"frame", "message", "ping", "pong"}) {
    WsCodec codec(1000);
    WsRecorder sink;
    sink.answer = [kind](std::string_view k) { return k == kind ? Verdict(EndReason::frame_rate) : std::nullopt; };
    std::string stream = frame(2, "m") + frame(9, "p") + frame(10, "q") + frame(8, "");
    EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(stream)), sink), EndReason::frame_rate);
    EXPECT_TRUE(sink.calls.back().starts_with(kind));
  }
}

// The flood that no message-rate limit sees: each one is metered.
TEST(WsCodec, ReportsEachOfManyEmptyContinuations) {
  WsCodec codec(1000);
  WsRecorder sink;
  int left = 100;
  sink.answer = [&left](std::string_view) { return --left == 0 ? Verdict(EndReason::frame_rate) : std::nullopt; };
  std::string stream = frame(2, "", false);
  for (int i = 0; i < 1000; ++i) stream += frame(0, "", false);
  EXPECT_EQ(codec.feed(std::as_writable_bytes(std::span(stream)), sink), EndReason::frame_rate);
  EXPECT_EQ(sink.calls.size(), 100U);
}

TEST(WsCodec, DeliversAWholeFrameWhereItLies) {
  struct Where final : WsSink {
    Verdict on_frame(WsOpcode, std::size_t) override { return {}; }
    Verdict on_message(std::span<std::byte> payload) override {
      at = payload.data();
      return {};
    }
    Verdict on_ping(std::span<std::byte>) override { return {}; }
    Verdict on_pong(std::span<std::byte>) override { return {}; }
    void on_close(std::uint16_t, std::string_view) override {}
    const std::byte* at = nullptr;
  } sink;
  WsCodec codec(1000);
  std::string stream = frame(2, "payload");
  const auto bytes = std::as_writable_bytes(std::span(stream));
  ASSERT_EQ(codec.feed(bytes, sink), std::nullopt);
  EXPECT_EQ(sink.at, bytes.data() + 6);
}

TEST(WsWriter, WritesEachLengthFormMinimally) {
  const auto header = [](std::uint64_t size) {
    std::string out;
    append_header(out, WsOpcode::binary, size);
    return out;
  };
  using namespace std::string_literals;
  EXPECT_EQ(header(0), "\x82\x00"s);
  EXPECT_EQ(header(125), "\x82\x7D"s);
  EXPECT_EQ(header(126), "\x82\x7E\x00\x7E"s);
  EXPECT_EQ(header(65'535), "\x82\x7E\xFF\xFF"s);
  EXPECT_EQ(header(65'536), "\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00"s);
}

TEST(WsWriter, CutsACloseReasonAtACharacterBoundary) {
  std::string out;
  append_close(out, 1001, "bye");
  EXPECT_EQ(out,
            "\x88\x05\x03\xE9"
            "bye");

  // 122 bytes, then a character of three: it does not fit in 123.
  out.clear();
  append_close(out, 4000, std::string(122, 'x') + "\xE2\x82\xAC");
  EXPECT_EQ(out.size(), 2U + 2U + 122U);
  EXPECT_EQ(static_cast<unsigned char>(out[1]), 124);

  out.clear();
  append_close(out, 4000,
               std::string(120, 'x') +
                   "\xE2\x82\xAC"
                   "more");
  EXPECT_EQ(out.size(), 2U + 125U);
  EXPECT_TRUE(out.ends_with("\xE2\x82\xAC"));
}

}  // namespace
}  // namespace fieldgate::test
