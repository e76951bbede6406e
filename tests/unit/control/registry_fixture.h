// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/registry_desk.h"
#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::control {

using Texts = std::vector<std::string>;

inline const std::string k_hash_a(64, 'a');
inline const std::string k_hash_b(64, 'b');

inline DevicePatch enabled(bool is) {
  DevicePatch patch;
  patch.enabled = is;
  return patch;
}
inline DevicePatch noted(std::string note) {
  DevicePatch patch;
  patch.note = std::move(note);
  return patch;
}
inline DevicePatch labelled(Labels labels) {
  DevicePatch patch;
  patch.labels = std::move(labels);
  return patch;
}
inline DevicePatch described(std::string note, Labels labels) {
  DevicePatch patch = noted(std::move(note));
  patch.labels = std::move(labels);
  return patch;
}

// The desk, whom it tells, and what is asked of it.
struct RegistryDeskTest : testing::Test, StoreFixture {
  RegistryDeskTest() {
    EXPECT_TRUE(worker.open());
    EXPECT_TRUE(desk.start({{&sink}, &downlink, &recorder}));
  }

  Result<DeviceEntry> put(const std::string& id, DevicePatch patch = {}, PutMode mode = PutMode::replace,
                          std::optional<std::uint64_t> expected = std::nullopt) {
    Answer<DeviceEntry> answer;
    desk.put(device_id(id), std::move(patch), mode, expected, "api:kim", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Result<DeviceEntry> get(const std::string& id) {
    Answer<DeviceEntry> answer;
    desk.get(device_id(id), answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Result<DeviceCredential> add(const std::string& id, NewCredential credential) {
    Answer<DeviceCredential> answer;
    desk.add_credential(device_id(id), std::move(credential), "api:kim", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Texts listed(const std::string& after = {}, std::size_t limit = 100) {
    Answer<std::vector<DeviceEntry>> answer;
    desk.list(after, limit, answer.reply());
    settle();
    Texts ids;
    if (answer.there() && *answer) {
      for (const auto& entry : **answer) ids.push_back(entry.id.str());
    }
    return ids;
  }
  // As another node would, behind the desk's back.
  void put_elsewhere(const DeviceEntry& entry) {
    ASSERT_TRUE(ask<DeviceEntry>([&](DeviceStore& store) { return store.put_device(entry, std::nullopt); }));
  }
  static Errc code(const Error& error) { return static_cast<Errc>(error.code.value()); }

  RecordingSink sink;
  RecordingDownlink downlink;
  RecordingRecorder recorder;
  RegistryDesk desk{worker, clock, log, {}};
};

}  // namespace fieldgate::control
