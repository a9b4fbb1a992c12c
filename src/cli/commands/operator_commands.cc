// Flags into options, and nothing else.
#include "src/cli/commands/operator_commands.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "once/abseil.h"
#include "once/executor.h"
#include "src/cli/commands/command_context.h"
#include "src/cli/commands/failures_command.h"
#include "src/cli/commands/loss_command.h"
#include "src/cli/commands/message_command.h"
#include "src/cli/commands/outbox_command.h"
#include "src/cli/commands/plain_bytes.h"
#include "src/cli/commands/position_command.h"
#include "src/cli/commands/report.h"
#include "src/cli/commands/store_access.h"
#include "src/cli/commands/store_command.h"

namespace once::cli {
namespace {

// Letters in one answer of `failures list`; more come with --after.
constexpr std::size_t kListMax = 1'000'000;

constexpr const char* kExitCodes =
    "Exit codes: 0 done, 1 internal, 2 usage, 3 not found, 4 partly failed, 5 refused,\n"
    "6 unreachable, 7 a check found problems. docs/operating.md says more.";

// For CLI11's check(): empty when `text` is fine.
std::string CheckText(const std::string& text) {
  const bool is_text = !text.empty() && text.front() != '-';
  return is_text ? "" : "\"" + text + "\" is no value; give one, or leave the flag out";
}

template <typename Int>
CLI::Validator CheckNumber(Int least, Int most) {
  return CLI::Validator(
      [least, most](const std::string& text) -> std::string {
        Int number = 0;
        if (absl::SimpleAtoi(text, &number) && number >= least && number <= most) return "";
        return absl::StrCat("\"", text, "\" is no whole number from ", least, " to ", most);
      },
      "");
}

std::string CheckTimeout(const std::string& text) {
  absl::Duration timeout;
  const bool is_fine = absl::ParseDuration(text, &timeout) && timeout > absl::ZeroDuration() &&
                       timeout <= absl::Hours(1);
  return is_fine ? "" : "\"" + text + "\" is no time up to 1h; write 500ms, 30s or 2m";
}

std::string CheckBytes(const std::string& text) {
  if (text.empty()) return "an empty name names nothing";
  return ReadBytes(text) ? "" : "what follows hex: in \"" + text + "\" is no hexadecimal";
}

// Asks on the terminal; without one nobody has confirmed anything.
bool AskPerson(std::string_view question) {
  if (isatty(STDIN_FILENO) != 1) return false;
  const std::string line = absl::StrCat(ToAbsl(question), " [y/N] ");
  std::fputs(line.c_str(), stderr);
  const int answer = std::getchar();
  for (int rest = answer; rest != '\n' && rest != EOF;) rest = std::getchar();
  return answer == 'y' || answer == 'Y';
}

}  // namespace

struct OperatorCommands::Flags {
  StoreAddress address;
  std::string timeout = "30s";
  std::string output = "table";
  bool is_json = false;
  bool is_yes = false;

  PositionSelector position;
  std::int32_t partition = 0;
  std::string offset;

  LossSelector loss;

  OutboxListOptions outbox;
  std::string outbox_topic;
  std::string reason;
  bool is_parked = false;
  bool is_discarded = false;

  FailureListOptions list;
  std::string list_id;
  std::string shown_id;
  std::int64_t shown_number = 0;
  bool is_payload = false;

  std::vector<std::string> ids;
  std::vector<std::int64_t> numbers;
  std::string scope;
  std::string backup_path;
  bool has_happened = false;
  bool has_not_happened = false;

  CLI::App* position_show = nullptr;
  CLI::App* position_set = nullptr;
  CLI::App* position_adopt = nullptr;
  CLI::App* failures_list = nullptr;
  CLI::App* failures_show = nullptr;
  CLI::App* loss_report = nullptr;
  CLI::App* loss_forget = nullptr;
  CLI::App* outbox_list = nullptr;
  CLI::App* outbox_retry = nullptr;
  CLI::App* outbox_discard = nullptr;
  CLI::App* redrive = nullptr;
  CLI::App* discard = nullptr;
  CLI::App* resolve = nullptr;
  CLI::App* store_stats = nullptr;
  CLI::App* store_verify = nullptr;
  CLI::App* store_compact = nullptr;
  CLI::App* store_backup = nullptr;
  CLI::Option* partition_option = nullptr;
  std::vector<CLI::Option*> loss_partition_options;
  CLI::Option* shown_number_option = nullptr;

