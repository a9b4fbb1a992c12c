// The notes of streams with missing numbers, page by page.
#include "src/cli/commands/loss_command.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/dedup_store.h"
#include "src/cli/commands/plain_bytes.h"
#include "src/loss_notes.h"
#include "src/stream_state.h"
#include "src/stream_table.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kPage = 100;
// Ranges in one row of the table; the document has them all.
constexpr std::size_t kRangesShown = 8;

struct FoundStream {
  LossNoteName name;
  ProducerEpoch by;
  StreamLosses losses;
};

bool IsMeant(const LossSelector& selector, const FoundStream& stream) {
  const PartitionKey& key = stream.name.partition;
  const auto is_any_or = [](const std::string& wanted, std::string_view is) {
    return wanted.empty() || ReadBytes(wanted) == std::string(is);
  };
  return is_any_or(selector.cluster, key.cluster) && is_any_or(selector.group, key.group) &&
         is_any_or(selector.topic, key.partition.topic) &&
         (!selector.partition || *selector.partition == key.partition.partition) &&
         is_any_or(selector.producer, stream.by.producer);
}

absl::StatusOr<FoundStream> ReadNote(const StoredNote& note) {
  FoundStream stream;
  std::optional<LossNoteName> name = ParseLossNoteKey(note.key);
  std::optional<ProducerEpoch> by = name ? UnpackStream(name->stream) : std::nullopt;
  std::optional<StreamLosses> losses = DecodeLosses(note.value);
  if (!by || !losses) {
    return absl::DataLossError(absl::StrCat("the note under ", ShowBytes(note.key),
                                            " is damaged; `once store verify` reads all of it"));
  }
  return FoundStream{*std::move(name), *by, *std::move(losses)};
}

absl::Status VisitStreams(StoreOperations& operations,
                          const std::function<void(const FoundStream&, const StoredNote&)>& visit) {
  NoteQuery query{.prefix = LossNotePrefix(LossNoteKind::kLosses), .notes_max = kPage};
  while (true) {
    const absl::StatusOr<std::vector<StoredNote>> page = operations.ListNotes(query);
    if (!page.ok()) return page.status();
    for (const StoredNote& note : *page) {
      const absl::StatusOr<FoundStream> stream = ReadNote(note);
      if (!stream.ok()) return stream.status();
      visit(*stream, note);
    }
    if (page->size() < kPage) return absl::OkStatus();
    query.after = page->back().key;
  }
}

std::uint64_t CountKind(const StreamLosses& losses, MissingKind kind) {
  std::uint64_t count = 0;
  for (const MissingRange& range : losses.missing) {
    if (range.kind == kind) count += range.size();
  }
  return count;
}

ordered_json RangesOf(const StreamLosses& losses, MissingKind kind) {
  ordered_json ranges = ordered_json::array();
  for (const MissingRange& range : losses.missing) {
    if (range.kind != kind) continue;
    ranges.push_back({{"first", range.first}, {"last", range.last}, {"since_ms", range.seen_ms}});
  }
  return ranges;
}

std::string ShowRanges(const StreamLosses& losses, MissingKind kind) {
  std::string text;
  std::size_t count = 0;
  for (const MissingRange& range : losses.missing) {
    if (range.kind != kind || count++ >= kRangesShown) continue;
    absl::StrAppend(&text, text.empty() ? "" : ",", range.first);
    if (range.last != range.first) absl::StrAppend(&text, "-", range.last);
  }
  if (count > kRangesShown) absl::StrAppend(&text, ", … ", count - kRangesShown, " more");
  return text.empty() ? "-" : text;
}

std::string ShowEpoch(std::uint64_t epoch) {
  return absl::StrCat(absl::Hex(epoch, absl::kZeroPad16));
}

ordered_json Describe(const FoundStream& stream) {
  const PartitionKey& key = stream.name.partition;
  return {{"cluster", ShowBytes(key.cluster)},
          {"group", ShowBytes(key.group)},
          {"topic", ShowBytes(key.partition.topic)},
          {"partition", key.partition.partition},
          {"producer", std::string(stream.by.producer)},
          {"epoch", ShowEpoch(stream.by.epoch)},
          {"missing", RangesOf(stream.losses, MissingKind::kReported)},
          {"waiting", RangesOf(stream.losses, MissingKind::kWaiting)},
          {"given_up", stream.losses.given_up}};
}

