// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/postgres_server.h"

#include "tests/support/mosquitto_broker.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace fieldgate::store {
namespace {

constexpr const char* k_programs = "/usr/lib/postgresql/15/bin/";
constexpr const char* k_user = "postgres";

std::string program(const char* name) { return std::string(k_programs) + name; }

// PostgreSQL refuses to be root.
void become_user() {
  if (::geteuid() != 0) return;
  const passwd* user = ::getpwnam(k_user);
  const bool done =
      user != nullptr && ::setgroups(0, nullptr) == 0 && ::setgid(user->pw_gid) == 0 && ::setuid(user->pw_uid) == 0;
  if (!done) ::_exit(126);
}

std::string log_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

bool PostgresServer::is_installed() { return ::access(program("postgres").c_str(), X_OK) == 0; }

PostgresServer::PostgresServer(std::vector<std::string> settings) : settings_(std::move(settings)) {
  if (::geteuid() == 0) {
    const passwd* user = ::getpwnam(k_user);
    if (user == nullptr || ::chown(dir_.path().c_str(), user->pw_uid, user->pw_gid) != 0) {
      throw std::runtime_error("there is no user postgres");
    }
  }
  dir_.write("password", k_password);
  std::filesystem::permissions(dir_.file("password"), std::filesystem::perms::all);
  // A collation that puts texts in another order than their bytes are in.
  run({program("initdb"), "-D", dir_.file("data"), "-U", "fieldgate", "-A", "scram-sha-256",
       "--pwfile=" + dir_.file("password"), "-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu",
       "--icu-locale=en-US", "--no-sync", "--no-instructions"});
  for (int attempt = 0;; ++attempt) {
    port_ = test::free_port();
    try {
      start();
      return;
    } catch (const std::runtime_error&) {  // somebody else has the port meanwhile
      if (attempt == 3) throw;
    }
  }
}

PostgresServer::~PostgresServer() {
  if (pid_ > 0) stop();
}

std::string PostgresServer::log() const { return log_of(dir_.file("log")); }

pid_t PostgresServer::spawn(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const std::string log = dir_.file("log");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  become_user();
  ::prctl(PR_SET_PDEATHSIG, SIGQUIT);  // after that: a change of user takes it away
  if (::getppid() != parent) ::_exit(1);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  if (::chdir("/") != 0) ::_exit(125);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void PostgresServer::run(const std::vector<std::string>& words) {
  int status = 0;
  ::waitpid(spawn(words), &status, 0);
  if (status != 0) throw std::runtime_error(words[0] + " failed: " + log());
}

void PostgresServer::start() {
  std::vector<std::string> words{program("postgres"), "-D", dir_.file("data")};
  const std::vector<std::string> own{"listen_addresses=127.0.0.1", "port=" + std::to_string(port_),
                                     "unix_socket_directories=", "max_connections=40", "shared_buffers=32MB"};
  for (const auto* all : {&own, &settings_}) {
    for (const std::string& setting : *all) {
      words.emplace_back("-c");
      words.push_back(setting);
    }
  }
  pid_ = spawn(words);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (::PQping((connection() + " connect_timeout=2").c_str()) != PQPING_OK) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("postgres ended at once: " + log());
    }
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("postgres does not answer: " + log());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void PostgresServer::stop() {
  thaw();
  ::kill(pid_, SIGINT);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

// The postmaster first: so it makes no more of them.
std::vector<pid_t> PostgresServer::processes() const {
  std::vector<pid_t> all{pid_};
  std::ifstream children("/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) + "/children");
  for (pid_t child = 0; children >> child;) all.push_back(child);
  return all;
}

void PostgresServer::freeze() {
  ::kill(pid_, SIGSTOP);
  for (const pid_t pid : processes()) ::kill(pid, SIGSTOP);
}

void PostgresServer::thaw() {
  for (const pid_t pid : processes()) ::kill(pid, SIGCONT);
}

std::string PostgresServer::connection(std::string_view database) const {
  return "host=127.0.0.1 port=" + std::to_string(port_) + " user=fieldgate dbname=" + std::string(database);
}

std::string PostgresServer::ask(std::string_view database, const std::string& sql) const {
  const std::string where = connection(database);
  const char* const keywords[] = {"dbname", "password", nullptr};
  const char* const values[] = {where.c_str(), k_password, nullptr};
  const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(::PQconnectdbParams(keywords, values, 1), ::PQfinish);
  const std::unique_ptr<PGresult, void (*)(PGresult*)> answer(::PQexec(connection.get(), sql.c_str()), ::PQclear);
  const auto status = ::PQresultStatus(answer.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    throw std::runtime_error(sql + ": " + ::PQerrorMessage(connection.get()));
  }
  return ::PQntuples(answer.get()) > 0 ? ::PQgetvalue(answer.get(), 0, 0) : "";
}

std::string PostgresServer::make_database() {
  const std::string name = "store_" + std::to_string(++databases_);
  ask("postgres", "CREATE DATABASE " + name);
  return name;
}

}  // namespace fieldgate::store
