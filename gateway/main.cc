// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/command_line.h"
#include "gateway/serve.h"

int main(int argc, char** argv) { return fieldgate::run_command_line(argc, argv, fieldgate::serve); }
