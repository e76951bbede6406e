// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_channel.h"
#include "tests/unit/net/tls_fixture.h"

#include <gtest/gtest.h>

namespace fieldgate::test {
namespace {

// Content type and length of each TLS record in `wire`.
std::vector<std::pair<int, std::size_t>> records(std::string_view wire) {
  std::vector<std::pair<int, std::size_t>> found;
  while (wire.size() >= 5) {
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(wire[i])); };
    const std::size_t length = byte(3) << 8 | byte(4);
    found.emplace_back(static_cast<int>(byte(0)), length);
    wire.remove_prefix(std::min(5 + length, wire.size()));
  }
  return found;
}

INSTANTIATE_TEST_SUITE_P(TlsChannel, TlsVersions, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) { return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(TlsVersions, CarriesDataBothWays) {
  TlsPair pair(*site.load(), client());
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  pair.client.write("up");
  pair.run();
  EXPECT_EQ(pair.received, "up");
  EXPECT_EQ(pair.status, TlsStatus::want_more);
  EXPECT_TRUE(pair.channel.write(pair.io, as_bytes("down")));
  pair.deliver();
  EXPECT_EQ(pair.client.plaintext(), "down");
}

TEST_P(TlsVersions, PrefersAes128GcmWhateverTheClientPrefers) {
  auto options = client();
  options.tls13_suites = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
  options.tls12_suites = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256";
  TlsPair pair(*site.load(), options);
  pair.run();
  ASSERT_TRUE(pair.established) << pair.io.failure().text;
  const auto peer = pair.channel.peer().value();
  EXPECT_STREQ(peer.cipher, is_13() ? "TLS_AES_128_GCM_SHA256" : "ECDHE-ECDSA-AES128-GCM-SHA256");
  EXPECT_STREQ(peer.version, is_13() ? "TLSv1.3" : "TLSv1.2");
  EXPECT_FALSE(peer.resumed);
}

TEST_P(TlsVersions, TakesTheHandshakeAndTheFirstDataInSingleBytes) {
  TlsPair pair(*site.load(), client(&site.device));
  bool sent = false;
  for (std::string up = pair.client.take(); !up.empty(); up = pair.client.take()) {
    for (const char c : up) pair.to_server({&c, 1});
    pair.client.receive(std::exchange(pair.io.out(), {}));
    if (pair.client.established() && !std::exchange(sent, true)) pair.client.write("first");
  }
  EXPECT_TRUE(pair.established);
  EXPECT_EQ(pair.received, "first");
}

TEST_P(TlsVersions, TakesARecordSplitAtEveryByte) {
  TlsPair pair(*site.load(), client());
  pair.run();
  pair.client.write("first");
  pair.client.write("second");
  const std::string once = pair.client.take();
  pair.to_server(once);
  for (std::size_t cut = 1; cut < once.size(); ++cut) {
    pair.received.clear();
    pair.client.write("first");
    pair.client.write("second");
    const std::string wire = pair.client.take();
    pair.to_server(wire.substr(0, cut));
    EXPECT_EQ(pair.status, TlsStatus::want_more);
    pair.to_server(wire.substr(cut));
    EXPECT_EQ(pair.status, TlsStatus::want_more);
    EXPECT_EQ(pair.received, "firstsecond") << "cut at " << cut;
  }
}

TEST_P(TlsVersions, WritesOneRecordForASmallMessageAndOneForEach16KiB) {
  TlsPair pair(*site.load(), client());
  pair.run();
  EXPECT_TRUE(pair.channel.write(pair.io, as_bytes("small")));
  EXPECT_EQ(records(pair.io.out()).size(), 1U);
  pair.deliver();
  const std::string big(50'000, 'b');
  EXPECT_TRUE(pair.channel.write(pair.io, as_bytes(big)));
  const auto found = records(pair.io.out());
  ASSERT_EQ(found.size(), 4U);
  for (const auto& [type, size] : found) EXPECT_EQ(type, SSL3_RT_APPLICATION_DATA);
  pair.deliver();
  EXPECT_EQ(pair.client.plaintext(), "small" + big);
}

TEST_P(TlsVersions, TakesManyRecordsOfOneRead) {
  TlsPair pair(*site.load(), client());
  pair.run();
  std::string all;
  for (int i = 0; i < 100; ++i) {
    const std::string piece(static_cast<std::size_t>(i * 50 + 1), static_cast<char>('a' + i % 26));
    pair.client.write(piece);
    all += piece;
  }
  pair.run();
  EXPECT_EQ(pair.received, all);
  EXPECT_EQ(pair.deliveries, 100);
}

TEST_P(TlsVersions, StopsWhereTheSinkSaysSo) {
  TlsPair pair(*site.load(), client());
  pair.run();
  pair.client.write("one");
  pair.client.write("two");
  const std::string wire = pair.client.take();
  std::string seen;
  const auto status = pair.channel.feed(pair.io, as_bytes(wire), [&seen](std::span<std::byte> plain) {
    seen.append(reinterpret_cast<const char*>(plain.data()), plain.size());
    return false;
  });
  EXPECT_EQ(status, TlsStatus::stopped);
  EXPECT_EQ(seen, "one");
  // What was asked for after the stop still goes out.
  EXPECT_TRUE(pair.channel.write(pair.io, as_bytes("goodbye")));
  pair.channel.start_close(pair.io);
  pair.client.receive(std::exchange(pair.io.out(), {}));
  EXPECT_EQ(pair.client.plaintext(), "goodbye");
  EXPECT_TRUE(pair.client.closed());
}

TEST_P(TlsVersions, AnswersFromWithinTheSink) {
  TlsPair pair(*site.load(), client());
  pair.run();
  pair.client.write("ping");
  const std::string wire = pair.client.take();
  pair.channel.feed(pair.io, as_bytes(wire),
                    [&pair](std::span<std::byte>) { return pair.channel.write(pair.io, as_bytes("pong")); });
  pair.deliver();
  EXPECT_EQ(pair.client.plaintext(), "pong");
}

TEST_P(TlsVersions, SaysClosedAfterCloseNotifyAndTruncatedWithoutIt) {
  TlsPair pair(*site.load(), client());
  pair.run();
  EXPECT_EQ(pair.channel.eof(), TlsStatus::truncated);
  pair.client.write("last words");
  pair.client.close();
  pair.run();
  EXPECT_EQ(pair.received, "last words");
  EXPECT_EQ(pair.status, TlsStatus::closed);
  EXPECT_EQ(pair.channel.eof(), TlsStatus::closed);
}

TEST_P(TlsVersions, GoesOnReadingAfterItsOwnCloseNotify) {
  TlsPair pair(*site.load(), client());
  pair.run();
  pair.channel.start_close(pair.io);
  EXPECT_EQ(records(pair.io.out()).size(), 1U);
  pair.channel.start_close(pair.io);
  EXPECT_EQ(records(pair.io.out()).size(), 1U) << "said once only";
  EXPECT_FALSE(pair.channel.write(pair.io, as_bytes("too late")));
  pair.client.write("still here");  // crosses our close_notify
  pair.run();
  EXPECT_EQ(pair.received, "still here");
  pair.client.receive(std::exchange(pair.io.out(), {}));
  EXPECT_TRUE(pair.client.closed());
  pair.client.close();
  pair.run();
  EXPECT_EQ(pair.status, TlsStatus::closed);
}

TEST_P(TlsVersions, FailsWithAnAlertOnGarbageAndOnATamperedRecord) {
  const auto context = site.load();
  TlsPair pair(*context, client());
  pair.to_server("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(pair.status, TlsStatus::failed);
  EXPECT_EQ(pair.io.failure().text, "http request");
  EXPECT_FALSE(pair.io.failure().certificate);

  TlsPair tampered(*context, client());
  tampered.run();
  tampered.client.write("data");
  std::string wire = tampered.client.take();
  wire.back() = static_cast<char>(wire.back() ^ 1);
  tampered.to_server(wire);
  EXPECT_EQ(tampered.status, TlsStatus::failed);
  EXPECT_EQ(tampered.received, "");
  tampered.client.receive(std::exchange(tampered.io.out(), {}));
  EXPECT_NE(tampered.client.error().find("bad record mac"), std::string::npos) << tampered.client.error();
}

TEST_P(TlsVersions, ManyChannelsShareOneIo) {
  const auto context = site.load();
  TlsIo io;
  struct Peer {
    TlsChannel channel;
    std::unique_ptr<MemoryTlsClient> client;
    bool established = false;
    std::string received;
  };
  std::vector<Peer> peers(10);
  for (auto& peer : peers) {
    peer.channel = TlsChannel(*context, io);
    peer.client = std::make_unique<MemoryTlsClient>(client());
  }
  // In turn, so that all handshakes are under way at once; one is dropped in the middle.
  for (int round = 0; round < 8; ++round) {
    for (std::size_t i = 0; i < peers.size(); ++i) {
      if (round == 1 && i == 4) peers[i].channel = TlsChannel();
      if (!peers[i].channel) continue;
      const std::string up = peers[i].client->take();
      auto bytes = as_bytes(up);
      if (!peers[i].established && !up.empty()) {
        peers[i].established = peers[i].channel.handshake(io, bytes) == TlsStatus::established;
        bytes = io.unread();
      }
      if (peers[i].established) {
        peers[i].channel.feed(io, bytes, [&](std::span<std::byte> plain) {
          peers[i].received.append(reinterpret_cast<const char*>(plain.data()), plain.size());
          return true;
        });
      }
      peers[i].client->receive(std::exchange(io.out(), {}));
      if (round == 4) peers[i].client->write("from " + std::to_string(i));
    }
  }
  for (std::size_t i = 0; i < peers.size(); ++i) {
    EXPECT_EQ(peers[i].received, i == 4 ? "" : "from " + std::to_string(i));
  }
}

TEST(TlsChannel, HandsOverDataThatCameWithTheEndOfTheHandshake) {
  const TlsSite site;
  TlsPair pair(*site.load(), site.client());  // TLS 1.3: the client need not wait
  pair.to_server(pair.client.take());
  pair.client.receive(std::exchange(pair.io.out(), {}));
  ASSERT_TRUE(pair.client.established());
  pair.client.write("at once");
  pair.to_server(pair.client.take());
  EXPECT_TRUE(pair.established);
  EXPECT_EQ(pair.received, "at once");
}

TEST(TlsChannel, RefusesTls11) {
  const TlsSite site;
  auto options = site.client();
  options.version_min = options.version_max = TLS1_1_VERSION;
  options.tls12_suites = "ALL:@SECLEVEL=0";
  TlsPair pair(*site.load(), options);
  pair.run();
  EXPECT_EQ(pair.status, TlsStatus::failed);
  EXPECT_EQ(pair.io.failure().text, "unsupported protocol");
}

TEST(TlsChannel, RefusesRenegotiation) {
  const TlsSite site;
  auto options = site.client();
  options.version_max = TLS1_2_VERSION;
  TlsPair pair(*site.load(), options);
  pair.run();
  ASSERT_TRUE(pair.established);
  SSL_renegotiate(pair.client.native());
  pair.client.receive("");
  pair.run();
  EXPECT_NE(pair.client.error().find("no renegotiation"), std::string::npos) << pair.client.error();
}

TEST(TlsChannel, AnswersAKeyUpdate) {
  const TlsSite site;
  TlsPair pair(*site.load(), site.client());
  pair.run();
  ASSERT_EQ(SSL_key_update(pair.client.native(), SSL_KEY_UPDATE_REQUESTED), 1);
  pair.client.write("after");
  pair.run();
  EXPECT_EQ(pair.received, "after");
  EXPECT_TRUE(pair.channel.write(pair.io, as_bytes("answer")));
  pair.deliver();
  EXPECT_EQ(pair.client.plaintext(), "answer");
}

// Nothing above TLS sees these, so nothing above TLS can meter them.
TEST(TlsChannel, EndsAFloodOfKeyUpdates) {
  const TlsSite site;
  TlsPair pair(*site.load(), site.client());
  pair.run();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(SSL_key_update(pair.client.native(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_EQ(SSL_do_handshake(pair.client.native()), 1);
  }
  pair.run();
  EXPECT_EQ(pair.status, TlsStatus::failed);
  EXPECT_EQ(pair.io.failure().text, "too many post-handshake messages");
}

}  // namespace
}  // namespace fieldgate::test
