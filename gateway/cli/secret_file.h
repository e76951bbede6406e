// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <functional>
#include <string>
#include <string_view>

namespace fieldgate {

// Adds a line to a file of credentials, which is read by others meanwhile: they see the
// file as it was or with the line. A file that is there keeps its owner and mode; a new
// one gets mode 0600. Of several processes that add lines to one file, none is lost.
// `sound` is asked about the text as it would be, and an error of its own means that
// nothing is written.
// Errors: those of `sound`; Errc::unavailable: the file cannot be read or written, with
// what and why in the detail; it is as it was.
Result<void> append_line(const std::string& file, std::string_view line,
                         const std::function<Result<void>(std::string_view text)>& sound);

}  // namespace fieldgate