// A consumer that is at work on its partition, or takes it back meanwhile, is given so long to come
// to a pause, and nobody's session is ended.
constexpr absl::Duration kConsumerPatience = absl::Seconds(20);
constexpr absl::Duration kConsumerPause = absl::Milliseconds(200);

std::uint64_t CountLost(const StreamLosses& losses) {
  return CountKind(losses, MissingKind::kReported) + losses.given_up;
}

// What a person has been shown of one stream.
struct ShownStream {
  StoredNote note;
  StreamLosses losses;
};

// Numbers from `first` to `last`, as those that were reported.
bool WereShown(const StreamLosses& shown, std::uint64_t first, std::uint64_t last) {
  for (const MissingRange& range : shown.missing) {
    if (range.kind != MissingKind::kReported || range.last < first) continue;
    if (range.first > first) return false;
    if (range.last >= last) return true;
    first = range.last + 1;
  }
  return false;
}

// Which numbers were given up nobody knows, so that none may have come to them.
bool WereShown(const StreamLosses& shown, const StreamState& now) {
  return now.given_up() <= shown.given_up &&
         std::all_of(now.missing().begin(), now.missing().end(), [&](const MissingRange& range) {
           return range.kind != MissingKind::kReported || WereShown(shown, range.first, range.last);
         });
}

// One stream's notes, and its partition's, as they are without what was missing. Nothing, where
// something is missing that was not shown.
absl::Status Forgive(StoreTransaction& transaction, const ShownStream& shown) {
  const std::optional<LossNoteName> name = ParseLossNoteKey(shown.note.key);
  if (!name) return absl::DataLossError("the key of a note is damaged");
  const std::string head_key =
      LossNoteKey(LossNoteKind::kHead, name->partition).append(name->stream);
  const std::string partition_key = LossNoteKey(LossNoteKind::kPartition, name->partition);
  const std::string_view keys[] = {head_key, shown.note.key, partition_key};
  std::string values[3];
  if (absl::Status status = transaction.FindNotes(keys, values); !status.ok()) return status;
  std::optional<StreamState> state = StreamState::Decode(values[0], values[1]);
  std::optional<PartitionProgress> progress = DecodeProgress(values[2]);
  if (!state || !progress) return absl::DataLossError("a note of the stream is damaged");
  if (!WereShown(shown.losses, *state)) {
    return absl::FailedPreconditionError(
        "something is missing by now that was not shown; look at `once loss report` again");
  }
  progress->missing -= std::min(progress->missing, state->CountMissing());
  state->Forgive(kMissingRangesMax);
  const std::string head = state->EncodeHead();
  const std::string losses = state->EncodeLosses();
  const std::string partition = EncodeProgress(*progress);
  const Note notes[] = {{.key = head_key, .value = head},
                        {.key = shown.note.key, .value = losses},
                        {.key = partition_key, .value = partition}};
  return transaction.PutNotes(notes);
}

// Of one partition, in one transaction. A consumer that has it keeps what is missing in its memory,
// and writes that down with its next messages: so its row is taken from it first, and it reads
// everything again. kAborted: it has taken the row back before we came to the notes.
absl::Status TryForgiveAll(CommandContext& context, const PartitionKey& key,
                           const std::vector<ShownStream>& streams) {
  TransactionalStore& store = *context.transactions;
  const TakeRequest request{.key = key, .writer = context.random.Next(), .may_create = false};
  const absl::StatusOr<std::vector<TakenPosition>> taken = store.Take({&request, 1});
  if (!taken.ok()) return taken.status();
  std::vector<PositionLock> locks;
  // Without a row nobody has the partition.
  if (taken->front().exists) locks.push_back({.key = key, .expected = taken->front().current});
  absl::StatusOr<BeginResult> begun = store.Begin(locks);
  if (!begun.ok()) return begun.status();
  if (begun->transaction == nullptr) return absl::AbortedError("its consumer was faster");
  for (const ShownStream& stream : streams) {
    if (absl::Status status = Forgive(*begun->transaction, stream); !status.ok()) {
      begun->transaction->Rollback();
      return status;
    }
  }
  return begun->transaction->Commit(Durability::kMachine);
}

