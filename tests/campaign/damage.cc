// Damage by dice, and answers as text.
#include "tests/campaign/damage.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "tests/campaign/store_writer.h"

namespace once::campaign {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSectorBytes = 512;
constexpr unsigned kSecondsMax = 60;

void AskForIds(TransactionalStore& store, const std::vector<std::string>& ids, Answers& answers) {
  for (const std::string& id : ids) {
    // Each in a transaction of its own: after an error nothing more can be asked.
    const auto begun = store.Begin({});
    const IdKey key{"scope", id};
    IdRecord record;
    if (!begun.ok() || !begun->transaction->FindIds({&key, 1}, {&record, 1}).ok()) {
      ++answers.errors;
      continue;
    }
    answers.lines[id] = absl::StrCat(ToAbsl(ToString(record.state)), " ", record.attempt, " ",
                                     record.fingerprint.high, " ", record.fingerprint.low);
  }
}

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

Damage DamageFile(std::string& content, Dice& dice) {
  const std::size_t size = content.size();
  const auto below = [&](std::size_t bound) {
    return static_cast<std::size_t>(dice.Below(static_cast<std::int64_t>(bound)));
  };
  const std::size_t page_bytes = std::min(kPageBytes, size);
  const auto page = [&] { return below(size / page_bytes) * page_bytes; };
  switch (dice.Below(8)) {
    case 0: {
      const std::size_t kept = below(size);
      content.resize(kept);
      return {absl::StrCat("cut to ", kept, " bytes")};
    }
    case 1: {
      const std::size_t at = page();
      content.replace(at, page_bytes, page_bytes, '\0');
      return {absl::StrCat("a page at ", at, " zeroed")};
    }
    case 2: {
      const std::size_t from = page();
      const std::size_t to = page();
      content.replace(to, page_bytes, content.substr(from, page_bytes));
      return {absl::StrCat("the page at ", to, " overwritten by that at ", from)};
    }
    case 3: {
      std::size_t at = page() + kSectorBytes * below(kPageBytes / kSectorBytes);
      if (at >= size) at = 0;
      const std::size_t end = std::min(size, at + kSectorBytes);
      for (std::size_t i = at; i < end; ++i) content[i] = static_cast<char>(dice.Next());
      return {absl::StrCat("a sector at ", at, " full of noise")};
    }
    default: {
      const std::int64_t count = 1 + dice.Below(dice.OneIn(2) ? 1 : 8);
      Damage damage{"flipped bits of bytes"};
      for (std::int64_t i = 0; i < count; ++i) {
        const std::size_t at = below(size);
        content[at] ^= static_cast<char>(1 + dice.Below(255));
        absl::StrAppend(&damage.what, " ", at);
        damage.flips.push_back(static_cast<std::int64_t>(at));
      }
      return damage;
    }
  }
}

Answers AskForAll(DedupStore& store, const std::vector<std::string>& ids) {
  Answers answers;
  AskForIds(*store.transactions(), ids, answers);
  const PartitionKey key{.cluster = "cluster", .group = "group", .partition = {"orders", 0}};
  const auto stamps = store.transactions()->ReadPositions({&key, 1});
  if (!stamps.ok()) ++answers.errors;
  if (stamps.ok()) {
    answers.lines["position"] =
        stamps->front() ? absl::StrCat(stamps->front()->position) : std::string("none");
  }
  const auto pending = store.transactions()->outbox().FindPending(100'000);
  if (!pending.ok()) ++answers.errors;
  for (std::size_t i = 0; pending.ok() && i < pending->size(); ++i) {
    const OutgoingMessage& message = (*pending)[i].message;
    answers.lines["letter " + message.key.value_or("none")] =
        absl::StrCat(message.topic, " ", message.value.value_or("none"));
  }
  return answers;
}

std::vector<std::string> FindWrong(const Answers& right, const Answers& found) {
  std::vector<std::string> wrong;
  for (const auto& [question, answer] : right.lines) {
    const auto at = found.lines.find(question);
    const bool is_wrong = at == found.lines.end() ? found.errors == 0 : at->second != answer;
    if (is_wrong) wrong.push_back(question);
  }
  return wrong;
}

bool IsEmpty(const Answers& found) {
  const bool has_any = std::any_of(found.lines.begin(), found.lines.end(), [](const auto& line) {
    return line.first.starts_with("id-") && !line.second.starts_with("absent");
  });
  return !has_any && found.errors == 0;
}

void WorkWith(const std::string& path, const StoreKind& kind, std::uint64_t seed,
              std::int64_t step) {
  StoreWriter writer(path, seed, kind);
  absl::Status worked = writer.Open();
  for (std::int64_t end = step + kStepsPerBlock; step < end && worked.ok(); ++step) {
    worked = writer.Do(step);
  }
}

int RunApart(const std::function<int()>& judge) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSecondsMax);
    _exit(judge());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace once::campaign
