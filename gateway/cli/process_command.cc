// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/process_command.h"

#include "adapters/http/parameters.h"
#include "gateway/cli/device_client.h"
#include "gateway/process/drain_door.h"

#include <ostream>

namespace fieldgate {
namespace {

constexpr milliseconds k_margin{10'000};  // beyond what the settings allow, for the end of the last step

// Where to connect to for what listens there.
std::string url_of(const Endpoint& listener) {
  std::string host = listener.address;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  if (host.find(':') != std::string::npos) host = '[' + host + ']';
  return "http://" + host + ":" + std::to_string(listener.port);
}

}  // namespace

void DrainRequest::from(const Settings& settings) {
  state_dir = settings.node.state_dir;
  drain_max = settings.node.drain_delay + settings.node.drain_period;
}

int run_drain(const DrainRequest& request, const CommandLineContext& context) {
  milliseconds patience = milliseconds(request.drain_max) + k_margin;
  if (!request.timeout.empty()) {
    const auto given = http::parse_duration(request.timeout);
    if (!given) {
      context.err << "fieldgate: --timeout: '" << request.timeout << "' is not a time such as 90s or 5m\n";
      return k_exit_usage;
    }
    patience = *given;
  }
  std::uint64_t shown = ~std::uint64_t{0};
  const auto drained = ask_to_drain(request.state_dir, patience, [&](const DrainProgress& progress) {
    if (!context.err_is_terminal || progress.drained || progress.connections == shown) return;
    shown = progress.connections;
    context.err << "draining: " << progress.connections << " connections, " << progress.records << " records\n";
  });
  if (drained) {
    context.out << "drained\n";
    return k_exit_ok;
  }
  context.err << "fieldgate: " << drained.error().detail << "\n";
  return drained.error().code == make_error_code(Errc::not_found) ? k_exit_unavailable : k_exit_check_failed;
}

void HealthRequest::from(const Settings& settings) { admin = url_of(settings.admin.listen); }

int run_health(const HealthRequest& request, const CommandLineContext& context) {
  ApiRequest ask;
  ask.target = request.ready ? "/readyz" : "/livez";
  const auto answer = context.connect({request.admin, {}, {}})->exchange(ask);
  if (!answer) {
    context.err << "fieldgate: " << answer.error().detail << "\n";
    return k_exit_unavailable;
  }
  context.out << answer->body << "\n";
  return answer->status == 200 ? k_exit_ok : k_exit_check_failed;
}

}  // namespace fieldgate
