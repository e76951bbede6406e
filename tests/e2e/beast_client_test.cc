// SPDX-License-Identifier: Apache-2.0
//
// The gateway's own binary against a device on Beast's WebSocket and Asio's TLS,
// as most C++ devices will be: nothing of ours speaks on this side.
#include "fieldgate/v1/device.pb.h"
#include "tests/support/mosquitto_broker.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace fieldgate::test {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace ssl = asio::ssl;
namespace websocket = beast::websocket;
using boost::system::error_code;
using v1::DeviceFrame;
using v1::GatewayFrame;
using Stream = websocket::stream<ssl::stream<beast::tcp_stream>>;

// `fieldgate serve` on a loopback port of its own; ends with this object.
class GatewayProcess {
 public:
  GatewayProcess() {
    const Identity server = authority_.server();
    const std::string config = "node: {name: gw, state_dir: " + dir_.file("state") +
                               ", drain_period: 2s}\n"
                               "devices:\n  listen: 127.0.0.1:" +
                               std::to_string(port_) +
                               "\n  tls: {certificate_file: " + dir_.write("server.pem", server.certificate) +
                               ", key_file: " + dir_.write("key.pem", server.key) +
                               ", client_ca_file: " + dir_.write("ca.pem", authority_.certificate()) +
                               ", client_certificate: required}\n"
                               "mqtt: [{host: 127.0.0.1, port: " +
                               std::to_string(broker_.port()) +
                               "}]\n"
                               "registry: {auto_register: true}\n"
                               "api: {enabled: false}\nadmin: {listen: '127.0.0.1:0'}\n";
    spawn(dir_.write("fieldgate.yaml", config));
    wait_until_it_listens();
  }
  ~GatewayProcess() {
    if (pid_ > 0) stop();
  }

  // SIGTERM; the exit status.
  int stop() {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::uint16_t port() const noexcept { return port_; }
  const Authority& authority() const noexcept { return authority_; }

 private:
  void spawn(const std::string& config) {
    const char* folder = std::getenv("FIELDGATE_BIN");
    if (folder == nullptr) throw std::runtime_error("FIELDGATE_BIN is not set");
    const std::string program = std::string(folder) + "/fieldgate";
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::execl(program.c_str(), program.c_str(), "serve", "--config", config.c_str(), nullptr);
    ::_exit(127);
  }

  void wait_until_it_listens() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    asio::io_context io;
    for (;;) {
      asio::ip::tcp::socket probe(io);
      error_code ec;
      probe.connect({asio::ip::address_v4::loopback(), port_}, ec);
      if (!ec) return;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        throw std::runtime_error("the gateway ended at once");
      }
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the gateway does not listen");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  TempDir dir_;
  MosquittoBroker broker_;
  Authority authority_;
  std::uint16_t port_ = free_port();
  pid_t pid_ = -1;
};

class BeastDevice {
 public:
  BeastDevice(const GatewayProcess& gateway, const std::string& id) {
    const Identity identity = gateway.authority().device(id);
    tls_.add_certificate_authority(asio::buffer(gateway.authority().certificate()));
    tls_.use_certificate_chain(asio::buffer(identity.certificate));
    tls_.use_private_key(asio::buffer(identity.key), ssl::context::pem);
    tls_.set_verify_mode(ssl::verify_peer);
    ws_ = std::make_unique<Stream>(io_, tls_);
    ws_->next_layer().set_verify_callback(ssl::host_name_verification("localhost"));
    beast::get_lowest_layer(*ws_).connect({asio::ip::address_v4::loopback(), gateway.port()});
    ws_->next_layer().handshake(ssl::stream_base::client);
    websocket::permessage_deflate deflate;
    deflate.client_enable = true;
    ws_->set_option(deflate);  // offered; never granted
    ws_->set_option(websocket::stream_base::decorator([](websocket::request_type& request) {
      request.set(beast::http::field::sec_websocket_protocol, "fieldgate.v1");
    }));
    ws_->control_callback([this](websocket::frame_type kind, beast::string_view payload) {
      if (kind == websocket::frame_type::pong) pong_ = std::string(payload);
    });
    ws_->handshake(response_, "localhost", "/v1/connect");
    ws_->binary(true);

    DeviceFrame frame;
    frame.mutable_hello()->set_device_id(id);
    frame.mutable_hello()->set_stream_id(7);
    send(frame);
    welcome_ = read();
  }

  Stream& ws() { return *ws_; }
  const websocket::response_type& response() const { return response_; }
  const GatewayFrame& welcome() const { return welcome_; }
  const std::string& pong() const { return pong_; }

  static DeviceFrame telemetry(std::uint64_t seq) {
    DeviceFrame frame;
    frame.set_seq(seq);
    auto* metric = frame.mutable_telemetry()->add_samples()->add_metrics();
    metric->set_name("temperature");
    metric->set_double_value(21.5);
    return frame;
  }

