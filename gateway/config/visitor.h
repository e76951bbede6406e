// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/value.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::config {

// What a running process takes over when it is told to reload.
enum class Reload : std::uint8_t {
  nothing,  // a changed value needs a restart
  content,  // the file is read again; another path needs a restart
  value,    // a changed value; a file is read again, too
};

// A key of the configuration, as declared.
struct Key {
  std::string_view name;
  std::string_view doc;  // whole sentences
  Reload reload = Reload::nothing;
};

class Visitor;

// A list of sections.
class List {
 public:
  virtual ~List() = default;
  virtual std::size_t size() const = 0;
  virtual std::size_t size_max() const = 0;
  // New elements are at their defaults.
  virtual void resize(std::size_t size) = 0;
  virtual void visit(std::size_t i, Visitor& visitor) = 0;
  // An element at its defaults, outside the list.
  virtual void visit_default(Visitor& visitor) const = 0;
};

template <class T>
class ListOf final : public List {
 public:
  using Describe = void (*)(Visitor&, T&);
  ListOf(std::vector<T>& target, std::size_t size_max, Describe describe)
      : target_(target), size_max_(size_max), describe_(describe) {}
  std::size_t size() const override { return target_.size(); }
  std::size_t size_max() const override { return size_max_; }
  void resize(std::size_t size) override { target_.resize(size); }
  void visit(std::size_t i, Visitor& visitor) override { describe_(visitor, target_[i]); }
  void visit_default(Visitor& visitor) const override {
    T element;
    describe_(visitor, element);
  }

 private:
  std::vector<T>& target_;
  std::size_t size_max_;
  Describe describe_;
};

// Sees every key of Settings in the order of their declaration.
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void value(const Key& key, Value&& value) = 0;
  virtual void texts(const Key& key, TextList&& texts) = 0;
  virtual void list(const Key& key, List&& list) = 0;
  virtual void enter(const Key& section) = 0;
  virtual void leave() = 0;
};

// A visitor that is told each key's path and passes through sections by itself.
class FlatVisitor : public Visitor {
 public:
  // elements: the elements that a list has, "mqtt[0].host"; declared: each list
  // as one element at its defaults, "mqtt[].host".
  enum class Lists : std::uint8_t { elements, declared };
  explicit FlatVisitor(Lists lists) : lists_(lists) {}

  void value(const Key& key, Value&& value) final;
  void texts(const Key& key, TextList&& texts) final;
  void list(const Key& key, List&& list) final;
  void enter(const Key& section) final;
  void leave() final;

 protected:
  virtual void on_value(const std::string& path, const Key& key, Value& value) = 0;
  virtual void on_texts(const std::string& path, const Key& key, TextList& texts) = 0;
  // A section or a list ("mqtt[]"), before what is in it.
  virtual void on_group(const std::string& /*path*/, const Key& /*key*/) {}
  virtual void on_list(const std::string& /*path*/, const Key& /*key*/, List& /*list*/) {}

 private:
  std::string path_of(std::string_view name) const;

  Lists lists_;
  std::vector<std::string> prefixes_;  // each with what is before it
};

}  // namespace fieldgate::config
