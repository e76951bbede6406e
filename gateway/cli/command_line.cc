// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/command_line.h"

#include "gateway/cli/device_command.h"
#include "gateway/cli/load.h"
#include "gateway/cli/process_command.h"
#include "gateway/cli/token_command.h"
#include "gateway/config/print.h"

#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <string_view>
#include <utility>

namespace fieldgate {
namespace {

constexpr const char* k_about =
    "Fieldgate connects field devices (WebSocket over TLS, protobuf) to MQTT brokers and HTTP.";

constexpr const char* k_exit_statuses =
    "Exit status: 0 done; 1 check-config found problems, serve ended with records that were neither\n"
    "forwarded nor on disk, drain was not done in time, the gateway is not in health, or device was\n"
    "refused what it asked for; 64 wrong command line; 66 a file (the configuration, a key) cannot be\n"
    "read; 69 serve could not start, drain and health found no gateway, or device cannot reach the\n"
    "API; 70 a bug; 73 a file cannot be written; 77 the API does not allow it; 78 the configuration\n"
    "has problems.";

class CommandLine {
 public:
  CommandLine(const CommandLineContext& context, const ServeFunction& serve) : context_(context), serve_(serve) {
    app_.name("fieldgate");
    app_.footer(k_exit_statuses);
    app_.require_subcommand(1);
    app_.set_help_flag("-h,--help", "Say what a command does");
    with_config(command("serve", "Run the gateway until SIGTERM; SIGHUP reloads", &CommandLine::serve));
    with_config(command("check-config", "List every problem of the configuration, and of the files it names",
                        &CommandLine::check_config));
    with_config(command("print-config", "Print the configuration as it takes effect, secrets as ***",
                        &CommandLine::print_config));
    with_drain_options(
        command("drain", "Have the running gateway send its devices away, and wait until it has", &CommandLine::drain));
    with_health_options(command("health", "Ask the running gateway whether it is well", &CommandLine::health));
    command("config-schema", "Print the JSON Schema of the configuration", &CommandLine::config_schema);
    command("config-sample", "Print a configuration with every key at its default, commented",
            &CommandLine::config_sample);
    command("config-reference", "Print the reference of the configuration as Markdown", &CommandLine::config_reference);
    command("version", "Print the version", &CommandLine::version);
    command("help", "Print this", &CommandLine::help);
    token_.emplace(group("token", "Make tokens for people and devices: new, device, jwt"), context_, choose_);
    device_.emplace(group("device", "Look after devices through the HTTP API: list, create, command ..."), context_,
                    choose_);
    help_ = app_.help();  // once parsed, it would be the chosen command's
  }

  int run(std::vector<std::string> arguments) {
    if (const auto wrong = unknown_command(arguments)) return unknown(*wrong->first, wrong->second);
    std::ranges::reverse(arguments);  // as CLI11 wants them
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() != 0) {
        context_.err << "fieldgate: " << error.what() << "\nfieldgate: `fieldgate help` lists the commands\n";
        return k_exit_usage;
      }
      app_.exit(error, context_.out, context_.err);
      return k_exit_ok;
    }
    return chosen_();
  }

 private:
  using Command = int (CommandLine::*)();

  CLI::App& command(const std::string& name, const std::string& what, Command chosen) {
    CLI::App& added = group(name, what);
    added.callback([this, chosen] { chosen_ = [this, chosen] { return (this->*chosen)(); }; });
    return added;
  }

  // A command that has commands of its own.
  CLI::App& group(const std::string& name, const std::string& what) { return *app_.add_subcommand(name, what); }

