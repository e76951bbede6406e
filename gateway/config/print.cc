// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/print.h"

#include "gateway/config/declaration.h"
#include "gateway/config/yaml_writer.h"

#include <algorithm>

namespace fieldgate::config {
namespace {

// Defaults, and examples where a default alone makes no configuration.
Settings sample() {
  Settings settings;
  settings.devices.tls.certificate_file = "/etc/fieldgate/tls/server.crt";
  settings.devices.tls.key_file = "/etc/fieldgate/tls/server.key";
  settings.devices.tls.client_ca_file = "/etc/fieldgate/tls/devices-ca.crt";
  settings.tokens.file = "/etc/fieldgate/device-tokens";
  settings.api.token_file = "/etc/fieldgate/api-tokens";
  MqttLaneSettings& lane = settings.mqtt.emplace_back();
  lane.routes.push_back({{"telemetry", "state", "opaque", "command_reply"}, RoutePayload::batch});
  lane.routes.push_back({{"event", "presence"}, RoutePayload::protobuf});
  WebhookLaneSettings& webhook = settings.webhooks.emplace_back();
  webhook.url = "https://hooks.example.com/fieldgate";
  webhook.headers.push_back({"Authorization", {}});
  return settings;
}

// A table of `| key | type | default | reload | what |` per section.
class ReferenceWriter final : public FlatVisitor {
 public:
  ReferenceWriter() : FlatVisitor(Lists::declared) {}
  std::string out;

 private:
  static std::string in_cell(std::string text) {
    for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
    return text;
  }
  static std::string_view last(std::string_view path) { return path.substr(path.rfind('.') + 1); }

  void row(const std::string& path, const Key& key, const std::string& type, const std::string& initial) {
    // Keys of a section may follow those of a section inside it.
    const std::string group = path.substr(0, path.rfind('.'));
    if (group != group_) heading(group, {});
    std::string_view reload;
    if (key.reload == Reload::value) reload = "yes";
    if (key.reload == Reload::content) reload = "content";
    out += "| `" + std::string(last(path)) + "` | " + in_cell(type) + " | " +
           (initial.empty() ? "" : "`" + in_cell(initial) + "`") + " | " + std::string(reload) + " | " +
           in_cell(std::string(key.doc)) + " |\n";
  }
  void heading(const std::string& path, std::string_view doc) {
    group_ = path;
    out += (out.empty() ? "" : "\n");
    out += "### `" + path + "`" + (doc.empty() ? ", the rest" : "") + "\n\n";
    if (!doc.empty()) out.append(doc).append("\n\n");
    out += "| Key | Type and range | Default | Reload | What it is |\n| --- | --- | --- | --- | --- |\n";
  }

  void on_value(const std::string& path, const Key& key, Value& value) override {
    const ValueInfo info = value.info();
    std::string type(to_string(info.shape));
    if (!info.range.empty()) type += ", " + info.range;
    row(path, key, type, value.show());
  }
  void on_texts(const std::string& path, const Key& key, TextList& texts) override {
    const ValueInfo info = texts.element_info();
    std::string initial;
    for (const std::string& text : texts.get()) initial += (initial.empty() ? "" : ", ") + text;
    row(path, key, "list of texts" + (info.range.empty() ? "" : " " + info.range), "[" + initial + "]");
  }
  void on_group(const std::string& path, const Key& key) override { heading(path, key.doc); }

  std::string group_;
};

}  // namespace

std::string print_yaml(const Settings& settings) {
  Settings copy = settings;
  YamlWriter writer(YamlWriter::Comments::none);
  describe(writer, copy);
  return writer.text();
}

std::string sample_yaml() {
  Settings settings = sample();
  YamlWriter writer(YamlWriter::Comments::documentation);
  describe(writer, settings);
  return "# Every key of Fieldgate's configuration, at its default. Only the files and the\n"
         "# lanes, with their routes and headers, are examples. Made by `fieldgate config-sample`.\n\n" +
         writer.text();
}

std::string reference_markdown() {
  Settings defaults;
  ReferenceWriter writer;
  describe(writer, defaults);
  return writer.out;
}

}  // namespace fieldgate::config
