// From what a person names to the key or the letter that the store knows it by.
#include "src/cli/commands/message_command.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "once/dead_letter.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

// What was done to one message.
struct Decided {
  std::string scope;       // empty: the message has no id
  std::string redrive_id;  // empty: it was not redriven
  std::string next;        // what happens now
};

std::string_view NameOf(MessageAction action) {
  switch (action) {
    case MessageAction::kRedrive:
      return "redrive";
    case MessageAction::kDiscard:
      return "discard";
    default:
      return "resolve";
  }
}

std::string ShowSelector(const MessageSelector& selector) {
  return selector.number ? absl::StrCat("number ", *selector.number)
                         : ShowBytes(selector.id.value_or(""));
}

std::string NewRedriveId(Random& random) {
  return absl::StrCat(absl::Hex(random.Next(), absl::kZeroPad16),
                      absl::Hex(random.Next(), absl::kZeroPad16));
}

// Of a message that may have happened only `resolve` may say that it did not.
enum class Doubt : std::uint8_t { kRefused, kResolved };

// The one scope that has the id; of several the one in `wanted`, when only one is.
absl::StatusOr<StoreOperations::FoundId> FindScope(CommandContext& context,
                                                   const MessageSelector& selector,
                                                   const std::vector<IdState>& wanted) {
  absl::StatusOr<std::vector<StoreOperations::FoundId>> found =
      context.operations.FindId(*selector.id);
  if (!found.ok()) return found.status();
  std::erase_if(*found, [&](const StoreOperations::FoundId& each) {
    return !selector.scope.empty() && !IsNameOfScope(selector.scope, each.scope);
  });
  if (found->empty()) {
    return absl::NotFoundError(
        absl::StrCat("the store knows no message ", ShowSelector(selector),
                     selector.scope.empty() ? "" : absl::StrCat(" in scope ", selector.scope)));
  }
  if (found->size() == 1) return std::move(found->front());
  const auto is_wanted = [&](const StoreOperations::FoundId& each) {
    return std::find(wanted.begin(), wanted.end(), each.record.state) != wanted.end();
  };
  if (std::count_if(found->begin(), found->end(), is_wanted) == 1) {
    return std::move(*std::find_if(found->begin(), found->end(), is_wanted));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(ShowSelector(selector), " is in several scopes; say which with --scope: ",
                   absl::StrJoin(*found, ", ", [](std::string* out, const auto& each) {
                     absl::StrAppend(out, "\"", ShowScope(each.scope), "\"");
                   })));
}

absl::Status RefuseUncertain(std::string_view id) {
  return absl::FailedPreconditionError(
      absl::StrCat(ShowBytes(id),
                   " is uncertain: its effect may have happened; find out, then `once resolve ID "
                   "--happened` or `--not-happened`"));
}

absl::Status RefuseCertain(const MessageSelector& selector, IdState state) {
  return absl::FailedPreconditionError(
      absl::StrCat(ShowSelector(selector), " is ", ToAbsl(ToString(state)),
                   ", not uncertain; `once redrive` sends a dead message around once more"));
}

// In a store that keeps no letters: the id may be handled again; somebody must send its message.
absl::StatusOr<Decided> RedriveId(CommandContext& context, const MessageSelector& selector,
                                  Doubt doubt) {
  const absl::StatusOr<StoreOperations::FoundId> found =
      FindScope(context, selector, {IdState::kDead, IdState::kUncertain});
  if (!found.ok()) return found.status();
  const bool is_uncertain = found->record.state == IdState::kUncertain;
  if (is_uncertain && doubt == Doubt::kRefused) return RefuseUncertain(*selector.id);
  if (!is_uncertain && doubt == Doubt::kResolved) {
    return RefuseCertain(selector, found->record.state);
  }
  const absl::Status redriven =
      context.operations.Redrive({.row = {.scope = found->scope, .id = *selector.id}});
  if (!redriven.ok()) return redriven;
  return Decided{.scope = found->scope,
                 .next =
                     "it may be handled again. The store keeps no letters: publish the message "
                     "from the dead-letter topic to the topic it came from, which its header "
                     "once-origin-topic names; a wrapped function is called again"};
}

