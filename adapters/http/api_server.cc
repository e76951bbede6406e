// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/api_server.h"

#include "adapters/http/api_handler.h"
#include "adapters/http/http_server.h"

namespace fieldgate::http {
namespace {

ServerSettings server_settings(const ApiSettings& api) {
  ServerSettings settings;
  settings.name = "api";
  settings.listen = api.listen;
  settings.certificate_file = api.certificate_file;
  settings.key_file = api.key_file;
  settings.cors_origins = api.cors_origins;
  settings.connections_max = api.connections_max;
  settings.connections_per_address_max = api.connections_per_address_max;
  settings.header_bytes_max = api.header_bytes_max;
  settings.body_bytes_max = api.body_bytes_max;
  settings.request_timeout = api.request_timeout;
  settings.idle_timeout = api.idle_timeout;
  return settings;
}

constexpr milliseconds k_tick{1'000};

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

// The handler needs the server's loop and the server the handler.
class HandlerSlot final : public Handler {
 public:
  BodyPlan accepts(const Request& head) override { return handler->accepts(head); }
  std::chrono::milliseconds patience(const Request& request) override { return handler->patience(request); }
  void handle(const Request& request, Respond respond) override { handler->handle(request, std::move(respond)); }
  ApiHandler* handler = nullptr;
};

}  // namespace

class ApiServer::Impl {
 public:
  Impl(const ApiSettings& api, seconds inactive_after, const ApiPorts& ports)
      : settings_(api),
        log_(ports.log),
        server_(server_settings(api), slot_, ports.clock, ports.log, ports.probe),
        loop_(server_.loop()),
        handler_(loop_, milliseconds(inactive_after).count(), ports, api) {
    slot_.handler = &handler_;
  }

  ~Impl() { server_.stop(); }

  Result<std::uint16_t> start() {
    auto access = Access::load(settings_);
    if (!access) return access.error();
    handler_.set_access(std::move(*access));
    loop_->post([this] { tick(); });
    Result<std::uint16_t> port = server_.start();
    if (port && settings_.certificate_file.empty() && !is_loopback(settings_.listen.address)) {
      log_.warn("api_plain_text", {{"listen", settings_.listen.address},
                                   {"risk", "tokens can be read on the way; set certificate_file and key_file"}});
    }
    return port;
  }

  void stop() { server_.stop(); }

  Result<void> reload() {
    auto access = Access::load(settings_);
    if (!access) return access.error();
    if (Result<void> certificate = server_.reload_certificate(); !certificate) return certificate;
    loop_->post([this, fresh = std::move(*access)] { handler_.set_access(fresh); });
    return {};
  }

  template <class Update>
  void put(std::vector<Update> updates) {
    if (!updates.empty()) put_one(std::move(updates));
  }
  template <class Update>
  void put_one(Update update) {
    if (!inbox_.put(std::move(update))) return;
    loop_->post([this] { handler_.apply(inbox_.take()); });
  }

  // What comes meanwhile is taken in one with it: a busy device wakes nobody up for
  // each of its records.
  template <class News>
  void tell_stream(News news) {
    if (!stream_inbox_.put(std::move(news))) return;
    loop_->post(
        [this] { loop_->after(handler_.stream().pause(), [this] { handler_.stream().take(stream_inbox_.take()); }); });
  }

 private:
  void tick() {
    handler_.stream().tick();
    loop_->after(k_tick, [this] { tick(); });
  }

  const ApiSettings settings_;
  Log& log_;
  FleetInbox inbox_;
  StreamInbox stream_inbox_;
  HandlerSlot slot_;
  HttpServer server_;
  const std::shared_ptr<Loop> loop_;
  ApiHandler handler_;
};

ApiServer::ApiServer(const ApiSettings& settings, seconds inactive_after, ApiPorts ports)
    : impl_(std::make_unique<Impl>(settings, inactive_after, ports)) {}
ApiServer::~ApiServer() = default;
Result<std::uint16_t> ApiServer::start() { return impl_->start(); }
void ApiServer::stop() { impl_->stop(); }
Result<void> ApiServer::reload() { return impl_->reload(); }
void ApiServer::changed(std::vector<DeviceSummary> devices) { impl_->put(std::move(devices)); }
void ApiServer::seen(std::vector<SeenUpdate> updates) { impl_->put(std::move(updates)); }
void ApiServer::registry_changed(std::vector<RegistryChange> changes) { impl_->put(std::move(changes)); }
void ApiServer::presence_known(std::vector<PresenceRow> rows) { impl_->put(std::move(rows)); }
void ApiServer::fleet_known(const FleetView& fleet) { impl_->put_one(fleet); }
void ApiServer::command_changed(const std::shared_ptr<const CommandEntry>& command) { impl_->tell_stream(command); }
void ApiServer::twin_changed(const std::shared_ptr<const Twin>& twin) { impl_->tell_stream(twin); }
void ApiServer::changes_missed(std::optional<std::uint64_t> count) { impl_->tell_stream(StreamInbox::Missed{count}); }
void ApiServer::tapped(TappedRecord record) { impl_->tell_stream(std::move(record)); }

}  // namespace fieldgate::http
