// SPDX-License-Identifier: Apache-2.0
//
// The codec and the upgrade gate against a WebSocket client that nobody here
// wrote: Beast's, over its in-memory stream.
#include "gateway/net/upgrade.h"
#include "gateway/net/ws_codec.h"
#include "tests/unit/net/ws_recorder.h"

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/_experimental/test/stream.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>

#include <optional>

namespace fieldgate::test {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using boost::system::error_code;

struct Pair {
  Pair() { client.next_layer().connect(server); }

  // Lets the client go on, and takes what it has sent.
  std::string from_client() {
    io.restart();
    io.poll();
    std::string bytes(server.str());
    server.clear();
    return bytes;
  }

  void to_client(std::string_view bytes) {
    asio::write(server, asio::buffer(bytes));
    io.restart();
    io.poll();
  }

  void upgrade() {
    websocket::permessage_deflate deflate;
    deflate.client_enable = true;
    client.set_option(deflate);  // offered; never granted
    client.set_option(websocket::stream_base::decorator([](websocket::request_type& request) {
      request.set(beast::http::field::sec_websocket_protocol, k_subprotocol);
      request.set(beast::http::field::authorization, "Bearer secret-token");
    }));
    std::optional<error_code> done;
    websocket::response_type response;
    client.async_handshake(response, "gateway.example:8443", std::string(k_connect_path),
                           [&done](error_code error) { done = error; });
    std::string request = from_client();
    const auto result = parse_upgrade(std::as_bytes(std::span(request)), {});
    ASSERT_TRUE(std::holds_alternative<UpgradeAccepted>(result));
    EXPECT_EQ(std::get<UpgradeAccepted>(result).token, "secret-token");
    std::string answer;
    append_upgrade_accepted(answer, std::get<UpgradeAccepted>(result).key);
    to_client(answer);
    ASSERT_TRUE(done.has_value());
    ASSERT_FALSE(*done) << done->message();
    EXPECT_EQ(response[beast::http::field::sec_websocket_protocol], std::string(k_subprotocol));
    client.binary(true);
  }

  // Feeds the codec in pieces of `piece` bytes.
  Verdict feed(std::string bytes, std::size_t piece) {
    const auto all = std::as_writable_bytes(std::span(bytes));
    for (std::size_t at = 0; at < all.size(); at += piece) {
      if (const Verdict end = codec.feed(all.subspan(at, std::min(piece, all.size() - at)), sink)) return end;
    }
    return std::nullopt;
  }

  asio::io_context io;
  websocket::stream<beast::test::stream> client{io};
  beast::test::stream server{io};
  WsCodec codec{1'000'000};
  WsRecorder sink;
};

std::string filler(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + size);
  return text;
}

TEST(WsCodecAgainstBeast, UnderstandsItsMessagesWholeAndFragmented) {
  for (const std::size_t piece : {1U, 7U, 1'000'000U}) {
    for (const bool fragment : {false, true}) {
      Pair pair;
      pair.upgrade();
      pair.client.auto_fragment(fragment);
      pair.client.write_buffer_bytes(64);
      for (const std::size_t size : {0U, 1U, 64U, 125U, 126U, 127U, 65'535U, 65'536U, 70'000U}) {
        const std::string text = filler(size);
        std::optional<error_code> done;
        pair.client.async_write(asio::buffer(text), [&done](error_code error, std::size_t) { done = error; });
        EXPECT_EQ(pair.feed(pair.from_client(), piece), std::nullopt);
        ASSERT_TRUE(done.has_value());
        EXPECT_EQ(pair.sink.calls.back(), "message " + text) << "of " << size << " bytes";
        EXPECT_FALSE(pair.codec.mid_message());
      }
    }
  }
}

TEST(WsCodecAgainstBeast, WritesMessagesThatItUnderstands) {
  Pair pair;
  pair.upgrade();
  for (const std::size_t size : {0U, 1U, 125U, 126U, 65'535U, 65'536U, 70'000U}) {
    const std::string text = filler(size);
    std::string frame;
    append_frame(frame, WsOpcode::binary, std::as_bytes(std::span(text)));
    beast::flat_buffer buffer;
    std::optional<error_code> done;
    pair.client.async_read(buffer, [&done](error_code error, std::size_t) { done = error; });
    pair.to_client(frame);
    ASSERT_TRUE(done.has_value());
    EXPECT_FALSE(*done) << done->message();
    EXPECT_TRUE(pair.client.got_binary());
    EXPECT_EQ(beast::buffers_to_string(buffer.data()), text);
  }
}

TEST(WsCodecAgainstBeast, ExchangesPingsAndPongs) {
  Pair pair;
  pair.upgrade();
  pair.client.async_ping("hello", [](error_code) {});
  EXPECT_EQ(pair.feed(pair.from_client(), 3), std::nullopt);
  EXPECT_EQ(pair.sink.calls.back(), "ping hello");

  std::vector<std::string> heard;
  pair.client.control_callback([&heard](websocket::frame_type type, beast::string_view payload) {
    heard.push_back((type == websocket::frame_type::pong ? "pong " : "other ") + std::string(payload));
  });
  beast::flat_buffer buffer;
  pair.client.async_read(buffer, [](error_code, std::size_t) {});
  std::string frames;
  append_frame(frames, WsOpcode::pong, std::as_bytes(std::span("hello", 5)));
  append_frame(frames, WsOpcode::ping, std::as_bytes(std::span("there", 5)));
  pair.to_client(frames);
  EXPECT_EQ(heard.front(), "pong hello");
  EXPECT_EQ(pair.feed(pair.from_client(), 100), std::nullopt);
  EXPECT_EQ(pair.sink.calls.back(), "pong there");
}

TEST(WsCodecAgainstBeast, TakesItsCloseAndAnswersIt) {
  Pair pair;
  pair.upgrade();
  std::optional<error_code> done;
  pair.client.async_close({websocket::close_code::going_away, "moving"}, [&done](error_code error) { done = error; });
  EXPECT_EQ(pair.feed(pair.from_client(), 2), std::nullopt);
  EXPECT_EQ(pair.sink.calls.back(), "close 1001 moving");
  std::string frame;
  append_close(frame, 1001, "");
  pair.to_client(frame);
  pair.server.close();
  pair.from_client();
  ASSERT_TRUE(done.has_value());
  EXPECT_FALSE(*done) << done->message();
}

TEST(WsCodecAgainstBeast, HasItsCloseUnderstoodAndAnswered) {
  Pair pair;
  pair.upgrade();
  beast::flat_buffer buffer;
  std::optional<error_code> done;
  pair.client.async_read(buffer, [&done](error_code error, std::size_t) { done = error; });
  std::string frame;
  append_close(frame, info(EndReason::taken_over).close_code, "taken over");
  pair.codec.close_sent();
  pair.to_client(frame);
  EXPECT_EQ(pair.feed(pair.from_client(), 1), std::nullopt);
  EXPECT_TRUE(pair.codec.close_received());
  EXPECT_EQ(pair.sink.calls.back(), "close 4014 ");  // Beast echoes the code alone
  pair.server.close();
  pair.from_client();
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(*done, websocket::error::closed);
  EXPECT_EQ(pair.client.reason().code, 4014);
  EXPECT_EQ(pair.client.reason().reason, "taken over");
}

}  // namespace
}  // namespace fieldgate::test
