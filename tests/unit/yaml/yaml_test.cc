// SPDX-License-Identifier: Apache-2.0
#include "adapters/yaml/yaml.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

namespace fieldgate::yaml {
namespace {

using config::Entry;
using config::Item;

std::string problems(const Parsed& parsed) {
  std::string all;
  for (const config::Problem& problem : parsed.problems) all += to_string(problem) + "\n";
  return all;
}

std::string problems(std::string_view text) { return problems(parse(text, "f")); }

std::string place(const config::Place& place) {
  return std::to_string(place.line) + ":" + std::to_string(place.column);
}

TEST(Yaml, PlacesKeysAndValues) {
  const Parsed parsed = parse("a: 1\nb:\n  c: [x, 'y']\n  d: \"z\"\n", "f");
  ASSERT_EQ(problems(parsed), "");
  const Item* b = parsed.root->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(place(b->key_place), "2:1");
  const Item* c = b->value.find("c");
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(place(c->key_place), "3:3");
  ASSERT_EQ(c->value.elements.size(), 2U);
  EXPECT_EQ(place(c->value.elements[1].place), "3:10");
  EXPECT_EQ(c->value.elements[1].text, "y");
  EXPECT_EQ(place(b->value.find("d")->value.place), "4:6");
}

TEST(Yaml, PlacesLinesThatEndAsOnWindows) {
  const Parsed parsed = parse("a: 1\r\nb: 2\r\n", "f");
  EXPECT_EQ(place(parsed.root->find("b")->value.place), "2:4");
  EXPECT_EQ(parsed.root->find("b")->value.text, "2");
}

TEST(Yaml, PlacesAMissingValueAtItsKey) {
  const Parsed parsed = parse("a:\n\n\nb: 2\n", "f");
  const Item* a = parsed.root->find("a");
  EXPECT_EQ(a->value.kind, Entry::Kind::null);
  EXPECT_EQ(place(a->value.place), "1:1");
}

TEST(Yaml, TakesAnEmptyDocumentForAnEmptyMap) {
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "---\n...\n", "~\n"}) {
    const Parsed parsed = parse(text, "f");
    ASSERT_TRUE(parsed.root.has_value()) << text;
    EXPECT_EQ(parsed.root->kind, Entry::Kind::map) << text;
    EXPECT_EQ(problems(parsed), "") << text;
  }
}

TEST(Yaml, RefusesAKeyThatIsThereAlready) {
  const Parsed parsed = parse("a: 1\nb: 2\na: 3\n", "f");
  EXPECT_EQ(problems(parsed), "f:3:1: key \"a\" is there already, at line 1\n");
  ASSERT_EQ(parsed.root->items.size(), 2U);
  EXPECT_EQ(parsed.root->find("a")->value.text, "1");
}

TEST(Yaml, FindsDuplicatesAtEveryDepth) {
  EXPECT_EQ(problems("a: {b: 1, b: 2}\nc: [{d: 1, d: 2}]\n"),
            "f:1:11: key \"b\" is there already, at line 1\nf:2:12: key \"d\" is there already, at line 2\n");
}

TEST(Yaml, LetsDifferentMapsHaveTheSameKey) { EXPECT_EQ(problems("a: {x: 1}\nb: {x: 1}\nx: 1\n"), ""); }

TEST(Yaml, RefusesAKeyThatIsNotAText) {
  EXPECT_EQ(problems("{a: 1}: 2\n"), "f:1:1: a key must be a plain text\n");
  EXPECT_EQ(problems("? [a]\n: 2\n"), "f:1:3: a key must be a plain text\n");
  EXPECT_EQ(problems("{{ value }}: 2\n"), "f:1:2: a key must be a plain text\nf:1:1: a key must be a plain text\n");
}

TEST(Yaml, RefusesTagsAndMergeKeys) {
  EXPECT_EQ(problems("a: !!binary x\n"), "f:1:4: tags are not supported: \"tag:yaml.org,2002:binary\"\n");
  EXPECT_EQ(problems("a: &x {b: 1}\nc:\n  <<: *x\n"), "f:3:3: merge keys (<<) are not supported\n");
}

TEST(Yaml, RefusesASecondDocument) {
  EXPECT_EQ(problems("a: 1\n---\nb: 2\n"), "f: has more than one YAML document; keep one\n");
}

TEST(Yaml, SaysWhereTheSyntaxIsWrong) {
  const Parsed parsed = parse("a: 1\nb: [1, 2\nc: 3\n", "f");
  EXPECT_FALSE(parsed.root.has_value());
  ASSERT_EQ(parsed.problems.size(), 1U);
  EXPECT_EQ(problems(parsed).substr(0, 23), "f:3:2: not valid YAML: ");
  EXPECT_EQ(problems("a: b: c\n").substr(0, 6), "f:1:5:");
  EXPECT_EQ(problems("\ta: 1\n").substr(0, 4), "f:1:");
}

