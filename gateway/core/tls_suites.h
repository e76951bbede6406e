// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fieldgate {

// What every TLS listener offers, as OpenSSL writes it, best first, and in the server's order
// whatever the client likes better: AEAD suites with forward secrecy.
// AES-128-GCM first: with the client's order, SHA-384 suites win and cost 3 %.
inline constexpr const char* k_tls12_suites =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
inline constexpr const char* k_tls13_suites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// The default list has finite-field groups that cost the server milliseconds.
inline constexpr const char* k_tls_groups = "X25519:P-256:P-384";

}  // namespace fieldgate
