// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

// What the API answers, for a person's terminal. What devices and other people wrote
// into it cannot steer the terminal: see printable().
namespace fieldgate {

// `text` with control characters (C0, DEL, C1) as \xNN.
std::string printable(std::string_view text);

// The member `name` of an object as printable text: a string as it is, null or none as
// "", anything else as JSON.
std::string text_at(const boost::json::value& value, std::string_view name);
bool true_at(const boost::json::value& value, std::string_view name);
// The member itself; null where there is none.
const boost::json::value& member(const boost::json::value& value, std::string_view name);
// An array's elements; of anything else: none.
const boost::json::array& elements(const boost::json::value& value);
// As JSON, on one line, printable.
std::string json_text(const boost::json::value& value);

// Columns as wide as their longest cell, two blanks between them; "-" for an empty cell.
// Widths only grow, so that pages of one list look like one table.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) : titles_(std::move(titles)), widths_(titles_.size()) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Writes and forgets the rows; the titles come before the first.
  void print(std::ostream& out);

 private:
  std::vector<std::string> titles_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
  bool titled_ = false;
};

Table device_table();
// One device of a list.
void add_device(Table& table, const boost::json::value& device);
// As GET /devices/{id} answers.
void print_device(std::ostream& out, const boost::json::value& device);
// As PUT and PATCH answer.
void print_entry(std::ostream& out, const boost::json::value& entry);
void print_credentials(std::ostream& out, const boost::json::value& answer);
// As POST answers: with the token, if it is one.
void print_credential(std::ostream& out, const boost::json::value& credential);
void print_command(std::ostream& out, const boost::json::value& command);

}  // namespace fieldgate
