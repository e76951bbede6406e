// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/admin_server.h"

#include "adapters/http/http_server.h"
#include "adapters/http/problem.h"
#include "adapters/http/views.h"

namespace fieldgate::http {
namespace {

constexpr std::string_view k_allow = "GET, HEAD, OPTIONS";

class AdminHandler final : public Handler {
 public:
  AdminHandler(const NodeStatus& status, std::function<std::string()> metrics, std::function<bool()> alive)
      : status_(status), metrics_(std::move(metrics)), alive_(std::move(alive)) {}

  void handle(const Request& request, Respond respond) override { respond(answer(request)); }

 private:
  // Parameters are ignored: probes and scrapers may be set up with some.
  Response answer(const Request& request) const {
    const std::string path = request.target.segments.size() == 1 ? request.target.segments[0] : std::string();
    if (path != "metrics" && path != "livez" && path != "readyz") {
      return make_problem(Problem::not_found, request.id, "there are /metrics, /livez and /readyz");
    }
    Response response;
    if (request.head.method == "OPTIONS") {
      response.status = 204;
      response.headers.emplace_back("Allow", k_allow);
    } else if (request.head.method != "GET" && request.head.method != "HEAD") {
      response = make_problem(Problem::method_not_allowed, request.id, request.head.method + " is not possible here");
      response.headers.emplace_back("Allow", k_allow);
    } else if (path == "metrics") {
      response.content_type = "text/plain; version=0.0.4; charset=utf-8";
      response.body = metrics_();
    } else if (path == "livez") {
      const bool alive = alive_();
      response.status = alive ? 200 : 503;
      response.body = alive ? "{\"alive\":true}" : "{\"alive\":false}";
    } else {
      const Readiness readiness = status_.readiness();
      response.status = readiness.ready ? 200 : 503;
      response.body = readiness_json(readiness);
    }
    return response;
  }

  const NodeStatus& status_;
  const std::function<std::string()> metrics_;
  const std::function<bool()> alive_;
};

ServerSettings server_settings(const AdminSettings& admin) {
  ServerSettings settings;
  settings.name = "admin";
  settings.listen = admin.listen;
  settings.connections_max = 64;
  settings.body_bytes_max = 1'024;
  settings.idle_timeout = seconds(120);  // longer than scrape intervals are
  return settings;
}

}  // namespace

class AdminServer::Impl {
 public:
  Impl(const AdminSettings& settings, const NodeStatus& status, std::function<std::string()> metrics,
       std::function<bool()> alive, const Clock& clock, Log& log)
      : handler_(status, std::move(metrics), std::move(alive)),
        server_(server_settings(settings), handler_, clock, log, probe_) {}

  HttpServer& server() { return server_; }

 private:
  HttpProbe probe_;  // not exported: scraping would count itself
  AdminHandler handler_;
  HttpServer server_;
};

AdminServer::AdminServer(const AdminSettings& settings, const NodeStatus& status, std::function<std::string()> metrics,
                         std::function<bool()> alive, const Clock& clock, Log& log)
    : impl_(std::make_unique<Impl>(settings, status, std::move(metrics), std::move(alive), clock, log)) {}
AdminServer::~AdminServer() = default;
Result<std::uint16_t> AdminServer::start() { return impl_->server().start(); }
void AdminServer::stop() { impl_->server().stop(); }

}  // namespace fieldgate::http
