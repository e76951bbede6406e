// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body.h"

#include <memory>
#include <string>
#include <string_view>

// RFC 1952.
namespace fieldgate::http {

// Errors: empty on failure of zlib, which only want of memory can cause.
std::string gzip(std::string_view text);

// What `source` gives, compressed on the way. Each piece can be read without those that
// follow, so that who reads along sees what there is.
std::shared_ptr<BodySource> gzip(std::shared_ptr<BodySource> source);

}  // namespace fieldgate::http
