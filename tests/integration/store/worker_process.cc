// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/worker_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

namespace fieldgate::store {
namespace {

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  return ends;
}

}  // namespace

WorkerProcess::WorkerProcess(const std::string& file, const std::vector<std::string>& prefix) {
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words = prefix;
  words.push_back(std::filesystem::read_symlink("/proc/self/exe").parent_path() / "fieldgate_store_worker");
  words.push_back(file);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto to = make_pipe();
  const auto from = make_pipe();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  in_ = ::fdopen(to[1], "w");
  out_ = ::fdopen(from[0], "r");
}

WorkerProcess::~WorkerProcess() {
  kill();
  std::fclose(in_);
  std::fclose(out_);
}

std::string WorkerProcess::read_line() {
  char* line = nullptr;
  std::size_t capacity = 0;
  const ssize_t length = ::getline(&line, &capacity, out_);
  std::string text(line, length > 0 ? static_cast<std::size_t>(length) - 1 : 0);
  std::free(line);
  return text;
}

void WorkerProcess::send(const std::string& command) {
  std::fprintf(in_, "%s\n", command.c_str());
  std::fflush(in_);
}

std::string WorkerProcess::ask(const std::string& command) {
  send(command);
  return read_line();
}

void WorkerProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

std::vector<std::string> with_mount(const std::string& dir, const std::string& options, const std::string& then) {
  const std::string script = "mount -t tmpfs -o " + options + " tmpfs '" + dir + "' && " + then + " && exec \"$@\"";
  return {"unshare", "-m", "sh", "-c", script, "sh"};
}

bool can_mount() {
  return std::system("unshare -m sh -c 'mount -t tmpfs -o size=1m tmpfs /mnt' >/dev/null 2>&1") == 0;  // NOLINT
}

}  // namespace fieldgate::store
