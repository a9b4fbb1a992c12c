// Letters, page by page: a store may keep more of them than fit into memory.
#include "src/cli/commands/failures_command.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

// Read from the store at a time; their payloads are in memory together.
constexpr std::size_t kPage = 100;

// Longest error message in a row of the list.
constexpr std::size_t kErrorColumns = 60;

// Letters that one message may reasonably have: one per scope and delivery.
constexpr std::size_t kLettersOfOneIdMax = 1000;

enum class Visit { kGoOn, kStop };

// Visits letters of `query` in ascending order until the visitor has had enough.
absl::Status VisitLetters(StoreOperations& operations, FailureQuery query,
                          const std::function<Visit(StoredFailure&)>& visit) {
  query.letters_max = kPage;
  while (true) {
    absl::StatusOr<std::vector<StoredFailure>> page = operations.FindFailures(query);
    if (!page.ok()) return page.status();
    for (StoredFailure& letter : *page) {
      query.after = letter.number;
      if (visit(letter) == Visit::kStop) return absl::OkStatus();
    }
    if (page->size() < kPage) return absl::OkStatus();
  }
}

std::string Cut(const std::string& text, std::size_t columns) {
  if (text.size() <= columns) return text;
  std::size_t end = columns - 1;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::vector<std::string> RowOf(const StoredFailure& failure) {
  const LetterReasons reasons = ReadReasons(failure.letter);
  std::string state(ToString(failure.state));
  if (!failure.parked_reason.empty()) state += ", parked";
  return {absl::StrCat(failure.number),
          failure.id.empty() ? "-" : ShowBytes(failure.id),
          ShowOrigin(failure.origin),
          ShowBytes(reasons.disposition),
          ShowBytes(reasons.attempts),
          std::move(state),
          ShowSentence(reasons.last_failed_at),
          ShowBytes(reasons.error_code),
          Cut(ShowSentence(reasons.error_message), kErrorColumns),
          failure.scope.empty() ? "-" : ShowScope(failure.scope)};
}

// By number: the letter itself. By id: every kept letter of it.
absl::StatusOr<std::vector<StoredFailure>> FindLetters(StoreOperations& operations,
                                                       const MessageSelector& selector) {
  std::vector<StoredFailure> letters;
  if (selector.number) {
    absl::StatusOr<std::vector<StoredFailure>> found =
        operations.FindFailures({.after = *selector.number - 1, .letters_max = 1});
    if (!found.ok()) return found.status();
    std::erase_if(*found,
                  [&](const StoredFailure& letter) { return letter.number != *selector.number; });
    return found;
  }
  const absl::Status visited =
      VisitLetters(operations, {.id = selector.id}, [&](StoredFailure& letter) {
        const bool is_meant = selector.scope.empty() || IsNameOfScope(selector.scope, letter.scope);
        if (is_meant) letters.push_back(std::move(letter));
        return letters.size() < kLettersOfOneIdMax ? Visit::kGoOn : Visit::kStop;
      });
  if (!visited.ok()) return visited;
  return letters;
}

std::string ShowSelector(const MessageSelector& selector) {
  return selector.number ? absl::StrCat("letter number ", *selector.number)
                         : ShowBytes(selector.id.value_or(""));
}

// Why there is no letter: what the store knows of the id instead.
absl::Status NoLetter(StoreOperations& operations, const MessageSelector& selector) {
  std::string known;
  bool is_open = false;
  if (selector.id) {
    const auto found = operations.FindId(*selector.id);
    if (!found.ok()) return found.status();
    for (const StoreOperations::FoundId& each : *found) {
      if (!selector.scope.empty() && !IsNameOfScope(selector.scope, each.scope)) continue;
      const IdState state = each.record.state;
      is_open = is_open || state == IdState::kDead || state == IdState::kUncertain;
      absl::StrAppend(&known, known.empty() ? ": " : "; ", "it is ", ToAbsl(ToString(state)),
                      " in ", ShowScope(each.scope));
    }
  }
  std::string_view way_out = known.empty() ? "; `once failures list` lists what there is" : "";
  // A wrapped call, or a message whose dead letter was never kept here.
  if (is_open) {
    way_out =
        ", and there is nothing to send again; `once resolve ID --happened` (an uncertain one) or "
        "`once discard ID` settles it";
  }
  return absl::NotFoundError(
      absl::StrCat("no dead letter of ", ShowSelector(selector), " is kept",
                   selector.scope.empty() ? "" : absl::StrCat(" in scope ", selector.scope), known,
                   ToAbsl(way_out)));
}

}  // namespace

