// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/mqtt/scripted_broker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>

namespace fieldgate::mqtt {
namespace {

constexpr int k_patience_ms = 60'000;

std::size_t number_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text.at(at)) * 256U + static_cast<unsigned char>(text.at(at + 1));
}

}  // namespace

ScriptedBroker::ScriptedBroker() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(listener_, 1), 0);
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
}

ScriptedBroker::ScriptedBroker(const test::Identity& identity) : ScriptedBroker() {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  tls_.reset(SSL_CTX_new(TLS_server_method()));
  const auto pem = [](const std::string& text) {
    return std::unique_ptr<BIO, int (*)(BIO*)>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  };
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      PEM_read_bio_X509(pem(identity.certificate).get(), nullptr, nullptr, nullptr), X509_free);
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
      PEM_read_bio_PrivateKey(pem(identity.key).get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  EXPECT_EQ(SSL_CTX_use_certificate(tls_.get(), certificate.get()), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey(tls_.get(), key.get()), 1);
}

ScriptedBroker::~ScriptedBroker() {
  hang_up();
  ::close(listener_);
}

void ScriptedBroker::accept() {
  hang_up();
  pollfd ready{listener_, POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, k_patience_ms), 1) << "nobody connects";
  peer_ = ::accept(listener_, nullptr, nullptr);
  if (!tls_) return;
  session_.reset(SSL_new(tls_.get()));
  SSL_set_fd(session_.get(), peer_);
  ASSERT_EQ(SSL_accept(session_.get()), 1);
}

bool ScriptedBroker::knocked(std::chrono::milliseconds patience) const {
  pollfd ready{listener_, POLLIN, 0};
  return ::poll(&ready, 1, static_cast<int>(patience.count())) == 1;
}

void ScriptedBroker::hang_up() {
  if (peer_ >= 0) ::close(peer_);
  peer_ = -1;
  session_.reset();
  in_.clear();
}

bool ScriptedBroker::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = session_ ? SSL_write(session_.get(), bytes.data(), static_cast<int>(bytes.size()))
                                  : ::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

ssize_t ScriptedBroker::receive(char* to, std::size_t size) const {
  return session_ ? SSL_read(session_.get(), to, static_cast<int>(size)) : ::recv(peer_, to, size, 0);
}

std::string ScriptedBroker::next(std::chrono::milliseconds patience) {
  for (;;) {
    std::size_t length = 0;
    std::size_t at = 1;
    for (int shift = 0; at < in_.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(in_[at++]);
      length |= static_cast<std::size_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) {
        if (in_.size() < at + length) break;
        std::string packet = in_.substr(0, 1) + in_.substr(at, length);
        in_.erase(0, at + length);
        return packet;
      }
    }
    pollfd ready{peer_, POLLIN, 0};
    std::array<char, 4'096> buffer;
    const bool has = session_ && SSL_pending(session_.get()) > 0;
    if (!has && ::poll(&ready, 1, static_cast<int>(patience.count())) != 1) return {};
    const ssize_t got = receive(buffer.data(), buffer.size());
    if (got <= 0) return {};
    in_.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

bool ScriptedBroker::ended(std::chrono::milliseconds patience) const {
  using std::chrono::steady_clock;
  const auto deadline = steady_clock::now() + patience;
  for (auto now = steady_clock::now(); now < deadline; now = steady_clock::now()) {
    pollfd ready{peer_, POLLIN, 0};
    std::array<char, 4'096> buffer;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now);
    if (::poll(&ready, 1, static_cast<int>(left.count())) != 1) return false;
    if (::recv(peer_, buffer.data(), buffer.size(), 0) <= 0) return true;
  }
  return false;
}

std::string suback_to(const std::string& subscribe, std::string_view refused) {
  std::string answer = subscribe.substr(1, 2) + '\0';  // its packet id, no properties
  for (std::size_t at = 4; at < subscribe.size();) {   // after the properties, of which it has none
    const std::size_t size = number_at(subscribe, at);
    const bool taken = refused.empty() || subscribe.substr(at + 2, size).find(refused) == std::string::npos;
    answer += taken ? '\x01' : '\x87';
    at += 2 + size + 1;
  }
  return std::string("\x90") + static_cast<char>(answer.size()) + answer;
}

std::string_view topic_of(std::string_view publish) { return publish.substr(3, number_at(publish, 1)); }

std::string_view id_of(std::string_view publish) { return publish.substr(3 + number_at(publish, 1), 2); }

}  // namespace fieldgate::mqtt
