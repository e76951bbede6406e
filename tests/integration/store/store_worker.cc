// SPDX-License-Identifier: Apache-2.0
//
// A process with a store in SQLite, for tests that kill it or take its disk away.
//   fieldgate_store_worker FILE
// Says "open", or "refused WHY" and ends. Then a line on standard input is a command, and
// its answer a line on standard output:
//   flood N    until it is killed: transaction N, N + 1 ... of write_all(); "committed N"
//              after each
//   write N    one of them: "committed N", or "failed WHY"
//   fill       takes what room the disk has left: "filled"
//   free       gives it back: "freed"
#include "adapters/sqlite/sqlite_store.h"
#include "tests/integration/store/transaction.h"

#include <fcntl.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <sstream>
#include <string>

namespace fieldgate::store {
namespace {

void fill(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  for (std::size_t bytes = std::size_t{1} << 16U; bytes > 0;) {
    const std::string zeros(bytes, '\0');
    if (::write(fd, zeros.data(), bytes) != static_cast<ssize_t>(bytes)) bytes /= 2;
  }
  ::close(fd);
}

int work(const std::string& path) {
  const SystemClock clock;
  const auto store = sqlite::make_sqlite_store(path, clock);
  if (const auto opened = store->open(); !opened) {
    std::cout << "refused " << opened.error().detail << std::endl;
    return 1;
  }
  std::cout << "open" << std::endl;
  const std::string ballast = path + ".ballast";
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    int n = 0;
    words >> command >> n;
    if (command == "fill") {
      fill(ballast);
      std::cout << "filled" << std::endl;
    } else if (command == "free") {
      ::unlink(ballast.c_str());
      std::cout << "freed" << std::endl;
    } else if (command == "write" || command == "flood") {
      do {
        const auto written = write_all(*store, n);
        if (!written) {
          std::cout << "failed " << written.error().detail << std::endl;
          break;
        }
        std::cout << "committed " << n++ << std::endl;
      } while (command == "flood");
    }
  }
  return 0;
}

}  // namespace
}  // namespace fieldgate::store

int main(int argc, char** argv) { return argc == 2 ? fieldgate::store::work(argv[1]) : 2; }
