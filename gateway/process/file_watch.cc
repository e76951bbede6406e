// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/file_watch.h"

#include "gateway/core/error.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <set>
#include <utility>

namespace fieldgate {
namespace {

constexpr int k_links_max = 40;  // as the kernel follows
constexpr std::uint32_t k_events = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB |
                                   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// Which file it is, and of when. One that is not there is in a state of its own.
std::string state_of(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return {};
  std::string out;
  const auto add = [&out](const auto& value) { out.append(std::to_string(value)).push_back(' '); };
  add(status.st_dev);
  add(status.st_ino);
  add(status.st_size);
  add(status.st_mtim.tv_sec);
  add(status.st_mtim.tv_nsec);
  add(status.st_ctim.tv_sec);
  add(status.st_ctim.tv_nsec);
  return out;
}

}  // namespace

std::vector<std::string> folders_on_the_way(const std::string& file) {
  namespace fs = std::filesystem;
  std::set<std::string> folders;
  const auto parts_of = [](const fs::path& path) { return std::deque<fs::path>(path.begin(), path.end()); };
  std::error_code ec;
  std::deque<fs::path> rest = parts_of(fs::absolute(file, ec));
  fs::path at = "/";
  for (int links = 0; !rest.empty();) {
    const fs::path part = std::move(rest.front());
    rest.pop_front();
    if (part == "/" || part.empty() || part == ".") continue;
    if (part == "..") {
      at = at.parent_path();
      continue;
    }
    const fs::path target = fs::read_symlink(at / part, ec);
    if (!ec && ++links <= k_links_max) {
      folders.insert(at.string());
      const auto more = parts_of(target);
      rest.insert(rest.begin(), more.begin(), more.end());
      if (target.is_absolute()) at = "/";
      continue;
    }
    if (rest.empty()) folders.insert(at.string());
    at /= part;
  }
  return {folders.begin(), folders.end()};
}

FileWatch::FileWatch(boost::asio::io_context& io, Log& log, Pace pace, std::function<void()> changed)
    : log_(log), pace_(pace), changed_(std::move(changed)), events_(io), quiet_(io), look_(io) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd >= 0) {
    events_.assign(fd);
    wait_event();
  } else {
    log_.warn("files_not_watched",
              {{"error", std::string_view(std::strerror(errno))},
               {"hint", "changes are found by a look now and then; fs.inotify.max_user_instances may be too low"}});
  }
  arm_look();
}

void FileWatch::watch(const std::vector<std::string>& files) {
  std::map<std::string, std::string> known = std::exchange(files_, {});
  for (const std::string& file : files) {
    const auto before = known.find(file);
    files_.emplace(file, before != known.end() ? before->second : state_of(file));
  }
  add_folders();
}

void FileWatch::seen() {
  for (auto& [file, state] : files_) state = state_of(file);
}

void FileWatch::stop() {
  error_code ignored;
  events_.close(ignored);
  quiet_.cancel();
  look_.cancel();
}

// Anew each time: a folder may be another one under the same name.
void FileWatch::add_folders() {
  if (!events_.is_open()) return;
  for (const int watch : watches_) ::inotify_rm_watch(events_.native_handle(), watch);
  watches_.clear();
  std::set<std::string> folders;
  for (const auto& [file, state] : files_) {
    for (std::string& folder : folders_on_the_way(file)) folders.insert(std::move(folder));
  }
  for (const std::string& folder : folders) {
    const int watch = ::inotify_add_watch(events_.native_handle(), folder.c_str(), k_events);
    if (watch >= 0) {
      watches_.push_back(watch);
    } else if (errno != ENOENT) {
      log_.warn("folder_not_watched", {{"folder", folder},
                                       {"error", std::string_view(std::strerror(errno))},
                                       {"hint", "changes there are found by a look now and then"}});
    }
  }
}

void FileWatch::wait_event() {
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](error_code ec) {
    if (ec) return;
    drain_events();
    look_later();
    wait_event();
  });
}

// They say that something happened, and no more is asked of them.
void FileWatch::drain_events() {
  alignas(inotify_event) std::array<char, 4'096> buffer;
  while (::read(events_.native_handle(), buffer.data(), buffer.size()) > 0) {
  }
}

void FileWatch::look_later() {
  const auto now = std::chrono::steady_clock::now();
  if (!waiting_) first_event_ = now;
  waiting_ = true;
  quiet_.expires_at(std::min(now + pace_.quiet, first_event_ + 10 * pace_.quiet));
  quiet_.async_wait([this](error_code ec) {
    if (!ec) look();
  });
}

void FileWatch::look() {
  waiting_ = false;
  bool changed = false;
  for (auto& [file, state] : files_) {
    std::string now = state_of(file);
    changed = changed || now != state;
    state = std::move(now);
  }
  if (!changed) return;
  add_folders();
  changed_();
}

void FileWatch::arm_look() {
  look_.expires_after(pace_.look_every);
  look_.async_wait([this](error_code ec) {
    if (ec) return;
    look();
    arm_look();
  });
}

}  // namespace fieldgate
