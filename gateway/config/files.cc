// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "gateway/config/binder.h"
#include "gateway/config/declaration.h"

namespace fieldgate::config {
namespace {

class FileChecker final : public FlatVisitor {
 public:
  FileChecker(const Places& places, std::vector<Problem>& problems)
      : FlatVisitor(Lists::elements), places_(places), problems_(problems) {}

 private:
  void on_value(const std::string& path, const Key& /*key*/, Value& value) override {
    if (value.info().shape != Shape::file) return;
    const std::string file = value.show();
    if (file.empty()) return;
    struct stat status {};
    if (stat(file.c_str(), &status) != 0 || access(file.c_str(), R_OK) != 0) {
      complain(path, "cannot be read: " + file + ": " + std::system_category().message(errno));
    } else if (!S_ISREG(status.st_mode)) {
      complain(path, "is not a file: " + file);
    }
  }
  void on_texts(const std::string& /*path*/, const Key& /*key*/, TextList& /*texts*/) override {}

  void complain(const std::string& path, const std::string& message) {
    problems_.push_back({Severity::error, places_.of(path), path + " " + message});
  }

  const Places& places_;
  std::vector<Problem>& problems_;
};

}  // namespace

std::vector<Problem> check_files(const Settings& settings, const Places& places) {
  std::vector<Problem> problems;
  Settings copy = settings;
  FileChecker checker(places, problems);
  describe(checker, copy);
  sort_by_place(problems);
  return problems;
}

std::vector<std::string> named_files(const Settings& settings) {
  class Collector final : public FlatVisitor {
   public:
    Collector() : FlatVisitor(Lists::elements) {}
    std::vector<std::string> files;

   private:
    void on_value(const std::string& /*path*/, const Key& /*key*/, Value& value) override {
      if (value.info().shape == Shape::file && !value.show().empty()) files.push_back(value.show());
    }
    void on_texts(const std::string& /*path*/, const Key& /*key*/, TextList& /*texts*/) override {}
  };
  Settings copy = settings;
  Collector collector;
  describe(collector, copy);
  return std::move(collector.files);
}

}  // namespace fieldgate::config
