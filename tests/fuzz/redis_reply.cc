// What a Redis server, or somebody in its place, may send: any bytes are replies or refused, the
// same however they arrive, and never more than a reply may be. INFO, URLs, maps of slots and
// redirections are read too, and keys and hashes that somebody else may have left where a check
// looks.
#include <algorithm>

#include "adapters/redis/address.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/id_hash.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/reply.h"
#include "adapters/redis/server_facts.h"
#include "adapters/redis/slots.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

struct Replies {
  std::vector<redis::Reply> replies;
  bool is_refused = false;
};

std::size_t CountElements(const redis::Reply& reply) {
  std::size_t count = reply.elements.size();
  for (const redis::Reply& element : reply.elements) count += CountElements(element);
  return count;
}

bool AreEqual(const redis::Reply& left, const redis::Reply& right) {
  return left.kind == right.kind && left.integer == right.integer && left.text == right.text &&
         std::equal(left.elements.begin(), left.elements.end(), right.elements.begin(),
                    right.elements.end(), AreEqual);
}

// `part` bytes at a time.
Replies Read(std::string_view bytes, std::size_t part) {
  redis::ReplyReader reader;
  Replies read;
  while (!bytes.empty()) {
    if (!reader.Feed(bytes.substr(0, part)).ok()) return read;
    bytes.remove_prefix(std::min(part, bytes.size()));
    while (true) {
      auto reply = reader.Next();
      if (!reply.ok()) {
        read.is_refused = true;
        return read;
      }
      if (!reply->has_value()) break;
      Require(CountElements(**reply) <= redis::kReplyElementsMax, "a reply has its bounds");
      read.replies.push_back(**std::move(reply));
    }
  }
  return read;
}

bool IsSlot(int slot) { return slot >= 0 && slot < redis::kSlots; }

// A map is of slots that there are.
void CheckSlots(const redis::Reply& reply) {
  const auto ranges = redis::ParseSlots(reply);
  if (!ranges.ok()) return;
  for (const redis::SlotRange& range : *ranges) {
    Require(IsSlot(range.first) && IsSlot(range.last) && range.first <= range.last,
            "a range has slots");
    Require(range.master.port > 0 && !range.master_id.empty(), "a range has a master");
  }
}

void CheckBytes(std::string_view bytes) {
  const Replies whole = Read(bytes, std::max<std::size_t>(bytes.size(), 1));
  const Replies apart = Read(bytes, 1);
  Require(whole.is_refused == apart.is_refused, "bytes are refused however they arrive");
  Require(std::equal(whole.replies.begin(), whole.replies.end(), apart.replies.begin(),
                     apart.replies.end(), AreEqual),
          "bytes are the same replies however they arrive");
  for (const redis::Reply& reply : whole.replies) CheckSlots(reply);
  const auto redirection = redis::ParseRedirection(bytes);
  Require(!redirection || IsSlot(redirection->slot), "a redirection names a slot");
  (void)redis::ErrorStatus(bytes, /*is_opening=*/true);
  (void)redis::ParseInfo(bytes);
  const auto address = redis::ParseUrl(bytes);
  Require(!address.ok() || address->host.empty() != address->socket_path.empty(),
          "a URL names a host or a socket");
}

// A key is an id's exactly where the id's key is that key.
void CheckKey(std::string_view key) {
  for (const char* const prefix : {"", "once:"}) {
    const redis::KeyNames names(prefix);
    const redis::KeyNames::Meaning meaning = names.Read(key);
    const bool is_id = meaning.kind == redis::KeyNames::Kind::kId;
    Require(!is_id || names.OfId(meaning.id) == key, "an id's key is read back");
  }
}

// Any id has a key that is read back; any hash is one of ours or not.
void CheckIdAndHash(FuzzInput& input) {
  const redis::KeyNames names("p:");
  const std::string_view scope = input.TakeText();
  const IdKey id{.scope = scope, .id = input.TakeText()};
  const std::string key = names.OfId(id);
  const redis::KeyNames::Meaning meaning = names.Read(key);
  Require(meaning.kind == redis::KeyNames::Kind::kId && meaning.id == id, "ids are read back");
  redis::IdHash hash;
  while (!input.is_empty() && hash.fields.size() < redis::kIdFieldsMax) {
    const std::string name(input.TakeText());
    hash.fields[name] = std::string(input.TakeText());
  }
  const bool is_strange = hash.fields.contains("x");
  Require(!is_strange || !redis::FindContradiction(hash).empty(), "strange fields are found");
  (void)redis::FindContradiction(hash);
}

// A command is an array of texts, so the reader can read it.
void CheckCommand(FuzzInput& input) {
  constexpr std::size_t kWordsMax = 32;
  std::vector<std::string_view> words;
  while (!input.is_empty() && words.size() < kWordsMax) words.push_back(input.TakeText());
  if (words.empty()) return;
  const Replies read = Read(redis::EncodeCommand(words), 7);
  Require(read.replies.size() == 1 && !read.is_refused, "a command is one array");
  const std::vector<redis::Reply>& elements = read.replies.front().elements;
  Require(std::equal(words.begin(), words.end(), elements.begin(), elements.end(),
                     [](std::string_view word, const redis::Reply& reply) {
                       return reply.is_text() && reply.text == word;
                     }),
          "its words come back as they were");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {
      "+OK\r\n",
      "-NOSCRIPT No matching script\r\n",
      ":-12\r\n$-1\r\n$3\r\na\r\n\r\n",
      "*6\r\n:0\r\n:1\r\n$0\r\n\r\n:0\r\n$0\r\n\r\n$4\r\npaid\r\n",
      "*2\r\n*-1\r\n*1\r\n*1\r\n:1\r\n",
      "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$1\r\nh\r\n:7000\r\n$1\r\na\r\n",
      "MOVED 3999 127.0.0.1:6381",
      "ASK 3999 ::1:6381",
      "*2000000000\r\n",
      "$2000000000\r\n",
      "# Server\r\nredis_version:7.0.15\r\nrun_id:a\r\nrole:master\r\nmaster_replid:b\r\n",
      "rediss://clerk:p%40ss@[::1]:7000/12",
      "unix:/run/redis.sock?database=3",
      SeedWriter().PutText("EVALSHA").PutText("").PutText("\r\n").seed(),
      redis::KeyNames("once:").OfId({.scope = "s", .id = "id"}),
      "{witness}:77",
      SeedWriter()
          .PutText("s")
          .PutText("id")
          .PutText("s")
          .PutText("2")
          .PutText("nb")
          .PutText("7")
          .seed(),
  };
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::CheckBytes(input.rest());
  once::testing::CheckKey(input.rest());
  once::testing::CheckCommand(input);
  once::testing::FuzzInput again(data, size);
  once::testing::CheckIdAndHash(again);
  return 0;
}
