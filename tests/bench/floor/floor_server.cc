// SPDX-License-Identifier: Apache-2.0
//
// The floor: as little as can stand between the kernel and the decoder. One thread,
// a bare epoll loop, OpenSSL over a scratch buffer, WebSocket frames taken apart where
// they lie. No deadlines, no limits, no accounts, nobody is asked who they are:
// what it leaves out is what the gateway's session is for.
#include "gateway/net/upgrade.h"
#include "tests/bench/floor/job.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::bench {
namespace {

using std::chrono::steady_clock;

constexpr int k_events = 256;
constexpr std::size_t k_record_bytes_max = 16'384;

struct Connection {
  int fd = -1;
  SSL* ssl = nullptr;
  enum class Phase : std::uint8_t { tls, upgrade, messages } phase = Phase::tls;
  std::string partial;  // of a request or of a frame
  Device device;
};

class Floor {
 public:
  explicit Floor(const ServerOptions& options)
      : options_(options), tls_(load_tls(options.pki)), job_(options), listener_(listen_on(options.port)) {
    bio_ = BIO_new(make_method());
    BIO_set_data(bio_, this);
    watch(listener_, nullptr);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, k_events> events{};
    for (;;) {
      const int n = ::epoll_wait(epoll_, events.data(), k_events, timeout_ms());
      for (int i = 0; i < n; ++i) {
        auto* connection = static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (connection == nullptr) {
          accept();
        } else if (!serve(*connection)) {
          end(connection);
        }
      }
      if (!due_.empty() && steady_clock::now() >= ack_at_) acknowledge();
    }
  }

 private:
  static Floor& self(BIO* bio) { return *static_cast<Floor*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* to, std::size_t size, std::size_t* done) {
    Floor& floor = self(bio);
    BIO_clear_retry_flags(bio);
    *done = std::min(size, floor.in_.size());
    if (*done == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(to, floor.in_.data(), *done);
    floor.in_.remove_prefix(*done);
    return 1;
  }

  static int write(BIO* bio, const char* from, std::size_t size, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    self(bio).out_.append(from, size);
    *done = size;
    return 1;
  }

  static BIO_METHOD* make_method() {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "floor");
    BIO_meth_set_read_ex(method, read);
    BIO_meth_set_write_ex(method, write);
    BIO_meth_set_ctrl(method, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH; });
    BIO_meth_set_create(method, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return method;
  }

  void watch(int fd, Connection* connection) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connection;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void accept() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    auto* connection = new Connection;
    connection->fd = fd;
    connection->ssl = SSL_new(tls_->native());
    BIO_up_ref(bio_);
    SSL_set_bio(connection->ssl, bio_, bio_);
    if (options_.read_ahead) SSL_set_read_ahead(connection->ssl, 1);
    SSL_set_accept_state(connection->ssl);
    watch(fd, connection);
  }

  void end(Connection* connection) {
    std::erase(due_, connection);
    ::close(connection->fd);
    SSL_free(connection->ssl);
    delete connection;
  }

  // False: it is over.
  bool serve(Connection& c) {
    const ssize_t n = ::recv(c.fd, scratch_.data(), scratch_.size(), 0);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    in_ = {scratch_.data(), static_cast<std::size_t>(n)};
    if (c.phase == Connection::Phase::tls) {
      if (const int done = SSL_do_handshake(c.ssl); done != 1) return starved(c, done) && send_out(c);
      c.phase = Connection::Phase::upgrade;
    }
    while (!in_.empty() || SSL_has_pending(c.ssl) == 1) {
      std::size_t size = 0;
      if (SSL_read_ex(c.ssl, plain_.data(), plain_.size(), &size) != 1) {
        if (!starved(c, 0)) return false;
        break;
      }
      if (!take({plain_.data(), size}, c)) return false;
    }
    return send_out(c);
  }

  static bool starved(const Connection& c, int result) { return SSL_get_error(c.ssl, result) == SSL_ERROR_WANT_READ; }

  bool send_out(Connection& c) {
    if (!plain_out_.empty()) {
      std::size_t written = 0;
      SSL_write_ex(c.ssl, plain_out_.data(), plain_out_.size(), &written);
      plain_out_.clear();
    }
    if (out_.empty()) return true;
    const ssize_t sent = ::send(c.fd, out_.data(), out_.size(), MSG_NOSIGNAL);
    const bool all = sent == static_cast<ssize_t>(out_.size());
    out_.clear();
    return all;
  }

