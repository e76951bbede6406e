// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <span>
#include <string_view>

namespace fieldgate::http {

// A file of the dashboard, as the build made it (dashboard/build.py). All of it is
// constant data in the binary.
struct Asset {
  std::string_view path;          // of the request: "/", "/assets/app.1f0c3a9be2.js"
  std::string_view content_type;  // with charset
  std::string_view bytes;
  std::string_view gzip;  // the same in gzip (RFC 1952)
  std::string_view etag;  // weak, with its quotation marks: both forms carry it
  bool immutable;         // the name has a hash of the content in it
};

// Sorted by path.
std::span<const Asset> assets() noexcept;

// nullptr: there is no such file. Any thread.
const Asset* find_asset(std::string_view path) noexcept;

// The answer to a GET or HEAD of `asset`: gzip where the client takes it, 304 where
// it has the file already, and the headers that keep a browser from doing with it
// what the page never does (Content-Security-Policy and others). Not `tagged`: it
// brings its own ETag and Cache-Control.
Response asset_response(const Asset& asset, const Request& request);

}  // namespace fieldgate::http
