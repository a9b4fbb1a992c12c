// What a store says of itself as a whole.
#include "src/cli/commands/store_command.h"

#include <algorithm>
#include <filesystem>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<StoreMaintenance*> MaintenanceOf(const CommandContext& context) {
  if (context.maintenance != nullptr) return context.maintenance;
  return absl::UnimplementedError(absl::StrCat("the store at ", context.store,
                                               " offers no figures, checks or copies of itself"));
}

ordered_json Describe(const std::vector<StoreFigure>& figures) {
  ordered_json document = ordered_json::object();
  for (const StoreFigure& figure : figures) document[ShowBytes(figure.name)] = figure.value;
  return document;
}

}  // namespace

Report ShowFigures(CommandContext& context) {
  const absl::StatusOr<StoreMaintenance*> maintenance = MaintenanceOf(context);
  if (!maintenance.ok()) return ReportError(maintenance.status());
  const auto figures = (*maintenance)->ReadFigures();
  if (!figures.ok()) return ReportError(figures.status());
  Table table({"FIGURE", "VALUE"});
  for (const StoreFigure& figure : *figures) {
    table.Add({ShowBytes(figure.name), absl::StrCat(figure.value)});
  }
  Report report;
  report.text = table.Render();
  report.document = {{"store", context.store}, {"figures", Describe(*figures)}};
  return report;
}

Report VerifyStore(CommandContext& context) {
  const absl::StatusOr<StoreMaintenance*> maintenance = MaintenanceOf(context);
  if (!maintenance.ok()) return ReportError(maintenance.status());
  const auto findings = (*maintenance)->Verify(std::stop_token());
  if (!findings.ok()) return ReportError(findings.status());
  Report report;
  ordered_json list = ordered_json::array();
  for (const std::string& finding : *findings) {
    list.push_back(ShowSentence(finding));
    absl::StrAppend(&report.text, ShowSentence(finding), "\n");
  }
  if (findings->empty()) {
    report.notes.emplace_back("nothing is damaged");
  } else {
    report.code = kFoundProblems;
    report.notes.emplace_back(
        context.is_server
            ? "that is not as the store writes it: find out who else writes there; an older copy "
              "of the server's data would know less, not better"
            : "the store is damaged: stop its consumer and restore a backup; it reads on from "
              "there");
  }
  report.document = {{"store", context.store}, {"findings", std::move(list)}};
  return report;
}

Report CompactStore(CommandContext& context) {
  const absl::StatusOr<StoreMaintenance*> maintenance = MaintenanceOf(context);
  if (!maintenance.ok()) return ReportError(maintenance.status());
  const auto before = (*maintenance)->ReadFigures();
  if (!before.ok()) return ReportError(before.status());
  const absl::Status compacted = (*maintenance)->Compact(std::stop_token());
  if (!compacted.ok()) return ReportError(compacted);
  const auto after = (*maintenance)->ReadFigures();
  if (!after.ok()) return ReportError(after.status());
  Table table({"FIGURE", "BEFORE", "AFTER"});
  for (const StoreFigure& figure : *after) {
    const auto former = std::find_if(before->begin(), before->end(), [&](const StoreFigure& other) {
      return other.name == figure.name;
    });
    table.Add({ShowBytes(figure.name), former == before->end() ? "" : absl::StrCat(former->value),
               absl::StrCat(figure.value)});
  }
  Report report;
  report.text = table.Render();
  report.document = {
      {"store", context.store}, {"before", Describe(*before)}, {"after", Describe(*after)}};
  return report;
}

Report BackUpStore(CommandContext& context, const std::string& path) {
  const absl::StatusOr<StoreMaintenance*> maintenance = MaintenanceOf(context);
  if (!maintenance.ok()) return ReportError(maintenance.status());
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) {
    return ReportError(absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message())));
  }
  const absl::Status made = (*maintenance)->Backup(absolute.string(), std::stop_token());
  if (!made.ok()) return ReportError(made);
  Report report;
  report.notes.push_back(absl::StrCat("a copy of ", context.store, " is at ", absolute.string(),
                                      "; a consumer that is started on it reads on from there"));
  report.document = {{"store", context.store}, {"backup", absolute.string()}};
  return report;
}

}  // namespace once::cli