  void send(const DeviceFrame& frame) { ws_->write(asio::buffer(frame.SerializeAsString())); }

  GatewayFrame read() {
    beast::flat_buffer buffer(1 << 16);
    ws_->read(buffer);
    GatewayFrame frame;
    EXPECT_TRUE(ws_->got_binary());
    EXPECT_TRUE(frame.ParseFromArray(buffer.data().data(), static_cast<int>(buffer.size())));
    return frame;
  }

  // Reads until everything through `seq` is acknowledged.
  void expect_ack(std::uint64_t seq) {
    for (;;) {
      const GatewayFrame frame = read();
      ASSERT_EQ(frame.kind_case(), GatewayFrame::kAck) << frame.ShortDebugString();
      if (frame.ack().through() >= seq) return;
    }
  }

  // Reads until the gateway's Close; its code.
  websocket::close_code read_close() {
    for (;;) {
      beast::flat_buffer buffer(1 << 16);
      error_code ec;
      ws_->read(buffer, ec);
      if (ec) {
        EXPECT_EQ(ec, websocket::error::closed) << ec.message();
        return websocket::close_code(ws_->reason().code);
      }
    }
  }

 private:
  asio::io_context io_;
  ssl::context tls_{ssl::context::tls_client};
  std::unique_ptr<Stream> ws_;
  websocket::response_type response_;
  GatewayFrame welcome_;
  std::string pong_;
};

class BeastClient : public ::testing::Test {
 protected:
  GatewayProcess gateway_;
};

TEST_F(BeastClient, IsWelcomedWithItsSubprotocolAndWithoutCompression) {
  BeastDevice device(gateway_, "meter-1");
  EXPECT_EQ(device.response()[beast::http::field::sec_websocket_protocol], "fieldgate.v1");
  EXPECT_EQ(device.response().count(beast::http::field::sec_websocket_extensions), 0U);
  ASSERT_EQ(device.welcome().kind_case(), GatewayFrame::kWelcome);
  EXPECT_GT(device.welcome().welcome().epoch(), 0U);
  EXPECT_EQ(device.welcome().welcome().ack_stage(), v1::ACK_STAGE_FORWARDED);
}

TEST_F(BeastClient, HasWholeAndFragmentedMessagesAcknowledged) {
  BeastDevice device(gateway_, "meter-1");
  device.send(BeastDevice::telemetry(1));
  device.expect_ack(1);
  // Beast's own fragmentation: a frame for every 16 bytes.
  device.ws().auto_fragment(true);
  device.ws().write_buffer_bytes(16);
  device.send(BeastDevice::telemetry(2));
  device.expect_ack(2);
  // By hand, with a ping between the fragments.
  const std::string bytes = BeastDevice::telemetry(3).SerializeAsString();
  device.ws().write_some(false, asio::buffer(bytes.data(), 5));
  device.ws().ping("between");
  device.ws().write_some(false, asio::buffer(bytes.data() + 5, 0));
  device.ws().write_some(true, asio::buffer(bytes.data() + 5, bytes.size() - 5));
  device.expect_ack(3);
  EXPECT_EQ(device.pong(), "between");
}

TEST_F(BeastClient, HasItsCloseAnsweredAndSeesTheEndOfTlsInGoodOrder) {
  BeastDevice device(gateway_, "meter-1");
  device.send(BeastDevice::telemetry(1));
  device.expect_ack(1);
  // close() sends Close 1000, waits for the gateway's, and shuts TLS down.
  error_code ec;
  device.ws().close(websocket::close_code::normal, ec);
  EXPECT_FALSE(ec) << ec.message();
  EXPECT_EQ(device.ws().reason().code, websocket::close_code::normal);
  EXPECT_NE(SSL_get_shutdown(device.ws().next_layer().native_handle()) & SSL_RECEIVED_SHUTDOWN, 0)
      << "no close_notify from the gateway";
}

TEST_F(BeastClient, IsToldOfATextMessageByItsCloseCode) {
  BeastDevice device(gateway_, "meter-1");
  device.ws().text(true);
  device.ws().write(asio::buffer(std::string("hello")));
  EXPECT_EQ(device.read_close(), websocket::close_code::unknown_data);
}

TEST_F(BeastClient, ReadsGoodbyeCloseAndCloseNotifyWhenTheGatewayDrains) {
  BeastDevice device(gateway_, "meter-1");
  const std::jthread stopping([this] { EXPECT_EQ(gateway_.stop(), 0); });
  const GatewayFrame frame = device.read();
  EXPECT_EQ(frame.goodbye().reason(), v1::GOODBYE_REASON_DRAIN) << frame.ShortDebugString();
  EXPECT_EQ(device.read_close(), websocket::close_code::going_away);
  EXPECT_NE(SSL_get_shutdown(device.ws().next_layer().native_handle()) & SSL_RECEIVED_SHUTDOWN, 0)
      << "no close_notify from the gateway";
}

}  // namespace
}  // namespace fieldgate::test
