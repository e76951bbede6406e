// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/json_object.h"

#include <boost/json/basic_parser_impl.hpp>

#include <algorithm>
#include <cassert>

namespace fieldgate::jwt {

// What boost::json::basic_parser reports, in its order. Members of the outermost
// object are at depth 1, and the elements of a list there at depth 2.
class ObjectHandler {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);

  using Code = boost::json::error_code;
  using Text = boost::json::string_view;

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) {
    if (depth_ == 0) is_object_ = true;
    return open(JsonObject::Other{});
  }
  bool on_object_end(std::size_t, Code&) { return close(); }
  bool on_array_begin(Code&) { return open(JsonObject::Texts{}); }
  bool on_array_end(std::size_t, Code&) { return close(); }
  bool on_key_part(Text part, std::size_t, Code&) { return collect(part); }
  bool on_key(Text part, std::size_t, Code& ec) {
    collect(part);
    const std::string name = std::exchange(text_, {});
    if (depth_ != 1) return true;
    const auto found = std::ranges::find(object.members_, name, &std::pair<std::string_view, JsonObject::Value>::first);
    current_ = found == object.members_.end() ? nullptr : &found->second;
    if (current_ == nullptr || std::holds_alternative<JsonObject::Absent>(*current_)) return true;
    twice = found->first;
    ec = make_error_code(Errc::malformed);
    return false;
  }
  bool on_string_part(Text part, std::size_t, Code&) { return collect(part); }
  bool on_string(Text part, std::size_t, Code&) {
    collect(part);
    std::string text = std::exchange(text_, {});
    if (depth_ == 2 && current_ != nullptr) {
      if (auto* texts = std::get_if<JsonObject::Texts>(current_);
          texts != nullptr && texts->size() < JsonObject::k_texts_max) {
        texts->push_back(std::move(text));
        return true;
      }
    }
    return value(std::move(text));
  }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(std::int64_t number, Text, Code&) { return value(static_cast<double>(number)); }
  bool on_uint64(std::uint64_t number, Text, Code&) { return value(static_cast<double>(number)); }
  bool on_double(double number, Text, Code&) { return value(number); }
  bool on_bool(bool, Code&) { return value(JsonObject::Other{}); }
  bool on_null(Code&) { return value(JsonObject::Other{}); }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

  bool is_object() const noexcept { return is_object_; }

  JsonObject object;
  std::string_view twice;  // a name that came twice

 private:
  bool collect(Text part) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool open(JsonObject::Value container) {
    value(std::move(container));
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }
  // A value of a member; or one inside a member, which then is no list of texts.
  bool value(JsonObject::Value it) {
    if (current_ == nullptr || depth_ == 0) return true;
    *current_ = depth_ == 1 ? std::move(it) : JsonObject::Value(JsonObject::Other{});
    return true;
  }

  std::string text_;
  int depth_ = 0;
  bool is_object_ = false;
  JsonObject::Value* current_ = nullptr;
};

Result<JsonObject> JsonObject::parse(std::string_view json, std::initializer_list<std::string_view> wanted) {
  boost::json::basic_parser<ObjectHandler> parser{boost::json::parse_options{}};
  ObjectHandler& handler = parser.handler();
  for (const std::string_view name : wanted) handler.object.members_.emplace_back(name, Absent{});
  boost::json::error_code ec;
  const std::size_t read = parser.write_some(false, json.data(), json.size(), ec);
  if (!handler.twice.empty()) {
    return make_error(Errc::malformed, "holds '" + std::string(handler.twice) + "' twice");
  }
  if (ec || read < json.size()) {
    return make_error(Errc::malformed, "is not JSON: " + (ec ? ec.message() : std::string("more than one value")));
  }
  if (!handler.is_object()) return make_error(Errc::malformed, "is not a JSON object");
  return std::move(handler.object);
}

const JsonObject::Value& JsonObject::operator[](std::string_view name) const {
  const auto found = std::ranges::find(members_, name, &std::pair<std::string_view, Value>::first);
  assert(found != members_.end());
  return found->second;
}

}  // namespace fieldgate::jwt
