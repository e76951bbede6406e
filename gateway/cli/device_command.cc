// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/device_command.h"

#include "adapters/http/parameters.h"
#include "gateway/cli/device_client.h"
#include "gateway/cli/device_input.h"
#include "gateway/cli/device_table.h"
#include "gateway/cli/device_transfer.h"
#include "gateway/config/problem.h"
#include "gateway/core/ids.h"

#include <fcntl.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace fieldgate {
namespace {

namespace json = boost::json;

constexpr std::size_t k_page_max = 500;
constexpr const char* k_exit_statuses =
    "Exit status: 0 done; 1 not found, refused, or some lines failed; 64 wrong command line; 66 a file\n"
    "cannot be read; 69 the API cannot be reached or cannot answer now; 73 a file cannot be written;\n"
    "77 not allowed.";

}  // namespace

// Everything that the commands take, and what each does with it.
class DeviceCommand::Impl {
 public:
  Impl(CLI::App& device, const CommandLineContext& context, const Choose& choose) : context_(context), choose_(choose) {
    device.require_subcommand(1);
    device.fallthrough();
    device.footer(k_exit_statuses);
    device.add_option("--api", url_, "Where the API is; else FIELDGATE_API says so, else http://127.0.0.1:8080")
        ->type_name("URL");
    device.add_option("--token-file", token_file_, "The API token is in it; else FIELDGATE_API_TOKEN is one")
        ->type_name("FILE");
    device.add_option("--ca", ca_file_, "Trust these authorities (PEM) and no others, for https")->type_name("FILE");
    device.add_flag("--json", json_, "Print what the API answers, as it is");
    add_registry(device);
    add_transfer(device);
    add_credentials(device);
    add_downlink(device);
  }

 private:
  using Action = ApiResult<int> (Impl::*)();

  CLI::App& add(CLI::App& to, const char* name, const char* what, Action action) {
    CLI::App& added = *to.add_subcommand(name, what);
    added.fallthrough();
    added.callback([this, action] { choose_([this, action] { return run(action); }); });
    return added;
  }
  CLI::App& add_for_device(CLI::App& to, const char* name, const char* what, Action action) {
    CLI::App& added = add(to, name, what, action);
    added.add_option("DEVICE", id_, "The device's id")->required();
    return added;
  }

  void add_registry(CLI::App& device) {
    CLI::App& list = add(device, "list", "List devices, all pages of them", &Impl::list);
    list.add_option("--where", conditions_,
                    "A condition of GET /api/v1/devices: online=false, inactive_for=10m, text=pump ...")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    list.add_option("--label", labels_, "KEY=VALUE, KEY!=VALUE, KEY or !KEY must hold; repeat it: all must")
        ->allow_extra_args(false);
    list.add_option("--sort", sort_, "id, last_seen, last_data, since or firmware; -last_seen: the latest first");
    list.add_option("--limit", limit_, "At most so many")->check(CLI::PositiveNumber);
    add_for_device(device, "get", "Show one device", &Impl::get);
    CLI::App& create = add_for_device(device, "create", "Register a device that is not registered yet", &Impl::create);
    create.add_option("--label", labels_, "KEY=VALUE; repeat it")->allow_extra_args(false);
    create.add_option("--note", note_, "For people");
    create.add_flag("--disabled", disabled_, "Not to be let in yet");
    CLI::App& update = add_for_device(device, "update", "Change a device's registry entry", &Impl::update);
    update.add_option("--label", labels_, "KEY=VALUE sets it, KEY- removes it; repeat it")->allow_extra_args(false);
    update.add_option("--note", note_, "For people; empty: none");
    update.add_option("--revision", revision_, "Only if it still is this one")->check(CLI::NonNegativeNumber);
    add_for_device(device, "enable", "Let a device in again", &Impl::enable);
    add_for_device(device, "disable", "End a device's connection and let it in no more", &Impl::disable);
    add_for_device(device, "delete", "Take a device out, with its credentials, commands, twin and timeline",
                   &Impl::remove);
  }

  void add_transfer(CLI::App& device) {
    CLI::App& in = add(device, "import", "Register many devices: one JSON object on each line", &Impl::import);
    in.add_option("FILE", file_, "Where the lines are; - or none: standard input");
    add(device, "export", "Print every registry entry as a line that import takes", &Impl::export_all);
  }

