// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <cstddef>
#include <string>
#include <string_view>

// fieldgate.v1.RecordBatch (proto/fieldgate/v1/northbound.proto) written by hand:
// a device's bytes are appended as they arrived, never parsed again.
namespace fieldgate::northbound {

// Bytes that append_record() will add for `record`.
std::size_t record_bytes(const RecordView& record) noexcept;

// Appends one RecordBatch.records entry.
void append_record(const RecordView& record, std::string& out);

// Appends RecordBatch.node: what ends a batch.
void append_batch_node(std::string_view node, std::string& out);

}  // namespace fieldgate::northbound