  bool take(std::span<char> bytes, Connection& c) {
    if (c.phase == Connection::Phase::upgrade) {
      c.partial.append(bytes.data(), bytes.size());
      return upgrade(c);
    }
    if (c.device.welcomed && options_.level == Level::tls) return true;
    if (c.partial.empty()) {
      const std::size_t taken = frames(bytes, c);
      if (taken <= bytes.size()) c.partial.assign(bytes.data() + taken, bytes.size() - taken);
      return taken <= bytes.size();
    }
    c.partial.append(bytes.data(), bytes.size());
    const std::size_t taken = frames(c.partial, c);
    if (taken > c.partial.size()) return false;
    c.partial.erase(0, taken);
    return true;
  }

  bool upgrade(Connection& c) {
    const std::size_t end = c.partial.find("\r\n\r\n");
    if (end == std::string::npos) return c.partial.size() < k_upgrade_bytes_max;
    constexpr std::string_view name = "Sec-WebSocket-Key: ";
    const std::size_t key = c.partial.find(name);
    if (key == std::string::npos) return false;
    const std::size_t from = key + name.size();
    append_upgrade_accepted(plain_out_, std::string_view(c.partial).substr(from, c.partial.find('\r', from) - from));
    c.phase = Connection::Phase::messages;
    c.partial = {};
    return true;
  }

  // Whole frames at the front of `bytes`: how many bytes they are; more than there
  // are: the peer broke the protocol.
  std::size_t frames(std::span<char> bytes, Connection& c) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    const std::size_t fault = bytes.size() + 1;
    std::size_t at = 0;
    while (bytes.size() - at >= 6) {
      std::size_t length = byte(at + 1) & 0x7F;
      std::size_t mask_at = at + 2;
      if (length == 126) {
        length = std::size_t{byte(at + 2)} << 8 | byte(at + 3);
        mask_at = at + 4;
      } else if (length == 127) {
        return fault;  // no device of the benches has so much to say
      }
      if ((byte(at + 1) & 0x80) == 0) return fault;
      if (mask_at + 4 + length > bytes.size()) break;
      const std::span<char> payload = bytes.subspan(mask_at + 4, length);
      unmask(payload, bytes.data() + mask_at);
      if (byte(at) != 0x82 || !message(payload, c)) return fault;  // a whole binary message
      at = mask_at + 4 + length;
    }
    return at;
  }

  static void unmask(std::span<char> payload, const char* mask) {
    std::uint64_t key = 0;
    std::memcpy(&key, mask, 4);
    key |= key << 32;
    char* at = payload.data();
    std::size_t left = payload.size();
    for (; left >= sizeof(key); left -= sizeof(key), at += sizeof(key)) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, sizeof(word));
      word ^= key;
      std::memcpy(at, &word, sizeof(word));
    }
    for (std::size_t i = 0; i < left; ++i) at[i] = static_cast<char>(at[i] ^ mask[i & 3]);
  }

  bool message(std::span<char> payload, Connection& c) {
    switch (job_.take(c.device, std::as_bytes(payload))) {
      case Job::Outcome::done: return true;
      case Job::Outcome::fault: return false;
      case Job::Outcome::answer: answer(job_.answer()); return true;
      case Job::Outcome::wait: break;
    }
    if (due_.empty()) ack_at_ = steady_clock::now() + std::chrono::milliseconds(options_.ack_every_ms);
    due_.push_back(&c);
    return true;
  }

  void answer(const std::string& message) {
    plain_out_ += '\x82';
    if (message.size() < 126) {
      plain_out_ += static_cast<char>(message.size());
    } else {
      plain_out_ += '\x7E';
      plain_out_ += static_cast<char>(message.size() >> 8);
      plain_out_ += static_cast<char>(message.size() & 0xFF);
    }
    plain_out_ += message;
  }

  void acknowledge() {
    for (Connection* c : due_) {
      c->device.ack_listed = false;
      if (const std::string* ack = job_.acknowledge(c->device)) {
        answer(*ack);
        send_out(*c);
      }
    }
    due_.clear();
  }

  int timeout_ms() const {
    if (due_.empty()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(ack_at_ - steady_clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(0, left));
  }

  const ServerOptions options_;
  const std::shared_ptr<const TlsContext> tls_;
  Job job_;
  const int listener_;
  const int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  BIO* bio_ = nullptr;
  std::string_view in_;  // of scratch_, what OpenSSL has not read
  std::string out_;
  std::string plain_out_;
  std::vector<char> scratch_ = std::vector<char>(65'536);
  std::vector<char> plain_ = std::vector<char>(k_record_bytes_max);
  std::vector<Connection*> due_;  // an Ack
  steady_clock::time_point ack_at_;
};

}  // namespace
}  // namespace fieldgate::bench

int main(int argc, char** argv) {
  fieldgate::bench::Floor floor(fieldgate::bench::read_options(argc, argv, "A bare epoll loop on OpenSSL"));
  std::puts("ready");
  std::fflush(stdout);
  floor.run();
}