  void add_credentials(CLI::App& device) {
    CLI::App& credential = *device.add_subcommand("credential", "A device's credentials: add, list, remove");
    credential.require_subcommand(1);
    credential.fallthrough();
    CLI::App& one =
        add_for_device(credential, "add", "Make a token, shown this once; or pin a certificate", &Impl::add_credential);
    one.add_option("--certificate", file_, "Pin this certificate (PEM) instead of making a token")->type_name("FILE");
    one.add_option("--expires-in", expires_in_, "It is good for so long: 24h, 90d");
    one.add_option("--retire-others-in", retire_in_, "The device's others are good for so long and no longer");
    one.add_option("--note", note_, "For people");
    add_for_device(credential, "list", "List a device's credentials", &Impl::list_credentials);
    CLI::App& gone = add_for_device(credential, "remove", "Take a credential away", &Impl::remove_credential);
    gone.add_option("CREDENTIAL", credential_, "Its id, as list shows it")->required();
  }

  void add_downlink(CLI::App& device) {
    CLI::App& order = add_for_device(device, "command", "Send a command and wait for the answer", &Impl::command);
    order.add_option("NAME", name_, "What it is to do")->required();
    order.add_option("PAYLOAD", payload_, "JSON: '{\"rpm\": 900}', 5, '\"a text\"'");
    order.add_option("--payload-file", file_, "The payload's bytes, whatever they are")->type_name("FILE");
    order.add_option("--wait", wait_, "How long to wait for its end, up to 60s; 0s: not at all")->capture_default_str();
    order.add_option("--timeout", timeout_, "For the result, from when it is sent");
    order.add_option("--ttl", ttl_, "How long it waits for a device that is offline; 0s: not at all");
    order.add_option("--key", key_, "Idempotency-Key: the same one again never makes a second command");
    order.add_flag("--at-most-once", at_most_once_, "Never send it a second time");
    add_for_device(device, "kick", "End a device's connection; it may come back", &Impl::kick);
  }

  int run(Action action) {
    auto status = prepare() ? (this->*action)() : ApiResult<int>(*trouble_);
    if (status) return *status;
    context_.err << "fieldgate: " << status.error().text << "\n";
    return status.error().status;
  }

  std::string from_environment(const char* name) const {
    const auto found = context_.environment.find(name);
    return found == context_.environment.end() ? std::string() : found->second;
  }

  bool complain(int status, std::string text) {
    trouble_ = ApiFailure{status, std::move(text)};
    return false;
  }

  // Reads what every command has in common.
  bool prepare() {
    ApiAddress address{url_.empty() ? from_environment("FIELDGATE_API") : url_, {}, ca_file_};
    if (address.url.empty()) address.url = "http://127.0.0.1:8080";
    while (address.url.ends_with('/')) address.url.pop_back();
    if (address.url.ends_with("/api/v1")) address.url.resize(address.url.size() - 7);
    const std::size_t scheme = address.url.find("://");
    const bool http = address.url.starts_with("http://") || address.url.starts_with("https://");
    if (!http || address.url.size() == scheme + 3 ||
        address.url.find_first_of("@?# /", scheme + 3) != std::string::npos) {
      return complain(k_exit_usage,
                      "--api must be http://HOST:PORT or https://HOST:PORT, and not " + config::quoted(address.url));
    }
    address.token = from_environment("FIELDGATE_API_TOKEN");
    if (!token_file_.empty()) {
      auto text = read_whole_file(token_file_);
      if (!text) return complain(text.error().status, text.error().text);
      address.token = std::move(*text);
      address.token.erase(address.token.find_last_not_of(" \t\r\n") + 1);
    }
    if (std::ranges::any_of(address.token, [](char c) { return c <= ' ' || c > '~'; })) {
      return complain(k_exit_usage,
                      "the API token must be one word: a file with nothing but the token, not api.token_file");
    }
    if (!id_.empty()) {
      const auto id = DeviceId::parse(id_);
      if (!id) return complain(k_exit_usage, "the device " + config::quoted(id_) + ": " + id.error().detail);
    }
    client_.emplace(context_.connect(address));
    return true;
  }

  std::string path(std::string_view rest = {}) const {
    return "/api/v1/devices/" + percent_encoded(id_) + std::string(rest);
  }

  static ApiRequest request(std::string method, std::string target) {
    ApiRequest out;
    out.method = std::move(method);
    out.target = std::move(target);
    return out;
  }
  static ApiRequest request(std::string method, std::string target, const json::object& body,
                            const char* type = "application/json") {
    ApiRequest out = request(std::move(method), std::move(target));
    out.content_type = type;
    out.body = json::serialize(body);
    return out;
  }