TEST(Yaml, RefusesATextWithoutItsClosingQuote) {
  EXPECT_EQ(problems("a: \"b\n"), "f:1:4: not valid YAML: the closing quote is missing\n");
  EXPECT_EQ(problems("a: x\nb:\n  - 'it''s\n\n"), "f:3:5: not valid YAML: the closing quote is missing\n");
  EXPECT_EQ(problems("a: \"b\\\"\n"), "f:1:4: not valid YAML: the closing quote is missing\n");
  EXPECT_NE(problems("a: \"b"), "");
  for (const char* text : {"a: \"\"", "a: ''", "a: 'it''s'\n", "a: \"b\\\\\"\n", "a: |\n  \"b\n", "ü: {b: \"ü\"}\n"}) {
    EXPECT_EQ(problems(text), "") << text;
  }
}

TEST(Yaml, RefusesControlCharacters) {
  const std::string message = "; the file must be UTF-8 text\n";
  EXPECT_EQ(problems(std::string_view("a: 1\nb: \0", 9)), "f:2:4: not valid YAML: control character 0" + message);
  // A yaml-cpp left alone would end the file here, and what follows would be lost.
  EXPECT_EQ(problems("a: 1\n\x04\nb: 2\n"), "f:2:1: not valid YAML: control character 4" + message);
  EXPECT_EQ(problems("a: \x7f\n"), "f:1:4: not valid YAML: control character 127" + message);
}

TEST(Yaml, KeepsItsMessagesToOneLine) {
  EXPECT_EQ(problems("a: \"\\ü\"\n"), "f:1:7: not valid YAML: unknown escape character: ?\n");
}

TEST(Yaml, ReplacesAliases) {
  const Parsed parsed = parse("a: &x {b: [1, 2]}\nc: *x\nd: &y word\ne: [*y, *y]\n", "f");
  ASSERT_EQ(problems(parsed), "");
  EXPECT_EQ(parsed.root->find("c")->value.find("b")->value.elements[1].text, "2");
  EXPECT_EQ(parsed.root->find("e")->value.elements[1].text, "word");
}

TEST(Yaml, RefusesAnAliasOfWhatItIsPartOf) {
  EXPECT_EQ(problems("a: &x [*x]\n"), "f:1:8: this alias stands for something that it is part of\n");
}

TEST(Yaml, BoundsWhatAliasesMakeOfAFewBytes) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) text += (k == 0 ? "" : ", ") + before;
    text += "]\n";
  }
  const Parsed parsed = parse(text, "f");
  EXPECT_FALSE(parsed.root.has_value());
  EXPECT_NE(problems(parsed).find("more than 20000 values"), std::string::npos);
}

std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

TEST(Yaml, BoundsTheDepth) {
  EXPECT_EQ(problems(nested(k_depth_max)), "");
  EXPECT_EQ(problems(nested(k_depth_max + 1)), "f:1:33: more than 32 levels deep\n");
  EXPECT_NE(problems(nested(10'000)), "");
  // Nor do aliases stack up what each is shallow enough.
  EXPECT_EQ(problems("a: &a " + nested(20) + "\nb: [[[[[[[[[[[*a]]]]]]]]]]]\n"), "");
  EXPECT_EQ(problems("a: &a " + nested(20) + "\nb: [[[[[[[[[[[[*a]]]]]]]]]]]]\n"),
            "f:2:16: more than 32 levels deep\n");
}

TEST(Yaml, BoundsTheSize) {
  const std::string large = "a: 1 #" + std::string(k_bytes_max, 'x');
  EXPECT_EQ(problems(large), "f: is larger than 1 MiB\n");
  const test::TempDir folder;
  const auto read = read_file(folder.write("large.yaml", large));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, make_error_code(Errc::too_large));
}

TEST(Yaml, ReadsAWholeFile) {
  const test::TempDir folder;
  const auto text = read_file(folder.write("a.yaml", std::string("a: 1\0b", 6)));
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, std::string("a: 1\0b", 6));
}

TEST(Yaml, SaysWhyAFileCannotBeRead) {
  const test::TempDir folder;
  EXPECT_EQ(read_file(folder.file("none")).error().detail, folder.file("none") + ": No such file or directory");
  EXPECT_EQ(read_file(folder.path()).error().detail, folder.path().string() + ": is a folder, not a file");
}

}  // namespace
}  // namespace fieldgate::yaml
