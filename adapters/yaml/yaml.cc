// SPDX-License-Identifier: Apache-2.0
#include "adapters/yaml/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

namespace fieldgate::yaml {
namespace {

using config::Entry;
using config::Item;
using config::Place;
using config::Problem;
using config::Severity;

// Ends the parse; caught in parse().
struct Stop {
  Place place;
  std::string message;
};

// Builds the tree from yaml-cpp's events: its nodes would keep neither duplicate
// keys apart nor alias bombs small.
class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& source, std::vector<Problem>& problems) : source_(source), problems_(problems) {}

  // Absent after an empty document.
  std::optional<Entry> take() { return std::exchange(root_, std::nullopt); }
  Place place(const YAML::Mark& mark) const {
    return {source_, static_cast<std::uint32_t>(mark.line + 1), static_cast<std::uint32_t>(mark.column + 1)};
  }

  // Of the last text that was not plain; line 0: there was none.
  const Place& last_quoted() const noexcept { return last_quoted_; }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(entry(Entry::Kind::null, mark, "?"), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto anchored = anchors_.find(anchor);
    if (anchored == anchors_.end()) throw Stop{place(mark), "this alias stands for something that it is part of"};
    if (open_.size() + anchored->second.depth > k_depth_max) stop_at_depth(place(mark));
    count(anchored->second.entries, place(mark));
    add(Entry(anchored->second.entry), 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Entry text = entry(Entry::Kind::text, mark, tag);
    text.text = value;
    if (tag == "!") last_quoted_ = text.place;
    add(std::move(text), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(entry(Entry::Kind::list, mark, tag), anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(entry(Entry::Kind::map, mark, tag), anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  // A list or map whose end has not come yet.
  struct Open {
    Entry entry;
    YAML::anchor_t anchor;
    std::size_t entries_before;
    std::size_t depth_below = 0;
    std::optional<Item> key;  // of a map: waits for its value
  };
  struct Anchored {
    Entry entry;
    std::size_t entries;
    std::size_t depth;
  };

  [[noreturn]] static void stop_at_depth(const Place& place) {
    throw Stop{place, "more than " + std::to_string(k_depth_max) + " levels deep"};
  }
  void problem(const Place& place, std::string message) {
    problems_.push_back({Severity::error, place, std::move(message)});
  }

  void count(std::size_t entries, const Place& place) {
    entries_ += entries;
    if (entries_ > k_entries_max) throw Stop{place, "more than " + std::to_string(k_entries_max) + " values"};
  }

  Entry entry(Entry::Kind kind, const YAML::Mark& mark, const std::string& tag) {
    Entry made;
    made.kind = kind;
    made.place = place(mark);
    count(1, made.place);
    // "?": plain, "!": quoted.
    if (!tag.empty() && tag != "?" && tag != "!") problem(made.place, "tags are not supported: " + config::quoted(tag));
    return made;
  }

  void open(Entry entry, YAML::anchor_t anchor) {
    if (open_.size() >= k_depth_max) stop_at_depth(entry.place);
    const std::size_t before = entries_ - 1;
    open_.push_back({std::move(entry), anchor, before, 0, std::nullopt});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    const std::size_t depth = done.depth_below + 1;
    if (!open_.empty()) open_.back().depth_below = std::max(open_.back().depth_below, depth);
    if (done.anchor != 0) anchors_[done.anchor] = {done.entry, entries_ - done.entries_before, depth};
    place_in_parent(std::move(done.entry));
  }

  void add(Entry entry, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = {entry, 1, 0};
    place_in_parent(std::move(entry));
  }

  void place_in_parent(Entry entry) {
    if (open_.empty()) {
      root_ = std::move(entry);
    } else if (open_.back().entry.kind == Entry::Kind::list) {
      open_.back().entry.elements.push_back(std::move(entry));
    } else if (!open_.back().key) {
      begin_item(entry);
    } else {
      end_item(std::move(entry));
    }
  }

  void begin_item(const Entry& key) {
    Open& map = open_.back();
    map.key = Item{key.text, key.place, {}};
    if (key.kind != Entry::Kind::text) {
      problem(key.place, "a key must be a plain text");
    } else if (key.text == "<<") {
      problem(key.place, "merge keys (<<) are not supported");
    } else if (const Item* first = map.entry.find(key.text)) {
      problem(key.place, "key " + config::quoted(key.text) + " is there already, at line " +
                             std::to_string(first->key_place.line));
    } else {
      return;
    }
    map.key->key_place.line = 0;  // not to be kept
  }

  void end_item(Entry value) {
    Open& map = open_.back();
    Item item = std::move(*map.key);
    map.key.reset();
    if (item.key_place.line == 0) return;
    item.value = std::move(value);
    // yaml-cpp places a missing value where the next thing begins.
    if (item.value.kind == Entry::Kind::null) item.value.place = item.key_place;
    map.entry.items.push_back(std::move(item));
  }

  const std::string& source_;
  std::vector<Problem>& problems_;
  std::optional<Entry> root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::size_t entries_ = 0;
  Place last_quoted_;
};

// Whether the quoted text that begins at `place` has its closing quote. yaml-cpp
// takes the end of the input for one, if a line ends before it.
bool is_closed(std::string_view text, const Place& place) {
  for (std::uint32_t line = 1; line < place.line && !text.empty(); ++line) {
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  text.remove_prefix(std::min<std::size_t>(place.column - 1, text.size()));
  if (!text.starts_with('"') && !text.starts_with('\'')) return true;
  const char quote = text.front();
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\' && quote == '"') {
      ++i;
    } else if (text[i] == quote) {
      // In single quotes, two of them stand for one.
      if (quote == '"' || i + 1 == text.size() || text[i + 1] != quote) return true;
      ++i;
    }
  }
  return false;
}

// The first character that YAML does not allow (YAML 1.2.2 section 5.1, as far as
// ASCII goes), if any. yaml-cpp would take 0x04 for the end of the file.
std::optional<Problem> forbidden_character(std::string_view text, const std::string& source) {
  Place place{source, 1, 1};
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0x7f) {
      return Problem{Severity::error, place,
                     "not valid YAML: control character " + std::to_string(byte) + "; the file must be UTF-8 text"};
    }
    ++place.column;
    if (c == '\n') place = {source, place.line + 1, 1};
  }
  return std::nullopt;
}

// yaml-cpp quotes single bytes of the file in its messages.
std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

Entry empty_map(const std::string& source) {
  Entry map;
  map.kind = Entry::Kind::map;
  map.place = {source, 1, 1};
  return map;
}

}  // namespace

Parsed parse(std::string_view text, const std::string& source) {
  Parsed parsed;
  if (text.size() > k_bytes_max) {
    parsed.problems.push_back({Severity::error, {source, 0, 0}, "is larger than 1 MiB"});
    return parsed;
  }
  if (auto forbidden = forbidden_character(text, source)) {
    parsed.problems.push_back(std::move(*forbidden));
    return parsed;
  }
  Builder builder(source, parsed.problems);
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    parser.HandleNextDocument(builder);
    std::optional<Entry> root = builder.take();
    if (parser.HandleNextDocument(builder)) {
      parsed.problems.push_back({Severity::error, {source, 0, 0}, "has more than one YAML document; keep one"});
    }
    if (const Place& last = builder.last_quoted(); last.line != 0 && !is_closed(text, last)) {
      parsed.problems.push_back({Severity::error, last, "not valid YAML: the closing quote is missing"});
    }
    if (!root || root->kind == Entry::Kind::null) root = empty_map(source);
    parsed.root = std::move(root);
  } catch (const Stop& stop) {
    parsed.problems.push_back({Severity::error, stop.place, stop.message});
  } catch (const YAML::Exception& error) {
    parsed.problems.push_back({Severity::error, builder.place(error.mark), "not valid YAML: " + printable(error.msg)});
  }
  return parsed;
}

Result<std::string> read_file(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return make_error(Errc::not_found, path + ": is a folder, not a file");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return make_error(Errc::not_found, path + ": " + std::system_category().message(errno));
  std::string text(k_bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad()) return make_error(Errc::not_found, path + ": cannot be read to its end");
  if (text.size() > k_bytes_max) return make_error(Errc::too_large, path + ": is larger than 1 MiB");
  return text;
}

}  // namespace fieldgate::yaml
