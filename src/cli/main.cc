// The `once` command: flags, subcommands and exit codes. What they do is elsewhere.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "src/cli/commands/operator_commands.h"
#include "src/cli/commands/report.h"
#include "src/cli/exit_code.h"

#if defined(ONCE_HAS_KAFKA) && defined(ONCE_HAS_SQLITE)
#include "src/cli/demo.h"
#include "src/cli/demo_consumer.h"
#include "src/cli/demo_report.h"
#endif

namespace once::cli {
namespace {

void Print(std::FILE* stream, const std::string& text) { std::fputs(text.c_str(), stream); }

#if defined(ONCE_HAS_KAFKA) && defined(ONCE_HAS_SQLITE)

bool IsColoured(std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(fileno(stream)) == 1 && (no_color == nullptr || *no_color == '\0');
}

ExitCode RunDemoCommand(demo::DemoOptions options, bool is_json) {
  options.is_live = isatty(STDERR_FILENO) == 1;
  const absl::StatusOr<demo::DemoResult> result = demo::RunDemo(options);
  if (!result.ok()) {
    Print(stderr, "once demo: " + std::string(result.status().message()) + "\n");
    if (is_json) Print(stdout, demo::RenderJsonError(result.status()));
    return ExitCodeOf(result.status());
  }
  Print(stdout,
        is_json ? demo::RenderJson(*result) : demo::RenderSummary(*result, IsColoured(stdout)));
  return result->findings.is_perfect() ? kDone : kFailed;
}

ExitCode RunDemoConsumerCommand(const demo::DemoConsumerOptions& options) {
  const absl::Status status = demo::RunDemoConsumer(options);
  if (!status.ok()) Print(stderr, "once demo-consumer: " + status.ToString() + "\n");
  return ExitCodeOf(status);
}

// The error's text follows the flag's name.
std::string CheckNumber(const std::string& text) {
  const bool is_number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? "" : "\"" + text + "\" is not a whole number; write digits only";
}

// CLI11 takes the next word for the value of "--flag=".
std::string CheckText(const std::string& text) {
  const bool is_text = !text.empty() && text.front() != '-';
  return is_text ? "" : "\"" + text + "\" is no value; give one, or leave the flag out";
}

void AddDemoFlags(CLI::App& command, demo::DemoOptions& options, bool& is_json) {
  command
      .add_option("--brokers", options.brokers,
                  "Kafka brokers, HOST:PORT[,…]; default: a mock cluster in this process")
      ->check(CheckText);
  command.add_option("--messages", options.messages, "messages to send")
      ->check(CheckNumber)
      ->capture_default_str();
  command.add_option("--kills", options.kills, "times the consumer is killed in mid-batch")
      ->check(CheckNumber)
      ->capture_default_str();
  command
      .add_option("--store", options.store,
                  "sqlite:PATH of a new store, kept; default: a scratch file")
      ->check(CheckText);
  command.add_option("--seed", options.seed, "seed of the orders and their mistakes")
      ->check(CheckNumber)
      ->capture_default_str();
  command.add_flag("--json", is_json, "one JSON object on standard output");
}

void AddDemoConsumerFlags(CLI::App& command, demo::DemoConsumerOptions& options) {
  command.group("");  // not in the help: `once demo` starts it
  command.add_option("--brokers", options.brokers)->required();
  command.add_option("--cluster", options.cluster)->required();
  command.add_option("--group", options.group)->required();
  command.add_option("--topic", options.topic)->required();
  command.add_option("--partitions", options.partitions)->required();
  command.add_option("--store", options.store_path)->required();
  command.add_option("--session-timeout-ms", options.session_timeout_ms)->required();
  command.add_option("--embedded", options.is_embedded)->required();
  command.add_option("--parent", options.parent)->required();
}

#endif

// The flags are not understood, so the wish for JSON is looked for among the words.
bool WantsJson(std::span<char*> arguments) {
  std::string_view former;
  for (const std::string_view word : arguments) {
    const bool is_output = former == "-o" || former == "--output";
    if (word == "--json" || word == "-ojson" || word == "--output=json" ||
        (is_output && word == "json")) {
      return true;
    }
    former = word;
  }
  return false;
}

// CLI11's own codes say which check failed; users get one for all of them.
ExitCode ReportParseError(const CLI::App& app, const CLI::ParseError& error,
                          std::span<char*> arguments) {
  if (error.get_exit_code() == 0) {  // --help and --version come as errors, too
    app.exit(error);
    return kDone;
  }
  // CLI11 misses the subcommand before it looks at the words that are no subcommand.
  const std::vector<std::string> words = app.remaining();
  const bool is_unknown = app.get_subcommands().empty() && !words.empty();
  const std::string text =
      is_unknown ? "there is no command or flag \"" + words.front() + "\"" : error.what();
  Report report = ReportError(absl::InvalidArgumentError(text));
  report.notes.push_back("try `once --help`, or `once COMMAND --help`");
  return Print(report, WantsJson(arguments) ? OutputFormat::kJson : OutputFormat::kTable, "once");
}

ExitCode Main(int argc, char** argv) {
  CLI::App app("Message consumers that apply every message once.", "once");
  app.set_version_flag("--version", "once " ONCE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(28);
  OperatorCommands operator_commands(app);
  CLI::App& demo_command = *app.add_subcommand(
      "demo", "Orders with duplicates, poison and crashes: sends, kills, counts what came out");
#if defined(ONCE_HAS_KAFKA) && defined(ONCE_HAS_SQLITE)
  demo::DemoOptions demo_options;
  bool is_json = false;
  AddDemoFlags(demo_command, demo_options, is_json);
  demo::DemoConsumerOptions consumer_options;
  CLI::App& consumer_command = *app.add_subcommand(demo::kDemoConsumerCommand);
  AddDemoConsumerFlags(consumer_command, consumer_options);
#endif
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error, std::span(argv, static_cast<std::size_t>(argc)));
  }
  if (operator_commands.is_chosen()) return operator_commands.Run();
#if defined(ONCE_HAS_KAFKA) && defined(ONCE_HAS_SQLITE)
  if (consumer_command.parsed()) return RunDemoConsumerCommand(consumer_options);
  if (demo_command.parsed()) return RunDemoCommand(demo_options, is_json);
#else
  if (demo_command.parsed()) {
    Print(stderr,
          "once demo: this command was built without the kafka or the sqlite adapter; install "
          "librdkafka-dev and libsqlite3-dev and build again\n");
    return kUsage;
  }
#endif
  return kDone;
}

}  // namespace
}  // namespace once::cli

int main(int argc, char** argv) { return once::cli::Main(argc, argv); }
