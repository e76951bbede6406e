// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/ledger.h"

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>

namespace fieldgate::sim {
namespace {

namespace json = boost::json;

constexpr std::int64_t k_format = 1;

std::optional<std::uint64_t> number(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_int64() && value->get_int64() >= 0) return static_cast<std::uint64_t>(value->get_int64());
  if (value->is_uint64()) return value->get_uint64();
  return std::nullopt;
}

std::optional<StreamEntry> read_stream(const json::object& line) {
  const json::value* device = line.if_contains("device");
  const json::value* stream = line.if_contains("stream");
  const auto given = number(line, "given");
  const auto acked = number(line, "acked");
  const json::value* rejected = line.if_contains("rejected");
  if (device == nullptr || !device->is_string() || stream == nullptr || !stream->is_string() || !given || !acked ||
      rejected == nullptr || !rejected->is_array()) {
    return std::nullopt;
  }
  StreamEntry entry{std::string(device->get_string()), 0, *given, *acked, {}};
  const json::string& digits = stream->get_string();
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), entry.stream);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  for (const json::value& seq : rejected->get_array()) {
    if (!seq.is_int64() || seq.get_int64() < 1) return std::nullopt;
    entry.rejected.push_back(static_cast<std::uint64_t>(seq.get_int64()));
  }
  std::ranges::sort(entry.rejected);
  return entry;
}

}  // namespace

void Ledger::append(Ledger other) {
  devices += other.devices;
  frames_sent += other.frames_sent;
  frames_acked += other.frames_acked;
  std::ranges::move(other.streams, std::back_inserter(streams));
}

Outcome<void> write_ledger(const std::string& path, const Ledger& ledger) {
  const std::string beside = path + ".part";
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out << json::serialize(json::object{{"fieldgate_sim_ledger", k_format},
                                        {"devices", ledger.devices},
                                        {"frames_sent", ledger.frames_sent},
                                        {"frames_acked", ledger.frames_acked},
                                        {"streams", ledger.streams.size()}})
        << '\n';
    for (const StreamEntry& entry : ledger.streams) {
      out << json::serialize(json::object{{"device", entry.device},
                                          {"stream", std::to_string(entry.stream)},
                                          {"given", entry.given},
                                          {"acked", entry.acked},
                                          {"rejected", json::value_from(entry.rejected)}})
          << '\n';
    }
    out.flush();
    if (!out) return Problem{"cannot write " + beside};
  }
  if (std::rename(beside.c_str(), path.c_str()) != 0) return Problem{"cannot rename " + beside + " to " + path};
  return {};
}

Outcome<Ledger> read_ledger(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Problem{"cannot read " + path};
  Ledger ledger;
  std::uint64_t promised = 0;
  std::string text;
  for (std::size_t line = 1; std::getline(in, text); ++line) {
    const auto bad = [&] { return Problem{path + ":" + std::to_string(line) + ": not a line of a ledger"}; };
    boost::system::error_code error;
    const json::value value = json::parse(text, error);
    if (error || !value.is_object()) return bad();
    const json::object& object = value.get_object();
    if (line == 1) {
      const auto devices = number(object, "devices");
      const auto sent = number(object, "frames_sent");
      const auto acked = number(object, "frames_acked");
      const auto streams = number(object, "streams");
      if (number(object, "fieldgate_sim_ledger") != k_format || !devices || !sent || !acked || !streams) return bad();
      ledger.devices = *devices;
      ledger.frames_sent = *sent;
      ledger.frames_acked = *acked;
      promised = *streams;
      continue;
    }
    auto entry = read_stream(object);
    if (!entry) return bad();
    ledger.streams.push_back(std::move(*entry));
  }
  if (ledger.streams.size() != promised || promised == 0) {
    return Problem{path + ": holds " + std::to_string(ledger.streams.size()) + " streams, not the " +
                   std::to_string(promised) + " it speaks of"};
  }
  return ledger;
}

}  // namespace fieldgate::sim