  std::vector<CLI::App*> All() const {
    return {position_show, position_set, position_adopt, failures_list, failures_show, loss_report,
            loss_forget,   redrive,      discard,        resolve,       store_stats,   store_verify,
            store_compact, store_backup, outbox_list,    outbox_retry,  outbox_discard};
  }

  void AddCommon(CLI::App& command);
  void AddPosition(CLI::App& app);
  void AddFailures(CLI::App& app);
  void AddLoss(CLI::App& app);
  void AddOutbox(CLI::App& app);
  void AddDecision(CLI::App& command);
  void AddDecisions(CLI::App& app);
  void AddStore(CLI::App& app);

  std::string CommandName() const;
  Report Execute(CommandContext& context);
  std::vector<MessageSelector> Selectors() const;
  Report ExecuteDecision(CommandContext& context);
  Report ExecuteStore(CommandContext& context);
  Report ExecuteOutbox(CommandContext& context);
};

void OperatorCommands::Flags::AddCommon(CLI::App& command) {
  command
      .add_option("--store", address.text,
                  "sqlite:PATH, rocksdb:PATH, or the path alone, open or closed; "
                  "postgresql://HOST/DATABASE; redis://HOST, its password in REDISCLI_AUTH")
      ->required()
      ->check(CheckText);
  command.add_option("-o,--output", output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  command.add_flag("--json", is_json, "the same as -o json: one document on standard output");
  command
      .add_option("--timeout", timeout,
                  "how long the process that has it open, or a server, may take")
      ->check(CheckTimeout)
      ->capture_default_str();
  command.footer(kExitCodes);
}

void OperatorCommands::Flags::AddPosition(CLI::App& app) {
  CLI::App& group = *app.add_subcommand(
      "position", "What the store says per partition, and the way out when a consumer stopped");
  group.require_subcommand(1);
  position_show = group.add_subcommand("show", "Positions of the partitions in the store");
  position_set = group.add_subcommand(
      "set", "Go on at OFFSET, whatever the broker says: after a gap, a recreated topic, a reset");
  position_adopt = group.add_subcommand(
      "adopt", "Go on at the group's committed offset: after another store worked the partition");
  for (CLI::App* command : {position_show, position_set, position_adopt}) {
    AddCommon(*command);
    const bool is_show = command == position_show;
    command->add_option("TOPIC", position.topic, "names with other bytes as hex:…")
        ->required(!is_show)
        ->check(CheckBytes);
    CLI::Option* option = command->add_option("PARTITION", partition, "its number")
                              ->required(!is_show)
                              ->check(CheckNumber<std::int32_t>(0, 1'000'000'000));
    if (is_show) partition_option = option;
    command->add_option("--group", position.group, "the consumer group, where several are known")
        ->check(CheckBytes);
    command->add_option("--cluster", position.cluster, "the broker's cluster id, likewise")
        ->check(CheckBytes);
    if (is_show) continue;
    command->add_flag("--yes", is_yes, "without asking, also when messages are skipped");
  }
  position_set->add_option("OFFSET", offset, "a number, earliest or latest")->required();
}

void OperatorCommands::Flags::AddFailures(CLI::App& app) {
  CLI::App& group = *app.add_subcommand("failures", "Dead letters that the store keeps");
  group.require_subcommand(1);
  failures_list = group.add_subcommand("list", "One line per dead letter, oldest first");
  AddCommon(*failures_list);
  failures_list->add_option("--id", list_id, "of this message only")->check(CheckBytes);
  failures_list->add_option("--scope", list.scope, "of this scope, as the list shows it");
  failures_list->add_option("--topic", list.topic, "that came from this topic");
  failures_list->add_option("--after", list.after, "numbers greater than this")
      ->check(CheckNumber<std::int64_t>(0, std::numeric_limits<std::int64_t>::max()));
  failures_list->add_option("--max", list.letters_max, "at most so many")
      ->check(CheckNumber<std::size_t>(1, kListMax))
      ->capture_default_str();
  failures_list->add_flag("--check", list.is_check, "exit with 7 when there is any");

  failures_show = group.add_subcommand("show", "All that a letter says, its payload on request");
  AddCommon(*failures_show);
  failures_show->add_option("ID", shown_id, "the message's id")->check(CheckBytes);
  shown_number_option =
      failures_show->add_option("--number", shown_number, "of the letter, as `list` shows it")
          ->check(CheckNumber<std::int64_t>(1, std::numeric_limits<std::int64_t>::max()));
  failures_show->add_option("--scope", scope, "where several scopes have the id");
  failures_show->add_flag("--payload", is_payload, "show the payload too");
}

void OperatorCommands::Flags::AddLoss(CLI::App& app) {
  CLI::App& group =
      *app.add_subcommand("loss", "Messages that numbering producers sent and nobody received");
  group.require_subcommand(1);
  loss_report = group.add_subcommand("report", "Which are missing; exit with 7 when any is");
  loss_forget = group.add_subcommand(
      "forget", "Missing messages that somebody has dealt with: no longer reported");
  for (CLI::App* command : {loss_report, loss_forget}) {
    AddCommon(*command);
    command->add_option("TOPIC", loss.topic, "names with other bytes as hex:…")->check(CheckBytes);
    loss_partition_options.push_back(command->add_option("PARTITION", partition, "its number")
                                         ->check(CheckNumber<std::int32_t>(0, 1'000'000'000)));
    command->add_option("--group", loss.group, "as this consumer group read it")->check(CheckBytes);
    command->add_option("--cluster", loss.cluster, "the broker's cluster id")->check(CheckBytes);
    command->add_option("--producer", loss.producer, "of this producer only")->check(CheckBytes);
  }
  loss_forget->add_flag("--yes", is_yes, "without asking");
}

void OperatorCommands::Flags::AddOutbox(CLI::App& app) {
  CLI::App& group =
      *app.add_subcommand("outbox", "Messages that wait for a relay, or that it cannot publish");
  group.require_subcommand(1);
  const auto most = std::numeric_limits<std::int64_t>::max();
  outbox_list = group.add_subcommand("list", "What waits and what is parked, oldest first");
  AddCommon(*outbox_list);
  outbox_list->add_option("--topic", outbox_topic, "to this topic only")->check(CheckBytes);
  CLI::Option* parked = outbox_list->add_flag("--parked", is_parked, "what is parked only");
  outbox_list->add_flag("--discarded", is_discarded, "what was given up, and why")
      ->excludes(parked);
  outbox_list->add_option("--after", outbox.after, "numbers greater than this")
      ->check(CheckNumber<std::int64_t>(0, most));
  outbox_list->add_option("--max", outbox.rows_max, "at most so many")
      ->check(CheckNumber<std::size_t>(1, kListMax))
      ->capture_default_str();
  outbox_list->add_flag("--check", outbox.is_check, "exit with 7 when any is parked");
  outbox_retry = group.add_subcommand("retry", "Publish parked messages after all");
  outbox_retry->add_option("--topic", outbox_topic, "all that are parked of this topic")
      ->check(CheckBytes);
  outbox_discard = group.add_subcommand("discard", "Never publish a parked message");
  outbox_discard->add_option("--reason", reason, "kept by the store")->required()->check(CheckText);
  outbox_discard->add_flag("--yes", is_yes, "without asking");
  for (CLI::App* command : {outbox_retry, outbox_discard}) {
    AddCommon(*command);
    command->add_option("ID", ids, "ids of messages; other bytes than text as hex:…")
        ->check(CheckBytes);
    command->add_option("--number", numbers, "from `once outbox list`; may be repeated")
        ->allow_extra_args(false)
        ->check(CheckNumber<std::int64_t>(1, most));
  }
}

void OperatorCommands::Flags::AddDecision(CLI::App& command) {
  AddCommon(command);
  command.add_option("ID", ids, "ids of messages; other bytes than text as hex:…")
      ->check(CheckBytes);
  command.add_option("--number", numbers, "a letter's, from `once failures list`; may be repeated")
      ->allow_extra_args(false)
      ->check(CheckNumber<std::int64_t>(1, std::numeric_limits<std::int64_t>::max()));
  command.add_option("--scope", scope, "where several scopes have an id");
}

void OperatorCommands::Flags::AddDecisions(CLI::App& app) {
  redrive = app.add_subcommand("redrive", "Handle a dead message once more, under its own id");
  AddDecision(*redrive);
  discard = app.add_subcommand("discard", "Never handle a dead, uncertain or waiting message");
  AddDecision(*discard);
  discard->add_flag("--yes", is_yes, "without asking");
  resolve = app.add_subcommand("resolve", "Say whether an uncertain message did happen");
  AddDecision(*resolve);
  CLI::Option* happened =
      resolve->add_flag("--happened", has_happened, "its effect is there: it counts as completed");
  resolve->add_flag("--not-happened", has_not_happened, "it is not: handle it once more")
      ->excludes(happened);
}

void OperatorCommands::Flags::AddStore(CLI::App& app) {
  CLI::App& group = *app.add_subcommand(
      "store", "The store as a whole: its figures, its soundness, its room, a copy");
  group.require_subcommand(1);
  store_stats = group.add_subcommand("stats", "What is in it and how large it is");
  store_verify = group.add_subcommand("verify", "Read all of it and say what is damaged");
  store_compact =
      group.add_subcommand("compact", "Give unused room back; its consumer may wait meanwhile");
  store_backup = group.add_subcommand("backup", "A store of its own, as this one is at one moment");
  for (CLI::App* command : {store_stats, store_verify, store_compact, store_backup}) {
    AddCommon(*command);
  }
  store_backup->add_option("PATH", backup_path, "where nothing is yet")
      ->required()
      ->check(CheckText);
}

std::string OperatorCommands::Flags::CommandName() const {
  for (const CLI::App* command : All()) {
    if (!command->parsed()) continue;
    const CLI::App* parent = command->get_parent();
    const std::string own = command->get_name();
    const bool is_nested = parent->get_parent() != nullptr;
    return is_nested ? absl::StrCat("once ", parent->get_name(), " ", own)
                     : absl::StrCat("once ", own);
  }
  return "once";
}

std::vector<MessageSelector> OperatorCommands::Flags::Selectors() const {
  std::vector<MessageSelector> selectors;
  for (const std::string& id : ids) selectors.push_back({.id = ReadBytes(id), .scope = scope});
  for (const std::int64_t number : numbers) {
    selectors.push_back({.number = number, .scope = scope});
  }
  return selectors;
}

Report OperatorCommands::Flags::ExecuteDecision(CommandContext& context) {
  const std::vector<MessageSelector> selectors = Selectors();
  if (selectors.empty()) {
    return ReportError(absl::InvalidArgumentError("name a message: an ID, or --number N"));
  }
  if (resolve->parsed() && !has_happened && !has_not_happened) {
    return ReportError(absl::InvalidArgumentError("say --happened, or --not-happened"));
  }
  MessageAction action = MessageAction::kRedrive;
  if (discard->parsed()) action = MessageAction::kDiscard;
  if (resolve->parsed()) {
    action = has_happened ? MessageAction::kResolveHappened : MessageAction::kResolveNotHappened;
  }
  return DecideMessages(context, action, selectors);
}

Report OperatorCommands::Flags::ExecuteStore(CommandContext& context) {
  if (store_stats->parsed()) return ShowFigures(context);
  if (store_verify->parsed()) return VerifyStore(context);
  if (store_compact->parsed()) return CompactStore(context);
  return BackUpStore(context, backup_path);
}

Report OperatorCommands::Flags::ExecuteOutbox(CommandContext& context) {
  const std::string topic = ReadBytes(outbox_topic).value_or("");
  if (outbox_list->parsed()) {
    outbox.topic = topic;
    if (is_parked) outbox.kind = OutboxListOptions::Kind::kParked;
    if (is_discarded) outbox.kind = OutboxListOptions::Kind::kDiscarded;
    return ListOutbox(context, outbox);
  }
  std::vector<OutboxSelector> selectors;
  for (const std::string& id : ids) selectors.push_back({.id = ReadBytes(id)});
  for (const std::int64_t number : numbers) selectors.push_back({.number = number});
  if (outbox_retry->parsed()) {
    if (selectors.empty() == topic.empty()) {
      return ReportError(absl::InvalidArgumentError(
          "name messages, by ID or --number N, or all of a --topic, and not both"));
    }
    return topic.empty() ? RetryOutbox(context, selectors) : RetryOutboxTopic(context, topic);
  }
  if (selectors.size() != 1) {
    return ReportError(
        absl::InvalidArgumentError("name one message: an ID, or --number N, and not both"));
  }
  return DiscardFromOutbox(context, selectors.front(), reason);
}

Report OperatorCommands::Flags::Execute(CommandContext& context) {
  if (outbox_list->get_parent()->parsed()) return ExecuteOutbox(context);
  if (store_stats->get_parent()->parsed()) return ExecuteStore(context);
  if (loss_report->parsed() || loss_forget->parsed()) {
    for (const CLI::Option* option : loss_partition_options) {
      if (option->count() > 0) loss.partition = partition;
    }
    return loss_report->parsed() ? ReportLosses(context, loss) : ForgetLosses(context, loss);
  }
  if (failures_list->parsed()) {
    if (!list_id.empty()) list.id = ReadBytes(list_id);
    return ListFailures(context, list);
  }
  if (failures_show->parsed()) {
    MessageSelector selector{.scope = scope};
    if (!shown_id.empty()) selector.id = ReadBytes(shown_id);
    if (shown_number_option->count() > 0) selector.number = shown_number;
    if (selector.id.has_value() == selector.number.has_value()) {
      return ReportError(
          absl::InvalidArgumentError("name a message: an ID, or --number N, and not both"));
    }
    return ShowLetters(context, selector,
                       is_payload ? LetterDetail::kPayload : LetterDetail::kHeaders);
  }
  if (position_show->parsed()) {
    if (partition_option->count() > 0) position.partition = partition;
    return ShowPositions(context, position);
  }
  if (position_set->parsed() || position_adopt->parsed()) {
    position.partition = partition;
    if (position_adopt->parsed()) {
      return OrderPosition(context, position, {.directive = PositionDirective::kAdopt});
    }
    const absl::StatusOr<PositionWish> wish = ReadPositionWish(offset);
    return wish.ok() ? OrderPosition(context, position, *wish) : ReportError(wish.status());
  }
  return ExecuteDecision(context);
}

OperatorCommands::OperatorCommands(CLI::App& app) : flags_(std::make_unique<Flags>()) {
  flags_->AddPosition(app);
  flags_->AddFailures(app);
  flags_->AddLoss(app);
  flags_->AddOutbox(app);
  flags_->AddDecisions(app);
  flags_->AddStore(app);
}

OperatorCommands::~OperatorCommands() = default;

bool OperatorCommands::is_chosen() const {
  const std::vector<CLI::App*> all = flags_->All();
  return std::any_of(all.begin(), all.end(), [](const CLI::App* each) { return each->parsed(); });
}

ExitCode OperatorCommands::Run() {
  const std::string name = flags_->CommandName();
  const OutputFormat format =
      flags_->is_json || flags_->output == "json" ? OutputFormat::kJson : OutputFormat::kTable;
  absl::ParseDuration(flags_->timeout, &flags_->address.timeout);
  const std::shared_ptr<Executor> executor = SystemExecutor();
  const std::shared_ptr<Random> random = SystemRandom();
  const absl::StatusOr<StoreAccess> access = ReachStore(flags_->address, *executor);
  if (!access.ok()) return Print(ReportError(access.status()), format, name);
  const bool is_yes = flags_->is_yes;
  CommandContext context{
      .operations = *access->operations,
      .random = *random,
      .executor = *executor,
      .maintenance = access->maintenance,
      .transactions = access->store == nullptr ? nullptr : access->store->transactions(),
      .outgoing = access->outgoing,
      .store = access->path,
      .is_running = access->is_running(),
      .is_server = access->is_server,
      .now = executor->Now(),
      .confirm = [is_yes](std::string_view question) { return is_yes || AskPerson(question); }};
  Report report = flags_->Execute(context);
  report.document["through"] = access->is_running() ? "owner"
                               : access->is_server  ? "server"
                                                    : "file";
  if (access->is_running()) {
    report.notes.insert(report.notes.begin(), absl::StrCat("through process ", access->process,
                                                           ", which has the store open"));
  }
  return Print(report, format, name);
}

}  // namespace once::cli
