// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/device_table.h"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <ostream>

namespace fieldgate {
namespace {

namespace json = boost::json;

constexpr std::size_t k_name_width = 13;

// Code points: near enough to columns, and right for what most people write.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// As json::serialize, but with 21.5 for what that writes as 2.15E1.
void append_json(std::string& out, const json::value& value) {
  if (const auto* object = value.if_object()) {
    char before = '{';
    for (const auto& [key, of_it] : *object) {
      (out += before) += json::serialize(json::string_view(key)) + ":";
      append_json(out, of_it);
      before = ',';
    }
    out += object->empty() ? "{}" : "}";
  } else if (const auto* array = value.if_array()) {
    char before = '[';
    for (const json::value& element : *array) {
      append_json(out += before, element);
      before = ',';
    }
    out += array->empty() ? "[]" : "]";
  } else if (const double* number = value.if_double()) {
    std::array<char, 32> digits{};
    out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), *number).ptr);
  } else {
    out += json::serialize(value);
  }
}

std::string as_text(const json::value& value) {
  if (value.is_null()) return "";
  if (const auto* text = value.if_string()) return printable(*text);
  return json_text(value);
}

std::string labels_of(const json::value& value) {
  std::string out;
  if (const auto* labels = member(value, "labels").if_object()) {
    for (const auto& [key, text] : *labels) out += (out.empty() ? "" : ",") + printable(key) + "=" + as_text(text);
  }
  return out;
}

std::string state_of(const json::value& device) {
  if (true_at(device, "online")) return true_at(device, "inactive") ? "inactive" : "online";
  return member(device, "enabled") == json::value(false) ? "disabled" : "offline";
}

void line(std::ostream& out, std::string name, const std::string& value) {
  if (value.empty()) return;
  name += ":";
  name.resize(std::max(k_name_width, name.size() + 1), ' ');
  out << name << value << "\n";
}

void print_live(std::ostream& out, const json::value& live) {
  const json::value& tls = member(live, "tls");
  line(out, "address", text_at(live, "address"));
  line(out, "tls", text_at(tls, "version"));
  line(out, "credential", text_at(live, "credential"));
  line(out, "frames", text_at(live, "frames_received"));
}

}  // namespace

std::string json_text(const json::value& value) {
  std::string out;
  append_json(out, value);
  return printable(out);
}

const json::array& elements(const json::value& value) {
  static const json::array k_none;
  const auto* array = value.if_array();
  return array != nullptr ? *array : k_none;
}

std::string printable(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::string out;
  const auto escape = [&](unsigned char byte) { out += {'\\', 'x', k_hex[byte >> 4U], k_hex[byte & 15U]}; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    if (byte < 0x20 || byte == 0x7F) {
      escape(byte);
    } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 to U+009F
      escape(static_cast<unsigned char>(next));
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

const json::value& member(const json::value& value, std::string_view name) {
  static const json::value k_null;
  const auto* object = value.if_object();
  const json::value* found = object != nullptr ? object->if_contains(name) : nullptr;
  return found != nullptr ? *found : k_null;
}

std::string text_at(const json::value& value, std::string_view name) { return as_text(member(value, name)); }

bool true_at(const json::value& value, std::string_view name) { return member(value, name) == json::value(true); }

void Table::print(std::ostream& out) {
  const auto measure = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], width_of(row[i]));
  };
  const auto write = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string cell = row[i].empty() ? "-" : row[i];
      text += cell;
      if (i + 1 < row.size()) text.append(widths_[i] + 2 - std::min(widths_[i], width_of(cell)), ' ');
    }
    out << text << "\n";
  };
  measure(titles_);
  for (const auto& row : rows_) measure(row);
  if (!titled_) write(titles_);
  titled_ = true;
  for (const auto& row : rows_) write(row);
  rows_.clear();
}

Table device_table() { return Table({"ID", "STATE", "LAST SEEN", "FIRMWARE", "NODE", "REASON", "LABELS"}); }

void add_device(Table& table, const json::value& device) {
  table.add({text_at(device, "id"), state_of(device), text_at(device, "last_seen"), text_at(device, "firmware"),
             text_at(device, "node"), text_at(device, "reason"), labels_of(device)});
}

void print_entry(std::ostream& out, const json::value& entry) {
  line(out, "id", text_at(entry, "id"));
  line(out, "enabled", true_at(entry, "enabled") ? "yes" : "no");
  line(out, "labels", labels_of(entry));
  line(out, "note", text_at(entry, "note"));
  line(out, "updated", text_at(entry, "updated"));
  line(out, "revision", text_at(entry, "revision"));
}

void print_device(std::ostream& out, const json::value& device) {
  line(out, "id", text_at(device, "id"));
  line(out, "state", state_of(device));
  line(out, "since", text_at(device, "since"));
  line(out, "last seen", text_at(device, "last_seen"));
  line(out, "last data", text_at(device, "last_data"));
  line(out, "reason", text_at(device, "reason"));
  line(out, "node", text_at(device, "node"));
  line(out, "firmware", text_at(device, "firmware"));
  line(out, "labels", labels_of(device));
  const json::value& registry = member(device, "registry");
  if (registry.is_object()) {
    line(out, "registered", text_at(registry, "created") + (true_at(registry, "automatic") ? ", by itself" : ""));
    line(out, "enabled", true_at(registry, "enabled") ? "yes" : "no");
    line(out, "note", text_at(registry, "note"));
    line(out, "revision", text_at(registry, "revision"));
    line(out, "credentials", text_at(registry, "credentials"));
  } else {
    line(out, "registered", "no");
  }
  print_live(out, member(device, "live"));
  const auto& values = elements(member(device, "last_values"));
  if (values.empty()) return;
  Table table({"METRIC", "VALUE", "TIME", "QUALITY"});
  for (const json::value& value : values) {
    table.add({text_at(value, "name"), text_at(value, "value"), text_at(value, "time"), text_at(value, "quality")});
  }
  out << "\n";
  table.print(out);
}

void print_credentials(std::ostream& out, const json::value& answer) {
  Table table({"ID", "KIND", "CREATED", "EXPIRES", "NOTE", "SHA256"});
  for (const json::value& one : elements(member(answer, "credentials"))) {
    table.add({text_at(one, "id"), text_at(one, "kind"), text_at(one, "created"), text_at(one, "expires"),
               text_at(one, "note"), text_at(one, "sha256")});
  }
  table.print(out);
}

void print_credential(std::ostream& out, const json::value& credential) {
  line(out, "credential", text_at(credential, "id"));
  line(out, "kind", text_at(credential, "kind"));
  line(out, "expires", text_at(credential, "expires"));
  line(out, "sha256", text_at(credential, "sha256"));
  line(out, "token", text_at(credential, "token"));
}

void print_command(std::ostream& out, const json::value& command) {
  line(out, "command", text_at(command, "id"));
  line(out, "state", text_at(command, "state"));
  const auto& steps = elements(member(command, "steps"));
  if (!steps.empty()) line(out, "detail", text_at(steps.back(), "detail"));
  const json::value& result = member(command, "result");
  line(out, "text", text_at(result, "text"));
  const json::value& payload = member(result, "payload");
  if (!payload.is_null()) {
    line(out, "answer", json_text(payload));
  } else {
    line(out, "base64", text_at(result, "payload_base64"));
  }
}

}  // namespace fieldgate