absl::StatusOr<Decided> Redrive(CommandContext& context, const MessageSelector& selector,
                                Doubt doubt) {
  absl::StatusOr<StoredFailure> letter = FindNewestLetter(context.operations, selector);
  if (absl::IsUnimplemented(letter.status()) && selector.id) {
    return RedriveId(context, selector, doubt);
  }
  if (!letter.ok()) return letter.status();
  if (letter->id.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "letter number ", letter->number,
        " has no id of its own, so it would only become a dead letter again; send the mended "
        "message anew, then `once discard --number ",
        letter->number, "`"));
  }
  if (letter->state == IdState::kUncertain && doubt == Doubt::kRefused) {
    return RefuseUncertain(letter->id);
  }
  const TopicPartition& origin = letter->origin.key.partition;
  Decided decided{.scope = letter->scope, .redrive_id = NewRedriveId(context.random)};
  const int count = letter->redrives + 1;
  RedriveRequest request{
      .number = letter->number,
      .row = {.origin = letter->origin,
              .message = MakeRedrive(letter->letter, origin, decided.redrive_id, count),
              .scope = letter->scope,
              .id = letter->id}};
  request.row.origin.ordinal = -count;
  const absl::Status redriven = context.operations.Redrive(request);
  if (!redriven.ok()) return redriven;
  const std::string place = absl::StrCat(ShowBytes(origin.topic), "[", origin.partition, "]");
  decided.next =
      context.is_running
          ? absl::StrCat("the running consumer, if it has dead_letters, publishes it to ", place,
                         " and handles it again under its own id")
          : absl::StrCat("it is published to ", place,
                         " when a consumer with dead_letters opens this store, and is then "
                         "handled again under its own id");
  return decided;
}

absl::StatusOr<Decided> Discard(CommandContext& context, MessageSelector selector) {
  std::string scope;
  std::string next = "copies of it are acknowledged from now on and never handled";
  if (selector.number) {
    const absl::StatusOr<StoredFailure> letter = FindNewestLetter(context.operations, selector);
    if (!letter.ok()) return letter.status();
    if (letter->id.empty()) {
      const absl::Status dropped = context.operations.DropLetter(letter->number);
      if (!dropped.ok()) return dropped;
      return Decided{.next = "the store forgets the letter; what was published stays published"};
    }
    selector.id = letter->id;
    scope = letter->scope;
  } else {
    const absl::StatusOr<StoreOperations::FoundId> found =
        FindScope(context, selector,
                  {IdState::kDead, IdState::kUncertain, IdState::kRetrying, IdState::kDying});
    if (!found.ok()) return found.status();
    scope = found->scope;
    if (found->record.state == IdState::kRetrying) {
      next = "it is passed, not handled, when its next attempt would be due";
    }
  }
  const absl::Status discarded = context.operations.Discard({.scope = scope, .id = *selector.id});
  if (!discarded.ok()) return discarded;
  return Decided{.scope = std::move(scope), .next = std::move(next)};
}

absl::StatusOr<Decided> Resolve(CommandContext& context, MessageSelector selector) {
  if (selector.number) {
    const absl::StatusOr<StoredFailure> letter = FindNewestLetter(context.operations, selector);
    if (!letter.ok()) return letter.status();
    selector = {.id = letter->id, .scope = ShowBytes(letter->scope)};
  }
  const absl::StatusOr<StoreOperations::FoundId> found =
      FindScope(context, selector, {IdState::kUncertain});
  if (!found.ok()) return found.status();
  const absl::Status resolved =
      context.operations.Resolve({.scope = found->scope, .id = *selector.id});
  if (!resolved.ok()) return resolved;
  return Decided{.scope = found->scope,
                 .next = "it counts as completed; copies of it are duplicates"};
}

