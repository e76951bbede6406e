// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::mqtt {

// A list of MQTT v5 properties. Move-only. An add that fails for want of memory
// leaves the property out: none of them decides over what is delivered.
class Properties {
 public:
  Properties() = default;
  ~Properties() { mosquitto_property_free_all(&list_); }
  Properties(const Properties&) = delete;
  Properties& operator=(const Properties&) = delete;

  void add_byte(int id, std::uint8_t value) { mosquitto_property_add_byte(&list_, id, value); }
  void add_int16(int id, std::uint16_t value) { mosquitto_property_add_int16(&list_, id, value); }
  void add_int32(int id, std::uint32_t value) { mosquitto_property_add_int32(&list_, id, value); }
  void add_string(int id, const char* value) { mosquitto_property_add_string(&list_, id, value); }
  void add_binary(int id, const std::string& value) {
    mosquitto_property_add_binary(&list_, id, value.data(), static_cast<std::uint16_t>(value.size()));
  }
  // `name` must be a literal: it is passed on as a C string.
  void add_user(std::string_view name, const std::string& value) {
    mosquitto_property_add_string_pair(&list_, MQTT_PROP_USER_PROPERTY, name.data(), value.c_str());
  }

  const mosquitto_property* get() const noexcept { return list_; }
  // For calls that take the list over.
  mosquitto_property* release() noexcept {
    mosquitto_property* list = list_;
    list_ = nullptr;
    return list;
  }

 private:
  mosquitto_property* list_ = nullptr;
};

}  // namespace fieldgate::mqtt