  // Asks, and prints the answer: as it is, or by `print`.
  ApiResult<int> ask(const ApiRequest& what, void (*print)(std::ostream&, const json::value&)) {
    const auto reply = client_->call(what);
    if (!reply) return reply.error();
    if (json_) {
      raw(reply->text);
    } else {
      print(context_.out, reply->value);
    }
    return k_exit_ok;
  }
  ApiResult<int> ask_for_nothing(const ApiRequest& what, const std::string& done) {
    const auto reply = client_->call(what);
    if (!reply) return reply.error();
    if (!json_) context_.out << done << "\n";
    return k_exit_ok;
  }
  void raw(const std::string& text) { context_.out << text << (text.ends_with('\n') ? "" : "\n"); }

  ApiResult<int> list() {
    std::vector<std::pair<std::string, std::string>> query;
    for (const std::string& one : conditions_) {
      const std::size_t equals = one.find('=');
      if (equals == std::string::npos || equals == 0) {
        return ApiFailure{k_exit_usage, "--where must be NAME=VALUE, and not " + config::quoted(one)};
      }
      query.emplace_back(one.substr(0, equals), one.substr(equals + 1));
    }
    for (const std::string& label : labels_) query.emplace_back("label", label);
    if (!sort_.empty()) query.emplace_back("sort", sort_);
    query.emplace_back("limit", std::to_string(limit_ == 0 ? k_page_max : std::min<std::uint64_t>(limit_, k_page_max)));
    Table table = device_table();
    std::uint64_t shown = 0;
    const auto listed = client_->pages("/api/v1/devices" + query_of(query), [&](const ApiReply& page) {
      for (const json::value& device : elements(member(page.value, "devices"))) {
        if (limit_ != 0 && shown == limit_) break;
        ++shown;
        if (json_)
          raw(json_text(device));
        else
          add_device(table, device);
      }
      if (!json_) table.print(context_.out);
      return context_.out && (limit_ == 0 || shown < limit_);
    });
    if (!listed) return listed.error();
    return k_exit_ok;
  }

  ApiResult<int> get() { return ask(request("GET", path()), print_device); }

  ApiResult<int> create() {
    const auto labels = read_labels(labels_, false);
    if (!labels) return labels.error();
    ApiRequest put =
        request("PUT", path(), {{"enabled", !disabled_}, {"labels", *labels}, {"note", note_.value_or("")}});
    put.if_none_match = "*";
    return ask(put, print_entry);
  }

  ApiResult<int> update() {
    const auto labels = read_labels(labels_, true);
    if (!labels) return labels.error();
    json::object body;
    if (!labels->empty()) body["labels"] = *labels;
    if (note_) body["note"] = *note_;
    if (body.empty()) return ApiFailure{k_exit_usage, "there is nothing to change: give --label or --note"};
    ApiRequest patch = request("PATCH", path(), body, k_merge_patch);
    if (revision_) patch.if_match = "\"r" + std::to_string(*revision_) + "\"";
    return ask(patch, print_entry);
  }

  ApiResult<int> enable() { return ask(request("PATCH", path(), {{"enabled", true}}, k_merge_patch), print_entry); }
  ApiResult<int> disable() { return ask(request("PATCH", path(), {{"enabled", false}}, k_merge_patch), print_entry); }
  ApiResult<int> remove() { return ask_for_nothing(request("DELETE", path()), id_ + " is deleted"); }
  ApiResult<int> kick() { return ask_for_nothing(request("DELETE", path("/session")), id_ + " is disconnected"); }

  ApiResult<int> import() {
    const bool standard = file_.empty() || file_ == "-";
    const int in = standard ? STDIN_FILENO : ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    if (in < 0) return ApiFailure{k_exit_no_input, file_ + ": cannot be read: " + std::strerror(errno)};
    const auto sum = import_devices(*client_, in,
                                    {.raw = json_ ? &context_.out : nullptr,
                                     .faults = json_ ? nullptr : &context_.err,
                                     .progress = context_.err_is_terminal && !json_ ? &context_.err : nullptr});
    if (!standard) ::close(in);
    if (!sum) return sum.error();
    if (!json_) {
      context_.out << sum->lines << " lines: " << sum->created << " created, " << sum->updated << " updated, "
                   << sum->unchanged << " unchanged, " << sum->errors << " errors\n";
    }
    if (!sum->done) {
      return ApiFailure{k_exit_unavailable, "the import was broken off" +
                                                (sum->stopped.empty() ? "" : ": " + sum->stopped) +
                                                "; import the same again: what is in already does no harm"};
    }
    if (sum->errors == 0) return k_exit_ok;
    return ApiFailure{k_exit_refused,
                      std::to_string(sum->errors) + (sum->errors == 1 ? " line was" : " lines were") +
                          " not taken, all others were; correct what is named and import again: what is in already "
                          "does no harm"};
  }

