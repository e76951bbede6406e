// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/binder.h"

#include "gateway/config/checks.h"
#include "gateway/config/declaration.h"
#include "gateway/config/override.h"
#include "gateway/config/substitution.h"

#include <algorithm>
#include <iterator>

namespace fieldgate::config {
namespace {

// Walks the declaration and the entries side by side.
class Binder final : public Visitor {
 public:
  Binder(const Entry& root, const Environment& environment, Bound& bound) : environment_(environment), bound_(bound) {
    push(&root, "");
  }

  void value(const Key& key, Value&& value) override {
    const Item* item = take(key);
    if (item == nullptr) return;
    const std::string path = path_of(key.name);
    const Entry& entry = item->value;
    if (entry.kind == Entry::Kind::null) {
      refuse(path, item->key_place, " has no value; leave the key out for its default, " + shown(value));
    } else if (entry.kind != Entry::Kind::text) {
      refuse(path, entry.place, " must be one value, not a " + name_of(entry.kind));
    } else if (const auto text = text_of(entry, path)) {
      if (const auto complaint = value.set(*text)) refuse(path, entry.place, " " + *complaint);
    }
  }

  void texts(const Key& key, TextList&& texts) override {
    const Item* item = take(key);
    if (item == nullptr) return;
    const std::string path = path_of(key.name);
    if (!is_list(item->value, path)) return;
    const std::vector<Entry>& elements = item->value.elements;
    if (!has_room(item->value, path, texts.size_max())) return;
    std::vector<std::string> taken;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      const std::string element_path = path + "[" + std::to_string(i) + "]";
      bound_.places.note(element_path, elements[i].place);
      if (elements[i].kind != Entry::Kind::text) {
        refuse(element_path, elements[i].place, " must be one value");
      } else if (auto text = text_of(elements[i], element_path)) {
        if (const auto complaint = texts.check(*text)) refuse(element_path, elements[i].place, " " + *complaint);
        taken.push_back(std::move(*text));
      }
    }
    texts.set(std::move(taken));
  }

  void list(const Key& key, List&& list) override {
    const Item* item = take(key);
    if (item == nullptr || item->value.kind == Entry::Kind::null) return;
    const std::string path = path_of(key.name);
    if (!is_list(item->value, path) || !has_room(item->value, path, list.size_max())) return;
    const std::vector<Entry>& elements = item->value.elements;
    list.resize(elements.size());
    for (std::size_t i = 0; i < elements.size(); ++i) {
      const std::string element_path = path + "[" + std::to_string(i) + "]";
      bound_.places.note(element_path, elements[i].place);
      push(map_of(elements[i], elements[i].place, element_path), element_path);
      list.visit(i, *this);
      leave();
    }
  }

  void enter(const Key& section) override {
    const Item* item = take(section);
    const std::string path = path_of(section.name);
    push(item == nullptr ? nullptr : map_of(item->value, item->key_place, path), path);
  }

  // Also ends the whole, at the end.
  void leave() override {
    const Frame frame = std::move(frames_.back());
    frames_.pop_back();
    if (frame.map == nullptr) return;
    for (const Item& item : frame.map->items) {
      if (std::ranges::find(frame.known, item.key) != frame.known.end()) continue;
      std::string message = "unknown key " + quoted(item.key);
      message += frame.path.empty() ? " at the top" : " in " + frame.path;
      const std::string_view near = nearest_name(item.key, frame.known);
      if (!near.empty()) {
        message.append("; did you mean ").append(near).append("?");
        bound_.places.refuse(frame.path.empty() ? std::string(near) : frame.path + "." + std::string(near));
      }
      bound_.problems.push_back({Severity::error, item.key_place, std::move(message)});
    }
  }

 private:
  struct Frame {
    const Entry* map;  // nullptr: nothing was written
    std::string path;
    std::vector<std::string> known;
  };

  static std::string name_of(Entry::Kind kind) { return kind == Entry::Kind::list ? "list" : "section"; }
  static std::string shown(const Value& value) {
    const std::string text = value.show();
    return text.empty() ? "which is empty" : text;
  }

  void push(const Entry* map, std::string path) { frames_.push_back({map, std::move(path), {}}); }
  std::string path_of(std::string_view name) const {
    const std::string& before = frames_.back().path;
    return before.empty() ? std::string(name) : before + "." + std::string(name);
  }
  void refuse(const std::string& path, const Place& place, const std::string& why) {
    bound_.places.refuse(path);
    bound_.problems.push_back({Severity::error, place, path + why});
  }

  const Item* take(const Key& key) {
    Frame& frame = frames_.back();
    frame.known.emplace_back(key.name);
    const Item* item = frame.map == nullptr ? nullptr : frame.map->find(key.name);
    if (item != nullptr) {
      // A section's or list's own place would be that of what comes first in it.
      const bool text = item->value.kind == Entry::Kind::text;
      bound_.places.note(path_of(key.name), text ? item->value.place : item->key_place);
    }
    return item;
  }

  // A section without anything in it is as good as none.
  const Entry* map_of(const Entry& entry, const Place& place, const std::string& path) {
    if (entry.kind == Entry::Kind::map) return &entry;
    if (entry.kind != Entry::Kind::null) refuse(path, place, " must be a section with keys of its own");
    return nullptr;
  }

  bool is_list(const Entry& entry, const std::string& path) {
    if (entry.kind == Entry::Kind::list) return true;
    if (entry.kind != Entry::Kind::null) refuse(path, entry.place, " must be a list");
    return false;
  }

  bool has_room(const Entry& entry, const std::string& path, std::size_t size_max) {
    if (entry.elements.size() <= size_max) return true;
    refuse(path, entry.elements[size_max].place, " must have at most " + std::to_string(size_max) + " elements");
    return false;
  }

  std::optional<std::string> text_of(const Entry& entry, const std::string& path) {
    if (entry.literal) return entry.text;
    Substituted substituted = substitute(entry.text, environment_);
    for (const std::string& message : substituted.problems) refuse(path, entry.place, ": " + message);
    if (!substituted.problems.empty()) return std::nullopt;
    return std::move(substituted.text);
  }

  const Environment& environment_;
  Bound& bound_;
  std::vector<Frame> frames_;
};

}  // namespace

const Place& Places::of(std::string_view path) const {
  while (!path.empty()) {
    const auto found = places_.find(path);
    if (found != places_.end()) return found->second;
    const std::size_t end = path.find_last_of(".[");
    path = path.substr(0, end == std::string_view::npos ? 0 : end);
  }
  return whole_;
}

bool Places::is_refused(std::string_view path) const {
  while (!path.empty()) {
    if (refused_.contains(path)) return true;
    const std::size_t end = path.find_last_of(".[");
    path = path.substr(0, end == std::string_view::npos ? 0 : end);
  }
  return false;
}

Bound bind(Entry written, const Environment& environment) {
  Bound bound{std::nullopt, {}, Places({written.place.source, 1, 1})};
  if (written.kind != Entry::Kind::map) {
    if (written.kind != Entry::Kind::null) {
      bound.problems.push_back({Severity::error, written.place, "the configuration must be a section with keys"});
    }
    written.kind = Entry::Kind::map;
  }
  apply_overrides(written, environment, bound.problems);
  Settings settings;
  Binder binder(written, environment, bound);
  describe(binder, settings);
  binder.leave();
  std::ranges::move(check_together(settings, bound.places), std::back_inserter(bound.problems));
  sort_by_place(bound.problems);
  if (!any_error(bound.problems)) bound.settings = std::move(settings);
  return bound;
}

}  // namespace fieldgate::config
