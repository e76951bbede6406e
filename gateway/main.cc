// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/command_line.h"
#include "gateway/net/tls_memory.h"
#include "gateway/serve.h"

int main(int argc, char** argv) {
  // First of all. Where a library has used OpenSSL before this, a record costs two allocations.
  static_cast<void>(fieldgate::serve_tls_memory());
  return fieldgate::run_command_line(argc, argv, fieldgate::serve);
}