// A letter that is certain needs no resolving: `redrive` says what is meant.
absl::StatusOr<Decided> ResolveNotHappened(CommandContext& context,
                                           const MessageSelector& selector) {
  const absl::StatusOr<StoredFailure> letter = FindNewestLetter(context.operations, selector);
  if (absl::IsUnimplemented(letter.status()) && selector.id) {
    return RedriveId(context, selector, Doubt::kResolved);
  }
  if (!letter.ok()) return letter.status();
  if (letter->state != IdState::kUncertain) {
    return RefuseCertain(selector, letter->state);
  }
  return Redrive(context, selector, Doubt::kResolved);
}

absl::StatusOr<Decided> Decide(CommandContext& context, MessageAction action,
                               const MessageSelector& selector) {
  switch (action) {
    case MessageAction::kRedrive:
      return Redrive(context, selector, Doubt::kRefused);
    case MessageAction::kDiscard:
      return Discard(context, selector);
    case MessageAction::kResolveHappened:
      return Resolve(context, selector);
    case MessageAction::kResolveNotHappened:
      return ResolveNotHappened(context, selector);
  }
  return absl::InternalError("no such action");
}

ordered_json DescribeSelector(const MessageSelector& selector) {
  ordered_json described = ordered_json::object();
  if (selector.id) described["id"] = ShowBytes(*selector.id);
  if (selector.number) described["number"] = *selector.number;
  return described;
}

// kDone, the one code of all failures, or kPartlyFailed.
ExitCode CodeOf(const std::vector<absl::Status>& outcomes) {
  const ExitCode first = ExitCodeOf(outcomes.front());
  const bool is_same = std::all_of(outcomes.begin(), outcomes.end(), [&](const auto& outcome) {
    return ExitCodeOf(outcome) == first;
  });
  return is_same ? first : kPartlyFailed;
}

}  // namespace

Report DecideMessages(CommandContext& context, MessageAction action,
                      const std::vector<MessageSelector>& selectors) {
  if (action == MessageAction::kDiscard) {
    const std::string what = selectors.size() == 1 ? ShowSelector(selectors.front())
                                                   : absl::StrCat(selectors.size(), " messages");
    if (!context.confirm(absl::StrCat("Discard ", what, "? Never handled, and not taken back"))) {
      return ReportError(absl::FailedPreconditionError(
          absl::StrCat(what, ": not discarded; add --yes if that is meant")));
    }
  }
  Report report;
  std::vector<absl::Status> outcomes;
  ordered_json described = ordered_json::array();
  for (const MessageSelector& selector : selectors) {
    const absl::StatusOr<Decided> decided = Decide(context, action, selector);
    outcomes.push_back(decided.status());
    ordered_json outcome = DescribeSelector(selector);
    if (!decided.ok()) {
      outcome["error"] = DescribeError(decided.status());
      report.notes.push_back(
          absl::StrCat(ShowSelector(selector), ": ", decided.status().message()));
    } else {
      if (!decided->scope.empty()) outcome["scope"] = ShowBytes(decided->scope);
      if (!decided->scope.empty()) outcome["scope_in_words"] = ShowScope(decided->scope);
      if (!decided->redrive_id.empty()) outcome["redrive_id"] = decided->redrive_id;
      outcome["next"] = decided->next;
      absl::StrAppend(&report.text, ShowSelector(selector), ": ", decided->next, "\n");
    }
    described.push_back(std::move(outcome));
  }
  report.code = CodeOf(outcomes);
  report.document = {{"store", context.store},
                     {"action", NameOf(action)},
                     {"complete", report.code == kDone},
                     {"outcomes", std::move(described)}};
  if (report.code != kDone && selectors.size() == 1) {
    report.document["error"] = DescribeError(outcomes.front());
  }
  return report;
}

}  // namespace once::cli