absl::Status ForgiveAll(CommandContext& context, const PartitionKey& key,
                        const std::vector<ShownStream>& streams) {
  const std::string partition = ShowBytes(ToString(key.partition));
  const std::unique_ptr<Event> clock = context.executor.NewEvent();
  const absl::Time give_up = context.executor.Now() + kConsumerPatience;
  while (true) {
    const absl::Status forgiven = TryForgiveAll(context, key, streams);
    if (forgiven.ok()) return forgiven;
    if (!absl::IsAborted(forgiven) && !absl::IsUnavailable(forgiven)) {
      return absl::Status(forgiven.code(), absl::StrCat(partition, ": ", forgiven.message()));
    }
    if (context.executor.Now() >= give_up) {
      return absl::UnavailableError(absl::StrCat(
          partition, ": ", forgiven.message(), "; it was tried for ",
          absl::FormatDuration(kConsumerPatience),
          " and nothing of this partition was forgotten: run the command again when its consumer "
          "has less to do, or stop that consumer first"));
    }
    clock->WaitUntil(context.executor.Now() + kConsumerPause);
  }
}

}  // namespace

Report ForgetLosses(CommandContext& context, const LossSelector& selector) {
  if (context.transactions == nullptr) {
    return ReportError(absl::FailedPreconditionError(
        "missing messages are forgotten in a store of PostgreSQL, or in a closed one of SQLite or "
        "RocksDB: the process that has it open keeps what is missing in its memory; stop it "
        "first"));
  }
  std::map<PartitionKey, std::vector<ShownStream>> partitions;
  std::uint64_t missing = 0;
  std::size_t streams = 0;
  const absl::Status visited =
      VisitStreams(context.operations, [&](const FoundStream& stream, const StoredNote& note) {
        const std::uint64_t lost = CountLost(stream.losses);
        if (lost == 0 || !IsMeant(selector, stream)) return;
        missing += lost;
        ++streams;
        partitions[stream.name.partition].push_back({.note = note, .losses = stream.losses});
      });
  if (!visited.ok()) return ReportError(visited);
  if (streams == 0) return ReportError(absl::NotFoundError("no message is missing there"));
  const std::string question =
      absl::StrCat("Forget ", missing, " missing messages of ", streams, " streams, for good?");
  if (!context.confirm(question)) {
    return ReportError(absl::FailedPreconditionError("nobody confirmed it; --yes does"));
  }
  for (const auto& [key, shown] : partitions) {
    if (const absl::Status forgiven = ForgiveAll(context, key, shown); !forgiven.ok()) {
      return ReportError(forgiven);
    }
  }
  Report report;
  report.document = {{"forgotten_messages", missing}, {"streams", streams}};
  report.text = absl::StrCat("forgot ", missing, " missing messages\n");
  return report;
}

Report ReportLosses(CommandContext& context, const LossSelector& selector) {
  Report report;
  ordered_json streams = ordered_json::array();
  std::uint64_t missing = 0;
  std::uint64_t waiting = 0;
  Table table({"GROUP", "PARTITION", "PRODUCER", "EPOCH", "MISSING", "WAITING", "GIVEN UP"});
  const absl::Status visited = VisitStreams(context.operations, [&](const FoundStream& stream,
                                                                    const StoredNote&) {
    const std::uint64_t lost = CountLost(stream.losses);
    const std::uint64_t late = CountKind(stream.losses, MissingKind::kWaiting);
    if (!IsMeant(selector, stream) || lost + late == 0) return;
    missing += lost;
    waiting += late;
    streams.push_back(Describe(stream));
    table.Add(
        {ShowBytes(stream.name.partition.group),
         ShowBytes(ToString(stream.name.partition.partition)), std::string(stream.by.producer),
         ShowEpoch(stream.by.epoch), ShowRanges(stream.losses, MissingKind::kReported),
         ShowRanges(stream.losses, MissingKind::kWaiting), absl::StrCat(stream.losses.given_up)});
  });
  if (!visited.ok()) return ReportError(visited);
  report.document = {{"missing_messages", missing},
                     {"waiting_messages", waiting},
                     {"streams", std::move(streams)}};
  if (!table.is_empty()) report.text = table.Render();
  report.notes.push_back(missing == 0
                             ? "no message is missing"
                             : absl::StrCat(missing, " messages that were sent did not arrive"));
  if (waiting > 0) {
    report.notes.push_back(absl::StrCat(waiting, " may only be late: loss.gap_grace is not over"));
  }
  if (missing > 0) report.code = kFoundProblems;
  return report;
}

}  // namespace once::cli