  ApiResult<int> export_all() {
    const auto written = export_devices(*client_, context_.out);
    if (written) return k_exit_ok;
    return ApiFailure{written.error().status, written.error().text + "; what was printed is not all of it"};
  }

  ApiResult<int> add_credential() {
    json::object body{{"kind", "token"}};
    if (!file_.empty()) {
      const auto pem = read_whole_file(file_);
      if (!pem) return pem.error();
      body = {{"kind", "certificate"}, {"certificate_pem", *pem}};
    }
    if (!expires_in_.empty()) body["expires_in"] = expires_in_;
    if (!retire_in_.empty()) body["retire_others_in"] = retire_in_;
    if (note_) body["note"] = *note_;
    return ask(request("POST", path("/credentials"), body), print_credential);
  }

  ApiResult<int> list_credentials() { return ask(request("GET", path("/credentials")), print_credentials); }
  ApiResult<int> remove_credential() {
    return ask_for_nothing(request("DELETE", path("/credentials/" + percent_encoded(credential_))),
                           credential_ + " of " + id_ + " is removed");
  }

  // The text of the payload is left as it is: JSON numbers may be longer than ours.
  ApiResult<std::string> command_body() const {
    json::object body{{"name", name_}};
    if (!timeout_.empty()) body["timeout"] = timeout_;
    if (!ttl_.empty()) body["ttl"] = ttl_;
    if (at_most_once_) body["at_most_once"] = true;
    if (!file_.empty()) {
      if (payload_) return ApiFailure{k_exit_usage, "give PAYLOAD or --payload-file, not both"};
      const auto bytes = read_whole_file(file_);
      if (!bytes) return bytes.error();
      body["payload_base64"] = to_base64(*bytes);
    }
    std::string text = json::serialize(body);
    if (!payload_) return text;
    json::error_code error;
    (void)json::parse(*payload_, error);
    if (error) {
      return ApiFailure{k_exit_usage,
                        "the payload is no JSON (" + error.message() + "); a text needs quotes of its own: '\"on\"'"};
    }
    text.pop_back();
    return text + ",\"payload\":" + *payload_ + "}";
  }

  ApiResult<int> command() {
    const auto wait = http::parse_duration(wait_);
    if (!wait)
      return ApiFailure{k_exit_usage, "--wait must be like 10s, 500ms or 0s, and not " + config::quoted(wait_)};
    const auto body = command_body();
    if (!body) return body.error();
    ApiRequest post = request("POST", path("/commands") + query_of({{"wait", wait_}}));
    post.content_type = "application/json";
    post.body = *body;
    post.wait = *wait;
    post.idempotency_key = key_.empty() ? new_idempotency_key() : key_;
    const auto reply = client_->call(post);
    if (!reply) {
      ApiFailure failure = reply.error();
      if (failure.status == k_exit_unavailable) {
        failure.text += "\nIt may have been sent or not; again with --key " + printable(post.idempotency_key) +
                        " it is not done twice";
      }
      return failure;
    }
    if (json_)
      raw(reply->text);
    else
      print_command(context_.out, reply->value);
    if (text_at(reply->value, "state") == "succeeded") return k_exit_ok;
    if (true_at(reply->value, "final")) return k_exit_refused;
    if (wait->count() == 0) return k_exit_ok;
    return ApiFailure{k_exit_refused, "it has not come to its end within " + wait_ +
                                          "; it goes on: GET /api/v1/commands/" + text_at(reply->value, "id")};
  }

  static constexpr const char* k_merge_patch = "application/merge-patch+json";

  const CommandLineContext& context_;
  const Choose& choose_;
  std::optional<DeviceClient> client_;
  std::optional<ApiFailure> trouble_;
  std::string url_;
  std::string token_file_;
  std::string ca_file_;
  bool json_ = false;
  std::string id_;
  std::vector<std::string> conditions_;
  std::vector<std::string> labels_;
  std::string sort_;
  std::uint64_t limit_ = 0;  // 0: all
  std::optional<std::string> note_;
  std::optional<std::uint64_t> revision_;
  bool disabled_ = false;
  std::string file_;
  std::string expires_in_;
  std::string retire_in_;
  std::string credential_;
  std::string name_;
  std::optional<std::string> payload_;
  std::string wait_ = "10s";
  std::string timeout_;
  std::string ttl_;
  std::string key_;
  bool at_most_once_ = false;
};

DeviceCommand::DeviceCommand(CLI::App& device, const CommandLineContext& context, const Choose& choose)
    : impl_(std::make_unique<Impl>(device, context, choose)) {}
DeviceCommand::~DeviceCommand() = default;

}  // namespace fieldgate
