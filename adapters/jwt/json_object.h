// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fieldgate::jwt {

// What some members of a JSON object (RFC 8259) hold, read once and strictly. Two
// members of one name, of which readers may take either (RFC 7519 section 4), are an
// error where the name is a wanted one.
class JsonObject {
 public:
  struct Absent {};
  struct Other {};  // an object, a boolean, null, or a list of anything but texts
  using Texts = std::vector<std::string>;
  using Value = std::variant<Absent, Other, std::string, double, Texts>;

  // Members that are not `wanted` are passed over. `wanted` must outlive the object:
  // string literals.
  // Errors: Errc::malformed. Bounds: 32 levels; lists of at most k_texts_max texts.
  static constexpr std::size_t k_texts_max = 64;
  static Result<JsonObject> parse(std::string_view json, std::initializer_list<std::string_view> wanted);

  // Precondition: `name` was wanted.
  const Value& operator[](std::string_view name) const;
  bool has(std::string_view name) const { return !std::holds_alternative<Absent>((*this)[name]); }
  // nullptr: not there, or not of that type.
  const std::string* text(std::string_view name) const { return std::get_if<std::string>(&(*this)[name]); }
  const double* number(std::string_view name) const { return std::get_if<double>(&(*this)[name]); }
  const Texts* texts(std::string_view name) const { return std::get_if<Texts>(&(*this)[name]); }

 private:
  friend class ObjectHandler;
  std::vector<std::pair<std::string_view, Value>> members_;
};

}  // namespace fieldgate::jwt