  static std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
  }

  // The first word that stands where a command is wanted and is none, and the app that it is
  // none of. Words that belong to an option are passed over.
  std::optional<std::pair<const std::string*, const CLI::App*>> unknown_command(
      const std::vector<std::string>& arguments) const {
    const CLI::App* app = &app_;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const std::string& word = arguments[i];
      const std::vector<const CLI::App*> commands = commands_of(*app);
      if (commands.empty() || word == "--") return std::nullopt;
      if (word.starts_with('-')) {
        const CLI::Option* option = app->get_option_no_throw(word);
        if (option != nullptr && option->get_items_expected_max() > 0) ++i;
        continue;
      }
      const auto found = std::ranges::find(commands, word, [](const CLI::App* one) { return one->get_name(); });
      if (found == commands.end()) return std::pair(&word, app);
      app = *found;
    }
    return std::nullopt;
  }

  int unknown(const std::string& name, const CLI::App* of) {
    std::vector<std::string> names;
    for (const CLI::App* one : commands_of(*of)) names.push_back(one->get_name());
    std::string path;
    for (const CLI::App* at = of; at != &app_; at = at->get_parent()) path = at->get_name() + " " + path;
    const std::string_view near = config::nearest_name(name, names);
    context_.err << "fieldgate: unknown command " << config::quoted(path + name);
    if (!near.empty()) context_.err << "; did you mean " << path << near << "?";
    context_.err << "\nfieldgate: `fieldgate " << (path.empty() ? "help" : path + "--help") << "` lists the commands\n";
    return k_exit_usage;
  }

  void with_config(CLI::App& command) {
    command.add_option("-c,--config", config_path_, "The configuration file; else FIELDGATE_CONFIG names it")
        ->type_name("FILE");
  }

  void with_drain_options(CLI::App& command) {
    with_config(command);
    command.add_option("--state-dir", drain_.state_dir, "Its state folder, instead of a configuration")
        ->type_name("DIR");
    command
        .add_option("--timeout", drain_.timeout,
                    "How long to wait: 90s, 5m; else its drain_delay, drain_period and 10s")
        ->type_name("TIME");
  }

  void with_health_options(CLI::App& command) {
    with_config(command);
    command.add_flag("--ready", health_.ready, "Ask whether it takes new devices, not only whether it lives");
    command.add_option("--admin", health_.admin, "Its admin listener, http://HOST:PORT, instead of a configuration")
        ->type_name("URL");
  }

  // Says why not, and sets `status_`, if there is none.
  std::optional<config::Bound> load() {
    if (config_path_.empty()) {
      const auto named = context_.environment.find("FIELDGATE_CONFIG");
      if (named != context_.environment.end()) config_path_ = named->second;
    }
    if (config_path_.empty()) {
      context_.err << "fieldgate: no configuration: give --config FILE or set FIELDGATE_CONFIG\n";
      status_ = k_exit_usage;
      return std::nullopt;
    }
    auto bound = load_configuration(config_path_, context_.environment);
    if (!bound) {
      context_.err << "fieldgate: " << bound.error().detail << "\n";
      status_ = k_exit_no_input;
      return std::nullopt;
    }
    return std::move(*bound);
  }

  static void list(std::ostream& out, const std::vector<config::Problem>& problems) {
    for (const config::Problem& problem : problems) out << config::to_string(problem) << "\n";
  }

  // The settings, with what is wrong on standard error; sets `status_` if there are none.
  std::optional<Settings> load_settings() {
    auto bound = load();
    if (!bound) return std::nullopt;
    list(context_.err, bound->problems);
    if (!bound->settings) {
      context_.err << "fieldgate: " << config_path_ << " cannot be used; see above\n";
      status_ = k_exit_config;
    }
    return std::move(bound->settings);
  }

  int serve() {
    auto settings = load_settings();
    if (!settings) return status_;
    const auto reload = [path = config_path_, environment = context_.environment]() -> Result<Settings> {
      auto bound = load_configuration(path, environment);
      if (!bound) return bound.error();
      if (bound->settings) return std::move(*bound->settings);
      const auto first = std::ranges::find(bound->problems, config::Severity::error, &config::Problem::severity);
      const auto errors = std::ranges::count(bound->problems, config::Severity::error, &config::Problem::severity);
      std::string detail = config::to_string(*first);
      if (errors > 1) detail += " (and " + std::to_string(errors - 1) + " more: fieldgate check-config lists them)";
      return make_error(Errc::invalid_argument, std::move(detail));
    };
    return serve_(std::move(*settings), config_path_, reload);
  }

  int check_config() {
    auto bound = load();
    if (!bound) return status_;
    if (bound->settings) {
      const auto files = config::check_files(*bound->settings, bound->places);
      bound->problems.insert(bound->problems.end(), files.begin(), files.end());
      config::sort_by_place(bound->problems);
    }
    list(context_.out, bound->problems);
    if (config::any_error(bound->problems)) return k_exit_check_failed;
    context_.out << config_path_ << ": OK\n";
    return k_exit_ok;
  }

  int print_config() {
    const auto settings = load_settings();
    if (!settings) return status_;
    context_.out << config::print_yaml(*settings);
    return k_exit_ok;
  }

  int drain() {
    if (drain_.state_dir.empty()) {
      const auto settings = load_settings();
      if (!settings) return status_;
      drain_.from(*settings);
    }
    return run_drain(drain_, context_);
  }

  int health() {
    if (health_.admin.empty()) {
      const auto settings = load_settings();
      if (!settings) return status_;
      health_.from(*settings);
    }
    return run_health(health_, context_);
  }

  int config_schema() { return print(config::json_schema()); }
  int config_sample() { return print(config::sample_yaml()); }
  int config_reference() { return print(config::reference_markdown()); }
  int version() { return print("fieldgate " FIELDGATE_VERSION "\n"); }
  int help() { return print(help_); }
  int print(const std::string& text) {
    context_.out << text;
    return k_exit_ok;
  }

  const CommandLineContext& context_;
  const ServeFunction& serve_;
  CLI::App app_{k_about};
  std::string help_;
  std::string config_path_;
  DrainRequest drain_;
  HealthRequest health_;
  std::function<int()> chosen_;
  const TokenCommand::Choose choose_ = [this](std::function<int()> chosen) { chosen_ = std::move(chosen); };
  std::optional<TokenCommand> token_;
  std::optional<DeviceCommand> device_;
  int status_ = k_exit_ok;
};

}  // namespace

int run_command_line(const std::vector<std::string>& arguments, const CommandLineContext& context,
                     const ServeFunction& serve) {
  try {
    return CommandLine(context, serve).run(arguments);
  } catch (const std::exception& error) {
    context.err << "fieldgate: internal error: " << error.what() << "\n";
    return k_exit_internal;
  }
}

int run_command_line(int argc, char** argv, const ServeFunction& serve) {
  const CommandLineContext context{std::cout, std::cerr, config::process_environment(), ::isatty(STDERR_FILENO) == 1};
  const int status = run_command_line(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), context, serve);
  std::cout.flush();
  if (std::cout) return status;
  std::cerr << "fieldgate: standard output cannot be written\n";
  return status == k_exit_ok ? k_exit_internal : status;
}

}  // namespace fieldgate