Report ListFailures(CommandContext& context, const FailureListOptions& options) {
  ordered_json failures = ordered_json::array();
  Table table({"NUMBER", "ID", "FROM", "DISPOSITION", "ATTEMPTS", "STATE", "LAST FAILED", "ERROR",
               "MESSAGE", "OF"});
  std::int64_t last = options.after;
  bool is_complete = true;
  const absl::Status visited =
      VisitLetters(context.operations, {.after = options.after, .id = options.id},
                   [&](const StoredFailure& failure) {
                     const bool is_meant =
                         (options.scope.empty() || IsNameOfScope(options.scope, failure.scope)) &&
                         (options.topic.empty() ||
                          options.topic == ShowBytes(failure.origin.key.partition.topic));
                     if (!is_meant) return Visit::kGoOn;
                     if (failures.size() == options.letters_max) {
                       is_complete = false;
                       return Visit::kStop;
                     }
                     last = failure.number;
                     failures.push_back(DescribeFailure(failure, LetterDetail::kSummary));
                     table.Add(RowOf(failure));
                     return Visit::kGoOn;
                   });
  if (!visited.ok()) return ReportError(visited);
  Report report;
  if (table.is_empty()) {
    report.notes.push_back("no dead letters");
  } else {
    report.text = table.Render();
  }
  if (!is_complete) {
    report.notes.push_back(absl::StrCat("there are more; go on with --after ", last));
  }
  if (options.is_check && !failures.empty()) report.code = kFoundProblems;
  report.document = {{"store", context.store},
                     {"complete", is_complete},
                     {"next_after", is_complete ? ordered_json() : ordered_json(last)},
                     {"failures", std::move(failures)}};
  return report;
}

Report ShowLetters(CommandContext& context, const MessageSelector& selector, LetterDetail detail) {
  const absl::StatusOr<std::vector<StoredFailure>> letters =
      FindLetters(context.operations, selector);
  if (!letters.ok()) return ReportError(letters.status());
  if (letters->empty()) return ReportError(NoLetter(context.operations, selector));
  Report report;
  ordered_json failures = ordered_json::array();
  for (const StoredFailure& letter : *letters) {
    failures.push_back(DescribeFailure(letter, detail));
    absl::StrAppend(&report.text, report.text.empty() ? "" : "\n", ShowFailure(letter, detail));
  }
  report.document = {{"store", context.store},
                     {"complete", letters->size() < kLettersOfOneIdMax},
                     {"failures", std::move(failures)}};
  return report;
}

absl::StatusOr<StoredFailure> FindNewestLetter(StoreOperations& operations,
                                               const MessageSelector& selector) {
  absl::StatusOr<std::vector<StoredFailure>> letters = FindLetters(operations, selector);
  if (!letters.ok()) return letters.status();
  if (letters->empty()) return NoLetter(operations, selector);
  std::set<std::string> scopes;
  for (const StoredFailure& letter : *letters) scopes.insert(ShowScope(letter.scope));
  if (scopes.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(ShowSelector(selector), " is in several scopes; say which with --scope: \"",
                     absl::StrJoin(scopes, "\", \""), "\""));
  }
  return std::move(letters->back());
}

}  // namespace once::cli
