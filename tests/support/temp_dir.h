// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace fieldgate::test {

// A fresh directory of its own that goes away, contents and all, with this.
// Errors: throws, so that the test fails.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  // Path of `name` in here, whether it exists or not.
  std::string file(std::string_view name) const { return path_ / name; }
  // Writes (or replaces) a file; returns its path.
  std::string write(std::string_view name, std::string_view contents) const;

 private:
  std::filesystem::path path_;
};

}  // namespace fieldgate::test
